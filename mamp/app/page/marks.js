// What is drawn over frame and masks while a person is at it: polygon, clicks, box, the brush's ring, the keyboard's cross.

export function drawMarks(c, surface, scale) {
  c.lineWidth = 1.5 / scale;
  polygon(c, surface, scale);
  wish(c, surface, scale);
  const point = surface.cursor || surface.pointer;
  if (surface.tool === "brush" && point && !surface.locked) ring(c, surface, point);
  if (surface.cursor) cross(c, surface.cursor, scale);
}

function line(c, path, colour) {
  c.setLineDash([]);
  c.lineWidth *= 2;
  c.strokeStyle = "#000a";
  c.stroke(path);
  c.lineWidth /= 2;
  c.strokeStyle = colour;
  c.stroke(path);
}

function polygon(c, surface, scale) {
  if (!surface.polygon.length) return;
  const path = new Path2D(), end = surface.cursor || surface.pointer;
  const points = end && surface.stroke?.kind !== "corner" ? [...surface.polygon, end] : surface.polygon;
  points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
  if (points.length > 2) path.closePath();
  c.fillStyle = surface.erasing ? "#fff5" : surface.overlay.css(surface.object).replace(")", " / 35%)");
  c.fill(path, "evenodd");
  line(c, path, "#fff");
  surface.polygon.forEach(([x, y], i) => {
    const dot = new Path2D(), r = (i ? 4 : 5.5) / scale;
    dot.rect(x - r, y - r, 2 * r, 2 * r);
    c.fillStyle = i ? "#fff" : "#2ecc71";
    c.fill(dot);
    line(c, dot, "#fff");
  });
}

function wish(c, surface, scale) {
  const { stroke } = surface;
  const drawn = stroke?.kind === "wish" && stroke.moved ? [...stroke.from, ...stroke.to] : surface.wish?.box;
  if (drawn) {
    const path = new Path2D();
    path.rect(drawn[0], drawn[1], drawn[2] - drawn[0], drawn[3] - drawn[1]);
    line(c, path, "#fff");
  }
  if (!surface.wish) return;
  for (const [points, colour, minus] of [[surface.wish.inside, "#1e9e55", false], [surface.wish.outside, "#d93025", true]]) {
    for (const [x, y] of points) {
      const dot = new Path2D(), sign = new Path2D(), r = 6 / scale, s = 3.2 / scale;
      dot.arc(x, y, r, 0, 7);
      c.fillStyle = colour;
      c.fill(dot);
      line(c, dot, "#fff");
      sign.moveTo(x - s, y);
      sign.lineTo(x + s, y);
      if (!minus) sign.moveTo(x, y - s), sign.lineTo(x, y + s);
      c.strokeStyle = "#fff";
      c.stroke(sign);
    }
  }
}

function ring(c, surface, [x, y]) {
  const path = new Path2D();
  path.arc(x, y, surface.radius, 0, 7);
  line(c, path, surface.erasing ? "#fff" : surface.overlay.css(surface.object));
}

function cross(c, [x, y], scale) {
  const path = new Path2D(), long = 14 / scale, gap = 3 / scale;
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) path.moveTo(x + gap * dx, y + gap * dy), path.lineTo(x + long * dx, y + long * dy);
  line(c, path, "#fff");
}
