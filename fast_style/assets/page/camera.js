// A camera for computers. Phones have a better one behind <input capture>.

import { complain, hush } from "./notes.js";

/** Show the button where there is a camera. `take` gets the photo as a file. */
export async function offerCamera(take) {
  const button = document.querySelector("#open-camera");
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices?.enumerateDevices) return;
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  if (!devices.some((device) => device.kind === "videoinput")) return;
  button.hidden = false;

  const dialog = document.querySelector("#camera");
  const video = dialog.querySelector("video");
  const notes = dialog.querySelector(".notes");
  const shutter = dialog.querySelector("[data-do=take]");

  button.addEventListener("click", async () => {
    hush(notes);
    shutter.disabled = true;
    dialog.showModal();
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
      await video.play();
      shutter.disabled = false;
      shutter.focus();
    } catch (error) {
      complain(notes, error.name === "NotAllowedError"
        ? "The browser does not let this page use the camera: allow it beside the address, and try again."
        : `The camera does not start: ${error.message}`);
    }
    if (!dialog.open) stop(video);
  });
  shutter.addEventListener("click", async () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    dialog.close();
    take(new File([blob], "camera.jpg", { type: "image/jpeg" }));
  });
  dialog.querySelector("[data-do=close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => stop(video));
}

function stop(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}
