// Arithmetic on label maps, a byte for each pixel, and on boxes [left, top, right, bottom], the last two excluded.

// a box wider by `by` on each side, within the frame
export function grown([left, top, right, bottom], by, w, h) {
  return [Math.max(0, left - by), Math.max(0, top - by), Math.min(w, right + by), Math.min(h, bottom + by)];
}

// the smallest box in which two label maps differ, or null
export function changedBox(a, b, w) {
  let left = Infinity, top = -1, right = -1, bottom = -1;
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue;
    const x = i % w;
    if (top < 0) top = (i / w) | 0;
    bottom = (i / w) | 0;
    if (x < left) left = x;
    if (x > right) right = x;
  }
  return top < 0 ? null : [left, top, right + 1, bottom + 1];
}

// `put(i)` for each pixel whose centre lies inside the polygon, even-odd
export function fill(points, w, h, put) {
  for (let y = 0; y < h; y++) {
    const cuts = [];
    points.forEach(([x0, y0], i) => {
      const [x1, y1] = points[(i + 1) % points.length];
      if ((y0 <= y + 0.5) !== (y1 <= y + 0.5)) cuts.push(x0 + ((y + 0.5 - y0) * (x1 - x0)) / (y1 - y0));
    });
    cuts.sort((a, b) => a - b);
    for (let k = 0; k + 1 < cuts.length; k += 2) {
      const last = Math.min(w, Math.ceil(cuts[k + 1] - 0.5));
      for (let x = Math.max(0, Math.ceil(cuts[k] - 0.5)); x < last; x++) put(y * w + x);
    }
  }
}
