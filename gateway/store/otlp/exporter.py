"""Live export: a thread of the recorder that sends batches from the backlog until it is stopped.

A thread, since the stock exporters block; a single one, since batches in sequence keep the order; and a daemon, so that
a collector that hangs cannot keep the recorder alive.
"""

import logging
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config.model import MIB, Capture, VocabularyName
from gateway.errors import ConfigError
from gateway.semconv import CAPTURE_SWITCH
from gateway.store.otlp.backlog import Backlog
from gateway.store.otlp.cursors import Checkpoint
from gateway.store.otlp.delivery import BATCH_BYTES, METADATA, SHORTEST_DELAY, Batch, Delivery
from gateway.store.otlp.request import Sender
from gateway.store.otlp.telemetry_backlog import TelemetryBacklog
from gateway.tracing.ingest.otlp.protocol import TRACES as SPANS
from gateway.tracing.ingest.otlp.protocol import Signal

log = logging.getLogger("gateway.otlp")

_LONGEST_DELAY = 3600.0

TRACES, METRICS = "TRACES", "METRICS"
"""Signals, as the names of `OTEL_*` variables spell them."""

MAX_BACKLOG_BYTES = 2048 * MIB
CONTENT_OFF = frozenset({"NO_CONTENT", "EVENT_ONLY", "FALSE"})
"""Values of the conventions' switch, in capitals, with which no content is on spans."""


