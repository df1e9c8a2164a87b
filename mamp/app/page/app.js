// The page: keeps what the server says, asks it for pictures and masks, sends what is drawn.

import { sure } from "./asks.js";
import { Banners } from "./banners.js";
import { compare } from "./compare.js";
import { Surface, stepOf, suggested } from "./draw.js";
import { receiveMasks } from "./bring.js";
import { exported } from "./exports.js";
import { Hands } from "./hands.js";
import { listenToKeys } from "./keys.js";
import { listenToLead, showLead } from "./lead.js";
import { Locks } from "./locks.js";
import { Looks } from "./looks.js";
import { MENUS, listenToMenus, menu } from "./menus.js";
import { ObjectList } from "./objects.js";
import { $, frameWords, frames, page } from "./page.js";
import { Pictures } from "./pictures.js";
import { Runs, showRun } from "./runs.js";
import { attempt, say, setLooking } from "./say.js";
import { KEY, TAB, Told, ask, link, picture, post } from "./server.js";
import { shelve, unshelve } from "./shelf.js";
import { Strokes } from "./strokes.js";
import { Suggestions } from "./suggest.js";
import { Timeline } from "./timeline.js";
import { receiveVideos } from "./upload.js";
import { listenToVideos, showSettings, showWelcome } from "./videos.js";
import { beginAnew, play, uncertain } from "./walk.js";

// ---------------------------------------------------------------- the server

link.changed = () => {
  banners();
  if (page.state?.video) render();
  if (link.online) strokes.flush();
};

async function listen() {
  let since = 0;
  for (;;) {
    let told = null;
    try {
      told = await (await ask(`/api/state?since=${since}&wait=15&tab=${TAB}`)).json();
    } catch (error) {
      link.changed();
      if (error instanceof Told && error.status === 403) return;
    }
    if (!told) await new Promise((done) => setTimeout(done, 700));
    if (!told || (since && page.state && told.video !== page.state.video)) since = 0;
    else {
      since = told.version;
      receive(told);
    }
  }
}

function receive(told) {
  const before = page.state, state = (page.state = { ...told, names: told.names || page.state?.names });
  if (state.video) state.frames = state.frames.map(([kind, locked, stale, unsure, made, ids, each]) => ({ kind, locked, stale, unsure, made, ids: ids || [], each }));
  if (state.video && before?.video !== state.video) begin();
  $("welcome").hidden = Boolean(state.video);
  $("work").hidden = $("export").hidden = $("videos").hidden = !state.video;
  if (!state.video) timeline.end(), (page.playing = false), showWelcome();
  if (state.video) {
    const run = state.run;
    if (run.running && !before?.run?.running) beginAnew();
    for (const index of [...surface.history.frames.keys()]) if (!strokes.unsaved.has(index)) surface.history.check(index, state.frames[index].made);
    surface.overlay.colours = new Map(state.objects.map((o) => [o.id, o.colour]));
    settle();
    const mine = page.follow !== null && run.number > page.follow;
    if (mine && run.last !== null && run.last !== page.at) go(run.last, true);
    else if ((pictures.masks.get(page.at)?.made ?? -1) < state.frames[page.at].made) show();
    if (mine && !run.running) page.follow = null;
    runs.ended();
    render();
  }
  banners();
}

function begin() {
  const { state } = page, [height, width] = state.size;
  page.video = { width, height, count: state.names.length, names: state.names };
  $("work").hidden = false;
  surface.setSize(width, height);
  timeline.set(page.video.count, width / height);
  pictures.forget(page.video);
  size(Math.max(12, Math.min(width, height) / 40));
  unshelve(state, strokes.unsaved, width * height, page.video.count);
  if (strokes.unsaved.size) setTimeout(() => strokes.flush());
  page.chosen = 0;
  const drawn = state.frames.findIndex((f) => f.kind);
  surface.view.resize();
  go(Math.min(Math.max(drawn, 0), page.video.count - 1));
  const name = state.video.split(/[\\/]/).pop();
  $("title").textContent = name;
  $("about").textContent = `${frames(page.video.count)}, ${width}×${height} · ${state.method} · ${state.folder}`;
  document.title = `${name} · mamp`;
}

