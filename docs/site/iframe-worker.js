// Search runs in a Worker, which browsers refuse to pages opened from disk. There, an invisible frame takes its place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.ready = new Promise((resolve) => (document.body ? resolve() : addEventListener("DOMContentLoaded", resolve))).then(
        () => this.open(url)
      );
    }

    open(url) {
      document.body.appendChild(this.frame);
      const inner = this.frame.contentWindow;
      const answer = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inner.document.open();
      inner.document.write("<!doctype html><body></body>");
      inner.document.close();
      inner.postMessage = answer;
      inner.importScripts = (...urls) =>
        urls.reduce((before, next) => before.then(() => this.script(inner, next)), Promise.resolve());
      return this.script(inner, url);
    }

    script(inner, url) {
      return new Promise((resolve, reject) => {
        const script = inner.document.createElement("script");
        script.src = url;
        script.onload = resolve;
        script.onerror = reject;
        inner.document.body.appendChild(script);
      });
    }

    postMessage(data) {
      this.ready.then(() => {
        const inner = this.frame.contentWindow;
        inner.dispatchEvent(new inner.MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
