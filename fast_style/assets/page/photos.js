// The visitor's photos, as a strip of tiles in a group of radio buttons.

const LONGEST = 1600; // px: what the page shows of a photo, so that many photos fit into a phone's memory
const STATES = {
  adding: "is being sent",
  ready: "",
  waiting: "waits",
  painting: "is being painted",
  saved: "is downloaded",
  failed: "failed",
};

/**
 * Items are {file, photo, address, ratio, state, tile, previews, thumbnails}: `photo` is the painter's, null
 * until it has the file; `address` shows the photo, null until the browser has read it. "change" tells that the
 * list, the current one or what is known of it changed.
 */
export class Photos extends EventTarget {
  items = [];
  current = null;
  #painter;
  #root;
  #template = document.querySelector("#tile-template");

  constructor(painter, root) {
    super();
    this.#painter = painter;
    this.#root = root;
  }

  /** Add files one after another. `refuse` gets a sentence for each that is none. */
  async add(files, refuse) {
    const most = this.#painter.limits.photos;
    const room = most ? Math.max(0, most - this.items.length) : files.length;
    if (files.length > room) refuse(`There is room for ${most} photos at once. Remove some to add others.`);
    const items = files.slice(0, room).map((file) => this.#append(file));
    if (items.length && !this.current) this.choose(items[0]);
    else this.#changed();
    for (const item of items) {
      const shown = this.#look(item);
      try {
        if (item.left.signal.aborted) continue;
        item.photo = await this.#painter.addPhoto(item.file, item.left.signal);
        item.ratio = item.photo.width / item.photo.height;
        this.mark(item, "ready");
        await shown;
        await this.#lookAgain(item);
      } catch (error) {
        if (item.left.signal.aborted) continue;
        this.remove(item);
        refuse(error.message);
      }
      this.#changed();
    }
  }

  choose(item) {
    this.current = item;
    item.tile.querySelector("input").checked = true;
    this.#changed();
  }

  remove(item) {
    const place = this.items.indexOf(item);
    if (place < 0) return;
    item.left.abort();
    this.items.splice(place, 1);
    item.tile.remove();
    if (item.photo) this.#painter.forget(item.photo);
    for (const address of [item.address, ...item.previews.values(), ...item.thumbnails.values()]) {
      if (address) URL.revokeObjectURL(address);
    }
    if (this.current === item) {
      this.current = null;
      const next = this.items[Math.min(place, this.items.length - 1)];
      if (next) return this.choose(next);
    }
    this.#changed();
  }

  forgetAll() {
    for (const { photo } of this.items) if (photo) this.#painter.forget(photo);
  }

  /** Show how far an item is: one of STATES. */
  mark(item, state) {
    item.state = state;
    item.tile.dataset.state = state;
    item.tile.querySelector(".name").textContent = `${item.file.name} ${STATES[state]}`.trim();
  }

  #append(file) {
    const tile = this.#template.content.firstElementChild.cloneNode(true);
    const item = {
      file, tile, photo: null, address: null, ratio: 1.5, state: "adding",
      previews: new Map(), thumbnails: new Map(), left: new AbortController(),
    };
    tile.title = file.name;
    tile.querySelector("input").addEventListener("change", () => this.choose(item));
    this.mark(item, "adding");
    this.items.push(item);
    this.#root.append(tile);
    return item;
  }

  /** Show the photo as this browser reads it, at once. */
  async #look(item) {
    try {
      const bitmap = await createImageBitmap(item.file);
      if (!item.photo) item.ratio = bitmap.width / bitmap.height;
      this.#show(item, await shrunk(bitmap));
    } catch {
      // Not every browser reads every kind of file that the painter does: see #lookAgain.
    }
  }

  /** Show the photo as the painter reads it, where the browser could not: unpainted, at strength 0. */
  async #lookAgain(item) {
    if (item.address || !this.#painter.can.strength) return;
    const plain = { style: this.#painter.styles[0].id, strength: 0, color: "style", stroke: 1 };
    this.#show(item, await this.#painter.preview(item.photo, plain, item.left.signal));
  }

  #show(item, blob) {
    if (item.left.signal.aborted) return;
    item.address = URL.createObjectURL(blob);
    const image = item.tile.querySelector("img");
    image.src = item.address;
    image.hidden = false;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

async function shrunk(bitmap) {
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.92));
}
