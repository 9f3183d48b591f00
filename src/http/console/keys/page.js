// Keys: the page with the tree on one side and one key on the other.

import { button, element, labelled } from "../dom.js";
import { Key } from "../values/key.js";
import { RecordView } from "./record.js";
import { Tree } from "./tree.js";

const SEARCH_AFTER_MS = 200;
const LOOK_EVERY_MS = 2000;

export class KeysPage {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.tree = new Tree((key) => (location.hash = `#/keys/${key.fragment}`));
    this.record = new RecordView({ onchange: (key) => this.changed(key), onleave: () => this.leave() });
    this.search = element("input", { type: "search", placeholder: "All keys", autocomplete: "off", spellcheck: "false", oninput: () => this.searchSoon() });
    this.level = element("select", { onchange: () => this.reload() },
      element("option", { value: "leader" }, "the leader"),
      element("option", { value: "strong" }, "a majority"),
      element("option", { value: "eventual" }, "this node's copy"));
    const form = element("form", { class: "search", onsubmit: (event) => this.openTyped(event) },
      labelled("Keys that begin with", this.search), labelled("Read from", this.level));
    place.append(element("div", { class: "split" },
      element("div", { class: "side panel" }, form,
        element("p", { class: "actions" }, button("New key", () => this.create(), { class: "primary" }), button("Refresh", () => this.reload())),
        this.tree.view),
      this.record.view));
    this.lookedAt = 0;
    this.isLoaded = false;
  }

  /** Shows the page, with the key that the address names. */
  show(fragment) {
    if (!this.isLoaded) {
      this.isLoaded = true;
      this.tree.show("", this.level.value);
    }
    const key = fragment ? Key.ofFragment(fragment) : null;
    this.tree.pick(key);
    this.place.firstChild.classList.toggle("has-record", key !== null);
    if (key === null) this.record.clear();
    else if (!key.equals(this.record.key)) this.record.show(key, this.level.value);
  }

  searchSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.tree.show(this.search.value, this.level.value), SEARCH_AFTER_MS);
  }

  /** Return in the field opens the key of that very name. */
  openTyped(event) {
    event.preventDefault();
    if (this.search.value !== "") location.hash = `#/keys/${Key.ofText(this.search.value).fragment}`;
  }

  reload() {
    this.tree.show(this.search.value, this.level.value);
    if (this.record.key !== null && !this.record.editor) this.record.show(this.record.key, this.level.value);
  }

  create() {
    history.replaceState(null, "", "#/keys");
    this.tree.pick(null);
    this.place.firstChild.classList.add("has-record");
    this.record.create(this.level.value);
  }

  /** A key was written, or, with null, the one that was shown is gone. */
  changed(key) {
    this.tree.reload();
    if (key === null) return this.leave();
    const hash = `#/keys/${key.fragment}`;
    if (location.hash !== hash) location.hash = hash;
    this.record.show(key, this.level.value);
  }

  leave() {
    history.replaceState(null, "", "#/keys");
    this.show("");
    this.search.focus();
  }

  /** Once a second while the page is seen. */
  tick(now) {
    this.record.tick();
    if (now - this.lookedAt < LOOK_EVERY_MS) return;
    this.lookedAt = now;
    this.record.look();
  }

  /** After somebody has signed in. */
  forget() {
    this.isLoaded = false;
    this.record.clear();
  }
}
