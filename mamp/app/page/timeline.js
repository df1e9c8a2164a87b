// Thumbnails, what is known of each frame, and where one is. A part of the video may fill the whole width.

import { doubt } from "./page.js";

const LEAST = 4; // frames that show at the largest zoom

export class Timeline {
  // on.seek(index) is called when a person goes to a frame; thumb(index) is the address of a small picture.
  constructor(root, on, thumb) {
    this.root = root;
    this.on = on;
    this.thumb = thumb;
    this.strip = root.querySelector("canvas");
    this.thumbs = root.querySelector("#thumbs");
    this.head = root.querySelector("#head");
    this.frames = [];
    this.count = this.at = this.shown = 0;
    this.first = 0; // what shows: `span` frames from this one on
    this.span = 1;
    this.loaded = ""; // which thumbnails are there
    const place = (e) => (e.clientX - root.getBoundingClientRect().left) / root.getBoundingClientRect().width;
    const seek = (e) => {
      const index = Math.floor(this.first + place(e) * this.span);
      this.on.seek(Math.min(Math.max(index, 0), this.count - 1));
    };
    root.addEventListener("pointerdown", (e) => {
      if (e.button) return;
      root.setPointerCapture(e.pointerId);
      this.dragging = true;
      seek(e);
    });
    root.addEventListener("pointermove", (e) => this.dragging && seek(e));
    for (const end of ["pointerup", "pointercancel"]) root.addEventListener(end, () => (this.dragging = false));
    root.addEventListener("wheel", (e) => {
      e.preventDefault();
      const sideways = e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY);
      if (sideways) this.look(this.first + ((e.deltaX || e.deltaY) / 400) * this.span, this.span);
      else this.zoom(Math.exp(-e.deltaY * 0.0016), place(e));
    }, { passive: false });
    new ResizeObserver(() => this.lay()).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // no more thumbnails are asked for
  end() {
    this.loaded = "";
    clearTimeout(this.waiting);
  }

  set(count, ratio) {
    this.count = this.span = count;
    this.ratio = ratio;
    this.first = this.shown = 0;
    this.loaded = "";
    this.lay();
  }

  // show so many frames from `first` on, as far as there are so many
  look(first, span) {
    this.span = Math.min(this.count, Math.max(span, Math.min(LEAST, this.count)));
    this.first = Math.min(Math.max(first, 0), this.count - this.span);
    this.lay();
    this.go(this.at, false);
    this.on.look?.(this.count / this.span);
  }

  // place: what part of the width stays where it is; that of the frame one is at by default
  zoom(factor, place = Math.min(Math.max((this.at + 0.5 - this.first) / this.span, 0), 1)) {
    const still = this.first + place * this.span, span = Math.min(this.count, Math.max(this.span / factor, Math.min(LEAST, this.count)));
    this.look(still - place * span, span);
  }

  lay() {
    if (!this.count) return;
    const box = this.thumbs.getBoundingClientRect();
    const wanted = Math.max(1, Math.min(Math.ceil(this.span), Math.round(box.width / (box.height * this.ratio))));
    if (wanted !== this.shown) {
      this.shown = wanted;
      this.thumbs.replaceChildren(...Array.from({ length: wanted }, () => {
        const picture = new Image();
        picture.alt = "";
        picture.draggable = false;
        return picture;
      }));
    }
    const which = `${this.first.toFixed(2)} ${this.span.toFixed(2)} ${wanted}`;
    if (which !== this.loaded) {
      this.loaded = which;
      clearTimeout(this.waiting); // while one zooms nothing is asked for
      this.waiting = setTimeout(() => this.load(0, which), wanted === this.count ? 0 : 120);
    }
    const ratio = window.devicePixelRatio || 1;
    this.strip.width = Math.round(this.strip.clientWidth * ratio);
    this.strip.height = Math.round(this.strip.clientHeight * ratio);
    this.draw();
  }

  // one after another: a browser has few connections, and the frame itself comes first
  load(i, which) {
    const picture = this.thumbs.children[i];
    if (!picture || which !== this.loaded) return;
    picture.onload = picture.onerror = () => this.load(i + 1, which);
    const index = Math.floor(this.first + ((i + 0.5) * this.span) / this.shown), address = this.thumb(Math.min(index, this.count - 1));
    if (picture.getAttribute("src") === address) return this.load(i + 1, which);
    picture.src = address;
  }

  // along: bring the frame into view where a part of the video shows
  go(index, along = true) {
    this.at = index;
    if (along && (index < this.first || index + 1 > this.first + this.span)) return this.look(index + 0.5 - this.span / 2, this.span);
    const place = (index + 0.5 - this.first) / this.span;
    this.head.hidden = place < 0 || place > 1;
    this.head.style.left = `${place * 100}%`;
    this.root.setAttribute("aria-valuenow", index);
  }

  // object, colour: whose presence shows
  tell(frames, object, colour) {
    this.frames = frames;
    this.object = object;
    this.colour = colour;
    this.root.setAttribute("aria-valuemax", this.count - 1);
    this.draw();
  }

  // a column for each frame, with a line above where the object is: how unsure as a bar from below, over a band that says where the mask comes from
  draw() {
    const c = this.strip.getContext("2d"), w = this.strip.width, h = this.strip.height;
    if (!w || !this.count) return;
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    const [bar, link, ink, unsure] = ["--bar", "--link", "--ink", "--unsure"].map(colour);
    const step = w / this.span, gap = step > 5 ? 1 : 0, band = h * 0.24, line = Math.max(3, h * 0.09), room = h - band - line - 4;
    const most = this.frames.reduce((m, f) => (f.kind === "d" ? m : Math.max(m, f.unsure || 0)), 0.3);
    c.clearRect(0, 0, w, h);
    const from = Math.floor(this.first), to = Math.min(this.frames.length, Math.ceil(this.first + this.span));
    this.frames.slice(from, to).forEach((frame, i) => {
      if (!frame.kind) return;
      const x = (from + i - this.first) * step, wide = Math.max(step - gap, 1);
      if (frame.ids.includes(this.object)) {
        c.fillStyle = this.colour;
        c.fillRect(x, 0, Math.max(step, 1), line);
      }
      if (frame.kind === "d") {
        c.fillStyle = link;
        c.fillRect(x, h - band, wide, band);
        c.beginPath();
        c.arc(x + step / 2, h - band - 8, Math.min(4.5, Math.max(2.5, step / 2)), 0, 7);
        c.fill();
      } else {
        c.globalAlpha = frame.stale ? 0.35 : 1;
        c.fillStyle = bar;
        if (frame.stale) c.fillRect(x, h - band, wide, 2), c.fillRect(x, h - 2, wide, 2);
        else c.fillRect(x, h - band, wide, band);
        const mine = doubt(frame, this.object), solid = c.globalAlpha;
        c.fillStyle = unsure;
        for (const [wrong, opacity] of [[frame.unsure, 0.25], [mine, 1]]) { // the worst object behind the chosen one
          if (wrong === null) continue;
          const tall = Math.max(1.5, (room * wrong) / most);
          c.globalAlpha = solid * opacity;
          c.fillRect(x, h - band - 1 - tall, wide, tall);
        }
        c.globalAlpha = 1;
      }
      if (frame.locked) {
        c.fillStyle = ink;
        c.fillRect(x, h - 4, wide, 4);
      }
    });
  }
}