// ---------------------------------------------------------------- frames

const pictures = new Pictures(new Map(), (index) => index === page.at);
const mask = (index) => pictures.mask(index, { made: page.state.frames[index].made, has: Boolean(page.state.frames[index].kind) });

let turn = 0;
async function show() {
  const mine = ++turn, index = page.at;
  try {
    const [bitmap] = await Promise.all([pictures.image(index), mask(index)]);
    if (mine !== turn || index !== page.at) return;
    // what is being drawn is newer than anything the server has
    const newer = surface.index === index && (surface.stroke || strokes.unsaved.has(index));
    surface.show(index, bitmap, newer ? null : pictures.newest(index));
    trouble("");
    document.body.dataset.shown = index;
    render();
  } catch (error) {
    if (error instanceof Told && mine === turn) trouble(error.message);
  }
}

// why the frame does not show; it stays until one does
function trouble(words) {
  $("trouble").textContent = words && `${words[0].toUpperCase()}${words.slice(1)}.`;
}

function go(index, along = false) {
  if (!page.video.count) return;
  index = Math.min(Math.max(index, 0), page.video.count - 1);
  if (!along) page.follow = null;
  if (index !== page.at && surface.index === page.at) surface.finish();
  page.at = index;
  timeline.go(index);
  render();
  const shown = show();
  for (const near of [index + 1, index - 1]) if (near >= 0 && near < page.video.count) pictures.image(near).catch(() => {});
  return shown;
}

const seek = (index) => ((page.playing = false), go(index));

// ---------------------------------------------------------------- drawing

const surface = new Surface($("canvas"), $("picture"), {
  change(index) {
    locks.forget();
    strokes.put(index, surface.labels.slice());
    render();
  },
  suggest: (item) => suggestions.add(item),
  takeBack() {
    const item = suggestions.takeBack(surface.index);
    if (item && surface.wish?.id === item.wish.id) surface.wish = item.from;
    surface.redraw();
    return item !== null;
  },
  look: () => ($("zoom").textContent = `${surface.view.percent}%`),
});

const hands = new Hands(surface, () => {
  if (!page.state?.yours) return say("Another tab draws; take over first."), false;
  if (page.state.frames[page.at].locked) return say("This frame is locked; press L to unlock it."), false;
  if (surface.index !== page.at) return false;
  page.playing = false;
  page.follow = null;
  if (!page.chosen && !page.adding) addObject();
  return page.adding ? "wait" : true;
});

const suggestions = new Suggestions({
  async ask(item) {
    const { index, from, wish } = item;
    if (!from) await strokes.flush(); // the object's mask as it is now is what the clicks correct
    item.asked = index === surface.index ? surface.kept.slice() : await mask(index);
    return attempt(async () => new Uint8Array(await (await post(`/api/propose/${index}`, { ...wish, series: wish.id })).arrayBuffer()));
  },
  async answer(item, found) {
    await surface.idle();
    if (!page.state.objects.some((o) => o.id === item.wish.object)) return;
    if (item.index === surface.index) surface.suggestion(item, found);
    else await elsewhere(item, found);
    if (!found.some((v) => v)) say("Nothing was found there. Click elsewhere, or draw it.");
    else if (item.index === page.at) say("Click on a part to add it, Shift-click on one to take it away. Brush the rest.");
  },
  changed: () => setLooking(suggestions.size > 0),
});

// the answer to a click on a frame that is no longer shown
async function elsewhere({ index, from, wish, asked }, found) {
  const before = await mask(index), past = surface.history.of(index), { width, height } = page.video;
  const after = suggested(before, past, width, { wish, mask: found, asked, protects: surface.protects });
  surface.history.push(index, stepOf(before, after, width, [0, 0, width, height], { id: wish.id, was: from, is: wish }));
  strokes.put(index, after);
}

