"""Our own pages below /-/: who may read them, what they say, and what becomes of them while the recorder is down."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.config.model import Sql
from gateway.server.admin.pages import pages
from gateway.server.admin.sockets import socket_path
from tests.support.raw import Answer, exchange, request
from tests.support.running import InProcess, to
from tests.support.upstream import Upstream

JSON = ("Content-Type", "application/json")
TOKEN = "token-of-the-tests"
ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE hash(a.range + b.range) = 1"


@asynccontextmanager
async def recording(data: Path, settings: Sql | None = None) -> AsyncIterator[None]:
    """Serve the recorder's pages of a data folder on its socket, as the recorder does."""
    runner = web.AppRunner(
        pages(data, settings or Sql(), lambda: {"sealed": 3, "otlp": None}), handler_cancellation=True
    )
    await runner.setup()
    await web.UnixSite(runner, str(socket_path(data))).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.fixture(name="recorder")
async def _recorder(gateway: InProcess) -> AsyncIterator[None]:
    """Run a recorder beside the gateway, its pages at least."""
    async with recording(gateway.data):
        yield


async def page(gateway: InProcess, method: str, path: str, *headers: Any, host: str = "localhost", body: Any = b""):
    """Ask for a page as a client of a given Host; return its status and its JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    data = request(method, path, headers, raw).replace(b"Host: test", b"Host: " + host.encode())
    answer = await exchange(gateway.url, data)
    assert answer.values(b"Content-Type") == [b"application/json; charset=utf-8"] or answer.status == 200
    return answer.status, json.loads(answer.body) if answer.body else None


async def sql(gateway: InProcess, query: str, **more: Any) -> tuple[int, Any]:
    """Ask by SQL."""
    return await page(gateway, "POST", "/-/sql", JSON, body={"sql": query, **more})


@pytest.mark.usefixtures("recorder")
async def test_health_says_how_worker_and_recorder_are(upstream: Upstream, gateway: InProcess):
    """The counts of the worker, and what the recorder says of itself."""
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
    """The proxy goes on without it, so that is no failure; it is well again once the recorder is back."""
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
    """It says so, and that it is worth while to ask again."""
    status, said = await sql(gateway, "SELECT 1")
    assert status == 503
    assert "try once more" in said["error"]["message"]


@pytest.mark.usefixtures("upstream", "recorder")
async def test_sql_gives_columns_and_rows(gateway: InProcess):
    """The shape is columns, rows and whether there were more."""
    await exchange(gateway.url, request("GET", "/v1/models"))
    status, said = await sql(gateway, "SELECT path, status_code, error FROM exchanges")
    assert status == 200
    assert said == {
        "columns": ["path", "status_code", "error"],
        "rows": [["/v1/models", 200, None]],
        "truncated": False,
    }


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(("limit", "rows", "truncated"), [(2, 2, True), (3, 3, False), (0, 1, True), (10**6, 3, False)])
async def test_sql_is_bounded_by_its_limit(gateway: InProcess, limit, rows, truncated):
    """At most so many rows come back, at least one, and it is said where there were more."""
    status, said = await sql(gateway, "SELECT * FROM range(3)", limit=limit)
    assert (status, len(said["rows"]), said["truncated"]) == (200, rows, truncated)


async def test_sql_is_bounded_by_the_configuration(gateway: InProcess):
    """max_rows and the timeout hold whatever is asked for."""
    async with recording(gateway.data, Sql(max_rows=2, timeout=1.0)):
        _, said = await sql(gateway, "SELECT * FROM range(9)", limit=9)
        assert (len(said["rows"]), said["truncated"]) == (2, True)
        status, said = await sql(gateway, ENDLESS)
        assert status == 400
        assert "1 s" in said["error"]["message"]


WRONG: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"SELECT 1", "the body must be"),
    "no body": (b"", "the body must be"),
    "no object": (b"[]", "the body must be"),
    "no query": (b"{}", "`sql`"),
    "another field": (b'{"sql": "SELECT 1", "lmit": 3}', "`lmit`"),
    "another type": (b'{"sql": 1}', "$.sql"),
    "a syntax error": (b'{"sql": "SELEC 1"}', "SELEC"),
    "an unknown column": (b'{"sql": "SELECT nope FROM exchanges"}', "nope"),
    "no SELECT": (b'{"sql": "DROP VIEW exchanges"}', "DROP"),
    "another file": (b'{"sql": "FROM read_text(\'/etc/passwd\')"}', "no other file"),
    "two statements": (b'{"sql": "SELECT 1; SELECT 2"}', "one statement"),
}


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(("body", "said"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_wrong_with_a_query_is_said_in_json(gateway: InProcess, body, said):
    """400 with a message for people, whatever it was."""
    status, answer = await page(gateway, "POST", "/-/sql", JSON, body=body)
    assert status == 400
    assert said in answer["error"]["message"]


@pytest.mark.usefixtures("recorder")
async def test_an_unknown_page_is_404_in_json(gateway: InProcess):
    """It names the pages that there are; nothing of it goes to a provider or into the store."""
    for path in ("/-/nope", "/-/", "/-/health/x", "/-/sql/"):
        status, said = await page(gateway, "GET", path)
        assert status == 404
        assert "/-/health, /-/jaeger, /-/sql" in said["error"]["message"]
    assert gateway.rows() == []


@pytest.mark.usefixtures("recorder")
async def test_a_method_that_a_page_does_not_take_is_405_in_json(gateway: InProcess):
    """It says which ones it takes."""
    asked = request("DELETE", "/-/sql", [("Content-Type", "application/json")])
    answer = await exchange(gateway.url, asked.replace(b"Host: test", b"Host: localhost"))
    assert (answer.status, answer.values(b"Allow")) == (405, [b"POST"])
    assert "takes POST" in json.loads(answer.body)["error"]["message"]


async def test_a_query_that_is_too_large_is_413_in_json(upstream: Upstream, tmp_path):
    """The bound on bodies holds for pages too."""
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
    """By any name that cannot be anybody else's."""
    assert (await page(gateway, "POST", "/-/sql", JSON, host=host, body={"sql": "SELECT 1"}))[0] == 200


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("host", FOREIGN)
async def test_pages_are_not_served_under_other_names(gateway: InProcess, host):
    """A name that somebody's DNS server may point at us is refused, though the connection is a local one."""
    status, said = await page(gateway, "POST", "/-/sql", JSON, host=host, body={"sql": "SELECT 1"})
    assert status == 403
    assert host in said["error"]["message"]


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(
    "sent", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
)
async def test_a_form_is_refused(gateway: InProcess, sent):
    """What a page of somebody else's can send without asking is not taken for JSON."""
    headers = [("Content-Type", sent)] if sent else []
    status, said = await page(gateway, "POST", "/-/sql", *headers, body={"sql": "SELECT 1"})
    assert status == 415
    assert "application/json" in said["error"]["message"]


