/** Decode a file at its own sample rate: browsers resample less well than this page. */

import { UserError } from "./model";

const USUAL_RATE = 48_000;
const PROBED_BYTES = 2_000_000; // of a file as large, the length is asked for before it is decoded
const MPEG_RATES = [44_100, 48_000, 32_000];

export interface Decoded {
  channels: Float32Array<ArrayBuffer>[];
  rate: number;
}

export async function decode(file: Blob, name: string, max_seconds: number): Promise<Decoded> {
  if (!file.size) throw new UserError(`${name} is empty (0 bytes): record or copy it again.`);
  const too_long = `${name} is longer than ${max_seconds / 60} minutes: cut it, or use "esc50 predict --timeline".`;
  if (file.size >= PROBED_BYTES && (await duration(file)) > max_seconds) throw new UserError(too_long);
  const content = await file.arrayBuffer();
  const buffer = await decodeAt(findRate(new Uint8Array(content)), content).catch(() => {
    throw new UserError(`${name} holds no sound that this browser can decode: try wav, mp3 or m4a.`);
  });
  if (buffer.duration > max_seconds) throw new UserError(too_long);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  return { channels, rate: buffer.sampleRate };
}

/** As the header states it; 0 where it does not. */
function duration(file: Blob): Promise<number> {
  const url = URL.createObjectURL(file);
  const media = new Audio();
  return new Promise<number>((resolve) => {
    media.onloadedmetadata = () => resolve(Number.isFinite(media.duration) ? media.duration : 0);
    media.onerror = () => resolve(0);
    media.src = url;
  }).finally(() => URL.revokeObjectURL(url));
}

function decodeAt(rate: number, content: ArrayBuffer): Promise<AudioBuffer> {
  let context: OfflineAudioContext;
  try {
    context = new OfflineAudioContext(1, 1, rate);
  } catch {
    context = new OfflineAudioContext(1, 1, USUAL_RATE); // a rate that this browser does not know
  }
  return context.decodeAudioData(content);
}

/** The sample rate of a WAV, FLAC, Ogg, MP3 or MP4 file. */
export function findRate(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const has = (text: string, at: number) => [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
  const find = (text: string, end = bytes.length) => {
    for (let at = 0; at < end; at++) if (bytes[at] === text.charCodeAt(0) && has(text, at)) return at;
    return -1;
  };
  const within = (at: number, size: number) => at >= 0 && at + size <= bytes.length;
  if (has("RIFF", 0) || has("RF64", 0)) {
    const at = find("fmt ") + 12;
    return at >= 12 && within(at, 4) ? view.getUint32(at, true) : USUAL_RATE;
  }
  if (has("fLaC", 0)) return within(18, 4) ? view.getUint32(18) >>> 12 : USUAL_RATE;
  if (has("OggS", 0)) {
    const at = find("\u0001vorbis", 4096);
    return within(at, 16) && at > 0 ? view.getUint32(at + 12, true) : USUAL_RATE; // Opus decodes at 48 kHz
  }
  if (has("ftyp", 4)) {
    const at = find("mp4a");
    return within(at, 30) && at > 0 ? view.getUint16(at + 28) || USUAL_RATE : USUAL_RATE;
  }
  return mpegRate(bytes);
}

function mpegRate(bytes: Uint8Array): number {
  const is_tagged = bytes[0] === 0x49 && bytes[1] === 0x44 && bytes[2] === 0x33; // ID3
  let at = is_tagged ? 10 + ((bytes[6] << 21) | (bytes[7] << 14) | (bytes[8] << 7) | bytes[9]) : 0;
  for (const end = Math.min(bytes.length - 3, at + 4096); at < end; at++) {
    const [version, layer, index] = [(bytes[at + 1] >> 3) & 3, (bytes[at + 1] >> 1) & 3, (bytes[at + 2] >> 2) & 3];
    if (bytes[at] === 0xff && bytes[at + 1] >= 0xe0 && version !== 1 && layer && index < 3) {
      return MPEG_RATES[index] / { 3: 1, 2: 2, 0: 4 }[version as 0 | 2 | 3];
    }
  }
  return USUAL_RATE;
}