const strokes = new Strokes({
  open: () => page.state?.yours && !link.ended,
  send: async (index, labels) => (await (await ask(`/api/masks/${index}`, { method: "PUT", body: labels })).json()).made,
  sent(index, labels, made) {
    pictures.put(index, made, labels);
    surface.history.saved(index, made);
  },
  refused(index, error) {
    if (!(error instanceof Told)) return true; // sent again once the connection is back
    if (error.status === 423 || error.status === 403) return true;
    say(error.message);
    pictures.masks.delete(index);
    setTimeout(show);
    return false;
  },
  changed() {
    if (page.state?.video) shelve(page.state, strokes.sending ? new Map() : strokes.unsaved), render();
  },
});
pictures.unsaved = strokes.unsaved;

// a change of the whole label map of this frame: change(label, index) is the new label. Locked and hidden objects stay
async function edit(change) {
  if (!(await drawn()) || (await hands.ready()) !== true) return;
  surface.replace(surface.labels.map((label, i) => (surface.protects.has(label) ? label : change(label, i))));
}

// the chosen object's mask of a neighbour, over what is here
async function copyFrom(index) {
  if (index < 0 || index >= page.video.count) return say("There is no such frame.");
  const other = await mask(index), id = page.chosen;
  if (!other.includes(id)) return say(`Frame ${index + 1} has no mask of this object.`);
  return edit((label, i) => (other[i] === id ? id : label === id ? 0 : label));
}

// until the server's list has the new object a stroke waits: it would become another's
function addObject() {
  page.adding ||= attempt(async () => (await post("/api/objects", { name: "" })).json()).then(async (made) => {
    while (made && !page.state.objects.some((o) => o.id === made.id) && !link.ended) await new Promise((done) => setTimeout(done, 20));
    page.adding = null;
    if (made) choose(made.id);
    hands.release(Boolean(made));
  });
  return page.adding;
}

// what is chosen is on the list
function settle() {
  if (!page.adding && !page.state.objects.some((o) => o.id === page.chosen)) choose(page.state.objects[0]?.id || 0);
}

function choose(id) {
  if (id === page.chosen && surface.object === id) return;
  page.chosen = surface.object = id;
  surface.wish = null;
  surface.redraw();
  render();
}

function tool(name) {
  say("");
  surface.finish();
  if (name === "suggest") surface.erasing = false;
  surface.tool = name;
  render();
}

function erase(on) {
  if (on && surface.tool === "suggest") tool("brush");
  surface.erasing = on;
  render();
}

// a brush of `diameter` pixels; the slider's steps grow with it, so that 4K has large ones
const largest = () => Math.max(150, Math.min(page.video.width, page.video.height) / 3);
function size(radius) {
  surface.radius = Math.min(Math.max(radius, 0.5), largest() / 2);
  const diameter = Math.round(2 * surface.radius);
  $("size").value = (100 * Math.log(2 * surface.radius)) / Math.log(largest());
  $("size").setAttribute("aria-valuetext", `${diameter} pixels`);
  $("sizeword").textContent = diameter;
  surface.redraw();
}

// ---------------------------------------------------------------- runs, locks, exports

// all that was drawn and clicked is at the server; false where it cannot be
async function drawn() {
  surface.finish();
  await page.adding;
  await suggestions.settled();
  await strokes.flush();
  if (strokes.unsaved.size) say("The last strokes are not saved yet; try again once they are.");
  return !strokes.unsaved.size;
}

const runs = new Runs(drawn, () => render());

async function removeObject(object) {
  const more = "Its mask goes from every frame, locked ones too. This cannot be undone.";
  if (await sure(`Remove ${object.name} from all frames?`, more, "Remove")) await attempt(() => ask(`/api/objects/${object.id}`, { method: "DELETE" }));
}

async function exportAs(kind) {
  menu(null);
  if (await drawn()) await attempt(() => post("/api/export", { kind }));
}

// ---------------------------------------------------------------- what is shown

