// The frame, its label map, and the tools that change it. Knows nothing of the server, nor of mouse and fingers (hands.js).

import { History } from "./history.js";
import { brush, changedBox, copyBox, fill, grown, joined, putRuns, runsOf } from "./labels.js";
import { drawMarks } from "./marks.js";
import { Overlay } from "./overlay.js";
import { View } from "./view.js";

const DRAGGED = 6; // screen pixels that make a click a drag

export class Surface {
  // canvas: takes the mouse, shows clicks and outlines; picture, below it: frame and masks. on.change(index) follows a finished edit; on.suggest({index, from, wish}) asks for a mask after a
  // click; on.takeBack() gives up the last click that has no answer, true if there was one; on.look() follows zoom and pan.
  constructor(canvas, picture, on) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.picture = picture;
    this.paper = picture.getContext("2d");
    this.on = on;
    this.overlay = new Overlay();
    this.history = new History();
    this.view = new View(canvas, () => (this.refresh(), on.look()));
    this.width = this.height = 0;
    this.labels = null; // Uint8Array, a byte for each pixel
    this.kept = null; // the same after the last finished edit
    this.image = null;
    this.index = -1;
    this.object = 0;
    this.tool = "suggest";
    this.erasing = false;
    this.beside = false; // clicks show what is not the object
    this.radius = 12; // in pixels of the video
    this.hidden = false;
    this.locked = false;
    this.protects = new Set(); // ids whose pixels stay
    this.polygon = [];
    this.wish = null; // {id, object, inside, outside, box}: clicks of one suggestion; never changed, replaced
    this.stroke = null;
    this.pointer = null;
    this.cursor = null; // the same, of the keyboard
    this.dirty = null; // box of labels that changed since the last drawing
    this.stale = true; // the whole picture is to be drawn
    this.earlier = null; // labels that show in place of these
    new ResizeObserver(() => (this.view.resize(), this.refresh())).observe(canvas);
  }

  // -- what is shown

  setSize(width, height) {
    this.width = this.view.width = width;
    this.height = this.view.height = height;
    this.labels = new Uint8Array(width * height);
    this.kept = new Uint8Array(width * height);
    this.overlay.setSize(width, height);
    this.history = new History();
    this.index = -1;
    this.image = null;
    this.view.own = null;
  }

  show(index, image, labels) {
    if (index !== this.index) this.earlier = null;
    this.index = index;
    this.image = image;
    if (labels) this.setLabels(labels);
    this.refresh();
  }

  setLabels(labels) {
    this.labels.set(labels);
    this.kept.set(labels);
    this.paint();
  }

  get whole() {
    return [0, 0, this.width, this.height];
  }

  // the picture of the masks anew at the next drawing
  paint(box = this.whole) {
    this.dirty = joined(this.dirty, box);
    this.redraw();
  }

  // the whole picture anew
  refresh() {
    this.stale = true;
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
    const { canvas, context: c, picture } = this;
    if (picture.width !== canvas.width || picture.height !== canvas.height) {
      [picture.width, picture.height, this.stale] = [canvas.width, canvas.height, true];
    }
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.width) return;
    if (this.dirty) this.overlay.paint(this.earlier || this.labels, this.dirty);
    if (this.stale || this.dirty) this.drawPicture(this.stale ? null : grown(this.dirty, 2, this.width, this.height));
    this.dirty = null;
    this.stale = false;
    const place = this.view.place();
    c.setTransform(place.scale, 0, 0, place.scale, place.x, place.y);
    drawMarks(c, this, place.scale);
  }

  // frame and masks within a box of the frame; all of them without one
  drawPicture(box) {
    const c = this.paper, place = this.view.place(), { scale, x, y } = place;
    c.save();
    if (box) {
      const [left, top] = [Math.floor(x + scale * box[0]), Math.floor(y + scale * box[1])];
      c.beginPath();
      c.rect(left, top, Math.ceil(x + scale * box[2]) - left, Math.ceil(y + scale * box[3]) - top);
      c.clip();
    }
    c.clearRect(0, 0, this.picture.width, this.picture.height);
    c.imageSmoothingEnabled = scale < 3;
    if (this.image) c.drawImage(this.image, x, y, scale * this.width, scale * this.height);
    if (!this.hidden) this.overlay.draw(c, place, box || this.whole);
    c.restore();
  }

  // -- edits

  get past() {
    return this.history.of(this.index);
  }

  // what changed within the box since the last kept edit becomes a step that can be undone; more: of a suggestion
  keep(box, more = null) {
    const changed = box && changedBox(this.kept, this.labels, this.width, box);
    if (!changed && !more) return;
    this.history.push(this.index, stepOf(this.kept, this.labels, this.width, changed, more));
    if (changed) copyBox(this.labels, this.kept, this.width, changed);
    this.on.change(this.index);
  }

  undo() {
    if (this.polygon.length) {
      this.polygon.pop();
      return this.redraw();
    }
    if (this.on.takeBack()) return;
    const step = this.swap("done", "undone", "before");
    this.wish = (this.tool === "suggest" && step?.was) || null;
  }

  redo() {
    const step = this.swap("undone", "done", "after");
    this.wish = (this.tool === "suggest" && step?.is) || null;
  }

  swap(from, to, which) {
    const past = this.past;
    if (this.locked || this.stroke || !past[from].length) return null;
    const step = past[from].pop();
    past[to].push(step);
    putRuns(this.labels, this.width, step.box, step[which]);
    copyBox(this.labels, this.kept, this.width, step.box);
    this.paint(step.box);
    this.on.change(this.index);
    return step;
  }

  // replace the whole label map by an edit, as a step
  replace(labels) {
    this.finish();
    this.labels.set(labels);
    this.paint();
    this.keep(this.whole);
  }

  // end what is half done and keep it
  finish() {
    this.end();
    if (this.polygon.length > 2) this.closePolygon();
    this.polygon = [];
    this.wish = null;
    this.redraw();
  }

  // give up what is half done; true if there was something
  drop() {
    const had = this.stroke !== null || this.polygon.length > 0 || this.wish !== null;
    this.cancel();
    this.polygon = [];
    while (this.on.takeBack()) /* each click without an answer */;
    this.wish = null;
    this.redraw();
    return had;
  }

  get ink() {
    return this.erasing ? 0 : this.object;
  }

  put(from, to, ink) {
    if (!this.protects.size) return this.labels.fill(ink, from, to);
    for (let i = from; i < to; i++) if (!this.protects.has(this.labels[i])) this.labels[i] = ink;
  }

  closePolygon() {
    const points = this.polygon;
    this.polygon = [];
    if (points.length > 2) {
      const box = fill(points, this.width, this.height, (from, to) => this.put(from, to, this.ink));
      if (box) this.paint(box), this.keep(box);
    }
    this.redraw();
  }

  // a mask (0 and 1) that answers a click takes the place of the one for the clicks before it
  suggestion({ from, wish, asked }, mask) {
    this.labels.set(suggested(this.kept, this.past, this.width, { wish, mask, asked, protects: this.protects }));
    this.paint();
    this.keep(this.whole, { id: wish.id, was: from, is: wish });
  }

  // -- a stroke from its begin to its end; points are [x, y] in pixels of the video

  begin(point, { beside = false } = {}) {
    if (this.stroke) return;
    const near = 8 / this.view.place().scale * this.view.ratio;
    if (this.tool === "brush") {
      this.stroke = { kind: "brush", last: point, ink: this.ink, box: null };
      this.along([point]);
    } else if (this.tool === "polygon") {
      const corner = this.polygon.findIndex(([x, y]) => Math.hypot(x - point[0], y - point[1]) < near);
      this.stroke = { kind: "corner", from: point, corner, moved: false };
    } else {
      this.stroke = { kind: "wish", from: point, moved: false, beside: beside || this.beside };
    }
    this.redraw();
  }

  along(points) {
    const stroke = this.stroke, point = points.at(-1);
    if (!stroke) return;
    if (stroke.kind === "brush") {
      for (const next of points) {
        const put = (from, to) => this.put(from, to, stroke.ink);
        const box = brush(stroke.last, next, this.radius, this.width, this.height, put);
        stroke.box = joined(stroke.box, box);
        stroke.last = next;
        if (box) this.paint(box);
      }
    } else {
      const far = DRAGGED * this.view.ratio / this.view.place().scale;
      stroke.moved ||= Math.hypot(point[0] - stroke.from[0], point[1] - stroke.from[1]) > far;
      stroke.to = point;
      if (stroke.kind === "corner" && stroke.corner >= 0 && stroke.moved) this.polygon[stroke.corner] = point;
    }
    this.redraw();
  }

  end() {
    const stroke = this.stroke;
    this.stroke = null;
    if (stroke?.kind === "brush") this.keep(stroke.box);
    else if (stroke?.kind === "corner") this.corner(stroke);
    else if (stroke?.kind === "wish") this.click(stroke);
    this.ended?.();
  }

  cancel() {
    const stroke = this.stroke;
    this.stroke = null;
    if (stroke?.kind === "brush" && stroke.box) {
      copyBox(this.kept, this.labels, this.width, stroke.box);
      this.paint(stroke.box);
    }
    this.ended?.();
    this.redraw();
  }

  // until no stroke is under way
  async idle() {
    while (this.stroke) await new Promise((done) => (this.ended = done));
    this.ended = null;
  }

  corner({ corner, moved, from, to }) {
    if (corner < 0) this.polygon.push(to || from);
    else if (!moved && corner === 0 && this.polygon.length > 2) this.closePolygon();
    this.redraw();
  }

  click({ from, to, moved, beside }) {
    const [w, h] = [this.width, this.height];
    const last = this.wish;
    let wish = last;
    if (moved) {
      const within = (v, size) => Math.min(Math.max(v, 0), size);
      const xs = [from[0], to[0]].map((v) => within(v, w)).sort((a, b) => a - b);
      const ys = [from[1], to[1]].map((v) => within(v, h)).sort((a, b) => a - b);
      wish = { ...fresh(this.object), box: [xs[0], ys[0], xs[1], ys[1]] };
    } else {
      if (from[0] < 0 || from[1] < 0 || from[0] >= w || from[1] >= h) return;
      if (!wish || wish.object !== this.object) wish = fresh(this.object);
      const kind = beside ? "outside" : "inside";
      wish = { ...wish, [kind]: [...wish[kind], from] };
    }
    this.wish = wish;
    this.redraw();
    this.on.suggest({ index: this.index, from: last?.id === wish.id ? last : null, wish });
  }
}

let wishes = 0;
const fresh = (object) => ({ id: ++wishes, object, inside: [], outside: [], box: null });

// what an edit changed, within a box or nowhere (null)
export function stepOf(before, after, w, box, more) {
  box ||= [0, 0, 0, 0];
  return { box, before: runsOf(before, w, box), after: runsOf(after, w, box), ...more };
}

// labels after a suggestion: as they were before its clicks, with the mask of the last one as the object's.
// asked: the labels when that click was sent; what was drawn since then stays.
export function suggested(labels, past, w, { wish, mask, asked, protects }) {
  const base = labels.slice();
  for (let i = past.done.length - 1; i >= 0 && past.done[i].id === wish.id; i--) putRuns(base, w, past.done[i].box, past.done[i].before);
  for (let i = 0; i < mask.length; i++) {
    if (labels[i] !== asked[i]) base[i] = labels[i];
    else if (mask[i] ? !protects.has(base[i]) : base[i] === wish.object && !protects.has(wish.object)) base[i] = mask[i] ? wish.object : 0;
  }
  return base;
}
