"use strict";
// Light or dark: what the reader's system says, until the button says otherwise.
const theme = (() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  let chosen = null;
  try { chosen = localStorage.getItem("gatecast-theme"); } catch { /* a browser that keeps nothing for files */ }

  function show() {
    const dark = chosen ? chosen === "dark" : system.matches;
    root.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light mode" : "Dark mode";
    listeners.forEach((listener) => listener());
  }

  button.addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("gatecast-theme", chosen); } catch { /* then only this time */ }
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
  return { changed: (listener) => listeners.push(listener) };
})();
