// Members: who belongs to the cluster, who leads, and how this node is.

import { bytes, duration, element, integer, setText } from "./dom.js";

/** A member that its leader has not heard of for this long is marked. */
export const SILENT_AFTER_MS = 2000;

const COLUMNS = ["Member", "Address", "Role", "State", "Match index", "Lag", "Last contact"];

/** Whether what the node knows of the others is fresh: it leads, or it serves and hence hears the leader. */
export function hearsOthers({ cluster, node }) {
  return cluster.leader !== null && (cluster.ready || cluster.leader === node);
}

/** How a member is, as far as the node that answers knows: a word for people, and good, warn or bad. */
export function stateOf(member, status) {
  const { cluster } = status;
  if (member.node === status.node && !cluster.ready) return ["not ready", "bad"];
  if (!hearsOthers(status)) return member.leader ? ["led last", "warn"] : ["not known", "warn"];
  if (member.leader) return ["leads", "good"];
  if (member.node === status.node) return ["follows, ready", "good"];
  if (member.last_contact_ms === null) return ["not heard of", "bad"];
  if (member.last_contact_ms > SILENT_AFTER_MS) return ["silent", "bad"];
  if (member.role === "learner") return ["catches up", "warn"];
  return ["follows", "good"];
}

export class MembersPage {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.facts = element("dl", { class: "tiles" });
    this.rows = element("tbody");
    this.told = element("p", { class: "muted small" });
    this.cells = new Map();
    const head = element("tr", {}, ...COLUMNS.map((name, at) => element("th", { scope: "col", class: at > 3 ? "number" : null }, name)));
    place.append(
      element("h1", {}, "This node"), this.facts,
      element("h1", {}, "Members"),
      element("div", { class: "panel flush" }, element("table", { class: "members" }, element("thead", {}, head), this.rows)), this.told);
  }

  /** Writes a status into the page. */
  show(status) {
    this.showFacts(status);
    const members = [...status.cluster.members].sort((a, b) => (a.name || a.address).localeCompare(b.name || b.address, "en", { numeric: true }));
    const order = members.map(({ node }) => node).join();
    if (order !== this.order) {
      this.order = order;
      this.rows.replaceChildren(...members.map((member) => this.newRow(member)));
    }
    for (const member of members) this.showMember(member, status);
    setText(this.told, hearsOthers(status) ? "Figures of the others are as the leader told last." : "Without a leader the figures of the others are old.");
  }

  showFacts({ cluster, storage }) {
    const facts = [
      ["State", cluster.ready ? cluster.state : `${cluster.state}, not ready`],
      ["Term", integer(cluster.term)],
      ["Commit index", integer(cluster.commit_index)],
      ["Applied", integer(cluster.last_applied)],
      ["Revision", integer(storage.revision)],
      ["Keys", integer(storage.size)],
      ["Memory", bytes(storage.memory)],
      ["Log", bytes(storage.log_bytes)],
      ["Snapshot", cluster.snapshot_state === "idle" ? `at ${integer(cluster.snapshot_index)}` : cluster.snapshot_state],
    ];
    if (!this.values) {
      this.values = facts.map(() => element("dd"));
      this.facts.append(...facts.map(([name], at) => element("div", {}, element("dt", {}, name), this.values[at])));
    }
    facts.forEach(([, value], at) => setText(this.values[at], value));
  }

  newRow(member) {
    const cell = (at, ...children) => element("td", { "data-label": COLUMNS[at], class: at > 3 ? "number" : null }, ...children);
    const cells = {
      name: element("b"),
      here: element("span", { class: "tag", hidden: true }, "this node"),
      leader: element("span", { class: "tag strong", hidden: true }, "leader"),
      address: cell(1),
      role: cell(2),
      state: element("span", { class: "state" }),
      match: cell(4),
      lag: cell(5),
      contact: cell(6),
    };
    const name = cell(0, cells.name, " ", cells.leader, " ", cells.here, element("span", { class: "id" }, member.node));
    cells.row = element("tr", { "data-node": member.node }, name, cells.address, cells.role, cell(3, cells.state), cells.match, cells.lag, cells.contact);
    this.cells.set(member.node, cells);
    return cells.row;
  }

  showMember(member, status) {
    const cells = this.cells.get(member.node);
    const [word, how] = stateOf(member, status);
    const isHere = member.node === status.node;
    setText(cells.name, member.name || "without a name");
    cells.here.hidden = !isHere;
    cells.leader.hidden = !member.leader || !status.cluster.ready;
    setText(cells.address, member.address);
    setText(cells.role, member.role);
    setText(cells.state, word);
    cells.state.className = `state ${how}`;
    cells.row.className = how;
    setText(cells.match, integer(member.matched_index));
    setText(cells.lag, integer(member.lag));
    setText(cells.contact, member.leader || isHere ? "–" : duration(member.last_contact_ms));
  }
}
