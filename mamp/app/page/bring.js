// A mask made elsewhere, which becomes the mask of the frame that is shown.

import { $, page } from "./page.js";
import { attempt, say } from "./say.js";
import { ask } from "./server.js";

// drawn() is true once all strokes are saved
export function receiveMasks(drawn) {
  const bring = async (file) => {
    if (!file || !(await drawn())) return;
    const answer = await attempt(() => ask(`/api/import/${page.at}?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }));
    if (!answer) return;
    const { line, warnings } = await answer.json();
    say([line, ...warnings].join(". ") + ".");
  };
  $("bring").onclick = () => $("maskfile").click();
  $("maskfile").onchange = () => bring($("maskfile").files[0]).finally(() => ($("maskfile").value = ""));
  return bring;
}
