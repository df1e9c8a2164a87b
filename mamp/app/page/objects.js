// The list of objects: their colours, names and numbers. Knows nothing of the server.

export class ObjectList {
  // root: the list. on.choose(id); on.rename(id, name), a promise; on.remove(object).
  constructor(root, on) {
    this.root = root;
    this.on = on;
    this.rows = new Map(); // id -> {item, ...}
    this.chosen = null;
  }

  // colour(id) is in words of CSS; a name that is being typed is left alone
  show(objects, chosen, colour) {
    const ids = new Set(objects.map((object) => object.id));
    for (const [id, row] of this.rows) if (!ids.has(id)) row.item.remove(), this.rows.delete(id);
    objects.forEach((object, index) => {
      if (!this.rows.has(object.id)) this.rows.set(object.id, this.row(object.id));
      const row = this.rows.get(object.id);
      if (this.root.children[index] !== row.item) this.root.insertBefore(row.item, this.root.children[index] || null);
      this.fill(row, object, index, { chosen: object.id === chosen, colour: colour(object.id) });
    });
    if (this.chosen !== chosen) this.rows.get(chosen)?.item.scrollIntoView({ block: "nearest" });
    this.chosen = chosen;
  }

  fill(row, object, index, { chosen, colour }) {
    row.object = object;
    if (document.activeElement !== row.name && row.name.value !== object.name) row.name.value = object.name;
    row.item.toggleAttribute("aria-current", chosen);
    if (chosen) row.item.setAttribute("aria-current", "true");
    row.pick.setAttribute("aria-pressed", chosen);
    row.pick.setAttribute("aria-label", `Draw ${object.name}, key ${index + 1}`);
    row.key.textContent = index + 1;
    row.name.setAttribute("aria-label", `Name of object ${index + 1}`);
    row.remove.setAttribute("aria-label", `Remove ${object.name}`);
    if (row.colour !== colour) {
      row.colour = colour;
      const paint = row.swatch.getContext("2d");
      paint.fillStyle = colour;
      paint.fillRect(0, 0, 1, 1);
    }
  }

  row(id) {
    const make = (name) => document.createElement(name);
    const row = { item: make("li"), pick: make("button"), swatch: make("canvas"), key: make("small"), name: make("input"), remove: make("button") };
    const { item, pick, swatch, key, name, remove } = row;
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
    item.append(pick, name, remove);
    item.onclick = (event) => event.target === item && this.on.choose(id);
    return row;
  }

  async renamed(row, id) {
    const name = row.name.value.trim();
    if (!name || !(await this.on.rename(id, name))) row.name.value = row.object.name;
  }
}
