/** Bring any samples to mono at the model's rate and level, as esc50/audio does. */

import { type Facts, type LevelSettings, type Settings, UserError } from "./model";
import { join, mean } from "./numbers";
import type { Progress } from "./network";
import { Resampler } from "./resample";

export interface Sound {
  waveform: Float32Array<ArrayBuffer>;
  facts: Facts;
}

/** Mix, resample and keep within full scale, block by block. */
export async function bringToRate(
  channels: Float32Array[], rate: number, settings: Settings, progress: Progress, declared_seconds = 0,
): Promise<Sound> {
  const resampler = rate === settings.sample_rate_hz ? null : new Resampler(rate, settings.sample_rate_hz);
  const [length, size] = [channels[0].length, Math.floor(settings.block_samples / channels.length)];
  const mixer = new Mixer(settings);
  const parts: Float32Array[] = [];
  let [peak, n_clipped, was_full] = [0, 0, false];
  const keep = (part: Float32Array) => {
    for (const sample of part) peak = Math.max(peak, Math.abs(sample));
    parts.push(peak > 1 ? part.map((sample) => sample / peak) : part); // by the highest peak so far
  };
  for (let start = 0; start < length; start += size) {
    const mono = mixer.mix(channels.map((channel) => channel.subarray(start, start + size)));
    for (const sample of mono) {
      const is_full = Math.abs(sample) >= settings.full_scale;
      n_clipped += Number(is_full && was_full);
      was_full = is_full;
    }
    keep(resampler ? resampler.push(mono) : mono);
    await progress(0);
  }
  if (resampler) keep(resampler.end());
  if (!parts.some((part) => part.length)) throw new UserError("The sound is shorter than one sample at 16 kHz: record a longer one.");
  if (!(peak <= settings.max_peak)) throw new UserError("The sound has samples that are no numbers, or far too high: repair it.");
  const facts = {
    source_sample_rate_hz: rate,
    source_channels: channels.length,
    duration_seconds: length / rate,
    declared_seconds,
    peak,
    clipped_fraction: peak > settings.overshoot_peak ? 0 : n_clipped / Math.max(1, length),
    is_opposite_phase: mixer.has_cancelled,
  };
  return { waveform: join(parts), facts };
}

/** The mean of the channels or, where they cancel, the loudest: esc50/audio/mixing.py. */
class Mixer {
  has_cancelled = false;
  private channel = -1; // that was taken last; -1 for the mean
  private has_begun = false;

  constructor(private readonly settings: Settings) {}

  mix(block: Float32Array[]): Float32Array {
    if (block.length === 1) return block[0];
    const average = block[0].map((_, i) => block.reduce((total, channel) => total + channel[i], 0) / block.length);
    const before = this.channel;
    this.channel = this.choose(block, average);
    const mono = this.channel < 0 ? average : block[this.channel].slice();
    if (this.has_begun && before !== this.channel) {
      const past = before < 0 ? average : block[before];
      const length = Math.min(this.settings.fade_samples, past.length);
      for (let i = 0; i < length; i++) mono[i] += (past[i] - mono[i]) * (1 - i / Math.max(1, length - 1));
    }
    this.has_begun = true;
    return mono;
  }

  private choose(block: Float32Array[], average: Float32Array): number {
    const power = block.map(variance);
    const [most, total] = [Math.max(...power), power.reduce((one, other) => one + other)];
    const cancels = variance(average) * power.length ** 2 < this.settings.cancelling * total;
    if (!cancels || most < this.settings.min_power) return -1;
    this.has_cancelled = true;
    return this.channel >= 0 && power[this.channel] > most / 2 ? this.channel : power.indexOf(most);
  }
}

function variance(samples: Float32Array): number {
  const middle = mean(samples);
  let total = 0;
  for (const sample of samples) total += (sample - middle) ** 2;
  return total / samples.length;
}

/** One level for every sound: its loudest second reaches the target. esc50/audio/loudness.py says how. */
export function setLevel(waveform: Float32Array, settings: LevelSettings | null): Float32Array<ArrayBuffer> {
  if (!settings) return new Float32Array(waveform);
  const { hop_samples: hop, reach_hops: reach } = settings;
  const loud = loudness(waveform, hop);
  const gains = Array.from({ length: loud.length + 1 }, (_, border) =>
    gain(loud.slice(Math.max(0, border - reach), border + reach), settings),
  );
  return new Float32Array(waveform).map((sample, i) => {
    const border = Math.floor(i / hop);
    return sample * (gains[border] + (gains[border + 1] - gains[border]) * ((i % hop) / hop));
  });
}

/** Root mean square of two hops, from each hop on. */
export function loudness(waveform: Float32Array, hop: number): number[] {
  const energies = new Float64Array(Math.ceil(waveform.length / hop) + 1);
  for (let i = 0; i < waveform.length; i++) energies[Math.floor(i / hop)] += waveform[i] ** 2;
  return Array.from(energies.subarray(0, -1), (energy, i) => Math.sqrt((energy + energies[i + 1]) / (2 * hop)));
}

/** What brings the loudest of some seconds to the target. */
export function gain(loud: number[], settings: LevelSettings): number {
  return settings.target_rms / Math.max(...loud, settings.target_rms / settings.max_gain);
}
