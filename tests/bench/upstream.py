"""The provider of every row, in its own process: answers chat completions at the pace asked for, as cheaply as it can.

It also takes OTLP on `/v1/traces`, and tells on `/counts` how many completions it has answered and how many spans it
has been sent, so that an answer from a cache, a silent retry and a lost span are all seen.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections import deque
from functools import partial
from typing import Final, cast

import httptools
import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench import traffic
from tests.bench.timers import Timers

_JSON: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
_STREAM: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Shelf:
    """What the connections share: the answers, ready to send, and what has been counted."""

    def __init__(self) -> None:
        bodies = (traffic.response(number) for number in range(traffic.VARIANTS))
        self.answers: Final = [_JSON % (len(body), body) for body in bodies]
        self.timers: Final = Timers()
        self.completions = 0
        self.exports: list[bytes] = []
        self.spans = 0

    def counts(self) -> bytes:
        """Return the counts as JSON. Exports are decoded only here, outside what is measured."""
        for export in self.exports:
            body = gzip.decompress(export) if export[:2] == b"\x1f\x8b" else export
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += sum(len(scope.spans) for scope in resource.scope_spans)
        self.exports.clear()
        return json.dumps({"completions": self.completions, "spans": self.spans}).encode()


class Connection(asyncio.Protocol):
    """One kept connection; a request at a time."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.url = b""
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start reading."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are of no common class
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self.url += url

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self.body.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        url, body = self.url, b"".join(self.body)
        self.url = b""
        self.body.clear()
        if url.endswith(b"/chat/completions") and (asked := traffic.read(body)) is not None:
            self.shelf.completions += 1
            if asked.pace.delay_ms:
                due = time.monotonic_ns() + asked.pace.delay_ms * 1_000_000
                self.shelf.timers.at(due, partial(self.complete, asked))
            else:
                self.complete(asked)
        elif url.endswith(b"/v1/traces"):
            self.shelf.exports.append(body)
            self.transport.write(_JSON % (2, b"{}"))
        elif url == b"/counts":
            counts = self.shelf.counts()
            self.transport.write(_JSON % (len(counts), counts))
        else:
            self.transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    def complete(self, asked: traffic.Asked) -> None:
        """Send a whole answer, or start a stream."""
        if self.transport.is_closing():
            return
        if not asked.pace.chunks:
            self.transport.write(self.shelf.answers[asked.number])
            return
        parts = traffic.events(asked.number, asked.pace.chunks, usage=asked.usage)
        chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
        paced = asked.pace.chunks + 1  # what follows the text comes at once, whether usage was asked for or not
        frames = deque([*chunks[:paced], b"".join(chunks[paced:]) + b"0\r\n\r\n"])
        self.transport.write(_STREAM)
        self.stream(frames, asked.pace.gap_ms * 1_000_000, time.monotonic_ns())

    def stream(self, frames: deque[bytes], gap: int, due: int) -> None:
        """Send one event and come back for the next when it is due, so that no delay adds up."""
        if self.transport.is_closing():
            return
        self.transport.write(frames.popleft())
        if frames:
            self.shelf.timers.at(due + gap, partial(self.stream, frames, gap, due + gap))


async def serve() -> None:
    """Print the port and answer until standard input ends, that is, until the bench is gone."""
    loop = asyncio.get_running_loop()
    shelf = Shelf()
    server = await loop.create_server(lambda: Connection(shelf), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
