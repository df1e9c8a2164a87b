// The list of objects: their colours, names and numbers. Knows nothing of the server.

export class ObjectList {
  // root: the list. on.choose(id); on.rename(id, name), a promise; on.remove(object); on.left() after a name lost the keyboard.
  constructor(root, on) {
    this.root = root;
    this.on = on;
    this.listed = "";
  }

  // colour(id) is in words of CSS; a name that is being typed is left alone
  show(objects, chosen, colour) {
    const now = JSON.stringify([objects, chosen]);
    if (now === this.listed || this.root.contains(document.activeElement)) return;
    this.listed = now;
    this.root.replaceChildren(...objects.map((object, index) => this.row(object, index, object.id === chosen, colour(object.id))));
  }

  row(object, index, chosen, colour) {
    const item = document.createElement("li"), swatch = document.createElement("canvas");
    const name = document.createElement("input"), key = document.createElement("small"), remove = document.createElement("button");
    item.setAttribute("aria-selected", chosen);
    item.dataset.id = object.id;
    swatch.width = swatch.height = 1;
    const paint = swatch.getContext("2d");
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    name.value = object.name;
    name.maxLength = 60;
    name.setAttribute("aria-label", "Name");
    name.onchange = () => this.on.rename(object.id, name.value).then(() => ((this.listed = ""), this.on.left()));
    name.onkeydown = (e) => e.key === "Enter" && name.blur();
    name.onblur = () => setTimeout(this.on.left);
    key.textContent = index < 9 ? index + 1 : "";
    remove.textContent = "×";
    remove.title = "Remove from all frames";
    remove.setAttribute("aria-label", `Remove ${object.name}`);
    remove.onclick = (e) => {
      e.stopPropagation();
      if (confirm(`Remove ${object.name} from all frames?`)) this.on.remove(object);
    };
    item.append(swatch, name, key, remove);
    item.onclick = () => this.on.choose(object.id);
    return item;
  }
}
