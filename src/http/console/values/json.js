// JSON: text laid out for people. Numbers are never turned into numbers here, so that not a digit is lost.

const ENVELOPE = '{"status":"ok","data":';
const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/gs;

/** The text of the value in a good answer. */
export function valueText(answer) {
  return answer.slice(ENVELOPE.length, -1);
}

/** What is wrong with this text, for people; null for JSON. */
export function faultIn(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return text.trim() === "" ? "Nothing is written here; text stands in quotes." : `This is no JSON: ${error.message}`;
  }
}

/** Well-formed JSON on lines of its own, by steps of two. */
export function laidOut(text) {
  const out = [];
  let depth = 0;
  let last = "";
  const line = () => out.push("\n", "  ".repeat(depth));
  for (const token of tokens(text)) {
    const opens = last === "{" || last === "[";
    if (token === "}" || token === "]") {
      depth -= 1;
      if (!opens) line();
    } else if (opens) {
      line();
    }
    out.push(token);
    if (token === "{" || token === "[") depth += 1;
    else if (token === ":") out.push(" ");
    else if (token === ",") line();
    last = token;
  }
  return out.join("");
}

function* tokens(text) {
  for (const match of text.matchAll(TOKEN)) yield match[0];
}
