// Keeps every file of the page for use without a network, and gives the headers that let WebAssembly use threads.

const FILES = new Map(__FILES__); // name to hash, by vite.config.ts
const CACHE = "esc50-page"; // src/worker.ts puts the model there
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Content-Security-Policy": "__POLICY__", // of index.html, for the worker too
};
const scope = self.registration.scope;

const keyOf = (name) => (name.startsWith("assets/") ? scope + name : `${scope}${name}?${FILES.get(name)}`);
const nameOf = (url) => url.slice(scope.length).split(/[?#]/)[0] || "index.html";

async function fill() {
  const cache = await caches.open(CACHE);
  const missing = await Promise.all([...FILES.keys()].map(async (name) => (await cache.match(keyOf(name))) || name));
  for (const name of missing.filter((each) => typeof each === "string")) {
    const response = await fetch(scope + name, { cache: name.startsWith("assets/") ? "default" : "no-cache" });
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    await cache.put(keyOf(name), response);
  }
  await self.skipWaiting(); // a reload then shows this version
}

async function sweep() {
  const cache = await caches.open(CACHE);
  const kept = new Set([...FILES.keys()].map(keyOf));
  await Promise.all((await cache.keys()).map((each) => kept.has(each.url) || cache.delete(each)));
  await self.clients.claim();
}

async function answer(request) {
  const found = (await (await caches.open(CACHE)).match(keyOf(nameOf(request.url)))) || (await fetch(request));
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}

self.addEventListener("install", (event) => event.waitUntil(fill()));
self.addEventListener("activate", (event) => event.waitUntil(sweep()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(scope) && FILES.has(nameOf(url))) event.respondWith(answer(event.request));
});
