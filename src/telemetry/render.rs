//! Render: which metric has which name, and what it says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::buckets::Durations;
use super::metrics::Metrics;
use super::process::Process;
use super::quantiles::TOLD;
use super::text::Text;
use super::verb::{Class, ENDINGS, LEVELS, Verb, ending_name, level_name};

const NS_PER_MS: f64 = 1e6;
const NS_PER_S: f64 = 1e9;

/// What a member knows at the moment of being asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Gauges {
    pub(crate) records: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) members: usize,
    pub(crate) term: u64,
    pub(crate) commit_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) is_leader: bool,
    pub(crate) has_leader: bool,
    pub(crate) is_ready: bool,
    pub(crate) revision: u64,
    pub(crate) log_bytes: u64,
    pub(crate) queue_depth: usize,
    pub(crate) expired: u64,
    pub(crate) has_failed: bool,
    pub(crate) is_full: bool,
    pub(crate) lags: Vec<Lag>,
}

/// How far a member is behind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lag {
    pub(crate) name: String,
    pub(crate) node_id: u64,
    pub(crate) entries: u64,
}

impl Metrics {
    /// Everything, as Prometheus text format 0.0.4 (`text/plain; version=0.0.4; charset=utf-8`). Without gauges it is what a
    /// client knows, which is no member.
    pub(crate) fn render(&self, gauges: Option<&Gauges>) -> String {
        let now = Instant::now();
        let mut text = Text::default();
        text.family("concord_build_info", "gauge", "Always 1; the label tells the version.");
        text.sample("concord_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        if let Some(gauges) = gauges {
            put_cluster(&mut text, gauges);
            put_lags(&mut text, &gauges.lags);
        }
        if self.is_enabled() {
            self.put_calls(&mut text, self.minute(now));
            self.put_node(&mut text, self.minute(now));
            self.put_requests(&mut text);
            self.put_hot_keys(&mut text, now);
        }
        put_process(&mut text, &Process::read());
        text.finish()
    }

    /// Each verb that was called, and the three that are most used in any case: quantiles, counts, histogram.
    fn put_calls(&self, text: &mut Text, minute: u64) {
        let is_shown =
            |verb: &&Verb| matches!(verb, Verb::Put | Verb::Get | Verb::Delete) || self.verb(**verb).is_used();
        let shown: Vec<Verb> = Verb::ALL.iter().filter(is_shown).copied().collect();
        for verb in &shown {
            let name = format!("concord_api_{}_duration_milliseconds", verb.name());
            let help = "Time that calls of this verb took; quantiles are of the last minutes, within 3 %.";
            text.family(&name, "summary", help);
            self.for_each_series(*verb, |labels, durations| put_summary(text, &name, labels, durations, minute));
            let name = format!("concord_api_{}_count_total", verb.name());
            text.family(&name, "counter", "Calls of this verb by what became of them.");
            self.put_counts(text, &name, *verb);
        }
        let name = "concord_request_duration_seconds";
        text.family(
            name,
            "histogram",
            "Time that calls took; of reads one in about 64 is timed and stands for the others.",
        );
        for verb in &shown {
            self.for_each_series(*verb, |labels, durations| {
                if let Some(durations) = durations {
                    let labels = [&[("verb", verb.name())], labels].concat();
                    text.histogram(name, &labels, &durations.buckets, NS_PER_S);
                }
            });
        }
    }

    /// The series of a verb that have any calls; of those that ended well also when there are none yet.
    fn for_each_series(&self, verb: Verb, mut f: impl FnMut(&[(&'static str, &'static str)], Option<&Durations>)) {
        for class in Class::ALL {
            if verb != Verb::Get {
                let durations = self.verb(verb).durations(class);
                if durations.is_some() || class == Class::Ok {
                    f(&[("result", class.name())], durations);
                }
                continue;
            }
            for level in LEVELS {
                let durations = self.reads(level).durations(class);
                if durations.is_some() || class == Class::Ok {
                    f(&[("result", class.name()), ("consistency", level_name(level))], durations);
                }
            }
        }
    }

    fn put_counts(&self, text: &mut Text, name: &str, verb: Verb) {
        let endings = (0..ENDINGS).filter_map(|number| Some((number, ending_name(number)?)));
        for (number, ending) in endings {
            if verb != Verb::Get {
                put_count(text, name, &[("result", ending)], self.verb(verb).ended(number), number == 0);
                continue;
            }
            for level in LEVELS {
                let labels = [("result", ending), ("consistency", level_name(level))];
                put_count(text, name, &labels, self.reads_ended(level, number), number == 0);
            }
        }
    }

    /// What the rooms below the verbs have recorded.
    fn put_node(&self, text: &mut Text, minute: u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let name = "concord_operation_apply_duration_milliseconds";
        text.family(name, "summary", "Time that the state machine took for a command; the mean of each log entry.");
        put_summary(text, name, &[], Some(&self.apply), minute);
        let help = "Commands that the state machine has applied.";
        text.single("concord_operation_apply_count_total", "counter", help, self.apply.buckets.count());
        let created = count(&self.snapshot_created_bytes);
        text.single("concord_snapshot_created_size", "gauge", "Bytes of the last snapshot written here.", created);
        let installed = count(&self.snapshot_installed_bytes);
        let help = "Bytes of the last snapshot taken over from another node.";
        text.single("concord_snapshot_installed_size", "gauge", help, installed);
        let histograms = [
            ("concord_fsync_duration_seconds", "Time that a sync of the log took.", &self.fsync, NS_PER_S),
            ("concord_batch_commands", "Commands that shared a log entry.", &self.batch_commands, 1.0),
            (
                "concord_queue_wait_seconds",
                "Time that the first command of a log entry waited for its turn.",
                &self.queue_wait,
                NS_PER_S,
            ),
        ];
        for (name, help, buckets, unit) in histograms {
            text.family(name, "histogram", help);
            text.histogram(name, &[], buckets, unit);
        }
        let help = "How often a leader has taken office since this node knew its first one.";
        text.single("concord_leader_changes_total", "counter", help, count(&self.leader_changes));
        let name = "concord_auth_failures_total";
        text.family(name, "counter", "Callers with an invalid token, and peers with another cookie.");
        for (kind, failures) in ["token", "peer"].into_iter().zip(&self.auth_failures) {
            text.sample(name, &[("kind", kind)], count(failures));
        }
    }

