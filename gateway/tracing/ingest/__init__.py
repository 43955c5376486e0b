"""Data that clients send about themselves, as journal lines: events of their runs and steps, OpenTelemetry spans."""
