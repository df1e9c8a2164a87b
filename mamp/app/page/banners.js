// Lines above the page that stay until what they tell is over.

export class Banners {
  constructor(root) {
    this.root = root;
    this.told = "";
  }

  // lines: [words, [label, act], ...] each; those that stand there already are left alone, so that their buttons can be pressed
  show(lines) {
    const now = JSON.stringify(lines);
    if (now === this.told) return;
    this.told = now;
    this.root.replaceChildren(...lines.map(([words, ...buttons]) => banner(words, ...buttons)));
  }
}

function banner(words, ...buttons) {
  const line = document.createElement("p"), text = document.createElement("span");
  text.textContent = words;
  line.append(text, ...buttons.map(([label, act]) => {
    const button = document.createElement("button");
    button.textContent = label;
    button.onclick = act;
    return button;
  }));
  return line;
}
