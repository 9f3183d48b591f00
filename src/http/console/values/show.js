// Show: a value as people read it: text, numbers, bytes as a table of hex, lists and maps as a tree that opens piece by piece.

import { bytes as size, button, element, integer } from "../dom.js";
import { hex, visible } from "./key.js";

const TEXT_SHOWN = 20_000;
const TEXT_IN_TREE = 400;
const CHILDREN_SHOWN = 100;
const HEX_ROWS_SHOWN = 64;

/** What kind of value it is, with its measure. */
export function kindOf(item) {
  if (item.kind === "text") return `text, ${counted([...item.text.slice(0, 1_000_000)].length, "character")}`;
  if (item.kind === "bytes") return `bytes, ${size(item.bytes.length)}`;
  if (item.hasChildren) return `${item.name ? `struct ${item.name}` : item.kind}, ${countOf(item)}`;
  return item.kind;
}

const counted = (count, one, many = `${one}s`) => `${integer(count)} ${count === 1 ? one : many}`;

function countOf(item) {
  if (item.count === null) return "open length";
  return item.isMap ? counted(item.count, "entry", "entries") : counted(item.count, "item");
}

/** The whole value. */
export function shown(item) {
  if (item.kind === "text") return element("div", { class: "value" }, cut(item.text, TEXT_SHOWN, "pre"));
  if (item.kind === "bytes") return hexTable(item.bytes);
  if (item.hasChildren) {
    const list = childList(item);
    return element("div", { class: "value tree-value" }, item.count === 0 ? element("p", { class: "muted" }, "It is empty.") : list);
  }
  return element("div", { class: "value" }, element("pre", { class: `scalar ${kindClass(item)}` }, item.text));
}

function kindClass(item) {
  if (["integer", "float", "decimal"].includes(item.kind)) return "is-number";
  return ["boolean", "null", "atom"].includes(item.kind) ? "is-word" : "is-text";
}

/** Text, of which the rest comes when it is asked for. */
function cut(text, most, tag) {
  const place = element(tag, { class: "text" }, text.slice(0, most));
  if (text.length <= most) return place;
  const more = button(`Show all ${integer(text.length)} characters`, () => {
    place.textContent = text;
    more.remove();
  }, { class: "quiet" });
  return element("div", {}, place, more);
}

function childList(item) {
  const list = element("ul", { class: "entries" });
  const children = item.children();
  const more = button("", () => fill(), { class: "quiet" });
  const fill = () => {
    more.remove();
    for (let number = 0; number < CHILDREN_SHOWN; number += 1) {
      const { value, done } = children.next();
      if (done) return;
      list.append(entry(...value));
    }
    more.textContent = `Show ${CHILDREN_SHOWN} more`;
    if (item.count === null || list.childElementCount < item.count) list.append(more);
  };
  fill();
  return list;
}

function entry(name, item) {
  const isNumber = typeof name === "number";
  const label = element("span", { class: isNumber ? "name position" : "name" }, isNumber ? String(name) : nameText(name));
  if (!item.hasChildren || item.count === 0) return element("li", {}, label, inline(item));
  const fold = element("details", {}, element("summary", {}, label, element("span", { class: "kind" }, kindOf(item))));
  fold.addEventListener("toggle", () => fold.append(childList(item)), { once: true });
  return element("li", {}, fold);
}

/** The key of a map may be any value. */
function nameText(item) {
  if (item.hasChildren) return `(${kindOf(item)})`;
  if (item.bytes) return hex(item.bytes.subarray(0, 32));
  return visible(item.text.slice(0, TEXT_IN_TREE));
}

function inline(item) {
  if (item.hasChildren) return element("span", { class: "kind" }, kindOf(item));
  if (item.bytes) {
    const rest = item.bytes.length > 24 ? " …" : "";
    return element("span", {}, element("code", {}, hex(item.bytes.subarray(0, 24)) + rest), " ", element("span", { class: "kind" }, kindOf(item)));
  }
  const text = cut(item.text, TEXT_IN_TREE, "span");
  text.classList.add(kindClass(item));
  const isPlain = ["text", "integer", "float", "boolean", "null"].includes(item.kind);
  return isPlain ? text : element("span", {}, text, " ", element("span", { class: "kind" }, item.kind));
}

/** Sixteen bytes a row: where, hex, and what of it is ASCII. */
function hexTable(all) {
  const place = element("pre", { class: "hex" });
  let rows = 0;
  const more = button("", () => fill(), { class: "quiet" });
  const fill = () => {
    const lines = [];
    for (let number = 0; number < HEX_ROWS_SHOWN && rows * 16 < all.length; number += 1, rows += 1) {
      const row = all.subarray(rows * 16, rows * 16 + 16);
      const ascii = Array.from(row, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
      lines.push(`${(rows * 16).toString(16).padStart(6, "0")}  ${hex(row).padEnd(47)}  ${ascii}\n`);
    }
    place.append(lines.join(""));
    more.hidden = rows * 16 >= all.length;
    more.textContent = `Show more of ${size(all.length)}`;
  };
  fill();
  return element("div", { class: "value" }, all.length ? place : element("p", { class: "muted" }, "It is empty."), more);
}
