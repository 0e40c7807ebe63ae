"use strict";
// Draw the charts of the inspection page. The page carries the rows of each chart.
(async () => {
  const { specs, charts } = await unpacked;
  for (const element of document.querySelectorAll("[data-chart]")) {
    const chart = charts[element.dataset.chart];
    drawChart(element, specs[chart.chart_spec], chart.rows, chart.ticks, chart.datasets);
  }
  document.documentElement.dataset.ready = "yes";
})();
