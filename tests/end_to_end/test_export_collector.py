"""A real Collector gets a whole store's history, equal to what SQL says of it, span by span, over both protocols."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.demo import running, send
from tests.support.collector import Collector
from tests.support.gateways import ask

pytestmark = pytest.mark.integration

# What is sent beside what the store has.
_BESIDES = {"gen_ai.system", "gen_ai.usage.cache_creation.input_tokens", "langfuse.observation.completion_start_time"}


@pytest.fixture(name="demo", scope="module")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store of the demo's traffic: retries, tools, broken streams, errors."""
    data = tmp_path_factory.mktemp("demo") / "data"
    with running(data) as url:
        asyncio.run(send(url, 9, lambda *_: None))
    return data


def _stored(data: Path) -> dict[str, dict[str, Any]]:
    """Return all spans as the view `otel_traces` has them, which does not know how they are sent."""
    rows = ask(
        data,
        "SELECT SpanId, TraceId, ParentSpanId, SpanName, SpanKind, epoch_us(Timestamp) AS us, Duration, StatusCode, "
        "SpanAttributes, ServiceName FROM otel_traces",
    )
    return {
        row[0]: {
            "trace_id": row[1],
            "parent_span_id": row[2] or None,
            "name": row[3],
            "kind": row[4].upper(),
            "start_us": row[5],
            "duration_ns": row[6] or 0,
            "status": row[7].upper(),
            "attributes": json.loads(row[8]),
            "service": row[9],
        }
        for row in rows
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_collector_has_what_the_store_has(tmp_path, demo, protocol):
    """Every span arrives once, with its ids, times, status and every attribute as it is stored."""
    with Collector(tmp_path) as collector:
        url = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
        command = [
            sys.executable,
            "-m",
            "gateway",
            "export",
            "--otlp",
            url,
            "--protocol",
            protocol,
            "--content",
            "full",
        ]
        done = subprocess.run([*command, "--data", str(demo), "--json"], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        collector.stop()
        spans = collector.spans()
    stored = _stored(demo)
    assert json.loads(done.stdout)["sent"] == len(spans) == len(stored) > 90
    assert {span["span_id"] for span in spans} == set(stored)
    assert [span["start_ns"] for span in spans] == sorted(span["start_ns"] for span in spans)
    for span in spans:
        attributes = span["attributes"]
        content = {name: json.loads(attributes[name]) for name in attributes if name in _CONTENT}
        row = stored[span["span_id"]]
        told = {name: json.loads(value) for name, value in row["attributes"].items() if name in _CONTENT}
        if "gen_ai.tool.definitions" in content:  # as the conventions have them, not as they were sent
            assert [tool["name"] for tool in content.pop("gen_ai.tool.definitions")] == ["weather"]
            told.pop("gen_ai.tool.definitions")
        assert content == told
        assert {name: value for name, value in attributes.items() if name not in _BESIDES | _CONTENT} == {
            name: value for name, value in row["attributes"].items() if name not in _CONTENT
        }
        assert {
            "trace_id": span["trace_id"],
            "parent_span_id": span["parent_span_id"],
            "name": span["name"],
            "kind": span["kind"],
            "start_us": span["start_ns"] // 1000,
            "duration_ns": span["end_ns"] - span["start_ns"],
            "status": span["status"],
            "service": span["resource"]["service.name"],
        } == {name: value for name, value in row.items() if name != "attributes"}


_CONTENT = {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions"}
