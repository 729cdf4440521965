/** Small calculations, as numpy does them. */

export type Numbers = ArrayLike<number> & Iterable<number>;

export const sum = (values: Iterable<number>): number => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};

export const mean = (values: Numbers): number => sum(values) / values.length;

export const maximum = (values: Iterable<number>): number => {
  let largest = -Infinity;
  for (const value of values) if (value > largest) largest = value;
  return largest;
};

/** Indices of the largest values, the largest first; of equal ones the first. */
export function largest(values: Numbers, count: number): number[] {
  const order = Array.from(values, (_, index) => index);
  return order.sort((one, other) => values[other] - values[one] || one - other).slice(0, count);
}

export function softmax(logits: Numbers): Float64Array {
  const top = maximum(logits);
  const powers = Float64Array.from(logits, (logit) => Math.exp(logit - top));
  const total = sum(powers);
  return powers.map((power) => power / total);
}

export function logSumExp(values: Numbers): number {
  const top = maximum(values);
  return top + Math.log(sum(Array.from(values, (value) => Math.exp(value - top))));
}

/** Piecewise linear, of rising `xs`; constant outside. */
export function interpolate(x: number, xs: number[], ys: number[]): number {
  const next = xs.findIndex((each) => each >= x);
  if (next < 0) return ys[ys.length - 1];
  if (next === 0) return ys[0];
  const share = (x - xs[next - 1]) / (xs[next] - xs[next - 1]);
  return ys[next - 1] + share * (ys[next] - ys[next - 1]);
}

/** Round half to even, as Python. */
export function round(value: number, digits = 0): number {
  if (digits) return Number(value.toFixed(digits));
  const below = Math.floor(value);
  const rest = value - below;
  return rest === 0.5 ? below + (below % 2) : Math.round(value);
}

export function join(parts: Float32Array[]): Float32Array<ArrayBuffer> {
  const joined = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let start = 0;
  for (const part of parts) {
    joined.set(part, start);
    start += part.length;
  }
  return joined;
}

/** Samples or rows that come bit by bit. */
export class Growing {
  private values = new Float32Array(1 << 16);
  length = 0;

  push(part: Float32Array): void {
    if (this.length + part.length > this.values.length) {
      const longer = new Float32Array(2 * (this.length + part.length));
      longer.set(this.values);
      this.values = longer;
    }
    this.values.set(part, this.length);
    this.length += part.length;
  }

  /** Keep the last ones alone. */
  keep(count: number): void {
    this.values.copyWithin(0, Math.max(0, this.length - count), this.length);
    this.length = Math.min(count, this.length);
  }

  subarray(start = 0, end = this.length): Float32Array<ArrayBuffer> {
    return this.values.subarray(start, end);
  }
}
