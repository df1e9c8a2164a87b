// Runs: begun from the frame that shows, stopped, and how far they are in words.

import { $, announce, frames, page } from "./page.js";
import { attempt, news, say } from "./say.js";
import { link, post } from "./server.js";

export class Runs {
  // drawn(): a promise, true once all that was drawn is at the server. changed() follows what the page does itself
  constructor(drawn, changed) {
    this.drawn = drawn;
    this.changed = changed;
    this.starting = null; // a run that waits for what it depends on
    this.halt = null; // promise of the server's word on a stop
    this.next = null; // {after, frame}: the backward half of a run both ways, after the run of that number
  }

  // direction: forward, backward or both; as many frames as are chosen
  start(direction) {
    const far = Number($("far").value) || page.video.count, frame = page.at;
    const to = { forward: Math.min(frame + far, page.video.count - 1), backward: Math.max(frame - far, 0) };
    return this.begin(direction === "both" ? "forward" : direction, { frame, to, both: direction === "both" });
  }

  // from the last drawn frame before this one, or the next after it, up to this one
  toHere() {
    const drawn = page.state.frames.flatMap((f, i) => (f.kind === "d" ? [i] : [])), { at } = page;
    const before = drawn.findLast((i) => i < at), after = drawn.find((i) => i > at);
    if (before !== undefined) return this.begin("forward", { frame: before, to: { forward: at } });
    if (after !== undefined) return this.begin("backward", { frame: after, to: { backward: at } });
    return say("No other frame is drawn; draw one first.");
  }

  async begin(direction, { frame, to, both = false }) {
    if (this.starting) return;
    const mine = (this.starting = { stopped: false });
    const ready = await this.drawn();
    await this.halt;
    while (page.state.run.stopping && !link.ended) await new Promise((done) => setTimeout(done, 40));
    if (ready && !mine.stopped) {
      page.follow = page.state.run.number;
      this.next = both ? { after: page.follow, frame, to } : null;
      if (!(await attempt(() => post("/api/run", { frame, direction, until: to[direction] })))) page.follow = this.next = null;
    }
    this.starting = null;
    if (mine.stopped && page.follow !== null) await this.stop();
  }

  stop() {
    const { run } = page.state;
    this.next = null;
    if (this.starting) this.starting.stopped = true;
    if (!run.running && page.follow === null && !this.starting) return null;
    run.stopping = run.running;
    this.changed();
    this.halt = attempt(() => post("/api/stop")).then(async (answer) => answer && news((await answer.json()).version));
    return this.halt;
  }

  // the server's news may be of the end of a run's first half
  ended() {
    const { run } = page.state, { next } = this;
    if (!next || run.number <= next.after || run.running) return;
    this.next = null;
    if (!run.error && run.changed === null && run.done === run.total) this.begin("backward", { frame: next.frame, to: next.to });
  }
}

let spoken = "";

export function showRun() {
  const run = page.state.run, here = link.online && !link.ended, on = run.running && here;
  for (const id of ["forward", "backward", "both", "tohere"]) {
    $(id).hidden = on;
    $(id).disabled = !here;
  }
  $("stop").hidden = $("progress").hidden = !on;
  $("stop").disabled = run.stopping;
  $("run").classList.toggle("bad", Boolean(run.error) && here);
  $("run").textContent = here ? words(run) : run.running ? "Not known: no connection to mamp." : "";
  const steps = run.done + run.replayed, all = Math.max(run.total + run.passing, 1);
  $("progress").firstElementChild.style.width = `${(100 * steps) / all}%`;
  $("progress").setAttribute("aria-valuenow", Math.round((100 * steps) / all));
  const now = on ? (run.stopping ? "Stopping" : "Segmenting") : $("run").textContent;
  if (now !== spoken) announce((spoken = now));
}

function words(run) {
  if (run.error) return `${run.error[0].toUpperCase()}${run.error.slice(1)}.`;
  if (run.running && run.stopping) return `Stopping after frame ${run.at + 1}…`;
  if (run.running && run.replayed < run.passing)
    return `On the way to frame ${run.start + 1}: ${run.replayed} of ${frames(run.passing)}${left(run)}`;
  if (run.running) return `${run.done} of ${frames(run.total)}${left(run)}`;
  const time = `${run.seconds.toFixed(1)} s`;
  if (run.changed !== null) return `Ended after ${frames(run.done)}, because frame ${run.changed + 1} was changed. Press F there to go on.`;
  if (run.done + run.replayed < run.total + run.passing) return run.done + run.replayed ? `Stopped after frame ${run.last + 1}: ${frames(run.done)} in ${time}` : "";
  return run.done ? `${frames(run.done)} in ${time}` : "";
}

function left(run) {
  const steps = run.done + run.replayed;
  if (steps < 2) return "";
  const rate = steps / Math.max(run.seconds, 1e-3);
  const seconds = Math.round((run.total + run.passing - steps) / rate);
  const time = seconds > 90 ? `${Math.round(seconds / 60)} min` : `${seconds} s`;
  return `, ${rate < 10 ? rate.toFixed(1) : Math.round(rate)} frames/s, ${time} left`;
}
