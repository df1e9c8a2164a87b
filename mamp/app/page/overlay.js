// A label map as a picture over the frame: each object in its colour, half clear inside and full along its border.

import { grown } from "./labels.js";

const TILE = 512; // pixels of the video; a change of a large frame touches few tiles

export class Overlay {
  constructor() {
    this.tiles = []; // {box, canvas, paper}
    this.colours = new Map(); // id -> [r, g, b]
    this.unseen = new Set(); // ids that do not show
    this.opacity = 0.5; // inside; as in the films
    this.outline = true;
    this.bright = false;
  }

  setSize(width, height) {
    [this.width, this.height] = [width, height];
    this.tiles = [];
    for (let top = 0; top < height; top += TILE) {
      for (let left = 0; left < width; left += TILE) {
        const canvas = document.createElement("canvas");
        const box = [left, top, Math.min(left + TILE, width), Math.min(top + TILE, height)];
        canvas.width = box[2] - left;
        canvas.height = box[3] - top;
        this.tiles.push({ box, canvas, paper: canvas.getContext("2d") });
      }
    }
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
    const wide = grown(box, 1, this.width, this.height), table = this.table();
    for (const tile of this.tiles) {
      const part = common(wide, tile.box);
      if (part) tile.paper.putImageData(this.picture(labels, part, table), part[0] - tile.box[0], part[1] - tile.box[1]);
    }
  }

  picture(labels, [left, top, right, bottom], [inner, edge]) {
    const { width: w, height: h } = this, picture = new ImageData(right - left, bottom - top);
    const data = new Uint32Array(picture.data.buffer);
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
    return picture;
  }

  // onto a canvas where the frame lies at {scale, x, y}, as far as it lies in `box`; tiles meet at whole pixels
  draw(c, { scale, x, y }, box) {
    c.imageSmoothingEnabled = false;
    for (const { box: tile, canvas } of this.tiles) {
      if (!common(box, tile)) continue;
      const [left, top, right, bottom] = tile.map((v, i) => Math.round(v * scale + (i % 2 ? y : x)));
      c.drawImage(canvas, left, top, right - left, bottom - top);
    }
  }
}

function common(a, b) {
  const box = [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}
