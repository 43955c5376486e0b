"""Journal lines of applications' metrics, which are forwarded to a collector only: no segment has them.

    {"t": "metric", "metric_id": "...", "metric": base64 of the protobuf, "resource": {}, "otlp": {scope, ...}}

A metric is changed in place, in attributes only: numbers are nothing that `[capture]` or `[redaction]` apply to.
"""

import base64
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import Line, captured
from gateway.tracing.ingest.otlp.protocol import Malformed
from gateway.tracing.ingest.otlp.values import decode_attributes, encode_attributes

Attributes = dict[str, Any]


def metric_line(
    metric: Metric,
    shared: Line,
    capture_policy: CapturePolicy,
    received_ns: int,
    scrub: Callable[[Attributes], Attributes] = dict,
) -> Line | Malformed:
    """Return a metric's line, or the error in it. `scrub`: removes the request's own secrets from attributes."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return Malformed("it has no data")
    texts = {"name": metric.name, "description": metric.description, "unit": metric.unit}
    for field, text in scrub({name: capture_policy.redaction.text(text) for name, text in texts.items()}).items():
        setattr(metric, field, text)
    map_attributes(metric, lambda attributes: scrub(captured(attributes, capture_policy)))
    return {
        "t": "metric",
        "metric": base64.b64encode(metric.SerializeToString(deterministic=True)).decode(),
        "resource": shared["resource"],
        "otlp": shared["otlp"],
        "received_ns": received_ns,
    }


def metric_in(line: Line) -> Metric:
    """Return the metric of a line. Raises KeyError or ValueError."""
    try:
        metric: Metric = Metric.FromString(base64.b64decode(line["metric"]))
    except DecodeError as error:
        raise ValueError(f"the metric cannot be read: {error}") from None
    return metric


def map_attributes(metric: Metric, change: Callable[[Attributes], Attributes]) -> None:
    """Replace the attributes of a metric, its data points and its exemplars by changed ones, in place."""
    for pairs in _attribute_lists(metric):
        if pairs:
            before = decode_attributes(pairs)
            after = change(before)
            if after != before:
                del pairs[:]
                pairs.extend(encode_attributes(after))


def data_points(metric: Metric) -> Any:
    """Return the data points of a metric of any kind."""
    return getattr(metric, metric.WhichOneof("data") or "sum").data_points


def _attribute_lists(metric: Metric) -> Iterator[Any]:
    yield metric.metadata
    for point in data_points(metric):
        yield point.attributes
        for exemplar in getattr(point, "exemplars", ()):  # a summary has none
            yield exemplar.filtered_attributes
