-- The views that people query, over four relations that list the store's files: `recorded_spans` (gateway/semconv.py has
-- its columns, `started_at` is UTC), `events_raw`, `received_spans`, `received_logs` and `ledger` (gateway/store/views.py).
-- Unknown is NULL, never 0.

-- The state of each run (`step_id` is NULL) and step, merged from its events, which come in any order, repeated, by way
-- of several workers. The latest event by its own time wins; at one moment an end comes after a start, then the event's id
-- decides.
CREATE MACRO run_states() AS TABLE
SELECT
    run_id,
    step_id,
    arg_min(parent_step_id, place) AS parent_step_id,
    arg_min(step_type, place) AS step_type,
    arg_min(name, place) AS name,
    arg_max(status, place) AS status,
    arg_min(application, place) AS application,
    arg_min(environment, place) AS environment,
    coalesce(arg_min(trace_id, place) FILTER (phase = 0), min(trace_id)) AS trace_id,
    coalesce(arg_min(span_id, place) FILTER (phase = 0), min(span_id)) AS span_id,
    coalesce(arg_min(parent_span_id, place) FILTER (phase = 0), min(parent_span_id)) AS parent_span_id,
    arg_min(input, place) AS input,
    arg_max(output, place) AS output,
    list_reduce(list(info ORDER BY place) FILTER (info IS NOT NULL), lambda a, b: json_merge_patch(a, b), '{}'::JSON)
        AS info,
    arg_max(error, place) AS error,
    arg_min(description, place) AS description,
    arg_min(tags, place) AS tags,
    min(service_name) AS service_name,
    min(time_ns) FILTER (phase = 0) AS began_ns,
    max(time_ns) AS updated_ns,
    CASE
        WHEN step_id IS NOT NULL THEN max(time_ns) FILTER (phase = 2)
        -- A run that was begun again, or went on, has not ended.
        WHEN arg_max(phase, place) = 2 THEN max(time_ns)
    END AS ended_ns,
    make_timestamp(began_ns // 1000) AS started_at,
    make_timestamp(updated_ns // 1000) AS updated_at,
    make_timestamp(ended_ns // 1000) AS ended_at,
    -- With the clocks of two machines, an end may be before the start.
    CASE WHEN ended_ns < began_ns THEN 0 ELSE ended_ns - began_ns END AS took_ns
FROM (SELECT *, row(time_ns, phase, event_id) AS place FROM events_raw WHERE phase IS NOT NULL)
WHERE step_id IS NOT NULL OR (run_id IS NOT NULL AND type IN ('run:start', 'run:update'))
GROUP BY run_id, step_id;

-- The same, with the trace, parent span, application and environment that a step inherits from its run and its parent
-- step. Events are read once.
CREATE MACRO linked_run_states() AS TABLE
WITH each AS MATERIALIZED (FROM run_states())
SELECT
    s.* REPLACE (
        coalesce(r.trace_id, s.trace_id) AS trace_id,
        coalesce(
            CASE WHEN s.parent_step_id IS NOT NULL THEN p.span_id WHEN s.step_id IS NOT NULL THEN r.span_id END,
            s.parent_span_id
        ) AS parent_span_id,
        coalesce(s.application, r.application) AS application,
        coalesce(s.environment, r.environment) AS environment
    )
FROM each s
LEFT JOIN each r ON r.run_id = s.run_id AND r.step_id IS NULL
LEFT JOIN each p ON p.run_id IS NOT DISTINCT FROM s.run_id AND p.step_id = s.parent_step_id;

CREATE VIEW runs AS
SELECT
    run_id,
    name,
    status,
    application,
    environment,
    trace_id,
    started_at,
    input,
    output,
    info,
    description,
    tags,
    span_id,
    updated_at,
    ended_at,
    took_ns / 1e6 AS duration_ms,
    service_name
FROM run_states()
WHERE step_id IS NULL;

CREATE VIEW steps AS
SELECT
    run_id,
    step_id,
    parent_step_id,
    step_type AS type,
    name,
    status,
    span_id,
    started_at,
    input,
    output,
    info,
    error,
    tags,
    parent_span_id,
    trace_id,
    updated_at,
    ended_at,
    took_ns / 1e6 AS duration_ms,
    service_name
FROM linked_run_states()
WHERE step_id IS NOT NULL;

-- Totals of the requests of each step; sum over `step_id` for a run as a whole.
CREATE VIEW run_usage AS
SELECT
    run_id,
    step_id,
    count(*) AS exchanges,
    sum(attempts)::BIGINT AS attempts,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(output_tokens)::BIGINT AS output_tokens,
    sum(total_tokens)::BIGINT AS total_tokens
FROM recorded_spans
WHERE kind = 'SERVER' AND run_id IS NOT NULL
GROUP BY run_id, step_id;

-- All events, each once; `data` has the fields without a column.
CREATE VIEW events AS
SELECT
    run_id,
    step_id,
    type,
    make_timestamp(time_ns // 1000) AS time,
    data,
    error,
    event_id,
    make_timestamp(received_ns // 1000) AS received_at,
    status,
    name,
    input,
    output,
    info,
    tags
FROM events_raw
QUALIFY row_number() OVER (PARTITION BY run_id, step_id, type, event_id ORDER BY received_ns) = 1;

-- Spans that applications sent over OTLP, each once, as it came first. Duplicates are found by their ids alone: numbering
-- all rows would sort them whole for any query.
CREATE VIEW received AS
SELECT r.*
FROM received_spans r
ANTI JOIN (
    SELECT trace_id, span_id, min(received_ns) AS first_ns FROM received_spans GROUP BY ALL HAVING count(*) > 1
) again ON again.trace_id = r.trace_id AND again.span_id = r.span_id AND again.first_ns < r.received_ns;

-- Log records that applications sent over OTLP, each once. The body is text, or JSON for a structured one; the severity is
-- the application's word, or the name of its number.
CREATE VIEW logs AS
SELECT
    time,
    coalesce(
        severity_text,
        CASE
            WHEN severity_number BETWEEN 1 AND 24
            THEN ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'][(severity_number - 1) // 4 + 1]
        END
    ) AS severity,
    event_name,
    body ->> '$' AS body,
    trace_id,
    span_id,
    session_id,
    service_name,
    attributes,
    user_id,
    resource,
    l.log_id
FROM received_logs l
ANTI JOIN (
    SELECT log_id, min(received_ns) AS first_ns FROM received_logs GROUP BY log_id HAVING count(*) > 1
) again ON again.log_id = l.log_id AND again.first_ns < l.received_ns;

-- All spans: of exchanges and attempts (`origin` is gateway), of runs and steps (events; unless the application sent the
-- span itself), and of applications (otlp).
CREATE VIEW spans AS
SELECT *, 'gateway' AS origin, NULL::JSON AS links, NULL::JSON AS resource, NULL::JSON AS otlp FROM recorded_spans
UNION ALL BY NAME
SELECT
    trace_id,
    span_id,
    parent_span_id,
    coalesce(name, step_type, CASE WHEN step_id IS NULL THEN 'run' ELSE 'step' END) AS name,
    'INTERNAL' AS kind,
    service_name,
    make_timestamp(at_ns // 1000) AS started_at,
    at_ns // 1000 * 1000 AS start_ns,
    CASE WHEN ended_ns IS NOT NULL THEN coalesce(took_ns, 0) END AS duration_ns,
    CASE status WHEN 'error' THEN 'ERROR' END AS status,
    CASE status WHEN 'error' THEN coalesce(error ->> '$.message', error ->> '$') END AS status_message,
    application,
    environment,
    run_id,
    step_id,
    json_merge_patch('{}'::JSON, json_object(
        'gateway.step.type', step_type,
        'gateway.status', status,
        'gateway.tags', tags,
        'input.value', input::VARCHAR,
        'output.value', output::VARCHAR
    )) AS attributes,
    'events' AS origin
FROM (SELECT *, coalesce(began_ns, ended_ns, updated_ns) AS at_ns FROM linked_run_states())
ANTI JOIN (SELECT trace_id, span_id FROM received_spans) USING (trace_id, span_id)
UNION ALL BY NAME
SELECT * EXCLUDE (received_ns), 'otlp' AS origin FROM received;

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
FROM recorded_spans
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
    provider_cost_usd,
    service_tier,
    audio_input_tokens,
    audio_output_tokens,
    cache_write_5m_tokens,
    cache_write_1h_tokens,
    web_search_requests,
    server_tool_requests,
    unread_reason,
    finish_reasons,
    input_messages,
    output_messages,
    overhead_us,
    attributes
FROM recorded_spans
WHERE kind = 'CLIENT';

CREATE VIEW messages AS
WITH each AS (
    SELECT trace_id, span_id, started_at, 'input' AS direction, json_extract(input_messages, '$[*]') AS list
    FROM recorded_spans WHERE input_messages IS NOT NULL
    UNION ALL
    SELECT trace_id, span_id, started_at, 'output', json_extract(output_messages, '$[*]')
    FROM recorded_spans WHERE output_messages IS NOT NULL
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
    AND (p.valid_to IS NULL OR a.started_at < p.valid_to)
WHERE a.operation IS DISTINCT FROM 'count_tokens';  -- its tokens are counted, not used
