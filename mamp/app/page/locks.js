// Frames that keep their masks. The last change of many can be undone.

import { sure } from "./asks.js";
import { frames, page } from "./page.js";
import { attempt, news, say } from "./say.js";
import { post } from "./server.js";

export class Locks {
  // changed() follows a change of `last`
  constructor(changed) {
    this.changed = changed;
    this.last = null; // {list, locked}: what can be undone
  }

  forget() {
    if (this.last) this.last = null, this.changed();
  }

  async set(list, locked, remember = true) {
    let answer = null;
    for (const [from, to] of stretches(list)) if (!(answer = await attempt(() => post("/api/lock", { from, to, locked })))) return;
    if (answer) await news((await answer.json()).version);
    this.last = remember ? { list, locked } : null;
    this.changed();
  }

  undo() {
    const { list, locked } = this.last;
    this.last = null;
    return this.set(list, !locked, false);
  }

  async upTo(at) {
    const list = framesWhere((frame, index) => index <= at && frame.kind && !frame.locked);
    if (!list.length) return say("No frame up to this one has a mask that is not locked.");
    const more = "Locked frames keep their masks, whatever is computed. You can undo this.";
    if (await sure(`Lock ${frames(list.length)}, up to this one?`, more, "Lock")) await this.set(list, true);
  }

  none() {
    return this.set(framesWhere((frame) => frame.locked), false);
  }

  // the line above the page, while there is something to undo
  lines() {
    if (!this.last) return [];
    const { list, locked } = this.last;
    return [{ words: `${locked ? "Locked" : "Unlocked"} ${frames(list.length)}.`, buttons: [["Undo", () => this.undo()], ["Close", () => this.forget()]] }];
  }
}

function stretches(list) {
  const found = [];
  for (const index of list) found.length && found.at(-1)[1] === index - 1 ? (found.at(-1)[1] = index) : found.push([index, index]);
  return found;
}

const framesWhere = (wanted) => page.state.frames.flatMap((frame, index) => (wanted(frame, index) ? [index] : []));
