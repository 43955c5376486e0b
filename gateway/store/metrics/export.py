"""Metrics over OTLP by the stock exporters and the standard `OTEL_*` variables: cumulative, with exemplars.

A thread sends them every OTEL_METRIC_EXPORT_INTERVAL milliseconds, and once more at the end. It is a daemon: a
collector that hangs cannot keep the recorder alive. Nothing is buffered in an outage: counts are cumulative.
"""

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.store.metrics.meter import Meter
from gateway.store.metrics.series import Exemplar, Family, Labels, Spread
from gateway.store.otlp.exporter import METRICS, protocol, variable, wanted
from gateway.tracing.tracer import SCOPE, VERSION

log = logging.getLogger("gateway.metrics")

_INTERVAL_MS = 60_000
_SHORTEST_MS = 100
_LONGEST_MS = 86_400_000
# Data points in one request, about 1 MiB. gRPC servers take 4 MiB by default.
_POINTS_MAX = 2000
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class MetricSender(Protocol):
    """Interface of a stock exporter."""

    def export(self, metrics_data: MetricsData) -> MetricExportResult:
        """Send, and wait for the reply."""

    def shutdown(self) -> None:
        """Close the connection."""


class MetricsExporter:
    """Sends the counts of a meter. `start` it after the last fork; `stop` ends it within seconds."""

    def __init__(self, meter: Meter, sender: MetricSender, interval: float) -> None:
        self._meter = meter
        self._sender = sender
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._failing = False
        self.sent = 0

    def __repr__(self) -> str:
        return f"<MetricsExporter sent: {self.sent}>"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], meter: Meter) -> "MetricsExporter | None":
        """Return an exporter, or None if no variable enables one. The stock one reads the process's environment."""
        if not wanted(environ, METRICS):
            return None
        try:
            interval = float(environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _INTERVAL_MS)
            interval = min(max(_SHORTEST_MS, interval), _LONGEST_MS) / 1000
            return cls(meter, _sender(protocol(environ, signal=METRICS)), interval)
        except Exception as error:
            log.error("OTLP of metrics is off, for OTEL_* variables that cannot be used: %s", error)  # noqa: TRY400
            return None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Send once more, for at most `timeout` seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._sender.shutdown()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stop.wait(self._interval)
            try:
                # Under the lock the message is built only.
                message = self._meter.read(lambda families: data_of(families, self._meter))
                taken = self._sender.export(message) is MetricExportResult.SUCCESS
            except Exception:
                if not self._failing:
                    log.exception("metrics could not be sent; trying again")
                self._failing = True
                continue
            self._log(taken)

    def _log(self, taken: bool) -> None:
        if taken:
            self.sent += 1
        elif not self._failing:  # once per outage
            log.warning(
                "the collector takes no metrics; they are sent again, and OTEL_METRICS_EXPORTER=none turns that off"
            )
        self._failing = not taken


def data_of(families: list[Family], meter: Meter, now_ns: int | None = None) -> MetricsData:
    """Return the counts in the SDK's form. `now_ns`: Unix time, by default the meter's clock."""
    now = meter.now() if now_ns is None else now_ns
    metrics = [
        Metric(
            name=family.instrument.name,
            description=family.instrument.help,
            unit=family.instrument.unit,
            data=_points(family, meter.started_ns, now),
        )
        for family in families
        if family.counts or family.spreads
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, VERSION), metrics, "")
    return MetricsData([ResourceMetrics(Resource(meter.resource), [scope], "")])


def _points(family: Family, start: int, now: int) -> Sum | Gauge | Histogram:
    if family.instrument.sort == "histogram":
        return Histogram(
            [_spread(family, labels, spread, start, now) for labels, spread in family.spreads.items()], _CUMULATIVE
        )
    points = [
        NumberDataPoint(
            family.named(labels),
            start,
            now,
            count.value,
            [] if count.exemplar is None else [_exemplar(count.exemplar, 1)],
        )
        for labels, count in family.counts.items()
    ]
    return Gauge(points) if family.instrument.sort == "gauge" else Sum(points, _CUMULATIVE, is_monotonic=True)


def _spread(family: Family, labels: Labels, spread: Spread, start: int, now: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=family.named(labels),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sum(spread.counts),
        sum=spread.total,
        bucket_counts=list(spread.counts),
        explicit_bounds=family.instrument.bounds,
        min=spread.smallest,
        max=spread.largest,
        exemplars=[
            _exemplar(exemplar, value)
            for exemplar, value in zip(spread.exemplars, spread.latest, strict=True)
            if exemplar is not None
        ],
    )


def _exemplar(exemplar: Exemplar, value: float) -> SdkExemplar:
    return SdkExemplar({}, value, exemplar.time_ns, int(exemplar.span_id, 16), int(exemplar.trace_id, 16))


def _sender(name: str) -> Any:
    """Return a stock exporter. Loads the libraries of that protocol only."""
    # They log every failed try, with the address.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    if name == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc  # noqa: PLC0415

        from gateway.store.otlp.grpc import proxy_options  # noqa: PLC0415

        options: Any = proxy_options(variable(os.environ, "ENDPOINT", METRICS))
        return Grpc(max_export_batch_size=_POINTS_MAX, channel_options=options)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http  # noqa: PLC0415

    return Http(max_export_batch_size=_POINTS_MAX)
