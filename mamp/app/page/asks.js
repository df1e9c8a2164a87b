// A question that waits for yes or no.

import { $ } from "./page.js";

// words: what would be done. more: what follows from it. yes: the button's label. The promise of true or false.
export function sure(words, more, yes) {
  const dialog = $("sure");
  $("sure-words").textContent = words;
  $("sure-more").textContent = more;
  $("sure-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  $("sure-yes").focus();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}
