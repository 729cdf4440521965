/** Holds the model and answers, so that the page stays quick. */

import loaderUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import headUrl from "@assets/head.bin?url";
import modelUrl from "@assets/model.json?url";
import referenceUrl from "@assets/reference.bin?url";
import runtimeUrl from "@assets/runtime.bin?url";
import yamnetUrl from "@assets/yamnet.bin?url";
import * as ort from "onnxruntime-web/wasm";
import { classify } from "./classify";
import type { Decoded } from "./decode";
import { LiveStream } from "./live";
import { explain, type Model, UserError } from "./model";
import { Network } from "./network";
import { bringToRate } from "./sound";

export type Request =
  | { kind: "open" }
  | { kind: "settle" } // until all that was loaded is kept
  | { kind: "classify"; name: string } & Decoded
  | { kind: "live"; rate: number }
  | { kind: "push"; block: Float32Array<ArrayBuffer> }
  | { kind: "end" };

const MOST_THREADS = 4;
let network: Network;
let live: LiveStream;
let first = 0; // the request from which on answers are waited for

async function answer(request: Request, id: number): Promise<unknown> {
  const watch = async (done: number) => {
    report(done, id);
    await new Promise((resolve) => setTimeout(resolve)); // or no message would come in between
    if (id < first) throw new Error("overtaken");
  };
  switch (request.kind) {
    case "open":
      network = await open().catch((error) => {
        throw new UserError(`The model could not be loaded (${error.message}): load the page again.`);
      });
      return network.model;
    case "settle":
      return Promise.all(kept).then(() => null);
    case "classify": {
      const { channels, rate, declared_seconds, name } = request;
      const sound = await bringToRate(channels, rate, network.model.settings, watch, declared_seconds);
      return classify(network, sound, name, watch);
    }
    case "live":
      live = new LiveStream(network, request.rate);
      return null;
    case "push":
      return live.push(request.block);
    case "end":
      return live.end(watch);
  }
}

async function open(): Promise<Network> {
  const weights = (url: string) => unpack(url).then(interleave);
  const loading = [weights(yamnetUrl), weights(headUrl), weights(referenceUrl), unpack(runtimeUrl)] as const;
  const model = load(modelUrl).then((response): Promise<Model> => response.json());
  const [facts, yamnet, head, reference, runtime] = await Promise.all([model, ...loading]);
  ort.env.wasm.wasmPaths = { mjs: new URL(loaderUrl, location.href).href };
  ort.env.wasm.wasmBinary = runtime;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  return Network.open(facts, yamnet, head, reference);
}

let n_loading = 0;
const loaded: number[] = [];
const kept: Promise<void>[] = [];

/** Load and unzip, with the progress of all files together. */
async function unpack(url: string): Promise<ArrayBuffer> {
  const response = await load(url);
  const [index, total] = [n_loading++, Number(response.headers.get("Content-Length"))];
  let n_read = 0;
  const watched = response.body.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        n_read += chunk.length;
        loaded[index] = total ? Math.min(1, n_read / total) : 0;
        report(loaded.reduce((one, other) => one + other, 0) / n_loading);
        controller.enqueue(chunk);
      },
    }),
  );
  return new Response(watched.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** From where the service worker keeps all, or to there, so that nothing large is loaded twice. */
async function load(url: string): Promise<Response & { body: ReadableStream<Uint8Array<ArrayBuffer>> }> {
  const cache = await self.caches?.open("esc50-page").catch(() => null);
  const found = await cache?.match(url);
  const response = found ?? (await fetch(url));
  if (!response.ok || !response.body) throw new Error(`${url}: ${response.status}`);
  if (!found && cache) kept.push(cache.put(url, response.clone()).catch(() => {})); // where there is no room
  return response as Response & { body: ReadableStream<Uint8Array<ArrayBuffer>> };
}

/** The lower bytes came first, then the higher ones. */
function interleave(packed: ArrayBuffer): ArrayBuffer {
  const bytes = new Uint8Array(packed);
  const [joined, half] = [new Uint8Array(bytes.length), Math.ceil(bytes.length / 2)];
  for (let i = 0; i < bytes.length; i++) joined[i] = bytes[(i >> 1) + (i & 1) * half];
  return joined.buffer;
}

function report(progress: number, id?: number): void {
  postMessage({ id, progress });
}

let last = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<{ id: number; request: Request } | { first: number }>) => {
  if ("first" in data) return void (first = data.first);
  const { id, request } = data;
  last = last.then(async () => {
    try {
      postMessage({ id, value: await answer(request, id) });
    } catch (error) {
      postMessage({ id, error: explain(error) });
    }
  });
};
