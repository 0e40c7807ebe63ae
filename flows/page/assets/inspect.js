"use strict";
// The charts of one forecast seen from the inside: every one has its rows in the page.
(async () => {
  const { specs, charts } = await unpacked;
  for (const element of document.querySelectorAll("[data-chart]")) {
    const found = charts[element.dataset.chart];
    drawing(element, specs[found.spec], found.rows, found.ticks, found.more);
  }
  document.documentElement.dataset.ready = "yes";
})();
