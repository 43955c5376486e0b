"""The real Jaeger and the gateway say the same of the same traffic, span by span, in both of its APIs."""

import asyncio
import statistics
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from gateway.cli.demo import send
from tests.support.gateways import Process
from tests.support.jaeger import Jaeger, get
from tests.support.otlp_spans import of_an_application, wrapped
from tests.support.otlp_spans import send as send_spans

# The store has neither the version of a scope nor anything of a resource but its name.
NOT_STORED = "otel.scope.version"
# In a search: the median duration of Jaeger's traces, so that there are shorter and longer ones on any machine.
MEDIAN = "MEDIAN"
# A request that continues a trace of 64 bits, whose other spans are nowhere.
LOW = "a448eb211c80319c"
CONTINUED = {
    "Content-Type": "application/json",
    "traceparent": f"00-{LOW:0>32}-b7ad6b7169203331-01",
    "tracestate": "a=b",
}
CHAT = b'{"model": "demo/chat", "messages": [{"role": "user", "content": "Hello"}]}'

SEARCHES = {
    "all": {},
    "an operation": {"operation": "POST /v1/messages"},
    "a number": {"tags": '{"http.response.status_code":"429"}'},
    "a model": {"tags": '{"gen_ai.request.model":"flaky"}'},
    "two tags": {"tags": '{"gateway.retries":"1","gateway.outcome":"ok"}'},
    "an attribute without a column": {"tags": '{"gen_ai.system":"demo"}'},
    "a short time": {"maxDuration": MEDIAN},
    "a long time": {"minDuration": MEDIAN},
    "nothing": {"tags": '{"a":"b"}'},
}
PAGES = {
    "services": "services",
    "operations of a service": "services/gateway/operations",
    "operations": "operations?service=gateway",
    "operations of a kind": "operations?service=gateway&spanKind=server",
    "services, third API": "v3/services",
    "operations, third API": "v3/operations?service=gateway&span_kind=client",
    "dependencies": "dependencies",
}
WRONG = (
    "traces", "traces/zz", f"traces/{'a' * 33}", "traces/abc", "traces?service=gateway&tags=x", "operations",
    "traces?service=gateway&tag=x", "traces?service=gateway&limit=x", "traces?service=gateway&minDuration=5",
    "traces?service=gateway&minDuration=2s&maxDuration=1s", "traces?traceID=zz", "dependencies?lookback=1h",
    f"traces/{LOW}?start=x", "metrics/minstep", "v3/traces", "v3/traces/zz", "v3/traces/abc",
)  # fmt: skip


class Said(NamedTuple):
    """What one of the two says: pages by path, all traces by id, some of them by their own page, ids that it finds."""

    pages: dict[str, Any]
    traces: dict[str, Any]
    single: dict[str, Any]
    otlp: dict[str, Any]
    errors: set[str]
    found: dict[str, set[str]]


def said(api: str, median: str) -> Said:
    """Ask for everything; `median` is what MEDIAN stands for."""
    traces = traces_of(api)
    by_size = sorted(traces, key=lambda trace_id: (len(traces[trace_id]["spans"]), trace_id))
    some = [LOW, *by_size[-5:]]
    return Said(
        pages={path: get(f"{api}/{path}") for path in (*PAGES.values(), *WRONG, f"traces?traceID=1&traceID={LOW}")},
        traces=traces,
        single={trace_id: get(f"{api}/traces/{trace_id}") for trace_id in some},
        otlp={trace_id: get(f"{api}/v3/traces/{trace_id}") for trace_id in some},
        errors=found(api, {"tags": '{"error":"true"}'}),
        found={
            name: found(api, {key: value.replace(MEDIAN, median) for key, value in search.items()})
            for name, search in SEARCHES.items()
        },
    )


def traces_of(api: str) -> dict[str, Any]:
    """Return all traces by id: the gateway's, and an application's, whose spans came long ago."""
    times = "start=0&end=4102444800000000"
    pages = [get(f"{api}/traces?service={service}&limit=500&{times}") for service in ("gateway", "shop")]
    return {trace["traceID"]: trace for page in pages for trace in page["data"] or ()}


def median_duration(api: str) -> str:
    """Return the median duration of the spans of the gateway's traces, as a search gives it."""
    traces = [trace for trace in traces_of(api).values() if "gateway" in str(trace["processes"])]
    return f"{int(statistics.median(span['duration'] for trace in traces for span in trace['spans']))}us"


def found(api: str, search: dict[str, str]) -> set[str]:
    """Return the ids of the traces that a search finds."""
    query = urlencode({"service": "gateway", "limit": 500} | search)
    return {trace["traceID"] for trace in get(f"{api}/traces?{query}")["data"]}


def continued(url: str) -> None:
    """Send a request within a trace of somebody else's."""
    request = urllib.request.Request(f"{url}/v1/chat/completions", CHAT, CONTINUED)
    with urllib.request.urlopen(request, timeout=20) as response:
        response.read()


