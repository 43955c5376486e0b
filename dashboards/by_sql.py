"""The dashboard of the store, by SQL: what metrics do not know, such as cost, people, texts and single traces."""

from typing import Any

from drawing import INFINITY, MODEL, TIME, WHEN, dashboard, of_sql, placed, sql

ATTEMPTS = f"FROM attempts WHERE {WHEN} AND {MODEL}"
EXCHANGES = f"FROM exchanges WHERE {WHEN}"
FAILED = "outcome NOT IN ('ok', 'client_abort')"
RED = [{"color": "green", "value": None}, {"color": "orange", "value": 0.01}, {"color": "red", "value": 0.05}]
ANY = [{"color": "green", "value": None}, {"color": "red", "value": 1}]

OVERVIEW = [
    sql("Exchanges", "stat", "short", 4, f"SELECT count(*) AS exchanges {EXCHANGES}", "exchanges"),
    sql(
        "Failed",
        "stat",
        "percentunit",
        4,
        f"SELECT count(*) FILTER ({FAILED}) / nullif(count(*), 0) AS failed {EXCHANGES}",
        "failed",
        steps=RED,
    ),
    sql("Duration, p95", "stat", "ms", 4, f"SELECT quantile_cont(duration_ms, 0.95) AS p95 {EXCHANGES}", "p95"),
    sql("First chunk, p95", "stat", "ms", 4, f"SELECT quantile_cont(ttfc_ms, 0.95) AS p95 {ATTEMPTS}", "p95"),
    sql("Tokens", "stat", "short", 4, f"SELECT sum(total_tokens)::BIGINT AS tokens {EXCHANGES}", "tokens"),
    sql(
        "Cost",
        "stat",
        "currencyUSD",
        4,
        f"SELECT sum(cost_usd) AS cost FROM costs WHERE {WHEN}",
        "cost",
        about="Of what prices are known; nothing where none is.",
    ),
]
TRAFFIC = [
    sql(
        "Exchanges by outcome",
        "timeseries",
        "short",
        12,
        f"SELECT {TIME}, outcome, count(*) AS exchanges {EXCHANGES} GROUP BY ALL ORDER BY time",
        "time",
        "outcome:text",
        "exchanges",
        stacked=True,
    ),
    sql(
        "Attempts by model",
        "timeseries",
        "short",
        12,
        f"SELECT {TIME}, coalesce(request_model, '-') AS model, count(*) AS attempts {ATTEMPTS} "
        "GROUP BY ALL ORDER BY time",
        "time",
        "model:text",
        "attempts",
        stacked=True,
    ),
]
LATENCY = [
    sql(
        "Duration of good attempts",
        "timeseries",
        "ms",
        12,
        f"""SELECT {TIME}, quantile_cont(duration_ms, 0.5) AS p50, quantile_cont(duration_ms, 0.95) AS p95,
            quantile_cont(duration_ms, 0.99) AS p99 {ATTEMPTS} AND outcome = 'ok' GROUP BY ALL ORDER BY time""",
        "time",
        "p50",
        "p95",
        "p99",
    ),
    sql(
        "Time to first chunk",
        "timeseries",
        "ms",
        12,
        f"""SELECT {TIME}, quantile_cont(ttfc_ms, 0.5) AS p50, quantile_cont(ttfc_ms, 0.95) AS p95,
            quantile_cont(ttfc_ms, 0.99) AS p99 {ATTEMPTS} AND ttfc_ms IS NOT NULL GROUP BY ALL ORDER BY time""",
        "time",
        "p50",
        "p95",
        "p99",
    ),
    sql(
        "Models",
        "table",
        "short",
        24,
        f"""SELECT provider, coalesce(response_model, request_model) AS model, count(*) AS attempts,
            count(*) FILTER (outcome = 'ok') / count(*) AS good, quantile_cont(duration_ms, 0.5) AS p50_ms,
            quantile_cont(duration_ms, 0.95) AS p95_ms, quantile_cont(ttfc_ms, 0.5) AS first_chunk_p50_ms,
            quantile_cont(ttfc_ms, 0.95) AS first_chunk_p95_ms,
            sum(output_tokens) / (sum(duration_ms) / 1e3) AS output_tokens_per_s
            {ATTEMPTS} GROUP BY ALL ORDER BY attempts DESC LIMIT 100""",
        "provider:text",
        "model:text",
        "attempts",
        "good",
        "p50_ms",
        "p95_ms",
        "first_chunk_p50_ms",
        "first_chunk_p95_ms",
        "output_tokens_per_s",
    ),
]
USAGE = [
    sql(
        "Tokens",
        "timeseries",
        "short",
        12,
        f"""SELECT {TIME}, sum(input_tokens)::BIGINT AS input, sum(cache_read_tokens)::BIGINT AS of_it_from_a_cache,
            sum(output_tokens)::BIGINT AS output, sum(reasoning_tokens)::BIGINT AS of_it_reasoning
            {ATTEMPTS} GROUP BY ALL ORDER BY time""",
        "time",
        "input",
        "of_it_from_a_cache",
        "output",
        "of_it_reasoning",
    ),
    sql(
        "Cost by model",
        "timeseries",
        "currencyUSD",
        12,
        f"""SELECT {TIME}, coalesce(response_model, '-') AS model, sum(cost_usd) AS cost FROM costs
            WHERE {WHEN} AND cost_usd IS NOT NULL GROUP BY ALL ORDER BY time""",
        "time",
        "model:text",
        "cost",
        stacked=True,
    ),
    sql(
        "Where tokens are from",
        "table",
        "short",
        12,
        f"""SELECT coalesce(request_model, '-') AS model, coalesce(usage_source, 'unknown') AS source,
            count(*) AS attempts, sum(input_tokens)::BIGINT AS input, sum(output_tokens)::BIGINT AS output,
            sum(cache_read_tokens) / nullif(sum(input_tokens), 0) AS cache_share
            {ATTEMPTS} GROUP BY ALL ORDER BY input DESC NULLS LAST LIMIT 100""",
        "model:text",
        "source:text",
        "attempts",
        "input",
        "output",
        "cache_share",
    ),
    sql(
        "Who spends",
        "table",
        "short",
        12,
        f"""SELECT coalesce(application, '-') AS application, coalesce(user_id, '-') AS user, count(*) AS exchanges,
            sum(total_tokens)::BIGINT AS tokens, sum(cost_usd) AS cost_usd
            {EXCHANGES} GROUP BY ALL ORDER BY tokens DESC NULLS LAST LIMIT 100""",
        "application:text",
        "user:text",
        "exchanges",
        "tokens",
        "cost_usd",
    ),
]
ERRORS = [
    sql(
        "Attempts that did not go well",
        "timeseries",
        "short",
        12,
        f"SELECT {TIME}, outcome, count(*) AS attempts {ATTEMPTS} AND outcome <> 'ok' GROUP BY ALL ORDER BY time",
        "time",
        "outcome:text",
        "attempts",
        stacked=True,
    ),
    sql(
        "Whether a retry mended it",
        "table",
        "short",
        12,
        f"""SELECT a.provider, a.outcome, a.error_type, e.outcome AS in_the_end, count(*) AS attempts
            FROM (SELECT * {ATTEMPTS} AND outcome <> 'ok') a JOIN exchanges e ON e.span_id = a.exchange_id
            GROUP BY ALL ORDER BY attempts DESC LIMIT 100""",
        "provider:text",
        "outcome:text",
        "error_type:text",
        "in_the_end:text",
        "attempts",
    ),
    sql(
        "Latest failures",
        "table",
        "short",
        24,
        f"""SELECT epoch_ms(started_at) AS time, model, provider, status_code, outcome, error, trace_id
            {EXCHANGES} AND {FAILED} ORDER BY started_at DESC LIMIT 50""",
        "time",
        "model:text",
        "provider:text",
        "status_code",
        "outcome:text",
        "error:text",
        "trace_id:text",
    ),
]
RETRIES = [
    sql(
        "Why attempts were made",
        "timeseries",
        "short",
        12,
        f"SELECT {TIME}, reason, count(*) AS attempts {ATTEMPTS} AND reason <> 'first' GROUP BY ALL ORDER BY time",
        "time",
        "reason:text",
        "attempts",
        stacked=True,
    ),
    sql(
        "Rate limits by provider",
        "timeseries",
        "short",
        12,
        f"SELECT {TIME}, provider, count(*) AS attempts {ATTEMPTS} AND outcome = 'rate_limit' "
        "GROUP BY ALL ORDER BY time",
        "time",
        "provider:text",
        "attempts",
        stacked=True,
    ),
]
ITSELF = [
    sql(
        "Overhead within attempts",
        "timeseries",
        "µs",
        12,
        f"""SELECT {TIME}, quantile_cont(overhead_us, 0.5) AS p50, quantile_cont(overhead_us, 0.95) AS p95,
            quantile_cont(overhead_us, 0.99) AS p99 {ATTEMPTS} GROUP BY ALL ORDER BY time""",
        "time",
        "p50",
        "p95",
        "p99",
    ),
    sql(
        "Nothing is lost",
        "table",
        "short",
        12,
        """SELECT worker, sum(accepted)::BIGINT AS accepted, sum(stored)::BIGINT AS stored,
            sum(in_flight)::BIGINT AS in_flight, sum(interrupted)::BIGINT AS interrupted,
            sum(dropped)::BIGINT AS dropped, sum(damaged_lines)::BIGINT AS damaged_lines
            FROM ledger GROUP BY worker ORDER BY worker""",
        "worker:text",
        "accepted",
        "stored",
        "in_flight",
        "interrupted",
        "dropped",
        "damaged_lines",
        about="Of all that is in the store: accepted = stored + in flight + interrupted + dropped.",
    ),
    sql(
        "Slowest exchanges",
        "table",
        "short",
        12,
        f"""SELECT epoch_ms(started_at) AS time, model, provider, duration_ms, attempts, outcome, trace_id
            {EXCHANGES} ORDER BY duration_ms DESC NULLS LAST LIMIT 20""",
        "time",
        "model:text",
        "provider:text",
        "duration_ms",
        "attempts",
        "outcome:text",
        "trace_id:text",
    ),
    sql(
        "Latest runs",
        "table",
        "short",
        12,
        f"""SELECT epoch_ms(started_at) AS time, name, status, application, trace_id
            FROM runs WHERE {WHEN} ORDER BY started_at DESC LIMIT 20""",
        "time",
        "name:text",
        "status:text",
        "application:text",
        "trace_id:text",
    ),
]


def made() -> dict[str, Any]:
    """Return the dashboard."""
    rows = [
        ("Overview", OVERVIEW),
        ("Traffic", TRAFFIC),
        ("Latency", LATENCY),
        ("Tokens and cost", USAGE),
        ("Errors", ERRORS),
        ("Retries, fallbacks, rate limits", RETRIES),
        ("The gateway itself", ITSELF),
    ]
    return dashboard(
        "tracing-gateway-sql",
        "LLM gateway, by SQL",
        "Of the store, by POST /-/sql through the Infinity data source. Each panel is a query there: mind the range.",
        INFINITY,
        placed(rows, INFINITY),
        [
            of_sql(
                "model",
                "Model",
                f"SELECT DISTINCT coalesce(request_model, '-') AS value FROM attempts WHERE {WHEN} "
                "ORDER BY value LIMIT 500",
            )
        ],
    )
