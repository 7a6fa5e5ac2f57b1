// The picture on the wall: the photo, its newest painting over it, and a slider that compares the two.

import { complain, hush, say } from "./notes.js";

const PAUSE = 120; // ms without a change before a preview is asked for
const SLOW = 150; // ms until the page shows that it waits
const KEPT = 24; // previews of each photo

export class Picture {
  #painter;
  #stage;
  #frame;
  #before;
  #after;
  #busy;
  #notes = document.querySelector("#picture-notes");
  #item = null;
  #wanted = null; // the key of what is to be seen; older answers do not match it
  #abort = new AbortController();
  #timer = 0;
  #settled = Promise.resolve();
  #settle = () => {};

  constructor(painter, stage) {
    this.#painter = painter;
    this.#stage = stage;
    this.#frame = stage.querySelector(".picture");
    this.#before = stage.querySelector(".before");
    this.#after = stage.querySelector(".after");
    this.#busy = stage.querySelector(".busy");
    const compare = stage.querySelector(".compare");
    const split = () => {
      this.#frame.toggleAttribute("data-whole", compare.value === "0" || compare.value === "100");
      this.#frame.style.setProperty("--split", `${compare.value}%`);
      this.#frame.toggleAttribute("data-comparing", compare.value > 12 && compare.value < 88);
      compare.setAttribute("aria-valuetext", `${compare.value} percent photo, then the painting`);
    };
    compare.addEventListener("input", split);
    split();
  }

  /** Resolves when no preview is being asked for. */
  settled() {
    return this.#settled;
  }

  /** Show an item with these options, or nothing for null: the photo at once, its painting when it is there. */
  show(item, options) {
    if (item !== this.#item) this.#hang(item);
    if (item?.address && this.#before.src !== item.address) this.#before.src = item.address;
    this.#before.hidden = !item?.address;
    if (item) this.#stage.style.setProperty("--ratio", item.ratio);
    // A small photo is shown at no more than twice its size.
    this.#stage.style.setProperty("--natural", `${Math.max(320, 2 * (item?.photo?.width ?? 9999))}px`);
    if (!item?.photo || !options.style) return;
    const wanted = JSON.stringify([item.photo.id, options]);
    if (wanted === this.#wanted) return;
    const pause = this.#wanted === null ? 0 : PAUSE;
    this.#stop();
    this.#wanted = wanted;
    if (item.previews.has(wanted)) {
      this.#reveal(item.previews.get(wanted), wanted);
      return;
    }
    this.#settled = new Promise((resolve) => (this.#settle = resolve));
    this.#timer = setTimeout(() => this.#paint(item, options, wanted), pause);
  }

  #hang(item) {
    this.#stop();
    this.#item = item;
    this.#wanted = null;
    this.#after.hidden = true;
    this.#after.removeAttribute("src");
    delete this.#frame.dataset.shown;
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#busy.hidden = true;
    this.#settle();
    hush(this.#notes);
  }

  async #paint(item, options, wanted) {
    const abort = (this.#abort = new AbortController());
    const slow = setTimeout(() => (this.#busy.hidden = abort.signal.aborted), SLOW);
    try {
      const blob = await this.#painter.preview(item.photo, options, abort.signal);
      if (abort.signal.aborted || item.left.signal.aborted) return;
      keep(item.previews, wanted, URL.createObjectURL(blob));
      await this.#reveal(item.previews.get(wanted), wanted);
      say("The painting is up to date.");
    } catch (error) {
      if (!abort.signal.aborted) complain(this.#notes, error.message);
    } finally {
      clearTimeout(slow);
      if (this.#wanted === wanted) {
        this.#busy.hidden = true;
        this.#settle();
      }
    }
  }

  /** Swap the painting without a flash: decode it first, and drop it if another is wanted by then. */
  async #reveal(address, wanted) {
    const image = new Image();
    image.src = address;
    await image.decode();
    if (this.#wanted !== wanted) return;
    this.#after.src = address;
    this.#after.hidden = false;
    this.#frame.dataset.shown = wanted;
  }
}

/** Keep the newest previews. The oldest goes; it cannot be the one that is shown. */
function keep(previews, key, address) {
  previews.set(key, address);
  if (previews.size <= KEPT) return;
  const oldest = previews.keys().next().value;
  URL.revokeObjectURL(previews.get(oldest));
  previews.delete(oldest);
}
