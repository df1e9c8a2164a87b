// Clicks on their way to the server, one after another, each with an answer of its own. Knows nothing of how they show.

export class Suggestions {
  // on.ask(item) is the promise of a mask, or of null; on.answer(item, mask), a promise too; on.changed() where `size` changed
  constructor(on) {
    this.on = on;
    this.queue = [];
    this.working = null;
  }

  get size() {
    return this.queue.length;
  }

  add(item) {
    this.queue.push(item);
    this.on.changed();
    this.working ||= this.work();
  }

  // give up the last click of a frame that has no answer yet; null where there is none
  takeBack(index) {
    const last = this.queue.findLastIndex((item) => item.index === index);
    if (last < 0) return null;
    const [item] = this.queue.splice(last, 1);
    this.on.changed();
    return item;
  }

  // until each click has its answer
  async settled() {
    while (this.working) await this.working;
  }

  async work() {
    while (this.queue.length) {
      const item = this.queue[0];
      const mask = await this.on.ask(item);
      if (mask && this.queue[0] === item) await this.on.answer(item, mask);
      if (this.queue[0] === item) this.queue.shift();
      this.on.changed();
    }
    this.working = null;
  }
}
