// Through the frames: playing, and from one uncertain frame to the next.

import { page } from "./page.js";
import { attempt, say } from "./say.js";
import { post } from "./server.js";

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

// the frame whose correction is worth most, and its object; show(place) goes there
export async function uncertain(show) {
  let place = await ask(visited);
  if (place && place.frame === null && visited.size) visited.clear(), (place = await ask(visited));
  if (!place) return;
  if (place.frame === null) return say("No computed frame is left to look at: segment first.");
  visited.add(place.frame);
  await show(place);
  const { name } = page.state.objects.find((o) => o.id === place.object) || { name: "an object" };
  say(`Look at ${name}: about ${Math.round(100 * place.unsure)}% of it may be wrong here.`);
}

const ask = async (seen) => {
  const answer = await attempt(() => post("/api/uncertain", { seen: [...seen] }));
  return answer && answer.json();
};
