// Browsers start no web worker for a page that is read from a disk, and the search needs one: a hidden frame takes its
// place. Material for MkDocs and Zensical would load a script of this name from another host.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.document.open();
      inside.document.write("<!doctype html><title>search</title><body></body>");
      inside.document.close();
      inside.postMessage = (data) => setTimeout(() => this.tell(this, data));
      const script = inside.document.createElement("script");
      script.src = new URL(url, location.href);
      script.onload = () => {
        this.waiting.forEach((data) => this.tell(inside, data));
        this.waiting = null;
      };
      script.onerror = () => this.dispatchEvent(new ErrorEvent("error", { message: `cannot be read: ${url}` }));
      inside.document.body.append(script);
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else setTimeout(() => this.tell(this.frame.contentWindow, data));
    }

    terminate() {
      this.frame.remove();
    }

    tell(whom, data) {
      const event = new MessageEvent("message", { data });
      whom.dispatchEvent(event);
      if (whom === this) this.onmessage?.(event);
    }
  };
}
