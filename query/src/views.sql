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
    SELECT CAST(app AS VARCHAR) AS app, session_id, min(start) AS start
    FROM sessions
    GROUP BY app, session_id
) AS s
ON s.app = r.app AND s.session_id = r.session_id;

-- Sends against logical calls, by minute and hop: local says who multiplies, inherited says how
-- much was multiplied before. Counts of sends, never of distinct ids. retry_ratio stands beside the
-- budgets of 0.1 and 0.2 that clients are given. wasted_share is the part of the callers' waiting that
-- ended in a failure, a timeout or an abort; an answer that came after the user had left is not seen
-- from a span, so the true share is not below it.
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
    CAST(annotated AS DOUBLE) / nullif(CAST(sends - first_attempts AS DOUBLE), 0) AS annotated_share,
    CAST(retries AS DOUBLE) / nullif(CAST(first_attempts AS DOUBLE), 0) AS retry_ratio,
    CAST(wasted_us AS DOUBLE) / nullif(CAST(spent_us AS DOUBLE), 0) AS wasted_share
FROM (
    SELECT
        date_trunc('minute', time) AS minute,
        -- Who sends: an abandoned attempt has no span, and its callee's stands for it.
        caller_layer AS layer,
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
        ) AS annotated,
        coalesce(sum(duration_us) FILTER (
            WHERE CASE
                WHEN status_code IS NULL THEN error_type IS NOT NULL OR status = 'error'
                ELSE status_code >= 500 OR status_code IN (408, 425, 429)
            END
        ), 0) AS wasted_us,
        sum(duration_us) AS spent_us
    FROM spans
    WHERE is_send
    GROUP BY 1, 2, 3, 4, 5
) AS hop;

-- Requests that users left, by minute, place and what they did instead; trigger is `none` for those
-- they did not leave, so that requests, abandoned and provisional add up over any rows. share is of
-- all requests of the minute, region and route. A provisional one may still be withdrawn.
CREATE VIEW abandonment AS
SELECT
    minute,
    app,
    region,
    route,
    trigger,
    requests,
    abandoned,
    provisional,
    CAST(abandoned AS DOUBLE) / sum(requests) OVER (PARTITION BY minute, app, region, route) AS share,
    hdr_quantile(waited, 0.5) AS waited_us_p50,
    hdr_quantile(waited, 0.9) AS waited_us_p90,
    hdr_quantile(waited, 0.99) AS waited_us_p99
FROM (
    SELECT
        date_trunc('minute', time) AS minute,
        app,
        region,
        route,
        coalesce(CAST(abandon_trigger AS VARCHAR), CASE WHEN outcome = 'abandoned' THEN 'unknown' ELSE 'none' END) AS trigger,
        count(*) AS requests,
        count(*) FILTER (WHERE outcome = 'abandoned') AS abandoned,
        count(*) FILTER (WHERE outcome = 'abandoned' AND NOT outcome_final) AS provisional,
        hdr(waited_us) AS waited
    FROM requests
    WHERE layer = 'browser'
    GROUP BY 1, 2, 3, 4, 5
) AS place;

-- How long users wait before they leave, by hour and region: hdr_patience says what the two curves
-- are. For another time or cut ask the function itself.
CREATE VIEW patience AS
SELECT
    hour,
    app,
    region,
    curve['waited_s'] AS waited_s,
    curve['at_risk'] AS at_risk,
    curve['finished'] AS finished,
    curve['abandoned'] AS abandoned,
    curve['censored'] AS censored,
    curve['survival'] AS survival,
    curve['incidence'] AS incidence
FROM (
    SELECT hour, app, region, unnest(hdr_patience(finished, abandoned, censored)) AS curve
    FROM (
        SELECT
            date_trunc('hour', time) AS hour,
            app,
            region,
            hdr(waited_us) FILTER (WHERE outcome IN ('ok', 'failed')) AS finished,
            hdr(waited_us) FILTER (WHERE outcome = 'abandoned') AS abandoned,
            hdr(waited_us) FILTER (WHERE outcome IN ('cancelled', 'pending')) AS censored
        FROM requests
        WHERE layer = 'browser'
        GROUP BY 1, 2, 3
    ) AS waits
) AS curves;

