// Popups that a button opens; one at a time.

import { $ } from "./page.js";

export const MENUS = { export: "exports", view: "views", editmask: "edits" };
// the one of this button is open, or none
export function menu(opened) {
  for (const [button, popup] of Object.entries(MENUS)) {
    $(popup).hidden = button !== opened;
    $(button).setAttribute("aria-expanded", button === opened);
  }
}

export function listenToMenus() {
  for (const [id, popup] of Object.entries(MENUS)) $(id).onclick = () => menu($(popup).hidden && id);
  for (const button of $("edits").children) button.addEventListener("click", () => menu(null));
  document.addEventListener("click", (e) => !e.target.closest(".menu") && menu(null));
}
