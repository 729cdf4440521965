/** What `esc50 page` writes of the model: every number and every sentence that the page shares with Python. */

export interface Model {
  class_names: string[];
  labels: string[];
  with_article: string[];
  themes: Record<string, string>;
  vector: [output: string, first: number, end: number][];
  temperature: number;
  rejection: Rejection;
  conformal: { edges: number[]; coverage: number[]; min_probability: number[][] } | null;
  audioset: string[];
  audioset_labels: string[];
  audioset_of_class: number[][];
  silence: number[];
  reference_targets: number[];
  sentences: Record<string, string>;
  reasons: Record<string, string>;
  faults: string[];
  level: LevelSettings | null;
  timeline: TimelineSettings;
  settings: Settings;
}

interface Rejection {
  threshold: number;
  neighbours: number;
  mean: number[];
  deviation: number[];
  weights: number[];
  intercept: number;
  typical_scores: number[];
  by_share: { share: number[]; scores: Record<string, number[]> };
}

export interface LevelSettings {
  target_rms: number;
  max_gain: number;
  hop_samples: number;
  reach_hops: number;
}

export interface TimelineSettings {
  window_frames: number;
  smoothing_frames: number;
  on_probability: number;
  off_probability: number;
  max_gap_seconds: number;
  min_event_seconds: number;
  trim_frames: number;
  confidence_slope: number;
  confidence_offset: number;
}

type Names =
  | "sample_rate_hz" | "hop_samples" | "patch_samples" | "frames_per_call" | "hop_seconds" | "frame_seconds"
  | "least_seconds" | "embedding_size" | "mel_bands" | "mel_windows_per_hop" | "log_offset" | "silence_likeness"
  | "silence_peak" | "max_seconds" | "timeline_from_seconds" | "most_judged" | "tiny" | "coverage" | "score_offset"
  | "missing_seconds" | "ongoing_seconds" | "n_top" | "n_audioset"
  | "unmapped" | "typical" | "cut" | "guess_below" | "most_named" | "most_listed" | "cancelling" | "min_power"
  | "fade_samples" | "full_scale" | "clipped_fraction" | "overshoot_peak" | "quiet_peak" | "block_samples" | "max_peak";

export type Settings = Record<Names, number>;

/** Something that a user can mend; its message is shown. */
export class UserError extends Error {}

/** What is said of any error; only some of them are a user's to mend. */
export function explain(error: unknown): string {
  return error instanceof UserError ? error.message : `This page failed (${error}): load it again.`;
}

/** What is known of a sound beside its samples: esc50.audio.SoundFacts. */
export interface Facts {
  source_sample_rate_hz: number;
  source_channels: number;
  duration_seconds: number;
  declared_seconds: number; // by the header; 0 where it does not say, Infinity where it cannot be true
  peak: number;
  clipped_fraction: number;
  is_opposite_phase: boolean;
}

export interface Event {
  start_seconds: number;
  end_seconds: number;
  class_name: string;
  confidence: number;
  is_known: boolean;
}

/** An answer in plain types: what esc50.classifier.formats.prediction_record gives, but for the training clips. */
export interface Answer {
  file: string;
  verdict: string;
  events?: Event[];
  as_one_sound?: string;
  is_known: boolean;
  is_silent: boolean;
  why: string;
  theme: string;
  duration_seconds: number;
  heading: string;
  top: { class_name: string; probability: number }[];
  prediction_set: { coverage: number; class_names: string[]; sentence: string } | null;
  audioset_top: { class_name: string; score: number }[];
  warnings: string[];
}

/** The logarithm of mel bands, one row of them after the other, as long as the sound. */
export interface LogMel {
  values: Float32Array;
  seconds: number;
}
