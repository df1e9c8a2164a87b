// What can be undone, frame by frame. A step holds the labels before and after within a box, as runs: a few kilobytes.

const STEPS = 60; // of a frame
const NUMBERS = 20e6; // of all frames together

export class History {
  constructor() {
    this.frames = new Map(); // frame -> {done, undone, made}; made: the revision of the mask that they lead to
  }

  of(index) {
    if (index < 0) return { done: [], undone: [], made: null }; // no frame shows yet
    if (!this.frames.has(index)) this.frames.set(index, { done: [], undone: [], made: null });
    return this.frames.get(index);
  }

  push(index, step) {
    const past = this.of(index);
    past.done.push(step);
    past.undone = [];
    past.made = null;
    if (past.done.length > STEPS) past.done.shift();
    this.bound(index);
  }

  // the server has the mask that these steps lead to, as revision `made`
  saved(index, made) {
    if (this.frames.has(index)) this.of(index).made = made;
  }

  // what leads to another mask than the one of revision `made` means nothing any more
  check(index, made) {
    const past = this.frames.get(index);
    if (past && past.made !== null && made > past.made) this.frames.delete(index);
  }

  bound(index) {
    const size = (past) => [...past.done, ...past.undone].reduce((sum, s) => sum + s.before.length + s.after.length, 0);
    let all = [...this.frames.values()].reduce((sum, past) => sum + size(past), 0);
    for (const [other, past] of this.frames) {
      if (all <= NUMBERS) break;
      if (other === index) continue;
      all -= size(past);
      this.frames.delete(other);
    }
  }
}
