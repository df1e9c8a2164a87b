// Which video is open: the example, projects of earlier times, another one; and what it is segmented with.

import { $, frames, page } from "./page.js";
import { attempt, say } from "./say.js";
import { post } from "./server.js";

const PRESETS = { tuned: "default, to finish", fast: "fast, to look around", exact: "exact, slow", published: "as published" };

let listed = "";

// the welcome's list of projects
function showRecent(recent) {
  const now = JSON.stringify(recent.map((told) => [told.folder, told.frames]));
  $("recents").hidden = !recent.length;
  if (now === listed) return;
  listed = now;
  $("recents").querySelector("ul").replaceChildren(...recent.map((told, number) => {
    const item = document.createElement("li"), button = document.createElement("button"), small = document.createElement("small");
    small.textContent = `${frames(told.frames)}, ${new Date(1000 * told.at).toLocaleDateString()}`;
    button.append(told.name, " ", small);
    button.title = told.folder;
    button.onclick = () => open({ recent: number });
    item.append(button);
    return item;
  }));
}

// no video is open: what can be
export function showWelcome() {
  $("title").textContent = document.title = "mamp";
  $("about").textContent = $("saved").textContent = "";
  showRecent(page.state.recent || []);
}

async function open(what) {
  $("upload").textContent = "Opening…";
  const answer = await attempt(() => post("/api/open", what));
  $("upload").textContent = answer ? "" : $("hint").textContent || "It could not be opened.";
}

// presets and devices as choices; drawn() as in runs.js
export function listenToVideos(drawn) {
  $("example").onclick = () => open({ example: true });
  $("videos").onclick = async () => (await drawn()) && attempt(() => post("/api/close"));
  for (const id of ["preset", "device"])
    $(id).onchange = async () => {
      const chosen = { preset: $("preset").value, device: $("device").value };
      if (await attempt(() => post("/api/settings", chosen))) say("Used from the next run on.");
      else showSettings();
    };
}

export function showSettings() {
  const { settings, run } = page.state;
  for (const [id, all, now, words] of [["preset", settings.presets, settings.preset, PRESETS], ["device", settings.devices, settings.device, {}]]) {
    const select = $(id);
    select.parentElement.hidden = all.length < 2;
    if (select.childElementCount !== all.length) select.replaceChildren(...all.map((name) => new Option(words[name] || name, name)));
    if (document.activeElement !== select || select.value !== now) select.value = now;
    select.disabled = run.running;
  }
}
