// Opens and paints photos beside the page, which stays alive meanwhile. It answers messages
// {id, call, given}, one at a time, by {id, result} or {id, error}, and tells {id, progress}.

import { decode, encoded, onCanvas, shrunk } from "./canvas.js";
import { openEngine } from "./engine.js";
import { paint } from "./painting.js";
import { sizeWithin } from "./resize.js";
import { smallSize, strokeFor } from "./strokes.js";

const THUMBNAIL_SIDE = 200;
const PREVIEW_SIDE = 800;
const PLAIN = { strength: 1, color: "style" };

let setup; // of styles.json
let engine;
const photos = new Map(); // by number: {file, width, height, preview}

const calls = {
  async open(given) {
    setup = given;
    engine = await openEngine();
    return engine.provider;
  },

  async add({ number, file }) {
    const canvas = await decode(file, setup);
    const { width, height } = canvas;
    const preview = shrunk(canvas, sizeWithin(canvas, PREVIEW_SIDE, setup.minSide));
    photos.set(number, { file, width, height, preview });
    return { width, height };
  },

  async thumbnail({ number, style }) {
    const { preview } = known(number);
    const photo = onCanvas(shrunk(onCanvas(preview), sizeWithin(preview, THUMBNAIL_SIDE, setup.minSide)));
    return encoded(await painted(photo, photo, { style, ...PLAIN }), "image/jpeg");
  },

  async preview({ number, options }) {
    const photo = known(number);
    const small = painterSize(photo, options.stroke);
    // Strokes that the preview is too small to show are painted at its own size.
    const size = small.width < photo.preview.width ? small : photo.preview;
    return encoded(await painted(onCanvas(photo.preview), size, options), "image/jpeg");
  },

  async full({ number, options }, progress) {
    const { file } = known(number);
    const photo = await decode(file, setup);
    const size = painterSize(photo, options.stroke);
    const picture = await painted(photo, size, options, progress);
    return encoded(picture, file.type === "image/jpeg" ? "image/jpeg" : "image/png");
  },

  forget({ number }) {
    photos.delete(number);
  },
};

function known(number) {
  const photo = photos.get(number);
  if (!photo) throw new Error("This photo was taken off the page: add it again.");
  return photo;
}

function painterSize(photo, stroke) {
  return smallSize(photo, strokeFor(photo, stroke, setup.minSide), setup.minSide);
}

function painted(photo, size, options, progress = () => {}) {
  const style = setup.styles.find(({ id }) => id === options.style);
  return paint(engine, style, photo, size, options, progress);
}

let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};

async function answer({ id, call, given }) {
  try {
    const result = await calls[call](given, (progress) => self.postMessage({ id, progress }));
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: error.message ?? String(error) });
  }
}
