// API: asks the node that served this page. Knows the token, which it keeps in memory and, if asked, in this tab.

const ROOT = new URL("../", document.baseURI);
const REMEMBERED = "concord-token";
const TIMEOUT_MS = 8000;

let token = remembered((store) => store.getItem(REMEMBERED));
let onUnauthorized = () => {};

/** Uses what the tab remembers; a browser that remembers nothing refuses even to be asked. */
function remembered(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}

/** An answer that is no good one, or none at all (`status` 0). */
export class ApiError extends Error {
  constructor(status, code, message, kind = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.kind = kind;
  }

  /** Whether nobody answered. */
  get isUnreachable() {
    return this.status === 0;
  }
}

export function whenUnauthorized(call) {
  onUnauthorized = call;
}

export function hasToken() {
  return token !== null;
}

export function signIn(given, isRemembered) {
  token = given;
  remembered((store) => (isRemembered ? store.setItem(REMEMBERED, given) : store.removeItem(REMEMBERED)));
}

export function signOut() {
  token = null;
  remembered((store) => store.removeItem(REMEMBERED));
}

/** An answer, good or with a status among `expected`. `headers` and `body` as `fetch` takes them. */
export async function ask(path, { method = "GET", headers = {}, body, expected = [], timeout_ms = TIMEOUT_MS, signal } = {}) {
  const asked = token;
  const all = asked === null ? headers : { ...headers, Authorization: `Bearer ${asked}` };
  const limit = AbortSignal.timeout(timeout_ms);
  let response;
  try {
    response = await fetch(new URL(path, ROOT), {
      method,
      headers: all,
      body,
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    throw failureOf(error);
  }
  if (response.ok || expected.includes(response.status)) return response;
  const fault = await faultOf(response);
  if (response.status === 401 && asked === token) onUnauthorized(fault, asked !== null);
  throw fault;
}

function failureOf(error) {
  if (error.name === "AbortError") return error;
  const message = error.name === "TimeoutError" ? "This node did not answer in time." : "This node cannot be reached.";
  return new ApiError(0, "UNREACHABLE", message);
}

async function faultOf(response) {
  const text = await response.text().catch(() => "");
  try {
    const { code, message, kind } = JSON.parse(text).error;
    return new ApiError(response.status, code, message, kind ?? null);
  } catch {
    return new ApiError(response.status, "", text || `This node answered ${response.status}.`);
  }
}

/** What is in the envelope of a good answer. */
export async function data(path, options) {
  const response = await ask(path, options);
  try {
    return (await response.json()).data;
  } catch (error) {
    throw failureOf(error);
  }
}

/** The revision in the ETag of an answer. */
export function revisionOf(response) {
  const tag = /^(?:W\/)?"(\d+)"$/.exec(response.headers.get("ETag") ?? "");
  return tag ? tag[1] : null;
}
