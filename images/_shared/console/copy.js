// Copying, where the page is not in a secure context too: an appliance is often plain http on a LAN.
import { make, say } from "./words.js";

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const held = make("textarea", { class: "unseen", readonly: "", "aria-hidden": "true" });
  const before = document.activeElement;
  held.value = text;
  document.body.append(held);
  held.select();
  const done = document.execCommand("copy");
  held.remove();
  before?.focus();
  if (!done) throw new Error("the browser does not copy here");
}

export function copyButton(text) {
  const button = say(make("button", { type: "button", class: "quiet copy" }), "copy");
  button.addEventListener("click", async () => {
    await copy(text()).then(() => say(button, "copied"), () => say(button, "not-copied"));
    setTimeout(() => say(button, "copy"), 2000);
  });
  button.setAttribute("aria-live", "polite");
  return button;
}
