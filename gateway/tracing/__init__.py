"""TODO gateway/tracing."""
