// Arithmetic on label maps, a byte for each pixel, and on boxes [left, top, right, bottom], the last two excluded.

// a box wider by `by` on each side, within the frame
export function grown([left, top, right, bottom], by, w, h) {
  return [Math.max(0, left - by), Math.max(0, top - by), Math.min(w, right + by), Math.min(h, bottom + by)];
}

// the box around two boxes; either may be null
export function joined(a, b) {
  if (!a || !b) return a || b;
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}

// the smallest box in which two label maps differ, or null; looked for within `box`
export function changedBox(a, b, w, [left, top, right, bottom]) {
  let found = null;
  for (let y = top; y < bottom; y++) {
    const end = y * w + right;
    let i = y * w + left, j = end - 1;
    while (i < end && a[i] === b[i]) i++;
    if (i === end) continue;
    while (a[j] === b[j]) j--;
    found = joined(found, [i - y * w, y, j - y * w + 1, y + 1]);
  }
  return found;
}

// a box of a label map as runs, [label, count, ...], row by row
export function runsOf(labels, w, [left, top, right, bottom]) {
  const runs = [];
  let label = -1, count = 0;
  for (let y = top; y < bottom; y++) {
    for (let i = y * w + left, end = y * w + right; i < end; i++) {
      if (labels[i] === label) count++;
      else {
        if (count) runs.push(label, count);
        label = labels[i];
        count = 1;
      }
    }
  }
  if (count) runs.push(label, count);
  return Uint32Array.from(runs);
}

// the same back into a label map
export function putRuns(labels, w, [left, top, right, bottom], runs) {
  let x = left, y = top;
  for (let i = 0; i < runs.length; i += 2) {
    for (let rest = runs[i + 1]; rest; ) {
      const part = Math.min(rest, right - x);
      labels.fill(runs[i], y * w + x, y * w + x + part);
      rest -= part;
      x += part;
      if (x === right) x = left, y++;
    }
  }
}

// copy a box of one label map into another
export function copyBox(from, to, w, [left, top, right, bottom]) {
  for (let y = top; y < bottom; y++) to.set(from.subarray(y * w + left, y * w + right), y * w + left);
}

// `put(from, to)` for the pixels of each row whose centres lie within `r` of the line between two points; their box
export function brush([x0, y0], [x1, y1], r, w, h, put) {
  const box = grown([Math.floor(Math.min(x0, x1) - r), Math.floor(Math.min(y0, y1) - r),
    Math.ceil(Math.max(x0, x1) + r) + 1, Math.ceil(Math.max(y0, y1) + r) + 1], 0, w, h);
  const long = Math.hypot(x1 - x0, y1 - y0), nx = long ? (-(y1 - y0) / long) * r : 0, ny = long ? ((x1 - x0) / long) * r : 0;
  const corners = [[x0 + nx, y0 + ny], [x1 + nx, y1 + ny], [x1 - nx, y1 - ny], [x0 - nx, y0 - ny]];
  for (let y = box[1]; y < box[3]; y++) {
    const cy = y + 0.5;
    let from = Infinity, to = -Infinity; // a stroke is convex: one stretch in each row
    const reach = (x) => (from = Math.min(from, x), (to = Math.max(to, x)));
    for (const [x, py] of [[x0, y0], [x1, y1]]) {
      const half = r * r - (cy - py) * (cy - py);
      if (half >= 0) reach(x - Math.sqrt(half)), reach(x + Math.sqrt(half));
    }
    if (long) {
      corners.forEach(([ax, ay], i) => {
        const [bx, by] = corners[(i + 1) % 4];
        if (ay !== by && cy >= Math.min(ay, by) && cy <= Math.max(ay, by)) reach(ax + ((cy - ay) * (bx - ax)) / (by - ay));
      });
    }
    const first = Math.max(0, Math.ceil(from - 0.5)), last = Math.min(w, Math.floor(to - 0.5) + 1);
    if (first < last) put(y * w + first, y * w + last);
  }
  return box[2] > box[0] && box[3] > box[1] ? box : null;
}

// `put(from, to)` for the pixels of each row whose centres lie inside the polygon, even-odd; their box
export function fill(points, w, h, put) {
  const ys = points.map((p) => p[1]), xs = points.map((p) => p[0]);
  const box = grown([Math.floor(Math.min(...xs)), Math.floor(Math.min(...ys)), Math.ceil(Math.max(...xs)) + 1, Math.ceil(Math.max(...ys)) + 1], 0, w, h);
  for (let y = box[1]; y < box[3]; y++) {
    const cuts = [];
    points.forEach(([x0, y0], i) => {
      const [x1, y1] = points[(i + 1) % points.length];
      if ((y0 <= y + 0.5) !== (y1 <= y + 0.5)) cuts.push(x0 + ((y + 0.5 - y0) * (x1 - x0)) / (y1 - y0));
    });
    cuts.sort((a, b) => a - b);
    for (let k = 0; k + 1 < cuts.length; k += 2) {
      const first = Math.max(0, Math.ceil(cuts[k] - 0.5)), last = Math.min(w, Math.ceil(cuts[k + 1] - 0.5));
      if (first < last) put(y * w + first, y * w + last);
    }
  }
  return box[2] > box[0] && box[3] > box[1] ? box : null;
}
