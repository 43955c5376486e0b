"""Names of all attributes that are emitted, and the column that each is stored in.

The GenAI conventions are in `open-telemetry/semantic-conventions-genai` and have no release yet, so that their names
are defined here and nowhere else. Attributes in the tables below become typed columns of the relation `spans`, all
others go to its JSON column `attributes`. Each table can be inverted, to restore the span of a stored row (`otlp`, and
the view `otel_traces`).
"""

from typing import NamedTuple

# Operations (gen_ai.operation.name), the first word of span names.
CHAT = "chat"
GENERATE_CONTENT = "generate_content"
TEXT_COMPLETION = "text_completion"
EMBEDDINGS = "embeddings"
# Operations that the conventions have no word for.
COMPACT = "compact"
COUNT_TOKENS = "count_tokens"
TRANSCRIPTION = "transcription"

# The reason for which a response, or a part of it, was relayed without being read.
UNREAD_REASON = "gateway.unread_reason"

# The capture switch of the conventions; `[capture]` applies if it is not set.
CAPTURE_SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Column(NamedTuple):
    """A column of `spans`: its name, its DuckDB type, and the attribute it holds (None: a field of the span)."""

    name: str
    type: str
    attribute: str | None = None


# Fields of the span itself. `start_us` becomes `started_at`, a UTC TIMESTAMP, where the rows are read.
SPAN_COLUMNS = (
    Column("trace_id", "VARCHAR"),
    Column("span_id", "VARCHAR"),
    Column("parent_span_id", "VARCHAR"),
    Column("trace_state", "VARCHAR"),
    Column("name", "VARCHAR"),
    Column("kind", "VARCHAR"),  # SERVER: an exchange; CLIENT: an attempt
    Column("service_name", "VARCHAR"),
    Column("start_ns", "BIGINT"),  # Unix time
    Column("duration_ns", "BIGINT"),  # NULL: the exchange was interrupted
    Column("status", "VARCHAR"),  # UNSET, OK, ERROR
    Column("status_message", "VARCHAR"),
    Column("events", "JSON"),  # [{name, time_ns, attributes}]
)

# Of exchanges and attempts.
SHARED_COLUMNS = (
    Column("method", "VARCHAR", "http.request.method"),
    Column("path", "VARCHAR", "url.path"),
    Column("http_status", "INTEGER", "http.response.status_code"),
    Column("error_type", "VARCHAR", "error.type"),
    Column("error", "VARCHAR", "gateway.error"),
    Column("outcome", "VARCHAR", "gateway.outcome"),
    Column("provider", "VARCHAR", "gateway.provider"),
    Column("dialect", "VARCHAR", "gateway.dialect"),
    Column("stream", "BOOLEAN", "gateway.stream"),
    Column("session_id", "VARCHAR", "session.id"),
    Column("user_id", "VARCHAR", "user.id"),
    Column("application", "VARCHAR", "gateway.application"),
    Column("environment", "VARCHAR", "gateway.environment"),
    Column("run_id", "VARCHAR", "gateway.run.id"),
    Column("step_id", "VARCHAR", "gateway.step.id"),
    Column("overhead_us", "BIGINT", "gateway.overhead_us"),
)

# The root repeats the attempts' facts under our own names: with gen_ai.* on it, every LLM view would count it twice.
EXCHANGE_COLUMNS = (
    Column("client", "VARCHAR", "gateway.client"),
    Column("request_model", "VARCHAR", "gateway.request.model"),
    Column("response_model", "VARCHAR", "gateway.response.model"),
    Column("organization_id", "VARCHAR", "gateway.organization.id"),
    Column("project_id", "VARCHAR", "gateway.project.id"),
    Column("workflow_id", "VARCHAR", "gateway.workflow.id"),
    Column("workflow_name", "VARCHAR", "gateway.workflow.name"),
    Column("step_index", "INTEGER", "gateway.step.index"),
    Column("prompt_id", "VARCHAR", "gateway.prompt.id"),
    Column("prompt_version", "INTEGER", "gateway.prompt.version"),
    Column("extra", "VARCHAR", "gateway.extra"),
    Column("attempts", "INTEGER", "gateway.attempts"),
    Column("retries", "INTEGER", "gateway.retries"),
    Column("rate_limited", "BOOLEAN", "gateway.rate_limited"),
    Column("input_tokens", "BIGINT", "gateway.usage.input_tokens"),
    Column("output_tokens", "BIGINT", "gateway.usage.output_tokens"),
    Column("total_tokens", "BIGINT", "gateway.usage.total_tokens"),
    Column("usage_source", "VARCHAR", "gateway.usage.source"),
)

