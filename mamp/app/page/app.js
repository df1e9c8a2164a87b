// The page: keeps what the server tells, asks it for pictures and masks, sends what is drawn.

import { Banners } from "./banners.js";
import { Surface } from "./draw.js";
import { ObjectList } from "./objects.js";
import { KEY, TAB, Told, ask, link, picture, post } from "./server.js";
import { shelve, unshelve } from "./shelf.js";
import { Timeline } from "./timeline.js";
import { receiveVideos } from "./upload.js";

const $ = (id) => document.getElementById(id);
const PIXELS = 120e6; // of decoded frames that are kept

let state = null; // what the server told last
let at = 0; // the frame that is shown
let video = { width: 0, height: 0, count: 0, names: [] };
let chosen = 0; // id of the object that is drawn
let playing = false;
let follow = false; // go along with a run
const images = new Map(); // frame -> promise of a picture
const masks = new Map(); // frame -> {made, labels}
const unsaved = new Map(); // frame -> labels that the server has not got yet
let sending = false, adding = null; // adding: "asked", then the number of the new object
const visited = new Set(); // frames that "next uncertain" showed since the last run

// ---------------------------------------------------------------- the server

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Told) say(error.message);
    return null;
  }
}

link.changed = () => {
  banners();
  if (link.online) save();
};

async function listen() {
  let since = 0;
  for (;;) {
    try {
      const told = await (await ask(`/api/state?since=${since}&wait=15&tab=${TAB}`)).json();
      if (since && state && told.video !== state.video) since = 0;
      else {
        since = told.version;
        receive(told);
      }
    } catch (error) {
      banners();
      if (error instanceof Told && error.status === 403) return;
      since = 0;
      await new Promise((done) => setTimeout(done, 700));
    }
  }
}

function receive(told) {
  const before = state;
  state = { ...told, names: told.names || state?.names };
  if (state.video) state.frames = state.frames.map(([kind, locked, stale, unsure, made]) => ({ kind, locked, stale, unsure, made }));
  if (state.video && before?.video !== state.video) begin();
  $("welcome").hidden = Boolean(state.video);
  $("work").hidden = !state.video;
  if (state.video) {
    const run = state.run;
    if (run.running && !before?.run?.running) visited.clear();
    for (const [i, kept] of masks) if (state.frames[i].made !== kept.made && !unsaved.has(i)) masks.delete(i), surface.outdate(i);
    surface.colours = new Map(state.objects.map((o) => [o.id, o.colour]));
    settle();
    if (follow && run.last !== null && run.last !== at) go(run.last, true);
    else if (!masks.has(at)) show();
    if (!run.running) follow = false;
    render();
  }
  banners();
}

function begin() {
  const [height, width] = state.size;
  video = { width, height, count: state.names.length, names: state.names };
  $("work").hidden = false;
  surface.setSize(width, height);
  timeline.set(video.count, width / height);
  images.clear();
  masks.clear();
  unshelve(state, unsaved, width * height, video.count);
  if (unsaved.size) setTimeout(save);
  const drawn = state.frames.findIndex((f) => f.kind);
  go(Math.min(Math.max(drawn, 0), video.count - 1));
  const name = state.video.split(/[\\/]/).pop();
  $("title").textContent = name;
  $("about").textContent = `${video.count} frames, ${width}×${height} · ${state.method} · ${state.folder}`;
  document.title = `${name} · mamp`;
  surface.resize();
}

// ---------------------------------------------------------------- frames

function image(index) {
  if (!images.has(index)) {
    const made = fetch(picture("frames", index)).then(async (answer) => {
      if (!answer.ok) throw new Told((await answer.json()).error);
      return createImageBitmap(await answer.blob());
    });
    made.catch(() => images.delete(index));
    images.set(index, made);
    const most = Math.max(6, PIXELS / Math.min(video.width * video.height, 1920 * 1080));
    for (const old of images.keys()) {
      if (images.size <= most) break;
      if (old !== index && old !== at) images.delete(old);
    }
  }
  return images.get(index);
}

async function mask(index) {
  if (unsaved.has(index)) return unsaved.get(index);
  if (masks.has(index)) return masks.get(index).labels;
  const { made, kind } = state.frames[index];
  const labels = kind
    ? new Uint8Array(await (await ask(`/api/masks/${index}`)).arrayBuffer())
    : new Uint8Array(video.width * video.height);
  masks.set(index, { made, labels });
  for (const old of masks.keys()) {
    if (masks.size * video.width * video.height <= PIXELS) break;
    if (old !== index && old !== at) masks.delete(old);
  }
  return labels;
}

