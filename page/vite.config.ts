import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { defineConfig, type Plugin, type ResolvedConfig } from "vite";

/** Write the list of all files, each with its hash, and the page's policy into the service worker. */
function fillServiceWorker(): Plugin {
  let folder = "";
  return {
    name: "fill-service-worker",
    configResolved(config: ResolvedConfig) {
      folder = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      const names = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !["sw.js", "README.md"].includes(entry.name))
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1).replaceAll("\\", "/"));
      const files = names.sort().map((name) => [name, hash(readFileSync(join(folder, name)))]);
      const worker = join(folder, "sw.js");
      const [, policy] = readFileSync(join(folder, "index.html"), "utf8").match(/content="(default-src[^"]*)"/)!;
      const text = readFileSync(worker, "utf8").replace("__FILES__", JSON.stringify(files)).replace("__POLICY__", policy);
      writeFileSync(worker, text);
    },
  };
}

function hash(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 12);
}

export default defineConfig({
  base: "./", // so that it works in any folder of a site
  publicDir: "public",
  resolve: {
    alias: { "@assets": resolve(import.meta.dirname, "../build/page-assets") },
    conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser"],
  },
  worker: { format: "es" },
  build: {
    target: "es2022",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  plugins: [fillServiceWorker()],
});
