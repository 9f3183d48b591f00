// Level: what stands directly under a prefix: keys, and groups of keys that share their next part up to `:` or `/`.
//
// The API lists keys in order. A level reads a page, folds it into groups, and steps over the rest of the last group with a
// cursor of its own, so that a group of a million keys costs one request.

import { data } from "../api.js";
import { KEY_BYTES_MAX, Key, textOf, visible } from "../values/key.js";

const PAGE_MAX = 200;
const PAGE_MIN = 10;
const NODES_WANTED = 100;
const SEPARATORS = new Set([0x3a, 0x2f]);

export class Level {
  /** Names are shown without the prefix, except at the top, where nothing above them tells it. */
  constructor(prefix, consistency, isTop = false) {
    this.prefix = prefix;
    this.nameStart = isTop ? 0 : prefix.length;
    this.prefixBytes = new TextEncoder().encode(prefix).length;
    this.consistency = consistency;
    this.cursor = null;
    this.page = PAGE_MAX;
    this.isDone = false;
  }

  /** The next nodes, about a hundred; `ongrow` is called with each part as it comes. */
  async more(ongrow, signal) {
    let count = 0;
    while (!this.isDone && count < NODES_WANTED) {
      const nodes = await this.read(signal);
      count += nodes.length;
      ongrow(nodes);
    }
  }

  async read(signal) {
    const query = new URLSearchParams({ prefix: this.prefix, limit: this.page, consistency: this.consistency });
    if (this.cursor !== null) query.set("cursor", this.cursor);
    const { items, cursor } = await data(`api/v1/kv?${query}`, { signal });
    const nodes = this.folded(items);
    const last = nodes.at(-1);
    this.cursor = cursor;
    this.isDone = cursor === null;
    if (!this.isDone && last?.group !== undefined) {
      last.isWhole = false;
      this.cursor = cursorBehind(last.group);
      // Many large groups want small pages, many single keys large ones.
      this.page = last.count > this.page / 2 ? Math.max(PAGE_MIN, Math.floor(this.page / 4)) : Math.min(PAGE_MAX, this.page * 2);
    } else {
      this.page = PAGE_MAX;
    }
    return nodes;
  }

  folded(items) {
    const nodes = [];
    for (const item of items) {
      const key = Key.ofJson(item.key);
      const group = this.groupOf(key);
      if (group === null) {
        nodes.push({ key, name: this.nameOf(key), hasTtl: item.ttl !== null });
      } else if (nodes.at(-1)?.group === group) {
        nodes.at(-1).count += 1;
      } else {
        nodes.push({ group, name: group.slice(this.nameStart), count: 1, isWhole: true });
      }
    }
    return nodes;
  }

  /** The prefix of the group that the key belongs to; null for a key that stands here itself. */
  groupOf(key) {
    for (let at = this.prefixBytes; at < key.bytes.length - 1; at += 1) {
      // A prefix is text, so what is no text cannot be asked for as a group.
      if (SEPARATORS.has(key.bytes[at])) return textOf(key.bytes.subarray(0, at + 1));
    }
    return null;
  }

  nameOf(key) {
    return key.text === null ? key.shown : visible(key.text.slice(this.nameStart));
  }
}

/** A cursor that stands behind every key with this prefix: behind the last one that there can be. */
function cursorBehind(prefix) {
  const last = new Uint8Array(KEY_BYTES_MAX).fill(0xff);
  last.set(new TextEncoder().encode(prefix));
  const text = btoa(String.fromCharCode(...last));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