let turn = 0;
async function show() {
  const mine = ++turn, index = at;
  try {
    const [bitmap, labels] = await Promise.all([image(index), mask(index)]);
    if (mine !== turn || index !== at) return;
    // what is being drawn is newer than anything the server has
    surface.show(index, bitmap, surface.index === index && (surface.stroke || unsaved.has(index)) ? null : labels);
    document.body.dataset.shown = index;
  } catch (error) {
    if (error instanceof Told) say(error.message);
  }
}

function go(index, along = false) {
  if (!video.count) return;
  index = Math.min(Math.max(index, 0), video.count - 1);
  if (!along) follow = false;
  at = index;
  if (surface.index !== index) surface.drop();
  timeline.go(index);
  render();
  const shown = show();
  for (const near of [index + 1, index - 1]) if (near >= 0 && near < video.count) image(near).catch(() => {});
  return shown;
}

async function play() {
  playing = !playing;
  render();
  const gap = 1000 / (state.fps || 24);
  while (playing) {
    const began = performance.now();
    await go(at + 1 < video.count ? at + 1 : 0);
    await new Promise((done) => setTimeout(done, Math.max(4, gap - (performance.now() - began))));
  }
}

function uncertain() {
  const near = Math.max(2, Math.round(video.count / 40));
  const open = state.frames
    .map((frame, index) => ({ ...frame, index }))
    .filter((f) => f.kind && f.kind !== "d" && !f.locked && f.unsure !== null);
  let rest = open.filter((f) => ![...visited].some((v) => Math.abs(v - f.index) <= near));
  if (!rest.length) visited.clear(), (rest = open);
  if (!rest.length) return say("No computed frame is left to look at: segment first.");
  const worst = rest.reduce((a, b) => (b.unsure > a.unsure ? b : a));
  visited.add(worst.index);
  go(worst.index);
}

// ---------------------------------------------------------------- drawing

const surface = new Surface($("canvas"), {
  change(index) {
    unsaved.set(index, surface.labels.slice());
    render();
    save();
  },
  ready() {
    if (!state?.yours) return say("Another tab draws; take over first."), false;
    if (state.frames[at].locked) return say("This frame is locked; press L to unlock it."), false;
    if (surface.index !== at) return false;
    playing = false;
    follow = false;
    if (!chosen && !adding) addObject();
    return adding ? (say("The new object is on its way; draw again."), false) : true;
  },
  async suggest(wish) {
    say("Looking…");
    const index = surface.index;
    const answer = await attempt(() => post(`/api/propose/${index}`, { inside: wish.inside, outside: wish.outside, box: wish.box }));
    if (!answer) return;
    const found = new Uint8Array(await answer.arrayBuffer());
    if (index !== at) return;
    surface.suggest(wish, found);
    say(found.some((v) => v) ? "Click on it to add, Shift-click beside it to take away; brush the rest." : "Nothing was found there; click elsewhere, or draw it.");
  },
});

async function save() {
  if (sending) return;
  sending = true;
  render();
  while (unsaved.size && state?.yours && !link.ended) {
    const [index, labels] = unsaved.entries().next().value;
    try {
      const answer = await (await ask(`/api/masks/${index}`, { method: "PUT", body: labels })).json();
      if (unsaved.get(index) === labels) unsaved.delete(index);
      masks.set(index, { made: answer.made, labels });
    } catch (error) {
      if (!(error instanceof Told)) break; // sent again once the connection is back
      if (error.status === 423 || error.status === 403) break;
      say(error.message);
      unsaved.delete(index);
      masks.delete(index);
      show();
    }
  }
  sending = false;
  if (state?.video) shelve(state, unsaved);
  render();
}

// until the server's list has the new object nothing is drawn: a stroke would become another's
async function addObject() {
  if (adding === "asked") return;
  adding = "asked";
  const made = await attempt(async () => (await post("/api/objects", { name: "" })).json());
  if (adding === "asked") adding = made && made.id, settle();
}

// what is chosen is on the list
function settle() {
  const has = (id) => state.objects.some((o) => o.id === id);
  if (has(adding)) choose(adding);
  else if (!adding && !has(chosen)) choose(state.objects[0]?.id || 0);
}

function choose(id) {
  chosen = surface.object = id;
  adding = null;
  surface.wish = null;
  render();
}

function tool(name) {
  say("");
  surface.drop();
  surface.tool = name;
  render();
}

