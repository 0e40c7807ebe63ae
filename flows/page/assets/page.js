"use strict";
// Draw the charts of the report page, search and sort its series, and show the series that the reader chooses.
(async () => {
  const LIST_STEP = 50; // series added to the list by one click
  const byId = (id) => document.getElementById(id);
  const { series, specs, charts, unit } = await unpacked;

  for (const element of document.querySelectorAll("[data-chart]")) {
    const chart = charts[element.dataset.chart];
    drawChart(element, specs[element.dataset.chart], chart.rows, chart.ticks);
  }
  const setReady = () => { document.documentElement.dataset.ready = "yes"; performance.mark("ready"); };
  if (!series.count) { setReady(); return; }

  const low = series.quantile_names[0], high = series.quantile_names.at(-1);
  const statusNames = { model: "model", stale_model: "stale model", baseline: "baseline" };
  const formatPercent = (share) => share === null ? "–" : `${Math.round(100 * share)}%`.replace("-", "−");
  const numberFormats = new Map();
  function formatDecimals(value, places) {
    if (value === null || value === undefined) return "–";
    if (!numberFormats.has(places)) {
      numberFormats.set(places, new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
    }
    return numberFormats.get(places).format(value).replace("-", "−");
  }
  // Four significant digits, as format_number in number_format.py.
  function formatNumber(value) {
    const size = Math.abs(value ?? 0);
    return formatDecimals(value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4);
  }
  const percentOf = (quantileName) => `${quantileName.slice(1).replace("_", ".")}%`;

  // Return one row per period: actual, quantiles (q...) and quantiles of the previous forecast (eq...).
  function fanRows(row) {
    const curves = series.curves[row];
    if (!curves) return null;
    const places = series.decimals[row], size = series.quantile_names.length;
    return series.periods.map((when, x) => {
      const period = { x, when, actual: curves.actual[x] };
      addQuantiles(period, "", curves.quantiles, x - series.forecast_column);
      if (curves.earlier) addQuantiles(period, "e", curves.earlier, x - series.earlier_column);
      const { [low]: from, [high]: to, q50, eq50, actual } = period;
      period.actual_text = formatDecimals(actual, places);
      period.median_text = formatDecimals(q50, places);
      period.range_text = q50 === undefined ? "–" : `${formatDecimals(from, places)} to ${formatDecimals(to, places)}`;
      period.earlier_text = formatDecimals(eq50, places);
      return period;
    });

    function addQuantiles(period, prefix, values, step) {
      if (step < 0 || step >= series.horizon || values[step * size] === null) return;
      series.quantile_names.forEach((name, i) => { period[prefix + name] = values[step * size + i]; });
    }
  }

  function drawFan(element, row) {
    const rows = fanRows(row);
    const places = series.decimals[row];
    const forecast = rows.filter((period) => period.q50 !== undefined);
    const medians = forecast.map((period) => period.q50);
    element.setAttribute("aria-label", `Fan chart of ${series.ids[row]}: median from ${formatDecimals(Math.min(...medians), places)} `
      + `to ${formatDecimals(Math.max(...medians), places)} in ${unit}, ${forecast[0].when} to ${forecast.at(-1).when}. `
      + "The table below has the values.");
    drawChart(element, specs.fan, rows, series.ticks, { issue: [{ x: series.issue_x }] });
  }

  function fillTable(container, head, rows) {
    const table = document.createElement("table");
    const headLine = table.createTHead().insertRow();
    head.forEach((name, i) => headLine.append(makeCell("th", name, i, "col")));
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((value, i) => line.append(makeCell(i ? "td" : "th", value, i, i ? null : "row")));
    }
    container.replaceChildren(table);

    function makeCell(tag, text, column, scope) {
      const cell = document.createElement(tag);
      cell.textContent = text;
      if (scope) cell.scope = scope;
      if (column) cell.className = "number";
      return cell;
    }
  }

  function fillFanTable(container, row) {
    const rows = fanRows(row);
    if (!rows) {
      container.textContent = "This page does not have the curves of this series. They are in the forecast file.";
      return;
    }
    const places = series.decimals[row];
    const head = ["period", "actual", percentOf(low), "median", percentOf(high), "median, previous forecast"];
    const cells = (period) => [period.when, period.actual_text, formatDecimals(period[low], places), period.median_text,
      formatDecimals(period[high], places), period.earlier_text];
    fillTable(container, head, rows.map(cells).reverse());
  }

  // Tables are long, so each is filled when the reader opens it.
  function fillWhenOpen(details, fill) {
    details.ontoggle = () => { if (details.open) fill(details.querySelector(".scroll")); };
    if (details.open) details.ontoggle();
  }

  for (const element of document.querySelectorAll("[data-fan]")) drawFan(element, Number(element.dataset.fan));
  for (const details of document.querySelectorAll("[data-fan-table]")) {
    fillWhenOpen(details, (container) => fillFanTable(container, Number(details.dataset.fanTable)));
  }

  // Show one series below the list.
  function showSeries(row, setFocus = true) {
    const card = byId("chosen"), places = series.decimals[row], curves = series.curves[row];
    card.hidden = false;
    card.querySelector("h3 bdi").textContent = series.ids[row];
    const number = series.reason_numbers[row];
    const reason = number === null ? "" : ` (${series.reasons[number]})`;
    byId("chosen-figures").textContent = `Status: ${statusNames[series.status[row]]}${reason}. `
      + `Mean forecast: ${formatNumber(series.mean_q50[row])} (${unit}). `
      + `Skill: ${formatPercent(series.recent_skill[row])} over the last 7 nights, ${formatPercent(series.skill[row])} over all nights on this page. `
      + `Coverage of the 80% interval: ${formatPercent(series.coverage[row])}.`;
    byId("chosen-fan").hidden = byId("chosen-past").hidden = !curves;
    fillWhenOpen(byId("chosen-table"), (container) => fillFanTable(container, row));
    if (curves) {
      drawFan(byId("chosen-fan"), row);
      const nights = series.issue_labels.map((when, x) => (
        { x, when, pinball: curves.pinball[x], baseline: curves.baseline_pinball[x], coverage: curves.coverage[x] }));
      byId("chosen-past").hidden = !nights.length;
      byId("chosen-pinball").setAttribute("aria-label", `Pinball of ${series.ids[row]} by night, forecast and baseline. The table below has the values.`);
      drawChart(byId("chosen-pinball"), specs["series-pinball"], nights, series.issue_ticks);
      const cells = (night) => [night.when, formatDecimals(night.pinball, places + 1), formatDecimals(night.baseline, places + 1),
        formatPercent(night.coverage)];
      fillWhenOpen(byId("chosen-pinball-table"),
        (container) => fillTable(container, ["night", "pinball", "baseline", "coverage"], nights.map(cells).reverse()));
    }
    history.replaceState(null, "", `#series=${encodeURIComponent(series.ids[row])}`);
    if (setFocus) { byId("chosen-name").focus({ preventScroll: true }); card.scrollIntoView({ block: "start" }); }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.series");
    if (button) showSeries(Number(button.dataset.row));
  });

  // Search and sort the list of series.
  const searchTexts = series.ids.map((id, row) => `${id} ${statusNames[series.status[row]]}`.toLocaleLowerCase());
  const body = document.querySelector("#list tbody");
  let sortKey = "ids", isAscending = true, matches = [], listed = 0;

  function search() {
    const words = byId("query").value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    matches = [...series.ids.keys()].filter((row) => words.every((word) => searchTexts[row].includes(word)));
    const column = series[sortKey], sign = isAscending ? 1 : -1;
    if (sortKey !== "ids" || !isAscending) {
      matches.sort((a, b) => {
        if (column[a] === null || column[b] === null) return (column[a] === null) - (column[b] === null) || a - b;
        return sign * (column[a] > column[b] ? 1 : column[a] < column[b] ? -1 : 0) || a - b;
      });
    }
    byId("match-count").textContent = words.length ? `${matches.length.toLocaleString("en")} of ${series.count.toLocaleString("en")} series match` : "";
    body.replaceChildren();
    listed = 0;
    listMore();
  }

  function listMore() {
    for (const row of matches.slice(listed, listed + (listed ? LIST_STEP : 10))) {
      const line = body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "series";
      button.dataset.row = row;
      button.append(Object.assign(document.createElement("bdi"), { textContent: series.ids[row] }));
      head.append(button);
      line.append(head);
      for (const text of [formatNumber(series.mean_q50[row]), formatPercent(series.recent_skill[row]), formatPercent(series.coverage[row])]) {
        line.append(Object.assign(line.insertCell(), { textContent: text, className: "number" }));
      }
      line.insertCell().textContent = statusNames[series.status[row]];
    }
    listed = body.rows.length;
    byId("more").hidden = listed >= matches.length;
    byId("more").textContent = `Show ${Math.min(LIST_STEP, matches.length - listed)} more of ${matches.length.toLocaleString("en")}`;
  }

  function seriesInAddress() {
    try { return decodeURIComponent(/^#series=(.*)$/.exec(location.hash)?.[1] ?? ""); } catch { return ""; }
  }

  for (const head of document.querySelectorAll("[data-sort]")) {
    head.querySelector("button").addEventListener("click", () => {
      isAscending = sortKey === head.dataset.sort ? !isAscending : true;
      sortKey = head.dataset.sort;
      for (const other of document.querySelectorAll("[data-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
      search();
    });
  }
  // A search on every key press is slow with thousands of series.
  let searchTimer = 0;
  byId("query").addEventListener("input", () => { clearTimeout(searchTimer); searchTimer = setTimeout(search, 80); });
  byId("more").addEventListener("click", listMore);
  search();

  const row = series.ids.indexOf(seriesInAddress());
  if (row >= 0) showSeries(row);
  setReady();
})();
