"""The current run and step: positions in a context variable, and spans of the application's OpenTelemetry."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import ids as run_ids
from gateway.client import context
from gateway.client.context import Position
from tests.support.event_receiver import EventReceiver, event_receiver
from tests.support.upstream import Upstream


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    async with event_receiver(monkeypatch, upstream) as gateway:
        yield gateway


def position(outer: Position | None = None) -> Position:
    """Return a position, of no run."""
    return Position(run=None, step=None, outer=outer, trace_id="0" * 32, span_id="0" * 16, metadata={})


def test_positions_nest():
    """Leaving restores the position before."""
    a, b = position(), position()
    assert context.enter(a) is None
    assert context.enter(b) is a
    context.leave(b, a)
    assert context.current() is a
    context.leave(a, None)
    assert context.current() is None


def test_a_position_that_has_ended_is_skipped():
    """Leaving restores the nearest position around it that has not ended."""
    a = position()
    b = position(a)
    c = position(b)
    context.enter(a), context.enter(b), context.enter(c)
    b.ended = True
    context.leave(c, b)
    assert context.current() is a
    context.leave(a, None)


def test_leaving_elsewhere_changes_nothing():
    """A position that is not the current one leaves the current one as it is."""
    a, b = position(), position()
    context.enter(a)
    context.leave(b, None)
    assert context.current() is a
    context.leave(a, None)


def test_without_opentelemetry_there_is_no_span(monkeypatch: pytest.MonkeyPatch):
    """An application that has not imported OpenTelemetry has no span to be the parent."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert context.start_span("name", {}) is None


OTEL = """
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from gateway.client import *
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
if RECORDS: trace.set_tracer_provider(provider)
tracer = provider.get_tracer("app")
said = []
@step("generator")
def generator():
    said.append(headers()["traceparent"])
    yield
    said.append(headers()["traceparent"])
with run("before"), step("not below any span"):
    pass
with tracer.start_as_current_span("request"):
    with run("r") as r:
        with step("a") as a:
            with tracer.start_as_current_span("inner"):
                with step("b") as b:
                    said.append(headers()["traceparent"])
        with step("c") as c:
            pass
        for _ in generator():
            assert trace.get_current_span().name == "r" if RECORDS else True
        try:
            with step("d"):
                raise ValueError("x")
        except ValueError:
            pass
        with tracer.start_as_current_span("elsewhere", context=trace.set_span_in_context(trace.INVALID_SPAN)):
            with step("e") as e:
                pass
    with step("alone"):
        pass
assert not trace.get_current_span().get_span_context().is_valid
names = {s.context.span_id: s.name for s in exporter.get_finished_spans()}
spans = {s.name: [names.get(s.parent.span_id) if s.parent else None, s.status.status_code.name,
    format(s.context.trace_id, "032x"), format(s.context.span_id, "016x")] for s in exporter.get_finished_spans()}
ids = {s.name: [s.trace_id, s.span_id, s.id] for s in (r, a, b, c, e)}
print(json.dumps({"spans": spans, "ids": ids, "said": said}))
"""


async def test_runs_and_steps_are_spans_of_an_application_that_has_some(gateway):
    """Below its current span, recorded by its own OpenTelemetry; the gateway is told their ids."""
    said = await spans_of(gateway, records=True)
    spans, ids = said["spans"], said["ids"]
    assert {name: parent for name, (parent, *_) in spans.items()} == {
        "request": None, "r": "request", "a": "r", "inner": "a", "b": "inner", "c": "r", "generator": "r", "d": "r",
        "elsewhere": None, "alone": "alone",
    }  # fmt: skip
    assert spans["d"][1] == "ERROR"
    assert all(ids[name][:2] == spans[name][2:] for name in ("r", "a", "b", "c"))
    assert ids["e"][:2] == [spans["r"][2], run_ids.step_span_id(ids["e"][2])]
    traces = [each.split("-")[1:3] for each in said["said"]]
    assert traces == [spans["b"][2:], spans["generator"][2:], spans["generator"][2:]]
    events = [each for batch in gateway.bodies for each in batch]
    told = {each["name"]: (each.get("trace_id"), each.get("span_id")) for each in events if each["type"] == "run:start"}
    assert told["before"] == (None, None)
    assert told["r"] == tuple(spans["r"][2:])
    told = {each["data"]["name"]: each["data"].get("span_id") for each in events if each["type"] == "step:start"}
    assert told == {"not below any span": None, "e": None} | {
        name: spans[name][3] for name in ("a", "b", "c", "generator", "d", "alone")
    }


async def test_a_span_that_nobody_records_gives_its_trace_only(gateway):
    """Where there is an API without an SDK, runs are in the trace that came in, under ids of their own."""
    said = await spans_of(gateway, records=False)
    assert set(said["spans"]) == {"request", "inner", "elsewhere"}
    trace_id, span_id, own_id = said["ids"]["r"]
    assert (trace_id, span_id) == (said["spans"]["request"][2], run_ids.run_span_id(own_id))
    events = [each for batch in gateway.bodies for each in batch]
    told = {each["name"]: (each.get("trace_id"), each.get("span_id")) for each in events if each["type"] == "run:start"}
    assert told["r"] == (trace_id, None)
    assert not any("span_id" in each["data"] for each in events if each["type"] == "step:start")


async def spans_of(gateway: EventReceiver, *, records: bool) -> dict[str, Any]:
    """Run an application with OpenTelemetry in a process of its own, and return what it saw."""
    environ = {"GATEWAY_URL": gateway.url, "PYTHONPATH": ":".join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"RECORDS = {records}\n{OTEL}", env=environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    return json.loads(out)
