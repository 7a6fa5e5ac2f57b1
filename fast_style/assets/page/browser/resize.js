// Lanczos resampling, as Pillow does it, so that a photo is made as small here as on the command
// line. Pictures are {data: RGBA bytes, width, height}, as ImageData is.

const LOBES = 3;

/** The size at which a picture is at most `longest` px a side, but no side shorter than `least`. */
export function sizeWithin(size, longest, least) {
  const share = Math.max(
    Math.min(1, longest / Math.max(size.width, size.height)),
    least / Math.min(size.width, size.height),
  );
  return { width: Math.round(size.width * share), height: Math.round(size.height * share) };
}

/**
 * Make a picture smaller.
 * @param {{width, height}} size of the picture.
 * @param {(top, rows) => Uint8ClampedArray} rowsFrom gives RGBA bytes of its rows.
 * @param {{width, height}} small no side longer than the picture's.
 */
export function shrink(size, rowsFrom, small) {
  const narrow = new Uint8ClampedArray(small.width * size.height * 4);
  const columns = weights(size.width, small.width);
  const step = rowsInStrip(size.width);
  for (let top = 0; top < size.height; top += step) {
    const rows = Math.min(step, size.height - top);
    const strip = rowsFrom(top, rows);
    for (let row = 0; row < rows; row++) {
      narrowRow(strip, row * size.width * 4, narrow, (top + row) * small.width * 4, columns);
    }
  }
  const data = new Uint8ClampedArray(small.width * small.height * 4);
  const length = small.width * 4;
  const sums = new Float32Array(length);
  weights(size.height, small.height).forEach(({ first, shares }, row) => {
    sums.fill(0);
    shares.forEach((share, tap) => {
      const from = (first + tap) * length;
      for (let i = 0; i < length; i++) sums[i] += share * narrow[from + i];
    });
    data.set(sums, row * length); // rounds and clips
  });
  return { data, ...small };
}

/** Rows of a picture whose arrays fit into a few tens of megabytes. */
export function rowsInStrip(width) {
  return Math.max(1, Math.floor(2 ** 19 / width));
}

function narrowRow(from, start, to, end, columns) {
  columns.forEach(({ first, shares }, column) => {
    let red = 0,
      green = 0,
      blue = 0;
    let at = start + 4 * first;
    for (let tap = 0; tap < shares.length; tap++, at += 4) {
      const share = shares[tap];
      red += share * from[at];
      green += share * from[at + 1];
      blue += share * from[at + 2];
    }
    const pixel = end + 4 * column;
    to[pixel] = red;
    to[pixel + 1] = green;
    to[pixel + 2] = blue;
    to[pixel + 3] = 255;
  });
}

/** For each small pixel, the first of the large ones that it sums, and their shares. */
function weights(side, smallSide) {
  const scale = side / smallSide;
  return Array.from({ length: smallSide }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - LOBES * scale + 0.5));
    const last = Math.min(side, Math.trunc(centre + LOBES * scale + 0.5));
    const shares = Float64Array.from({ length: last - first }, (_, tap) =>
      lanczos((first + tap - centre + 0.5) / scale),
    );
    const total = shares.reduce((sum, share) => sum + share, 0);
    return { first, shares: shares.map((share) => share / total) };
  });
}

function lanczos(x) {
  return Math.abs(x) < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}
