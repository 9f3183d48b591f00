// Chart: lines over the last minutes, drawn as SVG, with the figures of the moment and of where the pointer is.

import { bytes, drawn, element, figure, setText } from "../dom.js";
import { SECONDS } from "./history.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [480, 150, 52, 18, 8];
const BYTE_STEP = 1024;

/** What the whole width can be: it grows with what there is to show. */
const SPANS_S = [60, 120, SECONDS];

export class Chart {
  constructor({ title, unit }) {
    this.unit = unit;
    this.legend = element("ul", { class: "legend" });
    this.lines = drawn("g");
    this.grid = drawn("g", { class: "grid" });
    this.cursor = drawn("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    this.drawing = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, this.grid, this.lines, this.cursor);
    this.view = element("figure", { class: "chart panel" }, element("figcaption", {}, element("h2", {}, title), this.legend), this.drawing);
    this.title = title;
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
  }

  told(value) {
    if (value === null || value === undefined) return "–";
    if (this.unit === "bytes") return bytes(value);
    return this.unit ? `${figure(value)} ${this.unit}` : figure(value);
  }

  /** Draws the series as they are now. */
  draw(series, now) {
    this.series = series;
    this.now = now;
    const first = Math.min(now, ...series.map(({ points }) => points[0]?.at ?? now));
    this.span_s = SPANS_S.find((span) => span * 1000 >= now - first) ?? SECONDS;
    const values = series.flatMap(({ points }) => points.map(({ value }) => value ?? 0));
    const top = ceilingOf(Math.max(...values, 0), this.unit);
    this.top = top;
    this.grid.replaceChildren(...this.gridLines(top));
    this.lines.replaceChildren(...series.flatMap(({ points }, at) => this.line(points, at)).reverse());
    this.say();
  }

  x(at) {
    return WIDTH - 4 - ((this.now - at) / (this.span_s * 1000)) * (WIDTH - LEFT - 4);
  }

  y(value) {
    return HEIGHT - BOTTOM - (value / this.top) * (HEIGHT - BOTTOM - TOP);
  }

  gridLines(top) {
    const made = [];
    for (const part of [0, 0.5, 1]) {
      const y = this.y(top * part);
      const label = drawn("text", { x: LEFT - 6, y: y + 3.5, "text-anchor": "end" });
      label.textContent = this.unit === "bytes" ? bytes(top * part) : figure(top * part);
      made.push(drawn("line", { x1: LEFT, x2: WIDTH - 4, y1: y, y2: y }), label);
    }
    const step_s = this.span_s === SECONDS ? 60 : this.span_s / 4;
    for (let ago_s = this.span_s; ago_s >= 0; ago_s -= step_s) {
      const anchor = ago_s === 0 ? "end" : ago_s === this.span_s ? "start" : "middle";
      const label = drawn("text", { x: this.x(this.now - ago_s * 1000), y: HEIGHT - 4, "text-anchor": anchor });
      label.textContent = ago_s === 0 ? "now" : this.span_s === SECONDS ? `−${ago_s / 60} min` : `−${ago_s} s`;
      made.push(label);
    }
    return made;
  }

  /** One path a run of known points; the first series stands on a tint. */
  line(points, number) {
    const made = [];
    for (const run of runs(points)) {
      const path = run.map(({ at, value }, place) => `${place ? "L" : "M"}${this.x(at).toFixed(1)} ${this.y(value).toFixed(1)}`).join("");
      if (number === 0) {
        const base = HEIGHT - BOTTOM;
        made.push(drawn("path", { class: "tint", d: `${path}V${base}H${this.x(run[0].at).toFixed(1)}Z` }));
      }
      made.push(drawn("path", { class: `line series-${number}`, d: path }));
    }
    return made.reverse();
  }

  point(event) {
    if (event === null) {
      this.cursor.setAttribute("visibility", "hidden");
      this.pointed = null;
      return this.say();
    }
    const box = this.drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    this.pointed = (WIDTH - 4 - x) / (WIDTH - LEFT - 4) * this.span_s * 1000;
    this.say();
  }

  /** Writes the figures into the legend. */
  say() {
    if (!this.series) return;
    const at = this.pointed === null || this.pointed === undefined ? null : this.now - this.pointed;
    if (at !== null) {
      for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, Math.max(LEFT, this.x(at)));
      this.cursor.setAttribute("visibility", "visible");
    }
    const told = this.series.map(({ name, points }) => [name, this.told(valueAt(points, at))]);
    if (this.legend.childElementCount !== told.length) {
      this.legend.replaceChildren(...told.map(([name], number) =>
        element("li", { class: `series-${number}` }, element("span", { class: "name" }, name), " ", element("b"))));
    }
    told.forEach(([, text], number) => setText(this.legend.children[number].lastElementChild, text));
    this.drawing.setAttribute("aria-label", `${this.title}: ${told.map(([name, text]) => `${name} ${text}`).join(", ")}`);
  }
}

/** The point nearest to a time; the last one when none is given. */
function valueAt(points, at) {
  if (at === null) return points.at(-1)?.value;
  const near = points.reduce((best, point) => (best === null || Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best), null);
  return near !== null && Math.abs(near.at - at) < 3000 ? near.value : null;
}

function runs(points) {
  const made = [];
  let run = [];
  for (const point of points) {
    if (point.value !== null) {
      if (run.length === 0) made.push(run);
      run.push(point);
    } else {
      run = [];
    }
  }
  return made;
}

/** The next round figure above. */
function ceilingOf(value, unit) {
  if (value <= 0) return unit === "bytes" ? BYTE_STEP : 2;
  const base = unit === "bytes" ? BYTE_STEP ** Math.floor(Math.log(value) / Math.log(BYTE_STEP)) : 1;
  const size = value / base;
  const step = 10 ** Math.floor(Math.log10(size));
  const round = [1, 2, 4, 5, 8, 10].find((each) => each * step >= size * 1.02) ?? 20;
  return Math.max(round * step * base, unit === "" || unit === "entries" ? 2 : 0);
}
