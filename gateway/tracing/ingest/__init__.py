"""TODO gateway/tracing/ingest."""
