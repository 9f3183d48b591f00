"""Check: what a store tells on standard input is Prometheus text as the official client library reads it."""

import sys

from prometheus_client.parser import text_string_to_metric_families

DOCUMENTED = {
    "concord_api_put_duration_milliseconds": "summary",
    "concord_api_get_duration_milliseconds": "summary",
    "concord_api_delete_duration_milliseconds": "summary",
    "concord_api_put_count": "counter",
    "concord_api_get_count": "counter",
    "concord_api_delete_count": "counter",
    "concord_cluster_size": "gauge",
    "concord_cluster_memory": "gauge",
    "concord_cluster_member_count": "gauge",
    "concord_cluster_commit_index": "gauge",
    "concord_cluster_is_leader": "gauge",
    "concord_operation_apply_duration_milliseconds": "summary",
    "concord_operation_apply_count": "counter",
    "concord_snapshot_created_size": "gauge",
    "concord_snapshot_installed_size": "gauge",
    "concord_request_duration_seconds": "histogram",
    "concord_fsync_duration_seconds": "histogram",
    "process_resident_memory_bytes": "gauge",
}

text = sys.stdin.read()
families = {family.name: family for family in text_string_to_metric_families(text)}
for name, kind in DOCUMENTED.items():
    assert families[name].type == kind, f"{name} is a {families[name].type}, not a {kind}"
for name, family in families.items():
    assert family.documentation, f"{name} has no help"
    labels = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
    assert len(labels) == len(set(labels)), f"{name} tells something twice"
    if family.type == "histogram":
        check = {}
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                continue
            series = tuple(sorted((label, text) for label, text in sample.labels.items() if label != "le"))
            assert sample.value >= check.get(series, 0), f"{name} is not cumulative"
            check[series] = sample.value
        counts = {tuple(sorted(s.labels.items())): s.value for s in family.samples if s.name.endswith("_count")}
        assert check == counts, f"{name}: the last bucket is not the count"
hot = {sample.labels["key"] for sample in families["concord_hot_key_operations_per_second"].samples}
wanted = 'a "quoted" key\\'
assert wanted in hot, f"{wanted} is not one of {hot}"
print(f"metrics: {len(families)} families, {sum(len(family.samples) for family in families.values())} samples: ok")
