// A photo's way through a network, and what follows behind it: wide strokes, colours, strength.

import { sameSize, shrunk, walk } from "./canvas.js";
import { ColorStatistics, keepChroma, matchColors } from "./colour.js";
import { bringUp } from "./strokes.js";

/**
 * Paint a photo.
 * @param engine
 * @param {{name, file, channels}} style
 * @param {OffscreenCanvas} photo
 * @param {{width, height}} size at which the network paints it.
 * @param {{strength, color}} options
 * @param {(stage) => void} progress told {from, to, seconds} of each stage, from 0 to 1.
 * @returns {Promise<OffscreenCanvas>}
 */
export async function paint(engine, style, photo, size, { strength, color }, progress) {
  refuseTooLarge(engine, style, photo, size);
  progress({ from: 0, to: 0.7, seconds: engine.secondsFor(style, size.width * size.height) });
  const small = shrunk(photo, size);
  const painted = await engine.paint(style, small, strength);

  progress({ from: 0.7, to: 0.85, seconds: 1e-6 * photo.width * photo.height });
  const result = new OffscreenCanvas(photo.width, photo.height);
  walk(photo, result, (original, strip, top) => {
    if (sameSize(photo, size)) {
      const begin = 4 * photo.width * top;
      strip.set(painted.subarray(begin, begin + strip.length));
    } else {
      bringUp(original, strip, top, photo, small, painted);
    }
  });

  progress({ from: 0.85, to: 0.95, seconds: 1e-6 * photo.width * photo.height });
  const recolor = recoloring(color, photo, result);
  if (color !== "style" || strength !== 1) {
    walk(photo, result, (original, strip) => {
      recolor(original, strip);
      blend(original, strip, strength);
    });
  }
  return result;
}

function refuseTooLarge(engine, style, photo, size) {
  const excess = (size.width * size.height) / engine.mostPixels(style.channels);
  if (excess <= 1) return;
  const stroke = Math.ceil(10 * (photo.width / size.width) * Math.sqrt(excess)) / 10;
  throw new Error(
    `A picture of ${photo.width} × ${photo.height} px does not fit into this browser's memory in ` +
      `such fine strokes: choose strokes of at least ${stroke}, or a smaller picture.`,
  );
}

function recoloring(color, photo, painted) {
  if (color === "style") return () => {};
  if (color === "luminance") return keepChroma;
  const ofPhoto = new ColorStatistics();
  const ofPainted = new ColorStatistics();
  walk(photo, painted, (original, strip) => {
    ofPhoto.add(original);
    ofPainted.add(strip);
  });
  return matchColors(ofPhoto, ofPainted);
}

function blend(photo, painted, strength) {
  if (strength === 1) return;
  for (let i = 0; i < painted.length; i++) painted[i] = photo[i] + strength * (painted[i] - photo[i]);
}
