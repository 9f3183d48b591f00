// Key: 1 to 1,024 bytes; its text when it has one, its place in a URL, and how people see it.

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export const KEY_BYTES_MAX = 1024;

/** The text of bytes, or null when they are none. */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** Control characters and what turns the direction of writing are shown, not obeyed. */
export function visible(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu, (character) => {
    const code = character.codePointAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u{${code}}`;
  });
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

export class Key {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.text = textOf(bytes);
  }

  static ofText(text) {
    return new Key(encoder.encode(text));
  }

  /** As the API writes keys: a string, or `{"$bytes": base64}`. */
  static ofJson(json) {
    if (typeof json === "string") return Key.ofText(json);
    return new Key(Uint8Array.from(atob(json.$bytes), (character) => character.charCodeAt(0)));
  }

  /** From the fragment of this page's address; null for what is no key. */
  static ofFragment(fragment) {
    if (!/^(?:[^%]|%[0-9a-f]{2})+$/iu.test(fragment)) return null;
    const bytes = [];
    for (let at = 0; at < fragment.length; ) {
      if (fragment[at] === "%") {
        bytes.push(parseInt(fragment.slice(at + 1, at + 3), 16));
        at += 3;
      } else {
        const character = String.fromCodePoint(fragment.codePointAt(at));
        bytes.push(...encoder.encode(character));
        at += character.length;
      }
    }
    return new Key(Uint8Array.from(bytes));
  }

  /** Percent-encoded, readable where that is safe. */
  get fragment() {
    return Array.from(this.bytes, (byte) => (isPlain(byte) ? String.fromCharCode(byte) : escaped(byte))).join("");
  }

  /** For paths: the first byte is always encoded, so that no fixed route of the API has this name. */
  get path() {
    return escaped(this.bytes[0]) + new Key(this.bytes.subarray(1)).fragment;
  }

  /** A browser takes `.` and `..` for steps in a path however they are written, so it cannot ask for these two. */
  get isOutOfReach() {
    return this.text === "." || this.text === "..";
  }

  get shown() {
    return this.text === null ? hex(this.bytes) : visible(this.text);
  }

  equals(other) {
    return other !== null && this.fragment === other.fragment;
  }
}

const isPlain = (byte) => /[\w.~:-]/.test(String.fromCharCode(byte)) && byte < 128;
const escaped = (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