const locks = new Locks(() => (banners(), render()));
const banner = new Banners($("banners"));
function banners() {
  const { state } = page, lines = [], lost = strokes.unsaved.size;
  const kept = lost ? " The last strokes are kept in this browser; they are saved once the video is open again." : " All is saved.";
  if (link.ended) lines.push({ words: `${link.ended[0].toUpperCase()}${link.ended.slice(1)}.${kept}` });
  else if (!link.online) lines.push({ words: "The connection to mamp is lost. What you draw is kept here and saved when it is back; trying again…" });
  else if (state && !state.yours) lines.push({ words: "This video is open in another tab, which draws. You can look here.", buttons: [["Draw here instead", take]] });
  if (state?.missing && link.online) lines.push({ words: `${state.video} is not there any more. Put it back to see and segment its frames; the masks are safe in ${state.folder}.` });
  lines.push(...locks.lines());
  if (state?.export?.kind && link.online && !link.ended) lines.push(...exported(state.export, banners));
  banner.show(lines);
}

const take = () => attempt(() => post("/api/take")).then(() => strokes.flush());

function render() {
  const { state, at, video } = page;
  if (!state?.video || !state.frames[at]) return;
  const frame = state.frames[at], past = surface.past;
  surface.locked = Boolean(frame.locked);
  timeline.tell(state.frames, page.chosen, surface.overlay.css(page.chosen));
  $("position").textContent = `${at + 1} / ${video.count}${Number(video.names[at]) === at ? "" : ` · ${video.names[at]}`}`;
  const words = frameWords(strokes.unsaved.has(at) ? { ...frame, kind: "d" } : frame, page.chosen);
  $("about-frame").textContent = words;
  $("timeline").setAttribute("aria-valuetext", `frame ${at + 1} of ${video.count}, ${words}`);
  $("lock").textContent = frame.locked ? "Unlock" : "Lock";
  $("lock").disabled = !frame.kind;
  $("unlockall").hidden = !state.frames.some((f) => f.locked);
  $("forget").hidden = frame.kind !== "d";
  $("undo").disabled = !past.done.length && !surface.polygon.length && !suggestions.size && !locks.last;
  $("redo").disabled = !past.undone.length;
  $("erase").setAttribute("aria-pressed", surface.erasing);
  $("beside").setAttribute("aria-pressed", surface.beside);
  $("beside").hidden = surface.tool !== "suggest";
  $("erase").hidden = surface.tool === "suggest";
  $("size").parentElement.hidden = surface.tool !== "brush";
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === surface.tool);
  $("play").firstElementChild.innerHTML = page.playing ? '<path d="M8 5v14M16 5v14"/>' : '<path d="M8 5v14l11-7z" class="solid"/>';
  $("play").setAttribute("aria-label", page.playing ? "Pause" : "Play");
  $("saved").textContent = link.ended || !link.online ? (strokes.unsaved.size ? "not saved" : "") : strokes.busy ? "saving…" : "saved";
  showSettings();
  showLead();
  list.show(state.objects, page.chosen, (id) => ({ colour: surface.overlay.css(id), ...looks.of(id) }));
  showRun();
  surface.redraw();
}

const looks = new Looks(surface, () => render());
const list = new ObjectList($("objects"), {
  choose,
  rename: (id, name) => attempt(() => post(`/api/objects/${id}`, { name }, "PATCH")),
  remove: removeObject,
  hide: (id, only) => (only ? looks.only(id) : looks.hide(id)),
  lock: (id) => looks.lock(id),
});

const timeline = new Timeline($("timeline"), { seek, look: (zoom) => ($("timeout").disabled = zoom <= 1) }, (index) => picture("thumbs", index));

// ---------------------------------------------------------------- controls

const byPlace = (place) => {
  const object = page.state.objects[place - 1];
  if (object) choose(object.id);
  return Boolean(object);
};
const neighbour = (by) => {
  const { objects } = page.state, here = objects.findIndex((o) => o.id === page.chosen);
  if (objects.length) choose(objects[(here + by + objects.length) % objects.length].id);
};

