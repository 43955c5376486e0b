"""Forwarded admin pages: who may read them, the health of worker and recorder, and a recorder that is down."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.server.data_dir import socket_path
from tests.support.admin import JSON, page, recording, sql
from tests.support.gateways import InProcess, to
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Upstream

TOKEN = "token-of-the-tests"


@pytest.fixture(name="recorder")
async def _recorder(gateway: InProcess) -> AsyncIterator[None]:
    """Serve a recorder's pages beside the gateway."""
    async with recording(gateway.data):
        yield


@pytest.mark.usefixtures("recorder")
async def test_health_has_worker_and_recorder(upstream: Upstream, gateway: InProcess):
    """Health has the counts of the worker and the recorder's part."""
    await exchange(gateway.url, request("GET", "/v1/models"))
    status, health = await page(gateway, "GET", "/-/health")
    assert status == 200
    assert health["status"] == "ok"
    assert (health["accepted"], health["stored"], health["in_flight"], health["dropped"]) == (1, 1, 0, {})
    assert (health["worker"], health["recorder"]) == ("w0", {"sealed": 3, "otlp": None})
    assert health["version"]
    assert len(upstream.asked) == 1


@pytest.mark.usefixtures("upstream")
async def test_health_is_degraded_while_the_recorder_is_down(gateway: InProcess):
    """Without a recorder health is degraded with status 200, and well again once the recorder is back."""
    status, health = await page(gateway, "GET", "/-/health")
    assert (status, health["status"], health["recorder"]) == (200, "degraded", None)
    assert (await exchange(gateway.url, request("GET", "/v1/models"))).status == 200
    for _ in range(2):
        async with recording(gateway.data):
            _, health = await page(gateway, "GET", "/-/health")
            assert health["status"] == "ok"
        socket_path(gateway.data).unlink(missing_ok=True)
        _, health = await page(gateway, "GET", "/-/health")
        assert health["status"] == "degraded"


async def test_a_page_of_a_recorder_that_is_down_is_503(gateway: InProcess):
    """A page without a recorder is 503, with a message that it may be tried again."""
    status, said = await sql(gateway, "SELECT 1")
    assert status == 503
    assert "it may be restarting); try again" in said["error"]["message"]


async def test_a_query_that_is_too_large_is_413_in_json(upstream: Upstream, tmp_path):
    """The limit of request bodies applies to pages, too."""
    async with InProcess(tmp_path / "data", to(upstream.url, "[limits]\nbody_bytes = 1000\n")) as gateway:
        status, said = await sql(gateway, "SELECT 1 -- " + "x" * 2000)
        assert status == 413
        assert said["error"]["message"]


LOCAL = (
    "localhost",
    "LOCALHOST:4000",
    "localhost.:1",
    "127.0.0.1",
    "127.0.0.1:4000",
    "127.0.0.2:80",
    "[::1]",
    "[::1]:1",
)
FOREIGN = (
    "evil.example",
    "evil.example:4000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "[::2]:1",
)


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("host", LOCAL)
async def test_pages_are_served_under_loopback_names(gateway: InProcess, host):
    """A request under a name that no DNS server can assign reaches the page, which misses its query here."""
    status, said = await page(gateway, "POST", "/-/sql", JSON, host=host, body={})
    assert status == 400
    assert "sql" in said["error"]["message"]


@pytest.mark.usefixtures("recorder")
async def test_a_query_is_answered_under_a_loopback_name(gateway: InProcess):
    """Also with a port."""
    assert (await page(gateway, "POST", "/-/sql", JSON, host="[::1]:1", body={"sql": "SELECT 1"}))[0] == 200


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("host", FOREIGN)
async def test_pages_are_not_served_under_other_names(gateway: InProcess, host):
    """A name that a DNS server could point here is refused, even on a loopback connection."""
    status, said = await page(gateway, "POST", "/-/sql", JSON, host=host, body={"sql": "SELECT 1"})
    assert status == 403
    assert host in said["error"]["message"]


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(
    "sent", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
)
async def test_a_form_is_refused(gateway: InProcess, sent):
    """A media type that a web page may send without a preflight request is refused."""
    headers = [("Content-Type", sent)] if sent else []
    status, said = await page(gateway, "POST", "/-/sql", *headers, body={"sql": "SELECT 1"})
    assert status == 415
    assert "application/json" in said["error"]["message"]


