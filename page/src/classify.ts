/** One sound from samples to its answer: esc50.classifier.predict and formats. */

import { judge, mostUnlike, predictionSet } from "./judge";
import type { Answer, LogMel } from "./model";
import type { Network, Progress, Rows } from "./network";
import { largest } from "./numbers";
import { setLevel, type Sound } from "./sound";
import { detectEvents } from "./timeline";
import { isSilent, Words } from "./words";

export interface Classified {
  answer: Answer;
  log_mel: LogMel;
  facts: Sound["facts"];
}

export async function classify(
  network: Network,
  { waveform, facts }: Sound,
  file: string,
  progress: Progress,
): Promise<Classified> {
  const { model } = network;
  const { settings } = model;
  const words = new Words(model);
  const { vectors, log_mel } = await network.embed(setLevel(waveform, model.level), progress);
  const found = await judge(network, vectors);
  const { probabilities, audioset } = found;
  const is_silent = isSilent(facts, model);
  const is_known = found.is_known && !is_silent;
  const seconds = facts.duration_seconds;
  const [audioset_top] = largest(audioset, 1);
  const single = words.verdict(probabilities, is_known, is_silent, audioset_top, audioset[audioset_top]);
  const top = largest(probabilities, settings.n_top).map((label) => ({
    class_name: model.class_names[label],
    probability: probabilities[label],
  }));
  const events = seconds > settings.timeline_from_seconds ? await detectEvents(network, vectors, seconds) : null;
  const labels = is_known && model.conformal ? predictionSet(probabilities, model) : null;
  const answer: Answer = {
    file,
    verdict: events ? words.timeline(events, seconds, is_silent) : single,
    ...(events && { events, as_one_sound: single }),
    is_known,
    is_silent,
    why: "",
    theme: model.themes[top[0].class_name],
    duration_seconds: seconds,
    heading: words.heading(is_known),
    top,
    prediction_set: labels && {
      coverage: settings.coverage,
      class_names: labels.map((label) => model.class_names[label]),
      sentence: words.set(labels, settings.coverage),
    },
    audioset_top: largest(audioset, settings.n_audioset).map((row) => ({ class_name: model.audioset[row], score: audioset[row] })),
    warnings: words.faults(facts),
  };
  if (!is_known && !is_silent) {
    const [score, share] = mostUnlike(found, model);
    const [best] = largest(probabilities, 1);
    answer.why = words.why(score, share, {
      best: model.with_article[best],
      nearest: model.with_article[found.nearest],
      other: words.audioset(found.other, audioset[found.other]),
    });
  }
  return { answer, log_mel: cutPadding(log_mel, waveform.length, network), facts };
}

/** Keep the windows of the sound itself. */
function cutPadding(log_mel: Rows, n_samples: number, { model }: Network): LogMel {
  const { hop_seconds, hop_samples, mel_windows_per_hop } = model.settings;
  const n_windows = Math.max(2 * mel_windows_per_hop, Math.ceil((n_samples * mel_windows_per_hop) / hop_samples));
  const values = log_mel.values.slice(0, n_windows * log_mel.width);
  return { values, seconds: (values.length / log_mel.width / mel_windows_per_hop) * hop_seconds };
}
