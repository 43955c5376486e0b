"""The reference of the table: the gateway as one would write it first, everything in one process.

aiohttp on both sides, an SDK span per request with the whole content on it, and two stock batch processors, each with
its thread: one exports OTLP, one appends to DuckDB. It is tuned only where that costs nothing (uvloop, no access log).
Its cost places a machine: the ratio to it says more than microseconds do.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import duckdb
import uvloop
from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUE: Final = 100_000
"""Spans a processor may hold: as many as make sure that none is dropped, as the SDK's default of 2,048 would."""


class DuckDBExporter(SpanExporter):
    """Appends each batch of spans to a table, in its processor's thread."""

    def __init__(self, store: duckdb.DuckDBPyConnection) -> None:
        store.execute(
            "CREATE TABLE spans (trace_id TEXT, span_id TEXT, name TEXT, start_ns BIGINT, end_ns BIGINT,"
            " model TEXT, status BIGINT, input_tokens BIGINT, output_tokens BIGINT, attributes JSON)"
        )
        self._appender = store.cursor().appender("spans")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append the batch."""
        for span in spans:
            found = dict(span.attributes or {})
            self._appender.append_row(
                f"{span.context.trace_id:032x}",
                f"{span.context.span_id:016x}",
                span.name,
                span.start_time,
                span.end_time,
                found.get("gen_ai.request.model"),
                found.get("http.response.status_code"),
                found.get("gen_ai.usage.input_tokens"),
                found.get("gen_ai.usage.output_tokens"),
                json.dumps(found),
            )
        self._appender.flush()
        return SpanExportResult.SUCCESS


def describe(span: Span, request: dict[str, Any], status: int, body: bytes) -> None:
    """Put what was asked and answered on the span."""
    span.set_attribute("gen_ai.operation.name", "chat")
    span.set_attribute("gen_ai.provider.name", "openai")
    span.set_attribute("gen_ai.request.model", request["model"])
    span.set_attribute("gen_ai.input.messages", json.dumps(request["messages"]))
    span.set_attribute("http.request.method", "POST")
    span.set_attribute("http.response.status_code", status)
    if request.get("stream"):
        events = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
        chunks = [json.loads(event) for event in events]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
        span.set_attribute("gen_ai.response.model", chunks[0]["model"])
        span.set_attribute("gen_ai.output.messages", json.dumps([{"role": "assistant", "content": text}]))
    else:
        answer = json.loads(body)
        span.set_attribute("gen_ai.response.id", answer["id"])
        span.set_attribute("gen_ai.response.model", answer["model"])
        span.set_attribute("gen_ai.usage.input_tokens", answer["usage"]["prompt_tokens"])
        span.set_attribute("gen_ai.usage.output_tokens", answer["usage"]["completion_tokens"])
        span.set_attribute("gen_ai.output.messages", json.dumps([answer["choices"][0]["message"]]))


async def application(upstream: str, store: duckdb.DuckDBPyConnection) -> web.Application:
    """Return the server."""
    provider = TracerProvider()
    for exporter in (OTLPSpanExporter(f"{upstream}/v1/traces"), DuckDBExporter(store)):
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE))
    tracer = provider.get_tracer("naive")
    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def relay(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = json.loads(body)
        headers = {"authorization": "Bearer test-key", "content-type": "application/json"}
        with tracer.start_as_current_span(f"chat {asked['model']}", kind=SpanKind.CLIENT) as span:
            async with client.post(f"{upstream}{request.path}", data=body, headers=headers) as answer:
                response = web.StreamResponse(status=answer.status, headers={"content-type": answer.content_type})
                parts = []
                if asked.get("stream"):
                    await response.prepare(request)
                    async for part in answer.content.iter_any():
                        await response.write(part)
                        parts.append(part)
                    await response.write_eof()
                else:
                    parts.append(await answer.read())
                    response = web.Response(body=parts[0], status=answer.status, headers=response.headers)
                assert isinstance(span, Span)
                describe(span, asked, answer.status, b"".join(parts))
                return response

    async def stored(_: web.Request) -> web.Response:
        counted = store.cursor().execute("SELECT count(*) FROM spans").fetchone()
        return web.json_response(counted[0] if counted else None)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", relay)
    app.router.add_get("/stored", stored)
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(
        application(sys.argv[2], duckdb.connect("naive.duckdb")),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
    )
