"use strict";
// What the page carries, packed: JSON, gzip, base64.
const unpacked = (async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("packed").textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
})().catch((error) => {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `This browser cannot unpack the data, so the charts are missing: ${error.message}`;
  trouble.hidden = false;
  throw error;
});
