import { $ } from "./page.js";
import { attempt } from "./say.js";
import { ask } from "./server.js";

// the mask before the last change, as long as it is asked for
export async function compare(surface, on) {
  const index = surface.index;
  if (!on && !surface.earlier) return;
  if (!on || index < 0) surface.earlier = null;
  else {
    const answer = await attempt(() => ask(`/api/before/${index}`));
    surface.earlier = answer && index === surface.index ? new Uint8Array(await answer.arrayBuffer()) : null;
  }
  $("old").hidden = !surface.earlier;
  $("compare").setAttribute("aria-pressed", Boolean(surface.earlier));
  surface.paint();
}
