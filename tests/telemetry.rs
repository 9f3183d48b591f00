//! Telemetry: what a real store tells of itself, that `deploy/` asks for nothing else, and that no log line holds a secret.

#[path = "cluster/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use concord_kv::{ClientConfig, Concord, Config, Consistency, Durability, ErrorKind, Guard, PutOptions, ReadOptions};
use process::Process;

const PATIENCE: Duration = Duration::from_secs(20);

/// The value of a sample; 0 when it is not told.
fn value(text: &str, sample: &str) -> f64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    rest.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Every verb is counted by what became of it, the batch below it, and the disk below that.
#[test]
fn a_durable_store_counts_its_calls_entries_and_syncs() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Concord::open(Config::at(dir.path())).expect("a store");
    let kv = db.kv();
    (0..10).for_each(|n| kv.put(format!("k{n}"), n).wait().expect("a write"));
    assert_eq!(kv.put("", 1).wait().unwrap_err().kind(), ErrorKind::InvalidKey);
    kv.put("text", "no number").wait().expect("a write");
    assert_eq!(kv.increment("text", 1).wait().unwrap_err().kind(), ErrorKind::NotAnInteger);
    let once = PutOptions { guard: Guard::Absent, ..PutOptions::default() };
    assert_eq!(kv.put_with("text", 1, &once).wait().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(kv.get("text").expect("a read"), Some("no number".into()));
    assert_eq!(kv.get("missing").expect("a read"), None);
    let eventual = ReadOptions { consistency: Some(Consistency::Eventual), ..ReadOptions::default() };
    assert_eq!(kv.read(b"k1", &eventual, |_| ()).expect("a read"), Some(()));
    kv.get_all().expect("a scan");

    let text = db.metrics_text();
    for (sample, count) in [
        ("concord_api_put_count_total{result=\"ok\"}", 11.0),
        ("concord_api_put_count_total{result=\"invalid_key\"}", 1.0),
        ("concord_api_put_duration_milliseconds_count{result=\"ok\"}", 11.0),
        ("concord_api_put_new_count_total{result=\"already_exists\"}", 1.0),
        ("concord_api_increment_count_total{result=\"not_an_integer\"}", 1.0),
        ("concord_api_get_count_total{result=\"ok\",consistency=\"leader\"}", 1.0),
        ("concord_api_get_count_total{result=\"not_found\",consistency=\"leader\"}", 1.0),
        ("concord_api_get_count_total{result=\"ok\",consistency=\"eventual\"}", 1.0),
        ("concord_api_view_count_total{result=\"ok\"}", 1.0),
        ("concord_operation_apply_count_total", 13.0),
        ("concord_cluster_size", 11.0),
        ("concord_cluster_is_leader", 1.0),
        ("concord_is_ready", 1.0),
        ("concord_storage_full", 0.0),
        ("concord_queue_depth", 0.0),
    ] {
        assert_eq!(value(&text, sample), count, "{sample}\n{text}");
    }
    assert!(value(&text, "concord_fsync_duration_seconds_count") >= 11.0, "{text}");
    assert!(value(&text, "concord_batch_commands_count") >= 13.0, "{text}");
    assert!(value(&text, "concord_log_bytes") > 0.0, "{text}");
    let median_ms = value(&text, "concord_api_put_duration_milliseconds{result=\"ok\",quantile=\"0.5\"}");
    assert!(median_ms > 0.0 && median_ms < 60_000.0, "{median_ms}");
    db.close().expect("an end");
    assert_eq!(value(&db.metrics_text(), "concord_is_ready"), 0.0, "metrics are told after the end as well");
}

#[test]
fn reads_of_many_threads_are_all_counted() {
    let db = Concord::open(Config::default()).expect("a store");
    db.kv().put("k", 1).wait().expect("a write");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10_000).for_each(|_| drop(db.kv().get("k").expect("a read"))));
        }
    });
    let text = db.metrics_text();
    assert_eq!(value(&text, "concord_api_get_count_total{result=\"ok\",consistency=\"leader\"}"), 80_000.0);
    let timed = value(&text, "concord_api_get_duration_milliseconds_count{result=\"ok\",consistency=\"leader\"}");
    assert!((79_000.0..=80_000.0).contains(&timed), "each timed read stands for those before it: {timed}");
}

#[test]
fn expired_records_are_counted_and_metrics_can_be_off() {
    let config = Config { durability: Durability::Memory, expiry_interval_ms: 10, ..Config::default() };
    let db = Concord::open(config).expect("a store");
    let shortly = PutOptions { ttl: Some(Duration::from_millis(1)), ..PutOptions::default() };
    db.kv().put_with("k", 1, &shortly).wait().expect("a write");
    let deadline = std::time::Instant::now() + PATIENCE;
    while value(&db.metrics_text(), "concord_expired_total") != 1.0 {
        assert!(std::time::Instant::now() < deadline, "{}", db.metrics_text());
        std::thread::yield_now();
    }
    let off = Concord::open(Config { telemetry_enabled: false, ..Config::default() }).expect("a store");
    off.kv().put("k", 1).wait().expect("a write");
    off.kv().get("k").expect("a read");
    let text = off.metrics_text();
    assert!(text.contains("\nconcord_cluster_size 1\n") && !text.contains("concord_api_"), "{text}");
}

