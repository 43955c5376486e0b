"""The load: closed loops and fixed rates over kept connections, every answer checked, in a process of its own.

One job comes in as a line of JSON and one result goes back as a line. Nothing here awaits a request: callbacks keep
the client several times cheaper than what it measures.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from itertools import count
from time import perf_counter
from typing import Final, cast

import httptools
import msgspec
import uvloop

from tests.bench import traffic

GRACE_SECONDS: Final = 20.0
"""How long a job waits for answers that are still out when its time is over."""

MAX_IN_FLIGHT: Final = 2048
"""Where a fixed rate stops opening connections to a gateway that cannot keep up."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A load. With `rate`, requests start that often per second; without, `clients` each send the next when done.

    Attributes:
        identical: Whether the answer's bytes must be the upstream's, or only its text.
        first: The number of the first request, so that rows go on through the variants instead of repeating.

    """

    port: int
    path: str
    model: str
    headers: dict[str, str]
    identical: bool
    seconds: float
    clients: int
    rate: int = 0
    pace: traffic.Pace = traffic.Pace()
    first: int = 0


class Result(msgspec.Struct, kw_only=True):
    """What a job saw; milliseconds, counted from when a request was due. `failures` counts by what was wrong."""

    sent: int
    answered: int
    seconds: float
    p50: float
    p99: float
    first_byte_p50: float
    failures: dict[str, int]


class Load:
    """One job while it runs."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.loop = asyncio.get_running_loop()
        self.numbers = count(job.first)
        self.idle: list[Connection] = []
        self.connections: set[Connection] = set()
        self.sent = 0
        self.out = 0
        self.total: list[float] = []
        self.first_byte: list[float] = []
        self.failures: dict[str, int] = {}
        self.sending = True
        self.finished = asyncio.Event()
        fields = {
            "host": f"127.0.0.1:{job.port}",
            "authorization": "Bearer test-key",
            "content-type": "application/json",
            "accept": "*/*",
            **job.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.head = f"POST {job.path} HTTP/1.1\r\n{head}content-length: ".encode()

    async def run(self) -> Result:
        """Send for the job's seconds, wait for what is out, and sum up."""
        job = self.job
        self.idle = [await self.connect() for _ in range(job.clients)]
        started = perf_counter()
        if job.rate:
            for index in range(round(job.rate * job.seconds)):
                self.loop.call_later(index / job.rate, self.send_due)
        else:
            for connection in [self.idle.pop() for _ in range(job.clients)]:
                self.send(connection, started)
        await asyncio.sleep(job.seconds)
        self.sending = False
        if self.out:
            try:
                await asyncio.wait_for(self.finished.wait(), GRACE_SECONDS)
            except TimeoutError:
                self.failures["no answer"] = self.out
        ended = perf_counter()
        for connection in list(self.connections):
            connection.close()
        return Result(
            sent=self.sent,
            answered=len(self.total),
            seconds=ended - started,
            p50=_quantile(self.total, 0.50),
            p99=_quantile(self.total, 0.99),
            first_byte_p50=_quantile(self.first_byte, 0.50),
            failures=self.failures,
        )

    async def connect(self) -> Connection:
        """Open one more connection."""
        _, connection = await self.loop.create_connection(lambda: Connection(self), "127.0.0.1", self.job.port)
        return connection

    def send(self, connection: Connection, due: float) -> None:
        """Send the next request."""
        number = next(self.numbers) % traffic.VARIANTS
        self.sent += 1
        self.out += 1
        body = traffic.request(number, self.job.model, self.job.pace)
        connection.send(number, due, b"%s%d\r\n\r\n%s" % (self.head, len(body), body))

    def send_due(self) -> None:
        """Send a request of a fixed rate, on a new connection if none is free."""
        due = perf_counter()
        if self.idle:
            self.send(self.idle.pop(), due)
        elif len(self.connections) < MAX_IN_FLIGHT:
            self.out += 1
            self.loop.create_task(self.connect()).add_done_callback(lambda task: self.send_new(task, due))
        else:
            self.fail("not sent: too many in flight")

    def send_new(self, task: asyncio.Task[Connection], due: float) -> None:
        """Send a request that has waited for its connection."""
        self.out -= 1
        if task.exception() is None:
            self.send(task.result(), due)
        else:
            self.fail("cannot connect")
            self.settle()

    def fail(self, reason: str) -> None:
        """Count one failure."""
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def done(self, connection: Connection, due: float, first_byte: float, failure: str | None) -> None:
        """Take an answer, and send the next request or finish."""
        now = perf_counter()
        self.out -= 1
        if failure is None:
            self.total.append(now - due)
            self.first_byte.append(first_byte - due)
        else:
            self.fail(failure)
        if connection.transport.is_closing():
            if self.sending and not self.job.rate:
                self.out += 1
                self.loop.create_task(self.connect()).add_done_callback(lambda task: self.send_new(task, now))
        elif self.job.rate:
            self.idle.append(connection)
        elif self.sending:
            self.send(connection, now)
        self.settle()

    def settle(self) -> None:
        """Tell `run` when the last answer is in."""
        if not self.out and not self.sending:
            self.finished.set()


class Connection(asyncio.Protocol):
    """One connection to what is measured; a request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.busy = False
        self.number = 0
        self.due = self.first_byte = 0.0
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the load."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are of no common class
        self.load.connections.add(self)

    def send(self, number: int, due: float, request: bytes) -> None:
        """Send one request."""
        self.busy = True
        self.number, self.due, self.first_byte = number, due, 0.0
        self.body.clear()
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()
            self.finish("not HTTP")

    def on_body(self, body: bytes) -> None:
        """Collect the body; its first bytes are the moment a user sees something."""
        if not self.body:
            self.first_byte = perf_counter()
        self.body.append(body)

    def on_message_complete(self) -> None:
        """Check the answer."""
        status = self.parser.get_status_code()
        if not self.parser.should_keep_alive():
            self.transport.close()
        body = b"".join(self.body)
        if status == 200:
            self.finish(None if self.right(body) else "wrong body")
        else:
            print(f"status {status}: {body[:300]!r}", file=sys.stderr)
            self.finish(f"status {status}")

    def right(self, body: bytes) -> bool:
        """Tell whether the body is the upstream's answer to this request."""
        chunks = self.load.job.pace.chunks
        if not self.load.job.identical:
            try:
                return traffic.text_of(body, stream=chunks > 0) == traffic.answer(self.number)
            except msgspec.DecodeError:
                return False
        if chunks:
            return body == b"".join(traffic.events(self.number, chunks, usage=False))
        return body == traffic.response(self.number)

    def finish(self, failure: str | None) -> None:
        """Hand the connection back, once per request."""
        if self.busy:
            self.busy = False
            self.load.done(self, self.due, self.first_byte, failure)

    def connection_lost(self, _: Exception | None) -> None:
        """Count an answer that was cut off."""
        self.load.connections.discard(self)
        if self in self.load.idle:
            self.load.idle.remove(self)
        self.finish("connection lost")

    def close(self) -> None:
        """Leave without counting anything more."""
        self.busy = False
        self.transport.abort()


def _quantile(seconds: list[float], share: float) -> float:
    """Return a quantile in milliseconds; of nothing, NaN would not be JSON: 0."""
    if not seconds:
        return 0.0
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)] * 1000


def main() -> None:
    """Run jobs until standard input ends."""
    decode, encode = msgspec.json.Decoder(Job).decode, msgspec.json.Encoder().encode

    async def run(job: Job) -> Result:
        return await Load(job).run()

    traffic.prepare()
    gc.freeze()
    for line in sys.stdin.buffer:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sys.stdout.buffer.write(encode(runner.run(run(decode(line)))) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
