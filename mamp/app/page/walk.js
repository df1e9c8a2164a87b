// Through the frames: playing, and from one uncertain frame to the next.

import { page } from "./page.js";
import { say } from "./say.js";

const visited = new Set(); // frames that "next uncertain" showed since the last run

export const beginAnew = () => visited.clear();

// at the video's own speed: frames that cannot be shown in time are left out. go(index) is a promise; render() follows a change
export async function play(go, render) {
  page.playing = !page.playing;
  render();
  const fps = page.state.fps || 24;
  let began = performance.now(), first = page.at;
  while (page.playing) {
    const due = first + Math.max(1, Math.floor(((performance.now() - began) / 1000) * fps) + 1);
    await new Promise((done) => setTimeout(done, Math.max(0, began + ((due - first) * 1000) / fps - performance.now())));
    if (!page.playing) break;
    if (due < page.video.count) await go(due);
    else {
      await go(0);
      [began, first] = [performance.now(), 0];
    }
  }
}

export function uncertain(go) {
  const near = Math.max(2, Math.round(page.video.count / 40));
  const open = page.state.frames
    .map((frame, index) => ({ ...frame, index }))
    .filter((f) => f.kind && f.kind !== "d" && !f.locked && f.unsure !== null);
  let rest = open.filter((f) => ![...visited].some((v) => Math.abs(v - f.index) <= near));
  if (!rest.length) visited.clear(), (rest = open);
  if (!rest.length) return say("No computed frame is left to look at: segment first.");
  const worst = rest.reduce((a, b) => (b.unsure > a.unsure ? b : a));
  visited.add(worst.index);
  go(worst.index);
}
