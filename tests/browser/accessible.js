// What a person without a mouse, or with weak sight, would miss on a page.
{
  const label = (e) => e.id || e.ariaLabel || e.textContent.trim();
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, k, i) => {
    const v = channels(colour)[i] / 255;
    return sum + k * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);

  // [what has the focus, whether that is seen]
  globalThis.focused = () => {
    const e = document.activeElement, style = getComputedStyle(e);
    return e === document.body ? ["", true] : [label(e), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0];
  };

  // all that Tab should come to
  globalThis.reachable = () => [...document.querySelectorAll("button, input, select, a[href], summary, [tabindex]")]
    .filter((e) => e.tabIndex >= 0 && !e.disabled && e.getClientRects().length && getComputedStyle(e).visibility !== "hidden")
    .map(label);

  // words whose contrast with the ground behind them is below 4.5, with the contrast
  globalThis.pale = () => [...document.querySelectorAll("body *")].flatMap((e) => {
    const own = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    const text = own || (e.matches("input:not([type=range])") ? e.value : "");
    if (!text || !e.getClientRects().length || e.closest(":disabled, .unseen, [aria-hidden=true]") || e.matches("option")) return [];
    let ground = e;
    while (ground && (channels(getComputedStyle(ground).backgroundColor)[3] ?? 1) < 0.85) ground = ground.parentElement;
    const two = [light(getComputedStyle(e).color), light(getComputedStyle(ground || document.body).backgroundColor)];
    const contrast = (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
    return contrast < 4.5 ? [[text.slice(0, 30), Math.round(100 * contrast) / 100]] : [];
  });
}
