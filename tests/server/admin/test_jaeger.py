"""Jaeger's query API below /-/jaeger, over HTTP through a worker, from a real store."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from gateway.config.model import Sql
from tests.server.admin.test_forward import TOKEN
from tests.support.admin import recording
from tests.support.gateways import InProcess, to
from tests.support.raw_http import exchange, request
from tests.support.store import START_NS, header, journal, sealed, span
from tests.support.upstream import Upstream

TRACE, LOW = "0a" * 16, "00" * 8 + "0b" * 8
ROOT, FAILED, ANSWERED = "1" * 16, "2" * 16, "3" * 16
START_US = START_NS // 1000
WINDOW = {"start": START_US - 1, "end": START_US + 60_000_000}
WINDOW_V3 = {"query.startTimeMin": "2023-11-14T22:13:19Z", "query.startTimeMax": "2023-11-14T22:14:19Z"}
EMPTY = {"total": 0, "limit": 0, "offset": 0, "errors": None}

LINES = [
    header(),
    span("span", "CLIENT", FAILED, trace_id=TRACE, parent_span_id=ROOT, name="chat m", service_name="gateway",
         duration_ns=1_000_000, status="ERROR", error_type="500", request_model="m"),
    span("span", "CLIENT", ANSWERED, trace_id=TRACE, parent_span_id=ROOT, name="chat m", service_name="gateway",
         start_ns=START_NS + 2_000_000, duration_ns=3_000_000, request_model="m",
         output_messages=[{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}]}]),
    span("span", "SERVER", ROOT, trace_id=TRACE, name="POST /v1/x", service_name="gateway", duration_ns=9_000_000),
]  # fmt: skip
LIVE = [
    header("w1"),
    span("span", "SERVER", "4" * 16, trace_id=LOW, parent_span_id="9" * 16, name="GET /", service_name="my/app é",
         start_ns=START_NS + 10**9, duration_ns=1_000),
]  # fmt: skip


@pytest.fixture(name="filled")
def _filled(tmp_path: Path) -> Path:
    """Make a store of a sealed trace of three spans and a live one of one span."""
    data = tmp_path / "data"
    sealed(data, LINES)
    journal(data, LIVE, "w1-1")
    return data


@pytest.fixture(name="store")
async def _store(filled: Path, gateway: InProcess) -> AsyncIterator[InProcess]:
    """Run a gateway with its recorder's pages over a small store."""
    async with recording(filled):
        yield gateway


async def get(gateway: InProcess, path: str, *headers: tuple[str, str], host: str = "localhost", **query: Any):
    """Ask as a UI does; return the status and the JSON."""
    asked = f"/-/jaeger/api/{path}{'?' + urlencode(query, doseq=True) if query else ''}"
    answer = await exchange(
        gateway.url, request("GET", asked, headers).replace(b"Host: test", b"Host: " + host.encode())
    )
    assert answer.values(b"Content-Type")[0].startswith(b"application/json")
    return answer.status, json.loads(answer.body)


@pytest.mark.integration
async def test_services_and_operations(store: InProcess):
    """Names are sorted and counted; an unknown service has no operations."""
    assert await get(store, "services") == (200, EMPTY | {"data": ["gateway", "my/app é"], "total": 2})
    names = {"data": ["POST /v1/x", "chat m"], "total": 2}
    assert await get(store, "services/gateway/operations") == (200, EMPTY | names)
    strange = f"services/{quote('my/app é', safe='')}/operations"
    assert await get(store, strange) == (200, EMPTY | {"data": ["GET /"], "total": 1})
    assert await get(store, "services/nobody/operations") == (200, EMPTY | {"data": []})
    both = [{"name": "POST /v1/x", "spanKind": "server"}, {"name": "chat m", "spanKind": "client"}]
    assert await get(store, "operations", service="gateway") == (200, EMPTY | {"data": both, "total": 2})
    server = EMPTY | {"data": both[:1], "total": 1}
    assert await get(store, "operations", service="gateway", spanKind="server") == (200, server)


