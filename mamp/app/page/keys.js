// The keyboard: which key does what, and where keys belong to the control that has the focus.

import { $, page } from "./page.js";

const PATIENCE = 600; // milliseconds for the second digit of an object's number

// keys: key -> act(event). digits(number): choose an object by its place, true if there is one. cross: see hands.js
export function listenToKeys({ keys, undo, redo, digits, cross, hide, compare }) {
  let typed = "", last = 0;

  function digit(key) {
    const now = performance.now(), longer = typed + key;
    const goesOn = typed && now - last < PATIENCE && digits(Number(longer));
    if (!goesOn && key === "0") return false;
    if (!goesOn) digits(Number(key));
    typed = goesOn ? longer : key;
    last = now;
    return true;
  }

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (!page.state?.video || document.querySelector("dialog[open]")) return;
    if (target.matches("input:not([type=range]):not([type=checkbox]), select, textarea")) return;
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      return key === "y" || event.shiftKey ? redo() : undo();
    }
    if (event.altKey || belongsTo(target, event.key)) return;
    if (!/^[0-9]$/.test(event.key)) typed = "";
    if (cross(event) || (/^[0-9]$/.test(event.key) && digit(event.key))) return event.preventDefault();
    if (event.key === "h") return hide(true);
    if (event.key === "c") return event.repeat || compare(true);
    const act = keys[event.key] || keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act(event);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === "h") hide(false);
    if (event.key === "c") compare(false);
  });
  window.addEventListener("blur", () => (hide(false), compare(false)));
  // after the mouse moved a slider the arrows go through the frames again
  for (const slider of document.querySelectorAll("input[type=range]")) slider.addEventListener("pointerup", () => $("canvas").focus({ preventScroll: true }));
  // the same after the mouse chose from a list
  for (const list of document.querySelectorAll("select")) {
    let mouse = false;
    list.addEventListener("pointerdown", () => (mouse = true));
    list.addEventListener("keydown", () => (mouse = false));
    list.addEventListener("change", () => mouse && $("canvas").focus({ preventScroll: true }));
  }
}

// Enter and Space press a button, arrows move a slider
function belongsTo(target, key) {
  if (target.matches("button, a, summary, input[type=checkbox]")) return key === "Enter" || key === " ";
  return target.matches("input[type=range]") && /^(Arrow|Home|End|Page)/.test(key);
}
