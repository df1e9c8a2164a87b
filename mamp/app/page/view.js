// Which part of the frame shows, and how large: zoom and pan. Knows nothing of masks.

const MARGIN = 0.985; // of the canvas that the whole frame fills
const MOST = 40; // canvas pixels for a pixel of the video

export class View {
  // changed() is called after each change
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.width = this.height = 0; // of the video
    this.own = null; // {scale, x, y} that a person chose; null shows the whole frame
  }

  fitted() {
    const [w, h] = [this.canvas.width, this.canvas.height];
    const scale = Math.min(w / this.width, h / this.height) * MARGIN;
    return { scale, x: (w - scale * this.width) / 2, y: (h - scale * this.height) / 2 };
  }

  place() {
    return this.own || this.fitted();
  }

  // canvas pixels for a pixel of the screen's layout
  get ratio() {
    return this.canvas.width / (this.canvas.getBoundingClientRect().width || 1);
  }

  get percent() {
    return this.width ? Math.round((100 * this.place().scale) / (window.devicePixelRatio || 1)) : 100;
  }

  onCanvas(event) {
    const box = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / (box.width || 1);
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  toFrame(event) {
    const [px, py] = this.onCanvas(event), { scale, x, y } = this.place();
    return [(px - x) / scale, (py - y) / scale];
  }

  fit() {
    this.own = null;
    this.changed();
  }

  // point: [x, y] on the canvas that stays where it is; the middle without
  zoom(factor, point = [this.canvas.width / 2, this.canvas.height / 2]) {
    const now = this.place(), least = this.fitted().scale;
    const scale = Math.min(Math.max(now.scale * factor, least), Math.max(MOST, least));
    const [px, py] = point, grow = scale / now.scale;
    this.own = scale <= least * 1.001 ? null : { scale, x: px - (px - now.x) * grow, y: py - (py - now.y) * grow };
    this.changed();
  }

  move(dx, dy) {
    const now = this.place();
    this.own = { scale: now.scale, x: now.x + dx, y: now.y + dy };
    this.changed();
  }

  // two fingers, [a, b] as points on the canvas, went from where they were to where they are
  pinch([a, b], [c, d]) {
    const apart = (p, q) => Math.max(8, Math.hypot(p[0] - q[0], p[1] - q[1]));
    const middle = (p, q) => [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2];
    const from = middle(a, b), to = middle(c, d);
    this.zoom(apart(c, d) / apart(a, b), from);
    if (this.own) this.move(to[0] - from[0], to[1] - from[1]);
  }

  // bring a point of the frame into view
  reveal([x, y]) {
    const { scale, x: left, y: top } = this.place(), edge = 24;
    const px = left + x * scale, py = top + y * scale;
    const dx = px < edge ? edge - px : Math.min(0, this.canvas.width - edge - px);
    const dy = py < edge ? edge - py : Math.min(0, this.canvas.height - edge - py);
    if (this.own && (dx || dy)) this.move(dx, dy);
  }

  resize() {
    const box = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
    if (w === this.canvas.width && h === this.canvas.height) return;
    this.canvas.width = w;
    this.canvas.height = h;
    this.own = null;
    this.changed();
  }
}
