// Label maps that the server has not got yet: sent one after another, the newest of each frame.

export class Strokes {
  // on.open(): whether anything may be sent. on.send(index, labels) is the promise of the mask's revision.
  // on.sent(index, labels, made); on.refused(index, error), true where it may be sent again later; on.changed().
  constructor(on) {
    this.on = on;
    this.unsaved = new Map(); // frame -> labels
    this.sending = null;
  }

  get busy() {
    return this.unsaved.size > 0 || this.sending !== null;
  }

  put(index, labels) {
    this.unsaved.set(index, labels);
    this.flush();
    this.on.changed();
  }

  // until all is sent, or nothing more can be
  flush() {
    this.sending ||= this.work().finally(() => {
      this.sending = null;
      this.on.changed();
    });
    return this.sending;
  }

  async work() {
    while (this.unsaved.size && this.on.open()) {
      const [index, labels] = this.unsaved.entries().next().value;
      try {
        const made = await this.on.send(index, labels);
        if (this.unsaved.get(index) === labels) this.unsaved.delete(index);
        this.on.sent(index, labels, made);
      } catch (error) {
        if (this.on.refused(index, error)) return;
        this.unsaved.delete(index);
      }
    }
  }
}
