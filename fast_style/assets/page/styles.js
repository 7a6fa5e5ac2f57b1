// All styles as radio buttons, each with a thumbnail painted from the current photo.

/** `chosen` is the id of a style, or null without any. "change" tells that another one is chosen. */
export class Styles extends EventTarget {
  #painter;
  #root;
  #picture;
  #swatches = new Map(); // id of a style -> its label
  #item = null;
  #abort = new AbortController();
  #template = document.querySelector("#swatch-template");

  constructor(painter, root, picture) {
    super();
    this.#painter = painter;
    this.#root = root;
    this.#picture = picture;
  }

  get chosen() {
    return this.#root.querySelector("[name=style]:checked")?.value ?? null;
  }

  /** Show these styles, in this order. Those that were there keep their thumbnails. */
  set(list) {
    const before = this.chosen;
    const swatches = list.map((style) => [style.id, this.#swatches.get(style.id) ?? this.#swatch(style)]);
    this.#swatches = new Map(swatches);
    this.#root.replaceChildren(...this.#swatches.values());
    this.choose(this.#swatches.has(before) ? before : list[0]?.id);
  }

  choose(id) {
    const swatch = this.#swatches.get(id);
    if (!swatch) return;
    swatch.querySelector("input").checked = true;
    swatch.scrollIntoView({ block: "nearest", inline: "center" });
    this.#item = null; // a new style has no thumbnail yet
    this.dispatchEvent(new Event("change"));
  }

  /** Paint the thumbnails of a photo, one after another; the large picture goes first. */
  async paint(item) {
    if (!item?.photo || item === this.#item) {
      if (!item?.photo) this.#blank();
      return;
    }
    this.#blank();
    this.#item = item;
    const { signal } = this.#abort;
    for (const id of item.thumbnails.keys()) this.#show(id, item.thumbnails.get(id));
    for (const id of this.#swatches.keys()) {
      if (item.thumbnails.has(id)) continue;
      await this.#picture.settled();
      if (signal.aborted) return;
      try {
        const blob = await this.#painter.thumbnail(item.photo, id, signal);
        if (item.left.signal.aborted) return;
        item.thumbnails.set(id, URL.createObjectURL(blob));
        if (!signal.aborted) this.#show(id, item.thumbnails.get(id));
      } catch (error) {
        if (signal.aborted) return;
        this.#swatches.get(id).title = error.message;
        delete this.#swatches.get(id).querySelector(".paint").dataset.waiting;
      }
    }
  }

  #blank() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#item = null;
    for (const swatch of this.#swatches.values()) {
      swatch.querySelector(".paint").dataset.waiting = "";
      swatch.querySelector("img").hidden = true;
    }
  }

  #show(id, address) {
    const swatch = this.#swatches.get(id);
    if (!swatch) return;
    const image = swatch.querySelector("img");
    image.src = address;
    image.hidden = false;
    delete swatch.querySelector(".paint").dataset.waiting;
  }

  #swatch({ id, name }) {
    const swatch = this.#template.content.firstElementChild.cloneNode(true);
    const input = swatch.querySelector("input");
    input.value = id;
    input.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    swatch.querySelector(".name").textContent = name;
    swatch.title = name;
    return swatch;
  }
}
