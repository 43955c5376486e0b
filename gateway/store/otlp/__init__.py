"""Export to a collector over OTLP, in order, at least once, by the standard `OTEL_*` variables.

source     backlog (spans), telemetry_backlog (applications' logs and metrics), from cursors in the live journals;
           history (the whole store, for `gateway export`); open_runs for runs and steps
item       rows (our spans), forwarding (telemetry of applications), under the names of vocabularies
request    request, sent by http or grpc
delivery   retries, halved batches, items without content
thread     exporter (one signal, live), exports (all of them), backfill (the command)
"""

from gateway.store.otlp.exporter import Exporter
from gateway.store.otlp.exports import Exports

__all__ = ["Exporter", "Exports"]
