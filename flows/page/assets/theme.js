"use strict";
// Light or dark mode: the system's preference, until the reader presses the button.
const theme = (() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const systemPreference = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  let chosen = null;
  try { chosen = localStorage.getItem("gatecast-theme"); } catch { /* Some browsers deny storage to local files. */ }

  function apply() {
    const isDark = chosen ? chosen === "dark" : systemPreference.matches;
    root.dataset.theme = isDark ? "dark" : "light";
    button.textContent = isDark ? "Light mode" : "Dark mode";
    listeners.forEach((listener) => listener());
  }

  button.addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("gatecast-theme", chosen); } catch { /* Then the choice is lost when the page closes. */ }
    apply();
  });
  systemPreference.addEventListener("change", apply);
  button.hidden = false;
  apply();
  return { onChange: (listener) => listeners.push(listener) };
})();
