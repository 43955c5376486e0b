"""Metrics as Prometheus scrapes them: its text format, or OpenMetrics with exemplars, both by prometheus_client.

Names follow OpenTelemetry's rules for Prometheus: dots become underscores, the unit is written out at the end, and a
counter ends in `_total`. Source: OpenTelemetry's specification, compatibility/prometheus_and_openmetrics.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Exemplar as SampleExemplar
from prometheus_client.core import InfoMetricFamily, Metric, Sample, Timestamp
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.registry import Collector

from gateway.store.metrics.instruments import Instrument
from gateway.store.metrics.series import Exemplar, Family, Spread

Encoder = Callable[[Collector], bytes]

_UNITS = {"s": "seconds", "By": "bytes"}
_INVALID = re.compile(r"[^a-zA-Z0-9_]")
_QUALITY = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MEDIA_TYPES = ("text/plain", "text/*", "*/*", "application/openmetrics-text")


class Page(Collector):
    """One scrape: all families that have a series, and `target_info` with the attributes of the resource."""

    def __init__(self, families: Iterable[Family], resource: Mapping[str, str]) -> None:
        self._families = families
        self._resource = resource

    def collect(self) -> Iterator[Metric]:
        """Yield the families in the library's form."""
        for family in self._families:
            if family.counts or family.spreads:
                yield _metric(family)
        yield InfoMetricFamily("target", "Attributes of the gateway's resource.", _labels(self._resource))


def negotiate(accept: str) -> tuple[Encoder, str]:
    """Return the encoder and the content type for an Accept header, the plain text format by default.

    The library ignores qualities, so it is given the ranges of the highest quality only.
    """
    ranges: dict[float, list[str]] = {}
    for each in accept.lower().split(","):
        if each.partition(";")[0].strip() in _MEDIA_TYPES:
            ranges.setdefault(_quality(each), []).append(each)
    best = max(ranges, default=0.0)
    try:
        return choose_encoder(",".join(ranges[best]) if best else "")
    except TypeError:  # a version that is not a number
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


def _quality(media_range: str) -> float:
    """Return the quality of a media range, from 0 to 1; 1 if it has none, or one that is malformed."""
    for parameter in media_range.split(";")[1:]:
        if found := _QUALITY.fullmatch(parameter.strip()):
            return float(found[1])
    return 1.0


def name_of(instrument: Instrument) -> str:
    """Return a metric's name in Prometheus, without the suffixes of its samples."""
    name = _INVALID.sub("_", instrument.name)
    unit = _UNITS.get(instrument.unit)
    return f"{name}_{unit}" if unit and not name.endswith(f"_{unit}") else name


def sample_names(instrument: Instrument) -> tuple[str, ...]:
    """Return the names of a metric's samples."""
    name = name_of(instrument)
    match instrument.sort:
        case "counter":
            return (f"{name}_total",)
        case "gauge":
            return (name,)
        case "histogram":
            return (f"{name}_bucket", f"{name}_sum", f"{name}_count")


def _metric(family: Family) -> Metric:
    instrument = family.instrument
    metric = Metric(name_of(instrument), instrument.help, instrument.sort, _UNITS.get(instrument.unit, ""))
    for values, count in family.counts.items():
        exemplar = _exemplar(count.exemplar, 1.0) if instrument.sort == "counter" else None
        labels = _labels(family.named(values))
        metric.samples.append(Sample(sample_names(instrument)[0], labels, count.value, None, exemplar))
    for values, spread in family.spreads.items():
        metric.samples.extend(_histogram(instrument, _labels(family.named(values)), spread))
    return metric


def _histogram(instrument: Instrument, labels: dict[str, str], spread: Spread) -> Iterator[Sample]:
    bucket, total, count = sample_names(instrument)
    below = 0
    for bound, number, value, exemplar in zip(
        (*instrument.bounds, None), spread.counts, spread.latest, spread.exemplars, strict=True
    ):
        below += number
        # The same spelling in both formats: another one would be another series.
        le = "+Inf" if bound is None else str(round(bound, 9))
        yield Sample(bucket, labels | {"le": le}, below, None, _exemplar(exemplar, value))
    yield Sample(total, labels, spread.total)
    yield Sample(count, labels, below)


def _exemplar(exemplar: Exemplar | None, value: float) -> SampleExemplar | None:
    if exemplar is None:
        return None
    ids = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
    return SampleExemplar(ids, value, Timestamp(*divmod(exemplar.time_ns, 10**9)))


def _labels(attributes: Mapping[str, str | int | bool]) -> dict[str, str]:
    return {_INVALID.sub("_", name): _text(value) for name, value in attributes.items()}


def _text(value: str | int | bool) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
