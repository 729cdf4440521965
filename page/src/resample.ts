/** Bring a stream of samples to another rate, by a polyphase filter as sharp as soxr's HQ, which Python takes. */

// What soxr's HQ comes to: a Kaiser window for 126 dB, and half power in the middle between passband and Nyquist frequency.
const CUTOFF = 1 - 0.0432; // of the lower Nyquist frequency
const BETA = 13;
const SPAN = 198; // in samples of the lower rate
const MOST_PHASES = 1000;

const tables = new Map<string, Float32Array[]>(); // filters by their ratio

export class Resampler {
  private readonly up: number;
  private readonly down: number;
  private readonly taps: number;
  private readonly phases: Float32Array[];
  private waiting: Float32Array;
  private n_read = 0;
  private n_written = 0;

  constructor(
    private readonly from: number,
    private readonly to: number,
  ) {
    [this.up, this.down] = fraction(to / from);
    const cutoff = Math.min(1, to / from);
    this.taps = 4 * Math.round(SPAN / cutoff / 4);
    const key = `${this.up}/${this.down}`;
    this.phases = tables.get(key) ?? lowpass(this.up, this.taps, cutoff * CUTOFF);
    tables.set(key, this.phases);
    this.waiting = new Float32Array(this.taps / 2 - 1);
  }

  push(block: Float32Array): Float32Array<ArrayBuffer> {
    this.n_read += block.length;
    return this.filter(block);
  }

  /** What is still in the filter. */
  end(): Float32Array<ArrayBuffer> {
    const n_left = Math.round((this.n_read * this.to) / this.from) - this.n_written;
    return this.filter(new Float32Array(this.taps + 1)).subarray(0, Math.max(0, n_left));
  }

  private filter(block: Float32Array): Float32Array<ArrayBuffer> {
    const samples = new Float32Array(this.waiting.length + block.length);
    samples.set(this.waiting);
    samples.set(block, this.waiting.length);
    const { up, down, taps, phases } = this;
    let phase = (this.n_written * down) % up;
    let start = 0;
    const written = new Float32Array(Math.max(0, Math.ceil(((samples.length - taps + 1) * up - phase) / down)));
    for (let i = 0; i < written.length; i++) {
      written[i] = product(phases[phase], samples, start);
      phase += down;
      start += Math.floor(phase / up);
      phase %= up;
    }
    this.waiting = samples.slice(start);
    this.n_written += written.length;
    return written;
  }
}

/** Four sums at a time: each waits for nothing but its own last one. */
function product(kernel: Float32Array, samples: Float32Array, start: number): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < kernel.length; i += 4) {
    a += kernel[i] * samples[start + i];
    b += kernel[i + 1] * samples[start + i + 1];
    c += kernel[i + 2] * samples[start + i + 2];
    d += kernel[i + 3] * samples[start + i + 3];
  }
  return a + b + c + d;
}

/** A ratio as whole numbers, the first at most `MOST_PHASES`: exact for all usual rates. */
function fraction(ratio: number): [number, number] {
  let best: [number, number] = [1, Math.round(1 / ratio) || 1];
  for (let up = 1; up <= MOST_PHASES; up++) {
    const down = Math.max(1, Math.round(up / ratio));
    const error = Math.abs(up / down - ratio);
    if (error < Math.abs(best[0] / best[1] - ratio)) best = [up, down];
    if (error < 1e-12) break;
  }
  return best;
}

/** Windowed sinc, for each phase between two samples; each sums to one. */
function lowpass(n_phases: number, taps: number, cutoff: number): Float32Array[] {
  return Array.from({ length: n_phases }, (_, phase) => {
    const kernel = Float64Array.from({ length: taps }, (_, tap) => {
      const x = tap - (taps / 2 - 1) - phase / n_phases;
      const window = bessel(BETA * Math.sqrt(Math.max(0, 1 - (x / (taps / 2)) ** 2)));
      return (x ? Math.sin(Math.PI * cutoff * x) / x : Math.PI * cutoff) * window;
    });
    const total = kernel.reduce((one, other) => one + other);
    return Float32Array.from(kernel, (value) => value / total);
  });
}

/** Modified Bessel function of order zero. */
function bessel(x: number): number {
  let [term, total] = [1, 1];
  for (let k = 1; term > total * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    total += term;
  }
  return total;
}
