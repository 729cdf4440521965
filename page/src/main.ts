/** The page: takes a file or the microphone, asks the worker, shows the answer. */

import "./style.css";
import { decode } from "./decode";
import { downloads, wav } from "./formats";
import type { Classified } from "./classify";
import type { Update } from "./live";
import { Microphone } from "./microphone";
import { type Event, explain, type Model, UserError } from "./model";
import { Growing, join } from "./numbers";
import { classLists, drawLogMel, element, eventTable, timeAxis, topList, tracks } from "./view";
import { Words } from "./words";
import type { Request } from "./worker";

if (!("DecompressionStream" in window)) throw new Error("too old a browser"); // the message in index.html stays

const LIVE_SECONDS = 20; // that are shown
const SEEK_SECONDS = 0.01; // a player may round the time that it is sent to
const EXAMPLES = import.meta.glob("@assets/*.mp3", { query: "?url", import: "default", eager: true }) as Record<string, string>;

const byId = <Kind extends HTMLElement>(id: string) => document.getElementById(id) as Kind;
const [status, progress, answerBox, liveBox] = ["status", "progress", "answer", "live"].map((id) => byId(id));
const [listenButton, player] = [byId<HTMLButtonElement>("listen"), byId<HTMLAudioElement>("player")];

// --- the worker

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
let n_asked = 0;

worker.onmessage = ({ data: { id, value, error, progress: done } }) => {
  if (done !== undefined) return id < first ? undefined : showProgress(done); // of loading there is no id: all wait for it
  waiting.get(id)?.[error === undefined ? "resolve" : "reject"]((error === undefined ? value : new UserError(error)) as never);
  waiting.delete(id);
};
for (const kind of ["error", "messageerror"]) {
  worker.addEventListener(kind, (event) => {
    const reason = (event as ErrorEvent).message || "a part of this page did not load";
    const message = `The model could not be loaded (${reason}): load the page again.`;
    for (const { reject } of waiting.values()) reject(new UserError(message));
    waiting.clear();
  });
}

