// The frame, its label map, and the tools that change it. Knows nothing of the server.

import { changedBox, fill, grown } from "./labels.js";

const TINT = 0.5; // of a mask over the frame, as in the films
const HISTORY = 48e6; // bytes of what can be undone in a frame

export class Surface {
  // canvas: where it shows. on.change(index) follows a finished edit; on.suggest(wish) asks for a mask; on.refuse() is called
  // when someone draws where nothing may be drawn; on.look() after zooming.
  constructor(canvas, on) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.on = on;
    this.width = this.height = 0;
    this.labels = null; // Uint8Array, a byte for each pixel
    this.image = null;
    this.index = -1;
    this.colours = new Map(); // id -> [r, g, b]
    this.object = 0;
    this.tool = "suggest";
    this.erasing = false;
    this.radius = 12; // in pixels of the video
    this.hidden = false;
    this.locked = false;
    this.overlay = document.createElement("canvas");
    this.history = new Map(); // frame -> {done, undone}: lists of {box, before, after}
    this.polygon = [];
    this.wish = null; // {inside, outside, box, base}
    this.stroke = null;
    this.pointer = null;
    this.view = null; // {scale, x, y}: of the whole frame where null
    this.listen();
  }

  // -- what is shown

  setSize(width, height) {
    this.width = this.overlay.width = width;
    this.height = this.overlay.height = height;
    this.labels = new Uint8Array(width * height);
    this.paper = this.overlay.getContext("2d");
  }

  show(index, image, labels) {
    if (index !== this.index) this.drop();
    this.index = index;
    this.image = image;
    if (labels) this.setLabels(labels);
    this.redraw();
  }

  setLabels(labels) {
    this.labels = labels.slice();
    this.paint();
  }

  get busy() {
    return this.stroke !== null || this.polygon.length > 0 || this.wish !== null;
  }

  // -- view

  fitted() {
    const [w, h] = [this.canvas.width, this.canvas.height];
    const scale = Math.min(w / this.width, h / this.height) * 0.985;
    return { scale, x: (w - scale * this.width) / 2, y: (h - scale * this.height) / 2 };
  }

  place() {
    return this.view || this.fitted();
  }

  toFrame(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const { scale, x, y } = this.place();
    return [((event.clientX - box.left) * ratio - x) / scale, ((event.clientY - box.top) * ratio - y) / scale];
  }

  zoom(factor, event) {
    const now = this.place();
    const least = this.fitted().scale;
    const scale = Math.min(Math.max(now.scale * factor, least), 40);
    if (scale <= least * 1.001) {
      this.view = null;
    } else {
      const box = this.canvas.getBoundingClientRect();
      const ratio = this.canvas.width / box.width;
      const px = (event.clientX - box.left) * ratio, py = (event.clientY - box.top) * ratio;
      this.view = { scale, x: px - ((px - now.x) * scale) / now.scale, y: py - ((py - now.y) * scale) / now.scale };
    }
    this.redraw();
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
    if (w !== this.canvas.width || h !== this.canvas.height) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.view = null;
    }
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.drawNow();
    });
  }

  drawNow() {
    const c = this.context;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.width) return;
    const { scale, x, y } = this.place();
    c.setTransform(scale, 0, 0, scale, x, y);
    c.imageSmoothingEnabled = scale < 3;
    if (this.image) c.drawImage(this.image, 0, 0, this.width, this.height);
    if (!this.hidden) {
      c.imageSmoothingEnabled = false;
      c.drawImage(this.overlay, 0, 0);
    }
    c.lineWidth = 1.5 / scale;
    this.drawPolygon(c, scale);
    this.drawWish(c, scale);
    this.drawBrush(c);
  }

  line(c, path, colour) {
    c.setLineDash([]);
    c.lineWidth *= 2;
    c.strokeStyle = "#000a";
    c.stroke(path);
    c.lineWidth /= 2;
    c.strokeStyle = colour;
    c.stroke(path);
  }

  css(id) {
    const [r, g, b] = this.colours.get(id) || [255, 255, 255];
    return `rgb(${r} ${g} ${b})`;
  }

  drawPolygon(c, scale) {
    if (!this.polygon.length) return;
    const path = new Path2D();
    const points = this.pointer ? [...this.polygon, this.pointer] : this.polygon;
    points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    if (points.length > 2) path.closePath();
    c.fillStyle = this.erasing ? "#fff5" : this.css(this.object).replace(")", " / 35%)");
    c.fill(path, "evenodd");
    this.line(c, path, "#fff");
    c.fillStyle = "#fff";
    for (const [x, y] of this.polygon) c.fillRect(x - 3 / scale, y - 3 / scale, 6 / scale, 6 / scale);
  }

  drawWish(c, scale) {
    const box = this.stroke?.kind === "wish" && this.stroke.moved ? this.stroke.box : this.wish?.box;
    if (box) {
      const path = new Path2D();
      path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      this.line(c, path, "#fff");
    }
    if (!this.wish) return;
    for (const [points, sign] of [[this.wish.inside, "#2ecc71"], [this.wish.outside, "#ff5252"]]) {
      for (const [x, y] of points) {
        const dot = new Path2D();
        dot.arc(x, y, 5 / scale, 0, 7);
        c.fillStyle = sign;
        c.fill(dot);
        this.line(c, dot, "#fff");
      }
    }
  }

  drawBrush(c) {
    if (this.tool !== "brush" || !this.pointer || this.locked) return;
    const ring = new Path2D();
    ring.arc(this.pointer[0], this.pointer[1], this.radius, 0, 7);
    this.line(c, ring, this.erasing ? "#fff" : this.css(this.object));
  }

  // the overlay anew, where labels may have changed: their colour, half clear inside and full along the border
  paint(box) {
    const [w, h] = [this.width, this.height];
    const [left, top, right, bottom] = box ? grown(box, 1, w, h) : [0, 0, w, h];
    if (right <= left || bottom <= top) return;
    const picture = this.paper.createImageData(right - left, bottom - top);
    const data = picture.data, labels = this.labels;
    const colours = new Uint8Array(768);
    for (const [id, [r, g, b]] of this.colours) colours.set([r, g, b], 3 * id);
    const half = Math.round(255 * TINT);
    let at = 0;
    for (let y = top; y < bottom; y++) {
      let i = y * w + left;
      for (let x = left; x < right; x++, i++, at += 4) {
        const id = labels[i];
        if (!id) continue;
        data[at] = colours[3 * id];
        data[at + 1] = colours[3 * id + 1];
        data[at + 2] = colours[3 * id + 2];
        const edge =
          (x > 0 && labels[i - 1] !== id) || (x < w - 1 && labels[i + 1] !== id) ||
          (y > 0 && labels[i - w] !== id) || (y < h - 1 && labels[i + w] !== id);
        data[at + 3] = edge ? 255 : half;
      }
    }
    this.paper.putImageData(picture, left, top);
    this.redraw();
  }

  // -- edits; a box is [left, top, right, bottom], the last two excluded

  copy(box, from = this.labels) {
    const [left, top, right, bottom] = box;
    const part = new Uint8Array((right - left) * (bottom - top));
    for (let y = top; y < bottom; y++)
      part.set(from.subarray(y * this.width + left, y * this.width + right), (y - top) * (right - left));
    return part;
  }

  put(box, part) {
    const [left, top, right, bottom] = box;
    for (let y = top; y < bottom; y++)
      this.labels.set(part.subarray((y - top) * (right - left), (y - top + 1) * (right - left)), y * this.width + left);
    this.paint(box);
  }

  past() {
    if (!this.history.has(this.index)) this.history.set(this.index, { done: [], undone: [] });
    return this.history.get(this.index);
  }

  // remember what an edit changed, against the label map before it
  keep(before) {
    const box = changedBox(before, this.labels, this.width);
    if (!box) return;
    const past = this.past();
    past.done.push({ box, before: this.copy(box, before), after: this.copy(box) });
    past.undone = [];
    let bytes = past.done.reduce((sum, step) => sum + 2 * step.before.length, 0);
    while (past.done.length > 1 && (past.done.length > 60 || bytes > HISTORY)) bytes -= 2 * past.done.shift().before.length;
    if (this.history.size > 12) this.history.delete(this.history.keys().next().value);
    this.on.change(this.index);
  }

  undo() {
    if (this.polygon.length) {
      this.polygon.pop();
      return this.redraw();
    }
    this.wish = null;
    this.swap("done", "undone", "before");
  }

  redo() {
    this.wish = null;
    this.swap("undone", "done", "after");
  }

  swap(from, to, which) {
    const past = this.past();
    if (this.locked || !past[from].length) return;
    const step = past[from].pop();
    past[to].push(step);
    this.put(step.box, step[which]);
    this.on.change(this.index);
  }

  // the history of a frame whose mask came from elsewhere means nothing any more
  outdate(index) {
    this.history.delete(index);
  }

  // give up what is half done
  drop() {
    const had = this.busy;
    if (this.stroke?.before && this.stroke.kind === "brush") this.keep(this.stroke.before);
    this.stroke = null;
    this.polygon = [];
    this.wish = null;
    this.redraw();
    return had;
  }

  get ink() {
    return this.erasing ? 0 : this.object;
  }

  stamp(x0, y0, x1, y1) {
    const r = this.radius, [w, h] = [this.width, this.height];
    const box = grown([Math.floor(Math.min(x0, x1) - r), Math.floor(Math.min(y0, y1) - r),
      Math.ceil(Math.max(x0, x1) + r) + 1, Math.ceil(Math.max(y0, y1) + r) + 1], 0, w, h);
    const dx = x1 - x0, dy = y1 - y0, long = dx * dx + dy * dy;
    for (let y = box[1]; y < box[3]; y++) {
      for (let x = box[0]; x < box[2]; x++) {
        const px = x + 0.5 - x0, py = y + 0.5 - y0;
        const t = long ? Math.min(1, Math.max(0, (px * dx + py * dy) / long)) : 0;
        const ex = px - t * dx, ey = py - t * dy;
        if (ex * ex + ey * ey <= r * r) this.labels[y * w + x] = this.stroke.ink;
      }
    }
    this.paint(box);
  }

  closePolygon() {
    const points = this.polygon;
    this.polygon = [];
    if (points.length > 2) {
      const before = this.labels.slice();
      fill(points, this.width, this.height, (i) => (this.labels[i] = this.ink));
      this.paint();
      this.keep(before);
    }
    this.redraw();
  }

  // a suggested mask (0 and 1) takes the place of the last one of the same clicks
  suggest(wish, mask) {
    if (this.wish !== wish) return;
    const before = this.labels.slice(), object = this.object;
    const past = this.past();
    if (wish.kept && past.done.length) {
      const step = past.done.pop();
      this.put(step.box, step.before);
      wish.kept = false;
    }
    const base = this.labels.slice();
    for (let i = 0; i < mask.length; i++) {
      if (mask[i]) this.labels[i] = object;
    }
    this.paint();
    const count = past.done.length;
    this.keep(base);
    wish.kept = past.done.length > count;
    if (!wish.kept && changedBox(before, this.labels, this.width)) this.on.change(this.index);
  }

  // -- what hands do

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY * 0.0016), e);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.move(e));
    canvas.addEventListener("pointerup", (e) => this.up(e));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("pointerleave", () => {
      if (!this.stroke) this.pointer = null;
      this.redraw();
    });
    canvas.addEventListener("dblclick", () => this.tool === "polygon" && this.closePolygon());
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  down(event) {
    if (!this.width || this.stroke) return;
    try { this.canvas.setPointerCapture(event.pointerId); } catch { /* a pen that is gone */ }
    this.canvas.focus({ preventScroll: true });
    const point = this.toFrame(event);
    if (event.button) {
      this.stroke = { kind: "pan", x: event.clientX, y: event.clientY, view: this.place() };
      return;
    }
    if (!this.on.ready()) return;
    if (this.tool === "brush") {
      this.stroke = { kind: "brush", before: this.labels.slice(), last: point, ink: this.ink };
      this.stamp(...point, ...point);
    } else if (this.tool === "polygon") {
      const [fx, fy] = this.polygon[0] || [];
      const near = 8 / this.place().scale;
      if (this.polygon.length > 2 && Math.hypot(fx - point[0], fy - point[1]) < near) return this.closePolygon();
      const [lx, ly] = this.polygon.at(-1) || [];
      if (!(Math.hypot(lx - point[0], ly - point[1]) < near / 4)) this.polygon.push(point);
    } else {
      this.stroke = { kind: "wish", from: point, x: event.clientX, y: event.clientY, moved: false, beside: event.shiftKey };
    }
    this.redraw();
  }

  move(event) {
    this.pointer = this.toFrame(event);
    const stroke = this.stroke;
    if (stroke?.kind === "brush") {
      for (const part of event.getCoalescedEvents?.() || []) {
        const point = this.toFrame(part);
        this.stamp(...stroke.last, ...point);
        stroke.last = point;
      }
      this.stamp(...stroke.last, ...this.pointer);
      stroke.last = this.pointer;
    } else if (stroke?.kind === "pan") {
      const ratio = this.canvas.width / this.canvas.getBoundingClientRect().width;
      const { scale, x, y } = stroke.view;
      this.view = { scale, x: x + (event.clientX - stroke.x) * ratio, y: y + (event.clientY - stroke.y) * ratio };
    } else if (stroke?.kind === "wish") {
      stroke.moved ||= Math.hypot(event.clientX - stroke.x, event.clientY - stroke.y) > 6;
      stroke.box = [...stroke.from, ...this.pointer];
    }
    this.redraw();
  }

  up(event) {
    const stroke = this.stroke;
    this.stroke = null;
    if (stroke?.kind === "brush") this.keep(stroke.before);
    if (stroke?.kind !== "wish") return;
    const inside = (x, size) => Math.min(Math.max(x, 0), size);
    const fresh = () => {
      this.wish = { inside: [], outside: [], box: null, object: this.object, kept: false };
    };
    if (stroke.moved) {
      fresh();
      const [a, b, c, d] = [...stroke.from, ...this.toFrame(event)];
      this.wish.box = [inside(Math.min(a, c), this.width), inside(Math.min(b, d), this.height),
        inside(Math.max(a, c), this.width), inside(Math.max(b, d), this.height)];
    } else {
      const [x, y] = stroke.from;
      if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
      if (!this.wish || this.wish.object !== this.object) fresh();
      (stroke.beside ? this.wish.outside : this.wish.inside).push([x, y]);
    }
    this.redraw();
    this.on.suggest(this.wish);
  }
}
