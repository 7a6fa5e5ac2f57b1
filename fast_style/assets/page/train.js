// The second tab: start trainings and watch them.

import { drawLosses } from "./chart.js";
import { complain, hush, say } from "./notes.js";

const STATES = {
  waiting: "Waiting",
  running: "Training",
  saving: "Saving",
  done: "Ready",
  cancelled: "Stopped",
  failed: "Failed",
};
const ENDED = ["done", "cancelled", "failed"];

/**
 * Fill the tab. `busy(yes)` hears whether a training of this visitor runs, `use(style)` paints with a style.
 * Returns what others may do: take files, complain, say whether the tab is visible.
 */
export function trainTab(painter, { busy, use }) {
  const form = document.querySelector("#recipe");
  const notes = document.querySelector("#training-notes");
  const painting = new Painting(form);
  const name = form.querySelector("#training-name");
  const photos = form.querySelector("#training-photos");
  const steps = form.querySelector("#steps");
  const runs = new Runs(painter, use);
  let named = false; // whether the visitor chose the name
  let visible = false;
  let stop = null;

  function take([file]) {
    hush(notes);
    painting.set(file);
    if (!named) name.value = nameOf(file);
    name.focus();
  }

  // Asks for news only while there may be some.
  function watch() {
    stop ??= painter.training.watch((update) => {
      runs.update(update);
      const going = update.mine.some((training) => !ENDED.includes(training.state));
      busy(going);
      if (!going && !visible) {
        stop?.();
        stop = null;
      }
    });
  }

  async function start(event) {
    event.preventDefault();
    hush(notes);
    const button = form.querySelector("#start-training");
    if (!painting.file) {
      complain(notes, "Choose a painting first.");
      form.querySelector("input[type=file]").focus();
      return;
    }
    button.disabled = true;
    try {
      const recipe = { photos: photos.value.trim(), steps: steps.valueAsNumber, name: name.value.trim() };
      await painter.training.start(painting.file, recipe);
      say("The training is started.");
      painting.clear();
      name.value = "";
      named = false;
      watch();
    } catch (error) {
      complain(notes, error.message);
    }
    button.disabled = false;
  }

  name.addEventListener("input", () => (named = name.value !== ""));
  form.querySelector("input[type=file]").addEventListener("change", ({ target }) => target.files.length && take(target.files));
  for (const length of form.querySelectorAll("[name=length]")) {
    length.addEventListener("change", () => (steps.value = length.value));
  }
  steps.addEventListener("input", () => {
    for (const length of form.querySelectorAll("[name=length]")) length.checked = length.value === steps.value;
  });
  form.addEventListener("submit", start);
  watch();
  return {
    take,
    complain: (sentence) => complain(notes, sentence),
    visible(yes) {
      visible = yes;
      if (yes) watch();
    },
  };
}

/** The painting to learn, with its picture where this browser can show it. */
class Painting {
  file = null;
  #image;
  #input;

  constructor(form) {
    this.#image = form.querySelector("#painting img");
    this.#input = form.querySelector("#painting input");
    // The form is checked by its script: a dropped file is not in the input.
    this.#input.required = false;
    this.#image.addEventListener("error", () => (this.#image.hidden = true));
  }

  set(file) {
    this.clear();
    this.file = file;
    this.#image.src = URL.createObjectURL(file);
    this.#image.alt = file.name;
    this.#image.hidden = false;
  }

  clear() {
    if (this.file) URL.revokeObjectURL(this.#image.src);
    this.file = null;
    this.#input.value = "";
    this.#image.removeAttribute("src");
    this.#image.hidden = true;
  }
}

/** A card for each of this visitor's trainings, the newest first. */
class Runs {
  #painter;
  #use;
  #cards = new Map(); // id -> {card, state}
  #root = document.querySelector("#runs");
  #queue = document.querySelector("#queue");
  #template = document.querySelector("#run-template");

  constructor(painter, use) {
    this.#painter = painter;
    this.#use = use;
  }

  update({ running, waiting, mine }) {
    const others = running + waiting - mine.filter(({ state }) => !ENDED.includes(state)).length;
    const words = others === 1 ? "1 training of another visitor is under way." : `${others} trainings of other visitors are under way.`;
    const sentence = others > 0 ? words : "";
    if (this.#queue.textContent !== sentence) this.#queue.textContent = sentence;
    for (const training of mine) this.#show(training);
  }

  #show(training) {
    const { id, name, state } = training;
    if (!this.#cards.has(id)) this.#add(training);
    const shown = this.#cards.get(id);
    const { card } = shown;
    const ended = ENDED.includes(state);
    card.dataset.state = state;
    card.querySelector("h3").textContent = name;
    card.querySelector(".state").textContent = STATES[state];
    const bar = card.querySelector("progress");
    bar.hidden = ended;
    bar.setAttribute("aria-label", `Progress of ${name}`);
    if (state === "waiting") bar.removeAttribute("value");
    else bar.value = training.steps ? training.step / training.steps : 0;
    card.querySelector(".steps-done").textContent = state === "waiting" ? "" : `Step ${training.step} of ${training.steps}`;
    card.querySelector(".left").textContent = timeLeft(training);
    card.querySelector(".soon").textContent = soon(training);
    const image = card.querySelector(".view img");
    if (training.picture && image.getAttribute("src") !== training.picture) {
      image.src = training.picture;
      image.alt = `What ${name} paints after ${training.step} steps`;
      image.hidden = false;
    }
    drawLosses(card.querySelector(".chart"), training.losses, training.steps);
    card.querySelector("[data-do=cancel]").hidden = ended || state === "saving";
    card.querySelector("[data-do=cancel]").textContent = state === "waiting" ? "Cancel" : "Stop and keep the style";
    card.querySelector("[data-do=use]").hidden = !training.style;
    shown.style = training.style;
    if (shown.state !== state && shown.state) say(`${name}: ${STATES[state]}.`);
    if (shown.state !== state && training.error) complain(card.querySelector(".notes"), training.error);
    shown.state = state;
  }

  #add({ id }) {
    const card = this.#template.content.firstElementChild.cloneNode(true);
    const shown = { card, state: null, style: null };
    const notes = card.querySelector(".notes");
    const cancel = card.querySelector("[data-do=cancel]");
    cancel.addEventListener("click", async () => {
      hush(notes);
      cancel.disabled = true;
      try {
        await this.#painter.training.cancel(id);
      } catch (error) {
        cancel.disabled = false;
        complain(notes, error.message);
      }
    });
    card.querySelector("[data-do=use]").addEventListener("click", () => this.#use(shown.style));
    this.#cards.set(id, shown);
    this.#root.prepend(card);
  }
}

function nameOf(file) {
  return file.name.replace(/\.[^.]*$/, "").trim().replace(/\s+/g, "-").toLowerCase();
}

function soon({ state, ahead }) {
  if (state === "waiting") {
    return ahead ? `${ahead} ${ahead === 1 ? "training is" : "trainings are"} ahead of this one.` : "Starts in a moment.";
  }
  return ENDED.includes(state) ? "There is no picture." : "The first picture comes soon.";
}

function timeLeft({ state, secondsLeft }) {
  if (state === "saving") return "writing the style";
  if (state !== "running" || secondsLeft === null) return "";
  if (secondsLeft < 90) return `${Math.round(secondsLeft)} s left`;
  const minutes = Math.round(secondsLeft / 60);
  return minutes < 90 ? `${minutes} min left` : `${(minutes / 60).toFixed(1)} h left`;
}