@pytest.fixture(name="guarded")
async def _guarded(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Run a gateway that needs a token, with its recorder."""
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
    """With a token there is nothing that another site could use, so any Host will do."""
    body = {"sql": "SELECT 1 AS one"}
    status, said = await page(guarded, "POST", "/-/sql", JSON, header, host="gateway.example", body=body)
    assert (status, said["rows"]) == (200, [[1]])


@pytest.mark.parametrize("headers", NOT_GIVEN.values(), ids=NOT_GIVEN.keys())
async def test_without_the_token_pages_are_401(guarded: InProcess, headers):
    """Under a loopback name too; the message names the setting, and neither token."""
    status, said = await page(guarded, "POST", f"/-/sql?token={TOKEN}", JSON, *headers, body={"sql": "SELECT 1"})
    assert status == 401
    assert "$.auth.token" in said["error"]["message"]
    assert TOKEN not in json.dumps(said)


async def test_health_needs_no_token(guarded: InProcess):
    """A load balancer may ask it; it tells counts only."""
    status, health = await page(guarded, "GET", "/-/health", host="gateway.example")
    assert (status, health["status"]) == (200, "ok")


async def proxied(gateway: InProcess, *headers: tuple[str, Any]) -> Answer:
    """Ask for a provider's page."""
    return await exchange(gateway.url, request("GET", "/v1/models", headers))


async def test_the_token_opens_the_proxy_and_goes_no_further(upstream: Upstream, guarded: InProcess):
    """As x-gateway-token or in the place of a key; the provider sees neither, and a client's own key as it was."""
    for header in (*GIVEN.values(), ("x-api-key", TOKEN), ("api-key", TOKEN)):
        assert (await proxied(guarded, header)).status == 200
    own = ("Authorization", "Bearer sk-own")
    assert (await proxied(guarded, own, ("x-gateway-token", TOKEN))).status == 200
    assert [asked.header("authorization") for asked in upstream.asked] == [None, None, None, None, "Bearer sk-own"]
    assert TOKEN not in repr(upstream.asked)
    assert TOKEN not in json.dumps(guarded.rows())


@pytest.mark.parametrize("headers", [each for name, each in NOT_GIVEN.items() if name != "no UTF-8"])
async def test_without_the_token_nothing_is_proxied(upstream: Upstream, guarded: InProcess, headers):
    """401 in the client's dialect, and the provider hears nothing."""
    answer = await proxied(guarded, *headers)
    assert answer.status == 401
    assert json.loads(answer.body)["error"]["type"] == "authentication_error"
    assert upstream.asked == []
    assert guarded.exchange()["outcome"] == "auth"


def test_a_data_folder_may_have_a_long_path(tmp_path: Path, monkeypatch):
    """A socket's path may not: then it is in a folder of this user's alone, and one that is not is refused."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert socket_path(Path("/data")) == Path("/data/recorder.sock")
    one, two = socket_path(Path("/" + "x" * 200)), socket_path(Path("/" + "y" * 200))
    assert one != two
    assert one == socket_path(Path("/" + "x" * 200))
    (folder,) = tmp_path.iterdir()
    assert one.parent == two.parent == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="--data"):
        socket_path(Path("/" + "x" * 200))
