// The encoder of a saved model, read as docs/encoder-format.md describes it: raw rows to local ids.
//
//   const { open } = require("./encode.js");
//   const encoder = open("runs/first/bundle");
//   encoder.encode({ user: "u7", price: 3.5, tags: "a|b" });   // { user: {ids: [12], weights: [1]}, ... }
//
// Categories, numbers, plain bags and crosses of them. It depends on nothing but Node.
"use strict";
const fs = require("fs");
const path = require("path");

const MASK = (1n << 64n) - 1n;
const P1 = 0x9e3779b185ebca87n, P2 = 0xc2b2ae3d27d4eb4fn, P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n, P5 = 0x27d4eb2f165667c5n, GOLDEN = 0x9e3779b97f4a7c15n;
const rotate = (x, bits) => ((x << bits) | (x >> (64n - bits))) & MASK;
const round = (lane, word) => (rotate((lane + word * P2) & MASK, 31n) * P1) & MASK;

/** XXH64 of bytes (a Buffer), with a seed. */
function xxh64(bytes, seed) {
  let at = 0, h;
  const end = bytes.length;
  if (end >= 32) {
    let lanes = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK];
    for (; at + 32 <= end; at += 32) lanes = lanes.map((lane, i) => round(lane, bytes.readBigUInt64LE(at + 8 * i)));
    const [a, b, c, d] = lanes;
    h = (rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n)) & MASK;
    for (const lane of lanes) h = ((h ^ round(0n, lane)) * P1 + P4) & MASK;
  } else h = (seed + P5) & MASK;
  h = (h + BigInt(end)) & MASK;
  for (; at + 8 <= end; at += 8) h = (rotate(h ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * P1 + P4) & MASK;
  if (at + 4 <= end) {
    h = (rotate(h ^ ((BigInt(bytes.readUInt32LE(at)) * P1) & MASK), 23n) * P2 + P3) & MASK;
    at += 4;
  }
  for (; at < end; at++) h = (rotate(h ^ ((BigInt(bytes[at]) * P5) & MASK), 11n) * P1) & MASK;
  h = ((h ^ (h >> 33n)) * P2) & MASK;
  h = ((h ^ (h >> 29n)) * P3) & MASK;
  return h ^ (h >> 32n);
}

/** The canonical text of a cell, null for missing: section 2 of the format. */
function canonical(cell) {
  if (cell === null || cell === undefined || (typeof cell === "number" && Number.isNaN(cell))) return null;
  const text = String(cell);
  if (text === "" || text === "nan" || text === "NaN") return null;
  if (/^(true|false)$/i.test(text)) return text.toLowerCase();
  const number = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?$/.exec(text);
  if (number) {
    const [, sign, whole, fraction] = number;
    if (fraction !== undefined && /[^0]/.test(fraction)) return text;
    return whole === "0" ? "0" : sign + whole;
  }
  const power = /^(-?)([1-9])(?:\.([0-9]+))?e\+([0-9]{2})$/.exec(text);
  if (power) {
    const [, sign, first, rest = "", exponent] = power;
    if (rest.length <= Number(exponent) && Number(exponent) <= 15) return sign + first + rest.padEnd(Number(exponent), "0");
    return text;
  }
  const time = /^([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:Z|\+00|\+0000|\+00:00)?$/.exec(text);
  if (time) {
    const fraction = (time[3] || "").replace(/0+$/, "");
    if (fraction) return `${time[1]} ${time[2]}.${fraction}`;
    return time[2] === "00:00:00" ? time[1] : `${time[1]} ${time[2]}`;
  }
  return text;
}

/** The fingerprint of a canonical text: section 3. */
function fingerprint(text, seed) {
  if (text === null) return 0n;
  const found = xxh64(Buffer.from(text, "utf8"), seed);
  return found === 0n ? 1n : found;
}

/** The arrays of a safetensors file, by name. */
function readArrays(file) {
  const data = fs.readFileSync(file);
  const length = Number(data.readBigUInt64LE(0));
  const header = JSON.parse(data.toString("utf8", 8, 8 + length));
  const found = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    if (name !== "__metadata__") found[name] = { dtype, shape, bytes: data.subarray(8 + length + begin, 8 + length + end) };
  }
  return found;
}

/** The id of a fingerprint in a vocabulary: section 4. */
function lookup(slots, key) {
  if (key === 0n) return 0;
  const capacity = slots.shape[0];
  let at = Number(((((key * GOLDEN) & MASK) >> 32n) * BigInt(capacity)) >> 32n);
  for (let probes = 0; probes < capacity; probes++) {
    const found = slots.bytes.readBigUInt64LE(16 * at);
    if (found === key) return Number(slots.bytes.readBigUInt64LE(16 * at + 8));
    if (found === 0n) return 1;
    at = at + 1 === capacity ? 0 : at + 1;
  }
  return 1;
}

const PLAIN = /^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$/;

/** A cell as a number, NaN for missing. */
function number(cell, missing) {
  if (cell === null || cell === undefined) return NaN;
  if (typeof cell === "string") {
    if (cell === "" || missing.some((text) => text.trim().toLowerCase() === cell.trim().toLowerCase())) return NaN;
    if (!PLAIN.test(cell)) throw new Error(`no number: ${cell}`);
  }
  const value = Number(cell);
  return missing.some((text) => text !== "" && Number(text) === value) ? NaN : value;
}

