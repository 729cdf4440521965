/** Decode a file at its own sample rate: browsers resample less well than this page. */

import { UserError } from "./model";

const USUAL_RATE = 48_000;
const PROBED_BYTES = 2_000_000; // of a file as large, the length is asked for before it is decoded
const PROBE_MS = 3_000;
const UNFINISHED_BYTES = 0x7fff0000; // programs that write to a pipe state this size or a larger one
const AAC_RATES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const MPEG_RATES = [44_100, 48_000, 32_000];
const MP3_KBITS = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const LOW_RATE_KBITS = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

export interface Decoded {
  channels: Float32Array<ArrayBuffer>[];
  rate: number;
  declared_seconds: number; // by the header of a WAV file; 0 where it does not say
}

export async function decode(file: Blob, name: string, max_seconds: number): Promise<Decoded> {
  const too_long = `${name} is longer than ${max_seconds / 60} minutes: cut it, or use "esc50 predict --timeline".`;
  if (file.size >= PROBED_BYTES && (await duration(file)) > max_seconds) throw new UserError(too_long);
  const content = await file.arrayBuffer().catch(() => {
    throw new UserError(`${name} cannot be read: it is a folder, or was moved. Give a file.`);
  });
  if (!content.byteLength) throw new UserError(`${name} is empty (0 bytes): record or copy it again.`);
  const bytes = new Uint8Array(content);
  const [rate, declared_seconds] = [findRate(bytes), declaredSeconds(bytes)]; // before decoding takes the bytes away
  const buffer = await decodeAt(rate, content).catch(() => {
    const advice = file.type.startsWith("video/") ? "perhaps the video has no sound track" : "try wav, mp3 or m4a";
    throw new UserError(`${name} holds no sound that this browser can decode: ${advice}.`);
  });
  if (buffer.duration > max_seconds) throw new UserError(too_long);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  return { channels, rate: buffer.sampleRate, declared_seconds };
}

/** As the header states it; 0 where it does not. */
function duration(file: Blob): Promise<number> {
  const url = URL.createObjectURL(file);
  const media = new Audio();
  return new Promise<number>((resolve) => {
    media.onloadedmetadata = () => resolve(Number.isFinite(media.duration) ? media.duration : 0);
    media.onerror = () => resolve(0);
    setTimeout(resolve, PROBE_MS, 0); // a phone may load nothing before one plays
    media.preload = "metadata";
    media.src = url;
    media.load();
  }).finally(() => {
    media.removeAttribute("src");
    media.load();
    URL.revokeObjectURL(url);
  });
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

/** The sample rate of a WAV, FLAC, Ogg, WebM, MP4, AAC or MP3 file. */
export function findRate(whole: Uint8Array): number {
  const bytes = whole.subarray(has(whole, "ID3") ? 10 + ((whole[6] << 21) | (whole[7] << 14) | (whole[8] << 7) | whole[9]) : 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const within = (at: number, size: number) => at >= 0 && at + size <= bytes.length;
  if (has(bytes, "RIFF") || has(bytes, "RF64")) {
    const at = findChunk(bytes, "fmt ") + 12;
    return at >= 12 && within(at, 4) ? view.getUint32(at, true) : USUAL_RATE;
  }
  if (has(bytes, "fLaC")) return within(18, 4) ? view.getUint32(18) >>> 12 : USUAL_RATE;
  if (has(bytes, "OggS")) {
    const at = find(bytes, "\u0001vorbis", 4096);
    return within(at, 16) && at > 0 ? view.getUint32(at + 12, true) : USUAL_RATE; // Opus decodes at 48 kHz
  }
  if (has(bytes, "\u001aE\u00df\u00a3")) {
    const at = find(bytes, "A_OPUS", 4096) < 0 ? find(bytes, "\u00b5\u0088", 4096) : -1; // SamplingFrequency, 8 bytes
    return within(at, 10) ? view.getFloat64(at + 2) : USUAL_RATE;
  }
  if (has(bytes, "ftyp", 4)) {
    const at = Math.max(find(bytes, "mp4a"), find(bytes, "alac"));
    const clock = find(bytes, "mdhd") + 16;
    const ticks = within(clock, 4) ? view.getUint32(clock) : 0; // a second: a rate of more than 16 bits stands only here
    if (at > 0 && AAC_RATES.slice(0, 2).includes(ticks)) return ticks;
    return at > 0 && within(at, 30) ? view.getUint16(at + 28) || USUAL_RATE : USUAL_RATE;
  }
  if (bytes[0] === 0xff && (bytes[1] & 0xf6) === 0xf0) return AAC_RATES[(bytes[2] >> 2) & 15] ?? USUAL_RATE;
  return mp3Rate(bytes);
}

/** Of the first frame that a second one follows where it ends. */
function mp3Rate(bytes: Uint8Array): number {
  for (let at = 0; at < Math.min(bytes.length - 3, 4096); at++) {
    const [, kind, size] = bytes.subarray(at, at + 3);
    const [version, layer, index] = [(kind >> 3) & 3, (kind >> 1) & 3, (size >> 2) & 3];
    if (bytes[at] !== 0xff || kind < 0xe0 || version === 1 || layer !== 1 || index === 3) continue;
    const rate = MPEG_RATES[index] / { 3: 1, 2: 2, 0: 4 }[version as 0 | 2 | 3];
    const bits = version === 3 ? 144_000 * MP3_KBITS[size >> 4] : 72_000 * LOW_RATE_KBITS[size >> 4];
    const next = at + Math.floor(bits / rate) + ((size >> 1) & 1);
    if (next > at + 4 && bytes[next] === 0xff && bytes[next + 1] === kind && !((bytes[next + 2] ^ size) & 12)) return rate;
  }
  return USUAL_RATE;
}

/** How long a WAV file should be; Infinity where it was written to a pipe, 0 where it does not say. */
function declaredSeconds(bytes: Uint8Array): number {
  const [form, data] = ["fmt ", "data"].map((name) => (has(bytes, "RIFF") ? findChunk(bytes, name) : -1));
  if (data < 0 || form < 0 || form + 20 > bytes.length) return 0;
  const view = new DataView(bytes.buffer);
  const size = view.getUint32(data + 4, true);
  return size < UNFINISHED_BYTES ? size / view.getUint32(form + 16, true) : Infinity;
}

/** Where a chunk of a WAV file begins, or -1. */
function findChunk(bytes: Uint8Array, name: string): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length; ) {
    if (has(bytes, name, at)) return at;
    const size = view.getUint32(at + 4, true);
    at += 8 + size + (size & 1);
  }
  return -1;
}

function has(bytes: Uint8Array, text: string, at = 0): boolean {
  return [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
}

function find(bytes: Uint8Array, text: string, end = bytes.length): number {
  for (let at = 0; at < end; at++) if (bytes[at] === text.charCodeAt(0) && has(bytes, text, at)) return at;
  return -1;
}
