// Paint in the photo's own colours, as fast_style/stylizing/colour.py does and explains. All
// functions take RGBA bytes.

// OKLab (Ottosson 2020), from linear sRGB by the responses of cones, and back.
const TO_CONES = [
  [0.4122214708, 0.5363325363, 0.0514459929],
  [0.2119034982, 0.6806995451, 0.1073969566],
  [0.0883024619, 0.2817188376, 0.6299787005],
];
const TO_LAB = [
  [0.210454255, 0.793617785, -0.0040720468],
  [1.9779984951, -2.428592205, 0.4505937099],
  [0.0259040371, 0.7827717662, -0.808675766],
];
const FROM_CONES = inverse(TO_CONES);
const FROM_LAB = inverse(TO_LAB);

const CHROMA_STEPS = 10;
const MOST_GAIN = 2;

const DECODED = Float32Array.from({ length: 256 }, (_, level) => {
  const value = level / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
});

/** Give painted pixels hue and chroma of the photo's; their own lightness stays. */
export function keepChroma(photo, painted) {
  const roots = new Float64Array(3);
  const chroma = new Float64Array(3);
  const light = new Float64Array(3);
  for (let at = 0; at < painted.length; at += 4) {
    coneRoots(painted, at, roots);
    const lightness = dot(TO_LAB[0], roots);
    coneRoots(photo, at, roots);
    const a = dot(TO_LAB[1], roots),
      b = dot(TO_LAB[2], roots);
    for (let i = 0; i < 3; i++) chroma[i] = FROM_LAB[i][1] * a + FROM_LAB[i][2] * b;
    mix(lightness, chroma, 1, light);
    if (outside(light, 1e-4)) mix(lightness, chroma, shareInGamut(lightness, chroma, light), light);
    for (let i = 0; i < 3; i++) painted[at + i] = 255 * encoded(light[i]);
  }
}

/** The largest share of the chroma that sRGB has at this lightness. */
function shareInGamut(lightness, chroma, light) {
  let least = 0,
    most = 1;
  for (let step = 0; step < CHROMA_STEPS; step++) {
    const middle = (least + most) / 2;
    mix(lightness, chroma, middle, light);
    if (outside(light, 0)) most = middle;
    else least = middle;
  }
  return least;
}

/** Linear sRGB of a lightness and a share of a chroma. */
function mix(lightness, chroma, share, light) {
  const l = (lightness + share * chroma[0]) ** 3;
  const m = (lightness + share * chroma[1]) ** 3;
  const s = (lightness + share * chroma[2]) ** 3;
  for (let i = 0; i < 3; i++) {
    light[i] = FROM_CONES[i][0] * l + FROM_CONES[i][1] * m + FROM_CONES[i][2] * s;
  }
}

function outside(light, tolerance) {
  const least = Math.min(light[0], light[1], light[2]);
  return least < -tolerance || Math.max(light[0], light[1], light[2]) > 1 + tolerance;
}

function coneRoots(bytes, at, roots) {
  const red = DECODED[bytes[at]],
    green = DECODED[bytes[at + 1]],
    blue = DECODED[bytes[at + 2]];
  for (let i = 0; i < 3; i++) {
    roots[i] = Math.cbrt(TO_CONES[i][0] * red + TO_CONES[i][1] * green + TO_CONES[i][2] * blue);
  }
}

function encoded(light) {
  const value = Math.min(Math.max(light, 0), 1);
  return value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055;
}

/** Sums the levels of a picture, strip by strip, for their mean and covariance. */
export class ColorStatistics {
  count = 0;
  first = [0, 0, 0];
  second = [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ];

  add(bytes) {
    const { first, second } = this;
    for (let at = 0; at < bytes.length; at += 4) {
      for (let i = 0; i < 3; i++) {
        const value = bytes[at + i];
        first[i] += value;
        for (let j = 0; j <= i; j++) second[i][j] += value * bytes[at + j];
      }
    }
    this.count += bytes.length / 4;
  }

  get mean() {
    return this.first.map((sum) => sum / this.count);
  }

  get covariance() {
    const mean = this.mean;
    return matrix((i, j) => {
      const sum = this.second[Math.max(i, j)][Math.min(i, j)];
      return sum / this.count - mean[i] * mean[j];
    });
  }
}

/** A function like `keepChroma` that gives painted pixels the mean and covariance of the photo's. */
export function matchColors(ofPhoto, ofPainted) {
  const spread = ofPainted.covariance;
  for (let i = 0; i < 3; i++) spread[i][i] += 1e-8 * 255 ** 2; // a flat picture has none
  const root = ofEigenvalues(spread, (value) => Math.sqrt(Math.max(value, 0)));
  const back = inverse(root);
  const middle = ofEigenvalues(product(product(root, ofPhoto.covariance), root), (value) =>
    Math.sqrt(Math.max(value, 0)),
  );
  const gains = ofEigenvalues(product(product(back, middle), back), (value) =>
    Math.min(Math.max(value, 0), MOST_GAIN),
  );
  const from = ofPainted.mean;
  const to = ofPhoto.mean;
  return (_, painted) => {
    const centred = [0, 0, 0];
    for (let at = 0; at < painted.length; at += 4) {
      for (let i = 0; i < 3; i++) centred[i] = painted[at + i] - from[i];
      for (let i = 0; i < 3; i++) painted[at + i] = to[i] + dot(gains[i], centred);
    }
  };
}

// --- matrices of 3 x 3 ---

function matrix(entry) {
  return [0, 1, 2].map((i) => [0, 1, 2].map((j) => entry(i, j)));
}

function dot(row, column) {
  return row[0] * column[0] + row[1] * column[1] + row[2] * column[2];
}

function product(a, b) {
  return matrix((i, j) => dot(a[i], [b[0][j], b[1][j], b[2][j]]));
}

function inverse(m) {
  const minor = (i, j) => {
    const [a, b] = [(i + 1) % 3, (i + 2) % 3];
    const [c, d] = [(j + 1) % 3, (j + 2) % 3];
    return m[a][c] * m[b][d] - m[a][d] * m[b][c];
  };
  const determinant = dot(m[0], [minor(0, 0), minor(0, 1), minor(0, 2)]);
  return matrix((i, j) => minor(j, i) / determinant);
}

/** A symmetric matrix with its eigenvalues changed, by rotations of Jacobi. */
function ofEigenvalues(symmetric, change) {
  let values = symmetric;
  let vectors = matrix((i, j) => Number(i === j));
  for (let sweep = 0; sweep < 12; sweep++) {
    for (const [p, q] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ]) {
      const angle = Math.atan2(2 * values[p][q], values[q][q] - values[p][p]) / 2;
      const turn = matrix((i, j) => Number(i === j));
      turn[p][p] = turn[q][q] = Math.cos(angle);
      turn[p][q] = Math.sin(angle);
      turn[q][p] = -Math.sin(angle);
      values = product(product(transposed(turn), values), turn);
      vectors = product(vectors, turn);
    }
  }
  const changed = matrix((i, j) => vectors[i][j] * change(values[j][j]));
  return product(changed, transposed(vectors));
}

function transposed(m) {
  return matrix((i, j) => m[j][i]);
}
