"use strict";
// Draw the charts of the report page, search and sort its series, and show the series that the reader chooses.
(async () => {
  const LIST_STEP = 50; // series added to the list by one click
  const byId = (id) => document.getElementById(id);
  const { series, specs, charts, unit, downloads } = await unpacked;

  for (const element of document.querySelectorAll("[data-chart]")) {
    const chart = charts[element.dataset.chart];
    if (!chart) continue;
    const datasets = { ...(chart.datasets?.issue && { holidays: series.holidays }), ...chart.datasets };
    drawChart(element, specs[chart.chart_spec ?? element.dataset.chart], chart.rows, chart.ticks, datasets);
  }

  // Each file is in the page as base64. It becomes an object of the browser when the reader asks for it.
  for (const button of document.querySelectorAll("[data-file]")) {
    button.addEventListener("click", () => {
      const { name, media_type, content } = downloads[Number(button.dataset.file)];
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const address = URL.createObjectURL(new Blob([bytes], { type: media_type }));
      Object.assign(document.createElement("a"), { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    });
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
  // The numbers of a column have the same decimals, as column_decimals in number_format.py.
  const sizes = series.mean_q50.map(Math.abs).filter(Boolean);
  const largest = Math.max(...sizes.slice(0, 50_000)), smallest = Math.min(...sizes.slice(0, 50_000));
  const meanPlaces = !sizes.length ? 0 : Math.max(
    largest >= 1000 ? 0 : largest >= 100 ? 1 : largest >= 10 ? 2 : largest >= 1 ? 3 : 4,
    Math.min(2 - Math.floor(Math.log10(smallest)), 2));
  const percentOf = (quantileName) => `${quantileName.slice(1).replace("_", ".")}%`;

  // Return one row per period: actual, quantiles (q...) and quantiles of the previous forecast (eq...).
  function fanRows(row) {
    const curves = series.curves[row];
    if (!curves) return null;
    const places = series.decimals[row], size = series.quantile_names.length;
    return series.periods.map((when, x) => {
      const period = { x, when: withHoliday(when, x, series.holidays), actual: curves.actual[x] };
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

  function withHoliday(when, x, holidays) {
    const holiday = holidays.find(({ left, right }) => left < x && x < right);
    return holiday ? `${when} (${holiday.name})` : when;
  }

  // Return one row per period: actual, newest forecast and, for daily pipelines, the forecast of the last step.
  function pastRows(row) {
    const past = series.curves[row]?.past, places = series.decimals[row];
    if (!past) return null;
    return series.past_periods.map((when, x) => {
      const [actual, first, from, to, last] = [past.actual, past.first, past.low, past.high, past.last].map((values) => values?.[x]);
      return {
        x, when: withHoliday(when, x, series.past_holidays), actual, first, low: from, high: to, last,
        actual_text: formatDecimals(actual, places), first_text: formatDecimals(first, places),
        range_text: typeof from === "number" ? `${formatDecimals(from, places)} to ${formatDecimals(to, places)}` : "–",
        last_text: formatDecimals(last, places),
      };
    });
  }

  function drawPast(element, row) {
    drawChart(element, specs.past, pastRows(row), series.past_ticks, { holidays: series.past_holidays });
  }

  function fillPastTable(container, row) {
    const rows = pastRows(row), places = series.decimals[row], hasLast = "last" in series.curves[row].past;
    const head = ["period", "actual", hasLast ? "1 day ahead" : "forecast", percentOf(low), percentOf(high), ...(hasLast ? [`${series.horizon} days ahead`] : [])];
    fillTable(container, head, rows.map((period) => [
      period.when, period.actual_text, period.first_text, formatDecimals(period.low, places), formatDecimals(period.high, places),
      ...(hasLast ? [period.last_text] : []),
    ]).reverse());
  }

  function drawInput(element, row, name) {
    const number = series.inputs.findIndex((input) => input.name === name);
    const values = series.inputs[number].values ?? series.curves[row].inputs[number];
    const rows = series.periods.map((when, x) => ({ x, when, value: values[x], value_text: formatNumber(values[x]) }));
    drawChart(element, specs.input, rows, series.ticks, { issue: [{ x: series.issue_x }], holidays: [] });
  }

  function drawFan(element, row) {
    const rows = fanRows(row);
    const places = series.decimals[row];
    const forecast = rows.filter((period) => period.q50 !== undefined);
    const medians = forecast.map((period) => period.q50);
    element.setAttribute("aria-label", `Fan chart of ${series.ids[row]}: median from ${formatDecimals(Math.min(...medians), places)} `
      + `to ${formatDecimals(Math.max(...medians), places)} in ${unit}, ${forecast[0].when} to ${forecast.at(-1).when}. `
      + "The table below has the values.");
    drawChart(element, specs.fan, rows, series.ticks, { issue: [{ x: series.issue_x }], holidays: series.holidays });
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
    // The forecast comes first, oldest period on top, as a forecaster reads it. Then the actuals before it.
    const head = ["period", "median", percentOf(low), percentOf(high), "previous forecast", "actual"];
    const cells = (period) => [period.when, period.median_text, formatDecimals(period[low], places),
      formatDecimals(period[high], places), period.earlier_text, period.actual_text];
    const ahead = rows.slice(series.forecast_column), before = rows.slice(0, series.forecast_column).reverse();
    fillTable(container, head, [...ahead, ...before].map(cells));
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

  for (const element of document.querySelectorAll("[data-input]")) drawInput(element, Number(element.dataset.input), element.dataset.name);
  for (const element of document.querySelectorAll("[data-past]")) drawPast(element, Number(element.dataset.past));
  for (const details of document.querySelectorAll("[data-past-table]")) {
    fillWhenOpen(details, (container) => fillPastTable(container, Number(details.dataset.pastTable)));
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
      + `Skill over the nights on this page: ${formatPercent(series.skill[row])}. `
      + `Coverage of the 80% interval: ${formatPercent(series.coverage[row])}.`;
    byId("chosen-fan").hidden = byId("chosen-past").hidden = !curves;
    byId("chosen-over-actual").hidden = !curves?.past;
    if (curves?.past) {
      byId("chosen-past-forecasts").setAttribute("aria-label", `Past forecasts and actuals of ${series.ids[row]}. The table below has the values.`);
      drawPast(byId("chosen-past-forecasts"), row);
      fillWhenOpen(byId("chosen-past-table"), (container) => fillPastTable(container, row));
    }
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

  const chosenRow = series.ids.indexOf(seriesInAddress());
  if (!byId("list")) { if (chosenRow >= 0) showSeries(chosenRow); setReady(); return; }

  // Search and sort the list of series, at first the largest on top.
  const searchTexts = series.ids.map((id, row) => `${id} ${statusNames[series.status[row]]}`.toLocaleLowerCase());
  const body = document.querySelector("#list tbody");
  let sortKey = "mean_q50", isAscending = false, matches = [], listed = 0;

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
      for (const text of [formatDecimals(series.mean_q50[row], meanPlaces), formatPercent(series.skill[row]), formatPercent(series.coverage[row])]) {
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

  if (chosenRow >= 0) showSeries(chosenRow);
  setReady();
})();
