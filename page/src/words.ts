/** What people are told: the sentences come from esc50/classifier/describe.py, here they are filled in. */

import type { Event, Facts, Model } from "./model";
import { largest, round } from "./numbers";

export function fill(sentence: string, facts: Record<string, string | number>): string {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(facts[name]));
}

export class Words {
  constructor(private readonly model: Model) {}

  private say(name: string, facts: Record<string, string | number> = {}): string {
    return fill(this.model.sentences[name], { n_classes: this.model.class_names.length, ...facts });
  }

  verdict(probabilities: ArrayLike<number>, is_known: boolean, is_silent: boolean, audioset_top: number, score: number) {
    if (is_silent) return this.say("silent");
    if (!is_known) {
      const joint = this.model.audioset_of_class.some((rows) => rows.includes(audioset_top)) ? ", though" : ".";
      return this.say("none", { joint, audioset_top: this.audioset(audioset_top, score) });
    }
    const [first, second] = largest(Array.from(probabilities), 2);
    const told = (label: number) => `${this.model.with_article[label]} (${percent(probabilities[label])})`;
    const is_sure = probabilities[first] >= this.model.settings.guess_below;
    return this.say(is_sure ? "known" : "guess", { best: told(first), second: told(second) });
  }

  audioset(audioset_top: number, score: number): string {
    return `${this.model.audioset_labels[audioset_top]} (${score.toFixed(2)})`;
  }

  why(score: string, share: number, facts: Record<string, string | number>): string {
    const others = this.say("others", { share: round(100 * share) });
    const n_clips = this.model.reference_targets.length.toLocaleString("en");
    return fill(this.model.reasons[score], { n_classes: this.model.class_names.length, n_clips, others, ...facts });
  }

  set(labels: number[], coverage: number): string {
    const sure = `${Number((100 * coverage).toPrecision(3))} % sure`;
    const { most_named } = this.model.settings;
    const named = labels.slice(0, most_named).map((label) => this.model.with_article[label]);
    if (labels.length > most_named) {
      const facts = { n_classes: labels.length, named: named.join(", "), n_more: labels.length - most_named };
      return this.say("set_of_many", { sure, ...facts });
    }
    const last = named.pop()!;
    return capital(this.say(named.length ? "set" : "set_of_one", { named: named.join(", "), last, sure }));
  }

  heading(is_known: boolean): string {
    return this.say(is_known ? "top" : "top_of_none");
  }

  timeline(events: Event[], seconds: number, is_silent: boolean): string {
    if (is_silent) return this.say("silent");
    const known = events.filter((event) => event.is_known);
    const n_unknown = events.length - known.length;
    const facts = { length: minutes(seconds), are: n_unknown === 1 ? "is" : "are" };
    if (!events.length) return this.say("no_event", facts);
    if (!known.length) return this.say("no_known_event", { unknown: count(n_unknown, "sound"), ...facts });
    const few = known.length <= this.model.settings.most_listed;
    const listed = few ? this.listEvents(known) : this.listClasses(known);
    const told = this.say("events", { known: count(known.length, "sound"), listed, ...facts });
    return told + (n_unknown ? this.say("other_events", { others: count(n_unknown, "other"), ...facts }) : "");
  }

  second(sentence: string): string {
    return this.say("as_one_sound", { sentence: sentence[0].toLowerCase() + sentence.slice(1) });
  }

  /** An event where there is no room for a sentence. */
  event(event: Event): string {
    const name = this.label(event.class_name);
    return event.is_known ? name : this.say("unknown_event", { name });
  }

  /** The same in a file, for programs. */
  eventLabel(event: Event): string {
    return event.is_known ? event.class_name : this.event(event);
  }

  label(name: string): string {
    return this.model.labels[this.model.class_names.indexOf(name)];
  }

  faults(facts: Facts): string[] {
    const { settings } = this.model;
    const rate = facts.source_sample_rate_hz;
    const n_samples = round(facts.duration_seconds * settings.sample_rate_hz);
    const found: Record<string, boolean> = {
      is_silent: isSilent(facts, this.model),
      is_short: n_samples < settings.patch_samples,
      is_clipped: facts.clipped_fraction > settings.clipped_fraction,
      is_beyond_scale: facts.peak > settings.overshoot_peak,
      is_quiet: facts.peak < settings.quiet_peak && !isSilent(facts, this.model),
      is_opposite_phase: facts.is_opposite_phase,
    };
    const numbers = {
      seconds: facts.duration_seconds.toFixed(2),
      least: settings.least_seconds,
      percent: (100 * facts.clipped_fraction).toFixed(1),
      peak: Number(facts.peak.toPrecision(3)),
      decibel: (-20 * Math.log10(facts.peak)).toFixed(0),
      half: rate / 2,
      rate,
    };
    const names = this.model.faults.filter((name) => found[name]);
    if (rate < settings.sample_rate_hz) names.push("low_rate");
    return [...this.lengthFaults(facts), ...names.map((name) => this.say(name, numbers))];
  }

  private lengthFaults({ duration_seconds, declared_seconds }: Facts): string[] {
    const [found, declared] = [duration_seconds, declared_seconds].map((seconds) => seconds.toFixed(2));
    if (declared_seconds === Infinity) return [this.say("no_length", { found })];
    const is_whole = declared_seconds <= duration_seconds + this.model.settings.missing_seconds;
    return is_whole ? [] : [this.say("cut_off", { found, declared })];
  }

  private listEvents(events: Event[]): string {
    const span = (event: Event) => `${minutes(event.start_seconds)} to ${minutes(event.end_seconds)}`;
    return events.map((event) => `${this.label(event.class_name)} ${span(event)}`).join(", ");
  }

  private listClasses(events: Event[]): string {
    const seconds = new Map<string, number>();
    for (const { class_name, start_seconds, end_seconds } of events) {
      seconds.set(class_name, (seconds.get(class_name) ?? 0) + end_seconds - start_seconds);
    }
    const ordered = [...seconds].sort((one, other) => other[1] - one[1]);
    const longest = ordered.slice(0, this.model.settings.most_listed);
    const told = longest.map(([name, time]) => `${this.label(name)} for ${minutes(time)}`).join(", ");
    const n_more = seconds.size - longest.length;
    return told + (n_more ? ` and ${count(n_more, "other class")}` : "");
  }
}

export function isSilent(facts: Facts, model: Model): boolean {
  return facts.peak < model.settings.silence_peak;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

/** A time in whole seconds, 0:07 or 1:02:03. */
export function minutes(seconds: number): string {
  const whole = round(seconds);
  const [hours, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const end = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(rest).padStart(2, "0")}:${end}` : `${rest}:${end}`;
}

/** The same with tenths, 0:07.0. */
export function clock(seconds: number): string {
  const tenths = round(10 * seconds);
  return `${minutes(Math.floor(tenths / 10))}.${tenths % 10}`;
}

function count(number: number, noun: string): string {
  const plural = noun.endsWith("s") ? `${noun}es` : `${noun}s`;
  return `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;
}

const capital = (text: string) => text[0].toUpperCase() + text.slice(1);
