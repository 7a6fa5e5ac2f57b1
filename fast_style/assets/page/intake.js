// Files come in: dropped anywhere on the page, or pasted.

/**
 * Args: `invitation()` says what a drop would do, `take(files)` gets the files, `refuse(sentence)` says why
 * something dropped is not one.
 */
export function takeFiles({ invitation, take, refuse }) {
  const veil = document.querySelector(".drop-here");
  const hasFiles = (event) => event.dataTransfer?.types.length > 0;
  let depth = 0; // dragenter and dragleave come for each element on the way

  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    veil.querySelector("p").textContent = invitation();
    veil.hidden = false;
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
    else refuse("Only files can be dropped here: save the picture first, or copy it and paste it.");
  });
  addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length) return; // text goes where the cursor is
    event.preventDefault();
    take(files);
  });
}