async def ask_both(folder: Path) -> tuple[Said, Said]:
    """Send the demo's traffic to a gateway that exports to Jaeger; return what Jaeger says of it, and the gateway."""
    with Jaeger(folder) as jaeger:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        async with Process(folder, environ=environ) as gateway:
            await send(gateway.url, 9, lambda *_: None)
            await asyncio.to_thread(continued, gateway.url)
            await send_spans(gateway.url, wrapped(of_an_application()))
            ((spans,),) = gateway.ask("SELECT count(*) FROM spans")
            for _ in range(200):
                if sum(len(trace["spans"]) for trace in traces_of(jaeger.api).values()) == spans:
                    break
                await asyncio.sleep(0.05)
            median = await asyncio.to_thread(median_duration, jaeger.api)
            theirs = await asyncio.to_thread(said, jaeger.api, median)
            return theirs, await asyncio.to_thread(said, f"{gateway.url}/-/jaeger/api", median)


@pytest.fixture(name="both", scope="module")
def _both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, Said]:
    return asyncio.run(ask_both(tmp_path_factory.mktemp("real")))


pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_every_trace_is_the_same_span_by_span(both: tuple[Said, Said]):
    """Ids, names, references, times, typed tags in their order, logs, and all around them."""
    theirs, ours = both
    assert len(theirs.traces) == 47
    assert ours.traces.keys() == theirs.traces.keys()
    for trace_id, trace in theirs.traces.items():
        assert comparable(ours.traces[trace_id]) == comparable(trace)


def test_a_trace_by_its_id_is_the_same(both: tuple[Said, Said]):
    """With all that is around it."""
    theirs, ours = both
    assert ours.single.keys() == theirs.single.keys()
    for trace_id, answer in theirs.single.items():
        (wanted,), (made,) = answer["data"], ours.single[trace_id]["data"]
        assert comparable(made) == comparable(wanted)
        assert ours.single[trace_id] | {"data": None} == answer | {"data": None}


def comparable(trace: Any) -> Any:
    """Return a trace with its spans by id, and without what is known to differ."""
    spans = {
        span["spanID"]: span | {"tags": [tag for tag in span["tags"] if tag["key"] != NOT_STORED]}
        for span in trace["spans"]
    }
    processes = {name: process | {"tags": []} for name, process in trace["processes"].items()}
    if trace["traceID"] == LOW:  # a parent that is missing hinders Jaeger in a thing that is not done here
        spans = {span_id: span | {"warnings": None} for span_id, span in spans.items()}
    return trace | {"spans": spans, "processes": processes}


def test_every_trace_is_the_same_in_the_third_api(both: tuple[Said, Said]):
    """OTLP as JSON: everything but a span's flags."""

    def spans(answer: Any) -> dict[str, Any]:
        return {
            span["spanId"]: {name: value for name, value in span.items() if name != "flags"}
            for group in answer["result"]["resourceSpans"]
            for scope in group["scopeSpans"]
            for span in scope["spans"]
        }

    theirs, ours = both
    assert ours.otlp.keys() == theirs.otlp.keys()
    for trace_id, answer in theirs.otlp.items():
        wanted = spans(answer)
        for span in wanted.values():
            span["attributes"] = [each for each in span["attributes"] if each["key"] != "@jaeger@warnings"]
        assert spans(ours.otlp[trace_id]) == wanted


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_the_same(both: tuple[Said, Said], name: str):
    """Whatever is searched for."""
    theirs, ours = both
    assert ours.found[name] == theirs.found[name]
    assert bool(ours.found[name]) == (name != "nothing")


def test_errors_are_found_where_jaeger_shows_one(both: tuple[Said, Said]):
    """Its store in memory finds none by this tag, those on disk do."""
    theirs, ours = both
    wanted = {
        trace_id
        for trace_id, trace in theirs.traces.items()
        if "gateway" in str(trace["processes"])  # whose traces are searched
        and any(tag["key"] == "error" and tag["value"] is True for span in trace["spans"] for tag in span["tags"])
    }
    assert ours.errors == wanted != set()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_the_same(both: tuple[Said, Said], name: str):
    """But for the order of names, which Jaeger has none for."""

    def ordered(answer: dict[str, Any]) -> dict[str, Any]:
        return {key: sorted(value, key=repr) if isinstance(value, list) else value for key, value in answer.items()}

    theirs, ours = both
    assert ordered(ours.pages[PAGES[name]]) == ordered(theirs.pages[PAGES[name]])


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_refused_alike(both: tuple[Said, Said], path: str):
    """The same shape and the same code; the words are each one's own."""

    def without_words(answer: Any) -> Any:
        if isinstance(answer, dict):
            return {key: without_words(value) for key, value in answer.items() if key not in {"msg", "message"}}
        return [without_words(item) for item in answer] if isinstance(answer, list) else answer

    theirs, ours = both
    assert without_words(ours.pages[path]) == without_words(theirs.pages[path])


def test_a_trace_that_is_missing_among_many_is_named_alike(both: tuple[Said, Said]):
    """In the errors beside what is there."""
    theirs, ours = both
    path = f"traces?traceID=1&traceID={LOW}"
    assert ours.pages[path]["errors"] == theirs.pages[path]["errors"]
    assert [trace["traceID"] for trace in ours.pages[path]["data"]] == [LOW]
