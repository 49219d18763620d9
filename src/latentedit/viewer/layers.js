// The images: the source, and for every other image the box in which it differs from the source.

const GAIN = 4; // amplification of the difference view

const unpacked = async ({ box, rgb, alpha }, source, width) => {
  const [left, top, w, h] = box, data = new Uint8ClampedArray(w * h * 4);
  if (!data.length) return { box, data };
  const { samples: colors, step } = await decode(bytesOf(rgb));
  const opacity = alpha ? (await decode(bytesOf(alpha))).samples : null;
  for (let i = 0, y = 0; y < h; y++) {
    for (let x = 0; x < w; x++, i++) {
      for (let c = 0; c < 3; c++) data[4 * i + c] = colors[step * i + c];
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

// The images at the rendered strengths, and blends between them.
class Images {
  static async open(view) {
    const [width, height] = view.size;
    const { data: source } = await unpacked(view.source, null, width);
    const open = (layer) => unpacked(layer, source, width);
    const frames = await Promise.all(view.frames.map(open)), others = await Promise.all(view.others.map(open));
    return new Images(width, height, source, frames, others, view.frames.map((frame) => frame.strength));
  }

  constructor(width, height, source, frames, others, strengths) {
    Object.assign(this, { width, height, source, frames, others, strengths });
    this.shown = source.slice();
    this.differed = new Uint8ClampedArray(source.length);
    this.box = [0, 0, 0, 0];
  }

  // The two nearest rendered strengths, and the position between them from 0 to 1.
  near(strength) {
    const high = this.strengths.findIndex((rendered) => rendered >= strength);
    if (this.strengths[high] === strength) return { low: high, high, share: 0 };
    const [a, b] = [this.strengths[high - 1], this.strengths[high]];
    return { low: high - 1, high, share: (strength - a) / (b - a) };
  }

  // Row y of the image of a layer.
  row(layer, y, out) {
    const [left, top, w, h] = layer.box, stride = 4 * this.width;
    out.set(this.source.subarray(y * stride, (y + 1) * stride));
    if (y >= top && y < top + h) out.set(layer.data.subarray(4 * (y - top) * w, 4 * (y - top + 1) * w), 4 * left);
    return out;
  }

  // Put the image at a strength into `shown`; returns the box that changed.
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

  full(layer) {
    const out = new Uint8ClampedArray(this.source.length), stride = 4 * this.width;
    for (let y = 0; y < this.height; y++) this.row(layer, y, out.subarray(y * stride, (y + 1) * stride));
    return out;
  }

  // Put the amplified difference between `shown` and another image into `differed`, inside a box.
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
