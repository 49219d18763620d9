"use strict";
(() => {
  const STYLE = "viewer.css";
  const GAIN = 4; // of the difference view
  const PIXELATED = 4; // screen pixels a pixel from which single pixels are shown
  const LARGEST = 32; // screen pixels a pixel
  const CLOSE = 0.005; // strengths nearer to a rendered one than this are that one
  const SNAP = 0.012; // share of the slider within which a dragged thumb snaps to a rendered strength

  // ---- bytes and PNG: exact pixels pass through no canvas on their way in or out, where browsers may change them

  const bytesOf = (text) => {
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
    return bytes;
  };

  const piped = async (bytes, through) =>
    new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(through)).arrayBuffer());

  // The samples of a PNG of eight bits without palette or interlacing, as Pillow writes grey and RGB.
  const decode = async (bytes) => {
    if (bytes[0] !== 137) return decodeByCanvas(bytes);
    const view = new DataView(bytes.buffer), parts = [];
    for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) {
      if (view.getUint32(at + 4) === 0x49444154) parts.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
    }
    const width = view.getUint32(16), height = view.getUint32(20), step = bytes[25] === 2 ? 3 : 1;
    const rows = await piped(await new Blob(parts).arrayBuffer(), new DecompressionStream("deflate"));
    const stride = width * step, samples = new Uint8Array(stride * height);
    for (let y = 0; y < height; y++) unfilter(rows, y * (stride + 1), samples, y * stride, stride, step, y > 0);
    return { samples, step };
  };

  // Of a WebP, which has lost levels before.
  const decodeByCanvas = async (bytes) => {
    const bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    return { samples: context.getImageData(0, 0, bitmap.width, bitmap.height).data, step: 4 };
  };

  const unfilter = (rows, from, samples, to, stride, step, above) => {
    const kind = rows[from++];
    for (let x = 0; x < stride; x++) {
      const a = x >= step ? samples[to + x - step] : 0;
      const b = above ? samples[to + x - stride] : 0;
      let guess = 0;
      if (kind === 1) guess = a;
      else if (kind === 2) guess = b;
      else if (kind === 3) guess = (a + b) >> 1;
      else if (kind === 4) {
        const c = above && x >= step ? samples[to + x - stride - step] : 0;
        const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
        guess = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      }
      samples[to + x] = rows[from + x] + guess;
    }
  };

  const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });

  const chunk = (kind, content) => {
    const bytes = new Uint8Array(12 + content.length), view = new DataView(bytes.buffer);
    view.setUint32(0, content.length);
    for (let i = 0; i < 4; i++) bytes[4 + i] = kind.charCodeAt(i);
    bytes.set(content, 8);
    let sum = -1;
    for (let i = 4; i < bytes.length - 4; i++) sum = TABLE[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
    view.setUint32(bytes.length - 4, sum ^ -1);
    return bytes;
  };

  // A PNG file of RGBA samples, with chunks that are ready to stand before its pixels.
  const encode = async (rgba, [width, height], alpha, chunks) => {
    const step = alpha ? 4 : 3, stride = 1 + width * step, rows = new Uint8Array(stride * height);
    for (let y = 0, from = 0; y < height; y++) {
      let to = y * stride + 1;
      rows[to - 1] = 1; // each sample less that to its left
      for (let x = 0; x < width; x++, from += 4, to += step) {
        for (let c = 0; c < step; c++) rows[to + c] = rgba[from + c] - (x ? rgba[from + c - 4] : 0);
      }
    }
    const head = new Uint8Array(13), view = new DataView(head.buffer);
    view.setUint32(0, width);
    view.setUint32(4, height);
    head.set([8, alpha ? 6 : 2, 0, 0, 0], 8);
    const pixels = await piped(rows, new CompressionStream("deflate"));
    const start = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
    const parts = [start, chunk("IHDR", head), ...chunks, chunk("IDAT", pixels), chunk("IEND", [])];
    return new Blob(parts, { type: "image/png" });
  };

  // ---- layers: the source whole, and of every other picture the box in which it differs

  const unpacked = async ({ box, rgb, alpha }, source, width) => {
    const [left, top, w, h] = box, data = new Uint8ClampedArray(w * h * 4);
    if (!data.length) return { box, data };
    const { samples: colours, step } = await decode(bytesOf(rgb));
    const opacity = alpha ? (await decode(bytesOf(alpha))).samples : null;
    for (let i = 0, y = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) {
        for (let c = 0; c < 3; c++) data[4 * i + c] = colours[step * i + c];
        data[4 * i + 3] = opacity ? opacity[i] : source ? source[4 * ((top + y) * width + left + x) + 3] : 255;
      }
    }
    return { box, data };
  };

  const union = (boxes) => {
    const some = boxes.filter(([, , w]) => w > 0);
    if (!some.length) return [0, 0, 0, 0];
    const left = Math.min(...some.map((b) => b[0])), top = Math.min(...some.map((b) => b[1]));
    const right = Math.max(...some.map((b) => b[0] + b[2])), bottom = Math.max(...some.map((b) => b[1] + b[3]));
    return [left, top, right - left, bottom - top];
  };

  // One picture on the way through the strengths.
  class Pictures {
    static async open(told) {
      const [width, height] = told.size;
      const { data: source } = await unpacked(told.source, null, width);
      const open = (layer) => unpacked(layer, source, width);
      const frames = await Promise.all(told.frames.map(open)), others = await Promise.all(told.others.map(open));
      return new Pictures(width, height, source, frames, others, told.frames.map((frame) => frame.strength));
    }

    constructor(width, height, source, frames, others, strengths) {
      Object.assign(this, { width, height, source, frames, others, strengths });
      this.shown = source.slice();
      this.differed = new Uint8ClampedArray(source.length);
      this.box = [0, 0, 0, 0];
    }

    // The rendered strengths on both sides, and how far it is from the first to the second.
    near(strength) {
      const high = this.strengths.findIndex((one) => one >= strength);
      if (this.strengths[high] === strength) return { low: high, high, share: 0 };
      const [a, b] = [this.strengths[high - 1], this.strengths[high]];
      return { low: high - 1, high, share: (strength - a) / (b - a) };
    }

    // Row y of the source with what of a layer lies in it.
    row(layer, y, out) {
      const [left, top, w, h] = layer.box, stride = 4 * this.width;
      out.set(this.source.subarray(y * stride, (y + 1) * stride));
      if (y >= top && y < top + h) out.set(layer.data.subarray(4 * (y - top) * w, 4 * (y - top + 1) * w), 4 * left);
      return out;
    }

    // Put the picture of a strength into `shown`; gives the box in which that changed.
    show(strength) {
      const { low, high, share } = this.near(strength), [a, b] = [this.frames[low], this.frames[high]];
      const next = union([a.box, b.box]), [left, top, w, h] = union([this.box, next]);
      const first = new Uint8ClampedArray(4 * this.width), second = new Uint8ClampedArray(4 * this.width);
      for (let y = top; y < top + h; y++) {
        this.row(a, y, first);
        if (share) {
          this.row(b, y, second);
          for (let i = 4 * left; i < 4 * (left + w); i++) first[i] += share * (second[i] - first[i]);
        }
        this.shown.set(first.subarray(4 * left, 4 * (left + w)), 4 * (y * this.width + left));
      }
      this.box = next;
      return [left, top, w, h];
    }

    whole(layer) {
      const out = new Uint8ClampedArray(this.source.length), stride = 4 * this.width;
      for (let y = 0; y < this.height; y++) this.row(layer, y, out.subarray(y * stride, (y + 1) * stride));
      return out;
    }

    // Put into `differed`, inside a box, how far `shown` is from another picture.
    difference(other, [left, top, w, h]) {
      const { shown, differed: out } = this;
      for (let y = top; y < top + h; y++) {
        for (let i = 4 * (y * this.width + left), end = i + 4 * w; i < end; i += 4) {
          for (let c = 0; c < 3; c++) out[i + c] = GAIN * Math.abs(shown[i + c] - other[i + c]);
          out[i + 3] = 255;
        }
      }
      return out;
    }
  }

  // ---- the page's parts; every text goes in as text

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
      this.go(this.start());
      this.setAttribute("ready", "");
    }

    // The whole change where it was made, else the strength nearest to it.
    start() {
      return this.pictures.strengths.reduce((best, one) => (Math.abs(one - 1) < Math.abs(best - 1) ? one : best));
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
      this.shadowRoot.append(make("section", { class: "viewer", "aria-label": told.title },
        make("div", { class: "main" }, this.stage, this.strength, this.tools()),
        this.facts(),
      ));
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
        group("Save", this.keep, ...(this.told.between.length ? [this.note] : [])),
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
      this.shadowRoot.addEventListener("keydown", (event) => this.shortcut(event));
      this.shadowRoot.addEventListener("keyup", (event) => event.key.toLowerCase() === "o" && this.original(false));
      new ResizeObserver(() => this.place()).observe(stage);
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
      const measured = (frame) => (frame.measured === null ? "" : fixed(frame.measured));
      const parts = [make("span", { class: "quiet" }, "strength"), make("strong", { class: "at" }, written(this.value))];
      if (share) {
        const [a, b] = [told.frames[low], told.frames[high]];
        parts.push(make("span", {}, `between ${written(a.strength)} and ${written(b.strength)}: a blend of the two pictures`));
        if (measured(a) && measured(b)) parts.push(make("span", { class: "quiet" }, `measured ${measured(a)} and ${measured(b)}`));
      } else if (nearest.strength === 0) {
        parts.push(make("span", {}, "the original"));
      } else {
        if (nearest.verdict) parts.push(make("span", { class: "verdict", "data-word": nearest.verdict }, nearest.verdict));
        if (measured(nearest)) parts.push(make("span", {}, `measured ${measured(nearest)}`));
        if (nearest.reason) parts.push(make("span", { class: "quiet reason" }, nearest.reason));
      }
      this.status.replaceChildren(...parts.flatMap((part) => [part, " "]));
      this.slider.setAttribute("aria-valuetext", this.status.textContent.trim());
      const lines = nearest.strength === 0 ? [] : nearest.lines;
      this.when.hidden = !lines.length;
      this.when.textContent = share ? `What changed at ${written(nearest.strength)}` : "What changed";
      this.lines.replaceChildren(...lines.map((line) => make("li", {}, line)));
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
      if (event.target === this.number || event.ctrlKey || event.metaKey || event.altKey) return;
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

    async savePicture() {
      const { told } = this, { low, share } = this.pictures.near(this.value);
      const chunks = [told.profile, share ? "" : told.frames[low].chunks].filter(Boolean).map(bytesOf);
      this.save(await encode(this.pictures.shown, told.size, told.alpha, chunks), `${this.file}.png`);
    }

    saveRecord() {
      const { told } = this, { low, high, share } = this.pictures.near(this.value), name = this.file;
      let text = told.frames[low].record;
      if (share || !text) {
        const [a, b] = [low, high].map((index) => written(told.frames[index].strength));
        const blend = share
          ? `a blend of the pictures at ${a} and ${b}; latentedit replay ${name}.png, with this file beside it, makes the exact one`
          : "the original";
        const [first, second, third] = told.between;
        text = first + JSON.stringify(blend) + second + this.value + third;
      }
      this.save(new Blob([text], { type: "application/json" }), `${name}.json`);
    }

    save(blob, name) {
      const link = make("a", { href: URL.createObjectURL(blob), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    }
  }

  if (!customElements.get("latentedit-viewer")) customElements.define("latentedit-viewer", Viewer);
})();
