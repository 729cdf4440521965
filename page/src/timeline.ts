/** Which sounds occur when: esc50/classifier/timeline.py. */

import { activeFrames, judge, maxima } from "./judge";
import type { Event, Model, TimelineSettings } from "./model";
import { type Network, Rows } from "./network";
import { join, mean, softmax } from "./numbers";

interface Run {
  first: number;
  last: number;
}

/** Events of some frames, those of different classes apart; `known` remembers what was judged before. */
export async function detectEvents(
  network: Network,
  vectors: Rows,
  seconds: number,
  probabilities?: Rows,
  known = new Map<string, boolean>(),
): Promise<Event[]> {
  const { model } = network;
  const active = activeFrames(vectors, model);
  const found = findEvents(probabilities ?? (await frameProbabilities(network, vectors)), active, model);
  const borders = frameBorders(vectors.length, seconds, model);
  const events: Event[] = [];
  for (const { label, first, last, probability } of found) {
    const end = Math.min(last + 1, first + model.settings.most_judged);
    const key = [label, first, end].join();
    if (!known.has(key)) known.set(key, (await judge(network, vectors.slice(first, end))).is_known);
    events.push({
      start_seconds: borders[first],
      end_seconds: borders[last + 1],
      class_name: model.class_names[label],
      confidence: calibrate(probability, model),
      is_known: known.get(key)!,
    });
  }
  return events.sort(
    (one, other) => one.start_seconds - other.start_seconds || one.end_seconds - other.end_seconds,
  );
}

/** Of each frame, with the maxima of the active frames around it. */
export async function frameProbabilities(network: Network, vectors: Rows, first = 0): Promise<Rows> {
  const margin = Math.floor(network.model.timeline.window_frames / 2);
  const active = activeFrames(vectors, network.model);
  const windows: Float32Array[] = [];
  for (let frame = first; frame < vectors.length; frame++) {
    const [start, end] = [Math.max(0, frame - margin), Math.min(vectors.length, frame + margin + 1)];
    const near = active.slice(start, end);
    windows.push(near.includes(true) ? maxima(vectors.slice(start, end), near) : vectors.row(frame));
  }
  const logits = await network.logits(new Rows(join(windows), vectors.width));
  const rows = Array.from({ length: logits.length }, (_, i) => Float32Array.from(softmax(logits.row(i))));
  return new Rows(join(rows), logits.width);
}

/** Where frames hand over to each other: in the middle of their overlap. */
function frameBorders(n_frames: number, seconds: number, { settings }: Model): number[] {
  const { hop_seconds: hop, frame_seconds } = settings;
  return Array.from({ length: n_frames + 1 }, (_, i) =>
    i === n_frames ? seconds : i ? Math.min(i * hop + (frame_seconds - hop) / 2, seconds) : 0,
  );
}

function findEvents(probabilities: Rows, active: boolean[], model: Model) {
  return model.class_names.flatMap((_, label) => {
    const smooth = smoothed(probabilities, active, label, model.timeline.smoothing_frames);
    if (!smooth.some((value) => value >= model.timeline.on_probability)) return [];
    return runsOfClass(smooth, active, model.timeline, model.settings.hop_seconds).map(({ first, last }) => ({
      label,
      first,
      last,
      probability: mean(smooth.slice(first, last + 1)),
    }));
  });
}

/** Averages with the neighbours; silent frames count as no class at all. */
function smoothed(probabilities: Rows, active: boolean[], label: number, n_frames: number): number[] {
  const margin = Math.floor(n_frames / 2);
  const counted = active.map((is_active, frame) => (is_active ? probabilities.row(frame)[label] : 0));
  const within = (frame: number) => counted[Math.min(counted.length - 1, Math.max(0, frame))];
  return counted.map((_, frame) => mean(Array.from({ length: n_frames }, (_, i) => within(frame + i - margin))));
}

function runsOfClass(smooth: number[], active: boolean[], settings: TimelineSettings, hop: number): Run[] {
  const is_on = smooth.map((value, frame) => active[frame] && value >= settings.off_probability);
  const joined = joinRuns(runs(is_on), Math.round(settings.max_gap_seconds / hop));
  return joined
    .filter(({ first, last }) => Math.max(...smooth.slice(first, last + 1)) >= settings.on_probability)
    .filter(({ first, last }) => {
      const beside = [active[first - 1], active[last + 1]].filter((is_active) => is_active === false).length;
      return (last - first + 1 + beside) * hop >= settings.min_event_seconds;
    })
    .map(({ first, last }) => {
      const trim = Math.min(settings.trim_frames, Math.floor((last - first) / 2));
      return { first: first ? first + trim : 0, last: last < smooth.length - 1 ? last - trim : last };
    });
}

function runs(mask: boolean[]): Run[] {
  const found: Run[] = [];
  mask.forEach((is_on, i) => {
    if (is_on && !mask[i - 1]) found.push({ first: i, last: i });
    if (is_on) found[found.length - 1].last = i;
  });
  return found;
}

function joinRuns(parts: Run[], max_gap: number): Run[] {
  const joined: Run[] = [];
  for (const run of parts) {
    const before = joined[joined.length - 1];
    if (before && run.first - before.last - 1 <= max_gap) before.last = run.last;
    else joined.push({ ...run });
  }
  return joined;
}

function calibrate(probability: number, { timeline, settings: { tiny } }: Model): number {
  const inside = Math.min(1 - tiny, Math.max(tiny, probability));
  const odds = timeline.confidence_offset + timeline.confidence_slope * Math.log(inside / (1 - inside));
  return 1 / (1 + Math.exp(-odds));
}