#[test]
fn keys_are_hashes_unless_they_are_asked_for() {
    let told = |config: Config| {
        let db = Concord::open(config).expect("a store");
        (0..100).for_each(|_| drop(db.kv().put("customer:ada", 1).wait()));
        let text = db.metrics_text();
        let hot =
            text.lines().find(|line| line.starts_with("concord_hot_key_operations_per_second{")).map(str::to_owned);
        (text, hot)
    };
    let (text, hot) = told(Config::default());
    assert!(!text.contains("ada") && hot.expect("a hot key").contains("{key=\"#"), "{text}");
    let (text, hot) = told(Config { metrics_keys: true, ..Config::default() });
    assert!(hot.expect("a hot key").contains("{key=\"customer:ada\"}"), "{text}");
    assert_eq!(told(Config { hot_keys: false, ..Config::default() }).1, None);
}

/// Every name that the dashboard and the alerts ask for is told by a store as it comes.
#[test]
fn what_deploy_asks_for_is_told() {
    let db = Concord::open(Config::default()).expect("a store");
    db.kv().put("k", 1).wait().expect("a write");
    let told = names_told(&db.metrics_text());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file of deploy/");
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let mut asked = Vec::new();
    expressions_of(&dashboard, &mut asked);
    assert!(asked.len() > 30, "the dashboard asks for {} things", asked.len());
    let alerts = read("prometheus-alerts.yml");
    let rules: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr:")).collect();
    assert_eq!(rules.len(), alerts.matches("- alert:").count());
    asked.extend(rules.into_iter().map(str::to_owned));
    for expression in &asked {
        let names = names_in(expression);
        assert!(!names.is_empty(), "it asks for nothing: {expression}");
        for name in names {
            assert!(told.contains(&name), "`{name}` is told by no store: {expression}");
        }
    }
    assert!(read("prometheus.yml").contains(&format!("localhost:{}", concord_kv::PROMETHEUS_PORT_DEFAULT)));
}

fn expressions_of(json: &serde_json::Value, found: &mut Vec<String>) {
    match json {
        serde_json::Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(|expr| expr.as_str()).map(str::to_owned));
            fields.values().for_each(|field| expressions_of(field, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions_of(item, found)),
        _ => {}
    }
}

/// The metrics in a query: words that begin as ours do.
fn names_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("concord_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// Families, and the names that histograms and summaries have beside their own.
fn names_told(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = family.split_once(' ').expect("a name and a type");
        let endings: &[&str] = match kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["", "_sum", "_count"],
            "gauge" | "counter" => &[""],
            other => panic!("{name} is a {other}"),
        };
        for ending in endings {
            assert!(names.insert(format!("{name}{ending}")), "{name}{ending} is told twice");
        }
    }
    names
}

/// At the most talkative level, with a stranger at the door: events are there, secrets are not, and each line is one object.
#[test]
fn the_log_of_a_member_holds_no_secret() {
    const COOKIE: &str = "planted-cookie-5f1c";
    const KEY: &str = "planted-key-77aa";
    const VALUE: &str = "planted-value-e019";
    let dir = tempfile::tempdir().expect("a directory");
    let address =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_concord"));
    command.args(["serve", "--json", "--bootstrap-expect", "1", "--listen", &address, "--data-dir"]).arg(dir.path());
    let variables =
        [("CONCORD_COOKIE", COOKIE), ("CONCORD_LOG_FORMAT", "json"), ("CONCORD_LOG", "trace,openraft=trace")];
    command.envs(variables);
    let mut member = Process::start(command);
    member.wait_for("ready", PATIENCE).expect("a member that serves");

    let client = Concord::connect(ClientConfig::new(&address, COOKIE)).expect("a connection");
    client.kv().put(KEY, VALUE).wait().expect("a write");
    assert_eq!(client.kv().get(KEY).expect("a read"), Some(VALUE.into()));
    client
        .kv()
        .put_with(KEY, 1, &PutOptions { guard: Guard::Expected(VALUE.into()), ..PutOptions::default() })
        .wait()
        .expect("a write");
    client.close().expect("an end");
    let stranger = ClientConfig { connect_timeout_ms: 500, ..ClientConfig::new(&address, "another-cookie-0b0b") };
    assert_eq!(Concord::connect(stranger).err().expect("a refusal").kind(), ErrorKind::Unauthorized);
    member.stop(PATIENCE).expect("an end");

    let log = member.log();
    for line in log.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()),
            "no object: {line}"
        );
    }
    for event in [
        "the store is open",
        "the leader is known",
        "the members have changed",
        "this node serves",
        "a peer was refused",
    ] {
        assert!(log.contains(event), "no `{event}` in:\n{log}");
    }
    assert!(log.lines().count() > 100, "the most talkative level says little:\n{log}");
    for secret in [COOKIE, KEY, VALUE, "another-cookie-0b0b"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "`{secret}` is in the log: {lines:#?}");
        // As a list of numbers or as hexadecimal it would be no better.
        let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            !log.contains(&numbers.join(", ")) && !log.contains(&hexadecimal),
            "`{secret}` is in the log, as bytes"
        );
    }
}
