"""Ingest: run events and OTLP spans that applications send to the gateway itself, written to the journal."""
