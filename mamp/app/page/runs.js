// How far a run is, in words.

import { $, announce, frames, page } from "./page.js";
import { link } from "./server.js";

let spoken = "";

export function showRun() {
  const run = page.state.run, here = link.online && !link.ended, on = run.running && here;
  for (const id of ["forward", "backward"]) {
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
