// Page: builds elements, and writes numbers, sizes and times for people. Text is only ever text here, never markup.

/** An element. Properties that are functions named `on...` become listeners; `class`, `data-*`, `aria-*` and others attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** An element of a drawing. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

export function button(label, onclick, properties = {}) {
  return element("button", { type: "button", onclick, ...properties }, label);
}

/** A label with what it names; `control` gets an id. */
let labels = 0;
export function labelled(label, control) {
  labels += 1;
  control.id ||= `field-${labels}`;
  return element("div", { class: "field" }, element("label", { for: control.id }, label), control);
}

/** Writes only when the text differs, so that nothing is laid out again and no selection is lost. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const integers = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** `12,345`; a dash for what is not known. */
export function integer(value) {
  return value === null || value === undefined ? "–" : integers.format(value);
}

/** Three digits or so: `0.042`, `3.1`, `1,250`, `12.5 k`. */
export function figure(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return `${trimmed(value / 1e9)} G`;
  if (size >= 1e6) return `${trimmed(value / 1e6)} M`;
  if (size >= 1e4) return `${trimmed(value / 1e3)} k`;
  if (size >= 100 || Number.isInteger(value)) return integers.format(value);
  return size >= 1 ? value.toFixed(1) : String(Number(value.toPrecision(2)));
}

const trimmed = (value) => String(Number(value.toPrecision(3)));

/** `512 B`, `1.5 KiB`, `12 MiB`. */
export function bytes(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [size, unit] = [value, 0];
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? integers.format(size) : trimmed(size)} ${units[unit]}`;
}

/** Milliseconds as people say them: `40 ms`, `7.2 s`, `3 min 5 s`, `2 h 10 min`, `5 d 2 h`. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = parts.findIndex(([length]) => seconds >= length);
  const [length, name] = parts[at];
  const rest = parts[at + 1];
  const whole = `${Math.floor(seconds / length)} ${name}`;
  const left = rest ? Math.floor((seconds % length) / rest[0]) : 0;
  return left > 0 ? `${whole} ${left} ${rest[1]}` : whole;
}
