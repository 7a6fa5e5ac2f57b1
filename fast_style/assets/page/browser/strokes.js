// Strokes wider than the network's own: the photo is painted small and brought up by joint bilateral
// upsampling, as fast_style/stylizing/strokes.py does and explains.

const SEEN_SIDE = 800;
const MOST_AUTO = 4;
const SPACE = 0.7; // small pixels
const RANGE = 0.1 * 255; // levels
const LEAST_WEIGHT = 1e-6;

/** How many times wider than the network's own the strokes are. */
export function strokeFor({ width, height }, stroke, minSide) {
  if (stroke !== "auto") return stroke;
  const seen = Math.max(width, height) / SEEN_SIDE;
  return Math.max(1, Math.min(seen, MOST_AUTO, Math.min(width, height) / minSide));
}

/** The size at which a picture is painted. */
export function smallSize({ width, height }, stroke, minSide) {
  const size = { width: Math.round(width / stroke), height: Math.round(height / stroke) };
  if (stroke !== 1 && Math.min(size.width, size.height) < minSide) {
    throw new Error(
      `A picture of ${width} × ${height} px is too small for strokes ${stroke} times as wide: it ` +
        `needs at least ${Math.ceil(minSide * stroke)} px a side.`,
    );
  }
  return size;
}

/**
 * Enlarge painted rows along the edges of the photo.
 * @param {Uint8ClampedArray} photo RGBA bytes of the photo's rows.
 * @param {Uint8ClampedArray} result takes the bytes of the same rows of the paint.
 * @param {number} top number of the first of these rows in the photo.
 * @param {{width, height}} size of the whole photo.
 * @param {{data, width, height}} small the photo, smaller.
 * @param {Uint8ClampedArray} painted the painted version of `small`.
 */
export function bringUp(photo, result, top, size, small, painted) {
  const columns = neighbours(0, size.width, size.width, small.width);
  const rows = neighbours(top, top + photo.length / 4 / size.width, size.height, small.height);
  for (let row = 0, at = 0; row < rows.indices.length / 3; row++) {
    for (let column = 0; column < size.width; column++, at += 4) {
      paintPixel(photo, result, at, rows, 3 * row, columns, 3 * column, small, painted);
    }
  }
}

function paintPixel(photo, result, at, rows, row, columns, column, small, painted) {
  const red = photo[at],
    green = photo[at + 1],
    blue = photo[at + 2];
  let total = 0,
    paintedRed = 0,
    paintedGreen = 0,
    paintedBlue = 0;
  for (let i = row; i < row + 3; i++) {
    const start = rows.indices[i] * small.width;
    for (let j = column; j < column + 3; j++) {
      const near = 4 * (start + columns.indices[j]);
      const dRed = small.data[near] - red;
      const dGreen = small.data[near + 1] - green;
      const dBlue = small.data[near + 2] - blue;
      const distance = dRed * dRed + dGreen * dGreen + dBlue * dBlue;
      const alike = Math.exp(distance / (-2 * RANGE * RANGE)) + LEAST_WEIGHT;
      const weight = alike * rows.weights[i] * columns.weights[j];
      total += weight;
      paintedRed += weight * painted[near];
      paintedGreen += weight * painted[near + 1];
      paintedBlue += weight * painted[near + 2];
    }
  }
  result[at] = paintedRed / total;
  result[at + 1] = paintedGreen / total;
  result[at + 2] = paintedBlue / total;
}

/** The three small rows, or columns, nearest to each one of the photo, one after the other. */
function neighbours(begin, end, side, smallSide) {
  const indices = new Int32Array(3 * (end - begin));
  const weights = new Float32Array(3 * (end - begin));
  for (let i = 0; i < indices.length; i++) {
    const place = ((begin + Math.floor(i / 3) + 0.5) * smallSide) / side - 0.5;
    const near = Math.round(place) + (i % 3) - 1;
    indices[i] = Math.min(Math.max(near, 0), smallSide - 1);
    weights[i] = Math.exp((near - place) ** 2 / (-2 * SPACE ** 2));
  }
  return { indices, weights };
}
