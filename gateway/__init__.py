"""A drop-in LLM gateway whose every upstream attempt is an OpenTelemetry span."""
