/** Decode a file at its own sample rate: browsers resample less well than this page. */

import { UserError } from "./model";

const USUAL_RATE = 48_000;
const PROBED_BYTES = 2_000_000; // of a file as large, the length is asked for before it is decoded
const PROBE_MS = 3_000;
const UNFINISHED_BYTES = 0x7fff0000; // programs that write to a pipe state this size or a larger one
const AAC_RATES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const MPEG_RATES = [44_100, 48_000, 32_000];
const MOST_FRAMED_BYTES = 50_000_000; // of an MP3 or AAC file, whose length browsers guess: a larger one is too long
const MP3_KBITS = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const LOW_RATE_KBITS = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

export interface Decoded {
  channels: Float32Array<ArrayBuffer>[];
  rate: number;
  declared_seconds: number; // by the header of a WAV file; 0 where it does not say
}

export async function decode(file: Blob, name: string, max_seconds: number): Promise<Decoded> {
  const too_long = `${name} is longer than ${max_seconds / 60} minutes: cut it, or use "esc50 predict --timeline".`;
  const is_long = file.size >= PROBED_BYTES && (await duration(file)) > max_seconds;
  if (is_long && file.size > MOST_FRAMED_BYTES) throw new UserError(too_long);
  const content = await file.arrayBuffer().catch(() => {
    throw new UserError(`${name} cannot be read: it is a folder, or was moved. Give a file.`);
  });
  if (!content.byteLength) throw new UserError(`${name} is empty (0 bytes): record or copy it again.`);
  const bytes = new Uint8Array(content);
  if (is_long && !(framedSeconds(bytes) <= max_seconds)) throw new UserError(too_long);
  const [rate, declared_seconds] = [findRate(bytes), declaredSeconds(bytes)]; // before decoding takes the bytes away
  const buffer = await decodeAt(rate, content).catch(() => {
    const advice = file.type.startsWith("video/") ? "perhaps the video has no sound track" : "save it as 16-bit WAV or as MP3";
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
  const bytes = whole.subarray(tagSize(whole));
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
    const rate = at > 0 && within(at, 30) ? view.getUint16(at + 28) : 0;
    return AAC_RATES.includes(rate) ? rate : USUAL_RATE; // the name may stand in the sound by chance
  }
  return findFrame(bytes)?.rate ?? USUAL_RATE;
}

interface Frame {
  rate: number;
  n_samples: number;
  next: number; // where it ends
}

/** The first frame of MP3 or AAC that a second one follows where it ends. */
function findFrame(bytes: Uint8Array): Frame | null {
  for (let at = 0; at < Math.min(bytes.length, 4096); at++) {
    const frame = readFrame(bytes, at);
    if (frame && (frame.next === bytes.length || readFrame(bytes, frame.next)?.rate === frame.rate)) return frame;
  }
  return null;
}

function readFrame(bytes: Uint8Array, at: number): Frame | null {
  const [sync, kind, form, high, middle, low, more] = bytes.subarray(at, at + 7);
  if (sync !== 0xff || kind < 0xe0 || more === undefined) return null;
  if ((kind & 0xf6) === 0xf0) {
    const next = at + (((high & 3) << 11) | (middle << 3) | (low >> 5));
    const rate = AAC_RATES[(form >> 2) & 15];
    return rate && next > at ? { rate, n_samples: 1024 * ((more & 3) + 1), next } : null;
  }
  const [version, layer, index] = [(kind >> 3) & 3, (kind >> 1) & 3, (form >> 2) & 3];
  if (version === 1 || layer !== 1 || index === 3) return null;
  const rate = MPEG_RATES[index] / { 3: 1, 2: 2, 0: 4 }[version as 0 | 2 | 3];
  const bits = version === 3 ? 144_000 * MP3_KBITS[form >> 4] : 72_000 * LOW_RATE_KBITS[form >> 4];
  const next = at + Math.floor(bits / rate) + ((form >> 1) & 1);
  return next > at + 4 ? { rate, n_samples: version === 3 ? 1152 : 576, next } : null;
}

/** The length of an MP3 or AAC file by all its frames; NaN of other files. */
export function framedSeconds(whole: Uint8Array): number {
  const bytes = whole.subarray(tagSize(whole));
  if (!findFrame(bytes)) return NaN;
  let [seconds, at] = [0, 0];
  while (at < bytes.length) {
    const frame = readFrame(bytes, at);
    seconds += frame ? frame.n_samples / frame.rate : 0;
    at = frame?.next ?? at + 1; // a tag between
  }
  return seconds;
}

/** Of an ID3 tag before the sound. */
function tagSize(bytes: Uint8Array): number {
  return has(bytes, "ID3") ? 10 + ((bytes[6] << 21) | (bytes[7] << 14) | (bytes[8] << 7) | bytes[9]) : 0;
}

/** How long a WAV file should be; Infinity where it was written to a pipe, 0 where it does not say. */
function declaredSeconds(bytes: Uint8Array): number {
  const [form, data] = ["fmt ", "data"].map((name) => (has(bytes, "RIFF") ? findChunk(bytes, name) : -1));
  if (data < 0 || form < 0 || form + 20 > bytes.length) return 0;
  const view = new DataView(bytes.buffer);
  const [size, n_per_second] = [view.getUint32(data + 4, true), view.getUint32(form + 16, true)];
  if (!size || size >= UNFINISHED_BYTES) return Infinity;
  return n_per_second ? size / n_per_second : 0;
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
