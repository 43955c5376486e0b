"""Spans to a collector: from the journals, by the standard `OTEL_*` variables, at least once, in order.

`backlog` knows how far each journal is exported, `history` reads the store instead, `rows` makes spans of both by the
names of `vocabularies`, `http` and `grpc` send them, `delivery` bears with what a collector says, `exporter` is the
thread that does so.
"""

from gateway.store.otlp.exporter import Exporter

__all__ = ["Exporter"]
