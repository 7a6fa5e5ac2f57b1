// Photos on canvases of their own size: opened, read in strips of rows, and encoded.

import { rowsInStrip, shrink } from "./resize.js";

const JPEG_QUALITY = 0.95;

/**
 * A canvas with the photo of a file, upright and in sRGB, over white.
 * @param {File} file
 * @param {{minSide, limits: {pixels}}} setup what sizes are allowed.
 */
export async function decode(file, { minSide, limits }) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name} is not a picture that this browser opens: save it as JPEG or PNG.`);
  }
  const { width, height } = bitmap;
  const size = `${file.name} has ${width} × ${height} px`;
  if (Math.min(width, height) < minSide) {
    throw new Error(`${size}: a picture needs at least ${minSide} px a side.`);
  }
  if (width * height > limits.pixels) {
    const most = limits.pixels / 1e6;
    throw new Error(`${size}, and the most here are ${most} megapixels: make it smaller.`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = contextOf(canvas);
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

export function onCanvas({ data, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  contextOf(canvas).putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}

/** The picture of a canvas as {data, width, height}, made smaller where the size is. */
export function shrunk(canvas, size) {
  if (sameSize(canvas, size)) return contextOf(canvas).getImageData(0, 0, size.width, size.height);
  return shrink(canvas, (top, rows) => rowsOf(canvas, top, rows).data, size);
}

export function sameSize(a, b) {
  return a.width === b.width && a.height === b.height;
}

/**
 * Change a canvas in strips of rows.
 * @param {OffscreenCanvas} photo
 * @param {OffscreenCanvas} paint of the same size.
 * @param {(photo, paint, top) => void} change is given RGBA bytes of rows from `top` on, and
 *     changes those of the paint.
 */
export function walk(photo, paint, change) {
  const step = rowsInStrip(photo.width);
  for (let top = 0; top < photo.height; top += step) {
    const rows = Math.min(step, photo.height - top);
    const strip = rowsOf(paint, top, rows);
    change(rowsOf(photo, top, rows).data, strip.data, top);
    contextOf(paint).putImageData(strip, 0, top);
  }
}

export function encoded(canvas, type) {
  return canvas.convertToBlob({ type, quality: JPEG_QUALITY });
}

function contextOf(canvas) {
  // Pixels are read more often than drawn, so they stay in the memory of the CPU.
  return canvas.getContext("2d", { alpha: false, willReadFrequently: true });
}

function rowsOf(canvas, top, rows) {
  return contextOf(canvas).getImageData(0, top, canvas.width, rows);
}
