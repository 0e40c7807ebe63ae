"use strict";
// The series: unpack the data once, draw what is asked for, search, sort, tables as alternatives.
(async () => {
  const PAGE = 50;
  const byId = (id) => document.getElementById(id);
  const { series, specs, charts, unit } = await unpacked;

  for (const element of document.querySelectorAll("[data-chart]")) {
    const found = charts[element.dataset.chart];
    drawing(element, specs[element.dataset.chart], found.rows, found.ticks);
  }
  const ready = () => { document.documentElement.dataset.ready = "yes"; performance.mark("ready"); };
  if (!series.count) { ready(); return; }

  const low = series.names[0], high = series.names.at(-1);
  const names = { model: "model", stale_model: "stale model", baseline: "baseline" };
  const percent = (share) => share === null ? "–" : `${Math.round(100 * share)}%`.replace("-", "−");
  const formats = new Map();
  function number(value, places) {
    if (value === null || value === undefined) return "–";
    if (!formats.has(places)) {
      formats.set(places, new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
    }
    return formats.get(places).format(value).replace("-", "−");
  }
  // Four significant digits, as the figures of the page that need no script.
  function figure(value) {
    const size = Math.abs(value ?? 0);
    return number(value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4);
  }
  const level = (name) => `${name.slice(1).replace("_", ".")}%`;

  // A row a period: x, when, actual, the quantiles of tonight (q..) and of the forecast before (eq..).
  function periods(row) {
    const curve = series.curves[row];
    if (!curve) return null;
    const places = series.decimals[row], size = series.names.length;
    return series.periods.map((when, x) => {
      const found = { x, when, actual: curve.a[x] };
      fill(found, "", curve.q, x - series.fan_at);
      if (curve.e) fill(found, "e", curve.e, x - series.earlier_at);
      const { [low]: from, [high]: to, q50, eq50, actual } = found;
      found.came = number(actual, places);
      found.median = number(q50, places);
      found.span = q50 === undefined ? "–" : `${number(from, places)} to ${number(to, places)}`;
      found.before = number(eq50, places);
      return found;
    });

    function fill(found, prefix, values, step) {
      if (step < 0 || step >= series.horizon || values[step * size] === null) return;
      series.names.forEach((name, i) => { found[prefix + name] = values[step * size + i]; });
    }
  }

  function fan(element, row) {
    const rows = periods(row);
    const places = series.decimals[row];
    const ahead = rows.filter((r) => r.q50 !== undefined);
    const medians = ahead.map((r) => r.q50);
    element.setAttribute("aria-label", `Fan chart of ${series.ids[row]}: median from ${number(Math.min(...medians), places)} `
      + `to ${number(Math.max(...medians), places)} in ${unit}, ${ahead[0].when} to ${ahead.at(-1).when}; the table below has the values`);
    drawing(element, specs.fan, rows, series.ticks, { issue: [{ x: series.issue }] });
  }

  function table(place, head, rows) {
    const made = document.createElement("table");
    const line = made.createTHead().insertRow();
    head.forEach((name, i) => line.append(cell("th", name, i, "col")));
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((value, i) => line.append(cell(i ? "td" : "th", value, i, i ? null : "row")));
    }
    place.replaceChildren(made);

    function cell(tag, text, column, scope) {
      const made = document.createElement(tag);
      made.textContent = text;
      if (scope) made.scope = scope;
      if (column) made.className = "number";
      return made;
    }
  }

  function fanTable(place, row) {
    const rows = periods(row);
    if (!rows) { place.textContent = "The page does not have the curves of this series; the forecast file has."; return; }
    const places = series.decimals[row];
    const head = ["period", "actual", level(low), "median", level(high), "median, forecast before"];
    table(place, head, rows.map((r) => [r.when, r.came, number(r[low], places), r.median, number(r[high], places), r.before]).reverse());
  }

  function onceOpen(details, fill) {
    details.ontoggle = () => { if (details.open) fill(details.querySelector(".scroll")); };
    if (details.open) details.ontoggle();
  }

  for (const element of document.querySelectorAll("[data-fan]")) fan(element, Number(element.dataset.fan));
  for (const details of document.querySelectorAll("[data-fan-table]")) {
    onceOpen(details, (place) => fanTable(place, Number(details.dataset.fanTable)));
  }

  // One series, chosen.
  function open(row, focus = true) {
    const one = byId("one"), places = series.decimals[row], curve = series.curves[row];
    one.hidden = false;
    one.querySelector("h3 bdi").textContent = series.ids[row];
    const why = series.reason[row] === null ? "" : ` because ${series.reasons[series.reason[row]]}`;
    byId("one-about").textContent = `Made by: ${names[series.status[row]]}${why}. Mean ${figure(series.level[row])} `
      + `(${unit}). Skill of the last 7 nights ${percent(series.recent_skill[row])}, of all shown ${percent(series.skill[row])}; `
      + `the 80% interval held ${percent(series.coverage[row])}.`;
    byId("one-fan").hidden = byId("one-past").hidden = !curve;
    onceOpen(byId("one-table"), (place) => fanTable(place, row));
    if (curve) {
      fan(byId("one-fan"), row);
      const nights = series.nights.map((when, x) => ({ x, when, pinball: curve.p[x], baseline: curve.b[x], coverage: curve.c[x] }));
      byId("one-past").hidden = !nights.length;
      byId("one-nights").setAttribute("aria-label", `Pinball of ${series.ids[row]} by night, forecast and baseline; the table below has the values`);
      drawing(byId("one-nights"), specs["series-nights"], nights, series.night_ticks);
      onceOpen(byId("one-nights-table"), (place) => table(place, ["night", "pinball", "baseline", "held"],
        nights.map((n) => [n.when, number(n.pinball, places + 1), number(n.baseline, places + 1), percent(n.coverage)]).reverse()));
    }
    history.replaceState(null, "", `#series=${encodeURIComponent(series.ids[row])}`);
    if (focus) { byId("one-name").focus({ preventScroll: true }); one.scrollIntoView({ block: "start" }); }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.series");
    if (button) open(Number(button.dataset.row));
  });

  // Search and sort.
  const haystack = series.ids.map((id, row) => `${id} ${names[series.status[row]]}`.toLocaleLowerCase());
  const body = document.querySelector("#list tbody");
  let key = "ids", up = true, found = [], shown = 0;

  function search() {
    const words = byId("query").value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    found = [...series.ids.keys()].filter((row) => words.every((word) => haystack[row].includes(word)));
    const column = series[key], sign = up ? 1 : -1;
    if (key !== "ids" || !up) {
      found.sort((a, b) => {
        if (column[a] === null || column[b] === null) return (column[a] === null) - (column[b] === null) || a - b;
        return sign * (column[a] > column[b] ? 1 : column[a] < column[b] ? -1 : 0) || a - b;
      });
    }
    byId("found").textContent = words.length ? `${found.length.toLocaleString("en")} of ${series.count.toLocaleString("en")} series match` : "";
    body.replaceChildren();
    shown = 0;
    more();
  }

  function more() {
    for (const row of found.slice(shown, shown + (shown ? PAGE : 10))) {
      const line = body.insertRow();
      const name = document.createElement("th");
      name.scope = "row";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "series";
      button.dataset.row = row;
      button.append(Object.assign(document.createElement("bdi"), { textContent: series.ids[row] }));
      name.append(button);
      line.append(name);
      for (const text of [figure(series.level[row]), percent(series.recent_skill[row]), percent(series.coverage[row])]) {
        line.append(Object.assign(line.insertCell(), { textContent: text, className: "number" }));
      }
      line.insertCell().textContent = names[series.status[row]];
    }
    shown = body.rows.length;
    byId("more").hidden = shown >= found.length;
    byId("more").textContent = `Show ${Math.min(PAGE, found.length - shown)} more of ${found.length.toLocaleString("en")}`;
  }

  function asked() {
    try { return decodeURIComponent(/^#series=(.*)$/.exec(location.hash)?.[1] ?? ""); } catch { return ""; }
  }

  for (const head of document.querySelectorAll("[data-sort]")) {
    head.querySelector("button").addEventListener("click", () => {
      up = key === head.dataset.sort ? !up : true;
      key = head.dataset.sort;
      for (const other of document.querySelectorAll("[data-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      search();
    });
  }
  let waiting = 0;
  byId("query").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 80); });
  byId("more").addEventListener("click", more);
  search();

  const row = series.ids.indexOf(asked());
  if (row >= 0) open(row);
  ready();
})();
