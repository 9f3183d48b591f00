// Record: one key beside the tree: its typed value, revision and lifetime, and what can be done with it.

import { bytes as size, button, duration, element, labelled, setText } from "../dom.js";
import { Reader } from "../values/cbor.js";
import { laidOut } from "../values/json.js";
import { kindOf, shown } from "../values/show.js";
import { openDialog } from "./dialog.js";
import { Editor } from "./editor.js";
import * as store from "./store.js";

/** Types that come back as something else when they are written as JSON. */
const LOST_IN_JSON = new Set(["atom", "tuple", "date", "time", "date and time", "date and time without zone"]);

export class RecordView {
  /** `onchange(key)` after every change here; `onleave()` when the person goes back to the tree. */
  constructor({ onchange, onleave }) {
    this.onchange = onchange;
    this.onleave = onleave;
    this.view = element("div", { class: "record panel" });
    this.clear();
  }

  clear() {
    this.leave(null);
    this.view.replaceChildren(element("p", { class: "muted hint" }, "Choose a key to see its value, or create one."));
  }

  leave(key) {
    this.reading?.abort();
    this.reading = new AbortController();
    this.key = key;
    this.record = null;
    this.editor = null;
    this.tab = "value";
  }

  async show(key, consistency) {
    this.leave(key);
    this.consistency = consistency;
    this.view.replaceChildren(this.heading(key), element("p", { class: "muted" }, "Loading …"));
    await this.read();
  }

  heading(key) {
    return element("div", { class: "record-head" },
      button("Back to the keys", () => this.onleave(), { class: "quiet back" }),
      element("h2", { class: "key" }, key.shown),
      key.text === null ? element("p", { class: "muted" }, "This key is no text; it is shown as bytes in hex.") : null);
  }

