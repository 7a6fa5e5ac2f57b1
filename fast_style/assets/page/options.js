// Strength, colours and stroke size: those that the painter can do.

/** `values` are {strength, color, stroke} of a preview or a painting. "change" tells that one changed. */
export class Options extends EventTarget {
  #root;
  #strength;
  #stroke;

  constructor(painter, root) {
    super();
    this.#root = root;
    this.#strength = root.querySelector("#strength");
    this.#stroke = root.querySelector("#stroke");
    let any = false;
    for (const option of root.querySelectorAll("[data-can]")) {
      option.hidden = !painter.can[option.dataset.can];
      any ||= !option.hidden;
    }
    root.querySelector(".options").hidden = !any;
    root.querySelector(".options").addEventListener("input", () => {
      this.#tell();
      this.dispatchEvent(new Event("change"));
    });
    this.#tell();
  }

  get values() {
    const stroke = Number(this.#stroke.value);
    return {
      strength: Number(this.#strength.value),
      color: this.#root.querySelector("[name=color]:checked").value,
      stroke: stroke || "auto",
    };
  }

  #tell() {
    const { strength, stroke } = this.values;
    const words = stroke === "auto" ? "Auto" : `${stroke} ×`;
    this.#root.querySelector("#strength-value").textContent = `${Math.round(strength * 100)} %`;
    this.#root.querySelector("#stroke-value").textContent = words;
    this.#root.querySelector("#color-hint").textContent = this.#root.querySelector("[name=color]:checked").dataset.hint;
    this.#strength.setAttribute("aria-valuetext", `${Math.round(strength * 100)} percent`);
    this.#stroke.setAttribute("aria-valuetext", stroke === "auto" ? "automatic" : `${stroke} times as wide`);
    this.#strength.style.setProperty("--filled", `${strength * 100}%`);
    this.#stroke.style.setProperty("--filled", `${(Number(this.#stroke.value) / 8) * 100}%`);
  }
}
