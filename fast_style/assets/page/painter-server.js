// The painter behind `fast-style app`: every picture is painted by the server that this page comes from.
// The server sends this file as painter.js.

const MINE = "fast-style-trainings"; // in sessionStorage: the ids of this visitor's trainings
const POLL = 1000; // ms between questions about trainings
const LOOK = 250; // ms between questions about a painting

/** Returns the painter. Rejects with a sentence if the server does not answer. */
export async function openPainter() {
  const hello = await (await ask("api/hello")).json();
  const painter = {
    kind: "server",
    styles: hello.styles,
    limits: hello.limits,
    can: { strength: true, color: true, stroke: true },
    onStyles: null,
    training: null,
    async addPhoto(file, signal) {
      refuseLarge(file, hello.limits);
      return (await ask("api/photos", { method: "POST", body: form({ file }), signal })).json();
    },
    async thumbnail(photo, style, signal) {
      return (await ask(`${ofPhoto(photo)}/thumbnails/${encodeURIComponent(style)}`, { signal })).blob();
    },
    async preview(photo, options, signal) {
      return (await ask(`${ofPhoto(photo)}/preview?${new URLSearchParams(options)}`, { signal })).blob();
    },
    full,
    forget(photo) {
      navigator.sendBeacon(`${ofPhoto(photo)}/forget`);
    },
  };
  if (hello.training) painter.training = trainings(painter);
  return painter;
}

async function full(photo, options, onProgress, signal) {
  const { id } = await (await ask(`${ofPhoto(photo)}/paintings`, { ...json(options), signal })).json();
  const painting = `api/paintings/${encodeURIComponent(id)}`;
  for (;;) {
    const { state, ahead, done, error } = await (await ask(painting, { signal })).json();
    if (state === "failed") throw new Error(error);
    if (state === "done") break;
    onProgress({ done, waiting: state === "waiting" ? ahead : 0 });
    await pause(LOOK, signal);
  }
  const answer = await ask(`${painting}/file`, { signal });
  return { blob: await answer.blob(), name: fileName(answer) };
}

function trainings(painter) {
  const mine = () => JSON.parse(sessionStorage.getItem(MINE) ?? "[]");
  const ready = new Set(); // styles that the page knows of

  async function look(onUpdate) {
    const update = await (await ask(`api/trainings?mine=${mine().map(encodeURIComponent).join(",")}`)).json();
    const found = update.mine.map(({ style }) => style).filter((style) => style && !ready.has(style));
    if (found.length) {
      painter.styles = (await (await ask("api/hello")).json()).styles;
      found.forEach((style) => ready.add(style));
      painter.onStyles?.(painter.styles);
    }
    onUpdate(update);
  }

  return {
    async start(file, { photos, steps, name }) {
      refuseLarge(file, painter.limits);
      const answer = await ask("api/trainings", { method: "POST", body: form({ file, photos, steps, name }) });
      const { id } = await answer.json();
      sessionStorage.setItem(MINE, JSON.stringify([...mine(), id]));
      return id;
    },
    watch(onUpdate) {
      let watching = true;
      (async () => {
        while (watching) {
          await look((update) => watching && onUpdate(update)).catch(() => {}); // asks again in a second
          await pause(POLL);
        }
      })();
      return () => (watching = false);
    },
    async cancel(id) {
      await ask(`api/trainings/${encodeURIComponent(id)}/cancel`, { method: "POST" });
    },
  };
}

/** Fetch, and turn whatever went wrong into an Error with one sentence. */
async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error("The server does not answer: look whether fast-style app still runs.");
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new Error(error ?? `The server answers with ${answer.status} ${answer.statusText}.`);
}

function refuseLarge(file, { bytes }) {
  if (!bytes || file.size <= bytes) return;
  const [has, most] = [file.size, bytes].map((size) => `${Math.floor(size / 2 ** 20)} MB`);
  throw new Error(`${file.name} has ${has}, and the server takes files of up to ${most}: shrink it first.`);
}

function ofPhoto({ id }) {
  return `api/photos/${encodeURIComponent(id)}`;
}

function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  return data;
}

function json(value) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
}

function fileName(answer) {
  const header = answer.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(header);
  if (encoded) return decodeURIComponent(encoded[1]);
  return /filename="?([^";]+)"?/i.exec(header)?.[1] ?? "painting.jpg";
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
