"""The calls of Grafana's Jaeger datasource, as its backend or, in older versions, its page makes them.

The types are those into which its backend decodes, as strictly: what is missing or of another type fails there.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from tests.server.admin.test_forward import TOKEN
from tests.server.admin.test_jaeger import ANSWERED, FAILED, LINES, ROOT, TRACE
from tests.support.admin import recording
from tests.support.gateways import InProcess, to
from tests.support.raw_http import exchange, request
from tests.support.store import START_NS, sealed
from tests.support.upstream import Upstream

pytestmark = pytest.mark.integration

FROM_MS, TO_MS = START_NS // 10**6 - 1000, START_NS // 10**6 + 60_000
FROM_UTC, TO_UTC = "2023-11-14T22:13:19Z", "2023-11-14T22:14:20.25Z"


class Names(Struct):
    """Of services and operations."""

    data: list[str]
    errors: Any
    limit: int
    offset: int
    total: int


class KeyValue(Struct):
    """A tag."""

    key: str
    type: str
    value: str | int | float | bool


class Process(Struct):
    """A service."""

    serviceName: str  # noqa: N815  Jaeger's
    tags: list[KeyValue]


class Reference(Struct):
    """From one span to another."""

    refType: str  # noqa: N815
    spanID: str  # noqa: N815
    traceID: str  # noqa: N815


class Log(Struct):
    """An event."""

    timestamp: int
    fields: list[KeyValue]


class Span(Struct):
    """A span; its times are microseconds."""

    traceID: str  # noqa: N815
    spanID: str  # noqa: N815
    processID: str  # noqa: N815
    operationName: str  # noqa: N815
    startTime: int  # noqa: N815
    duration: int
    logs: list[Log]
    references: list[Reference]
    tags: list[KeyValue]
    warnings: list[str] | None


class Trace(Struct):
    """A trace."""

    traceID: str  # noqa: N815
    spans: list[Span]
    processes: dict[str, Process]
    warnings: list[str] | None


class Traces(Struct):
    """Of a search, or of a look-up."""

    data: list[Trace]
    errors: Any
    limit: int
    offset: int
    total: int


class Link(Struct):
    """An edge of the graph."""

    parent: str
    child: str
    callCount: int  # noqa: N815


class Links(Struct):
    """The graph."""

    data: list[Link]
    errors: list[Any] | None


@pytest.fixture(name="data")
def _data(tmp_path: Path) -> Path:
    sealed(tmp_path / "data", LINES)
    return tmp_path / "data"


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, data: Path) -> AsyncIterator[InProcess]:
    """Run a gateway with a token, which the datasource has as a header of its own."""
    async with InProcess(data, to(upstream.url), token=TOKEN) as gateway, recording(data):
        yield gateway


async def call(gateway: InProcess, path: str, kind: Any) -> Any:
    """Ask as Go's client does."""
    headers = [("User-Agent", "Grafana/12"), ("Accept-Encoding", "gzip"), ("Authorization", f"Bearer {TOKEN}")]
    answer = await exchange(gateway.url, request("GET", f"/-/jaeger{path}", headers))
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body, type=kind)


async def test_the_datasource_is_well(gateway: InProcess):
    """Its test asks for the services, and wants one at least."""
    said = await call(gateway, "/api/services", Names)
    assert (said.data, said.total) == (["gateway"], 1)


async def test_the_search_form_has_services_and_operations(gateway: InProcess):
    """It offers each service, and then its operations."""
    assert (await call(gateway, "/api/services/gateway/operations", Names)).data == ["POST /v1/x", "chat m"]


