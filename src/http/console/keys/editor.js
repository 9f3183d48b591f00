// Editor: writes a value, new or over the revision that was read, and lets the person decide when another was faster.

import { button, element, integer, labelled } from "../dom.js";
import { KEY_BYTES_MAX, Key } from "../values/key.js";
import { faultIn, laidOut } from "../values/json.js";
import * as store from "./store.js";

const FORMS = [["json", "JSON"], ["text", "Text"]];

export class Editor {
  /**
   * `key` and `revision` are null for a new key. `form` is `json` or `text`, `content` what stands in it at first, `note` what
   * there is to know before. `onsaved(key)` and `onclose()` end it.
   */
  constructor({ key, revision, deadline = null, form = "json", content = "", note = null, consistency, onsaved, onclose }) {
    Object.assign(this, { key, revision, deadline, consistency, onsaved, onclose });
    this.isNew = key === null;
    this.keyField = element("input", { type: "text", autocomplete: "off", spellcheck: "false", required: true });
    const rows = Math.min(20, Math.max(7, content.split("\n").length + 1));
    this.area = element("textarea", { rows, spellcheck: "false", autocomplete: "off" });
    this.area.value = content;
    this.forms = FORMS.map(([value, name]) => this.formChoice(value, name, value === form));
    this.life = this.lifeField();
    this.message = element("div", { role: "alert" });
    this.save = element("button", { type: "submit", class: "primary" }, this.isNew ? "Create" : "Save");
    this.changed = element("p", { class: "notice", role: "status", hidden: true });
    this.view = element("form", { class: "editor", onsubmit: (event) => this.submit(event) },
      this.isNew ? labelled("Key", this.keyField) : null,
      this.changed,
      note === null ? null : element("p", { class: "notice" }, note),
      element("fieldset", { class: "choices" }, element("legend", {}, "Written as"), ...this.forms.map(({ view }) => view)),
      labelled("Value", this.area),
      this.life.view,
      this.message,
      element("p", { class: "actions" }, this.save, button("Cancel", () => onclose())));
  }

  formChoice(value, name, checked) {
    const input = element("input", { type: "radio", name: "form", value, checked });
    return { input, view: element("label", { class: "check" }, input, ` ${name}`) };
  }

  get form() {
    return this.forms.find(({ input }) => input.checked).input.value;
  }

  lifeField() {
    const choices = [
      ["keep", "Keep what is left of it", this.deadline !== null],
      ["ever", "For ever", true],
      ["new", "Ends after …", true],
    ];
    const select = element("select", {}, ...choices.filter(([, , is]) => is).map(([value, name]) => element("option", { value }, name)));
    const seconds = element("input", { type: "number", min: "0.001", step: "any", "aria-label": "Lifetime in seconds", placeholder: "seconds" });
    const update = () => {
      seconds.hidden = select.value !== "new";
      seconds.required = !seconds.hidden;
    };
    select.addEventListener("change", update);
    update();
    const field = labelled("Lifetime", select);
    field.append(" ", seconds);
    return { view: field, select, seconds };
  }

  /** Seconds for the write; null for ever. */
  get ttl_s() {
    if (this.life.select.value === "new") return Number(this.life.seconds.value);
    if (this.life.select.value === "ever" || this.deadline === null) return null;
    return Math.max(1, Math.round(this.deadline - performance.now())) / 1000;
  }

  focus() {
    this.area.setSelectionRange(0, 0);
    (this.isNew && this.keyField.value === "" ? this.keyField : this.area).focus();
  }

  /** Says that the key was changed elsewhere while this is open. */
  noteChange(revision) {
    if (revision === this.revision || this.isNew) return;
    this.changed.textContent = "This key was changed elsewhere in the meantime. Saving will show you what is there now.";
    this.changed.hidden = false;
  }

  async submit(event) {
    event.preventDefault();
    const key = this.isNew ? Key.ofText(this.keyField.value) : this.key;
    const json = this.form === "text" ? JSON.stringify(this.area.value) : this.area.value;
    const fault = this.form === "json" ? faultIn(json) : null;
    if (fault !== null) return this.say(fault);
    if (key.bytes.length > KEY_BYTES_MAX) return this.say(`A key has at most ${integer(KEY_BYTES_MAX)} bytes; this one has ${integer(key.bytes.length)}.`);
    await this.write(key, json, this.revision);
  }

  async write(key, json, revision) {
    this.say(null);
    this.save.disabled = true;
    try {
      await store.write(key, json, this.ttl_s, revision);
      this.onsaved(key);
    } catch (error) {
      await this.explain(error, key, json);
    } finally {
      this.save.disabled = false;
    }
  }

  say(text) {
    this.message.replaceChildren(...(text === null ? [] : [element("p", { class: "error" }, text)]));
  }

  async explain(error, key, json) {
    const isRace = error.code === "CONFLICT" || error.code === "NOT_FOUND";
    if (!isRace) {
      const what = error.code === "UNKNOWN_OUTCOME" ? "Whether this was written is not known: look at the key before you try again. " : "Not saved: ";
      return this.say(what + error.message);
    }
    try {
      await this.showConflict(key, json);
    } catch (failure) {
      this.say(`Another write was faster, and what is there now cannot be read: ${failure.message}`);
    }
  }

  async showConflict(key, json) {
    const there = await this.there(key);
    this.changed.hidden = true;
    const title = element("h3", {}, there === null ? "This key is gone" : this.isNew ? "This key exists already" : "Another write was faster");
    const told = there === null
      ? "It was deleted, or its time was over, after you had opened it. Nothing of yours was written."
      : "Nothing of yours was written. Below is what is there now.";
    const now = there === null ? null : element("figure", {},
      element("figcaption", {}, `There now, revision ${there.revision}`), element("pre", { class: "text" }, there.text));
    const mine = button(there === null ? "Create it again with mine" : `Write mine over revision ${there.revision}`,
      () => this.again(key, json, there), { class: "danger" });
    const theirs = there === null ? button("Discard mine", () => this.onsaved(key)) : button("Keep what is there", () => this.onsaved(key));
    this.message.replaceChildren(element("div", { class: "conflict" }, title, element("p", {}, told), now, element("p", { class: "actions" }, theirs, mine)));
    this.message.scrollIntoView({ block: "nearest" });
    theirs.focus({ preventScroll: true });
  }

  /** What the person sees now is what is written over: a third write shows this again. */
  async again(key, json, there) {
    if (there !== null) this.deadline = there.deadline;
    const edited = this.form === "text" ? JSON.stringify(this.area.value) : this.area.value;
    await this.write(key, faultIn(edited) === null ? edited : json, there === null ? null : there.revision);
  }

  /** Null when there is nothing. */
  async there(key) {
    try {
      const [{ json, revision }, { deadline }] = await Promise.all([
        store.readJson(key, this.consistency),
        store.lifetime(key, this.consistency),
      ]);
      return { revision, deadline, text: laidOut(json) };
    } catch (error) {
      if (error.code === "NOT_FOUND") return null;
      if (error.code !== "INVALID_VALUE") throw error;
      const { revision, deadline } = await store.lifetime(key, this.consistency);
      return { revision, deadline, text: "A value that JSON cannot show." };
    }
  }
}
