"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const number = (text) => (text === "" ? NaN : Number(text));
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    const rows = [...table.tBodies[0].rows];
    const value = (row) => row.cells[column].dataset.value;
    const numeric = rows.every((row) => value(row) === "" || !isNaN(number(value(row))));
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = numeric ? number(x) - number(y) : x.localeCompare(y, undefined, { numeric: true });
      return descending ? -order : order;
    });
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  }));
}
for (const article of document.querySelectorAll("article")) {
  const video = article.querySelector("video");
  if (!video) continue;
  const views = [...article.querySelectorAll(".views button")];
  const charts = [...article.querySelectorAll(".chart")];
  const show = (view) => {
    const time = video.currentTime, playing = !video.paused && !video.ended;
    for (const other of views) other.setAttribute("aria-pressed", String(other === view));
    if (time > 0) video.preload = "auto"; // a film that was stopped shows its picture, not the poster
    video.src = view.dataset.source;
    if (time > 0) video.currentTime = time;
    if (playing) video.play();
  };
  for (const view of views) view.addEventListener("click", () => show(view));
  show(views.find((view) => view.getAttribute("aria-pressed") === "true"));
  const follow = () => {
    const part = video.duration ? video.currentTime / video.duration : 0;
    for (const chart of charts) {
      const left = Number(chart.dataset.left), right = Number(chart.dataset.right);
      const cursor = chart.querySelector(".cursor");
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, String(left + part * (right - left)));
    }
    if (!video.paused) requestAnimationFrame(follow);
  };
  for (const name of ["play", "seeked", "timeupdate"]) video.addEventListener(name, follow);
  for (const chart of charts) {
    chart.addEventListener("click", (event) => {
      if (!video.duration) return;
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      const left = Number(chart.dataset.left), right = Number(chart.dataset.right);
      video.currentTime = Math.min(Math.max((x - left) / (right - left), 0), 0.999) * video.duration;
    });
  }
}
