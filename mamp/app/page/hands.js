// Mouse, pen, fingers and keyboard on the canvas: who draws, who moves the picture. What drawing means is in draw.js.

export class Hands {
  // ready(): true, false, or "wait" until `release` is called
  constructor(surface, ready) {
    this.surface = surface;
    this.ready = ready;
    this.fingers = new Map(); // pointerId -> [x, y] on the canvas
    this.pinching = false; // until the last finger is up
    this.active = null; // pointerId that draws or pans
    this.pan = null; // where the panning pointer was
    this.held = null; // events that wait for `release`
    const canvas = surface.canvas;
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      surface.view.zoom(Math.exp(-e.deltaY * 0.0016), surface.view.onCanvas(e));
    }, { passive: false });
    for (const [name, act] of [["pointerdown", "down"], ["pointermove", "move"], ["pointerup", "up"], ["pointercancel", "lost"]])
      canvas.addEventListener(name, (e) => this.receive(act, e));
    canvas.addEventListener("pointerleave", () => {
      if (!surface.stroke) surface.pointer = null;
      surface.redraw();
    });
    canvas.addEventListener("dblclick", () => surface.tool === "polygon" && surface.closePolygon());
    canvas.addEventListener("blur", () => this.leaveKeyboard());
  }

  receive(act, event) {
    if (this.held && event.pointerId === this.active && act !== "down") return this.held.push([act, event]);
    this[act](event);
  }

  // what was done while something was waited for is done now
  release(done = true) {
    const held = this.held || [];
    this.held = this.active = null;
    if (done) for (const [act, event] of held) this[act](event);
  }

  down(event) {
    const { surface } = this;
    if (!surface.width) return;
    this.leaveKeyboard();
    try { surface.canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone */ }
    surface.canvas.focus({ preventScroll: true });
    if (event.pointerType === "touch") this.fingers.set(event.pointerId, surface.view.onCanvas(event));
    if (this.fingers.size > 1) return this.pinch();
    if (this.active !== null || this.pinching) return;
    if (event.button) {
      this.active = event.pointerId;
      this.pan = surface.view.onCanvas(event);
      return;
    }
    const ready = this.ready();
    if (!ready) return;
    this.active = event.pointerId;
    if (ready === "wait") return (this.held = [["down", event]]);
    surface.pointer = surface.view.toFrame(event);
    surface.begin(surface.pointer, { beside: event.shiftKey });
  }

  // a second finger: what the first one began is given up
  pinch() {
    this.pinching = true;
    this.surface.cancel();
    this.held = this.active = this.pan = null;
    this.surface.pointer = null;
  }

  move(event) {
    const { surface } = this, { view } = surface;
    if (this.fingers.has(event.pointerId)) {
      const before = [...this.fingers.values()];
      this.fingers.set(event.pointerId, view.onCanvas(event));
      const now = [...this.fingers.values()];
      if (this.pinching) return now.length > 1 ? view.pinch(before.slice(0, 2), now.slice(0, 2)) : undefined;
    }
    if (this.active !== null && event.pointerId !== this.active) return;
    if (this.pan) {
      const [x, y] = view.onCanvas(event);
      view.move(x - this.pan[0], y - this.pan[1]);
      this.pan = [x, y];
      return;
    }
    surface.pointer = view.toFrame(event);
    const parts = (event.getCoalescedEvents?.() || []).map((part) => view.toFrame(part));
    surface.along([...parts, surface.pointer]);
    surface.redraw();
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    if (this.pinching) {
      this.pinching = this.fingers.size > 0;
      return;
    }
    if (event.pointerId !== this.active) return;
    this.active = this.pan = null;
    this.surface.end();
    if (event.pointerType === "touch") this.surface.pointer = null;
  }

  lost(event) {
    this.fingers.delete(event.pointerId);
    this.pinching = this.pinching && this.fingers.size > 0;
    if (event.pointerId !== this.active) return;
    this.active = this.pan = this.held = null;
    this.surface.cancel();
  }

  // -- the keyboard's cross: arrows move it, Enter draws

  // true if the key was for the cross
  key(event) {
    const { surface } = this;
    if (event.key === "k") return (surface.cursor ? this.leaveKeyboard() : this.enterKeyboard()), true;
    if (!surface.cursor || document.activeElement !== surface.canvas) return false;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) this.step(step, event.shiftKey ? 10 : 1);
    else if (event.key === "Enter") this.press(event.shiftKey);
    else if (event.key === "Escape" && !surface.stroke && !surface.polygon.length && !surface.wish) this.leaveKeyboard();
    else return false;
    return true;
  }

  enterKeyboard() {
    const { surface } = this;
    surface.cursor = [surface.width / 2, surface.height / 2];
    surface.canvas.focus({ preventScroll: true });
    surface.view.reveal(surface.cursor);
    surface.redraw();
  }

  leaveKeyboard() {
    const { surface } = this;
    if (!surface.cursor) return;
    surface.end();
    surface.cursor = null;
    surface.redraw();
  }

  step([dx, dy], times) {
    const { surface } = this, by = times * Math.max(1, 4 * surface.view.ratio / surface.view.place().scale);
    const [x, y] = surface.cursor;
    surface.cursor = [Math.min(Math.max(x + dx * by, 0), surface.width - 1), Math.min(Math.max(y + dy * by, 0), surface.height - 1)];
    surface.view.reveal(surface.cursor);
    surface.along([surface.cursor]);
    surface.redraw();
  }

  // suggest and polygon: a click; brush: down, and up at the next press
  press(beside) {
    const { surface } = this;
    if (surface.stroke) return surface.end();
    const near = surface.polygon.at(-1);
    if (surface.tool === "polygon" && near && Math.hypot(near[0] - surface.cursor[0], near[1] - surface.cursor[1]) < 1) return surface.closePolygon();
    if (this.ready() !== true) return;
    surface.begin(surface.cursor, { beside });
    if (surface.tool !== "brush") surface.end();
  }
}
