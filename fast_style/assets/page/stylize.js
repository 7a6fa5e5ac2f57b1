// The first tab: photos, styles, options, the picture and its file.

import { complain, hush, say } from "./notes.js";
import { Options } from "./options.js";
import { Photos } from "./photos.js";
import { Picture } from "./picture.js";
import { Saving } from "./saving.js";
import { Styles } from "./styles.js";

/** Fill the tab. Returns what others may do: add files, choose a style, complain. */
export function stylizeTab(painter) {
  const tab = document.querySelector("#stylize");
  const places = [...tab.querySelectorAll("[data-notes=photos]")];
  const notes = () => places[photos.items.length ? 1 : 0];
  const photos = new Photos(painter, document.querySelector("#strip .tiles"));
  const picture = new Picture(painter, document.querySelector("#stage"));
  const options = new Options(painter, tab);
  const styles = new Styles(painter, document.querySelector("#styles .swatches"), picture);
  const saving = new Saving(painter, photos, () => wanted());
  const wanted = () => ({ style: styles.chosen, ...options.values });

  function follow() {
    tab.toggleAttribute("data-empty", !photos.items.length);
    showCaption(photos.current);
    saving.refresh();
    picture.show(photos.current, wanted());
    styles.paint(photos.current);
  }

  async function add(files) {
    places.forEach(hush);
    for (const input of tab.querySelectorAll("input[data-photos]")) input.value = "";
    await photos.add(files, (sentence) => complain(notes(), sentence));
  }

  photos.addEventListener("change", follow);
  styles.addEventListener("change", follow);
  options.addEventListener("change", follow);
  for (const input of tab.querySelectorAll("input[data-photos]")) {
    input.addEventListener("change", () => add([...input.files]));
  }
  document.querySelector("#remove").addEventListener("click", () => {
    say(`${photos.current.file.name} is removed.`);
    photos.remove(photos.current);
    (photos.current?.tile ?? tab).querySelector("input").focus();
  });
  addEventListener("pagehide", () => photos.forgetAll());
  // The browser may keep the page and bring it back, but its photos are gone.
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  painter.onStyles = (list) => styles.set(list);
  styles.set(painter.styles);
  follow();
  return { add, choose: (style) => styles.choose(style), complain: (sentence) => complain(notes(), sentence) };
}

function showCaption(item) {
  const name = document.querySelector("#photo-name");
  name.textContent = item?.file.name ?? "";
  name.parentElement.title = item?.file.name ?? "";
  const { width, height } = item?.photo ?? {};
  document.querySelector("#photo-size").textContent = width ? `${width} × ${height}` : "";
}
