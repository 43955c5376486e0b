"""The dashboard of the gateway's metrics in Prometheus."""

from typing import Any

from drawing import (
    ASKED,
    GOOD,
    JOB,
    OWN,
    PROMETHEUS,
    RATE,
    dashboard,
    of_prometheus,
    percentile,
    percentiles,
    placed,
    promql,
    rate,
)

ENDED = "gateway_exchange_ended_total"
ATTEMPTS = "gateway_attempt_ended_total"
DURATION = "gen_ai_client_operation_duration_seconds"
FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"
PER_TOKEN = "gen_ai_server_time_per_output_token_seconds"  # noqa: S105  no secret
TOKENS = "gen_ai_client_token_usage_sum"
FAILED = f'{JOB},gateway_outcome!~"ok|client_abort"'
INPUT = f'{ASKED},gen_ai_token_type="input"'
ESTIMATED = f'{ASKED},gateway_usage_source="estimated"'
MODEL = "gen_ai_request_model"
RED = [{"color": "green", "value": None}, {"color": "orange", "value": 0.01}, {"color": "red", "value": 0.05}]
ANY = [{"color": "green", "value": None}, {"color": "red", "value": 1}]

OVERVIEW = [
    promql("Exchanges", "stat", "reqps", 4, rate(ENDED)),
    promql("Failed", "stat", "percentunit", 4, f"({rate(ENDED, FAILED)} or vector(0)) / {rate(ENDED)}", steps=RED),
    promql("Duration, p95", "stat", "s", 4, percentile(0.95, DURATION, GOOD)),
    promql("First chunk, p95", "stat", "s", 4, percentile(0.95, FIRST_CHUNK, ASKED)),
    promql("Tokens a minute", "stat", "short", 4, f"60 * {rate(TOKENS, ASKED)}"),
    promql("In flight", "stat", "short", 4, f"sum(gateway_exchange_active{{{JOB}}})"),
]
TRAFFIC = [
    promql("Exchanges by outcome", "timeseries", "reqps", 12, rate(ENDED, by="gateway_outcome"), stacked=True),
    promql("Attempts by model", "timeseries", "reqps", 12, rate(ATTEMPTS, OWN, MODEL), stacked=True),
    promql("Exchanges by dialect", "timeseries", "reqps", 12, rate(ENDED, by="gateway_dialect"), stacked=True),
    promql("Attempts by provider", "timeseries", "reqps", 12, rate(ATTEMPTS, OWN, "gateway_provider"), stacked=True),
]
LATENCY = [
    promql("Duration of good attempts", "timeseries", "s", 8, *percentiles(DURATION, GOOD)),
    promql("Time to first chunk", "timeseries", "s", 8, *percentiles(FIRST_CHUNK, ASKED)),
    promql("Time per output token", "timeseries", "s", 8, *percentiles(PER_TOKEN, ASKED)),
    promql("Duration by model, p95", "timeseries", "s", 12, percentile(0.95, DURATION, GOOD, MODEL)),
    promql("First chunk by model, p95", "timeseries", "s", 12, percentile(0.95, FIRST_CHUNK, ASKED, MODEL)),
    promql(
        "Good attempts by how long they took",
        "heatmap",
        "s",
        12,
        (f"sum by (le) (increase({DURATION}_bucket{{{GOOD}}}{RATE}))", "{{le}}"),
    ),
    promql(
        "Exchanges, as clients see them",
        "timeseries",
        "s",
        12,
        *percentiles("http_server_request_duration_seconds", JOB),
    ),
]
USAGE = [
    promql("Tokens by type", "timeseries", "short", 8, rate(TOKENS, ASKED, "gen_ai_token_type"), stacked=True),
    promql("Tokens by model", "timeseries", "short", 8, rate(TOKENS, ASKED, MODEL), stacked=True),
    promql(
        "Share of input read from a cache",
        "timeseries",
        "percentunit",
        8,
        (
            f"({rate('gateway_usage_cache_read_total', OWN)} or vector(0)) / {rate(TOKENS, INPUT)}",
            "read from a cache",
        ),
    ),
    promql(
        "Tokens an attempt, by model",
        "table",
        "short",
        16,
        f"sum by ({MODEL}, gen_ai_token_type) (increase({TOKENS}{{{ASKED}}}[$__range])) / "
        f"sum by ({MODEL}, gen_ai_token_type) (increase(gen_ai_client_token_usage_count{{{ASKED}}}[$__range]))",
    ),
    promql(
        "Tokens that are estimated",
        "stat",
        "percentunit",
        8,
        f"({rate(TOKENS, ESTIMATED)} or vector(0)) / {rate(TOKENS, ASKED)}",
        height=8,
        about="Where the provider did not say, they are estimated from the text.",
    ),
]
ERRORS = [
    promql(
        "Failed exchanges by outcome", "timeseries", "reqps", 12, rate(ENDED, FAILED, "gateway_outcome"), stacked=True
    ),
    promql(
        "Attempts that did not go well, by provider and outcome",
        "timeseries",
        "reqps",
        12,
        rate(ATTEMPTS, f'{OWN},gateway_outcome!="ok"', "gateway_provider, gateway_outcome"),
        stacked=True,
    ),
    promql(
        "What failed",
        "table",
        "short",
        24,
        f"sort_desc(sum by (gen_ai_provider_name, {MODEL}, error_type) "
        f'(increase({DURATION}_count{{{ASKED},error_type!=""}}[$__range])) > 0)',
    ),
]
RETRIES = [
    promql(
        "Retries, by what went before",
        "timeseries",
        "reqps",
        8,
        rate("gateway_attempt_retries_total", OWN, "gateway_attempt_reason, gateway_attempt_after"),
        stacked=True,
    ),
    promql(
        "Fallbacks, to",
        "timeseries",
        "reqps",
        8,
        rate("gateway_attempt_fallbacks_total", OWN, f"gateway_provider, {MODEL}"),
    ),
    promql(
        "Rate limits",
        "timeseries",
        "reqps",
        8,
        rate("gateway_attempt_rate_limits_total", OWN, f"gateway_provider, {MODEL}"),
    ),
    promql(
        "Attempts an exchange",
        "timeseries",
        "short",
        12,
        (f"{rate(ATTEMPTS)} / {rate(ENDED)}", "attempts an exchange"),
    ),
    promql(
        "Seconds waited for retries, in a second",
        "timeseries",
        "short",
        12,
        rate("gateway_attempt_backoff_seconds_total", f'{JOB},gateway_provider=~"$provider"', "gateway_provider"),
    ),
]
OVERHEAD = [
    promql("Overhead of an exchange", "timeseries", "s", 8, *percentiles("gateway_exchange_overhead_seconds", JOB)),
    promql("Of it within attempts", "timeseries", "s", 8, *percentiles("gateway_attempt_overhead_seconds", JOB)),
    promql(
        "Overhead an exchange, by phase",
        "timeseries",
        "s",
        8,
        f"sum by (gateway_phase) (rate(gateway_overhead_phase_seconds_sum{{{JOB}}}[$__rate_interval])) / "
        f"scalar(sum(rate(gateway_exchange_overhead_seconds_count{{{JOB}}}[$__rate_interval])))",
        stacked=True,
    ),
    promql(
        "Time to the provider's first byte",
        "timeseries",
        "s",
        6,
        *percentiles("gateway_attempt_time_to_first_byte_seconds", OWN),
    ),
    promql("In flight", "timeseries", "short", 6, (f"sum(gateway_exchange_active{{{JOB}}})", "exchanges")),
    promql(
        "Connections to providers",
        "timeseries",
        "short",
        6,
        f"sum by (gateway_state) (gateway_upstream_connections{{{JOB}}})",
        stacked=True,
    ),
    promql("Workers", "stat", "short", 6, f"sum(gateway_worker_running{{{JOB}}})", height=8),
]
STORE = [
    promql(
        "Unaccounted exchanges",
        "stat",
        "short",
        6,
        f"sum(gateway_exchange_started_total{{{JOB}}}) - sum({ENDED}{{{JOB}}}) - "
        f"(sum(gateway_exchange_dropped_total{{{JOB}}}) or vector(0)) - sum(gateway_exchange_active{{{JOB}}})",
        steps=ANY,
        about="Started = ended + dropped + in flight. Anything but 0 is a mistake of the gateway's.",
    ),
    promql(
        "Dropped",
        "stat",
        "short",
        6,
        f"sum(increase(gateway_exchange_dropped_total{{{JOB}}}[$__range])) or vector(0)",
        steps=ANY,
    ),
    promql(
        "Failures of the recorder",
        "stat",
        "short",
        6,
        f"sum(increase(gateway_recorder_failures_total{{{JOB}}}[$__range]))",
        steps=ANY,
    ),
    promql("Free on disk", "stat", "bytes", 6, f"min(gateway_store_free_bytes{{{JOB}}})"),
    promql(
        "Store",
        "timeseries",
        "bytes",
        8,
        (f"sum(gateway_store_size_bytes{{{JOB}}})", "sealed"),
        (f"sum(gateway_journal_size_bytes{{{JOB}}})", "journals"),
        stacked=True,
    ),
    promql(
        "Files",
        "timeseries",
        "short",
        8,
        (f"sum(gateway_store_segments{{{JOB}}})", "segments"),
        (f"sum(gateway_journal_files{{{JOB}}})", "journals"),
        (f"sum(increase(gateway_recorder_sealed_total{{{JOB}}}{RATE}))", "sealed"),
    ),
    promql(
        "Behind",
        "timeseries",
        "bytes",
        8,
        (f"sum(gateway_otlp_waiting_bytes{{{JOB}}})", "not exported"),
        (f"sum(gateway_journal_unread_bytes{{{JOB}}})", "not counted"),
    ),
    promql(
        "Spans to the collector",
        "timeseries",
        "short",
        8,
        (rate("gateway_otlp_exported_total"), "exported"),
        (rate("gateway_otlp_retries_total"), "failed requests"),
    ),
    promql(
        "Lost, by reason",
        "timeseries",
        "short",
        8,
        (rate("gateway_exchange_dropped_total", by="gateway_reason"), "exchanges: {{gateway_reason}}"),
        (rate("gateway_otlp_dropped_total", by="gateway_reason"), "spans not exported: {{gateway_reason}}"),
        (rate("gateway_event_dropped_total", by="gateway_reason"), "events: {{gateway_reason}}"),
        (rate("gateway_received_dropped_total", by="gateway_reason"), "applications' spans: {{gateway_reason}}"),
        (rate("gateway_journal_damaged_total"), "damaged lines"),
    ),
    promql(
        "What applications tell",
        "timeseries",
        "short",
        8,
        (rate("gateway_event_stored_total", by="gateway_event_type"), "events: {{gateway_event_type}}"),
        (rate("gateway_received_stored_total"), "spans"),
        stacked=True,
    ),
]


def made() -> dict[str, Any]:
    """Return the dashboard."""
    rows = [
        ("Overview", OVERVIEW),
        ("Traffic", TRAFFIC),
        ("Latency", LATENCY),
        ("Tokens", USAGE),
        ("Errors", ERRORS),
        ("Retries, fallbacks, rate limits", RETRIES),
        ("The gateway itself", OVERHEAD),
        ("Store and export", STORE),
    ]
    return dashboard(
        "tracing-gateway-prometheus",
        "LLM gateway",
        "Of the metrics at /-/metrics, or as they come over OTLP. Cost is in the dashboard by SQL.",
        PROMETHEUS,
        placed(rows, PROMETHEUS),
        [
            of_prometheus(
                "job",
                "Gateway",
                "label_values(gateway_exchange_started_total, job)",
                multi=False,
                includeAll=False,
                current={},
            ),
            of_prometheus(
                "provider", "Provider", f"label_values({ATTEMPTS}{{{JOB}}}, gateway_provider)", allValue=".*"
            ),
            of_prometheus("model", "Model", f"label_values({ATTEMPTS}{{{JOB}}}, {MODEL})", allValue=".*"),
        ],
    )
