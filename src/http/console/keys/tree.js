// Tree: the keys under a prefix as a tree that loads what is opened. Arrow keys walk it.

import { button, element, integer } from "../dom.js";
import { visible } from "../values/key.js";
import { Level } from "./level.js";

export class Tree {
  /** `onpick(key)` when a key is chosen. */
  constructor(onpick) {
    this.onpick = onpick;
    this.list = element("ul", { class: "tree", "aria-label": "Keys", onkeydown: (event) => this.walk(event) });
    this.state = element("p", { class: "muted", role: "status" });
    this.view = element("div", { class: "tree-box" }, this.list, this.state);
    this.open = new Set();
    this.picked = null;
    this.loading = new AbortController();
  }

  /** Shows what begins with the prefix, from the start. */
  async show(prefix, consistency) {
    this.prefix = prefix;
    this.consistency = consistency;
    await this.reload();
  }

  /** Reads everything again that is open. What is shown stays until the new first level is there. */
  async reload() {
    this.loading.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const fresh = element("ul");
    this.state.textContent = "Loading …";
    this.view.setAttribute("aria-busy", "true");
    let isFirst = true;
    const place = () => {
      if (!isFirst || signal.aborted) return;
      isFirst = false;
      this.list.replaceChildren(...fresh.childNodes);
    };
    const ended = await this.fill(fresh, new Level(this.prefix, this.consistency, true), signal, () => place(), () => (isFirst ? fresh : this.list));
    if (signal.aborted) return;
    this.view.removeAttribute("aria-busy");
    if (!ended) return;
    place();
    this.state.textContent = this.list.childElementCount > 0 ? "" : this.prefix ? "No key begins like this." : "There are no keys yet.";
  }

  /** Puts the level's next nodes into a list; whether that went well. */
  async fill(list, level, signal, ongrow = () => {}, target = () => list) {
    try {
      await level.more((nodes) => {
        if (signal.aborted) return;
        target().append(...nodes.map((node) => this.nodeItem(node, signal)));
        ongrow();
      }, signal);
    } catch (error) {
      if (error.name === "AbortError") return false;
      const retry = button("Try again", () => this.reload(), { class: "quiet" });
      target().append(element("li", { class: "error" }, `Cannot list: ${error.message} `, retry));
      this.state.textContent = "";
      ongrow();
      return false;
    }
    if (!level.isDone && !signal.aborted) {
      const more = element("li", {}, button("Show more", async () => {
        more.remove();
        await this.fill(target(), level, this.loading.signal);
      }, { class: "quiet more" }));
      target().append(more);
    }
    return true;
  }

  nodeItem(node, signal) {
    return node.group === undefined ? this.keyItem(node) : this.groupItem(node, signal);
  }

  keyItem({ key, name, hasTtl }) {
    const mark = hasTtl ? element("span", { class: "tag", title: "It has a lifetime" }, "TTL") : null;
    const pick = element("button", { type: "button", class: "leaf", title: key.shown, onclick: () => this.onpick(key) },
      element("span", { class: "name" }, name), mark);
    pick.dataset.key = key.fragment;
    if (key.equals(this.picked)) pick.setAttribute("aria-current", "true");
    return element("li", {}, pick);
  }

  groupItem({ group, name, count, isWhole }, signal) {
    const list = element("ul", { hidden: true });
    let isLoaded = false;
    const toggle = async () => {
      const isOpen = list.hidden;
      list.hidden = !isOpen;
      fold.setAttribute("aria-expanded", String(isOpen));
      if (isOpen) this.open.add(group);
      else this.open.delete(group);
      if (isOpen && !isLoaded) {
        isLoaded = true;
        await this.fill(list, new Level(group, this.consistency), this.loading.signal);
      }
    };
    const fold = element("button", { type: "button", class: "group", "aria-expanded": "false", title: visible(group), onclick: toggle },
      element("span", { class: "name" }, visible(name)),
      element("span", { class: "count" }, isWhole ? integer(count) : "many"));
    if (this.open.has(group) && !signal.aborted) toggle();
    return element("li", {}, fold, list);
  }

  /** Marks the key that is shown beside. */
  pick(key) {
    this.picked = key;
    for (const leaf of this.list.querySelectorAll(".leaf")) {
      if (key !== null && leaf.dataset.key === key.fragment) leaf.setAttribute("aria-current", "true");
      else leaf.removeAttribute("aria-current");
    }
  }

  walk(event) {
    const at = event.target;
    const isGroup = at.classList.contains("group");
    const isOpen = at.getAttribute("aria-expanded") === "true";
    const seen = [...this.list.querySelectorAll("button")].filter((each) => each.offsetParent !== null);
    const place = seen.indexOf(at);
    let next = null;
    if (event.key === "ArrowDown") next = seen[place + 1];
    else if (event.key === "ArrowUp") next = seen[place - 1];
    else if (event.key === "Home") next = seen[0];
    else if (event.key === "End") next = seen.at(-1);
    else if (event.key === "ArrowRight" && isGroup && !isOpen) at.click();
    else if (event.key === "ArrowRight" && isGroup) next = seen[place + 1];
    else if (event.key === "ArrowLeft" && isGroup && isOpen) at.click();
    else if (event.key === "ArrowLeft") next = at.closest("ul").closest("li")?.querySelector("button");
    else return;
    event.preventDefault();
    next?.focus();
  }
}
