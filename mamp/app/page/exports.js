// What became of the last export, in words.

import { frames } from "./page.js";
import { picture } from "./server.js";

const KIND = {
  davis: "PNG masks", objects: "PNG masks by object", film: "film", cutout: "cut-outs", "mask-video": "film of masks", gif: "GIF", sheet: "sheet",
  coco: "COCO JSON", yolo: "YOLO", labelme: "labelme", csv: "table",
};
let dismissed = sessionStorage.getItem("dismissed") || ""; // when the export began whose line was closed

// lines for the banners; changed() follows one that is closed
export function exported(out, changed) {
  if (out.running) return [{ words: `Exporting ${KIND[out.kind]}:`, detail: `${out.done} of ${frames(out.total)}` }];
  if (dismissed === String(out.at) || (out.error && out.changed)) return [];
  const close = ["Close", () => (sessionStorage.setItem("dismissed", (dismissed = String(out.at))), changed())];
  const time = new Date(1000 * out.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (out.error) return [{ words: `The export of ${KIND[out.kind]} at ${time} failed: ${out.error}`, buttons: [close] }];
  const words = `Exported to ${out.path}${out.changed ? ` at ${time}. Masks have changed since: export again for the new ones.` : ""}`;
  return [{ words, buttons: [["Download", () => (location.href = picture("export", out.kind))], close] }];
}
