/** Sound as it comes: each frame is embedded once it is complete, and events are detected among all so far. */

import { classify, type Classified } from "./classify";
import type { Event } from "./model";
import { type Network, type Progress, Rows } from "./network";
import { Growing } from "./numbers";
import { Resampler } from "./resample";
import { bringToRate, gain, loudness } from "./sound";
import { detectEvents, frameProbabilities } from "./timeline";

export interface Update {
  seconds: number; // of all sound so far
  log_mel: Float32Array; // the new windows
  events: Event[] | null; // null where there is no new frame
  is_full: boolean; // no more sound is taken
}

export class LiveStream {
  private readonly resampler: Resampler | null;
  private readonly samples = new Growing();
  private readonly vectors = new Growing();
  private readonly probabilities = new Growing();
  private n_frames = 0;
  private readonly known = new Map<string, boolean>();

  constructor(
    private readonly network: Network,
    private readonly rate: number,
  ) {
    const to = network.model.settings.sample_rate_hz;
    this.resampler = rate === to ? null : new Resampler(rate, to);
  }

  async push(block: Float32Array): Promise<Update> {
    const { model } = this.network;
    const { hop_samples, patch_samples, mel_windows_per_hop, sample_rate_hz, max_seconds } = model.settings;
    this.samples.push(this.resampler ? this.resampler.push(block) : block);
    const first = this.n_frames;
    const n_new = Math.floor((this.samples.length - patch_samples) / hop_samples) + 1 - first;
    const seconds = this.samples.length / sample_rate_hz;
    const update: Update = { seconds, log_mel: new Float32Array(0), events: null, is_full: seconds >= max_seconds };
    if (n_new < 1) return update;
    const end = (first + n_new - 1) * hop_samples + patch_samples;
    const { vectors, log_mel } = await this.network.embed(this.levelled(first * hop_samples, end));
    this.vectors.push(vectors.values);
    this.n_frames += vectors.length;
    update.log_mel = log_mel.slice(first ? mel_windows_per_hop : 0, log_mel.length).values;
    update.events = await this.detect(first, seconds, vectors.width);
    return update;
  }

  /** Classify all of it as one recording, as if it came from a file. */
  async end(progress: Progress): Promise<Classified & { samples: Float32Array }> {
    const { settings } = this.network.model;
    if (this.resampler) this.samples.push(this.resampler.end());
    const samples = this.samples.subarray().slice();
    if (!samples.length) throw new Error("The microphone gave no sound: check that it is not muted.");
    const sound = await bringToRate([samples], settings.sample_rate_hz, settings, progress);
    sound.facts.source_sample_rate_hz = this.rate;
    return { ...(await classify(this.network, sound, "recording.wav", progress)), samples };
  }

  /** Level by the loudest of the last seconds: what comes next is not known yet. */
  private levelled(start: number, end: number): Float32Array {
    const { level } = this.network.model;
    const part = this.samples.subarray(start, end);
    if (!level) return part;
    const since = Math.max(0, start - level.reach_hops * level.hop_samples);
    const factor = gain(loudness(this.samples.subarray(since, end), level.hop_samples), level);
    return part.map((sample) => sample * factor);
  }

  private async detect(first: number, seconds: number, width: number): Promise<Event[]> {
    const margin = Math.floor(this.network.model.timeline.window_frames / 2);
    const from = Math.max(0, first - margin); // from here on a new frame changes the windows
    const start = Math.max(0, from - margin);
    const every = new Rows(this.vectors.subarray(), width);
    const found = await frameProbabilities(this.network, every.slice(start, this.n_frames), from - start);
    this.probabilities.length = from * found.width;
    this.probabilities.push(found.values);
    const probabilities = new Rows(this.probabilities.subarray(), found.width);
    return detectEvents(this.network, every, seconds, probabilities, this.known);
  }
}
