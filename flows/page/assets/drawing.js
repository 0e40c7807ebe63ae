"use strict";
// Draw charts when they come into view: specification, rows, and the colours of the theme.
const drawChart = (() => {
  const charts = new Map(); // element -> chart data
  const views = new Map(); // element -> Vega view of a chart that is drawn
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function vegaConfig() {
    const [text, muted, grid, forecast, earlier, baseline, red, surface] =
      ["text", "muted", "grid", "forecast", "earlier", "baseline", "red", "surface"].map(color);
    const opacity = Number(color("band-opacity"));
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: null,
      font,
      aria: false,
      view: { stroke: null },
      axis: {
        domain: false, ticks: false, gridColor: grid, labelColor: muted, titleColor: muted,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelPadding: 6,
      },
      axisX: { titleAnchor: "end" },
      axisY: { titleAngle: 0, titleAlign: "left", titleAnchor: "end", titleX: 0, titleY: -12 },
      legend: { labelColor: muted, labelFontSize: 12 },
      // Colour ranges of maps: from zero up, and from negative over zero to positive.
      range: { heatmap: [surface, forecast], diverging: [earlier, surface, forecast] },
      style: {
        cell: { strokeWidth: 0 },
        band: { color: forecast, opacity },
        median: { color: forecast, strokeWidth: 2 },
        "earlier-band": { color: earlier, opacity: 0.16 },
        earlier: { color: earlier, strokeWidth: 1.5, strokeDash: [4, 3] },
        actual: { color: text, strokeWidth: 1.75 },
        issue: { color: muted, strokeWidth: 1, strokeDash: [2, 2] },
        hover: { fill: text, fillOpacity: 0, strokeWidth: 0 },
        holiday: { fill: muted, fillOpacity: 0.13, strokeWidth: 0 },
        "past-band": { color: forecast, opacity: 0.25 },
        "last-week": { color: baseline, strokeWidth: 1.5, strokeDash: [2, 3] },
        input: { color: earlier, strokeWidth: 1.75 },
        model: { color: forecast, strokeWidth: 2 },
        "model-point": { color: forecast, filled: true, size: 40, opacity: 1 },
        baseline: { color: baseline, strokeWidth: 2, strokeDash: [5, 3] },
        "baseline-point": { color: baseline, filled: true, size: 25, opacity: 1 },
        "gate-input": { color: earlier, strokeWidth: 2 },
        "gate-input-point": { color: earlier, filled: true, size: 30, opacity: 1 },
        "gate-forget": { color: text, strokeWidth: 2 },
        "gate-forget-point": { color: text, filled: true, size: 30, opacity: 1 },
        "gate-output": { color: forecast, strokeWidth: 2, strokeDash: [5, 3] },
        "gate-output-point": { color: forecast, filled: true, size: 30, opacity: 1 },
        ideal: { color: muted, strokeWidth: 1, strokeDash: [3, 3] },
        bin: { color: forecast, opacity: 0.6, stroke: color("background"), strokeWidth: 1 },
        "status-model": { color: forecast },
        "status-stale": { color: earlier },
        "status-baseline": { color: baseline },
        "status-none": { color: red, filled: false, strokeWidth: 1.5 },
      },
    };
  }

  // Show the values of the mark under the pointer. A value that the mark does not have is left out.
  const box = document.createElement("div");
  box.id = "tooltip";
  box.hidden = true;
  box.ariaHidden = "true"; // The table of each chart has the same values.
  document.body.append(box);

  function showTooltip(_, event, item, values) {
    const lacking = new Set(["", "–", "undefined", "null", "NaN"]);
    const shown = values && typeof values === "object"
      ? Object.entries(values).filter(([, value]) => !lacking.has(String(value))) : [];
    box.hidden = !shown.length;
    if (box.hidden) return;
    const list = document.createElement("dl");
    for (const [name, value] of shown) {
      const entry = document.createElement("div");
      entry.append(Object.assign(document.createElement("dt"), { textContent: name }));
      entry.append(Object.assign(document.createElement("dd"), { textContent: value }));
      list.append(entry);
    }
    box.replaceChildren(list);
    const { clientX: x, clientY: y } = event, gap = 14;
    const width = box.offsetWidth, height = box.offsetHeight;
    box.style.left = `${Math.max(4, x + gap + width > innerWidth - 4 ? x - gap - width : x + gap)}px`;
    box.style.top = `${Math.max(4, y + gap + height > innerHeight - 4 ? y - gap - height : y + gap)}px`;
  }
  addEventListener("scroll", () => { box.hidden = true; }, { passive: true });

  async function draw(element) {
    const { spec, rows, ticks, datasets } = charts.get(element);
    const width = element.clientWidth;
    if (!width) return;
    const maxLevel = width > 620 ? 2 : width > 420 ? 1 : 0;
    const shown = ticks.filter(([, level]) => level <= maxLevel);
    const values = {
      ticks: shown.map(([at]) => at),
      labels: Object.fromEntries(shown.map(([at, , label]) => [at, label])),
    };
    const fullSpec = structuredClone(spec);
    for (const param of fullSpec.params) if (param.name in values) param.value = values[param.name];
    fullSpec.datasets = { issue: [], holidays: [], ...fullSpec.datasets, rows, ...datasets };
    // A layer without rows or values would warn that its extent is infinite.
    fullSpec.layer = fullSpec.layer.filter(({ data, encoding }) => {
      const layerRows = fullSpec.datasets[data?.name] ?? [{}], field = encoding?.y?.field;
      return layerRows.length && (data?.name !== "rows" || !field || layerRows.some((row) => typeof row[field] === "number"));
    });
    fullSpec.config = vegaConfig();
    fullSpec.padding = { left: 2, right: 10, top: 20, bottom: 2 };
    views.get(element)?.finalize();
    // Vega sets the accessible name of its container. An inner container keeps the name of the outer element.
    const container = document.createElement("div");
    container.ariaHidden = "true";
    element.replaceChildren(container);
    // The page's policy forbids code from text, so Vega interprets its expressions (ast: true).
    views.set(element, await vegaEmbed(container, fullSpec, {
      actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: showTooltip,
    }));
    element.dataset.drawn = "yes";
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { observer.unobserve(target); draw(target); }
    }
  }, { rootMargin: "400px" });

  theme.onChange(() => { for (const element of views.keys()) if (charts.has(element)) draw(element); });
  addEventListener("beforeprint", () => { for (const element of charts.keys()) if (!views.has(element)) draw(element); });

  // `ticks` are [column, level, label]. Charts of medium width show levels 0 and 1, wide charts show level 2 as well.
  return (element, spec, rows, ticks = [], datasets = {}) => {
    charts.set(element, { spec, rows, ticks, datasets });
    observer.unobserve(element);
    observer.observe(element);
  };
})();
