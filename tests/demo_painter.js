// A painter for tests and for work on the page: canvas filters instead of networks, and no server.
// The address sets the scene: ?styles=40&training=1&photos=3. Tests steer it through `window.demo`.

const asked = new URLSearchParams(location.search);
const NAMES = ["starry-night", "the-scream", "wave", "composition-vii", "poppy-field", "peacock-mosaic",
  "indigo-woodcut", "stained-glass"];

window.demo = {
  previews: [], // options of each preview that was asked for, in order
  forgotten: [],
  delays: [], // ms for the next previews, first come first
  failPreview: null, // a sentence
  progress: [], // what full() reports before it is done
  update: { running: 0, waiting: 0, mine: [] }, // what watch() tells
  cancelled: [],
};

export async function openPainter() {
  if (asked.has("refuse")) throw new Error(asked.get("refuse"));
  const count = Number(asked.get("styles") ?? 8);
  const styles = Array.from({ length: count }, (_, place) => {
    const name = NAMES[place] ?? `a-style-with-quite-a-long-name-${place}`;
    return { id: name, name };
  });
  const able = (asked.get("can") ?? "strength,color,stroke").split(",");
  return {
    kind: "browser",
    styles,
    limits: { bytes: 4e7, pixels: 1e8, photos: Number(asked.get("photos") ?? 20) },
    can: { strength: able.includes("strength"), color: able.includes("color"), stroke: able.includes("stroke") },
    async addPhoto(file) {
      const bitmap = await createImageBitmap(file).catch(() => {
        throw new Error(`${file.name} is not a picture that can be read.`);
      });
      return { id: crypto.randomUUID(), name: file.name, width: bitmap.width, height: bitmap.height, bitmap };
    },
    async thumbnail(photo, style, signal) {
      await pause(20, signal);
      return draw(photo.bitmap, 200, { style, strength: 1 });
    },
    async preview(photo, options, signal) {
      demo.previews.push(options);
      if (demo.failPreview) throw new Error(demo.failPreview);
      await pause(demo.delays.shift() ?? 30, asked.has("deaf") ? undefined : signal);
      return draw(photo.bitmap, 800, options);
    },
    async full(photo, options, onProgress, signal) {
      for (const step of demo.progress) {
        onProgress(step);
        await pause(step.ms ?? 50, signal);
      }
      return { blob: await draw(photo.bitmap, 4000, options), name: `${photo.name.replace(/\.\w+$/, "")}-${options.style}.jpg` };
    },
    forget: (photo) => demo.forgotten.push(photo.name),
    training: asked.has("training") ? trainings() : null,
  };
}

function trainings() {
  return {
    start: async (file, recipe) => {
      demo.started = { file: file.name, ...recipe };
      if (recipe.photos.includes("missing")) throw new Error(`There is no folder ${recipe.photos} on the server.`);
      return "1";
    },
    watch(onUpdate) {
      const timer = setInterval(() => onUpdate(demo.update), 100);
      return () => clearInterval(timer);
    },
    cancel: async (id) => demo.cancelled.push(id),
  };
}

function draw(bitmap, side, { style, strength }) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  const turn = ([...style].reduce((sum, letter) => sum * 7 + letter.charCodeAt(0), 0) % 360) * strength;
  context.filter = `hue-rotate(${turn}deg) saturate(${1 + strength}) contrast(${1 + strength / 3})`;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg"));
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}
