"""Spans to a collector: from the journals, by the standard `OTEL_*` variables, at least once, in order.

`backlog` knows how far each journal is exported, `rows` makes spans of its lines, `http` and `grpc` send them,
`exporter` is the thread that does so.
"""

from gateway.otlp.exporter import Exporter

__all__ = ["Exporter"]
