// The list of objects: their colours, names and numbers. Knows nothing of the server.

const EYE = '<svg viewBox="0 0 24 24"><path d="M2 12s4-6.500 10-6.500S22 12 22 12s-4 6.500-10 6.500S2 12 2 12z"/><circle cx="12" cy="12" r="2.800"/></svg>';
const LOCK = '<svg viewBox="0 0 24 24"><path d="M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3"/></svg>';

export class ObjectList {
  // root: the list. on.choose(id); on.rename(id, name), a promise; on.remove(object); on.hide(id, only); on.lock(id).
  constructor(root, on) {
    this.root = root;
    this.on = on;
    this.rows = new Map(); // id -> {item, ...}
    this.chosen = null;
  }

  // looks(id): {colour, in words of CSS, hidden, locked}; a name that is being typed is left alone
  show(objects, chosen, looks) {
    const ids = new Set(objects.map((object) => object.id));
    for (const [id, row] of this.rows) if (!ids.has(id)) row.item.remove(), this.rows.delete(id);
    objects.forEach((object, index) => {
      if (!this.rows.has(object.id)) this.rows.set(object.id, this.row(object.id));
      const row = this.rows.get(object.id);
      if (this.root.children[index] !== row.item) this.root.insertBefore(row.item, this.root.children[index] || null);
      this.fill(row, object, index, { chosen: object.id === chosen, ...looks(object.id) });
    });
    if (this.chosen !== chosen) this.rows.get(chosen)?.item.scrollIntoView({ block: "nearest" });
    this.chosen = chosen;
  }

  fill(row, object, index, { chosen, colour, hidden, locked }) {
    row.object = object;
    if (document.activeElement !== row.name && row.name.value !== object.name) row.name.value = object.name;
    row.item.toggleAttribute("aria-current", chosen);
    if (chosen) row.item.setAttribute("aria-current", "true");
    row.pick.setAttribute("aria-pressed", chosen);
    row.pick.setAttribute("aria-label", `Draw ${object.name}, key ${index + 1}`);
    row.key.textContent = index + 1;
    row.name.setAttribute("aria-label", `Name of object ${index + 1}`);
    row.remove.setAttribute("aria-label", `Remove ${object.name}`);
    row.item.classList.toggle("hidden", hidden);
    row.hide.setAttribute("aria-pressed", hidden);
    row.hide.setAttribute("aria-label", `Hide ${object.name}`);
    row.lock.setAttribute("aria-pressed", locked);
    row.lock.setAttribute("aria-label", `Protect ${object.name}`);
    if (row.colour !== colour) {
      row.colour = colour;
      const paint = row.swatch.getContext("2d");
      paint.fillStyle = colour;
      paint.fillRect(0, 0, 1, 1);
    }
  }

  row(id) {
    const make = (name) => document.createElement(name);
    const row = { item: make("li"), pick: make("button"), swatch: make("canvas"), key: make("small"), name: make("input"), remove: make("button"), hide: make("button"), lock: make("button") };
    const { item, pick, swatch, key, name, remove, hide, lock } = row;
    item.dataset.id = id;
    swatch.width = swatch.height = 1;
    pick.className = "pick";
    pick.append(swatch, key);
    pick.onclick = () => this.on.choose(id);
    name.maxLength = 60;
    name.autocomplete = "off";
    name.onfocus = () => this.on.choose(id);
    name.onchange = () => this.renamed(row, id);
    name.onkeydown = (event) => {
      if (event.key === "Escape") name.value = row.object.name;
      if (event.key === "Enter" || event.key === "Escape") pick.focus();
    };
    remove.textContent = "×";
    remove.title = "Remove from all frames";
    remove.onclick = () => this.on.remove(row.object);
    hide.innerHTML = EYE;
    hide.title = "Hide (V); with Shift, show it alone";
    hide.onclick = (event) => this.on.hide(id, event.shiftKey);
    lock.innerHTML = LOCK;
    lock.title = "Protect: drawing leaves its pixels alone";
    lock.onclick = () => this.on.lock(id);
    item.append(pick, name, hide, lock, remove);
    item.onclick = (event) => event.target === item && this.on.choose(id);
    return row;
  }

  async renamed(row, id) {
    const name = row.name.value.trim();
    if (!name || !(await this.on.rename(id, name))) row.name.value = row.object.name;
  }
}
