// Strokes that cannot be sent are kept by the browser, so that the page may be closed: as runs, [label, count, ...] of each frame.

const shelf = (state) => `mamp ${state.video} ${state.folder}`;

// unsaved: frame -> labels; with none the shelf is cleared
export function shelve(state, unsaved) {
  try {
    if (!unsaved.size) return localStorage.removeItem(shelf(state));
    const runs = [...unsaved].map(([index, labels]) => {
      const found = [];
      for (let i = 0, j; i < labels.length; i = j) {
        for (j = i; j < labels.length && labels[j] === labels[i]; ) j++;
        found.push(labels[i], j - i);
      }
      return [index, found];
    });
    localStorage.setItem(shelf(state), JSON.stringify(runs));
  } catch { /* it is full, or forbidden: the strokes stay in the page */ }
}

// what lies there goes into `unsaved`, as far as it fits `pixels` a frame, `count` frames and the objects there are
export function unshelve(state, unsaved, pixels, count) {
  let runs = [];
  try { runs = JSON.parse(localStorage.getItem(shelf(state)) || "[]"); } catch { /* nothing of use */ }
  const ids = new Set([0, ...state.objects.map((o) => o.id)]);
  for (const [index, found] of runs) {
    const labels = new Uint8Array(pixels);
    let at = 0;
    for (let i = 0; i < found.length; i += 2) labels.fill(ids.has(found[i]) ? found[i] : 0, at, (at += found[i + 1]));
    if (at === labels.length && index < count) unsaved.set(index, labels);
  }
}