    fn put_requests(&self, text: &mut Text) {
        let routes = self.requests.read();
        let name = "concord_http_requests_total";
        text.family(name, "counter", "HTTP requests by method, route and status of the answer.");
        for (route, method, recorded) in &routes {
            for (status, count) in recorded.statuses() {
                text.sample(name, &[("method", method), ("route", route), ("status", &status.to_string())], count);
            }
        }
        let name = "concord_http_request_duration_seconds";
        text.family(name, "histogram", "Time from the head of a request to the end of its answer.");
        for (route, method, recorded) in &routes {
            text.histogram(name, &[("method", method), ("route", route)], &recorded.durations, NS_PER_S);
        }
    }

    fn put_hot_keys(&self, text: &mut Text, now: Instant) {
        let Some(hot_keys) = self.hot_keys(now) else { return };
        let name = "concord_hot_key_operations_per_second";
        let help = "Calls a second of the most used keys, of the last one to two minutes, by a sample; at most 1/128 of all calls \
                    too many. A key is shown as a salted hash unless metrics_keys is set.";
        text.family(name, "gauge", help);
        for (key, calls_per_s) in hot_keys {
            text.sample(name, &[("key", &key)], calls_per_s);
        }
    }
}

fn put_count(text: &mut Text, name: &str, labels: &[(&str, &str)], count: u64, always: bool) {
    if count > 0 || always {
        text.sample(name, labels, count);
    }
}

fn put_summary(text: &mut Text, name: &str, labels: &[(&str, &str)], durations: Option<&Durations>, minute: u64) {
    let told = durations.and_then(|durations| durations.quantiles.read(minute));
    for (place, quantile) in TOLD.iter().enumerate() {
        // By convention a quantile of nothing is not a number.
        let value = told.map_or(f64::NAN, |told| told[place] as f64 / NS_PER_MS);
        text.sample(name, &[labels, &[("quantile", &quantile.to_string())]].concat(), value);
    }
    let (sum, count) = durations.map_or((0, 0), |durations| (durations.buckets.sum(), durations.buckets.count()));
    text.sample(&format!("{name}_sum"), labels, sum as f64 / NS_PER_MS);
    text.sample(&format!("{name}_count"), labels, count);
}

fn put_cluster(text: &mut Text, gauges: &Gauges) {
    let all: [(&str, &str, &str, u64); 15] = [
        ("concord_cluster_size", "gauge", "Keys in the store.", gauges.records),
        ("concord_cluster_memory", "gauge", "Bytes of memory that the records take, about.", gauges.memory_bytes),
        ("concord_cluster_member_count", "gauge", "Members of the cluster.", gauges.members as u64),
        ("concord_cluster_commit_index", "gauge", "Last log entry known to be committed.", gauges.commit_index),
        ("concord_cluster_is_leader", "gauge", "1 on the leader, 0 elsewhere.", gauges.is_leader.into()),
        ("concord_cluster_term", "gauge", "Raft's term.", gauges.term),
        ("concord_applied_index", "gauge", "Last log entry applied here.", gauges.applied_index),
        ("concord_has_leader", "gauge", "1 while this node knows a leader.", gauges.has_leader.into()),
        ("concord_is_ready", "gauge", "1 while this node serves.", gauges.is_ready.into()),
        ("concord_revision", "gauge", "Revision of the last change.", gauges.revision),
        ("concord_log_bytes", "gauge", "Bytes of log that the next snapshot would free.", gauges.log_bytes),
        ("concord_queue_depth", "gauge", "Commands that wait for a log entry to take them.", gauges.queue_depth as u64),
        ("concord_expired_total", "counter", "Records removed because their time was over.", gauges.expired),
        ("concord_storage_failed", "gauge", "1 when writes have stopped for good.", gauges.has_failed.into()),
        ("concord_storage_full", "gauge", "1 while the disk is full and writes are refused.", gauges.is_full.into()),
    ];
    for (name, kind, help, value) in all {
        text.single(name, kind, help, value);
    }
}

fn put_lags(text: &mut Text, lags: &[Lag]) {
    let name = "concord_replication_lag_entries";
    text.family(name, "gauge", "Log entries that a member is behind the leader, as the leader told last.");
    for Lag { name: member, node_id, entries } in lags {
        text.sample(name, &[("member", member), ("node", &node_id.to_string())], entries);
    }
}

fn put_process(text: &mut Text, process: &Process) {
    let memory = process.resident_bytes.map(|bytes| bytes as f64);
    let files = process.open_files.map(|files| files as f64);
    let all = [
        ("process_resident_memory_bytes", "gauge", "Resident memory of the process, bytes.", memory),
        ("process_open_fds", "gauge", "Open file descriptors of the process.", files),
        ("process_start_time_seconds", "gauge", "When the process began, Unix time.", process.started_s),
        ("process_cpu_seconds_total", "counter", "Time that the processor spent on the process.", process.cpu_s),
    ];
    for (name, kind, help, value) in all {
        if let Some(value) = value {
            text.single(name, kind, help, value);
        }
    }
}
