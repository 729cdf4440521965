/** Draws answers. */

import type { Answer, Event, LogMel, Model } from "./model";
import { clock, minutes, percent, type Words } from "./words";

const MOST_COLUMNS = 1200;
const ROOM = 0.86; // of the width: a time further to the right would be cut off on a phone
const N_COLOURS = 256;
const COLOURS = [[0, 0, 4], [60, 15, 110], [150, 45, 128], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

type Child = Node | string;

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The most probable classes with a bar each. */
export function topList(answer: Answer, words: Words): HTMLElement {
  const rows = answer.top.map(({ class_name, probability }) => {
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
    (bar.firstChild as HTMLElement).style.width = `${100 * probability}%`;
    const share = probability < 0.005 ? "< 1 %" : percent(probability);
    return element("li", {}, element("span", { class: "name" }, words.label(class_name)), " ", element("span", { class: "share" }, share), bar);
  });
  return element("ol", { class: "top" }, ...rows);
}

const span = (event: Event) => `${clock(event.start_seconds)} to ${clock(event.end_seconds)}`;

/** A row for each class, a button for each event in it. */
export function tracks(events: Event[], from: number, to: number, words: Words, play?: (event: Event) => void): HTMLElement[] {
  const rows = new Map<string, HTMLElement>();
  for (const event of events.filter(({ end_seconds }) => end_seconds > from)) {
    const name = words.label(event.class_name);
    if (!rows.has(name)) rows.set(name, element("span", { class: "track" }));
    const label = `${words.event(event)}, ${span(event)}, ${percent(event.confidence)}`;
    const box = play
      ? element("button", { type: "button", "aria-label": `Play ${label}`, title: label })
      : element("span", { title: label });
    box.className = event.is_known ? "event" : "event doubt";
    box.style.left = `${(100 * (Math.max(from, event.start_seconds) - from)) / (to - from)}%`;
    box.style.width = `${(100 * (event.end_seconds - Math.max(from, event.start_seconds))) / (to - from)}%`;
    if (play) box.onclick = () => play(event);
    rows.get(name)!.append(box);
  }
  return [...rows].map(([name, track]) => element("li", {}, element("span", { class: "name" }, name), track));
}

/** The same to read, and to play with a finger. */
export function eventTable(events: Event[], words: Words, play: (event: Event) => void): HTMLElement {
  const cells = (kind: "th" | "td", values: Child[]) =>
    element("tr", {}, ...values.map((value) => element(kind, kind === "th" ? { scope: "col" } : {}, value)));
  const rows = events.map((event) => {
    const label = `Play ${words.event(event)}, ${span(event)}`;
    const button = element("button", { type: "button", "aria-label": label }, clock(event.start_seconds));
    button.onclick = () => play(event);
    return cells("td", [button, clock(event.end_seconds), words.event(event), percent(event.confidence)]);
  });
  const head = element("thead", {}, cells("th", ["from", "to", "sound", "confidence"]));
  return element("table", {}, head, element("tbody", {}, ...rows));
}

/** Times below a picture. */
export function timeAxis(from: number, to: number): HTMLElement[] {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300];
  const step = steps.find((each) => (to - from) / each <= 6) ?? 600;
  const times: HTMLElement[] = [];
  for (let time = Math.ceil(Math.max(0, from) / step) * step; time <= from + ROOM * (to - from); time += step) {
    const mark = element("span", {}, minutes(time));
    mark.style.left = `${(100 * (time - from)) / (to - from)}%`;
    times.push(mark);
  }
  return times;
}

/** Time to the right, frequency upwards; several windows share a column where there are too many. */
export function drawLogMel(canvas: HTMLCanvasElement, { values }: LogMel, { settings }: Model, n_windows?: number): void {
  const bands = settings.mel_bands;
  const [n_found, n_shown] = [values.length / bands, n_windows ?? values.length / bands];
  const per_column = Math.ceil(n_shown / MOST_COLUMNS);
  canvas.width = Math.ceil(n_shown / per_column);
  canvas.height = bands;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(canvas.width, bands);
  const pixels = new Uint32Array(image.data.buffer);
  const low = Math.log(settings.log_offset);
  const high = values.reduce((one, other) => Math.max(one, other), low + 3);
  for (let column = 0; column < canvas.width; column++) {
    for (let band = 0; band < bands; band++) {
      let loudest = low;
      const end = Math.min(n_found, (column + 1) * per_column);
      for (let window = column * per_column; window < end; window++) loudest = Math.max(loudest, values[window * bands + band]);
      pixels[(bands - 1 - band) * canvas.width + column] = PALETTE[Math.round(((N_COLOURS - 1) * (loudest - low)) / (high - low))];
    }
  }
  context.putImageData(image, 0, 0);
}

/** From quiet to loud, four bytes a colour. */
const PALETTE = new Uint32Array(
  Uint8ClampedArray.from({ length: 4 * N_COLOURS }, (_, i) => {
    const place = (Math.floor(i / 4) / (N_COLOURS - 1)) * (COLOURS.length - 1);
    const before = Math.min(COLOURS.length - 2, Math.floor(place));
    const [one, other] = [COLOURS[before][i % 4], COLOURS[before + 1][i % 4]];
    return i % 4 === 3 ? 255 : one + (other - one) * (place - before);
  }).buffer,
);

/** The classes by their theme. */
export function classLists(model: Model): HTMLElement[] {
  const themes = [...new Set(Object.values(model.themes))];
  return themes.flatMap((theme) => {
    const labels = model.labels.filter((_, i) => model.themes[model.class_names[i]] === theme);
    return [element("dt", {}, theme), element("dd", {}, labels.join(", "))];
  });
}
