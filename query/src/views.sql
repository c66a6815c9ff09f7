-- The views of the timeline, read once at start and planned over the snapshot of each statement.

-- Spans and events of every session in one shape. Ordered answers for one session, with each
-- service span below the attempt it belongs to, come from GET /api/v1/sessions/{id}/timeline.
CREATE VIEW timeline AS
SELECT
    r.session_id,
    r.app,
    r.time,
    (CAST(r.time AS BIGINT) - CAST(s.start AS BIGINT)) / 1000000 AS offset_ms,
    r.layer,
    r.depth,
    r.what,
    r.status,
    r.duration_us,
    r.page_id,
    r.sequence,
    r.trace_id,
    r.span_id,
    r.request_id,
    r.service,
    r.attempt
FROM (
    SELECT
        session_id,
        CAST(app AS VARCHAR) AS app,
        time,
        CAST(layer AS VARCHAR) AS layer,
        depth,
        CASE
            WHEN method = 'unknown' OR route = 'unknown' THEN CAST(name AS VARCHAR)
            ELSE CAST(method AS VARCHAR) || ' ' || CAST(route AS VARCHAR)
        END AS what,
        coalesce(CAST(status_code AS VARCHAR), CAST(error_type AS VARCHAR), CAST(status AS VARCHAR)) AS status,
        duration_us,
        page_id,
        sequence,
        trace_id,
        span_id,
        request_id,
        CAST(service AS VARCHAR) AS service,
        attempt
    FROM spans
    UNION ALL
    SELECT
        session_id,
        CAST(app AS VARCHAR) AS app,
        time,
        -- What a person did, as opposed to what the page or a service reported.
        CASE
            WHEN layer = 'browser' AND event_name IN (
                'browser.navigation', 'behavior.refresh', 'behavior.abandon',
                'behavior.abandon_withdrawn', 'behavior.click_burst', 'behavior.visibility',
                'behavior.leave'
            ) THEN 'user'
            ELSE CAST(layer AS VARCHAR)
        END AS layer,
        CAST(0 AS INT) AS depth,
        CAST(event_name AS VARCHAR) AS what,
        coalesce(
            attributes['behavior.abandon_trigger'],
            attributes['browser.navigation.type'],
            attributes['browser.document.visibility'],
            attributes['exception.type']
        ) AS status,
        TRY_CAST(attributes['behavior.waited_us'] AS BIGINT) AS duration_us,
        page_id,
        sequence,
        trace_id,
        span_id,
        CASE WHEN layer = 'browser' THEN trace_id END AS request_id,
        CAST(service AS VARCHAR) AS service,
        CAST(NULL AS INT) AS attempt
    FROM events
) AS r
LEFT JOIN (
    SELECT CAST(app AS VARCHAR) AS app, session_id, start FROM sessions
) AS s
ON s.app = r.app AND s.session_id = r.session_id;

-- Sends against logical calls, by minute and hop: local says who multiplies, inherited says how
-- much was multiplied before. Counts of sends, never of distinct ids.
CREATE VIEW amplification AS
SELECT
    minute,
    layer,
    caller,
    service,
    route,
    sends,
    first_attempts,
    logical_calls,
    retries,
    hedges,
    CAST(sends AS DOUBLE) / nullif(CAST(first_attempts AS DOUBLE), 0) AS local,
    CAST(first_attempts AS DOUBLE) / nullif(CAST(logical_calls AS DOUBLE), 0) AS inherited,
    CAST(sends AS DOUBLE) / nullif(CAST(logical_calls AS DOUBLE), 0) AS amplification,
    -- Of the sends beyond the first: how many said so themselves, and were not inferred.
    CAST(annotated AS DOUBLE) / nullif(CAST(sends - first_attempts AS DOUBLE), 0) AS annotated_share
FROM (
    SELECT
        date_trunc('minute', time) AS minute,
        layer,
        caller,
        callee AS service,
        route,
        count(*) AS sends,
        -- A call whose first attempt was never seen is implied by its earliest known send.
        count(*) FILTER (WHERE attempt = 1 OR original = span_id) AS first_attempts,
        count(*) FILTER (WHERE original = span_id) AS logical_calls,
        count(*) FILTER (WHERE attempt_kind IN ('retry', 'overlap')) AS retries,
        count(*) FILTER (WHERE attempt_kind = 'hedge') AS hedges,
        count(*) FILTER (
            WHERE attempt <> 1 AND (original IS DISTINCT FROM span_id)
                AND retry_evidence NOT IN ('none', 'inferred')
        ) AS annotated
    FROM spans
    WHERE is_send
    GROUP BY 1, 2, 3, 4, 5
) AS hop;
