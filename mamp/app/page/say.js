// Words on the stage, and requests whose refusals are shown there.

import { $, page } from "./page.js";
import { Told, link } from "./server.js";

let message = "", timer = 0, looking = false;

// words stay for a while; "" takes them away
export function say(words) {
  message = words;
  clearTimeout(timer);
  if (words) timer = setTimeout(() => say(""), 7000);
  hint();
}

// "Looking…" stays as long as an answer is waited for
export function setLooking(on) {
  looking = on;
  hint();
}

function hint() {
  const words = [looking ? "Looking…" : "", message].filter(Boolean).join(" ");
  if ($("hint").textContent !== words) $("hint").textContent = words;
}

// what `work` gives, or null where it was refused
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Told) say(error.message);
    return null;
  }
}

// until the page has what the server knew at `version`
export async function news(version) {
  while (page.state.version < version && link.online && !link.ended) await new Promise((done) => setTimeout(done, 15));
}
