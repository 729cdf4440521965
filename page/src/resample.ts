/** Bring a stream of samples to another rate, by a polyphase filter as sharp as soxr's HQ, which Python takes. */

// A Kaiser window for 100 dB, below the noise of 16 bits, with half the amplitude midway between soxr's passband and the Nyquist frequency.
const CUTOFF = 1 - 0.0432; // of the lower Nyquist frequency
const BETA = 10.06;
const SPAN = 156; // in samples of the lower rate
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
    this.taps = 2 * Math.round(SPAN / cutoff / 2);
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
    const { up, down, taps, phases, waiting } = this;
    const length = waiting.length + block.length;
    const samples = new Float32Array(length + 3 * down); // `filterFour` may read beyond the end
    samples.set(waiting);
    samples.set(block, waiting.length);
    const phase = (this.n_written * down) % up;
    const written = new Float32Array(Math.max(0, Math.ceil(((length - taps + 1) * up - phase) / down)));
    for (let first = 0; first < Math.min(up, written.length); first++) {
      const place = phase + first * down;
      const kernel = phases[place % up];
      for (let i = first, start = Math.floor(place / up); i < written.length; i += 4 * up, start += 4 * down) {
        filterFour(kernel, samples, start, down, written, i, up);
      }
    }
    this.waiting = samples.slice(Math.floor((phase + written.length * down) / up), length);
    this.n_written += written.length;
    return written;
  }
}

/** Four samples of the same phase: the kernel stays in the cache, and no sum waits for another. */
function filterFour(
  kernel: Float32Array, samples: Float32Array, start: number, down: number, written: Float32Array, i: number, up: number,
): void {
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let tap = 0, at = start; tap < kernel.length; tap++, at++) {
    a += kernel[tap] * samples[at];
    b += kernel[tap] * samples[at + down];
    c += kernel[tap] * samples[at + 2 * down];
    d += kernel[tap] * samples[at + 3 * down];
  }
  [a, b, c, d].forEach((total, k) => (written[i + k * up] = total)); // what is beyond the end is dropped
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
