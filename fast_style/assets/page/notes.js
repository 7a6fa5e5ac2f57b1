// What the page says: notes beside the thing that they are about, and words for screen readers.

const template = document.querySelector("#note-template");

/** Show what went wrong in a place of the class "notes" until it is dismissed or hushed. */
export function complain(place, message) {
  const sentence = asSentence(message);
  if ([...place.children].some((note) => note.firstElementChild.textContent === sentence)) return;
  const note = template.content.firstElementChild.cloneNode(true);
  note.setAttribute("role", "alert");
  note.querySelector(".dismiss").addEventListener("click", () => note.remove());
  place.append(note);
  note.firstElementChild.textContent = sentence; // an alert is read out when its text changes
}

/** Remove what a place says. */
export function hush(place) {
  place.replaceChildren();
}

/** Tell screen readers politely what happened. */
export function say(sentence) {
  document.querySelector("#status").textContent = sentence;
}

/** Programs end a message without a full stop, and begin it small, as they do the names of files. */
function asSentence(message) {
  const begun = message.replace(/^[a-z]+(?=[ ,:])/, (word) => word[0].toUpperCase() + word.slice(1));
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