function erase(on) {
  surface.erasing = on;
  if (on && surface.tool === "suggest") surface.tool = "brush";
  render();
}

function size(radius) {
  surface.radius = Math.min(Math.max(radius, 0.5), 75);
  $("size").value = $("sizeword").textContent = Math.round(2 * surface.radius);
  surface.redraw();
}

// ---------------------------------------------------------------- runs

async function segment(direction) {
  surface.drop();
  await save();
  const answer = await attempt(() => post("/api/run", { frame: at, direction }));
  follow = Boolean(answer);
}

const stop = () => attempt(() => post("/api/stop"));
const lock = (from, to, locked) => attempt(() => post("/api/lock", { from, to, locked }));

async function exportAs(kind) {
  menu(false);
  await save();
  await attempt(() => post("/api/export", { kind }));
}

// ---------------------------------------------------------------- what is shown

let hint = 0;
function say(words) {
  $("hint").textContent = words;
  clearTimeout(hint);
  if (words) hint = setTimeout(() => ($("hint").textContent = ""), 7000);
}

const banner = new Banners($("banners"));
let dismissed = "";
function banners() {
  const lines = [];
  if (link.ended) lines.push([`${link.ended[0].toUpperCase()}${link.ended.slice(1)}.${unsaved.size ? " The last strokes are not saved." : " All is saved."}`]);
  else if (!link.online) lines.push(["The connection to mamp is lost. What you draw is kept here and saved when it is back; trying again…"]);
  else if (state && !state.yours) lines.push(["This video is open in another tab, which draws. You can look here.", ["Draw here instead", take]]);
  const out = state?.export;
  if (out && !out.running && (out.path || out.error) && dismissed !== JSON.stringify(out)) {
    const close = ["Close", () => ((dismissed = JSON.stringify(out)), banners())];
    if (out.error) lines.push([`The export failed: ${out.error}`, close]);
    else if (out.kind === "davis") lines.push([`Exported to ${out.path}`, close]);
    else lines.push([`Exported to ${out.path}`, ["Download", () => (location.href = picture("export", out.kind))], close]);
  } else if (out?.running) lines.push([`Exporting: ${out.done} of ${out.total} frames…`]);
  banner.show(lines);
}

const take = () => attempt(() => post("/api/take")).then(save);

const KINDS = { d: "drawn", f: "computed forward", b: "computed backward", "": "no mask yet" };

function render() {
  if (!state?.video) return;
  const frame = state.frames[at], run = state.run, past = surface.past();
  surface.locked = Boolean(frame.locked);
  timeline.tell(state.frames);
  $("position").textContent = `${at + 1} / ${video.count}${Number(video.names[at]) === at ? "" : ` · ${video.names[at]}`}`;
  const kind = unsaved.has(at) ? "drawn" : KINDS[frame.kind];
  const words = [kind, frame.stale ? "before a change" : "", frame.locked ? "locked" : "",
    frame.unsure !== null && frame.kind !== "d" ? `unsure ${Math.round(100 * frame.unsure)}%` : ""];
  $("about-frame").textContent = words.filter(Boolean).join(" · ");
  $("lock").textContent = frame.locked ? "Unlock" : "Lock";
  $("lock").disabled = !frame.kind;
  $("forget").hidden = frame.kind !== "d";
  $("undo").disabled = !past.done.length && !surface.polygon.length;
  $("redo").disabled = !past.undone.length;
  $("erase").setAttribute("aria-pressed", surface.erasing);
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === surface.tool);
  $("play").firstElementChild.innerHTML = playing ? '<path d="M8 5v14M16 5v14"/>' : '<path d="M8 5v14l11-7z" class="solid"/>';
  $("saved").textContent = link.ended || !link.online ? (unsaved.size ? "not saved" : "") : unsaved.size || sending ? "saving…" : "saved";
  list.show(state.objects, chosen, (id) => surface.css(id));
  progress(run);
  surface.redraw();
}

function progress(run) {
  for (const id of ["forward", "backward"]) $(id).hidden = run.running;
  $("stop").hidden = $("progress").hidden = !run.running;
  $("run").classList.toggle("bad", Boolean(run.error));
  if (run.error) $("run").textContent = run.error[0].toUpperCase() + run.error.slice(1) + ".";
  else if (run.running && !run.done && run.replayed) $("run").textContent = `catching up to this frame: ${run.replayed}`;
  else if (run.running) $("run").textContent = `${run.done} of ${run.total} frames${left(run)}`;
  else $("run").textContent = run.done ? `${run.done} frames in ${run.seconds.toFixed(1)} s` : "";
  $("progress").firstElementChild.style.width = `${(100 * run.done) / Math.max(run.total, 1)}%`;
}

