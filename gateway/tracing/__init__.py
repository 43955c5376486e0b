"""Spans of exchanges and attempts: recorded as requests pass, redacted, and appended to the journal."""
