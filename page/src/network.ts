/** YAMNet and the head by ONNX Runtime, and the vectors that lie between them. */

import * as ort from "onnxruntime-web/wasm";
import type { Model } from "./model";
import { join } from "./numbers";

/** Vectors, one row after the other. */
export class Rows {
  constructor(
    readonly values: Float32Array,
    readonly width: number,
  ) {}

  get length(): number {
    return this.values.length / this.width;
  }

  row(index: number): Float32Array {
    return this.values.subarray(index * this.width, (index + 1) * this.width);
  }

  slice(first: number, end: number): Rows {
    return new Rows(this.values.subarray(first * this.width, end * this.width), this.width);
  }
}

interface Frames {
  vectors: Rows;
  log_mel: Rows;
}

export type Progress = (done: number) => void | Promise<void>; // may throw, to end the work

export class Network {
  private constructor(
    readonly model: Model,
    private readonly yamnet: ort.InferenceSession,
    private readonly head: ort.InferenceSession,
    private readonly reference: Float32Array, // (embedding_size, n_clips)
  ) {}

  static async open(model: Model, yamnet: ArrayBuffer, head: ArrayBuffer, reference: ArrayBuffer): Promise<Network> {
    const sessions = [await ort.InferenceSession.create(yamnet), await ort.InferenceSession.create(head)];
    return new Network(model, sessions[0], sessions[1], halfFloats(new Uint16Array(reference)));
  }

  /** Vectors and log-mel of a levelled waveform of any length, part by part. */
  async embed(waveform: Float32Array, progress: Progress = () => {}): Promise<Frames> {
    const { hop_samples, patch_samples, frames_per_call, mel_windows_per_hop } = this.model.settings;
    const n_frames = 1 + Math.ceil(Math.max(0, waveform.length - patch_samples) / hop_samples);
    const parts: Frames[] = [];
    for (let first = 0; first < n_frames; first += frames_per_call) {
      const last = first + frames_per_call - 1;
      const is_last = last >= n_frames - 1;
      const end = is_last ? waveform.length : last * hop_samples + patch_samples;
      const part = await this.run(waveform.slice(first * hop_samples, end));
      // Neighbouring parts share the windows of half a patch.
      parts.push(is_last ? part : { ...part, log_mel: part.log_mel.slice(0, frames_per_call * mel_windows_per_hop) });
      await progress(Math.min(1, (last + 1) / n_frames));
    }
    const joined = (rows: Rows[]) => new Rows(join(rows.map((each) => each.values)), rows[0].width);
    return { vectors: joined(parts.map((each) => each.vectors)), log_mel: joined(parts.map((each) => each.log_mel)) };
  }

  /** What the head makes of vectors, before the softmax. */
  async logits(vectors: Rows): Promise<Rows> {
    const parts: Float32Array[] = [];
    const step = 8 * this.model.settings.frames_per_call;
    for (let first = 0; first < vectors.length; first += step) {
      const part = vectors.slice(first, Math.min(first + step, vectors.length));
      const input = new ort.Tensor("float32", part.values, [part.length, part.width]);
      parts.push((await this.head.run({ vectors: input }, ["logits"])).logits.data as Float32Array);
    }
    return new Rows(join(parts), this.model.class_names.length);
  }

  /** Cosine of a mean embedding of unit length to each training clip. */
  similarity(embedding: ArrayLike<number>): Float64Array {
    const n_clips = this.model.reference_targets.length;
    const found = new Float64Array(n_clips);
    for (let i = 0; i < embedding.length; i++) {
      if (!embedding[i]) continue;
      for (let clip = 0; clip < n_clips; clip++) found[clip] += embedding[i] * this.reference[i * n_clips + clip];
    }
    return found;
  }

  private async run(waveform: Float32Array): Promise<Frames> {
    const input = new ort.Tensor("float32", waveform, [1, waveform.length]);
    const names = [...new Set(this.model.vector.map(([output]) => output)), "log_mel"];
    const found = await this.yamnet.run({ waveforms: input }, names);
    const outputs = Object.fromEntries(
      names.map((name) => [name, new Rows(found[name].data as Float32Array, found[name].dims[2])]),
    );
    return { vectors: this.select(outputs), log_mel: outputs.log_mel };
  }

  /** The columns that the head takes. */
  private select(outputs: Record<string, Rows>): Rows {
    const width = this.model.vector.reduce((total, [, first, end]) => total + end - first, 0);
    const n_frames = outputs[this.model.vector[0][0]].length;
    const values = new Float32Array(n_frames * width);
    for (let frame = 0; frame < n_frames; frame++) {
      let start = frame * width;
      for (const [output, first, end] of this.model.vector) {
        values.set(outputs[output].row(frame).subarray(first, end), start);
        start += end - first;
      }
    }
    return new Rows(values, width);
  }
}

/** Numbers of 16 bits, none of them negative. */
function halfFloats(bits: Uint16Array): Float32Array {
  const table = Float32Array.from({ length: 1 << 15 }, (_, i) => {
    const [power, fraction] = [i >> 10, (i & 1023) / 1024];
    return power ? 2 ** (power - 15) * (1 + fraction) : 2 ** -14 * fraction;
  });
  return Float32Array.from(bits, (each) => table[each]);
}
