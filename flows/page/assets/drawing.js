"use strict";
// Charts: a spec of the page, its rows, and the colours of the theme. Drawn when they come into view.
const drawing = (() => {
  const drawn = new Map(); // element -> how to draw it
  const views = new Map(); // element -> the Vega view that is there
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function config() {
    const [ink, quiet, grid, forecast, earlier, bar, red] =
      ["ink", "quiet", "grid", "forecast", "earlier", "bar", "red"].map(colour);
    const opacity = Number(colour("band-opacity"));
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: null,
      font,
      aria: false,
      view: { stroke: null },
      axis: {
        domain: false, ticks: false, gridColor: grid, labelColor: quiet, titleColor: quiet,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelPadding: 6,
      },
      axisX: { titleAnchor: "end" },
      axisY: { titleAngle: 0, titleAlign: "left", titleAnchor: "end", titleX: 0, titleY: -12 },
      legend: { labelColor: quiet, labelFontSize: 12 },
      // Of maps: from nothing to much, and from much below nothing to much above.
      range: { heatmap: [colour("raised"), forecast], diverging: [earlier, colour("raised"), forecast] },
      style: {
        cell: { strokeWidth: 0 },
        band: { color: forecast, opacity },
        median: { color: forecast, strokeWidth: 2 },
        "earlier-band": { color: earlier, opacity: 0.16 },
        earlier: { color: earlier, strokeWidth: 1.5, strokeDash: [4, 3] },
        actual: { color: ink, strokeWidth: 1.75 },
        issue: { color: quiet, strokeWidth: 1, strokeDash: [2, 2] },
        hover: { color: quiet, strokeWidth: 1 },
        model: { color: forecast, strokeWidth: 2 },
        "model-point": { color: forecast, filled: true, size: 40, opacity: 1 },
        bar: { color: bar, strokeWidth: 2, strokeDash: [5, 3] },
        "bar-point": { color: bar, filled: true, size: 25, opacity: 1 },
        "gate-input": { color: earlier, strokeWidth: 2 },
        "gate-input-point": { color: earlier, filled: true, size: 30, opacity: 1 },
        "gate-forget": { color: ink, strokeWidth: 2 },
        "gate-forget-point": { color: ink, filled: true, size: 30, opacity: 1 },
        "gate-output": { color: forecast, strokeWidth: 2, strokeDash: [5, 3] },
        "gate-output-point": { color: forecast, filled: true, size: 30, opacity: 1 },
        ideal: { color: quiet, strokeWidth: 1, strokeDash: [3, 3] },
        bin: { color: forecast, opacity: 0.6, stroke: colour("paper"), strokeWidth: 1 },
        "status-model": { color: forecast },
        "status-stale": { color: earlier },
        "status-baseline": { color: bar },
        "status-none": { color: red, filled: false, strokeWidth: 1.5 },
      },
    };
  }

  async function draw(element) {
    const { spec, rows, ticks, more } = drawn.get(element);
    const room = element.clientWidth;
    if (!room) return;
    const levels = room > 620 ? 2 : room > 420 ? 1 : 0;
    const shown = ticks.filter(([, level]) => level <= levels);
    const values = {
      ticks: shown.map(([at]) => at),
      labels: Object.fromEntries(shown.map(([at, , label]) => [at, label])),
    };
    const full = structuredClone(spec);
    for (const param of full.params) if (param.name in values) param.value = values[param.name];
    full.datasets = { ...full.datasets, rows, ...more };
    full.config = config();
    full.padding = { left: 2, right: 10, top: 20, bottom: 2 };
    views.get(element)?.finalize();
    // In an element of its own, since Vega names what it draws in, and ours has a better name.
    const place = document.createElement("div");
    place.ariaHidden = "true";
    element.replaceChildren(place);
    // The interpreter, since the page's policy lets no text become code.
    views.set(element, await vegaEmbed(place, full, {
      actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: { theme: "custom" },
    }));
    element.dataset.drawn = "yes";
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { watcher.unobserve(target); draw(target); }
    }
  }, { rootMargin: "400px" });

  theme.changed(() => { for (const element of views.keys()) if (drawn.has(element)) draw(element); });
  addEventListener("beforeprint", () => { for (const element of drawn.keys()) if (!views.has(element)) draw(element); });

  // `ticks` are [column, level, label]; level 1 and 2 only where there is room.
  return (element, spec, rows, ticks = [], more = {}) => {
    drawn.set(element, { spec, rows, ticks, more });
    watcher.unobserve(element);
    watcher.observe(element);
  };
})();