function ask<Value>(request: Request, transfer: Transferable[] = []): Promise<Value> {
  const id = n_asked++;
  worker.postMessage({ id, request }, transfer);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

const opened = ask<Model>({ kind: "open" }).then((model) => {
  byId("classes").append(...classLists(model));
  if (!turn) say("");
  return { model, words: new Words(model) };
});
opened.then(registerServiceWorker, (error) => fail(explain(error)));

/** Only when the model is kept, so that it is not loaded twice. */
async function registerServiceWorker(): Promise<void> {
  await ask({ kind: "settle" });
  navigator.serviceWorker?.register("./sw.js").catch(() => {}); // without it all works but offline
}

// --- what is going on

function say(text: string, kind = ""): void {
  status.textContent = text;
  status.className = kind;
  progress.hidden = true;
}

function showProgress(done: number): void {
  progress.hidden = false;
  (progress as HTMLProgressElement).value = done;
}

function hideAnswer(): void {
  had_focus ||= answerBox.contains(document.activeElement);
  answerBox.hidden = true;
  player.pause();
}

function fail(message: string): void {
  hideAnswer();
  liveBox.hidden = !session;
  say(message, "wrong");
}

let [turn, first] = [0, 0]; // the first request that is still waited for
let had_focus = false; // the answer that was hidden

/** Do what a user asked for last; what is overtaken is given up. */
async function answerTo(work: (isCurrent: () => boolean) => Promise<(() => void) | null>): Promise<void> {
  const mine = ++turn;
  const isCurrent = () => mine === turn;
  worker.postMessage({ first: (first = n_asked) });
  try {
    hideAnswer();
    say("One moment …");
    const show = await work(isCurrent);
    if (isCurrent()) show?.();
  } catch (error) {
    if (isCurrent()) fail(explain(error));
  }
}

// --- a file

function classifyFile(source: Blob | Promise<Blob>, name: string, note = ""): Promise<void> {
  return answerTo(async (isCurrent) => {
    const file = await source;
    const { model, words } = await opened;
    const decoded = await decode(file, name, model.settings.max_seconds);
    if (!isCurrent()) return null;
    await stopListening(); // only for a file that can be answered
    if (!isCurrent()) return null;
    const channels = decoded.channels.map((channel) => channel.slice());
    const request: Request = { kind: "classify", ...decoded, channels, name };
    const found = await ask<Classified>(request, channels.map((channel) => channel.buffer));
    return () => show(found, file, model, words, note);
  });
}

async function loadExample(url: string, name: string): Promise<Blob> {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new UserError(`The example ${name} could not be loaded: check the connection.`);
  return response.blob();
}

/** An answer, with a note on what was asked. */
function show({ answer, log_mel, facts }: Classified, file: Blob, model: Model, words: Words, note: string, name = answer.file): void {
  const { events } = answer;
  byId("verdict").textContent = answer.verdict;
  answerBox.className = (events ? events.some((event) => event.is_known) : answer.is_known) ? "known" : "unknown";
  const channels = `${facts.source_channels} channel${facts.source_channels > 1 ? "s" : ""}`;
  byId("facts").textContent = `${name}: ${facts.duration_seconds.toFixed(2)} s, ${channels}, ${facts.source_sample_rate_hz} Hz`;
  const warnings = note ? [note, ...answer.warnings] : answer.warnings;
  byId("warnings").replaceChildren(...warnings.map((warning) => element("li", {}, warning)));
  const second = answer.as_one_sound && !answer.is_silent && words.second(answer.as_one_sound);
  const notes = [second, answer.prediction_set?.sentence].filter((each) => !!each).map((each) => element("p", {}, each as string));
  const why = element("details", {}, element("summary", {}, "Why none of these?"), element("p", {}, answer.why));
  byId(events ? "second" : "notes").replaceChildren(...notes, ...(answer.why ? [why] : []));
  byId(events ? "notes" : "second").replaceChildren();
  byId("top").hidden = answer.is_silent;
  byId("top").replaceChildren(element("h3", {}, answer.heading), topList(answer, words));
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  drawLogMel(byId("picture"), log_mel, model);
  byId("axis").replaceChildren(...timeAxis(0, log_mel.seconds));
  byId("tracks").replaceChildren(...tracks(events ?? [], 0, log_mel.seconds, words, play));
  byId("events").replaceChildren(...(events?.length ? [eventTable(events, words, play)] : []));
  byId("event-details").hidden = !events?.length;
  const links = downloads(answer, model, words).map(({ name, type, text }) => {
    const href = `data:${type};charset=utf-8,${encodeURIComponent(text)}`;
    const kind = type === "text/plain" ? "Audacity labels" : name.replace(/.*\./, "").toUpperCase();
    return element("a", { class: "button", href, download: name }, kind);
  });
  byId("downloads").replaceChildren(...links);
  liveBox.hidden = true;
  answerBox.hidden = false;
  if (had_focus && document.activeElement === document.body) byId("verdict").focus();
  had_focus = false;
  say(answer.verdict, "spoken");
  length = log_mel.seconds;
  document.dispatchEvent(new CustomEvent("answer", { detail: answer }));
}

// --- playing

let only: Event | null = null; // that is played, and no more than it
let [length, frame] = [1, 0];

function play(event: Event): void {
  only = event;
  player.currentTime = event.start_seconds;
  player.play().catch(() => {}); // stopped before it began
}

function follow(): void {
  byId("head").style.left = `${Math.min(100, (100 * player.currentTime) / length)}%`;
  if (only && player.currentTime >= only.end_seconds) player.pause();
  cancelAnimationFrame(frame);
  if (!player.paused) frame = requestAnimationFrame(follow);
}

player.onplaying = player.ontimeupdate = follow; // which comes in the background too, but seldom
player.onpause = player.onemptied = () => (only = null);
player.onseeking = () => {
  if (only && Math.abs(player.currentTime - only.start_seconds) > SEEK_SECONDS) only = null; // by hand
};

// --- the microphone

interface Session {
  microphone: Microphone;
  blocks: Float32Array<ArrayBuffer>[];
  log_mel: Growing;
  busy: boolean;
}
let session: Session | null = null;

function listen(): Promise<void> {
  return answerTo(async (isCurrent) => {
    const { model, words } = await opened;
    const blocks: Session["blocks"] = [];
    let started: Session | null = null;
    const microphone = await Microphone.open((block) => {
      blocks.push(block);
      if (started) push(started, model, words).catch((error) => giveUp(started!, error));
    });
    const { track, context } = microphone;
    if (isCurrent()) {
      await ask({ kind: "live", rate: context.sampleRate }).catch(async (error) => {
        await microphone.close();
        throw error;
      });
    }
    if (!isCurrent()) await microphone.close();
    return () => {
      started = session = { microphone, blocks, log_mel: new Growing(), busy: false };
      const end = () => void (session === started && finish("The device stopped the microphone."));
      track.onended = end; // unplugged
      context.onstatechange = () => context.state !== "running" && end(); // a call, or a locked screen
      showLive(session, { seconds: 0, log_mel: new Float32Array(0) }, [], model, words); // not the last recording's
      liveBox.hidden = false;
      byId("now").textContent = "Listening …";
      listenButton.textContent = "Stop";
      say(`Press Stop to have the whole classified as one recording. After ${minutesOf(model)} it stops by itself.`);
    };
  });
}

/** One block after the other: those that come meanwhile wait and go together. */
async function push(of: Session, model: Model, words: Words): Promise<void> {
  if (of.busy || of !== session || !of.blocks.length) return;
  of.busy = true;
  const block = join(of.blocks.splice(0));
  const update = await ask<Update>({ kind: "push", block }, [block.buffer]);
  of.busy = false;
  if (of !== session) return;
  if (update.events) showLive(of, update, update.events, model, words);
  if (update.is_full) await finish(`${minutesOf(model)} are full: listening has stopped by itself.`);
}

async function giveUp(of: Session, error: Error): Promise<void> {
  if (of !== session) return;
  of.blocks.length = 0;
  const before = turn;
  await stopListening();
  if (turn === before) fail(explain(error));
}

const minutesOf = ({ settings }: Model) => `${settings.max_seconds / 60} minutes`;

function showLive(of: Session, update: Pick<Update, "seconds" | "log_mel">, events: Event[], model: Model, words: Words): void {
  const { hop_seconds, mel_windows_per_hop, mel_bands, ongoing_seconds } = model.settings;
  const n_windows = Math.round((LIVE_SECONDS / hop_seconds) * mel_windows_per_hop);
  of.log_mel.push(update.log_mel);
  of.log_mel.keep(n_windows * mel_bands);
  const from = Math.max(0, update.seconds - LIVE_SECONDS);
  drawLogMel(byId("live-picture"), { values: of.log_mel.subarray(), seconds: LIVE_SECONDS }, model, n_windows);
  byId("live-axis").replaceChildren(...timeAxis(from, from + LIVE_SECONDS));
  byId("live-tracks").replaceChildren(...tracks(events, from, from + LIVE_SECONDS, words));
  const now = events.filter((event) => event.end_seconds > update.seconds - ongoing_seconds).map((event) => words.event(event));
  const text = now.length ? now.join(", ") : "Nothing recognised now";
  if (byId("now").textContent !== text) byId("now").textContent = text; // or it would be read out again and again
}

/** Ends the session; gives whether there was one. */
async function stopListening(): Promise<boolean> {
  const was = session;
  if (!was) return false;
  session = null;
  listenButton.textContent = "Listen";
  await was.microphone.close();
  if (was.blocks.length) await ask({ kind: "push", block: join(was.blocks) });
  return true;
}

function finish(note = ""): Promise<void> {
  return answerTo(async (isCurrent) => {
    const { model, words } = await opened;
    await stopListening();
    if (!isCurrent()) return null;
    const found = await ask<Classified & { samples: Float32Array }>({ kind: "end" });
    return () => show(found, wav(found.samples, model.settings.sample_rate_hz), model, words, note, "your recording");
  });
}

// --- what a user does

const fileInput = byId<HTMLInputElement>("file");
fileInput.onchange = () => {
  const file = fileInput.files?.[0];
  fileInput.value = ""; // so that the same can be chosen again
  if (file) void classifyFile(file, file.name);
};
listenButton.onclick = ({ detail }) => {
  if (detail < 2) void (session ? finish() : listen()); // the second of a double click would lose the recording
};

document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.toggle("dropping", !!event.dataTransfer?.types.includes("Files"));
};
document.ondragleave = ({ relatedTarget }) => relatedTarget || document.body.classList.remove("dropping"); // not a child
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file, ...others] = event.dataTransfer?.files ?? [];
  const note = others.length ? `Only the first of ${others.length + 1} files is answered: give one at a time.` : "";
  if (file) void classifyFile(file, file.name, note);
  else void answerTo(() => Promise.reject(new UserError("This is no file: drop a sound file, or choose one.")));
};

for (const [path, url] of Object.entries(EXAMPLES)) {
  const name = path.split("/").pop()!;
  const button = element("button", { type: "button" }, name.replace(".mp3", "").replaceAll("_", " "));
  button.onclick = () => void classifyFile(loadExample(url, name), name);
  byId("examples").append(button);
}

say("Loading the model, once: after that the page also works offline.");
