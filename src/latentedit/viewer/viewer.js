// The custom element: its parts, input and display. Every text is inserted as a text node.

const STYLE = "viewer.css";
const PIXELATED = 4; // from so many screen pixels per image pixel on, images are not interpolated
const LARGEST = 32; // largest zoom, in screen pixels per image pixel
const CLOSE = 0.005; // strengths within this distance of a rendered one are that one
const SNAP = 0.012; // share of the slider within which a dragged thumb snaps to a rendered strength

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const button = (name, text, label, more = {}) =>
  make("button", { type: "button", class: name, "aria-label": label, title: label, ...more }, text);

const written = (value) => String(Number(value.toFixed(2)));
const fixed = (value) => value.toFixed(2);
const within = (value, low, high) => Math.min(high, Math.max(low, value));

const marked = (tag, pieces) => {
  const parts = pieces.map(([text, changed]) => [changed, ...text.match(/^(.*?)([\s,]*)$/s).slice(1)]);
  return make("dd", {}, ...parts.flatMap(([changed, words, rest]) => [changed ? make(tag, {}, words) : words, rest]));
};

const mark = ([number, x, y]) => {
  const node = make("span", { class: "mark", "aria-hidden": "true" }, String(number));
  Object.assign(node.style, { left: `${100 * x}%`, top: `max(0.8em, ${100 * y}%)` });
  return node;
};

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

