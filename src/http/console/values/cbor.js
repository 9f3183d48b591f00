// CBOR: reads an encoded value (RFC 8949 with the tags of the value model) piece by piece, as far as it is looked at.

import { hex, textOf } from "./key.js";

const BREAK = 0xff;

/** Tags over text or a list that change only what the thing is called. */
const NAMES = new Map([
  [0, "date and time"],
  [39, "atom"],
  [258, "set"],
  [1004, "date"],
  [17220, "tuple"],
  [17221, "date and time without zone"],
  [17222, "time"],
]);

/** One item: `kind`, and `text`, `bytes` or `count` of its children, by kind. */
export class Item {
  constructor(reader, kind, fields) {
    this.reader = reader;
    this.kind = kind;
    Object.assign(this, fields);
  }

  get hasChildren() {
    return this.body !== undefined;
  }

  /** What is inside, one by one: `[key, item]`, where a key is an item or a number. */
  *children() {
    let at = this.body;
    for (let number = 0; this.count === null ? this.reader.byte(at) !== BREAK : number < this.count; number += 1) {
      let name = number;
      if (this.isMap) {
        name = this.reader.item(at);
        at = this.reader.skip(at);
      }
      yield [name, this.reader.item(at)];
      at = this.reader.skip(at);
    }
  }
}

/** Reads items out of bytes. */
export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(at) {
    return this.view.getUint8(at);
  }

  /** Major type, argument (null for an open length) and where the content begins. */
  head(at) {
    const first = this.byte(at);
    const [major, short] = [first >> 5, first & 31];
    if (short < 24) return { major, short, argument: BigInt(short), next: at + 1 };
    if (short === 24) return { major, short, argument: BigInt(this.byte(at + 1)), next: at + 2 };
    if (short === 25) return { major, short, argument: BigInt(this.view.getUint16(at + 1)), next: at + 3 };
    if (short === 26) return { major, short, argument: BigInt(this.view.getUint32(at + 1)), next: at + 5 };
    if (short === 27) return { major, short, argument: this.view.getBigUint64(at + 1), next: at + 9 };
    return { major, short, argument: null, next: at + 1 };
  }

  /** Where the item after this one begins. */
  skip(at) {
    const { major, argument, next } = this.head(at);
    if (major === 6) return this.skip(next);
    if (major < 2 || major === 7) return next;
    if (argument !== null && major < 4) return next + Number(argument);
    let end = next;
    if (argument === null) {
      while (this.byte(end) !== BREAK) end = this.skip(end);
      return end + 1;
    }
    const count = Number(argument) * (major === 5 ? 2 : 1);
    for (let number = 0; number < count; number += 1) end = this.skip(end);
    return end;
  }

  item(at) {
    const head = this.head(at);
    const { major, argument, next } = head;
    if (major === 0) return new Item(this, "integer", { text: String(argument) });
    if (major === 1) return new Item(this, "integer", { text: String(-1n - argument) });
    if (major === 2) return new Item(this, "bytes", { bytes: this.content(head) });
    if (major === 3) return new Item(this, "text", { text: textOf(this.content(head)) ?? "" });
    const count = argument === null ? null : Number(argument);
    if (major === 4) return new Item(this, "list", { body: next, count });
    if (major === 5) return new Item(this, "map", { body: next, count, isMap: true });
    if (major === 6) return this.tagged(Number(argument), next);
    return this.simple(head, at);
  }

  /** The bytes of text or bytes, put together when they come in pieces. */
  content({ argument, next }) {
    if (argument !== null) return this.bytes.subarray(next, next + Number(argument));
    const pieces = [];
    for (let at = next; this.byte(at) !== BREAK; at = this.skip(at)) pieces.push(...this.content(this.head(at)));
    return Uint8Array.from(pieces);
  }

  simple({ short }, at) {
    if (short === 20 || short === 21) return new Item(this, "boolean", { text: String(short === 21) });
    if (short === 22 || short === 23) return new Item(this, "null", { text: "null" });
    if (short === 25) return float(this, half(this.view.getUint16(at + 1)));
    if (short === 26) return float(this, this.view.getFloat32(at + 1));
    if (short === 27) return float(this, this.view.getFloat64(at + 1));
    return new Item(this, "unknown", { text: `simple value ${short}` });
  }

  tagged(tag, at) {
    const inner = this.item(at);
    if (NAMES.has(tag)) return Object.assign(inner, { kind: NAMES.get(tag) });
    if (tag === 2 || tag === 3) {
      const size = BigInt(`0x${hex(inner.bytes).replaceAll(" ", "") || "0"}`);
      return new Item(this, "integer", { text: String(tag === 2 ? size : -1n - size) });
    }
    if (tag === 4) return this.decimal(inner);
    const parts = inner.hasChildren ? Array.from(inner.children(), ([, part]) => part) : [];
    if (tag === 27 && parts.length === 2) return Object.assign(parts[1], { kind: "struct", name: parts[0].text });
    if (tag === 17223 && parts.length > 1) {
      return new Item(this, "date and time", { text: `${parts[0].text} ${parts[1].text}` });
    }
    return Object.assign(inner, { kind: `tag ${tag}` });
  }

  decimal(pair) {
    const [exponent, mantissa] = Array.from(pair.children(), ([, part]) => part.text);
    return new Item(this, "decimal", { text: decimalText(Number(exponent), mantissa) });
  }
}

function decimalText(exponent, mantissa) {
  if (exponent > 0 || exponent < -60) return `${mantissa}E${exponent}`;
  if (exponent === 0) return mantissa;
  const sign = mantissa.startsWith("-") ? "-" : "";
  const digits = mantissa.slice(sign.length).padStart(1 - exponent, "0");
  return `${sign}${digits.slice(0, exponent)}.${digits.slice(exponent)}`;
}

function float(reader, value) {
  const text = Object.is(value, -0) ? "-0.0" : Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value);
  return new Item(reader, "float", { text });
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
