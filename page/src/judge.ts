/** From vectors to probabilities, and whether a sound is any of the classes: esc50/classifier's pooling and ood. */

import type { Model } from "./model";
import { type Network, Rows } from "./network";
import { interpolate, largest, logSumExp, maximum, mean, type Numbers, softmax, sum } from "./numbers";

interface Judgement {
  probabilities: Float64Array; // calibrated
  is_known: boolean;
  score: number;
  audioset: Float32Array;
  parts: Record<string, number>; // of which the score is made, by name
  nearest: number; // class of the most similar training clip
  other: number; // AudioSet's class that is none of these and speaks most against them
}

/** Which frames hold sound: those unlike digital silence. */
export function activeFrames(vectors: Rows, model: Model): boolean[] {
  const { silence } = model;
  const length = Math.hypot(...silence);
  return Array.from({ length: vectors.length }, (_, frame) => {
    const embedding = vectors.row(frame).subarray(-silence.length);
    let [product, square] = [0, 0];
    for (let i = 0; i < silence.length; i++) {
      product += embedding[i] * silence[i];
      square += embedding[i] ** 2;
    }
    return product <= model.settings.silence_likeness * Math.sqrt(square) * length;
  });
}

/** The largest value of each number over the frames that count. */
export function maxima(vectors: Rows, counted: boolean[]): Float32Array<ArrayBuffer> {
  const found = new Float32Array(vectors.width);
  for (let frame = 0; frame < vectors.length; frame++) {
    if (!counted[frame]) continue;
    const row = vectors.row(frame);
    for (let i = 0; i < found.length; i++) if (row[i] > found[i]) found[i] = row[i];
  }
  return found;
}

/** Of a sound or a part of one. */
export async function judge(network: Network, vectors: Rows): Promise<Judgement> {
  const { model } = network;
  const active = activeFrames(vectors, model);
  const counted = active.includes(true) ? active : active.map(() => true);
  const pooled = maxima(vectors, counted);
  const logits = (await network.logits(new Rows(pooled, pooled.length))).values;
  const probabilities = softmax(logits);
  const predicted = largest(probabilities, 1)[0];
  const audioset = scores(pooled, model);
  const similarity = network.similarity(meanEmbedding(vectors, counted, model));
  const parts: Record<string, number> = {
    neighbours: mean(largest(similarity, model.rejection.neighbours).map((clip) => similarity[clip])),
    energy: logSumExp(logits),
    class_score: classScore(audioset, predicted, model),
    ...otherScore(audioset, model),
  };
  const score = combine(["neighbours", "energy", "class_score", "other_score"].map((name) => parts[name]), model);
  return {
    probabilities: temper(probabilities, model),
    is_known: score >= model.rejection.threshold,
    score,
    audioset,
    parts: { ...parts, combined: score },
    nearest: model.reference_targets[largest(similarity, 1)[0]],
    other: parts.other,
  };
}

/** The score in which a sound is most unlike the known ones, and the share of these that are above it. */
export function mostUnlike(judgement: Judgement, model: Model): [string, number] {
  const { share, scores } = model.rejection.by_share;
  const predicted = largest(judgement.probabilities, 1)[0];
  const names = ["neighbours", "energy", "class_score", "other_score", "combined"].filter(
    (name) => name !== "class_score" || model.audioset_of_class[predicted].length,
  );
  const above = names.map((name): [string, number] => [
    name,
    interpolate(-judgement.parts[name], scores[name].map((each) => -each), share),
  ]);
  return above.reduce((one, other) => (other[1] > one[1] ? other : one));
}

/** Labels of a prediction set, the most probable first: esc50/classifier/prediction_sets.py. */
export function predictionSet(probabilities: Numbers, model: Model): number[] {
  const rule = model.conformal!;
  const sureness = rule.edges.filter((edge) => edge <= maximum(probabilities)).length;
  const measured = rule.coverage.findIndex((coverage) => coverage >= model.settings.coverage);
  const least = rule.min_probability[measured][sureness];
  const many = Array.from(probabilities).filter((probability) => probability >= least).length;
  return largest(probabilities, Math.max(1, many));
}

function scores(pooled: Float32Array, model: Model): Float32Array {
  const place = model.vector.findIndex(([output]) => output === "scores");
  const start = sum(model.vector.slice(0, place).map(([, first, end]) => end - first));
  return pooled.subarray(start, start + model.audioset.length);
}

function meanEmbedding(vectors: Rows, counted: boolean[], model: Model): Float64Array {
  const size = model.settings.embedding_size;
  const sums = new Float64Array(size);
  for (let frame = 0; frame < vectors.length; frame++) {
    if (counted[frame]) vectors.row(frame).subarray(-size).forEach((value, i) => (sums[i] += value));
  }
  const length = Math.max(Math.sqrt(sum(sums.map((value) => value ** 2))), 1e-9);
  return sums.map((value) => value / length);
}

function classScore(audioset: Float32Array, predicted: number, { audioset_of_class, settings }: Model): number {
  const rows = audioset_of_class[predicted];
  return Math.log10((rows.length ? sum(rows.map((row) => audioset[row])) : settings.unmapped) + settings.score_offset);
}

function otherScore(audioset: Float32Array, { audioset_of_class, rejection, settings }: Model) {
  const mapped = new Set(audioset_of_class.flat());
  const above = Array.from(audioset, (score, row) =>
    mapped.has(row) ? -1 : score - settings.typical * rejection.typical_scores[row],
  );
  const [other] = largest(above, 1);
  return { other, other_score: -Math.log10(Math.max(above[other], 0) + settings.score_offset) };
}

/** Log odds of a known sound, by logistic regression on the scores and their products. */
function combine(values: number[], { rejection, settings: { cut } }: Model): number {
  const z = values.map((value, i) => (value - rejection.mean[i]) / rejection.deviation[i]);
  const kept = z.map((value) => Math.min(cut, Math.max(-cut, value)));
  const products = kept.flatMap((one, i) => kept.slice(i).map((other) => one * other));
  return sum([...kept, ...products].map((value, i) => value * rejection.weights[i])) + rejection.intercept;
}

function temper(probabilities: Float64Array, { temperature, settings: { tiny } }: Model): Float64Array {
  return softmax(probabilities.map((probability) => Math.log(Math.max(probability, tiny)) / temperature));
}
