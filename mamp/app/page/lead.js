// The first run: what to do next, one step at a time, until a mask has gone through the video.

import { $, page } from "./page.js";

const SHELF = "mamp lead";
let over = false;
try { over = Boolean(localStorage.getItem(SHELF)); } catch { /* forbidden */ }

function end() {
  over = true;
  try { localStorage.setItem(SHELF, "over"); } catch { /* forbidden */ }
  $("lead").hidden = true;
}

export function listenToLead() {
  $("leadclose").onclick = end;
}

export function showLead() {
  if (over) return;
  const { frames, run, yours } = page.state, drawn = frames.some((f) => f.kind === "d");
  const computed = frames.filter((f) => f.kind && f.kind !== "d").length;
  if (computed && !run.running) return end();
  const words = !drawn
    ? "1 of 2: drag a box around an object, or click on it."
    : computed || run.running ? "" : "2 of 2: click on what is missing, Shift-click on what is too much. Then press F: the mask goes through the video.";
  $("lead").hidden = !words || !yours;
  if ($("lead").firstElementChild.textContent !== words) $("lead").firstElementChild.textContent = words;
}
