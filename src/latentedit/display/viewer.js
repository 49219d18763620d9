// The element: its parts, what a person does with them, and what is seen. Every text goes in as text.

const STYLE = "viewer.css";
const PIXELATED = 4; // screen pixels a pixel from which single pixels are shown
const LARGEST = 32; // screen pixels a pixel
const CLOSE = 0.005; // strengths nearer to a rendered one than this are that one
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

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

class Viewer extends HTMLElement {
  async connectedCallback() {
    if (this.shadowRoot) return;
    if (document.readyState === "loading") {
      await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true })); // data follow
    }
    this.told = JSON.parse(this.querySelector("script").textContent);
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
    this.zoom = 1;
    this.centre = [0.5, 0.5];
    this.cut = 0.5;
    this.build();
    this.pictures = await Pictures.open(this.told);
    this.listen();
    this.compare();
    this.go(this.snapped(this.told.start, CLOSE));
    this.parts.inert = false;
    this.setAttribute("ready", "");
  }

  build() {
    const { told } = this, [width, height] = told.size, strengths = told.frames.map((frame) => frame.strength);
    const [low, high] = [strengths[0], strengths[strengths.length - 1]];
    const canvas = (name) => make("canvas", { class: name, width, height, "aria-hidden": "true" });
    this.before = canvas("before");
    this.after = canvas("after");
    this.plane = make("div", { class: "plane" }, this.before, this.after);
    this.wipe = make("input", {
      type: "range", class: "wipe", min: 0, max: 100, step: 1, value: 50,
      "aria-label": "Wipe: percent of the width that shows the original",
    });
    this.bar = make("div", { class: "bar", "aria-hidden": "true" }, make("span"));
    this.tags = [make("span", { class: "tag left" }, "original"), make("span", { class: "tag right" }, "edit")];
    this.stage = make(
      "div",
      { class: "stage", role: "group", "aria-label": `${told.title}: original left of the wipe, edit right of it` },
      this.plane, this.wipe, this.bar, ...this.tags,
    );
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.slider = make("input", { type: "range", class: "slider", min: low, max: high, step: "any", "aria-label": "Strength" });
    this.number = make("input", { type: "number", class: "number", min: low, max: high, step: 0.01, "aria-label": "Strength, as a number" });
    const tick = (one) => {
      const node = make("i");
      node.style.left = `${(100 * (one - low)) / (high - low)}%`;
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
    const main = make("div", { class: "main" }, this.stage, this.strength, this.tools());
    this.parts = make("section", { class: "viewer", "aria-label": told.title, inert: "" }, main, this.facts());
    this.shadowRoot.append(this.parts);
  }

  tools() {
    const { others } = this.told;
    this.hold = button("hold", "Original", "Hold to see the original (O)", { "aria-pressed": "false" });
    this.differ = button("differ", `Difference ×${GAIN}`, `Difference, times ${GAIN} (D)`, { "aria-pressed": "false" });
    this.out = button("out", "−", "Zoom out (−)");
    this.fit = button("fit", "Fit", "Show the whole picture (0)");
    this.into = button("in", "+", "Zoom in (+)");
    this.keep = button("keep", "Save picture", "Save the picture at this strength, as PNG");
    this.note = button("note", "Save record", "Save how it was made, as JSON");
    const options = ["original", ...others.map((one) => one.name)].map((name, i) => make("option", { value: i }, name));
    this.other = make("select", { class: "other", "aria-label": "Compare with" }, ...options);
    const against = others.length ? [make("label", { class: "against" }, "against ", this.other)] : [];
    const group = (label, ...some) => make("div", { class: "group", role: "group", "aria-label": label }, ...some);
    return make("div", { class: "tools" },
      group("Compare", this.hold, this.differ), ...against,
      group("Zoom", this.out, this.fit, this.into),
      ...(this.told.saves ? [group("Save", this.keep, ...(this.told.between.length ? [this.note] : []))] : []),
    );
  }

  facts() {
    const { captions, notes } = this.told;
    this.lines = make("ul", { class: "lines" });
    this.when = make("h3", {}, "What changed");
    const parts = [make("h2", {}, this.told.title), this.status, this.when, this.lines];
    if (captions.length) {
      const said = make("dl", { class: "captions" }, make("dt", {}, "from"), marked("del", captions[0]));
      if (captions[1].length) said.append(make("dt", {}, "to"), marked("ins", captions[1]));
      parts.push(make("h3", {}, "Captions"), said);
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
    this.keep.addEventListener("click", () => this.savePicture());
    this.note.addEventListener("click", () => this.saveRecord());
    stage.addEventListener("pointerdown", (event) => this.drag(event));
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    const alone = document.querySelectorAll("latentedit-viewer").length === 1; // then keys need no click
    const heard = alone ? document : this.shadowRoot;
    heard.addEventListener("keydown", (event) => this.shortcut(event));
    heard.addEventListener("keyup", (event) => event.key.toLowerCase() === "o" && this.original(false));
    new ResizeObserver(() => this.place()).observe(stage);
    new ResizeObserver(() => this.announce()).observe(document.documentElement);
  }

  // ---- strength

  snapped(value, radius) {
    const { strengths } = this.pictures, last = strengths[strengths.length - 1];
    const near = strengths.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));
    if (Math.abs(near - value) < Math.max(radius, CLOSE)) return near;
    return within(Math.round(100 * value) / 100, strengths[0], last);
  }

  stepped(event) {
    const { strengths } = this.pictures, inBox = event.target === this.number;
    const beside = (sign) => {
      const further = strengths.filter((one) => sign * (one - this.value) > 1e-9);
      return further.length ? (sign > 0 ? further[0] : further[further.length - 1]) : this.value;
    };
    const hundredth = (sign) => this.snapped(Math.round(100 * this.value + sign) / 100, CLOSE);
    const moves = {
      PageUp: () => beside(1), PageDown: () => beside(-1), ArrowUp: () => hundredth(1), ArrowDown: () => hundredth(-1),
      ...(inBox ? {} : {
        ArrowRight: () => hundredth(1), ArrowLeft: () => hundredth(-1),
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
    this.paintEdit(this.pictures.show(value));
    this.tell();
  }

  tell() {
    const { told } = this, { low, high, share } = this.pictures.near(this.value);
    const nearest = told.frames[share > 0.5 ? high : low];
    const parts = [make("span", { class: "quiet" }, "strength"), make("strong", { class: "at" }, written(this.value))];
    if (share) {
      const [a, b] = [told.frames[low], told.frames[high]];
      parts.push(make("span", {}, `between ${written(a.strength)} and ${written(b.strength)}: a blend of the two pictures, which the model did not make`));
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

  // A page around this one, as that of `latentedit app`, hears where the slider stands and how high this page is.
  announce() {
    if (parent === window) return;
    const height = document.documentElement.offsetHeight;
    parent.postMessage({ latentedit: { strength: this.value, height } }, "*");
  }

  // ---- what is seen

  paint(canvas, rgba, box) {
    canvas.getContext("2d").putImageData(new ImageData(rgba, ...this.told.size), 0, 0, ...box);
  }

  // What has changed inside a box: the edit, or its difference from what it is compared with.
  paintEdit(box) {
    const { pictures } = this, differs = this.pressed(this.differ);
    this.paint(this.after, differs ? pictures.difference(this.against, box) : pictures.shown, box);
  }

  compare() {
    const index = Number(this.other.value), { pictures } = this;
    this.against = index ? pictures.whole(pictures.others[index - 1]) : pictures.source;
    this.tags[0].textContent = index ? this.told.others[index - 1].name : "original";
    this.paint(this.before, this.against, [0, 0, ...this.told.size]);
    this.repaint();
  }

  repaint() {
    this.paintEdit([0, 0, ...this.told.size]);
    this.place();
  }

  pressed(one) {
    return one.getAttribute("aria-pressed") === "true";
  }

  press(one, on = !this.pressed(one)) {
    one.setAttribute("aria-pressed", on);
    this.repaint();
  }

  original(on) {
    if (this.pressed(this.hold) !== on) this.press(this.hold, on);
  }

  held(one) {
    const isKey = (event) => event.key === " " || event.key === "Enter";
    one.addEventListener("pointerdown", (event) => { one.setPointerCapture(event.pointerId); this.original(true); });
    for (const name of ["pointerup", "pointercancel", "blur"]) one.addEventListener(name, () => this.original(false));
    one.addEventListener("keydown", (event) => { if (isKey(event)) { event.preventDefault(); this.original(true); } });
    one.addEventListener("keyup", (event) => isKey(event) && this.original(false));
    one.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  // ---- where it is seen

  split(share) {
    this.cut = within(share, 0, 1);
    this.wipe.value = Math.round(100 * this.cut);
    this.place();
  }

  // Screen pixels a pixel, and where the picture and what is seen of it lie in the stage.
  geometry() {
    const [width, height] = this.told.size, { clientWidth: w, clientHeight: h } = this.stage;
    const whole = Math.min(w / width, h / height);
    const scale = Math.min(whole * this.zoom, Math.max(whole, LARGEST));
    const corner = (size, room, centre) =>
      size * scale <= room + 0.5 ? (room - size * scale) / 2 : within(room / 2 - centre * size * scale, room - size * scale, 0);
    const left = corner(width, w, this.centre[0]), top = corner(height, h, this.centre[1]);
    const seen = [Math.max(0, left), Math.min(w, left + width * scale)];
    return { whole, scale, left, top, seen, width: width * scale, height: height * scale };
  }

  place() {
    const { whole, scale, left, top, seen, width, height } = this.geometry();
    const { plane, bar, stage } = this, whole_edit = this.pressed(this.differ), alone = this.pressed(this.hold);
    Object.assign(plane.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${left}px, ${top}px)` });
    const x = seen[0] + this.cut * (seen[1] - seen[0]), at = alone ? width : whole_edit ? 0 : x - left;
    this.before.style.clipPath = `inset(0 ${width - at}px 0 0)`;
    this.after.style.clipPath = `inset(0 0 0 ${at}px)`;
    bar.style.transform = `translateX(${x}px)`;
    bar.style.top = `${Math.max(0, top)}px`;
    bar.style.height = `${Math.min(stage.clientHeight, height)}px`;
    stage.classList.toggle("single", whole_edit || alone);
    stage.classList.toggle("pixels", scale >= PIXELATED && this.zoom > 1);
    stage.classList.toggle("zoomed", this.zoom > 1);
    this.tags[0].style.left = `${seen[0]}px`;
    this.tags[1].style.right = `${stage.clientWidth - seen[1]}px`;
    this.tags.forEach((tag) => (tag.style.top = `${Math.max(0, top)}px`));
    this.tags[0].hidden = whole_edit && !alone;
    this.tags[1].hidden = alone;
    this.tags[1].textContent = whole_edit ? `difference ×${GAIN}` : "edit";
    this.fit.textContent = this.zoom > 1 ? `${Math.round(100 * scale)} %` : "Fit";
    this.out.disabled = this.zoom <= 1;
    this.into.disabled = scale >= Math.max(whole, LARGEST) - 1e-6;
  }

  // Zoom by a factor about a place in the stage, its middle by default; by 0: back to the whole picture.
  scaled(factor, place = null) {
    const { whole, scale, left, top } = this.geometry(), { stage } = this, [width, height] = this.told.size;
    const [x, y] = place ?? [stage.clientWidth / 2, stage.clientHeight / 2];
    const [u, v] = [(x - left) / scale, (y - top) / scale];
    this.zoom = factor ? within((scale / whole) * factor, 1, Math.max(1, LARGEST / whole)) : 1;
    const next = whole * this.zoom;
    this.centre = [(u + (stage.clientWidth / 2 - x) / next) / width, (v + (stage.clientHeight / 2 - y) / next) / height];
    if (this.zoom === 1) this.centre = [0.5, 0.5];
    this.place();
  }

  wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = this.stage.getBoundingClientRect();
    this.scaled(Math.exp(-event.deltaY / 300), [event.clientX - box.left, event.clientY - box.top]);
  }

  // Near the bar, and everywhere while the whole picture is seen, a drag moves the wipe; else the picture.
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
        const [width, height] = this.told.size;
        this.centre = [this.centre[0] - (next.clientX - x) / (scale * width), this.centre[1] - (next.clientY - y) / (scale * height)];
        [x, y] = [next.clientX, next.clientY];
        this.place();
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

  // ---- what is kept

  get file() {
    return `${this.told.name}.${fixed(this.value)}`;
  }

  // What a picture is that was not rendered.
  get origin() {
    const { low, high, share } = this.pictures.near(this.value), { frames } = this.told;
    return share ? `a blend of the pictures at ${written(frames[low].strength)} and ${written(frames[high].strength)}` : "the original";
  }

  async savePicture() {
    const { told } = this, { low, share } = this.pictures.near(this.value);
    const comment = () => chunk("tEXt", new TextEncoder().encode(`Comment\0${this.origin}`));
    const own = share ? [comment()] : [bytesOf(told.frames[low].chunks)];
    const blob = await encode(this.pictures.shown, told.size, told.alpha, [bytesOf(told.profile), ...own]);
    this.save(blob, `${this.file}.png`);
  }

  saveRecord() {
    const { told, file } = this, { low, share } = this.pictures.near(this.value);
    let text = told.frames[low].record;
    if (share || !text) {
      const exact = `latentedit replay ${file}.png, with this file beside it, makes the exact one`;
      const [first, second, third] = told.between;
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
