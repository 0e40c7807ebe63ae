"use strict";
// Data of the page: JSON, compressed by gzip, as base64 text.
const unpacked = (async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("packed").textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
})().catch((error) => {
  const message = document.getElementById("page-error");
  message.textContent = `This browser cannot unpack the data (${error.message}), so the charts are missing. Use a newer browser.`;
  message.hidden = false;
  throw error;
});
