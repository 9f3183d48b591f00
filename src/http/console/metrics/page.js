// Metrics: charts of the last minutes, and below them everything that /metrics tells.

import { ask } from "../api.js";
import { element, figure, integer } from "../dom.js";
import { Chart } from "./chart.js";
import { CHARTS, History } from "./history.js";
import { helpOf, samplesOf } from "./prometheus.js";

export class MetricsPage {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.history = new History();
    this.charts = new Map();
    this.grid = element("div", { class: "charts" });
    this.notice = element("p", { class: "notice", role: "status", hidden: true });
    this.filter = element("input", { type: "search", "aria-label": "Filter", placeholder: "Filter", autocomplete: "off", spellcheck: "false", oninput: () => this.list() });
    this.rows = element("tbody");
    const head = element("tr", {}, element("th", { scope: "col" }, "Name"), element("th", { scope: "col" }, "Labels"), element("th", { scope: "col", class: "number" }, "Value"));
    this.all = element("details", { class: "panel", ontoggle: () => this.list() }, element("summary", {}, "All figures"), this.filter,
      element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), this.rows)));
    place.append(element("h1", {}, "Now, and up to five minutes back"), this.notice, this.grid, this.all);
    this.text = "";
  }

  /** Asks for /metrics and adds a point with the status of the same second. */
  async collect(status) {
    try {
      this.text = await (await ask("metrics")).text();
      this.notice.hidden = true;
    } catch (error) {
      if (error.isUnreachable) return this.history.miss(performance.now());
      this.text = "";
      this.notice.textContent = `Only what the status tells is shown, because /metrics cannot be read: ${error.message}`;
      this.notice.hidden = false;
    }
    this.history.add(performance.now(), samplesOf(this.text), status);
  }

  miss() {
    this.history.miss(performance.now());
  }

  /** Draws what was collected. */
  draw() {
    const now = performance.now();
    for (const what of CHARTS) {
      const series = this.history.seriesOf(what);
      if (series.length === 0) continue;
      if (!this.charts.has(what.id)) this.charts.set(what.id, new Chart(what));
      const chart = this.charts.get(what.id);
      if (!chart.view.isConnected) this.place(what, chart);
      chart.draw(series, now);
    }
    this.list();
  }

  /** In the order of the table, whenever a chart's figures were first told. */
  place(what, chart) {
    const later = CHARTS.slice(CHARTS.indexOf(what) + 1).map(({ id }) => this.charts.get(id)?.view).find((view) => view?.isConnected);
    this.grid.insertBefore(chart.view, later ?? null);
  }

  list() {
    if (!this.all.open) return;
    const help = helpOf(this.text);
    const wanted = this.filter.value.toLowerCase();
    const rows = [];
    for (const { name, labels, value } of samplesOf(this.text)) {
      const told = Object.entries(labels).map(([label, text]) => `${label}=${text}`).join(", ");
      if (!`${name} ${told}`.toLowerCase().includes(wanted)) continue;
      rows.push(element("tr", { title: help.get(name) }, element("td", {}, name), element("td", {}, told), element("td", { class: "number" }, Number.isInteger(value) ? integer(value) : figure(value))));
    }
    this.rows.replaceChildren(...rows);
  }
}
