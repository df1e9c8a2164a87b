// Frames and label maps that were fetched, as many as memory allows.

import { Told, ask, picture } from "./server.js";

const PIXELS = 120e6; // of decoded frames, and of label maps

export class Pictures {
  // unsaved: frame -> labels that are newer than the server's. isShown(index): a frame that is kept
  constructor(unsaved, isShown) {
    this.unsaved = unsaved;
    this.isShown = isShown;
    this.forget({ width: 0, height: 0 });
  }

  forget(video) {
    this.video = video;
    this.images = new Map(); // frame -> promise of a picture
    this.masks = new Map(); // frame -> {made, labels}
  }

  image(index) {
    const { images } = this;
    if (!images.has(index)) {
      const made = fetch(picture("frames", index)).then(async (answer) => {
        if (!answer.ok) throw new Told((await answer.json()).error);
        return createImageBitmap(await answer.blob());
      });
      made.catch(() => images.delete(index));
      images.set(index, made);
      this.bound(images, index, Math.max(6, PIXELS / Math.min(this.video.width * this.video.height, 1920 * 1080)));
    }
    return images.get(index);
  }

  // labels of a frame whose mask has revision `made`; `has`: there is a mask at all
  async mask(index, { made, has }) {
    const { masks } = this, pixels = this.video.width * this.video.height;
    if (this.unsaved.has(index)) return this.unsaved.get(index);
    if (masks.has(index) && masks.get(index).made >= made) return masks.get(index).labels;
    const labels = has ? new Uint8Array(await (await ask(`/api/masks/${index}`)).arrayBuffer()) : new Uint8Array(pixels);
    if (masks !== this.masks) return labels;
    if (this.unsaved.has(index)) return this.unsaved.get(index); // drawn since
    if (!masks.has(index) || masks.get(index).made <= made) this.put(index, made, labels);
    return masks.get(index).labels;
  }

  // the newest labels of a frame that are here, without asking
  newest(index) {
    return this.unsaved.get(index) || this.masks.get(index)?.labels;
  }

  put(index, made, labels) {
    this.masks.set(index, { made, labels });
    this.bound(this.masks, index, Math.max(6, PIXELS / Math.max(1, this.video.width * this.video.height)));
  }

  bound(map, index, most) {
    for (const old of map.keys()) {
      if (map.size <= most) break;
      if (old !== index && !this.isShown(old)) map.delete(old);
    }
  }
}