function left(run) {
  const steps = run.done + run.replayed;
  if (steps < 3) return "";
  const seconds = Math.round((run.seconds / steps) * (run.total - run.done));
  return seconds > 90 ? `, ${Math.round(seconds / 60)} min left` : `, ${seconds} s left`;
}

const list = new ObjectList($("objects"), {
  choose,
  rename: (id, name) => attempt(() => post(`/api/objects/${id}`, { name }, "PATCH")),
  remove: (object) => attempt(() => ask(`/api/objects/${object.id}`, { method: "DELETE" })),
  left: render,
});

const timeline = new Timeline($("timeline"), { seek: (index) => ((playing = false), go(index)) }, (index) => picture("thumbs", index));

// ---------------------------------------------------------------- hands

function menu(open) {
  $("exports").hidden = !open;
  $("export").setAttribute("aria-expanded", open);
}

const clicks = {
  add: addObject,
  forward: () => segment("forward"),
  backward: () => segment("backward"),
  stop,
  lock: () => lock(at, at, !state.frames[at].locked),
  lockall: () => lock(0, at, true),
  forget: () => attempt(() => ask(`/api/drawn/${at}`, { method: "DELETE" })),
  undo: () => (surface.undo(), render()),
  redo: () => (surface.redo(), render()),
  erase: () => erase(!surface.erasing),
  previous: () => ((playing = false), go(at - 1)),
  next: () => ((playing = false), go(at + 1)),
  play,
  uncertain,
  help: () => $("keys").showModal(),
  export: () => menu($("exports").hidden),
};
for (const [id, act] of Object.entries(clicks)) $(id).onclick = act;
for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => (surface.erasing && button.dataset.tool === "suggest" && erase(false), tool(button.dataset.tool));
for (const button of document.querySelectorAll("[data-export]")) button.onclick = () => exportAs(button.dataset.export);
$("size").oninput = () => size($("size").value / 2);
document.addEventListener("click", (e) => !e.target.closest(".menu") && menu(false));

const keys = {
  s: () => clicks_tool("suggest"), b: () => clicks_tool("brush"), p: () => clicks_tool("polygon"), e: clicks.erase,
  "[": () => size(surface.radius / 1.2 - 0.2), "]": () => size(surface.radius * 1.2 + 0.2),
  n: addObject, u: uncertain, f: clicks.forward, F: clicks.backward, l: clicks.lock, "?": clicks.help, " ": play,
  0: () => ((surface.view = null), surface.redraw()),
  ArrowLeft: (e) => ((playing = false), go(at - (e.shiftKey ? 10 : 1))),
  ArrowRight: (e) => ((playing = false), go(at + (e.shiftKey ? 10 : 1))),
  Home: () => go(0), End: () => go(video.count - 1),
  Enter: () => surface.closePolygon(),
  Escape: () => (surface.drop() ? render() : state.run.running && stop()),
};
function clicks_tool(name) {
  document.querySelector(`[data-tool="${name}"]`).click();
}

document.addEventListener("keydown", (event) => {
  if (!state?.video || $("keys").open || event.target.matches("input:not([type=range])")) return;
  if (event.ctrlKey || event.metaKey) {
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    return key === "y" || event.shiftKey ? clicks.redo() : clicks.undo();
  }
  if (event.altKey) return;
  if (event.key === "h") return (surface.hidden = true), surface.redraw();
  if (/^[1-9]$/.test(event.key)) return state.objects[event.key - 1] && choose(state.objects[event.key - 1].id);
  const act = keys[event.key] || keys[event.key.toLowerCase()];
  if (!act || (event.target.matches("button") && (event.key === "Enter" || event.key === " "))) return;
  event.preventDefault();
  act(event);
});
document.addEventListener("keyup", (event) => {
  if (event.key === "h") (surface.hidden = false), surface.redraw();
});
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
window.addEventListener("pagehide", () => fetch("/api/leave", { method: "POST", keepalive: true, headers: { "x-mamp-key": KEY, "x-mamp-tab": TAB } }).catch(() => {}));
window.addEventListener("beforeunload", (event) => unsaved.size && event.preventDefault());

receiveVideos(() => say("A video is open already; start mamp app again for another one."));
size(12);
listen();
