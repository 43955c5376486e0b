"""An application in Node, with OpenTelemetry's own npm packages: its spans, sent as JSON, above the gateway's."""

import shutil
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.support.gateways import InProcess
from tests.support.npm import node_packages
from tests.support.paths import TESTS
from tests.support.upstream import Upstream, reply

pytestmark = pytest.mark.integration

ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_one_tree_from_an_application_in_node(
    upstream: Upstream, gateway: InProcess, tmp_path: Path, compression: str
):
    """Its span is above the exchange, with all that it says; half a character costs nothing but itself."""
    (tmp_path / "node_modules").symlink_to(node_packages())
    shutil.copy(TESTS / "node" / "application.mjs", tmp_path)
    upstream.answers(reply(ANSWER))
    process = await create_subprocess_exec(
        "node", "application.mjs", gateway.url, compression, cwd=tmp_path, stdout=PIPE, stderr=PIPE
    )
    printed, problems = await process.communicate()
    assert (process.returncode, problems) == (0, b"")
    trace_id = printed.decode().strip()
    tree = gateway.ask(
        "SELECT s.origin, s.service_name, s.name, above.name FROM spans s LEFT JOIN spans above "  # noqa: S608
        f"ON above.span_id = s.parent_span_id WHERE s.trace_id = '{trace_id}' ORDER BY s.start_ns"
    )
    assert tree == [
        ("otlp", "node-shop", "POST /orders", None),
        ("gateway", "gateway", "POST /v1/chat/completions", "POST /orders"),
        ("gateway", "gateway", "chat gpt-5", "POST /v1/chat/completions"),
    ]
    (line,) = gateway.received()
    assert line["attributes"] == {
        "whole": 3, "part": 1.5, "large": 1152921504606847000, "many": [1, 2], "cut": "a smile ?",
    }  # fmt: skip
    assert [(event["name"], event["attributes"]) for event in line["events"]] == [("answered", {"chunks": 1})]
    assert (line["status"], line["status_message"], line["kind"]) == ("ERROR", "out of stock", "SERVER")
    assert line["otlp"]["scope"] == {"name": "shop", "version": "3.1"}
