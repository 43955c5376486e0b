"""The recorder's exporter: one thread that reads batches from the backlog and sends them, until told to stop.

A thread, because the stock exporters block, and one, because order is kept by sending one batch at a time. It is a
daemon: a collector that hangs cannot keep the recorder from ending.
"""

import logging
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config import MIB, Capture
from gateway.errors import ConfigError
from gateway.otlp.backlog import Backlog, Batch
from gateway.otlp.replies import Later, Refused, Sender, Taken
from gateway.semconv import CAPTURE_SWITCH

log = logging.getLogger("gateway.otlp")

# Half of what a gRPC server takes by default is left for estimates that are wrong.
BATCH_BYTES = 3 * MIB // 2
MAX_BACKLOG_BYTES = 2048 * MIB
_BACKOFF_SECONDS = (0.5, 30.0)
_LONGEST_WAIT = 600.0
_SHORTEST_DELAY = 0.05
_METADATA = Capture(otlp="metadata")


class Exporter:
    """Sends what the journals of `data` hold. `start` it in the process that exports; `stop` ends it within seconds."""

    def __init__(
        self,
        data: Path,
        sender: Sender,
        capture: Capture,
        *,
        batch_spans: int = 512,
        batch_bytes: int = BATCH_BYTES,
        delay: float = 1.0,
        max_backlog_bytes: int = MAX_BACKLOG_BYTES,
        rng: random.Random | None = None,
    ) -> None:
        self._backlog = Backlog(data)
        self._capture = capture
        self._sender = sender
        self._batch_spans = batch_spans
        self._batch_bytes = batch_bytes
        self._delay = delay
        self._max_backlog_bytes = max_backlog_bytes
        self._rng = rng or random.Random()
        self._stop = threading.Event()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._limit = batch_spans
        self._without_content = False
        self._failures = 0
        self._exported = 0
        self._retries = 0
        self._dropped: dict[str, int] = {}
        self._last_error: str | None = None

    def __repr__(self) -> str:
        return f"<Exporter exported: {self._exported} {self._backlog!r}>"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], data: Path, capture: Capture) -> "Exporter | None":
        """Return the exporter that the standard `OTEL_*` variables ask for, or None.

        Whether there is one is read from `environ`; where and how it sends, by the stock exporters, from the process's
        own environment.
        """
        if not wanted(environ) or capture.otlp == "off":
            return None
        try:
            sender = _sender(protocol(environ))
            batch_spans = int(environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") or 512)
            delay = max(_SHORTEST_DELAY, float(environ.get("OTEL_BSP_SCHEDULE_DELAY") or 1000) / 1000)
        except Exception as error:
            log.error("OTLP is off, for OTEL_* variables that cannot be used: %s", error)  # noqa: TRY400
            return None
        if environ.get(CAPTURE_SWITCH, "").upper() in {"NO_CONTENT", "EVENT_ONLY", "FALSE"}:
            capture = _METADATA
        return cls(data, sender, capture, batch_spans=max(1, batch_spans), delay=delay)

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def stop(self, timeout: float = 1.5) -> None:
        """Send what waits as far as that goes in `timeout` seconds; the rest waits for the next start."""
        self._deadline = time.monotonic() + timeout
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._sender.close()
        if self._backlog.bytes:
            log.info("%d bytes of journals wait to be exported at the next start", self._backlog.bytes)

    def exported(self, journal: Path) -> bool:
        """Whether all spans of the journal are out, or given up."""
        return self._backlog.exported(journal)

    def forget(self, journal: Path) -> None:
        """Drop what is known of a journal that is gone."""
        self._backlog.forget(journal)

    def counters(self) -> dict[str, Any]:
        """Return what was done so far, and how much waits."""
        return {
            "exported": self._exported,
            "dropped": dict(self._dropped),
            "retries": self._retries,
            "lag_bytes": self._backlog.bytes,
            "open_steps": self._backlog.open,
            "last_error": self._last_error,
        }

    def _run(self) -> None:
        while True:
            last_turns = self._stop.is_set()
            try:
                wait = self._turn()
            except Exception:
                log.exception("the export stumbled; trying again")
                wait = self._failed("internal", None)
            idle_or_failed = wait > 0
            if last_turns and (idle_or_failed or self._overdue()):
                return
            self._stop.wait(wait)

    def _overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _turn(self) -> float:
        """Send one batch; return the seconds to wait before the next."""
        self._drop("otlp_backlog", self._backlog.give_up(self._max_backlog_bytes, self._capture))
        capture = _METADATA if self._without_content else self._capture
        batch = self._backlog.batch(self._limit, self._batch_bytes, capture, time.time_ns())
        if not batch.spans:
            self._settle(batch)
            return self._pause(batch)
        reply = self._sender.send(batch.spans)
        match reply:
            case Later(error, after):
                return self._failed(error, after)
            case Refused(error):
                self._last_error = error
                if self._narrowed(batch):
                    return 0.0
                if not isinstance(self._sender.send([]), Taken):  # then it was not for this span's sake
                    return self._failed(error, None)
                self._drop("refused", 1)
            case Taken(rejected):
                self._exported += len(batch.spans) - rejected
                self._drop("rejected", rejected)
        if self._failures:
            log.info("the collector takes spans again")
            self._failures = 0
        self._without_content = False
        self._limit = min(self._batch_spans, self._limit + max(1, self._limit // 8))
        self._settle(batch)
        return self._pause(batch)

    def _pause(self, batch: Batch) -> float:
        """Return the seconds until the next batch after one that is settled."""
        return 0.0 if batch.full or self._backlog.ready else self._delay

    def _narrowed(self, batch: Batch) -> bool:
        """Make the next batch half of one that was refused, then a span without content; False where it was that."""
        if len(batch.spans) == 1 and self._without_content:
            return False
        self._without_content = len(batch.spans) == 1
        self._limit = max(1, len(batch.spans) // 2)
        return True

    def _settle(self, batch: Batch) -> None:
        self._drop("damaged", batch.damaged)
        self._backlog.settle(batch.reached, batch.changed)
        self._drop("never_ended", self._backlog.given_up())

    def _failed(self, error: str, after: float | None) -> float:
        """Return the seconds to wait after a failure: what the collector asks for, or more each time."""
        if not self._failures:  # once per outage
            log.warning("the collector at OTEL_EXPORTER_OTLP_ENDPOINT takes no spans (%s); they wait", error)
        first, most = _BACKOFF_SECONDS
        backoff = min(most, first * 2.0 ** min(self._failures, 10)) * self._rng.uniform(0.8, 1.2)
        self._failures += 1
        self._retries += 1
        self._last_error = error
        return backoff if after is None else min(max(after, _SHORTEST_DELAY), _LONGEST_WAIT)

    def _drop(self, reason: str, spans: int) -> None:
        if not spans:
            return
        if reason not in self._dropped:
            log.warning("%d spans are not exported: %s; further ones are only counted", spans, reason)
        self._dropped[reason] = self._dropped.get(reason, 0) + spans


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for OTLP: an endpoint is set, and nothing says no."""
    exporters = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return (
        bool(_either(environ, "ENDPOINT"))
        and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and "otlp" in (name.strip() for name in exporters.split(","))
    )


def protocol(environ: Mapping[str, str]) -> str:
    """Return grpc or http/protobuf. Not said: the port that belongs to gRPC decides. Raises ConfigError."""
    said = _either(environ, "PROTOCOL")
    if not said:
        return "grpc" if _either(environ, "ENDPOINT").rstrip("/").endswith(":4317") else "http/protobuf"
    if said not in {"grpc", "http/protobuf"}:
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {said!r}; the gateway speaks grpc and http/protobuf")
    return said


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _sender(name: str) -> Sender:
    """Return the way to the collector; only its own libraries are loaded."""
    if name == "grpc":
        from gateway.otlp.grpc import GrpcSender  # noqa: PLC0415

        return GrpcSender()
    from gateway.otlp.http import HttpSender  # noqa: PLC0415

    return HttpSender()
