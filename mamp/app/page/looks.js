// How masks look, and which objects show and may be drawn over. The first is kept by the browser.

import { $ } from "./page.js";

const SHELF = "mamp look";

export class Looks {
  // changed() follows each change
  constructor(surface, changed) {
    this.surface = surface;
    this.changed = changed;
    this.hidden = new Set();
    this.locked = new Set(); // ids whose pixels stay when something is drawn
    let kept = {};
    try { kept = JSON.parse(localStorage.getItem(SHELF) || "{}"); } catch { /* nothing of use */ }
    if (kept.opacity >= 0 && kept.opacity <= 1) surface.overlay.opacity = kept.opacity;
    if (typeof kept.outline === "boolean") surface.overlay.outline = kept.outline;
    if (typeof kept.bright === "boolean") surface.overlay.bright = kept.bright;
    const { opacity, outline, bright } = surface.overlay;
    $("opacity").value = 100 * opacity;
    $("outline").checked = outline;
    $("bright").checked = bright;
    for (const id of ["opacity", "outline", "bright"]) $(id).addEventListener("input", () => this.read());
  }

  read() {
    const { overlay } = this.surface;
    overlay.opacity = $("opacity").value / 100;
    overlay.outline = $("outline").checked;
    overlay.bright = $("bright").checked;
    try { localStorage.setItem(SHELF, JSON.stringify({ opacity: overlay.opacity, outline: overlay.outline, bright: overlay.bright })); } catch { /* forbidden */ }
    this.apply();
  }

  hide(id) {
    toggle(this.hidden, id);
    this.apply();
  }

  // this object alone; again: all
  only(id) {
    const ids = [...this.surface.overlay.colours.keys()], alone = ids.every((other) => this.hidden.has(other) === (other !== id));
    this.hidden = new Set(alone ? [] : ids.filter((other) => other !== id));
    this.apply();
  }

  lock(id) {
    toggle(this.locked, id);
    this.apply();
  }

  of(id) {
    return { hidden: this.hidden.has(id), locked: this.locked.has(id) };
  }

  apply() {
    this.surface.overlay.unseen = this.hidden;
    this.surface.protects = new Set([...this.hidden, ...this.locked]);
    if (this.surface.width) this.surface.paint();
    this.changed();
  }
}

function toggle(set, id) {
  if (!set.delete(id)) set.add(id);
}
