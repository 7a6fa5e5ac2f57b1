// Paintings at full size, as files.

import { complain, hush, say } from "./notes.js";
import { zip } from "./zip.js";

export class Saving {
  #painter;
  #photos;
  #options;
  #abort = null; // while something is being painted
  #one = document.querySelector("#download");
  #all = document.querySelector("#download-all");
  #box = document.querySelector("#saving");
  #bar = this.#box.querySelector("progress");
  #what = this.#box.querySelector(".what");
  #notes = document.querySelector("#save-notes");

  /** `options()` returns how to paint. */
  constructor(painter, photos, options) {
    this.#painter = painter;
    this.#photos = photos;
    this.#options = options;
    this.#one.addEventListener("click", () => this.#save([photos.current]));
    this.#all.addEventListener("click", () => this.#save(photos.items.filter((item) => item.photo)));
    document.querySelector("#stop-saving").addEventListener("click", () => this.#abort.abort());
  }

  /** The buttons follow the photos. */
  refresh() {
    const count = this.#photos.items.filter((item) => item.photo).length;
    this.#all.hidden = count < 2;
    this.#all.textContent = `Download all ${count}`;
    this.#one.disabled = this.#abort !== null || !this.#photos.current?.photo || !this.#options().style;
    this.#all.disabled = this.#abort !== null;
  }

  async #save(items) {
    hush(this.#notes);
    this.#abort = new AbortController();
    this.#box.hidden = false;
    this.refresh();
    const options = this.#options(); // as they are now, for all
    for (const item of items) this.#photos.mark(item, "waiting");
    const paintings = [];
    for (const [place, item] of items.entries()) {
      if (this.#abort.signal.aborted || item.left.signal.aborted) continue;
      const painting = await this.#paint(item, options, items.length > 1 ? `${place + 1} of ${items.length}: ` : "");
      if (painting) paintings.push(painting);
    }
    for (const item of items) if (item.state === "waiting") this.#photos.mark(item, "ready");
    const stopped = this.#abort.signal.aborted;
    try {
      const file = stopped ? null : await asOneFile(paintings, items.length);
      if (file) hand(file);
      say(file ? `${file.name} is downloaded.` : stopped ? "Stopped." : "");
    } catch {
      complain(this.#notes, "There is not enough memory for one file of all: download the paintings one by one.");
    }
    this.#abort = null;
    this.#box.hidden = true;
    this.refresh();
  }

  async #paint(item, options, prefix) {
    this.#photos.mark(item, "painting");
    this.#tell(`${prefix}painting at full size`, null);
    const onProgress = ({ done, waiting }) => {
      if (waiting) this.#tell(`${prefix}${waiting} ${waiting === 1 ? "picture" : "pictures"} ahead of yours`, null);
      else this.#tell(`${prefix}painting, ${Math.floor(done * 100)} %`, done);
    };
    try {
      const painting = await this.#painter.full(item.photo, options, onProgress, this.#abort.signal);
      this.#photos.mark(item, "saved");
      return painting;
    } catch (error) {
      if (this.#abort.signal.aborted) {
        this.#photos.mark(item, "ready");
        return null;
      }
      this.#photos.mark(item, "failed");
      complain(this.#notes, error.message);
      return null;
    }
  }

  #tell(words, done) {
    this.#what.textContent = words[0].toUpperCase() + words.slice(1);
    if (done === null) this.#bar.removeAttribute("value");
    else this.#bar.value = done;
  }
}

/** The one file of one photo, or a ZIP file of several: browsers block many downloads at once. */
async function asOneFile(paintings, asked) {
  if (!paintings.length) return null;
  return asked === 1 ? paintings[0] : { blob: await zip(paintings), name: "paintings.zip" };
}

function hand({ blob, name }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may read it late
}
