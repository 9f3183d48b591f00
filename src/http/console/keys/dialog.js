// Dialog: asks before something is done to a key, and stays open with the reason when it was refused.

import { button, element } from "../dom.js";

/**
 * Opens a dialog. `buttons` are `[label, class, action]`; an action that ends well closes it. The form must be valid
 * for a button whose class says `checks`.
 */
export function openDialog({ title, content, buttons }) {
  const message = element("p", { class: "error", role: "alert", hidden: true });
  const close = () => dialog.close();
  const made = buttons.map(([label, kind, action]) => button(label, async () => {
    if (kind.includes("checks") && !form.reportValidity()) return;
    made.forEach((each) => (each.disabled = true));
    try {
      await action();
      close();
    } catch (error) {
      message.textContent = error.message;
      message.hidden = false;
    } finally {
      made.forEach((each) => (each.disabled = false));
    }
  }, { class: kind }));
  const heading = element("h2", { id: "dialog-title" }, title);
  const onsubmit = (event) => {
    event.preventDefault();
    made[0].click();
  };
  const form = element("form", { onsubmit }, heading, ...content, message, element("p", { class: "actions" }, ...made, button("Cancel", close)));
  const dialog = element("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
}
