"""Demo traffic by way of the real Collector, as shipped, to the real Jaeger: what it shows is what the store has."""

import asyncio
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.cli.demo import send as send_demo
from gateway.store.otlp.vocabularies import ALIASES
from tests.support.collector import ROOT, collector_binary, free_port
from tests.support.gateways import Process, ask
from tests.support.jaeger import Jaeger, get
from tests.support.otlp_spans import of_an_application, send, wrapped
from tests.support.run_events import post_events, whole_run

# What Jaeger makes tags of that are no attributes.
OF_ITS_OWN = {"span.kind", "error", "otel.status_code", "otel.status_description", "otel.scope.name",
              "otel.scope.version", "w3c.tracestate"}  # fmt: skip
# What is sent beside what is stored: older names; and in another form: the definitions of tools.
ADDED = {*ALIASES.values(), "langfuse.observation.completion_start_time"}
OTHER_FORM = "gen_ai.tool.definitions"
SQL = """
SELECT TraceId, SpanId, ParentSpanId, SpanName, lower(SpanKind), ServiceName, ScopeName, epoch_us(Timestamp),
    Duration // 1000, StatusCode, StatusMessage, SpanAttributes, ResourceAttributes, Events, Links
FROM otel_traces
"""


class Shown(NamedTuple):
    """A span as either of the two has it."""

    trace_id: str
    parents: list[tuple[str, str]]
    name: str
    kind: str
    service: str
    scope: str
    start_us: int
    took_us: int
    status: tuple[str, str]
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]


@contextmanager
def collector(folder: Path, jaeger: Jaeger) -> Iterator[str]:
    """Run the Collector by the shipped configuration, its addresses said by variables; give where it takes OTLP."""
    grpc, http = free_port(), free_port()
    environment = os.environ | {
        "OTLP_GRPC_LISTEN": f"127.0.0.1:{grpc}",
        "OTLP_HTTP_LISTEN": f"127.0.0.1:{http}",
        "JAEGER_OTLP_ENDPOINT": jaeger.otlp_grpc,
        "PROMETHEUS_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}/api/v1/otlp",  # nobody is there
    }
    command = [str(collector_binary()), "--config", str(ROOT / "collector-config.yaml")]
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--set=service::telemetry::metrics::level=none"], env=environment, stderr=log
        )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{http}/", timeout=1).close()
            except urllib.error.HTTPError as error:
                error.close()
                break
            except OSError:
                assert process.poll() is None, (folder / "collector.log").read_text()
                time.sleep(0.05)
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(20)


async def both(folder: Path) -> tuple[dict[str, list[Shown]], dict[str, Shown]]:
    """Send traffic of all kinds; return Jaeger's spans by id, and the store's."""
    with Jaeger(folder) as jaeger, collector(folder, jaeger) as endpoint:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with Process(folder, '[capture]\notlp = "full"\n', environ=environ, workers=2) as gateway:
            await send_demo(gateway.url, 9, lambda *_: None)
            await post_events(gateway.url, whole_run())
            await send(gateway.url, wrapped(of_an_application()))
            stored = {row[1]: of_store(row) for row in ask(gateway.data, SQL)}
            services = {each.service for each in stored.values()}
            for _ in range(400):
                shown = [each for service in services for each in spans_of(jaeger, service)]
                if len(shown) >= len(stored):
                    break
                await asyncio.sleep(0.05)
    found: dict[str, list[Shown]] = {}
    for span_id, each in shown:
        found.setdefault(span_id, []).append(each)
    return found, stored


def spans_of(jaeger: Jaeger, service: str) -> list[tuple[str, Shown]]:
    """Return all spans of a service."""
    traces = (
        get(f"{jaeger.api}/traces?service={service}&limit=1000&lookback=custom&start=0&end=4102444800000000")["data"]
        or []
    )
    return [
        (each["spanID"], of_jaeger(each, trace["processes"][each["processID"]]))
        for trace in traces
        for each in trace["spans"]
        if trace["processes"][each["processID"]]["serviceName"] == service
    ]


def of_jaeger(each: Any, process: Any) -> Shown:
    """Return a span as Jaeger's API has it."""
    tags = values_of(each["tags"])
    return Shown(
        each["traceID"].rjust(32, "0"),
        sorted((of["refType"], of["spanID"]) for of in each["references"]),
        each["operationName"],
        tags["span.kind"],
        process["serviceName"],
        tags.get("otel.scope.name", ""),
        each["startTime"],
        each["duration"],
        (
            {"OK": "Ok", "ERROR": "Error"}.get(tags.get("otel.status_code"), "Unset"),
            tags.get("otel.status_description", ""),
        ),
        {key: value for key, value in tags.items() if key not in OF_ITS_OWN},
        values_of(process["tags"]) | {"service.name": process["serviceName"]},
        [
            (fields.pop("event", ""), log["timestamp"], fields)
            for log in each["logs"]
            for fields in [values_of(log["fields"])]
        ],
    )


def values_of(tags: Any) -> dict[str, Any]:
    """Return tags as they are typed: whole numbers beyond JavaScript's come as text."""
    return {tag["key"]: int(tag["value"]) if tag["type"] == "int64" else tag["value"] for tag in tags}


def of_store(row: Any) -> Shown:
    """Return a span as the store has it, its lists as the JSON that Jaeger makes of them."""
    trace_id, _, parent, *plain, status, message, attributes, resource, events, links = row
    linked = [link["span_id"] for link in json.loads(links)]
    parents = [("CHILD_OF", parent)] if parent and parent not in linked else []
    return Shown(
        trace_id,
        sorted([*parents, *(("FOLLOWS_FROM", each) for each in linked)]),
        *plain,
        (status, message),
        {
            key: value if not isinstance(value, list) else as_text(value)
            for key, value in json.loads(attributes).items()
        },
        json.loads(resource),
        [(each["name"], each["time_ns"] // 1000, each["attributes"]) for each in json.loads(events)],
    )


def as_text(value: list[Any]) -> str:
    """Return a list as Go writes it: a whole number has no fraction."""
    whole = [int(each) if isinstance(each, float) and each.is_integer() else each for each in value]
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False)


@pytest.fixture(name="found", scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Shown]], dict[str, Shown]]:
    return asyncio.run(both(tmp_path_factory.mktemp("chain")))


pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_each_span_of_the_store_is_there_once(found):
    """None is lost on the way, none doubled, none made up."""
    theirs, stored = found
    assert {span_id: len(many) for span_id, many in theirs.items()} == dict.fromkeys(stored, 1)
    assert len(stored) >= 100
    assert {each.service for each in stored.values()} == {"gateway", "shop"}


def test_each_span_says_the_same(found):
    """Trace, parents, name, kind, service, scope, times, status, events, links, and each attribute with its type."""
    theirs, stored = found
    for span_id, wanted in stored.items():
        (made,) = theirs[span_id]
        attributes, sent = dict(wanted.attributes), dict(made.attributes)
        assert (attributes.pop(OTHER_FORM, None) is None) == (sent.pop(OTHER_FORM, None) is None)
        assert {key: value for key, value in sent.items() if key in attributes or key not in ADDED} == attributes
        if wanted.service == "shop":
            assert made.resource == wanted.resource
        others = {"attributes": {}, "resource": {}}
        assert made._replace(**others) == wanted._replace(**others)