  async read() {
    const { key } = this;
    const { signal } = this.reading;
    try {
      const record = await store.read(key, this.consistency, signal);
      if (signal.aborted) return;
      this.record = record;
      this.render();
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  fail(error) {
    this.record = null;
    const isGone = error.code === "NOT_FOUND";
    const text = isGone ? "There is no such key. It was deleted, or its time was over." : `Cannot read it: ${error.message}`;
    const next = isGone
      ? button("Create it", () => this.create(this.consistency, this.key))
      : button("Try again", () => this.read());
    this.view.replaceChildren(this.heading(this.key), element("p", { class: isGone ? "notice" : "error", role: "alert" }, text), element("p", { class: "actions" }, next));
  }

  render() {
    const { record } = this;
    this.item = new Reader(record.value).item(0);
    this.lifetime = element("dd");
    const fact = (name, value) => element("div", {}, element("dt", {}, name), value);
    const facts = element("dl", { class: "facts" },
      fact("Type", element("dd", {}, kindOf(this.item))),
      fact("Encoded", element("dd", {}, size(record.value.length))),
      fact("Revision", element("dd", { "data-revision": "" }, record.revision)),
      fact("Lifetime", this.lifetime));
    this.body = element("div");
    this.tabs = [["value", "Value"], ["json", "JSON"]].map(([name, label]) =>
      button(label, () => this.open(name), { "aria-pressed": "false", "data-tab": name }));
    this.view.replaceChildren(this.heading(this.key), facts,
      element("div", { class: "bar" },
        element("div", { class: "segments", role: "group", "aria-label": "Show as" }, ...this.tabs),
        element("div", { class: "actions" },
          button("Edit", () => this.edit(), { class: "primary" }),
          button("Lifetime …", () => this.askLifetime()),
          button("Delete …", () => this.askDelete(), { class: "danger" }))),
      this.body);
    this.tick();
    this.open(this.tab);
  }

  async open(tab) {
    this.tab = tab;
    for (const each of this.tabs) each.setAttribute("aria-pressed", String(each.dataset.tab === tab));
    if (tab === "value") return this.body.replaceChildren(shown(this.item));
    const { signal } = this.reading;
    try {
      const { json } = await store.readJson(this.key, this.consistency, signal);
      if (!signal.aborted && this.tab === "json") this.body.replaceChildren(element("pre", { class: "text value" }, laidOut(json)));
    } catch (error) {
      if (!signal.aborted) this.body.replaceChildren(element("p", { class: "notice" }, noJson(error)));
    }
  }

  /** Counts the lifetime down. */
  tick() {
    if (!this.record || this.editor) return;
    const { deadline } = this.record;
    const left = deadline === null ? null : Math.max(0, deadline - performance.now());
    setText(this.lifetime, left === null ? "for ever" : `${duration(left < 10_000 ? left : Math.floor(left / 1000) * 1000)} left`);
  }

  /** Looks whether the key was changed elsewhere. */
  async look() {
    const { signal } = this.reading;
    if (!this.key || (!this.record && !this.editor) || this.editor?.isNew) return;
    try {
      const { revision, deadline } = await store.lifetime(this.key, this.consistency, signal);
      if (signal.aborted || !this.record) return;
      if (this.editor) return this.editor.noteChange(revision);
      if (revision !== this.record.revision) return this.read();
      this.record.deadline = deadline;
    } catch (error) {
      if (signal.aborted || error.code !== "NOT_FOUND") return;
      if (this.editor) this.editor.noteChange(null);
      else this.fail(error);
    }
  }

  /** The editor over what is there now. */
  async edit() {
    const { key, consistency } = this;
    const { signal } = this.reading;
    const isText = this.item.kind === "text";
    let [form, content, note] = ["json", "", null];
    let { revision } = this.record;
    try {
      const read = await store.readJson(key, consistency, signal);
      if (signal.aborted) return;
      [content, revision] = [laidOut(read.json), read.revision];
      if (isText && !signal.aborted) [form, content] = ["text", JSON.parse(read.json)];
      if (losesTypes(this.item)) note = "This value holds types that JSON does not have, such as atoms, tuples or times. What you save is written with the types of JSON.";
    } catch (error) {
      if (signal.aborted) return;
      if (error.code !== "INVALID_VALUE") return this.fail(error);
      note = `${noJson(error)} What you save replaces all of it.`;
    }
    this.begin(new Editor({ ...this.ends(), key, revision, deadline: this.record.deadline, form, content, note, consistency }), key);
  }

  /** The editor for a new key. */
  create(consistency, key = null) {
    this.leave(null);
    this.consistency = consistency;
    const editor = new Editor({ ...this.ends(), key: null, revision: null, consistency });
    if (key?.text) editor.keyField.value = key.text;
    this.begin(editor, null);
  }

  ends() {
    return {
      onsaved: (saved) => this.onchange(saved),
      onclose: () => (this.key === null ? this.onleave() : this.show(this.key, this.consistency)),
    };
  }

  begin(editor, key) {
    this.editor = editor;
    const title = key === null
      ? element("div", { class: "record-head" }, element("h2", {}, "New key"))
      : element("div", { class: "record-head" }, element("h2", { class: "key" }, key.shown), element("p", { class: "muted" }, `Editing revision ${editor.revision}`));
    this.view.replaceChildren(title, editor.view);
    editor.focus();
  }

  askLifetime() {
    const { key, record } = this;
    const seconds = element("input", { type: "number", min: "0.001", step: "any", required: true });
    if (record.deadline !== null) seconds.value = String(Math.max(1, Math.ceil((record.deadline - performance.now()) / 1000)));
    const buttons = [["Set lifetime", "primary checks", async () => {
      await store.touch(key, Number(seconds.value));
      this.onchange(key);
    }]];
    if (record.deadline !== null) {
      buttons.push(["Let it live for ever", "", async () => {
        await this.guarded(() => store.keepForEver(key, record.value, record.revision));
        this.onchange(key);
      }]);
    }
    openDialog({ title: "Lifetime", content: [labelled("Ends after, seconds", seconds)], buttons });
  }

  askDelete() {
    const { key, record } = this;
    const content = [element("p", {}, "This removes revision ", element("b", {}, record.revision), " of"), element("p", { class: "key" }, key.shown)];
    const remove = async () => {
      await this.guarded(() => store.remove(key, record.revision), true);
      this.onchange(null);
    };
    openDialog({ title: "Delete this key?", content, buttons: [["Delete", "danger", remove]] });
  }

  /** Tells of a lost race in words that fit here, and shows behind the dialog what is there now. */
  async guarded(change, isFineWhenGone = false) {
    try {
      await change();
    } catch (error) {
      if (error.code === "NOT_FOUND" && isFineWhenGone) return;
      if (error.code === "CONFLICT" || error.code === "NOT_FOUND") {
        await this.read();
        throw new Error("Nothing was done: this key was changed elsewhere in the meantime. Look at what is there now first.");
      }
      throw error;
    }
  }
}

const noJson = (error) => (error.code === "INVALID_VALUE" ? `JSON cannot show this value: ${error.message}.` : `Cannot read it as JSON: ${error.message}`);

/** Looks at the first thousand parts: more than a note is not at stake. */
function losesTypes(item) {
  const open = [item];
  for (let looked = 0; open.length > 0 && looked < 1000; looked += 1) {
    const next = open.pop();
    if (LOST_IN_JSON.has(next.kind)) return true;
    if (!next.hasChildren) continue;
    let room = 1000;
    for (const [, child] of next.children()) {
      open.push(child);
      if ((room -= 1) === 0) break;
    }
  }
  return false;
}
