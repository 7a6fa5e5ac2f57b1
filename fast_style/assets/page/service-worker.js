// Adds the two headers with which a page may share memory among threads. It stores nothing.

const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const response = await fetch(request);
  if (!response.ok) return response;
  if (request.mode === "navigate" && !(await isOurs(response.clone()))) {
    self.registration.unregister();
    return response;
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

/** Whether the page is ours. Another one may be served at this address one day. */
async function isOurs(response) {
  return (await response.text()).includes('src="page.js"');
}
