// Store: reads and changes one key through the API.

import { ApiError, ask, data, revisionOf } from "../api.js";
import { valueText } from "../values/json.js";

const JSON_TYPE = { "Content-Type": "application/json" };

const pathOf = (key) => {
  if (key.isOutOfReach) {
    throw new ApiError(400, "INVALID_KEY", `A browser cannot ask for a key called "${key.text}"; use the program: concord get ${key.text}`);
  }
  return `api/v1/kv/${key.path}`;
};

/** Lifetime as the page keeps it: when it is over, by the clock of the page; null for ever. */
const deadlineOf = (ttl_s) => (ttl_s === null ? null : performance.now() + ttl_s * 1000);

/** The encoded value, its revision and its deadline. */
export async function read(key, consistency, signal) {
  const path = pathOf(key);
  // Two requests, which a write may fall between: the revisions tell, and then they are asked again.
  for (let attempt = 0; ; attempt += 1) {
    const [value, life] = await Promise.all([
      ask(`${path}?consistency=${consistency}`, { headers: { Accept: "application/cbor" }, signal }),
      lifetime(key, consistency, signal),
    ]);
    const revision = revisionOf(value);
    if (revision === life.revision || attempt === 4) {
      return { value: new Uint8Array(await value.arrayBuffer()), revision, deadline: life.deadline };
    }
    await value.body?.cancel();
  }
}

/** Revision and deadline alone. */
export async function lifetime(key, consistency, signal) {
  const response = await ask(`${pathOf(key)}/ttl?consistency=${consistency}`, { signal });
  const { ttl } = (await response.json()).data;
  return { revision: revisionOf(response), deadline: deadlineOf(ttl) };
}

/** The value as JSON text, with its revision. Fails with `INVALID_VALUE` when JSON cannot say it. */
export async function readJson(key, consistency, signal) {
  const response = await ask(`${pathOf(key)}?consistency=${consistency}`, { headers: { Accept: "application/json" }, signal });
  return { json: valueText(await response.text()), revision: revisionOf(response) };
}

/** What must hold for a write: over this revision, or, with null, no such key. */
const condition = (revision) => (revision === null ? { "If-None-Match": "*" } : { "If-Match": `"${revision}"` });

/** Writes JSON text over a revision; the new revision. */
export async function write(key, json, ttl_s, revision) {
  const ttl = ttl_s === null ? "" : `,"ttl":${ttl_s}`;
  const body = `{"value":${json}${ttl}}`;
  const { revision: made } = await data(pathOf(key), { method: "PUT", headers: { ...JSON_TYPE, ...condition(revision) }, body });
  return made;
}

/** Writes the same encoded value again, without a lifetime. */
export async function keepForEver(key, value, revision) {
  const headers = { "Content-Type": "application/cbor", ...condition(revision) };
  await data(pathOf(key), { method: "PUT", headers, body: value });
}

export async function touch(key, ttl_s) {
  await data(`${pathOf(key)}/touch`, { method: "POST", headers: JSON_TYPE, body: JSON.stringify({ ttl: ttl_s }) });
}

export async function remove(key, revision) {
  await data(pathOf(key), { method: "DELETE", headers: condition(revision) });
}
