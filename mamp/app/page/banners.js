// Lines above the page that stay until what they say is over.

import { announce } from "./page.js";

export class Banners {
  constructor(root) {
    this.root = root;
    this.shown = new Map(); // words and labels -> the line
  }

  // lines: {words, detail, buttons: [[label, act], ...]}; a line that stands already stays, so that its buttons can be pressed;
  // detail changes often, and is not read out
  show(lines) {
    const now = new Map();
    for (const line of lines) {
      const key = JSON.stringify([line.words, (line.buttons || []).map(([label]) => label)]);
      if (!this.shown.has(key)) announce(line.words);
      const made = this.shown.get(key) || banner(line);
      if (made.detail.textContent !== (line.detail || "")) made.detail.textContent = line.detail || "";
      (line.buttons || []).forEach(([, act], i) => (made.buttons[i].onclick = act));
      now.set(key, made);
    }
    for (const [key, made] of this.shown) if (!now.has(key)) made.root.remove();
    for (const made of now.values()) if (!made.root.isConnected) this.root.append(made.root);
    this.shown = now;
  }
}

function banner({ words, buttons = [] }) {
  const root = document.createElement("p"), text = document.createElement("span"), detail = document.createElement("b");
  text.textContent = words;
  text.append(" ", detail);
  const made = buttons.map(([label]) => {
    const button = document.createElement("button");
    button.textContent = label;
    return button;
  });
  root.append(text, ...made);
  return { root, detail, buttons: made };
}