@pytest.mark.parametrize("hints", ["", f"?end={TO_MS}&start={FROM_MS}", f"?end={TO_MS}000&start={FROM_MS}000"])
async def test_a_trace_is_looked_up_by_its_id(gateway: InProcess, hints: str):
    """With the screen's times, if that is set: some versions send milliseconds for microseconds."""
    said = await call(gateway, f"/api/traces/{TRACE}{hints}", Traces)
    trace = said.data[0]
    assert {span.spanID for span in trace.spans} == {ROOT, FAILED, ANSWERED}
    parents = {
        span.spanID: [ref.spanID for ref in span.references if ref.refType == "CHILD_OF"] for span in trace.spans
    }
    assert parents == {ROOT: [], FAILED: [ROOT], ANSWERED: [ROOT]}
    assert {trace.processes[span.processID].serviceName for span in trace.spans} == {"gateway"}
    failed = next(span for span in trace.spans if span.spanID == FAILED)
    assert ("error", "bool", True) in [(tag.key, tag.type, tag.value) for tag in failed.tags]


async def test_a_trace_that_is_not_there_is_404(gateway: InProcess):
    """Which it shows as an error; it would fail on an empty list."""
    answer = await exchange(
        gateway.url, request("GET", "/-/jaeger/api/traces/abc", [("Authorization", f"Bearer {TOKEN}")])
    )
    assert answer.status == 404
    assert json.loads(answer.body)["errors"][0]["msg"] == "trace not found"


BACKEND = (
    f"end={TO_MS}000&limit=20&maxDuration=1s&minDuration=100us&operation=chat+m&service=gateway&start={FROM_MS}000"
)
SEARCHES = {
    "of its backend": BACKEND,
    "of its backend, with tags": BACKEND + "&tags=%7B%22error%22%3A%22true%22%2C%22span.kind%22%3A%22client%22%7D",
    "of its page": f"service=gateway&limit=20&start={FROM_MS}000&end={TO_MS}000&lookback=custom",
    "of its page, with tags": f"service=gateway&tags=%7B%22error%22%3A%22true%22%7D&start={FROM_MS}000&end={TO_MS}000",
}


@pytest.mark.parametrize("query", SEARCHES.values(), ids=SEARCHES.keys())
async def test_a_search_fills_the_table(gateway: InProcess, query: str):
    """A row has the trace's id, name, start and duration, which it takes from the spans."""
    said = await call(gateway, f"/api/traces?{query}", Traces)
    (trace,) = said.data
    first = min(trace.spans, key=lambda span: span.startTime)
    assert (trace.traceID, first.startTime) == (TRACE, START_NS // 1000)
    assert max(span.startTime + span.duration for span in trace.spans) - first.startTime == 9_000


async def test_the_dependency_graph(gateway: InProcess):
    """Its edges are within the screen's times, in milliseconds."""
    said = await call(gateway, f"/api/dependencies?endTs={TO_MS}&lookback={TO_MS - FROM_MS}", Links)
    assert [(link.parent, link.child, link.callCount) for link in said.data] == [("gateway", "gateway", 2)]
    assert not said.errors


async def test_the_calls_behind_its_switch_for_the_third_api(gateway: InProcess):
    """`jaegerEnableGrpcEndpoint`: the same by OTLP; its times stand in the query as they are."""
    assert await call(gateway, "/api/v3/services", Any) == {"services": ["gateway"]}
    said = await call(gateway, "/api/v3/operations?service=gateway", Any)
    assert [each["name"] for each in said["operations"]] == ["POST /v1/x", "chat m"]
    looked_up = await call(gateway, f"/api/v3/traces/{TRACE}?start_time={FROM_UTC}&end_time={TO_UTC}", Any)
    times = f"&query.start_time_min={FROM_UTC}&query.start_time_max={TO_UTC}"
    found = await call(gateway, f"/api/v3/traces?query.operation_name=chat+m&query.service_name=gateway{times}", Any)
    assert looked_up == found
    (group,) = found["result"]["resourceSpans"]
    assert group["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "gateway"}}]
    spans = group["scopeSpans"][0]["spans"]
    assert {span["spanId"] for span in spans} == {ROOT, FAILED, ANSWERED}
    assert all(span["startTimeUnixNano"].isdecimal() and span["endTimeUnixNano"].isdecimal() for span in spans)