@pytest.mark.integration
async def test_a_trace_by_its_id(store: InProcess):
    """A trace has all its spans, sealed or live; a short id is one with leading zeros."""
    status, said = await get(store, f"traces/{TRACE}")
    assert (status, {**said, "data": None}) == (200, EMPTY | {"data": None})
    (trace,) = said["data"]
    assert [each["spanID"] for each in trace["spans"]] == [ROOT, FAILED, ANSWERED]
    assert [each["references"] for each in trace["spans"]][1:] == [
        [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": ROOT}]
    ] * 2
    tags = {tag["key"]: tag["value"] for tag in trace["spans"][2]["tags"]}
    assert json.loads(tags["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Hello"
    for each in (LOW, LOW.upper(), LOW.lstrip("0")):
        status, said = await get(store, f"traces/{each}", start=1, end=2, raw="true")
        assert (status, said["data"][0]["traceID"]) == (200, LOW[16:])


@pytest.mark.integration
async def test_a_search(store: InProcess):
    """Traces are found by service, operation, tags, times and durations, the newest first."""

    async def found(**query: Any) -> list[str]:
        status, said = await get(store, "traces", **(WINDOW | {"service": "gateway"} | query))
        assert (status, {**said, "data": None}) == (200, EMPTY | {"data": None})
        return [trace["traceID"] for trace in said["data"]]

    assert await found(limit=20, lookback="1h") == [TRACE]
    assert await found(operation="chat m", tags='{"error":"true","gen_ai.request.model":"m"}') == [TRACE]
    assert await found(tags="error:true", minDuration="2ms") == []
    assert await found(minDuration="9ms", maxDuration="9ms") == [TRACE]
    assert await found(service="my/app é") == [LOW[16:]]
    assert await found(service="nobody") == await found(operation="nothing") == await found(tags='{"a":"b"}') == []
    assert await found(start=START_US + 3_000_000) == []


@pytest.mark.integration
async def test_a_search_without_times_is_of_the_last_days(store: InProcess):
    """A search without times finds none of the store's traces, which are years old."""
    assert await get(store, "traces", service="gateway") == (200, EMPTY | {"data": []})


async def test_traces_by_many_ids(store: InProcess):
    """Traces are listed in the order of the ids; missing ones are named."""
    status, said = await get(store, "traces", traceID=[LOW, "abc", TRACE])
    assert status == 200
    assert [trace["traceID"] for trace in said["data"]] == [LOW[16:], TRACE]
    assert said["errors"] == [{"msg": "trace not found", "traceID": "0000000000000abc"}]


@pytest.mark.integration
async def test_dependencies(store: InProcess):
    """Calls between services are counted within a time in milliseconds."""
    end = START_NS // 10**6 + 60_000
    links = [{"parent": "gateway", "child": "gateway", "callCount": 2}]
    assert await get(store, "dependencies", endTs=end, lookback=120_000) == (200, EMPTY | {"data": links})
    assert await get(store, "dependencies", endTs=end, lookback=1) == (200, EMPTY | {"data": []})
    assert await get(store, "dependencies", endTs=end, lookback=120_000, service="x") == (200, EMPTY | {"data": []})
    assert await get(store, "dependencies") == (200, EMPTY | {"data": []})


@pytest.mark.integration
async def test_the_third_api(store: InProcess):
    """The third API has the paths that Jaeger's own UI uses since 2.19."""
    assert await get(store, "v3/services") == (200, {"services": ["gateway", "my/app é"]})
    both = [{"name": "POST /v1/x", "spanKind": "server"}, {"name": "chat m", "spanKind": "client"}]
    assert await get(store, "v3/operations", service="gateway") == (200, {"operations": both})
    assert await get(store, "v3/operations", service="gateway", span_kind="client") == (200, {"operations": both[1:]})
    status, said = await get(store, f"v3/traces/{TRACE}")
    assert (status, list(said)) == (200, ["result"])
    (group,) = said["result"]["resourceSpans"]
    assert [each["spanId"] for each in group["scopeSpans"][0]["spans"]] == [ROOT, FAILED, ANSWERED]
    status, said = await get(store, "v3/traces", **WINDOW_V3)
    assert (status, len(said["result"]["resourceSpans"])) == (200, 2)
    status, said = await get(store, "v3/trace-summaries", **WINDOW_V3, **{"query.serviceName": "gateway"})
    assert (status, [each["traceId"] for each in said["summaries"]]) == (200, [TRACE])
    assert (said["summaries"][0]["spanCount"], said["summaries"][0]["errorSpanCount"]) == (3, 1)
    status, said = await get(store, "v3/trace-summaries", **WINDOW_V3, **{"query.searchDepth": 1})
    assert [each["traceId"] for each in said["summaries"]] == [LOW]


REFUSED = {
    "a search without a service": ("traces", 400, "'service'"),
    "tags that are no JSON": ("traces?service=gateway&tags=x", 400, "'tags'"),
    "a limit that is no number": ("traces?service=gateway&limit=x", 400, "'limit'"),
    "an id that is none": ("traces/zz", 400, "hex digits"),
    "an id that is too long": (f"traces/{'a' * 33}", 400, "32 hex digits"),
    "one of many ids that is none": (f"traces?traceID={TRACE}&traceID=-1", 400, "hex digits"),
    "a time that is none": (f"traces/{TRACE}?start=x", 400, "'start'"),
    "an id that is not there": ("traces/abc", 404, "trace not found"),
    "no id at all": (f"traces/{'0' * 32}", 404, "trace not found"),
    "operations without a service": ("operations", 400, "'service'"),
    "a lookback that is no number": ("dependencies?lookback=1h", 400, "'lookback'"),
    "metrics": ("metrics/latencies?service=gateway&quantile=0.95", 501, "metrics"),
    "a path that is not there": ("nope", 404, "/-/jaeger/api/nope"),
}


@pytest.mark.integration
@pytest.mark.parametrize(("path", "code", "message"), REFUSED.values(), ids=REFUSED.keys())
async def test_errors_have_jaegers_form(store: InProcess, path, code, message):
    """Errors have the form from which Jaeger's UI reads the message."""
    status, said = await get(store, path)
    (error,) = said.pop("errors")
    assert (status, error["code"], said) == (code, code, {"data": None, "total": 0, "limit": 0, "offset": 0})
    assert message in error["msg"]


REFUSED_V3 = {
    "a search without times": ("v3/traces", 400, "query.startTimeMin"),
    "summaries without times": ("v3/trace-summaries", 400, "query.startTimeMin"),
    "an id that is none": ("v3/traces/zz", 400, "hex digits"),
    "an id that is not there": ("v3/traces/abc", 404, "no traces found"),
    "operations without a service": ("v3/operations", 400, "'service'"),
    "a path that is not there": ("v3/nope", 404, "/-/jaeger/api/v3/nope"),
}
NOTHING = (f"v3/traces?{urlencode(WINDOW_V3)}&query.serviceName=x", 404, "no traces found")


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        *(pytest.param(*case, id=name) for name, case in REFUSED_V3.items()),
        pytest.param(*NOTHING, id="a search that finds nothing", marks=pytest.mark.integration),
    ],
)
async def test_errors_of_the_third_api_have_its_form(store: InProcess, path, code, message):
    """The third API's errors have a form of their own."""
    status, said = await get(store, path)
    assert (status, said["error"]["httpCode"], list(said)) == (code, code, ["error"])
    assert message in said["error"]["message"]


async def test_a_wrong_method_is_an_error_in_jaegers_form(store: InProcess):
    """A method that no page has, such as that of the archive, is an error in Jaeger's form."""
    sent = request("POST", f"/-/jaeger/api/archive/{TRACE}", [("Content-Type", "application/json")], b"{}")
    answer = await exchange(store.url, sent.replace(b"Host: test", b"Host: localhost"))
    assert answer.status == 404
    assert json.loads(answer.body)["errors"][0]["code"] == 404


async def test_a_store_that_is_too_slow_is_504(gateway: InProcess):
    """The message names the setting to change."""
    async with recording(gateway.data, Sql(timeout=0.01)):
        status, said = await get(gateway, "services")
    assert (status, said["errors"][0]["code"]) == (504, 504)
    assert "0.01 s" in said["errors"][0]["msg"]


@pytest.fixture(name="damaged")
def _damaged(filled: Path) -> Path:
    """Make a store with a segment that is no database."""
    (filled / "segments" / "w0-1.duckdb").write_bytes(b"no database")
    return filled


async def test_a_store_that_cannot_be_read_is_500(damaged: Path, gateway: InProcess):
    """The message has the reason."""
    async with recording(damaged):
        status, said = await get(gateway, "services")
    assert (status, said["data"]) == (500, None)
    assert "w0-1.duckdb" in said["errors"][0]["msg"]


@pytest.mark.integration
async def test_an_empty_store_is_no_error(gateway: InProcess):
    """An empty store gives empty lists, which a UI shows as such."""
    async with recording(gateway.data):
        assert await get(gateway, "services") == (200, EMPTY | {"data": []})
        assert await get(gateway, "traces", service="gateway") == (200, EMPTY | {"data": []})
        assert await get(gateway, "v3/trace-summaries", **WINDOW_V3) == (200, {"summaries": []})


async def test_it_is_served_under_a_loopback_name_only(store: InProcess):
    """A web page cannot read traces under a name of its own."""
    for path in ("services", f"traces/{TRACE}", "v3/services"):
        status, said = await get(store, path, host="evil.example")
        assert (status, list(said)) == (403, ["error"])


async def test_with_a_token_it_is_served_under_any_name(upstream: Upstream, filled: Path):
    """The token is accepted as a bearer token, as Grafana sends it; without it there is no answer."""
    async with InProcess(filled, to(upstream.url), token=TOKEN) as gateway, recording(filled):
        bearer = ("Authorization", f"Bearer {TOKEN}")
        assert (await get(gateway, "services", bearer, host="gateway.internal"))[1]["total"] == 2
        assert (await get(gateway, "services", ("Authorization", "Bearer x"), host="localhost"))[0] == 401