@pytest.fixture(name="guarded")
async def _guarded(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Run a gateway that requires a token, with its recorder."""
    data = tmp_path / "data"
    async with InProcess(data, to(upstream.url), token=TOKEN) as gateway, recording(data):
        yield gateway


GIVEN = {"bearer": ("Authorization", f"Bearer {TOKEN}"), "own header": ("x-gateway-token", TOKEN)}
NOT_GIVEN: dict[str, list[tuple[str, Any]]] = {
    "none": [],
    "another": [("Authorization", "Bearer token-of-somebody")],
    "a part": [("Authorization", f"Bearer {TOKEN[:-1]}")],
    "empty": [("Authorization", "Bearer ")],
    "no UTF-8": [("Authorization", b"Bearer \xff\xfe"), ("x-gateway-token", b"\xff")],
    "in the query": [],
}


@pytest.mark.parametrize("header", GIVEN.values(), ids=GIVEN.keys())
async def test_a_token_opens_the_pages_under_any_name(guarded: InProcess, header):
    """With a token the Host header may be any: a web page does not have the token."""
    body = {"sql": "SELECT 1 AS one"}
    status, said = await page(guarded, "POST", "/-/sql", JSON, header, host="gateway.example", body=body)
    assert (status, said["rows"]) == (200, [[1]])


@pytest.mark.parametrize("headers", NOT_GIVEN.values(), ids=NOT_GIVEN.keys())
async def test_without_the_token_pages_are_401(guarded: InProcess, headers):
    """Without the token pages are 401 under a loopback name, too; the message has the setting, and no token."""
    status, said = await page(guarded, "POST", f"/-/sql?token={TOKEN}", JSON, *headers, body={"sql": "SELECT 1"})
    assert status == 401
    assert "$.auth.token" in said["error"]["message"]
    assert TOKEN not in json.dumps(said)


async def test_health_needs_no_token(guarded: InProcess):
    """Health is public for load balancers, and has counts only."""
    status, health = await page(guarded, "GET", "/-/health", host="gateway.example")
    assert (status, health["status"]) == (200, "ok")


async def proxied(gateway: InProcess, *headers: tuple[str, Any]) -> Answer:
    """Send a request to a provider."""
    return await exchange(gateway.url, request("GET", "/v1/models", headers))


async def test_the_token_is_not_forwarded(upstream: Upstream, guarded: InProcess):
    """The token is accepted in its own header or as a key; the provider gets only the client's own key."""
    for header in (*GIVEN.values(), ("x-api-key", TOKEN), ("api-key", TOKEN)):
        assert (await proxied(guarded, header)).status == 200
    own = ("Authorization", "Bearer sk-own")
    assert (await proxied(guarded, own, ("x-gateway-token", TOKEN))).status == 200
    assert [asked.header("authorization") for asked in upstream.asked] == [None, None, None, None, "Bearer sk-own"]
    assert TOKEN not in repr(upstream.asked)
    assert TOKEN not in json.dumps(guarded.rows())


@pytest.mark.parametrize("headers", [each for name, each in NOT_GIVEN.items() if name != "no UTF-8"])
async def test_without_the_token_nothing_is_proxied(upstream: Upstream, guarded: InProcess, headers):
    """A request without the token is 401 in the client's dialect, and is not forwarded."""
    answer = await proxied(guarded, *headers)
    assert answer.status == 401
    assert json.loads(answer.body)["error"]["type"] == "authentication_error"
    assert upstream.asked == []
    assert guarded.exchange()["outcome"] == "auth"
