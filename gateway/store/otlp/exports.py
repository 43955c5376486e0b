"""The exports of the three signals, each with a collector, cursors and a thread of its own.

A collector that takes no logs, or is down for them, delays no span. The variables of a signal come before the general
ones: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, OTEL_LOGS_EXPORTER=none, and likewise.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.config.model import Capture, VocabularyName
from gateway.store.otlp.exporter import Exporter
from gateway.tracing.ingest.otlp.protocol import LOGS, METRICS


class Exports:
    """Exporters that run together: `traces`, which may be None, and those of applications' logs and metrics."""

    def __init__(self, traces: Exporter | None, others: Mapping[str, Exporter]) -> None:
        self._traces = traces
        self._others = dict(others)

    def __repr__(self) -> str:
        return f"<Exports {self._all}>"

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], data: Path, capture: Capture, vocabulary: VocabularyName = "gen-ai"
    ) -> "Exports | None":
        """Return the exporters that `OTEL_*` variables enable, or None if they enable none."""
        traces = Exporter.from_environment(environ, data, capture, vocabulary)
        others = {
            signal.name: exporter
            for signal in (LOGS, METRICS)
            if (exporter := Exporter.of_signal(environ, data, capture, signal)) is not None
        }
        return cls(traces, others) if traces is not None or others else None

    @property
    def _all(self) -> Sequence[Exporter]:
        return [*([] if self._traces is None else [self._traces]), *self._others.values()]

    def start(self) -> None:
        """Start the threads."""
        for exporter in self._all:
            exporter.start()

    def stop(self, timeout: float = 1.5) -> None:
        """Send what can be sent in `timeout` seconds, all signals at once; the rest is sent after the next start."""
        for exporter in self._all:
            exporter.ending(timeout)
        for exporter in self._all:
            exporter.stop(timeout)

    def exported(self, journal: Path) -> bool:
        """Return whether everything of the journal is sent or given up."""
        return all(exporter.exported(journal) for exporter in self._all)

    def forget(self, journal: Path) -> None:
        """Drop the cursors of a journal that was removed."""
        for exporter in self._all:
            exporter.forget(journal)

    def counters(self) -> dict[str, Any]:
        """Return the counters of each signal, None if it is not exported, by its name in the recorder's health."""
        return {
            "otlp": None if self._traces is None else self._traces.counters(),
            **{f"otlp_{name}": exporter.counters() for name, exporter in self._others.items()},
        }