ATTEMPT_COLUMNS = (
    Column("attempt", "INTEGER", "gateway.attempt.index"),
    Column("reason", "VARCHAR", "gateway.attempt.reason"),
    Column("backoff_ms", "DOUBLE", "gateway.attempt.backoff_ms"),
    Column("ttfb_ms", "DOUBLE", "gateway.attempt.first_byte_ms"),
    Column("ttfc_s", "DOUBLE", "gen_ai.response.time_to_first_chunk"),
    Column("chunk_times_ms", "DOUBLE[]", "gateway.attempt.chunk_times_ms"),
    Column("resend_count", "INTEGER", "http.request.resend_count"),
    Column("operation", "VARCHAR", "gen_ai.operation.name"),
    Column("request_model", "VARCHAR", "gen_ai.request.model"),
    Column("response_model", "VARCHAR", "gen_ai.response.model"),
    Column("response_id", "VARCHAR", "gen_ai.response.id"),
    Column("finish_reasons", "VARCHAR[]", "gen_ai.response.finish_reasons"),
    Column("input_tokens", "BIGINT", "gen_ai.usage.input_tokens"),
    Column("output_tokens", "BIGINT", "gen_ai.usage.output_tokens"),
    Column("cache_read_tokens", "BIGINT", "gen_ai.usage.cache_read.input_tokens"),
    Column("cache_write_tokens", "BIGINT", "gen_ai.usage.cache_write.input_tokens"),
    Column("reasoning_tokens", "BIGINT", "gen_ai.usage.reasoning.output_tokens"),
    Column("total_tokens", "BIGINT", "gen_ai.usage.total_tokens"),
    Column("usage_source", "VARCHAR", "gateway.usage.source"),
    Column("audio_input_tokens", "BIGINT", "gen_ai.usage.audio.input_tokens"),
    Column("audio_output_tokens", "BIGINT", "gen_ai.usage.audio.output_tokens"),
    Column("cache_write_5m_tokens", "BIGINT", "gateway.usage.cache_write_5m.input_tokens"),
    Column("cache_write_1h_tokens", "BIGINT", "gateway.usage.cache_write_1h.input_tokens"),
    Column("web_search_requests", "BIGINT", "gateway.usage.web_search_requests"),
    Column("server_tool_requests", "BIGINT", "gateway.usage.server_tool_requests"),
    Column("service_tier", "VARCHAR", "gateway.usage.service_tier"),
    Column("provider_cost_usd", "DOUBLE", "gen_ai.usage.cost"),
    Column("unread_reason", "VARCHAR", UNREAD_REASON),
    Column("system_instructions", "JSON", "gen_ai.system_instructions"),
    Column("input_messages", "JSON", "gen_ai.input.messages"),
    Column("output_messages", "JSON", "gen_ai.output.messages"),
    Column("tool_definitions", "JSON", "gen_ai.tool.definitions"),
)

# All other attributes.
REST_COLUMN = Column("attributes", "JSON")

# attribute -> column, by the kind of the span.
EXCHANGE_PROMOTED = {c.attribute: c.name for c in (*SHARED_COLUMNS, *EXCHANGE_COLUMNS) if c.attribute}
ATTEMPT_PROMOTED = {c.attribute: c.name for c in (*SHARED_COLUMNS, *ATTEMPT_COLUMNS) if c.attribute}

# All columns of `spans`, in order; one that both tables have appears once.
COLUMNS = tuple(
    {c.name: c for c in (*SPAN_COLUMNS, *SHARED_COLUMNS, *EXCHANGE_COLUMNS, *ATTEMPT_COLUMNS, REST_COLUMN)}.values()
)

# The body of a provider's error, as text. It has no column; it may repeat content, and is captured like content.
ERROR_BODY = "gateway.error.body"

# A provider's usage object as it was reported, as JSON text. It has no column.
USAGE_OBJECT = "gateway.usage.reported"

# The capture mode that a request sets for the collector: no more content is exported.
CAPTURE_OTLP = "gateway.capture.otlp"

# Content: a JSON string on the span, a JSON value in the store.
CONTENT_COLUMNS = ("system_instructions", "input_messages", "output_messages", "tool_definitions")
CONTENT_ATTRIBUTES = frozenset(c.attribute for c in ATTEMPT_COLUMNS if c.attribute and c.name in CONTENT_COLUMNS)


def promoted(kind: str) -> dict[str, str]:
    """Return the table attribute -> column for a span of this kind."""
    return EXCHANGE_PROMOTED if kind == "SERVER" else ATTEMPT_PROMOTED