class Encoder {
  constructor(described, arrays) {
    this.fields = described.schema.fields.map((field) => {
      const of = (name) => arrays[`${field.name}.${name}`];
      const seed = xxh64(Buffer.from(field.name, "utf8"), 0n);
      const missing = (field.missing || []).map((text) => fingerprint(canonical(text), seed));
      const standard = field.default === undefined || field.default === null ? null : field.default;
      if (field.weighted || field.brackets || field.weights || field.decimal || field.symbol || field.custom || ["time", "vector"].includes(field.type))
        throw new Error(`field ${field.name}: this reader does not have fields of this kind`);
      return { ...field, of, seed, gone: new Set(missing), standard, told: described.fields[field.name] };
    });
  }

  /** Return {ids, weights} of every field; weights are the inputs of the features. */
  encode(row) {
    const prints = {}, found = {};
    for (const field of this.fields) {
      let of_field;
      if (field.type === "cross") of_field = this.cross(field, prints);
      else if (field.type === "number") of_field = this.number(field, row[field.column]);
      else if (field.type === "bag") of_field = this.bag(field, row[field.column]);
      else of_field = this.category(field, row[field.column]);
      prints[field.name] = of_field;
      found[field.name] = { ids: of_field.ids, weights: of_field.weights };
    }
    return found;
  }

  id(field, print) {
    if (print === 0n) return 0;
    return field.buckets ? 2 + Number(print % BigInt(field.buckets)) : lookup(field.of("slots"), print);
  }

  print(field, text) {
    const found = fingerprint(text, field.seed);
    return field.gone.has(found) ? 0n : found;
  }

  category(field, cell) {
    let print = this.print(field, canonical(cell));
    if (print === 0n && field.standard !== null) print = fingerprint(canonical(String(field.standard)), field.seed);
    return { prints: [print], ids: [this.id(field, print)], weights: [1] };
  }

  number(field, cell) {
    let x = number(cell, field.missing || []);
    if (Number.isNaN(x) && field.standard !== null) x = Number(field.standard);
    if (field.bins !== null && field.bins !== undefined || field.edges) {
      const edges = field.of("edges").bytes;
      let id = 0;
      if (!Number.isNaN(x)) for (id = 2; 8 * (id - 2) < edges.length && edges.readDoubleLE(8 * (id - 2)) <= x; ) id++;
      return { prints: [BigInt(id)], ids: [id], weights: [1] };
    }
    if (Number.isNaN(x)) return { prints: [0n], ids: [0], weights: [1] };
    const size = Math.abs(x), { mean, std } = field.told;
    const curved = field.scale === "log" ? Math.sign(x) * Math.log1p(size) : field.scale === "sqrt" ? Math.sign(x) * Math.sqrt(size) : x;
    return { prints: [1n], ids: [1], weights: [Math.fround((curved - mean) / std)] };
  }

  bag(field, cell) {
    const cells = cell === null || cell === undefined ? [] : Array.isArray(cell) ? cell : String(cell).split(field.separator);
    let prints = cells.map((value) => this.print(field, canonical(value))).filter((print) => print !== 0n);
    if (field.max_length) prints = prints.slice(0, field.max_length);
    if (!prints.length) prints = [field.standard === null ? 0n : fingerprint(canonical(String(field.standard)), field.seed)];
    const norm = field.norm === "sqrt" ? Math.sqrt(prints.length) : field.norm === "mean" ? prints.length : 1;
    return { prints, ids: prints.map((print) => this.id(field, print)), weights: prints.map(() => Math.fround(1 / norm)) };
  }

  cross(field, prints) {
    // Every value of each part with every value of the others, the last part fastest.
    let combined = [{ parts: [], weight: 1 }];
    if (field.parts.some((name) => prints[name].prints[0] === 0n)) combined = [];
    else for (const name of field.parts) {
      combined = combined.flatMap(({ parts, weight }) =>
        prints[name].prints.map((print, i) => ({ parts: [...parts, print], weight: Math.fround(weight * prints[name].weights[i]) })));
    }
    if (!combined.length) return { prints: [0n], ids: [0], weights: [1] };
    const found = combined.map(({ parts }) => {
      const bytes = Buffer.alloc(8 * parts.length);
      parts.forEach((print, i) => bytes.writeBigUInt64LE(print, 8 * i));
      return xxh64(bytes, field.seed) || 1n;
    });
    return { prints: found, ids: found.map((print) => this.id(field, print)), weights: combined.map(({ weight }) => weight) };
  }
}

/** Open the encoder of a bundle. */
function open(folder) {
  const { content } = JSON.parse(fs.readFileSync(path.join(folder, "manifest.json"), "utf8"));
  return new Encoder(content.encoder, readArrays(path.join(folder, content.files.encoder)));
}

module.exports = { open, canonical, fingerprint, xxh64 };

// node encode.js BUNDLE < rows.jsonl: the features of each row, a line each.
if (require.main === module) {
  const encoder = open(process.argv[2]);
  const lines = fs.readFileSync(0, "utf8").split("\n").filter((line) => line);
  process.stdout.write(lines.map((line) => JSON.stringify(encoder.encode(JSON.parse(line)))).join("\n") + "\n");
}
