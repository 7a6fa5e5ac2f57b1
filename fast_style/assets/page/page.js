// The page: opens a painter, which may be a server or this very browser, and fills the two tabs.

import { openPainter } from "./painter.js";
import { offerCamera } from "./camera.js";
import { takeFiles } from "./intake.js";
import { complain } from "./notes.js";
import { stylizeTab } from "./stylize.js";
import { showTabs } from "./tabs.js";
import { trainTab } from "./train.js";

const PROMISES = {
  server: "Photos are deleted when you leave.",
  browser: "Photos never leave this device.",
};

async function open() {
  let painter;
  try {
    painter = await openPainter();
  } catch (error) {
    complain(document.querySelector("#start-notes"), error.message);
    return;
  }
  document.querySelector("#promise").textContent = PROMISES[painter.kind] ?? "";
  document.querySelector("#limits").textContent = limits(painter.limits);
  const stylize = stylizeTab(painter);
  let train = null;
  if (painter.training) {
    const tabs = showTabs((shown) => train.visible(shown === "train"));
    train = trainTab(painter, {
      busy: tabs.busy,
      use: (style) => {
        tabs.show("stylize");
        stylize.choose(style);
      },
    });
  }
  const training = () => train && !document.querySelector("#train").hidden;
  takeFiles({
    invitation: () => (training() ? "Drop the painting here" : "Drop your photos here"),
    take: (files) => (training() ? train.take(files) : stylize.add(files)),
    refuse: (sentence) => (training() ? train.complain(sentence) : stylize.complain(sentence)),
  });
  offerCamera((file) => stylize.add([file]));
  document.documentElement.dataset.ready = "";
}

function limits({ bytes, pixels, photos }) {
  const parts = [];
  if (bytes) parts.push(`${Math.floor(bytes / 2 ** 20)} MB`);
  if (pixels) parts.push(`${Math.floor(pixels / 1e6)} megapixels`);
  const each = parts.length ? ` of up to ${parts.join(" and ")} each` : "";
  if (photos) return `Up to ${photos} photos${each}.`;
  return each ? `Photos${each}.` : "";
}

open();