class Viewer extends HTMLElement {
  async connectedCallback() {
    if (this.shadowRoot) return;
    if (document.readyState === "loading") {
      await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true })); // the data element follows
    }
    this.view = JSON.parse(this.querySelector("script").textContent);
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
    this.zoom = 1;
    this.center = [0.5, 0.5];
    this.cut = this.view.cut;
    this.build();
    this.images = await Images.open(this.view);
    this.listen();
    this.compare();
    this.go(this.snapped(this.view.start, CLOSE));
    this.parts.inert = false;
    this.setAttribute("ready", "");
  }

  build() {
    const { view } = this, [width, height] = view.size, strengths = view.frames.map((frame) => frame.strength);
    const [low, high] = [strengths[0], strengths[strengths.length - 1]];
    const canvas = (name) => make("canvas", { class: name, width, height, "aria-hidden": "true" });
    this.before = canvas("before");
    this.after = canvas("after");
    this.plane = make("div", { class: "plane" }, this.before, this.after, ...view.marks.map(mark));
    this.wipe = make("input", {
      type: "range", class: "wipe", min: 0, max: 100, step: 1, value: Math.round(100 * this.cut),
      "aria-label": "Wipe: share of the width that shows the original, in percent",
    });
    this.bar = make("div", { class: "bar", "aria-hidden": "true" }, make("span"));
    this.tags = [make("span", { class: "tag left" }, "original"), make("span", { class: "tag right" }, view.label)];
    this.stage = make(
      "div",
      { class: "stage", role: "group", "aria-label": `${view.title}: original to the left of the wipe, ${view.label} image to the right` },
      this.plane, this.wipe, this.bar, ...this.tags,
    );
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.slider = make("input", { type: "range", class: "slider", min: low, max: high, step: "any", "aria-label": "Strength" });
    this.number = make("input", { type: "number", class: "number", min: low, max: high, step: 0.01, "aria-label": "Strength as a number" });
    const tick = (strength) => {
      const node = make("i");
      node.style.left = `${(100 * (strength - low)) / (high - low)}%`;
      return node;
    };
    this.strength = make(
      "div",
      { class: "strength" },
      make("span", { class: "name", "aria-hidden": "true" }, "Strength"),
      make("div", { class: "rail" }, this.slider, make("div", { class: "ticks", "aria-hidden": "true" }, ...strengths.map(tick))),
      this.number,
    );
    this.status = make("p", { class: "status", "aria-live": "polite" });
    const keys = make("p", { class: "keys" }, "Keys: arrows strength, O original, D difference, + and − zoom, 0 fit");
    const main = make("div", { class: "main" }, this.stage, this.strength, this.tools(), keys);
    this.parts = make("section", { class: "viewer", "aria-label": view.title, inert: "" }, main, this.facts());
    this.shadowRoot.append(this.parts);
  }

  tools() {
    const { others } = this.view;
    this.hold = button("hold", "Original", "Hold to see the original (O)", { "aria-pressed": "false" });
    this.differ = button("differ", `Difference ×${GAIN}`, `Difference, amplified ${GAIN} times (D)`, { "aria-pressed": "false" });
    this.out = button("out", "−", "Zoom out (−)");
    this.fit = button("fit", "Fit", "Fit to the window (0)");
    this.into = button("in", "+", "Zoom in (+)");
    this.keep = button("keep", "Save image", "Save the image at this strength as PNG");
    this.note = button("note", "Save record", "Save the record of this edit as JSON");
    const options = ["original", ...others.map((other) => other.name)].map((name, i) => make("option", { value: i }, name));
    this.other = make("select", { class: "other", "aria-label": "Compare with" }, ...options);
    const against = others.length ? [make("label", { class: "against" }, "with ", this.other)] : [];
    const group = (label, ...some) => make("div", { class: "group", role: "group", "aria-label": label }, ...some);
    return make("div", { class: "tools" },
      group("Compare", this.hold, this.differ), ...against,
      group("Zoom", this.out, this.fit, this.into),
      ...(this.view.saves ? [group("Save", this.keep, ...(this.view.between.length ? [this.note] : []))] : []),
    );
  }

  facts() {
    const { captions, notes } = this.view;
    this.lines = make("ul", { class: "lines" });
    this.when = make("h3", {}, "What changed");
    const parts = [make("h2", {}, this.view.title), this.status, this.when, this.lines];
    if (captions.length) {
      const list = make("dl", { class: "captions" }, make("dt", {}, "source"), marked("del", captions[0]));
      if (captions[1].length) list.append(make("dt", {}, "target"), marked("ins", captions[1]));
      parts.push(make("h3", {}, "Captions"), list);
    }
    if (notes.length) parts.push(make("ul", { class: "notes" }, ...notes.map((note) => make("li", {}, note))));
    return make("div", { class: "facts" }, ...parts);
  }

  listen() {
    const { slider, number, stage } = this;
    slider.addEventListener("input", () => this.go(this.snapped(Number(slider.value), SNAP * (slider.max - slider.min))));
    slider.addEventListener("keydown", (event) => this.stepped(event));
    number.addEventListener("input", () => number.value !== "" && this.go(this.snapped(Number(number.value), CLOSE), false));
    number.addEventListener("change", () => this.go(this.value));
    number.addEventListener("keydown", (event) => this.stepped(event));
    this.wipe.addEventListener("input", () => this.split(this.wipe.value / 100));
    this.other.addEventListener("change", () => this.compare());
    this.held(this.hold);
    this.differ.addEventListener("click", () => this.press(this.differ));
    this.into.addEventListener("click", () => this.scaled(2));
    this.out.addEventListener("click", () => this.scaled(1 / 2));
    this.fit.addEventListener("click", () => this.scaled(0));
    this.keep.addEventListener("click", () => this.saveImage());
    this.note.addEventListener("click", () => this.saveRecord());
    stage.addEventListener("pointerdown", (event) => this.drag(event));
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    const alone = document.querySelectorAll("latentedit-viewer").length === 1; // then shortcuts work without a click
    const heard = alone ? document : this.shadowRoot;
    heard.addEventListener("keydown", (event) => this.shortcut(event));
    heard.addEventListener("keyup", (event) => event.key.toLowerCase() === "o" && this.original(false));
    new ResizeObserver(() => this.layout()).observe(stage);
    new ResizeObserver(() => this.announce()).observe(document.documentElement);
  }

  // ---- strength

  snapped(value, radius) {
    const { strengths } = this.images, last = strengths[strengths.length - 1];
    const near = strengths.reduce((best, next) => (Math.abs(next - value) < Math.abs(best - value) ? next : best));
    if (this.view.steps || Math.abs(near - value) < Math.max(radius, CLOSE)) return near;
    return within(Math.round(100 * value) / 100, strengths[0], last);
  }

  stepped(event) {
    const { strengths } = this.images, inBox = event.target === this.number;
    const rendered = (sign) => {
      const further = strengths.filter((strength) => sign * (strength - this.value) > 1e-9);
      return further.length ? (sign > 0 ? further[0] : further[further.length - 1]) : this.value;
    };
    const next = (sign) => (this.view.steps ? rendered(sign) : this.snapped(Math.round(100 * this.value + sign) / 100, CLOSE));
    const moves = {
      PageUp: () => rendered(1), PageDown: () => rendered(-1), ArrowUp: () => next(1), ArrowDown: () => next(-1),
      ...(inBox ? {} : {
        ArrowRight: () => next(1), ArrowLeft: () => next(-1),
        Home: () => strengths[0], End: () => strengths[strengths.length - 1],
      }),
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.go(moves[event.key]());
  }

  go(value, fill = true) {
    this.value = value;
    this.slider.value = value;
    if (fill) this.number.value = written(value);
    this.paintEdit(this.images.show(value));
    this.showStatus();
  }

  showStatus() {
    const { view } = this, { low, high, share } = this.images.near(this.value);
    const nearest = view.frames[share > 0.5 ? high : low];
    const parts = [make("span", { class: "quiet" }, "strength"), make("strong", { class: "at" }, written(this.value))];
    if (share) {
      const [a, b] = [view.frames[low], view.frames[high]];
      const made = view.between.length ? ", not an output of the model" : "";
      parts.push(make("span", {}, `a blend of the images at ${written(a.strength)} and ${written(b.strength)}${made}`));
      if (a.verdict && b.verdict) parts.push(make("span", { class: "quiet" }, `${written(a.strength)}: ${a.verdict}; ${written(b.strength)}: ${b.verdict}`));
    } else if (nearest.strength === 0) {
      parts.push(make("span", {}, "the original"));
    } else {
      if (nearest.verdict) parts.push(make("span", { class: "verdict", "data-word": nearest.verdict }, nearest.verdict));
      if (nearest.reason) parts.push(make("span", { class: "quiet reason" }, nearest.reason));
    }
    this.status.replaceChildren(...parts.flatMap((part) => [part, " "]));
    this.slider.setAttribute("aria-valuetext", this.status.textContent.trim());
    const lines = nearest.strength === 0 ? [] : nearest.lines;
    this.when.hidden = !lines.length;
    this.when.textContent = share ? `What changed at ${written(nearest.strength)}` : "What changed";
    this.lines.replaceChildren(...lines.map((line) => make("li", {}, line)));
    this.announce();
  }

  // Report strength and height to an enclosing page, such as that of `latentedit app`.
  announce() {
    if (parent === window) return;
    const height = document.documentElement.offsetHeight;
    parent.postMessage({ latentedit: { strength: this.value, height } }, "*");
  }

  // ---- painting

  paint(canvas, rgba, box) {
    canvas.getContext("2d").putImageData(new ImageData(rgba, ...this.view.size), 0, 0, ...box);
  }

  // Repaint a box of the edited image, or of its difference from the reference.
  paintEdit(box) {
    const { images } = this, differs = this.pressed(this.differ);
    this.paint(this.after, differs ? images.difference(this.against, box) : images.shown, box);
  }

  compare() {
    const index = Number(this.other.value), { images } = this;
    this.against = index ? images.full(images.others[index - 1]) : images.source;
    this.tags[0].textContent = index ? this.view.others[index - 1].name : "original";
    this.paint(this.before, this.against, [0, 0, ...this.view.size]);
    this.repaint();
  }

  repaint() {
    this.paintEdit([0, 0, ...this.view.size]);
    this.layout();
  }

  pressed(node) {
    return node.getAttribute("aria-pressed") === "true";
  }

  press(node, on = !this.pressed(node)) {
    node.setAttribute("aria-pressed", on);
    this.repaint();
  }

  original(on) {
    if (this.pressed(this.hold) !== on) this.press(this.hold, on);
  }

  held(node) {
    const isKey = (event) => event.key === " " || event.key === "Enter";
    node.addEventListener("pointerdown", (event) => { node.setPointerCapture(event.pointerId); this.original(true); });
    for (const name of ["pointerup", "pointercancel", "blur"]) node.addEventListener(name, () => this.original(false));
    node.addEventListener("keydown", (event) => { if (isKey(event)) { event.preventDefault(); this.original(true); } });
    node.addEventListener("keyup", (event) => isKey(event) && this.original(false));
    node.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  // ---- wipe, zoom and pan

  split(share) {
    this.cut = within(share, 0, 1);
    this.wipe.value = Math.round(100 * this.cut);
    this.layout();
  }

  // Screen pixels per image pixel, and the positions of the image and of its visible part in the stage.
  geometry() {
    const [width, height] = this.view.size, { clientWidth: w, clientHeight: h } = this.stage;
    const fitted = Math.min(w / width, h / height);
    const scale = Math.min(fitted * this.zoom, Math.max(fitted, LARGEST));
    const corner = (size, room, center) =>
      size * scale <= room + 0.5 ? (room - size * scale) / 2 : within(room / 2 - center * size * scale, room - size * scale, 0);
    const left = corner(width, w, this.center[0]), top = corner(height, h, this.center[1]);
    const seen = [Math.max(0, left), Math.min(w, left + width * scale)];
    return { fitted, scale, left, top, seen, width: width * scale, height: height * scale };
  }

  layout() {
    const { fitted, scale, left, top, seen, width, height } = this.geometry();
    const { plane, bar, stage } = this, differs = this.pressed(this.differ), alone = this.pressed(this.hold);
    Object.assign(plane.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${left}px, ${top}px)` });
    const x = seen[0] + this.cut * (seen[1] - seen[0]), at = alone ? width : differs ? 0 : x - left;
    this.before.style.clipPath = `inset(0 ${width - at}px 0 0)`;
    this.after.style.clipPath = `inset(0 0 0 ${at}px)`;
    bar.style.transform = `translateX(${x}px)`;
    bar.style.top = `${Math.max(0, top)}px`;
    bar.style.height = `${Math.min(stage.clientHeight, height)}px`;
    stage.classList.toggle("single", differs || alone);
    stage.classList.toggle("pixels", scale >= PIXELATED && this.zoom > 1);
    stage.classList.toggle("zoomed", this.zoom > 1);
    this.tags[0].style.left = `${seen[0]}px`;
    this.tags[1].style.right = `${stage.clientWidth - seen[1]}px`;
    this.tags.forEach((tag) => (tag.style.top = `${Math.max(0, top)}px`));
    this.tags[0].hidden = differs && !alone;
    this.tags[1].hidden = alone;
    this.tags[1].textContent = differs ? `difference ×${GAIN}` : this.view.label;
    this.fit.textContent = this.zoom > 1 ? `${Math.round(100 * scale)} %` : "Fit";
    this.out.disabled = this.zoom <= 1;
    this.into.disabled = scale >= Math.max(fitted, LARGEST) - 1e-6;
  }

  // Zoom by a factor about a point of the stage, by default its center; 0 fits the image to the stage.
  scaled(factor, point = null) {
    const { fitted, scale, left, top } = this.geometry(), { stage } = this, [width, height] = this.view.size;
    const [x, y] = point ?? [stage.clientWidth / 2, stage.clientHeight / 2];
    const [u, v] = [(x - left) / scale, (y - top) / scale];
    this.zoom = factor ? within((scale / fitted) * factor, 1, Math.max(1, LARGEST / fitted)) : 1;
    const next = fitted * this.zoom;
    this.center = [(u + (stage.clientWidth / 2 - x) / next) / width, (v + (stage.clientHeight / 2 - y) / next) / height];
    if (this.zoom === 1) this.center = [0.5, 0.5];
    this.layout();
  }

  wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = this.stage.getBoundingClientRect();
    this.scaled(Math.exp(-event.deltaY / 300), [event.clientX - box.left, event.clientY - box.top]);
  }

  // A drag moves the wipe, or, in a zoomed image and not near the bar, the image.
  drag(event) {
    if (event.button !== 0 || event.target === this.wipe) return;
    event.preventDefault();
    const box = this.stage.getBoundingClientRect(), { seen, scale } = this.geometry();
    const bar = seen[0] + this.cut * (seen[1] - seen[0]);
    const wipes = !this.stage.classList.contains("single") && (this.zoom <= 1 || Math.abs(event.clientX - box.left - bar) < 24);
    let [x, y] = [event.clientX, event.clientY];
    const move = (next) => {
      if (wipes) this.split((next.clientX - box.left - seen[0]) / (seen[1] - seen[0]));
      else if (this.zoom > 1) {
        const [width, height] = this.view.size;
        this.center = [this.center[0] - (next.clientX - x) / (scale * width), this.center[1] - (next.clientY - y) / (scale * height)];
        [x, y] = [next.clientX, next.clientY];
        this.layout();
      }
    };
    this.stage.setPointerCapture(event.pointerId);
    this.stage.addEventListener("pointermove", move);
    const done = () => this.stage.removeEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.stage.addEventListener(name, done, { once: true });
    if (wipes) this.wipe.focus({ preventScroll: true });
    move(event);
  }

  shortcut(event) {
    const [target] = event.composedPath(), typing = target.matches?.("input:not([type=range]), select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^Arrow(Left|Right)$/.test(event.key) && !target.matches?.("input")) this.stepped(event); // up and down scroll
    const acts = {
      "+": () => this.scaled(2), "=": () => this.scaled(2), "-": () => this.scaled(1 / 2), 0: () => this.scaled(0),
      d: () => this.press(this.differ), o: () => this.original(true),
    };
    const act = acts[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // ---- saving

  get file() {
    return `${this.view.name}.${fixed(this.value)}`;
  }

  // Describes an image that was not rendered.
  get origin() {
    const { low, high, share } = this.images.near(this.value), { frames } = this.view;
    return share ? `a blend of the images at ${written(frames[low].strength)} and ${written(frames[high].strength)}` : "the original";
  }

  async saveImage() {
    const { view } = this, { low, share } = this.images.near(this.value);
    const profile = view.profile ? [chunk("iCCP", bytesOf(view.profile))] : [];
    const own = share
      ? [chunk("tEXt", new TextEncoder().encode(`Comment\0${this.origin}`))]
      : view.frames[low].chunks.map(([kind, content]) => chunk(kind, bytesOf(content)));
    const blob = await encode(this.images.shown, view.size, view.alpha, [...profile, ...own]);
    this.save(blob, `${this.file}.png`);
  }

  saveRecord() {
    const { view, file } = this, { low, share } = this.images.near(this.value);
    let text = view.frames[low].record;
    if (share || !text) {
      const exact = `latentedit replay ${file}.png, with this file in the same folder, renders the exact image`;
      const [first, second, third] = view.between;
      text = first + JSON.stringify(`${this.origin}; ${exact}`) + second + this.value + third;
    }
    this.save(new Blob([text], { type: "application/json" }), `${file}.json`);
  }

  save(blob, name) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
}

if (!customElements.get("latentedit-viewer")) customElements.define("latentedit-viewer", Viewer);
