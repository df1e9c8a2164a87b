// What all parts of the page share: the server's last news, and where the person is.

export const $ = (id) => document.getElementById(id);

export const page = {
  state: null, // the server's news
  at: 0, // the frame that is shown
  video: { width: 0, height: 0, count: 0, names: [] },
  chosen: 0, // id of the object that is drawn
  adding: null, // promise of a new object
  playing: false,
  follow: null, // go along with the run after this number; null stays
};

// words for a screen reader, where what changed is elsewhere
export function announce(words) {
  $("live").textContent = words;
}

export const frames = (n) => `${n} ${n === 1 ? "frame" : "frames"}`;

const KINDS = { d: "drawn", f: "computed forward", b: "computed backward", "": "no mask yet" };

// how much of an object's mask is expected to be wrong, 0 to 1; null where it is drawn or not known
export const doubt = (frame, id) => (frame.kind === "d" ? null : frame.each ? (frame.each[id] ?? null) : frame.unsure);

export function frameWords(frame, id) {
  const { kind, stale, locked } = frame, wrong = doubt(frame, id);
  const percent = wrong !== null ? `about ${Math.round(100 * wrong)}% wrong` : "";
  return [KINDS[kind], stale ? "before a change" : "", locked ? "locked" : "", percent].filter(Boolean).join(" · ");
}
