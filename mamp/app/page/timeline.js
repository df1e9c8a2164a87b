// Thumbnails, what is known of each frame, and where one is.

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
    const seek = (e) => {
      const box = root.getBoundingClientRect();
      const index = Math.floor(((e.clientX - box.left) / box.width) * this.count);
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
    new ResizeObserver(() => this.lay()).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  set(count, ratio) {
    this.count = count;
    this.ratio = ratio;
    this.shown = 0;
    this.lay();
  }

  lay() {
    if (!this.count) return;
    const box = this.thumbs.getBoundingClientRect();
    const wanted = Math.max(1, Math.min(this.count, Math.round(box.width / (box.height * this.ratio))));
    if (wanted !== this.shown) {
      this.shown = wanted;
      this.thumbs.replaceChildren(...Array.from({ length: wanted }, (_, i) => {
        const picture = new Image();
        picture.alt = "";
        picture.draggable = false;
        return picture;
      }));
      this.load(0, wanted);
    }
    const ratio = window.devicePixelRatio || 1;
    this.strip.width = Math.round(this.strip.clientWidth * ratio);
    this.strip.height = Math.round(this.strip.clientHeight * ratio);
    this.draw();
  }

  // one after another: a browser has few connections, and the frame itself comes first
  load(i, wanted) {
    const picture = this.thumbs.children[i];
    if (!picture || wanted !== this.shown) return;
    picture.onload = picture.onerror = () => this.load(i + 1, wanted);
    picture.src = this.thumb(Math.floor(((i + 0.5) * this.count) / wanted));
  }

  go(index) {
    this.at = index;
    this.head.style.left = `${((index + 0.5) / this.count) * 100}%`;
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
    const step = w / this.count, gap = step > 5 ? 1 : 0, band = h * 0.24, line = Math.max(3, h * 0.09), room = h - band - line - 4;
    const most = Math.max(0.3, ...this.frames.map((f) => (f.kind === "d" ? 0 : f.unsure || 0)));
    c.clearRect(0, 0, w, h);
    this.frames.forEach((frame, i) => {
      if (!frame.kind) return;
      const x = i * step, wide = Math.max(step - gap, 1);
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
        if (frame.unsure !== null) {
          const tall = Math.max(1.5, (room * frame.unsure) / most);
          c.fillStyle = unsure;
          c.globalAlpha *= 0.35 + 0.65 * Math.min(1, frame.unsure / most);
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
