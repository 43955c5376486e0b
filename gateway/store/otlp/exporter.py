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

from gateway.config.model import MIB, Capture, VocabularyName
from gateway.errors import ConfigError
from gateway.semconv import CAPTURE_SWITCH
from gateway.store.otlp.backlog import Backlog, Reached
from gateway.store.otlp.delivery import BATCH_BYTES, METADATA, SHORTEST_DELAY, Batch, Delivery
from gateway.store.otlp.replies import Sender

log = logging.getLogger("gateway.otlp")

TRACES, METRICS = "TRACES", "METRICS"
"""Signals, as the names of variables have them."""

MAX_BACKLOG_BYTES = 2048 * MIB


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
        vocabulary: VocabularyName = "gen-ai",
    ) -> None:
        self._backlog = Backlog(data, vocabulary)
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
        )
        self._max_backlog_bytes = max_backlog_bytes
        self._stop = threading.Event()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)

    def __repr__(self) -> str:
        return f"<Exporter exported: {self._delivery.exported} {self._backlog!r}>"

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], data: Path, capture: Capture, vocabulary: VocabularyName = "gen-ai"
    ) -> "Exporter | None":
        """Return the exporter that the standard `OTEL_*` variables ask for, or None.

        Whether there is one is read from `environ`; where and how it sends, by the stock exporters, from the process's
        own environment.
        """
        if not wanted(environ) or capture.otlp == "off":
            return None
        try:
            sender = sender_by(protocol(environ))
            batch_spans = int(environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") or 512)
            delay = max(SHORTEST_DELAY, float(environ.get("OTEL_BSP_SCHEDULE_DELAY") or 1000) / 1000)
        except Exception as error:
            log.error("OTLP is off, for OTEL_* variables that cannot be used: %s", error)  # noqa: TRY400
            return None
        if not content_wanted(environ):
            capture = METADATA
        return cls(data, sender, capture, batch_spans=max(1, batch_spans), delay=delay, vocabulary=vocabulary)

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
            "exported": self._delivery.exported,
            "dropped": dict(self._delivery.dropped),
            "retries": self._delivery.retries,
            "lag_bytes": self._backlog.bytes,
            "open_steps": self._backlog.open,
            "last_error": self._delivery.last_error,
        }

    def _run(self) -> None:
        while True:
            last_turns = self._stop.is_set()
            try:
                wait = self._turn()
            except Exception:
                log.exception("the export stumbled; trying again")
                wait = self._delivery.failed("internal", None)
            idle_or_failed = wait > 0
            if last_turns and (idle_or_failed or self._overdue()):
                return
            self._stop.wait(wait)

    def _overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _turn(self) -> float:
        """Send one batch; return the seconds to wait before the next."""
        self._delivery.drop("otlp_backlog", self._backlog.give_up(self._max_backlog_bytes, self._capture))
        wait = self._delivery.turn(self._journals)
        self._delivery.drop("never_ended", self._backlog.given_up())
        return wait


class _Journals:
    """The backlog as a source: runs and steps that have ended are due by the clock."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog

    def batch(self, max_spans: int, max_bytes: int, capture: Capture) -> Batch[Reached]:
        return self._backlog.batch(max_spans, max_bytes, capture, time.time_ns())

    def settle(self, reached: Reached) -> None:
        self._backlog.settle(reached)

    @property
    def ready(self) -> bool:
        return self._backlog.ready


def wanted(environ: Mapping[str, str], signal: str = TRACES) -> bool:
    """Whether the environment asks for OTLP of a signal: an endpoint is set, and nothing says no."""
    exporters = environ.get(f"OTEL_{signal}_EXPORTER") or "otlp"
    return (
        bool(either(environ, "ENDPOINT", signal))
        and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
        and "otlp" in (name.strip() for name in exporters.split(","))
    )


def content_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the conventions' own switch leaves content on spans."""
    return environ.get(CAPTURE_SWITCH, "").upper() not in {"NO_CONTENT", "EVENT_ONLY", "FALSE"}


def protocol(environ: Mapping[str, str], url: str | None = None, signal: str = TRACES) -> str:
    """Return grpc or http/protobuf. Not said: the port that belongs to gRPC decides. Raises ConfigError."""
    said = either(environ, "PROTOCOL", signal)
    if not said:
        return "grpc" if (url or either(environ, "ENDPOINT", signal)).rstrip("/").endswith(":4317") else "http/protobuf"
    if said not in {"grpc", "http/protobuf"}:
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {said!r}; the gateway speaks grpc and http/protobuf")
    return said


def either(environ: Mapping[str, str], name: str, signal: str = TRACES) -> str:
    """Return one of the exporter's variables: the one for a signal, or that for all, or nothing."""
    return environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def sender_by(protocol: str, url: str | None = None) -> Sender:
    """Return the way to the collector at a URL, or where the environment says; only its own libraries are loaded."""
    if protocol == "grpc":
        from gateway.store.otlp.grpc import GrpcSender  # noqa: PLC0415

        return GrpcSender(url)
    from gateway.store.otlp.http import HttpSender  # noqa: PLC0415

    return HttpSender(url)
