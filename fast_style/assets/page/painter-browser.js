// Paints in the visitor's own browser: no photo leaves it. `fast-style export STYLE --web FOLDER`
// writes this file as painter.js.

import { findGpu } from "./browser/engine.js";

const BYTES = 200e6;
const PHOTOS = 100;

// What the visitor waits for comes first.
const URGENCY = { open: 0, add: 0, forget: 0, preview: 1, full: 2, thumbnail: 3 };

export async function openPainter() {
  await isolate();
  const setup = await (await fetch("./styles.json")).json();
  const worker = new PaintingWorker();
  await worker.call("open", setup);
  let count = 0;
  return {
    kind: "browser",
    styles: setup.styles.map(({ id, name }) => ({ id, name })),
    limits: { bytes: BYTES, pixels: setup.limits.pixels, photos: PHOTOS },
    can: { strength: true, color: true, stroke: true },
    training: null,

    async addPhoto(file, signal) {
      if (file.size > BYTES) {
        const size = `${file.name} has ${Math.ceil(file.size / 1e6)} MB`;
        throw new Error(`${size}, and the most here are ${BYTES / 1e6} MB: make it smaller.`);
      }
      const number = ++count;
      const { width, height } = await worker.call("add", { number, file }, { signal });
      return { id: number, name: file.name, width, height };
    },
    thumbnail(photo, style, signal) {
      return worker.call("thumbnail", { number: photo.id, style }, { signal });
    },
    preview(photo, options, signal) {
      return worker.call("preview", { number: photo.id, options }, { signal });
    },
    async full(photo, options, onProgress, signal) {
      const given = { number: photo.id, options };
      const blob = await worker.call("full", given, { signal, onProgress });
      const ending = blob.type === "image/jpeg" ? "jpg" : "png";
      return { blob, name: `${photo.name.replace(/\.\w+$/, "")}-${options.style}.${ending}` };
    },
    forget(photo) {
      worker.call("forget", { number: photo.id });
    },
  };
}

/**
 * Let WASM use several cores. Its threads share memory, which browsers allow only to pages that come
 * with two headers. Plain servers do not send them, so a service worker adds them.
 */
async function isolate() {
  if (window.crossOriginIsolated || !navigator.serviceWorker) return;
  if (await findGpu()) return; // it paints without threads
  if (sessionStorage.getItem("isolation")) return; // it did not help: paint on one core
  sessionStorage.setItem("isolation", "tried");
  await navigator.serviceWorker.register("./service-worker.js");
  await navigator.serviceWorker.ready;
  location.reload();
  await new Promise(() => {}); // the page loads again
}

/** The worker that paints. It is given one job at a time, so that others can overtake and end. */
class PaintingWorker {
  constructor() {
    this.worker = new Worker(new URL("./browser/worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = () => this.fail();
    this.waiting = [];
    this.running = null;
    this.broken = null; // the error of a worker that cannot run
    this.count = 0;
  }

  /** Have the worker do a job; rejects with its sentence, or where the signal aborts. */
  call(call, given, { signal, onProgress = () => {} } = {}) {
    return new Promise((resolve, reject) => {
      if (this.broken) return reject(this.broken);
      if (signal?.aborted) return reject(signal.reason);
      const job = { id: ++this.count, call, given, resolve, reject, onProgress };
      signal?.addEventListener("abort", () => this.drop(job, signal.reason));
      const after = this.waiting.findIndex((other) => URGENCY[other.call] > URGENCY[call]);
      this.waiting.splice(after < 0 ? this.waiting.length : after, 0, job);
      this.next();
    });
  }

  next() {
    if (!this.running && this.waiting.length) {
      this.running = this.waiting.shift();
      const { id, call, given } = this.running;
      this.worker.postMessage({ id, call, given });
    }
    const begun = this.running?.call === "full" ? 1 : 0;
    const others = this.waiting.filter((job) => job.call === "full");
    others.forEach((job, index) => job.onProgress({ done: 0, waiting: begun + index }));
  }

  hear({ progress, result, error }) {
    const job = this.running;
    clearInterval(job.timer);
    if (progress) {
      job.timer = this.creep(job, progress);
      return;
    }
    this.running = null;
    if (error) job.reject(new Error(error));
    else job.resolve(result);
    this.next();
  }

  /** Tell the progress of a stage by the time that it is expected to take. */
  creep(job, { from, to, seconds }) {
    const start = performance.now();
    const tell = () => {
      const share = 1 - Math.exp((start - performance.now()) / 1000 / seconds);
      job.onProgress({ done: from + (to - from) * share, waiting: 0 });
    };
    tell();
    return setInterval(tell, 100);
  }

  drop(job, reason) {
    this.waiting = this.waiting.filter((other) => other !== job);
    job.onProgress = () => {};
    job.reject(reason); // what is being painted goes on, and its result is dropped
  }

  fail() {
    this.broken = new Error("This browser cannot run the networks: bring it up to date.");
    for (const job of [this.running, ...this.waiting]) job?.reject(this.broken);
  }
}
