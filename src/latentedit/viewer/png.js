// Reading and writing PNG. Pixels do not pass through a canvas, where browsers may change them.

const bytesOf = (text) => {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
};

const piped = async (bytes, through) =>
  new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(through)).arrayBuffer());

// The samples of an 8-bit PNG without palette or interlacing, as Pillow writes gray and RGB.
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

// WebP is lossy already, so a canvas may decode it.
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

// A PNG file of RGBA samples, with further chunks before the pixels.
const encode = async (rgba, [width, height], alpha, chunks) => {
  const step = alpha ? 4 : 3, stride = 1 + width * step, rows = new Uint8Array(stride * height);
  for (let y = 0, from = 0; y < height; y++) {
    let to = y * stride + 1;
    rows[to - 1] = 1; // filter: difference from the sample to the left
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
