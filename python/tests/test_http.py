"""Http: what an embedded store serves while it is open, and what it has counted."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest

import concord_kv
from concord_kv import InvalidConfigError, aio


def ask(address, path, *, method="GET", token=None, body=None):
    """Status and text of an answer."""
    request = urllib.request.Request(f"http://{address}{path}", method=method)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    data = None
    if body is not None:
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_store_serves_http_until_it_is_closed():
    with concord_kv.open(api_port=0, prometheus_port=0) as db:
        api, metrics = db.api_address, db.prometheus_address
        assert api.startswith("127.0.0.1:")
        assert api != metrics
        db["n"] = 41
        assert json.loads(ask(api, "/api/v1/kv/n")[1])["data"] == 41
        assert ask(api, "/api/v1/kv/n", method="PUT", body={"value": 42})[0] == 200
        assert db["n"] == 42
        assert ask(api, "/ready")[0] == 200
        assert "concord_" in ask(metrics, "/metrics")[1]
        assert ask(metrics, "/api/v1/kv/n")[0] == 404
    for address in (api, metrics):
        with pytest.raises(urllib.error.URLError):
            ask(address, "/health")


def test_nothing_is_served_unless_it_is_asked_for(db):
    assert db.api_address is None
    assert db.prometheus_address is None


def test_whoever_comes_over_http_needs_a_token():
    with concord_kv.open(auth_enabled=True, api_port=0) as db:
        api, admin = db.api_address, db.as_admin()
        admin["a"] = 7
        token = admin.tokens.create("reader", "read").token
        assert ask(api, "/api/v1/kv/a")[0] == 401
        assert ask(api, "/api/v1/kv/a", token="sk_concord_no")[0] == 401
        assert ask(api, "/api/v1/kv/a", token=token)[0] == 200
        status, text = ask(api, "/api/v1/kv/a", method="PUT", token=token, body={"value": 1})
        assert status == 403
        assert token not in text
        with db.with_token(token) as named:
            assert named.api_address == api
        assert ask(api, "/api/v1/kv/a", token=token)[0] == 200
        admin.tokens.revoke(token)
        assert ask(api, "/api/v1/kv/a", token=token)[0] == 401


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"api_port": 65536}, "api_port"),
        ({"api_port": -1}, "api_port"),
        ({"prometheus_port": 70000}, "prometheus_port"),
        ({"api_port": 0, "api_ip": "nowhere"}, "ip"),
        ({"api_port": 0, "api_ip": "0.0.0.0"}, "auth_enabled"),
        ({"api_ip": "127.0.0.1"}, "api_port"),
        ({"api_port": 0, "api_tls_certificate": "certificate.pem"}, "together"),
        ({"api_port": 0, "api_tls_certificate": "/nowhere/c.pem", "api_tls_private_key": "/nowhere/k.pem"}, "nowhere"),
        ({"api_port": 0, "api_body_bytes_max": 1}, "body_bytes_max"),
        ({"api_port": 0, "api_connections_max": 65537}, "connections_max"),
    ],
)
def test_wrong_options_are_named(wrong, words):
    with pytest.raises(InvalidConfigError, match=words):
        concord_kv.open(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"api_port": "80"}, {"api_port": True}, {"api_ip": 1}, {"allow_open": 1}, {"hot_keys": "yes"}, {"api_prot": 80}],
    ids=str,
)
def test_options_of_wrong_types_are_misuse(wrong):
    with pytest.raises(TypeError):
        concord_kv.open(**wrong)


def test_an_address_that_is_taken_opens_nothing(tmp_path):
    with concord_kv.open(api_port=0) as first:
        port = int(first.api_address.rpartition(":")[2])
        with pytest.raises(InvalidConfigError, match=str(port)):
            concord_kv.open(tmp_path, api_port=port)
        concord_kv.open(tmp_path).close()
    with concord_kv.open(tmp_path, api_port=port) as second:
        assert second.api_address == f"127.0.0.1:{port}"


def test_the_environment_is_a_default(monkeypatch):
    monkeypatch.setenv("CONCORD_API_PORT", "0")
    monkeypatch.setenv("CONCORD_API_IP", "127.0.0.2")
    with concord_kv.open() as db:
        assert db.api_address.startswith("127.0.0.2:")
        assert db.prometheus_address is None
    with concord_kv.open(api_port=False, prometheus_port=0, api_ip="127.0.0.3") as db:
        assert db.api_address is None
        assert db.prometheus_address.startswith("127.0.0.3:")


def test_what_happens_is_counted(db):
    for number in range(3):
        db["a"] = number
    assert 'concord_api_put_count_total{result="ok"} 3\n' in db.metrics_text()
    with concord_kv.open(telemetry_enabled=False) as silent:
        silent["a"] = 1
        assert 'concord_api_put_count_total{result="ok"} 1\n' not in silent.metrics_text()
    with concord_kv.open(hot_keys=False, metrics_keys=True) as other:
        assert other.metrics_text()


def test_asyncio_serves_as_well():
    async def main():
        async with aio.open(api_port=0, prometheus_port=0) as db:
            await db.put("a", 1)
            answer = await asyncio.to_thread(ask, db.api_address, "/api/v1/kv/a")
            assert answer[0] == 200
            assert "concord_" in (await asyncio.to_thread(ask, db.prometheus_address, "/metrics"))[1]
            assert "concord_api_put_count_total" in db.metrics_text()

    asyncio.run(main())
