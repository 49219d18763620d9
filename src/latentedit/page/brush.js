// The restore brush: what is painted shows the original at once. The strokes, in the original's pixels, are in a hidden
// text box, which the server reads: a list of [radius, x, y, x, y, ...].
customElements.define("latentedit-brush", class extends HTMLElement {
  connectedCallback() {
    const find = (name) => this.querySelector(name);
    [this.canvas, this.range, this.undo, this.clear] = ["canvas", "input", ".undo", ".clear"].map(find);
    this.images = [...this.querySelectorAll("img")];
    this.box = document.querySelector("#le-strokes :is(input, textarea)");
    const listen = (name, act) => this.canvas.addEventListener(name, act.bind(this));
    listen("pointerdown", this.start);
    listen("pointermove", this.move);
    listen("pointerup", this.end);
    listen("pointercancel", () => { this.line = null; this.draw(); });
    listen("pointerleave", () => { this.at = null; this.draw(); });
    listen("keydown", this.press);
    listen("blur", () => { this.at = null; this.draw(); });
    this.range.addEventListener("input", () => this.draw());
    this.undo.addEventListener("click", () => this.send(this.strokes.slice(0, -1)));
    this.clear.addEventListener("click", () => this.send([]));
    for (const image of this.images) image.addEventListener("load", () => this.draw());  // also when gradio replaces it
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  get size() { return [Number(this.dataset.width), Number(this.dataset.height)]; }

  get strokes() { return JSON.parse(this.box.value || "[]"); }

  get radius() { return this.range.value / 200 * Math.max(...this.size); }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const shares = [(event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height];
    return shares.map((share, axis) => share * this.size[axis]);
  }

  start(event) {
    if (!event.isPrimary || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.line = [this.radius, ...this.place(event)];
    this.move(event);
  }

  move(event) {
    const [x, y] = this.at = this.place(event);
    if (this.line && Math.hypot(x - this.line.at(-2), y - this.line.at(-1)) > this.radius / 4) this.line.push(x, y);
    this.draw();
  }

  end() {
    if (this.line) this.send([...this.strokes, this.line]);
  }

  press(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, step = steps[event.key];
    if (event.ctrlKey || event.metaKey || !(step || event.key === " ")) return;
    event.preventDefault();
    const inside = (one, axis) => Math.min(Math.max(one + step[axis] * this.radius, 0), this.size[axis]);
    if (!this.at) this.at = this.size.map((side) => side / 2);  // the first key shows where it is
    else if (step) this.at = this.at.map(inside);
    else this.send([...this.strokes, [this.radius, ...this.at]]);
    this.draw();
  }

  send(strokes) {
    const rounded = strokes.map((line) => line.map((number) => Math.round(10 * number) / 10));
    this.line = null;
    this.box.value = strokes.length ? JSON.stringify(rounded) : "";
    this.box.dispatchEvent(new Event("input", { bubbles: true }));
    this.dispatchEvent(new Event("paint", { bubbles: true }));
    this.draw();
  }

  draw() {
    const { canvas, images: [original, kept], size: [width] } = this, pen = canvas.getContext("2d");
    const scale = canvas.width / width, px = canvas.width / canvas.clientWidth || 1;  // of the original; of the screen
    const lines = this.line ? [...this.strokes, this.line] : this.strokes;
    if (!this.images.every((image) => image.complete && image.naturalWidth)) return;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(kept, 0, 0, canvas.width, canvas.height);
    const pattern = pen.createPattern(original, "no-repeat");
    pattern.setTransform(new DOMMatrix().scale(canvas.width / original.naturalWidth, canvas.height / original.naturalHeight));
    pen.lineCap = pen.lineJoin = "round";
    for (const [style, edge, how] of [
      ["#000", 2.5, "source-over"], ["#fff", 1.25, "source-over"], ["#000", 0, "destination-out"], [pattern, 0, "source-over"],
    ]) {
      Object.assign(pen, { strokeStyle: style, globalCompositeOperation: how });
      for (const [radius, x, y, ...rest] of lines) {
        pen.lineWidth = 2 * (radius * scale + edge * px);
        pen.beginPath();
        pen.moveTo(x * scale, y * scale);
        pen.lineTo(x * scale + 0.01, y * scale);  // a line without length would not be drawn
        for (let i = 0; i < rest.length; i += 2) pen.lineTo(rest[i] * scale, rest[i + 1] * scale);
        pen.stroke();
      }
    }
    for (const [style, line] of this.at ? [["#000", 3.5], ["#fff", 1.5]] : []) {
      Object.assign(pen, { strokeStyle: style, lineWidth: line * px });
      pen.beginPath();
      pen.arc(this.at[0] * scale, this.at[1] * scale, this.radius * scale, 0, 2 * Math.PI);
      pen.stroke();
    }
  }
});
