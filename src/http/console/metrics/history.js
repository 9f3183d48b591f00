// History: the last minutes of every figure that the charts show, one point a second, from the status and from /metrics.

/** Seconds that are kept and drawn. */
export const SECONDS = 300;

const COUNT = /^concord_api_(\w+)_count_total$/;
const DURATION = /^concord_api_(get|put|delete)_duration_milliseconds$/;

/** What the charts show. Each series reads a number out of what was fetched, or `undefined` when it is not told. */
export const CHARTS = [
  { id: "operations", title: "Operations", unit: "/s", series: [
    { name: "all verbs", rate: (at) => at.sum(COUNT) },
    { name: "reads", rate: (at) => at.sum(/^concord_api_(get|get_many|view)_count_total$/) },
  ] },
  { id: "reads", title: "Latency of get", unit: "ms", series: quantiles("get") },
  { id: "writes", title: "Latency of put", unit: "ms", series: quantiles("put") },
  { id: "commits", title: "Committed entries", unit: "/s", series: [
    { name: "entries", rate: (at) => at.one("concord_cluster_commit_index") ?? at.status?.cluster.commit_index },
    { name: "changes", rate: (at) => at.one("concord_revision") ?? at.status?.storage.revision },
  ] },
  { id: "keys", title: "Keys", unit: "", series: [{ name: "keys", value: (at) => at.one("concord_cluster_size") ?? at.status?.storage.size }] },
  { id: "memory", title: "Memory", unit: "bytes", series: [
    { name: "records", value: (at) => at.one("concord_cluster_memory") ?? at.status?.storage.memory },
    { name: "process", value: (at) => at.one("process_resident_memory_bytes") },
  ] },
  { id: "lag", title: "Lag of the slowest member", unit: "entries", series: [{ name: "entries behind", value: (at) => at.lag() }] },
  { id: "log", title: "Log since the last snapshot", unit: "bytes", series: [{ name: "log", value: (at) => at.one("concord_log_bytes") ?? at.status?.storage.log_bytes }] },
  { id: "queue", title: "Commands waiting", unit: "", series: [{ name: "waiting", value: (at) => at.one("concord_queue_depth") }] },
  { id: "cpu", title: "Processor", unit: "cores", series: [{ name: "cores", rate: (at) => at.one("process_cpu_seconds_total") }] },
];

function quantiles(verb) {
  const read = (quantile) => (at) => at.quantile(verb, quantile);
  return [{ name: "P50", value: read("0.5") }, { name: "P99", value: read("0.99") }];
}

/** What one second told. */
class Moment {
  constructor(samples, status) {
    this.samples = samples;
    this.status = status;
  }

  one(name) {
    return this.samples.find((sample) => sample.name === name)?.value;
  }

  sum(pattern) {
    const found = this.samples.filter(({ name }) => pattern.test(name));
    return found.length > 0 ? found.reduce((sum, { value }) => sum + value, 0) : undefined;
  }

  /** The slowest of the series that ended well: a reader of any level. */
  quantile(verb, quantile) {
    const found = this.samples.filter(({ name, labels }) =>
      DURATION.exec(name)?.[1] === verb && labels.quantile === quantile && (labels.result ?? "ok") === "ok");
    if (found.length === 0) return undefined;
    const told = found.map(({ value }) => value).filter((value) => !Number.isNaN(value));
    return told.length > 0 ? Math.max(...told) : null;
  }

  lag() {
    const told = this.samples.filter(({ name }) => name === "concord_replication_lag_entries").map(({ value }) => value);
    const lags = told.length > 0 ? told : (this.status?.cluster.members ?? []).map(({ lag }) => lag).filter((lag) => lag !== null);
    return lags.length > 0 ? Math.max(...lags) : undefined;
  }
}

/** Keeps points. A point is a number, or null where nothing is known. */
export class History {
  constructor() {
    this.points = new Map(CHARTS.flatMap(({ id, series }) => series.map(({ name }) => [`${id} ${name}`, []])));
    this.counts = new Map();
    this.told = new Set();
  }

  /** Adds what was fetched at `now`, milliseconds. */
  add(now, samples, status) {
    const moment = new Moment(samples, status);
    for (const { id, series } of CHARTS) {
      for (const one of series) {
        const name = `${id} ${one.name}`;
        const value = one.rate ? this.rateOf(name, now, one.rate(moment)) : one.value(moment);
        if (value !== undefined) this.told.add(name);
        this.push(name, now, value ?? null);
      }
    }
  }

  /** Adds a second in which nobody answered. */
  miss(now) {
    for (const name of this.points.keys()) this.push(name, now, null);
  }

  push(name, now, value) {
    const points = this.points.get(name);
    points.push({ at: now, value: Number.isFinite(value) ? value : null });
    while (points.length > 0 && points[0].at < now - SECONDS * 1000) points.shift();
  }

  /** How fast a count grows, a second. A count that fell belongs to a node that began anew. */
  rateOf(name, now, count) {
    if (count === undefined) return undefined;
    const last = this.counts.get(name);
    this.counts.set(name, { now, count });
    return last && count >= last.count && now > last.now ? ((count - last.count) * 1000) / (now - last.now) : null;
  }

  /** Points of the series that were ever told. */
  seriesOf({ id, series }) {
    return series.filter(({ name }) => this.told.has(`${id} ${name}`)).map(({ name }) => ({ name, points: this.points.get(`${id} ${name}`) }));
  }
}
