-- What people query. Published over two relations that list the store's files: `spans` (gateway/semconv.py has its
-- columns, `started_at` is UTC) and `ledger`. Unknown is NULL, never 0.

CREATE VIEW exchanges AS
SELECT
    trace_id,
    span_id,
    started_at,
    duration_ns / 1e6 AS duration_ms,
    path,
    dialect,
    client,
    request_model AS model,
    http_status AS status_code,
    outcome,
    attempts,
    retries,
    rate_limited,
    provider,
    response_model,
    input_tokens,
    output_tokens,
    total_tokens,
    NULL::DOUBLE AS cost_usd,  -- no price list yet
    session_id,
    user_id,
    application,
    environment,
    run_id,
    step_id,
    error,
    organization_id,
    project_id,
    workflow_id,
    workflow_name,
    step_index,
    prompt_id,
    prompt_version,
    try_cast(extra AS JSON) AS extra
FROM spans
WHERE kind = 'SERVER';

CREATE VIEW attempts AS
SELECT
    trace_id,
    span_id,
    parent_span_id AS exchange_id,
    attempt,
    reason,
    started_at,
    duration_ns / 1e6 AS duration_ms,
    backoff_ms,
    ttfb_ms,
    ttfc_s * 1e3 AS ttfc_ms,
    provider,
    operation,
    request_model,
    response_model,
    response_id,
    http_status AS status_code,
    error_type,
    outcome,
    stream,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    reasoning_tokens,
    total_tokens,
    usage_source,
    NULL::DOUBLE AS cost_usd,  -- no price list yet
    finish_reasons,
    input_messages,
    output_messages,
    overhead_us,
    attributes
FROM spans
WHERE kind = 'CLIENT';

CREATE VIEW messages AS
WITH each AS (
    SELECT trace_id, span_id, started_at, 'input' AS direction, json_extract(input_messages, '$[*]') AS list
    FROM spans WHERE input_messages IS NOT NULL
    UNION ALL
    SELECT trace_id, span_id, started_at, 'output', json_extract(output_messages, '$[*]')
    FROM spans WHERE output_messages IS NOT NULL
), numbered AS (
    SELECT * EXCLUDE (list), generate_subscripts(list, 1) - 1 AS position, unnest(list) AS message FROM each
)
SELECT
    trace_id,
    span_id,
    started_at,
    direction,
    position,
    message ->> '$.role' AS role,
    array_to_string(json_extract_string(message, '$.parts[*].content'), '') AS content,
    message ->> '$.finish_reason' AS finish_reason,
    json_extract(message, '$.parts') AS parts
FROM numbered;

-- Dated, so that history reprices: per token in USD, valid from `valid_from` until `valid_to` (NULL: still).
CREATE VIEW prices AS
SELECT
    NULL::VARCHAR AS provider,
    NULL::VARCHAR AS model,
    NULL::TIMESTAMP AS valid_from,
    NULL::TIMESTAMP AS valid_to,
    NULL::DOUBLE AS input,
    NULL::DOUBLE AS output,
    NULL::DOUBLE AS cache_read,
    NULL::DOUBLE AS cache_write,
    NULL::DOUBLE AS per_request
WHERE false;

CREATE VIEW costs AS
SELECT
    a.trace_id,
    a.span_id,
    a.exchange_id,
    a.started_at,
    a.provider,
    a.response_model,
    coalesce(p.per_request, 0)
        + (a.input_tokens - coalesce(a.cache_read_tokens, 0) - coalesce(a.cache_write_tokens, 0)) * p.input
        + coalesce(a.cache_read_tokens, 0) * coalesce(p.cache_read, p.input)
        + coalesce(a.cache_write_tokens, 0) * coalesce(p.cache_write, p.input)
        + coalesce(a.output_tokens, 0) * p.output AS cost_usd
FROM attempts a
LEFT JOIN prices p
    ON p.provider = a.provider
    AND p.model = coalesce(a.response_model, a.request_model)
    AND a.started_at >= p.valid_from
    AND (p.valid_to IS NULL OR a.started_at < p.valid_to);

-- Filled by what clients tell of their runs; none can do so yet.
CREATE VIEW runs AS
SELECT
    NULL::VARCHAR AS run_id,
    NULL::VARCHAR AS name,
    NULL::VARCHAR AS status,
    NULL::VARCHAR AS application,
    NULL::VARCHAR AS environment,
    NULL::VARCHAR AS trace_id,
    NULL::TIMESTAMP AS started_at,
    NULL::JSON AS input,
    NULL::JSON AS output,
    NULL::JSON AS info
WHERE false;

CREATE VIEW steps AS
SELECT
    NULL::VARCHAR AS run_id,
    NULL::VARCHAR AS step_id,
    NULL::VARCHAR AS parent_step_id,
    NULL::VARCHAR AS type,
    NULL::VARCHAR AS name,
    NULL::VARCHAR AS status,
    NULL::VARCHAR AS span_id,
    NULL::TIMESTAMP AS started_at,
    NULL::JSON AS input,
    NULL::JSON AS output,
    NULL::JSON AS info
WHERE false;

CREATE VIEW events AS
SELECT
    NULL::VARCHAR AS run_id,
    NULL::VARCHAR AS step_id,
    NULL::VARCHAR AS type,
    NULL::TIMESTAMP AS time,
    NULL::JSON AS data,
    NULL::JSON AS error
WHERE false;