-- Reloads against documents loaded, by minute and region: while_waiting had requests pending (the
-- beacon's word), abandoned is the requests they ended, repeats the requests they sent again.
CREATE VIEW refreshes AS
SELECT
    minute,
    app,
    region,
    sum(page_loads) AS page_loads,
    sum(refreshes) AS refreshes,
    sum(while_waiting) AS while_waiting,
    sum(abandoned) AS abandoned,
    sum(repeats) AS repeats,
    CAST(sum(refreshes) AS DOUBLE) / nullif(CAST(sum(page_loads) AS DOUBLE), 0) AS refresh_share
FROM (
    SELECT
        date_trunc('minute', time) AS minute,
        CAST(app AS VARCHAR) AS app,
        CAST(region AS VARCHAR) AS region,
        -- A navigation within the document loads nothing.
        count(*) FILTER (WHERE attributes['browser.navigation.type'] IN ('navigate', 'reload', 'back_forward')) AS page_loads,
        count(*) FILTER (WHERE attributes['browser.navigation.type'] = 'reload') AS refreshes,
        count(*) FILTER (WHERE event_name = 'behavior.refresh' AND value > 0) AS while_waiting,
        0 AS abandoned,
        0 AS repeats
    FROM events
    WHERE event_name IN ('browser.navigation', 'behavior.refresh') AND layer = 'browser'
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT
        date_trunc('minute', time),
        CAST(app AS VARCHAR),
        CAST(region AS VARCHAR),
        0,
        0,
        0,
        count(*) FILTER (WHERE abandon_trigger = 'reload'),
        count(*) FILTER (WHERE repeat_cause = 'refresh')
    FROM requests
    WHERE layer = 'browser' AND (abandon_trigger = 'reload' OR repeat_cause = 'refresh')
    GROUP BY 1, 2, 3
) AS counts
GROUP BY 1, 2, 3;

-- Sessions whose busiest minute had at least three times the requests of their own calm, the median
-- of their active minutes; calm_of_region_per_min is the median of that over all sessions there.
CREATE VIEW session_bursts AS
SELECT
    s.app,
    s.session_id,
    s.user_id,
    s.region,
    s.start,
    s.end,
    s.requests,
    s.requests_per_min_max,
    s.requests_per_min_calm,
    CAST(s.requests_per_min_max AS DOUBLE) / s.requests_per_min_calm AS burst,
    c.calm_of_region_per_min,
    s.refreshes,
    s.errors,
    s.abandonments
FROM sessions AS s
JOIN (
    SELECT app, region, hdr_quantile(hdr(requests_per_min_calm), 0.5) AS calm_of_region_per_min
    FROM sessions
    WHERE requests_per_min_calm > 0
    GROUP BY 1, 2
) AS c
ON c.app = s.app AND c.region = s.region
WHERE s.requests_per_min_calm > 0 AND s.requests_per_min_max >= 3 * s.requests_per_min_calm;

-- Whether a browser's requests found their server spans, and why the others did not, by minute and
-- route; share is of all requests of the minute, service and route.
CREATE VIEW coverage AS
SELECT
    minute,
    app,
    service,
    route,
    coverage,
    requests,
    CAST(requests AS DOUBLE) / sum(requests) OVER (PARTITION BY minute, app, service, route) AS share
FROM (
    SELECT date_trunc('minute', time) AS minute, app, service, route, coverage, count(*) AS requests
    FROM requests
    WHERE layer = 'browser'
    GROUP BY 1, 2, 3, 4, 5
) AS found;

-- How callers send again, as seen, by hour and hop: calls that were sent again, the attempts they got
-- at most, the pause between the end of one attempt and the next on the caller's own clock, and
-- its spread: (p90 − p10) ÷ p50, near 0 for a fixed pause without jitter. unprovoked retries were
-- sent though the earlier attempt had not failed or was still awaited; hedges are meant so and not
-- among them.
CREATE VIEW retry_policies AS
SELECT
    hour,
    app,
    layer,
    caller,
    service,
    calls_retried,
    attempts_max,
    retries,
    hedges,
    unprovoked,
    hdr_quantile(backoff, 0.1) AS backoff_us_p10,
    hdr_quantile(backoff, 0.5) AS backoff_us_p50,
    hdr_quantile(backoff, 0.9) AS backoff_us_p90,
    CAST(hdr_quantile(backoff, 0.9) - hdr_quantile(backoff, 0.1) AS DOUBLE)
        / nullif(CAST(hdr_quantile(backoff, 0.5) AS DOUBLE), 0) AS backoff_spread,
    hdr_count(backoff) AS backoffs
FROM (
    SELECT
        date_trunc('hour', time) AS hour,
        app,
        layer,
        caller,
        callee AS service,
        count(*) FILTER (WHERE attempt = 2) AS calls_retried,
        max(attempt) AS attempts_max,
        count(*) FILTER (WHERE attempt_kind IN ('retry', 'overlap')) AS retries,
        count(*) FILTER (WHERE attempt_kind = 'hedge') AS hedges,
        count(*) FILTER (
            WHERE attempt_kind = 'overlap' OR (attempt_kind = 'retry' AND follows AND NOT after_failure)
        ) AS unprovoked,
        hdr(started_us - ended_us) FILTER (WHERE attempt_kind = 'retry' AND follows) AS backoff
    FROM (
        SELECT
            *,
            -- The attempt before may be unknown: then nothing is said of the pause.
            coalesce(lag(attempt) OVER earlier = attempt - 1, false) AS follows,
            lag(started_us + duration_us) OVER earlier AS ended_us,
            lag(has_failed) OVER earlier AS after_failure
        FROM (
            SELECT
                time,
                app,
                caller_layer AS layer,
                caller,
                callee,
                original,
                attempt,
                attempt_kind,
                duration_us,
                CAST(time_client AS BIGINT) / 1000 AS started_us,
                CASE
                    WHEN status_code IS NULL THEN error_type IS NOT NULL OR status = 'error'
                    ELSE status_code >= 500 OR status_code IN (408, 425, 429)
                END AS has_failed
            FROM spans
            WHERE is_send AND attempt > 0
                AND original IN (SELECT original FROM spans WHERE is_send AND attempt > 1)
        ) AS sends
        WINDOW earlier AS (PARTITION BY app, caller, callee, original ORDER BY started_us, attempt)
    ) AS sequences
    WHERE attempt > 1
    GROUP BY 1, 2, 3, 4, 5
) AS hop;
