"""TODO gateway/server/ingest."""
