// Console: which page is shown, the beat of one second, sign-in, and the warnings above everything.

import { ApiError, data, hasToken, signIn, signOut, whenUnauthorized } from "./api.js";
import { duration, element, setText } from "./dom.js";
import { KeysPage } from "./keys/page.js";
import { hearsOthers, MembersPage, stateOf } from "./members.js";
import { MetricsPage } from "./metrics/page.js";

const BEAT_MS = 1000;
const STATUS_TIMEOUT_MS = 3000;

const byId = (id) => document.getElementById(id);
const places = { members: byId("members"), keys: byId("keys"), metrics: byId("metrics") };
const pages = { members: new MembersPage(places.members), keys: new KeysPage(places.keys), metrics: new MetricsPage(places.metrics) };

let shown = "members";
let needsToken = false;
let lastSeen = null;

/** Shows the page that the address names. */
function route() {
  const [, name, rest] = /^#\/(\w+)(?:\/(.*))?$/.exec(location.hash) ?? [];
  shown = name in places ? name : "members";
  document.title = `${shown[0].toUpperCase()}${shown.slice(1)} – Concord`;
  for (const [each, place] of Object.entries(places)) place.hidden = needsToken || each !== shown;
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("sign-in").hidden = !needsToken;
  byId("sign-out").hidden = needsToken || !hasToken();
  if (needsToken) return;
  if (shown === "keys") pages.keys.show(rest ?? "");
  if (shown === "metrics") pages.metrics.draw();
}

/** Once a second: asks how this node is and shows it. */
async function beat() {
  if (document.hidden || needsToken) return;
  try {
    const status = await data("api/v1/status", { timeout_ms: STATUS_TIMEOUT_MS });
    lastSeen = performance.now();
    pages.members.show(status);
    showNode(status);
    warn(warningsOf(status));
    await pages.metrics.collect(status);
  } catch (error) {
    pages.metrics.miss();
    if (!needsToken) warn([warningOf(error)]);
  }
  if (shown === "metrics") pages.metrics.draw();
  if (shown === "keys") pages.keys.tick(performance.now());
}

function showNode(status) {
  const { cluster, node } = status;
  const here = cluster.members.find((member) => member.node === node);
  setText(byId("node"), here ? `${here.name || here.address}, ${cluster.state}` : cluster.state);
  byId("node").title = `Node ${node} of cluster ${cluster.id}`;
}

function warningsOf(status) {
  const { cluster, storage } = status;
  const warnings = [];
  if (storage.failed) warnings.push(["bad", "Writes have stopped for good on this node: its disk failed. Restart it when the disk is well, or replace the member."]);
  if (!cluster.ready || cluster.leader === null) warnings.push(["bad", troubleOf(cluster)]);
  const lost = !hearsOthers(status) ? [] : cluster.members.filter((member) => member.node !== status.node && stateOf(member, status)[1] === "bad");
  if (lost.length > 0) warnings.push(["warn", `The leader does not hear of ${lost.map(({ name, address }) => name || address).join(", ")}.`]);
  if (storage.repaired) warnings.push(["warn", "A write that a crash had torn was removed when this node opened its store. It was never acknowledged."]);
  return warnings;
}

function troubleOf(cluster) {
  if (cluster.state === "joining") return "Not ready: this node is not a member yet and looks for its cluster.";
  if (cluster.state === "leader") return "No majority: this node leads, but too few of the others answer. Nothing can be written, and only its own copy can be read.";
  const last = cluster.members.find(({ leader }) => leader);
  const who = last ? `; ${last.name || last.address} led last` : "";
  return `No leader: this node is not ready, because it hears none${who}. Here nothing can be written, and only its own copy can be read.`;
}

function warningOf(error) {
  if (!(error instanceof ApiError)) return ["bad", `This page has failed: ${error.message}. Load it again.`];
  if (!error.isUnreachable) return ["bad", `This node answers, but not with its status: ${error.message}`];
  const since = lastSeen === null ? "" : ` What you see is ${duration(Math.floor((performance.now() - lastSeen) / 1000) * 1000)} old.`;
  return ["bad", `Cannot reach this node; trying again every second.${since}`];
}

/** Writes the warnings, each only when it is new, so that nobody hears them twice. */
function warn(warnings) {
  const place = byId("banners");
  while (place.childElementCount > warnings.length) place.lastElementChild.remove();
  warnings.forEach(([how, text], at) => {
    if (!place.children[at]) place.append(element("p"));
    place.children[at].className = `banner ${how}`;
    setText(place.children[at], text);
  });
}

/** A token is needed; the one that was sent, if any, is no good. */
function askForToken(fault, hadToken) {
  signOut();
  needsToken = true;
  warn([]);
  setText(byId("node"), "");
  const message = byId("sign-in-error");
  message.hidden = !hadToken;
  message.textContent = hadToken ? `This token is not accepted: ${fault.message}.` : "";
  route();
  byId("token").focus();
}

function takeToken(event) {
  event.preventDefault();
  signIn(byId("token").value.trim(), byId("remember").checked);
  byId("token").value = "";
  needsToken = false;
  pages.keys.forget();
  route();
  beat();
}

async function run() {
  for (;;) {
    const begun = performance.now();
    await beat();
    await new Promise((resolve) => setTimeout(resolve, Math.max(100, BEAT_MS - (performance.now() - begun))));
  }
}

whenUnauthorized(askForToken);
byId("sign-in").addEventListener("submit", takeToken);
byId("sign-out").addEventListener("click", () => askForToken(null, false));
addEventListener("hashchange", () => {
  route();
  byId("main").focus({ preventScroll: true });
});
route();
run();