class Exporter:
    """Exports one signal of the journals of `data`. `start` it after the last fork; `stop` ends it within seconds."""

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
        vocabulary: VocabularyName = "gen-ai",
        signal: Signal = SPANS,
    ) -> None:
        self._backlog = Backlog(data, vocabulary) if signal is SPANS else TelemetryBacklog(data, signal)
        self._journals = _Journals(self._backlog)
        self._capture = capture
        self._sender = sender
        self._delivery = Delivery(
            sender,
            capture,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            batch_spans=batch_spans,
            batch_bytes=batch_bytes,
            delay=delay,
            rng=rng or random.Random(),
            noun=signal.noun,
        )
        self._max_backlog_bytes = max_backlog_bytes
        self._stop = threading.Event()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"otlp {signal.name}", daemon=True)

    def __repr__(self) -> str:
        return f"<Exporter exported: {self._delivery.exported} {self._backlog!r}>"

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], data: Path, capture: Capture, vocabulary: VocabularyName = "gen-ai"
    ) -> "Exporter | None":
        """Return an exporter, or None if no `OTEL_*` variable enables one.

        `environ` decides whether there is one; the stock exporters read endpoint, headers and TLS from the process's
        own environment.
        """
        return cls._wanted(environ, data, capture, SPANS, vocabulary)

    @classmethod
    def of_signal(cls, environ: Mapping[str, str], data: Path, capture: Capture, signal: Signal) -> "Exporter | None":
        """Return an exporter of applications' logs or metrics, or None if no variable enables one."""
        return cls._wanted(environ, data, capture, signal, "gen-ai")

    @classmethod
    def _wanted(
        cls, environ: Mapping[str, str], data: Path, capture: Capture, signal: Signal, vocabulary: VocabularyName
    ) -> "Exporter | None":
        name = signal.name.upper()
        if not wanted(environ, name) or capture.otlp == "off":
            return None
        try:
            sender = sender_by(protocol(environ, signal=name), signal=signal)
            batch_spans = max(1, int(environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") or 512))
            delay = max(SHORTEST_DELAY, float(environ.get("OTEL_BSP_SCHEDULE_DELAY") or 1000) / 1000)
        except Exception as error:
            log.error("OTLP of %s is off, for OTEL_* variables that cannot be used: %s", signal.name, error)  # noqa: TRY400
            return None
        if not content_wanted(environ):
            capture = METADATA
        return cls(data, sender, capture, batch_spans=batch_spans, delay=delay, vocabulary=vocabulary, signal=signal)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ending(self, timeout: float) -> None:
        """Let the thread end after what can be sent in `timeout` seconds."""
        self._deadline = time.monotonic() + timeout
        self._stop.set()

    def stop(self, timeout: float = 1.5) -> None:
        """Send what can be sent in `timeout` seconds; the rest is sent after the next start."""
        if not self._stop.is_set():
            self.ending(timeout)
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._sender.close()
        if self._backlog.waiting:
            log.info("%d bytes of journals wait to be exported at the next start", self._backlog.waiting)

    def exported(self, journal: Path) -> bool:
        """Return whether all spans of the journal are sent or given up."""
        return self._backlog.exported(journal)

    def forget(self, journal: Path) -> None:
        """Drop the cursor of a journal that was removed."""
        self._backlog.forget(journal)

    def counters(self) -> dict[str, Any]:
        """Return counts since the start, and the bytes that wait."""
        return {
            "exported": self._delivery.exported,
            "dropped": dict(self._delivery.dropped),
            "retries": self._delivery.retries,
            "lag_bytes": self._backlog.waiting,
            "open_steps": self._backlog.open,
            "last_error": self._delivery.last_error,
        }

    def _run(self) -> None:
        while True:
            last_turns = self._stop.is_set()
            try:
                wait = self._turn()
            except Exception:
                log.exception("the export failed; trying again")
                wait = self._delivery.failed("internal", None)
            idle_or_failed = wait > 0
            if last_turns and (idle_or_failed or self._overdue()):
                return
            self._stop.wait(wait)

    def _overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _turn(self) -> float:
        """Send one batch; return the seconds to wait before the next one."""
        self._delivery.drop("otlp_backlog", self._backlog.drop_oldest(self._max_backlog_bytes, self._capture))
        wait = self._delivery.turn(self._journals)
        self._delivery.drop("never_ended", self._backlog.given_up())
        return wait


class _Journals:
    """The backlog as a source, with the clock by which runs and steps are due."""

    def __init__(self, backlog: Backlog | TelemetryBacklog) -> None:
        self._backlog = backlog

    def batch(self, max_spans: int, max_bytes: int, capture: Capture) -> Batch[Checkpoint]:
        return self._backlog.batch(max_spans, max_bytes, capture, time.time_ns())

    def settle(self, checkpoint: Checkpoint) -> None:
        self._backlog.settle(checkpoint)

    @property
    def ready(self) -> bool:
        return self._backlog.ready


def wanted(environ: Mapping[str, str], signal: str = TRACES) -> bool:
    """Return whether the environment enables OTLP for a signal: an endpoint is set, and no switch turns it off."""
    exporters = environ.get(f"OTEL_{signal}_EXPORTER") or "otlp"
    return (
        bool(variable(environ, "ENDPOINT", signal))
        and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and "otlp" in (name.strip() for name in exporters.split(","))
    )


def content_wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the conventions' own switch leaves content on spans."""
    return environ.get(CAPTURE_SWITCH, "").upper() not in CONTENT_OFF


def protocol(environ: Mapping[str, str], url: str | None = None, signal: str = TRACES) -> str:
    """Return grpc or http/protobuf; without a variable, grpc for its own port 4317. Raises ConfigError."""
    name = variable(environ, "PROTOCOL", signal)
    if not name:
        return (
            "grpc" if (url or variable(environ, "ENDPOINT", signal)).rstrip("/").endswith(":4317") else "http/protobuf"
        )
    if name not in {"grpc", "http/protobuf"}:
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {name!r}; the gateway speaks grpc and http/protobuf")
    return name


def variable(environ: Mapping[str, str], name: str, signal: str = TRACES) -> str:
    """Return a variable of the exporter, that of the signal before the general one; empty if neither is set."""
    return environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def sender_by(protocol: str, url: str | None = None, signal: Signal = SPANS) -> Sender:
    """Return a sender to a URL, or to the endpoint of the environment. Loads the libraries of that protocol only."""
    if protocol == "grpc":
        from gateway.store.otlp.grpc import GrpcSender  # noqa: PLC0415

        return GrpcSender(url, signal)
    from gateway.store.otlp.http import HttpSender  # noqa: PLC0415

    return HttpSender(url, signal)
