"""Export of spans to a collector over OTLP, in order, at least once, by the standard `OTEL_*` variables.

source     backlog (journals, live), history (the whole store, for `gateway export`); open_runs for runs and steps
span       rows (ours), forwarding (those of applications), under the names of vocabularies
request    request, sent by http or grpc
delivery   retries, halved batches, spans without content
thread     exporter (live), backfill (the command)
"""

from gateway.store.otlp.exporter import Exporter

__all__ = ["Exporter"]
