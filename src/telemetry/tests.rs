//! What was recorded is what is told.

use std::time::{Duration, Instant};

use super::*;
use crate::config::Consistency;
use crate::error::ErrorKind;

fn on() -> Metrics {
    Metrics::new(TelemetryOptions { enabled: true, hot_keys: true, shows_keys: true })
}

#[track_caller]
fn assert_tells(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|told| told == *line), "no `{line}` in:\n{text}");
    }
}

/// The value of the sample with this name and these labels.
#[track_caller]
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no `{sample}` in:\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn calls_are_told_by_verb_level_and_ending() {
    let metrics = on();
    let ends = [
        (Consistency::Leader, Ending::Ok),
        (Consistency::Leader, Ending::Ok),
        (Consistency::Eventual, Ending::NotFound),
        (Consistency::Strong, Ending::Failed(ErrorKind::Timeout)),
    ];
    for (level, ending) in ends {
        metrics.end_read(metrics.begin_read(), b"k", level, ending);
    }
    metrics.awaited_read(Instant::now(), b"k", Consistency::Strong, Ending::Ok);
    let since = metrics.begin_write([b"k".as_slice()]) - Duration::from_millis(20);
    metrics.ended(Verb::PutIf, since, Ending::Failed(ErrorKind::ConditionFailed));
    metrics.ended(Verb::Touch, since, Ending::NotFound);
    let text = metrics.render(None);
    assert_tells(
        &text,
        &[
            "concord_api_get_count_total{result=\"ok\",consistency=\"leader\"} 2",
            "concord_api_get_count_total{result=\"not_found\",consistency=\"eventual\"} 1",
            "concord_api_get_count_total{result=\"timeout\",consistency=\"strong\"} 1",
            "concord_api_get_count_total{result=\"ok\",consistency=\"strong\"} 1",
            "concord_api_put_if_count_total{result=\"condition_failed\"} 1",
            "concord_api_put_if_duration_milliseconds_count{result=\"error\"} 1",
            "concord_api_touch_count_total{result=\"not_found\"} 1",
            "concord_api_put_count_total{result=\"ok\"} 0",
            "concord_api_put_duration_milliseconds{result=\"ok\",quantile=\"0.5\"} NaN",
            "concord_request_duration_seconds_bucket{verb=\"touch\",result=\"not_found\",le=\"0.01\"} 0",
            "concord_request_duration_seconds_bucket{verb=\"touch\",result=\"not_found\",le=\"10\"} 1",
        ],
    );
    let median_ms = value(&text, "concord_api_touch_duration_milliseconds{result=\"not_found\",quantile=\"0.5\"}");
    assert!((19.0..40.0).contains(&median_ms), "{median_ms}");
    assert!(!text.contains("concord_api_delete_many"), "a verb that nobody has called");
}

#[test]
fn rooms_below_tell_of_themselves() {
    let metrics = on();
    metrics.synced(Duration::from_millis(3));
    metrics.proposed(5, Duration::from_micros(40));
    metrics.applied(5, Instant::now());
    metrics.leader_changed();
    metrics.snapshot_created(700);
    metrics.snapshot_installed(800);
    metrics.auth_failed(AuthFailure::Peer);
    metrics.http_request("GET", "/api/v1/kv/{key}", 200, Duration::from_millis(2));
    metrics.http_request("BREW", "/api/v1/kv/{key}", 999, Duration::ZERO);
    let gauges = Gauges {
        records: 3,
        members: 2,
        has_leader: true,
        lags: vec![Lag { name: "so\"uth".to_owned(), node_id: 9, entries: 12 }],
        ..Gauges::default()
    };
    assert_tells(
        &metrics.render(Some(&gauges)),
        &[
            "concord_fsync_duration_seconds_bucket{le=\"0.0025\"} 0",
            "concord_fsync_duration_seconds_bucket{le=\"0.005\"} 1",
            "concord_fsync_duration_seconds_sum 0.003",
            "concord_batch_commands_bucket{le=\"4\"} 0",
            "concord_batch_commands_bucket{le=\"8\"} 1",
            "concord_queue_wait_seconds_count 1",
            "concord_operation_apply_count_total 5",
            "concord_operation_apply_duration_milliseconds_count 5",
            "concord_leader_changes_total 1",
            "concord_snapshot_created_size 700",
            "concord_snapshot_installed_size 800",
            "concord_auth_failures_total{kind=\"token\"} 0",
            "concord_auth_failures_total{kind=\"peer\"} 1",
            "concord_http_requests_total{method=\"GET\",route=\"/api/v1/kv/{key}\",status=\"200\"} 1",
            "concord_http_requests_total{method=\"other\",route=\"/api/v1/kv/{key}\",status=\"599\"} 1",
            "concord_cluster_size 3",
            "concord_cluster_member_count 2",
            "concord_has_leader 1",
            "concord_cluster_is_leader 0",
            "concord_replication_lag_entries{member=\"so\\\"uth\",node=\"9\"} 12",
        ],
    );
}

#[test]
fn what_is_off_records_nothing() {
    let metrics = Metrics::default();
    metrics.ended(Verb::Put, Instant::now(), Ending::Ok);
    metrics.awaited_read(Instant::now(), b"k", Consistency::Strong, Ending::Ok);
    metrics.begin_write([b"k".as_slice()]);
    metrics.proposed(1, Duration::ZERO);
    let text = metrics.render(Some(&Gauges { records: 7, ..Gauges::default() }));
    assert_tells(&text, &["concord_cluster_size 7"]);
    assert!(!text.contains("concord_api") && !text.contains("concord_hot_key"), "{text}");
    assert!(metrics.batch_commands.count() == 0 && metrics.hot_keys(Instant::now()).is_none());
}

/// A stranger who keeps knocking does not fill the disk with lines.
#[test]
fn refusals_are_told_once_a_second_at_most() {
    let metrics = on();
    let told = (0..1_000).filter(|_| metrics.may_tell_refusal()).count();
    assert!((1..=3).contains(&told), "{told}");
}

/// Reads are looked at one in about 256 times, and yet told in their true number.
#[test]
fn the_keys_of_reads_are_told_in_their_true_number() {
    let metrics = on();
    for n in 0..400_000_u32 {
        let key = if n % 4 == 0 { "often".to_owned() } else { format!("seldom:{n}") };
        metrics.end_read(metrics.begin_read(), key.as_bytes(), Consistency::Leader, Ending::Ok);
    }
    let told = metrics.hot_keys(Instant::now()).unwrap();
    let seconds = metrics.second(Instant::now()).max(1) as f64;
    assert_eq!(told[0].0, "often");
    let reads = told[0].1 * seconds;
    assert!((75_000.0..130_000.0).contains(&reads), "{reads} of 100,000");
}
