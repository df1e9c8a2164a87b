// A label map as a picture over the frame: each object in its colour, half clear inside and full along its border.

import { grown } from "./labels.js";

export class Overlay {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.colours = new Map(); // id -> [r, g, b]
    this.unseen = new Set(); // ids that do not show
    this.opacity = 0.5; // inside; as in the films
    this.outline = true;
    this.bright = false;
  }

  setSize(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.paper = this.canvas.getContext("2d");
  }

  // [r, g, b] as it is shown: the palette's own, or as bright as it can be
  colour(id) {
    const rgb = this.colours.get(id) || [255, 255, 255];
    if (!this.bright) return rgb;
    const most = Math.max(...rgb, 1);
    return rgb.map((v) => Math.round(60 + (195 * v) / most));
  }

  css(id) {
    return `rgb(${this.colour(id).join(" ")})`;
  }

  // id -> a pixel's four bytes, inside and on the border
  table() {
    const inner = new Uint32Array(256), edge = new Uint32Array(256);
    const bytes = [new Uint8Array(inner.buffer), new Uint8Array(edge.buffer)];
    for (let id = 1; id < 256; id++) {
      if (this.unseen.has(id)) continue;
      const rgb = this.colours.has(id) ? this.colour(id) : [0, 0, 0];
      const inside = Math.round(255 * this.opacity);
      bytes[0].set([...rgb, inside], 4 * id);
      bytes[1].set([...rgb, this.outline ? 255 : inside], 4 * id);
    }
    return [inner, edge];
  }

  // the picture anew where labels may have changed
  paint(labels, box) {
    const { width: w, height: h } = this.canvas;
    const [left, top, right, bottom] = box ? grown(box, 1, w, h) : [0, 0, w, h];
    if (right <= left || bottom <= top) return;
    const picture = this.paper.createImageData(right - left, bottom - top);
    const data = new Uint32Array(picture.data.buffer), [inner, edge] = this.table();
    let at = 0;
    for (let y = top; y < bottom; y++) {
      let i = y * w + left;
      for (let x = left; x < right; x++, i++, at++) {
        const id = labels[i];
        if (!id) continue;
        const border =
          (x > 0 && labels[i - 1] !== id) || (x < w - 1 && labels[i + 1] !== id) ||
          (y > 0 && labels[i - w] !== id) || (y < h - 1 && labels[i + w] !== id);
        data[at] = border ? edge[id] : inner[id];
      }
    }
    this.paper.putImageData(picture, left, top);
  }
}
