/** Files to download: rows, records and labels as `esc50 predict` writes them, named as the app names them. */

import type { Answer, Event, Model } from "./model";
import { round } from "./numbers";
import type { Words } from "./words";

interface Download {
  name: string;
  type: string;
  text: string;
}

/** JSON and CSV; of a timeline Audacity's label track too. */
export function downloads(answer: Answer, model: Model, words: Words): Download[] {
  const stem = `${answer.file.replace(/(.)\.[^.]*$/, "$1")}_${answer.events ? "timeline" : "answer"}`;
  const files = [
    { name: `${stem}.csv`, type: "text/csv", text: answer.events ? eventsCsv(answer.file, answer.events) : topCsv(answer) },
    { name: `${stem}.json`, type: "application/json", text: `[\n${JSON.stringify(record(answer, model))}\n]\n` },
  ];
  if (!answer.events) return files;
  return [...files, { name: `${stem}.txt`, type: "text/plain", text: audacity(answer.events, words) }];
}

/** Of a timeline what esc50.classifier.formats.timeline_record gives. */
function record(answer: Answer, { timeline }: Model): object {
  const { file, verdict, duration_seconds, warnings, events } = answer;
  if (!events) return answer;
  const length = round(duration_seconds, 3);
  return { file, verdict, duration_seconds: length, warnings, events: events.map(roundNumbers), settings: timeline };
}

function eventsCsv(file: string, events: Event[]): string {
  const columns = ["start_seconds", "end_seconds", "class_name", "confidence", "is_known"] as const;
  const rows = events.map(roundNumbers).map((event) => [file, ...columns.map((name) => event[name])]);
  return csv([["file", ...columns], ...rows]);
}

function topCsv(answer: Answer): string {
  const rows = answer.top.map((each, i) => [answer.file, i + 1, each.class_name, each.probability, answer.is_known]);
  return csv([["file", "rank", "class_name", "probability", "is_known"], ...rows]);
}

function csv(rows: (string | number | boolean)[][]): string {
  const cell = (value: string | number | boolean) => {
    if (typeof value === "boolean") return value ? "True" : "False";
    return /[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  };
  return rows.map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function audacity(events: Event[], words: Words): string {
  const times = (event: Event) => `${event.start_seconds.toFixed(6)}\t${event.end_seconds.toFixed(6)}`;
  return events.map((event) => `${times(event)}\t${words.eventLabel(event)}\n`).join("");
}

function roundNumbers(event: Event): Event {
  const [start_seconds, end_seconds] = [round(event.start_seconds, 3), round(event.end_seconds, 3)];
  return { ...event, start_seconds, end_seconds, confidence: round(event.confidence, 4) };
}

/** Mono samples as a WAV file of 16 bits. */
export function wav(samples: Float32Array, rate: number): Blob {
  const header = new DataView(new ArrayBuffer(44));
  const text = (at: number, letters: string) => [...letters].forEach((each, i) => header.setUint8(at + i, each.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // mono
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, 2 * samples.length, true);
  const whole = Int16Array.from(samples, (sample) => Math.max(-32768, Math.min(32767, Math.round(32768 * sample))));
  return new Blob([header, whole], { type: "audio/wav" });
}