const clicks = {
  add: addObject,
  forward: () => runs.start("forward"),
  backward: () => runs.start("backward"),
  both: () => runs.start("both"),
  tohere: () => runs.toHere(),
  stop: () => runs.stop(),
  lock: async () => (await drawn()) && locks.set([page.at], !page.state.frames[page.at].locked, false),
  lockall: async () => (await drawn()) && locks.upTo(page.at),
  unlockall: () => locks.none(),
  forget: async () => (await drawn()) && attempt(() => ask(`/api/drawn/${page.at}`, { method: "DELETE" })),
  undo: () => (locks.last ? locks.undo() : surface.undo(), render()),
  redo: () => (surface.redo(), render()),
  erase: () => erase(!surface.erasing),
  beside: () => ((surface.beside = !surface.beside), render()),
  timein: () => timeline.zoom(1.6),
  timeout: () => timeline.zoom(1 / 1.6),
  previous: () => seek(page.at - 1),
  next: () => seek(page.at + 1),
  play: () => play(go, render),
  uncertain: () => uncertain((place) => (choose(place.object), seek(place.frame))),
  clearframe: () => edit(() => 0),
  clearobject: () => edit((label) => (label === page.chosen ? 0 : label)),
  copyprevious: () => copyFrom(page.at - 1),
  copynext: () => copyFrom(page.at + 1),
  fit: () => surface.view.fit(),
  zoomin: () => surface.view.zoom(1.3),
  zoomout: () => surface.view.zoom(1 / 1.3),
  help: () => $("keys").showModal(),
  compare: () => compare(surface, !surface.earlier),
};
for (const [id, act] of Object.entries(clicks)) $(id).onclick = act;
listenToMenus();
for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => tool(button.dataset.tool);
for (const button of document.querySelectorAll("[data-export]")) button.onclick = () => exportAs(button.dataset.export);
$("size").oninput = () => size(largest() ** ($("size").value / 100) / 2);

listenToKeys({
  keys: {
    s: () => tool("suggest"), b: () => tool("brush"), p: () => tool("polygon"), e: clicks.erase, x: clicks.beside,
    "[": () => size(surface.radius / 1.2 - 0.2), "]": () => size(surface.radius * 1.2 + 0.2),
    n: addObject, ",": () => neighbour(-1), ".": () => neighbour(1),
    u: clicks.uncertain, f: clicks.forward, F: clicks.backward, g: clicks.both, t: clicks.tohere, l: clicks.lock, "?": clicks.help, " ": clicks.play,
    v: () => looks.hide(page.chosen), V: () => looks.only(page.chosen),
    0: clicks.fit, "+": clicks.zoomin, "=": clicks.zoomin, "-": clicks.zoomout,
    ArrowLeft: (e) => seek(page.at - (e.shiftKey ? 10 : 1)),
    ArrowRight: (e) => seek(page.at + (e.shiftKey ? 10 : 1)),
    Home: () => seek(0), End: () => seek(page.video.count - 1),
    Enter: () => surface.closePolygon(),
    Escape: escape,
  },
  undo: clicks.undo,
  redo: clicks.redo,
  digits: byPlace,
  cross: (event) => hands.key(event),
  hide: (on) => ((surface.hidden = on), surface.refresh()),
  compare: (on) => compare(surface, on),
});

function escape() {
  const opened = Object.keys(MENUS).find((id) => !$(MENUS[id]).hidden);
  if (opened) return menu(null), $(opened).focus();
  if (surface.drop()) return render();
  runs.stop();
}

window.addEventListener("pageshow", (event) => event.persisted && location.reload());
window.addEventListener("pagehide", () => fetch("/api/leave", { method: "POST", keepalive: true, headers: { "x-mamp-key": KEY, "x-mamp-tab": TAB } }).catch(() => {}));
window.addEventListener("beforeunload", (event) => strokes.unsaved.size && event.preventDefault());

listenToVideos(drawn);
listenToLead();
const bring = receiveMasks(drawn);
receiveVideos((file) => (file?.type.startsWith("video/") ? say("A video is open already; choose Other video first.") : bring(file)));
listen();
