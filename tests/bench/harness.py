"""One row under one load: start its server, load it, let it come to rest, and check all that it did.

CPU time is counted over all of a row's processes from before the first request until its background work has drained.
What is sent, answered, sent on, stored and exported must agree, or the observation says what did not.
"""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from tests.bench import machine, rows, traffic
from tests.bench.client import Job, Result
from tests.bench.processes import Helper, Server
from tests.bench.traffic import Pace

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

DIRECT: Final = "direct"

START_SECONDS: Final = 120.0
DRAIN_SECONDS: Final = 15.0
QUIET_SECONDS: Final = 0.25
QUIET_SHARE: Final = 0.03
"""A server is at rest once it uses less than this share of a core for QUIET_SECONDS."""


class Slice(msgspec.Struct, frozen=True):
    """One load of a round."""

    name: str
    seconds: float
    clients: int
    rate: int = 0
    pace: Pace = Pace()


class Observation(msgspec.Struct, kw_only=True):
    """What one slice of one row gave. `elsewhere`: the share of the machine that other programs took meanwhile."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    first_byte_ms: float
    cpu_us: float
    rss_mb: float
    elsewhere: float
    failures: list[str]


class Counts(msgspec.Struct):
    """What the upstream has been sent so far."""

    completions: int
    spans: int


class Harness:
    """The upstream and the client, which every row shares. What it starts is stopped with `stack`."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        environ = {**rows.environ({}), "PYTHONPATH": str(rows.ROOT)}
        self._stack = stack
        self._folder = folder
        self._upstream = stack.enter_context(Helper("tests.bench.upstream", environ))
        self._client = stack.enter_context(Helper("tests.bench.client", environ))
        self._port = int(self._upstream.ask())

    def start(self, name: str, start: rows.Start) -> Row:
        """Start a row's server and wait until it answers. Raises RuntimeError if it does not."""
        folder = self._folder / name
        folder.mkdir()
        launch = start(rows.Site(folder, _free_port(), f"http://127.0.0.1:{self._port}"))
        server = self._stack.enter_context(Server(name, launch.argv, rows.environ(launch.environ), folder))
        row = Row(self, name, launch, server)
        row.wait_until_ready()
        return row

    def direct(self) -> Row:
        """Return the row of clients that talk to the upstream itself."""
        return Row(self, DIRECT, rows.Launch(argv=[], port=self._port), None)

    def load(self, job: Job) -> Result:
        """Run a load."""
        return msgspec.json.decode(self._client.ask(msgspec.json.encode(job)), type=Result)

    def counts(self) -> Counts:
        """Ask the upstream what it has been sent."""
        return msgspec.json.decode(_get(self._port, "/counts"), type=Counts)

    def cpu_seconds(self) -> float:
        """Return the CPU time that the upstream and the client have used."""
        return self._upstream.cpu_seconds() + self._client.cpu_seconds()


class Row:
    """One row of the table while its server runs."""

    def __init__(self, harness: Harness, name: str, launch: rows.Launch, server: Server | None) -> None:
        self.name: Final = name
        self.launch: Final = launch
        self._harness = harness
        self._server = server
        self._sent = 0

    def __repr__(self) -> str:
        return f"<Row {self.name!r} {self._server!r}>"

    def wait_until_ready(self) -> None:
        """Return once it answers as it should. Raises RuntimeError if it ends, or does not within START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        problem = "it does not listen"
        while time.monotonic() < deadline:
            if self._server is not None and self._server.ended:
                problem = "it has ended"
                break
            try:
                body = _post(self._port(), self.launch)
                if traffic.text_of(body, stream=False) == traffic.answer(0):
                    return
                problem = f"it answers {body[:300]!r}"
            except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
                problem = f"{error!r}"
            time.sleep(0.25)
        raise RuntimeError(f"{problem}\n{self._server.last_words() if self._server is not None else ''}")

    def observe(self, load: Slice) -> Observation:
        """Run one slice and return what was seen, with what went wrong in it."""
        harness, launch = self._harness, self.launch
        job = Job(
            port=self._port(),
            path=launch.path,
            model=launch.model,
            headers=launch.headers,
            identical=launch.identical,
            seconds=load.seconds,
            clients=load.clients,
            rate=load.rate,
            pace=load.pace,
            first=self._sent,
        )
        counts, stored = harness.counts(), self._stored()
        started, busy, ours = time.monotonic(), machine.busy_seconds(), harness.cpu_seconds()
        cpu = self._cpu_seconds()
        result = harness.load(job)
        self._sent += result.sent
        failures = [f"{count} x {reason}" for reason, count in result.failures.items()]
        failures += self._drain(result.sent, counts, stored)
        cpu = self._cpu_seconds() - cpu
        busy, ours = machine.busy_seconds() - busy, harness.cpu_seconds() - ours
        return Observation(
            requests=result.sent,
            per_second=result.answered / result.seconds,
            p50_ms=result.p50,
            p99_ms=result.p99,
            first_byte_ms=result.first_byte_p50,
            cpu_us=cpu / max(result.sent, 1) * 1e6,
            rss_mb=self._server.rss_bytes() / 1e6 if self._server is not None else 0.0,
            elsewhere=max(0.0, busy - ours - cpu) / (time.monotonic() - started) / machine.cores(),
            failures=failures,
        )

    def _drain(self, sent: int, counts: Counts, stored: int | None) -> list[str]:
        """Wait until nothing is left to do, and return what has not come out as it should."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while True:
            before = self._cpu_seconds()
            time.sleep(QUIET_SECONDS)
            late = time.monotonic() > deadline
            if not late and self._cpu_seconds() - before > QUIET_SHARE * QUIET_SECONDS:
                continue
            failures = self._missing(sent, counts, stored)
            if late or not failures:
                return failures

    def _missing(self, sent: int, before: Counts, stored_before: int | None) -> list[str]:
        """Compare what was sent with what the upstream, the store and the OTLP endpoint got since."""
        failures = []
        now, stored = self._harness.counts(), self._stored()
        if now.completions - before.completions != sent:
            failures.append(f"{sent} requests, {now.completions - before.completions} of them sent upstream")
        if stored is not None and stored_before is not None and stored - stored_before != sent:
            failures.append(f"{sent} requests, {stored - stored_before} of them stored")
        if now.spans - before.spans != sent * self.launch.spans:
            failures.append(f"{sent} requests, {now.spans - before.spans} spans exported")
        return failures

    def _port(self) -> int:
        if isinstance(self.launch.port, int):
            return self.launch.port
        return urlsplit(self.launch.port.read_text()).port or 0

    def _stored(self) -> int | None:
        return self.launch.stored() if self.launch.stored is not None else None

    def _cpu_seconds(self) -> float:
        return self._server.cpu_seconds() if self._server is not None else 0.0


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _post(port: int, launch: rows.Launch) -> bytes:
    headers = {"authorization": "Bearer test-key", "content-type": "application/json", **launch.headers}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", launch.path, traffic.request(0, launch.model, Pace()), headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
