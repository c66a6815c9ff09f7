-- The views of the timeline, read once at start and planned over the snapshot of each statement.

-- Spans and events of every session in one shape. Ordered answers for one session, with each
-- service span below the attempt it belongs to, come from GET /api/v1/sessions/{id}/timeline.
CREATE VIEW timeline AS
-- A browser's time is refined by its session's clock: as far as spans that contain each other bound it
-- (known when their trace has settled) it is right within clock_error_us, and no service's span stands before
-- the request above it. Where none do, it is taken to be late by the shortest time that a body of the session
-- was on its way, so that what one device tells stands in its order though some bodies take longer; unless that
-- differs from what the row's own body says by more than two seconds. Few bodies take so much longer than the
-- fastest: then it is another device, or its clock was set between two pages, and the time is the row's own,
-- late by what its body took. A clock that was set by less makes times wrong by as much.
-- offset_ms counts from the session's start, which is late by the way of its first body: it may begin below 0.
SELECT
    t.session_id,
    t.app,
    arrow_cast(t.time_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS time,
    (t.time_ns - t.start_ns) / 1000000 AS offset_ms,
    t.layer,
    t.depth,
    t.what,
    t.status,
    t.duration_us,
    t.page_id,
    t.sequence,
    t.trace_id,
    t.span_id,
    t.request_id,
    t.service,
    t.attempt,
    t.clock_error_us
FROM (
    SELECT
        r.*,
        CASE
            WHEN r.clocked AND (s.clock_error_us IS NOT NULL OR r.offset_ns BETWEEN s.offset_ns - 2000000000 AND s.offset_ns + 2000000000)
                THEN r.time_client_ns + s.offset_ns
            ELSE r.own_time_ns
        END AS time_ns,
        CAST(s.start AS BIGINT) AS start_ns,
        CASE WHEN r.clocked THEN s.clock_error_us END AS clock_error_us
    FROM (
        SELECT
            session_id,
            CAST(app AS VARCHAR) AS app,
            CAST(time AS BIGINT) AS own_time_ns,
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
            attempt,
            CAST(time_client AS BIGINT) AS time_client_ns,
            CAST(time AS BIGINT) - CAST(time_client AS BIGINT) AS offset_ns,
            layer = 'browser' AS clocked
        FROM spans
        UNION ALL
        SELECT
            session_id,
            CAST(app AS VARCHAR) AS app,
            CAST(time AS BIGINT) AS own_time_ns,
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
            CAST(NULL AS INT) AS attempt,
            CAST(time_client AS BIGINT) AS time_client_ns,
            CAST(time AS BIGINT) - CAST(time_client AS BIGINT) AS offset_ns,
            layer = 'browser' AS clocked
        FROM events
    ) AS r
    LEFT JOIN (
        -- A session that came back after it was let go has a row for each time.
        SELECT
            CAST(app AS VARCHAR) AS app,
            session_id,
            min(start) AS start,
            min(clock_offset_us) * 1000 AS offset_ns,
            max(clock_error_us) AS clock_error_us
        FROM sessions
        GROUP BY app, session_id
    ) AS s
    ON s.app = r.app AND s.session_id = r.session_id
) AS t;

-- Sends against logical calls, by minute and hop: local says who multiplies, inherited says how
-- much was multiplied before. Counts of sends, never of distinct ids, each as many as it stands for
-- under sampling. Pages that were not sampled are in it by their summaries, as sends of the browser's
-- layer whose service and route are unknown. retry_ratio stands beside the budgets of 10 % and 20 %
-- that clients are given. unplaced are sends whose place in their call nobody knows: traces were sampled one
-- by one, and its others may be in those that are not here. They are not among sends, and in no factor.
-- overlaps are those of the retries that only their callees tell of and that began before the one before had
-- ended. wasted_share is the part of the callers' waiting whose answer nobody used;
-- goodput_per_s the sends whose answer somebody did use: one that is still awaited is neither.
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
    CAST(wasted_us AS DOUBLE) / nullif(CAST(spent_us AS DOUBLE), 0) AS wasted_share,
    CAST(useful AS DOUBLE) / 60 AS goodput_per_s,
    retries * 10 > first_attempts AS over_budget_10,
    retries * 5 > first_attempts AS over_budget_20,
    overlaps,
    unplaced
FROM (
    SELECT
        minute,
        layer,
        caller,
        service,
        route,
        CAST(round(sum(sends)) AS BIGINT) AS sends,
        CAST(round(sum(first_attempts)) AS BIGINT) AS first_attempts,
        CAST(round(sum(logical_calls)) AS BIGINT) AS logical_calls,
        CAST(round(sum(retries)) AS BIGINT) AS retries,
        CAST(round(sum(overlaps)) AS BIGINT) AS overlaps,
        CAST(round(sum(unplaced)) AS BIGINT) AS unplaced,
        CAST(round(sum(hedges)) AS BIGINT) AS hedges,
        CAST(round(sum(annotated)) AS BIGINT) AS annotated,
        CAST(round(sum(useful)) AS BIGINT) AS useful,
        sum(wasted_us) AS wasted_us,
        sum(spent_us) AS spent_us
    FROM (
        SELECT
            date_trunc('minute', time) AS minute,
            -- Who sends: an abandoned attempt has no span, and its callee's stands for it.
            -- (A bare column would carry its documentation, which differs in the other half.)
            CASE WHEN caller_layer <> '' THEN CAST(caller_layer AS VARCHAR) ELSE 'unknown' END AS layer,
            CASE WHEN caller <> '' THEN CAST(caller AS VARCHAR) ELSE 'unknown' END AS caller,
            CASE WHEN callee <> '' THEN CAST(callee AS VARCHAR) ELSE 'unknown' END AS service,
            CASE WHEN route <> '' THEN CAST(route AS VARCHAR) ELSE 'unknown' END AS route,
            coalesce(sum(sample_weight) FILTER (WHERE attempt_kind <> 'unknown'), 0) AS sends,
            -- A call whose first attempt was never seen is implied by its earliest known send.
            coalesce(sum(sample_weight) FILTER (WHERE attempt = 1 OR original = span_id), 0) AS first_attempts,
            coalesce(sum(sample_weight) FILTER (WHERE original = span_id), 0) AS logical_calls,
            coalesce(sum(sample_weight) FILTER (WHERE attempt_kind IN ('retry', 'overlap')), 0) AS retries,
            coalesce(sum(sample_weight) FILTER (WHERE attempt_kind = 'overlap'), 0) AS overlaps,
            coalesce(sum(sample_weight) FILTER (WHERE attempt_kind = 'unknown'), 0) AS unplaced,
            coalesce(sum(sample_weight) FILTER (WHERE attempt_kind = 'hedge'), 0) AS hedges,
            coalesce(sum(sample_weight) FILTER (
                WHERE attempt <> 1 AND (original IS DISTINCT FROM span_id)
                    AND retry_evidence NOT IN ('none', 'inferred')
            ), 0) AS annotated,
            -- What a browser still waits for has no span: its callee's stands for it, numbered by the
            -- beacon at most. What a proxy sent again for a browser says so by another evidence.
            coalesce(sum(sample_weight) FILTER (
                WHERE NOT wasted AND NOT (
                    kind IN ('server', 'consumer') AND caller_layer = 'browser'
                        AND retry_evidence IN ('none', 'beacon')
                )
            ), 0) AS useful,
            coalesce(sum(duration_us * sample_weight) FILTER (WHERE wasted), 0) AS wasted_us,
            sum(duration_us * sample_weight) AS spent_us
        FROM spans
        WHERE is_send
        GROUP BY 1, 2, 3, 4, 5
        UNION ALL
        SELECT
            date_trunc('minute', time),
            'browser',
            CASE WHEN service <> '' THEN CAST(service AS VARCHAR) ELSE 'unknown' END,
            'unknown',
            'unknown',
            CAST(coalesce(sum(TRY_CAST(attributes['behavior.attempts'] AS BIGINT)), 0) AS DOUBLE),
            CAST(coalesce(sum(TRY_CAST(attributes['behavior.requests'] AS BIGINT)), 0) AS DOUBLE),
            CAST(coalesce(sum(TRY_CAST(attributes['behavior.requests'] AS BIGINT)), 0) AS DOUBLE),
            CAST(coalesce(sum(TRY_CAST(attributes['behavior.retries'] AS BIGINT)), 0) AS DOUBLE),
            CAST(0 AS DOUBLE),
            CAST(0 AS DOUBLE),
            CAST(coalesce(sum(TRY_CAST(attributes['behavior.hedges'] AS BIGINT)), 0) AS DOUBLE),
            CAST(coalesce(sum(TRY_CAST(attributes['behavior.retries'] AS BIGINT)), 0)
                + coalesce(sum(TRY_CAST(attributes['behavior.hedges'] AS BIGINT)), 0) AS DOUBLE),
            CAST(NULL AS DOUBLE),
            CAST(NULL AS DOUBLE),
            CAST(NULL AS DOUBLE)
        FROM events
        WHERE event_name = 'behavior.summary' AND layer = 'browser'
            AND coalesce(TRY_CAST(attributes['behavior.attempts'] AS BIGINT), 0) BETWEEN 0 AND 4294967295
            AND coalesce(TRY_CAST(attributes['behavior.requests'] AS BIGINT), 0) BETWEEN 0 AND 4294967295
        GROUP BY 1, 3
    ) AS counted
    GROUP BY 1, 2, 3, 4, 5
) AS hop;

-- Requests that users left, by minute, place and what they did instead; trigger is `none` for those
-- they did not leave, so that requests, abandoned and provisional add up over any rows. share is of
-- all requests of the minute, region and route. A provisional one may still be withdrawn. evidence is
-- `observed` where the page said so; `inferred` where only its silence tells, or a server that a
-- browser hung up on, of whose request nobody else told.
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
    hdr_quantile(waited, 0.99) AS waited_us_p99,
    evidence
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
        hdr(waited_us) AS waited,
        coalesce(CAST(abandon_evidence AS VARCHAR), 'none') AS evidence
    FROM requests
    WHERE layer = 'browser' OR abandon_evidence = 'inferred'
    GROUP BY 1, 2, 3, 4, 5, 10
) AS place;

-- Documents and operations that users left before they were ready, by the minute in which these began.
-- target = 'page': name is its route, phase `download` or `render`. target = 'operation': name and phase are
-- the page's own, and one is known once it has ended or was left. trigger and phase are `none` for those
-- that were not left, so that begun and abandoned add up over any rows; share is of all of the minute, app,
-- region, target and name. It is what beacons told: loads that no beacon told of are in `coverage`. Every
-- question of it reads all page loads and operations that there are.
CREATE VIEW exits AS
SELECT
    minute,
    app,
    region,
    target,
    name,
    trigger,
    phase,
    begun,
    abandoned,
    CAST(abandoned AS DOUBLE) / sum(begun) OVER (PARTITION BY minute, app, region, target, name) AS share,
    hdr_quantile(waited, 0.5) AS waited_us_p50,
    hdr_quantile(waited, 0.9) AS waited_us_p90,
    hdr_quantile(waited, 0.99) AS waited_us_p99
FROM (
    SELECT
        date_trunc('minute', time) AS minute,
        app,
        region,
        target,
        name,
        CASE WHEN is_left THEN coalesce(trigger, 'unknown') ELSE 'none' END AS trigger,
        CASE WHEN is_left THEN coalesce(phase, 'unknown') ELSE 'none' END AS phase,
        count(*) AS begun,
        count(*) FILTER (WHERE is_left) AS abandoned,
        hdr(waited_us) FILTER (WHERE is_left) AS waited
    FROM (
        SELECT
            app,
            page_id,
            operation_id,
            arrow_cast(min(began), 'Timestamp(Nanosecond, Some("UTC"))') AS time,
            target,
            first_value(region ORDER BY sequence) AS region,
            first_value(name ORDER BY sequence) AS name,
            -- The last word counts: who comes back from the back-forward cache has not left.
            last_value(event_name ORDER BY sequence) = 'behavior.abandon' AS is_left,
            -- It goes on, and will be told of.
            last_value(event_name ORDER BY sequence) = 'behavior.abandon_withdrawn' AS is_running,
            last_value(trigger ORDER BY sequence) AS trigger,
            last_value(phase ORDER BY sequence) AS phase,
            last_value(waited_us ORDER BY sequence) AS waited_us
        FROM (
            SELECT
                CAST(app AS VARCHAR) AS app,
                CAST(region AS VARCHAR) AS region,
                page_id,
                sequence,
                CAST(event_name AS VARCHAR) AS event_name,
                CASE WHEN is_load THEN 'page' ELSE 'operation' END AS target,
                CASE WHEN is_load THEN CAST(route AS VARCHAR) ELSE coalesce(attributes['behavior.operation_name'], 'unknown') END AS name,
                CASE WHEN is_load THEN '' ELSE attributes['behavior.operation_id'] END AS operation_id,
                -- What is told of when it is over began before.
                CAST(time AS BIGINT) - 1000 * waited_us AS began,
                attributes['behavior.abandon_trigger'] AS trigger,
                attributes['behavior.abandon_phase'] AS phase,
                waited_us
            FROM (
                SELECT
                    *,
                    event_name = 'browser.navigation' OR coalesce(attributes['behavior.abandon_target'], '') = 'page' AS is_load,
                    -- A page may claim any wait; a day is more than anybody has waited.
                    least(greatest(coalesce(TRY_CAST(attributes['behavior.waited_us'] AS BIGINT), 0), 0), 86400000000) AS waited_us
                FROM events
            ) AS events
            WHERE layer = 'browser' AND page_id IS NOT NULL AND (
                (event_name = 'browser.navigation'
                    AND attributes['browser.navigation.type'] IN ('navigate', 'reload', 'back_forward'))
                OR (event_name = 'behavior.abandon' AND is_load)
                OR (event_name IN ('behavior.operation', 'behavior.abandon', 'behavior.abandon_withdrawn')
                    AND attributes['behavior.operation_id'] IS NOT NULL)
            )
        ) AS told
        GROUP BY app, page_id, target, operation_id
    ) AS wait
    WHERE NOT is_running
    GROUP BY 1, 2, 3, 4, 5, 6, 7
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
            hdr(waited_us) FILTER (WHERE abandon_evidence = 'observed') AS abandoned,
            -- Of one who fell silent it is only known that they had waited so long before.
            hdr(waited_us) FILTER (
                WHERE outcome IN ('cancelled', 'pending') OR abandon_evidence = 'inferred'
            ) AS censored
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
-- of their active minutes; calm_of_region_per_min is the median of that over all sessions there, and
-- burst_of_region the busiest minute against it.
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
    s.abandonments,
    CAST(s.requests_per_min_max AS DOUBLE) / nullif(CAST(c.calm_of_region_per_min AS DOUBLE), 0) AS burst_of_region
FROM sessions AS s
JOIN (
    SELECT app, region, hdr_quantile(hdr(requests_per_min_calm), 0.5) AS calm_of_region_per_min
    FROM sessions
    WHERE requests_per_min_calm > 0
    GROUP BY 1, 2
) AS c
ON c.app = s.app AND c.region = s.region
WHERE s.requests_per_min_calm > 0 AND s.requests_per_min_max >= 3 * s.requests_per_min_calm;

-- How much of what happened is seen from both sides, by minute and route; share is of all of the
-- minute, service and route. what = 'request': whether a browser's requests found their server spans,
-- and why the others did not. what = 'page': page loads that a beacon reported (`reached`), and those
-- that the server saw beyond them (`no_beacon`). A load may be reported in the minute after it was
-- served: then the difference is negative there, and right in the sum. Pages are the server's GET
-- spans without a caller on routes at which beacons report loads.
CREATE VIEW coverage AS
SELECT
    minute,
    app,
    service,
    route,
    coverage,
    requests,
    CAST(requests AS DOUBLE)
        / nullif(CAST(sum(requests) OVER (PARTITION BY what, minute, app, service, route) AS DOUBLE), 0) AS share,
    what
FROM (
    SELECT
        date_trunc('minute', time) AS minute,
        coalesce(CAST(app AS VARCHAR), 'unknown') AS app,
        coalesce(CAST(service AS VARCHAR), 'unknown') AS service,
        coalesce(CAST(route AS VARCHAR), 'unknown') AS route,
        coalesce(CAST(coverage AS VARCHAR), 'unknown') AS coverage,
        count(*) AS requests,
        'request' AS what
    FROM requests
    WHERE layer = 'browser'
    GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT
        loads.minute,
        loads.app,
        places.service,
        loads.route,
        loads.coverage,
        sum(loads.loads),
        'page'
    FROM (
        SELECT
            date_trunc('minute', time) AS minute,
            coalesce(CAST(app AS VARCHAR), 'unknown') AS app,
            regexp_replace(CAST(route AS VARCHAR), ':[A-Za-z_]+|<[^>]*>|[{][^}]*[}]', '{id}', 'g') AS route,
            'no_beacon' AS coverage,
            1 AS loads
        FROM spans
        WHERE kind = 'server' AND is_send AND caller = 'unknown' AND method = 'GET' AND NOT synthetic
            AND coalesce(attributes['user_agent.original'], attributes['http.user_agent'], 'Mozilla/') LIKE 'Mozilla/%'
        UNION ALL
        SELECT
            date_trunc('minute', time) AS minute,
            coalesce(CAST(app AS VARCHAR), 'unknown') AS app,
            regexp_replace(CAST(route AS VARCHAR), ':[A-Za-z_]+|<[^>]*>|[{][^}]*[}]', '{id}', 'g') AS route,
            'reached' AS coverage,
            1 AS loads
        FROM events
        WHERE event_name = 'browser.navigation' AND layer = 'browser'
            AND attributes['browser.navigation.type'] IN ('navigate', 'reload', 'back_forward')
        UNION ALL
        SELECT
            date_trunc('minute', time) AS minute,
            coalesce(CAST(app AS VARCHAR), 'unknown') AS app,
            regexp_replace(CAST(route AS VARCHAR), ':[A-Za-z_]+|<[^>]*>|[{][^}]*[}]', '{id}', 'g') AS route,
            'no_beacon' AS coverage,
            -1 AS loads
        FROM events
        WHERE event_name = 'browser.navigation' AND layer = 'browser'
            AND attributes['browser.navigation.type'] IN ('navigate', 'reload', 'back_forward')
    ) AS loads
    -- Only routes that both sides know.
    JOIN (
        SELECT
            coalesce(CAST(s.app AS VARCHAR), 'unknown') AS app,
            regexp_replace(CAST(s.route AS VARCHAR), ':[A-Za-z_]+|<[^>]*>|[{][^}]*[}]', '{id}', 'g') AS route,
            min(CAST(s.service AS VARCHAR)) AS service
        FROM spans AS s
        WHERE s.kind = 'server' AND s.is_send AND s.caller = 'unknown' AND s.method = 'GET' AND NOT s.synthetic
        GROUP BY 1, 2
    ) AS places
    ON places.app = loads.app AND places.route = loads.route
    JOIN (
        SELECT DISTINCT
            coalesce(CAST(app AS VARCHAR), 'unknown') AS app,
            regexp_replace(CAST(route AS VARCHAR), ':[A-Za-z_]+|<[^>]*>|[{][^}]*[}]', '{id}', 'g') AS route
        FROM events
        WHERE event_name = 'browser.navigation' AND layer = 'browser'
            AND attributes['browser.navigation.type'] IN ('navigate', 'reload', 'back_forward')
    ) AS pages
    ON pages.app = loads.app AND pages.route = loads.route
    GROUP BY 1, 2, 3, 4, 5
) AS found;

-- How much of what each document's beacon said has arrived: it numbers its records from 0, so a gap is a
-- loss. missing may fall while the document lives, since a request has its number from its beginning and
-- is told at its end, and so has the load; what was sighted, left or outlives its document is told by then
-- (request_sequence). What was lost behind the last record that arrived is not in missing, and what was
-- erased or grew too old is. dropped is the document's own count of what it gave up: some of that had
-- no number yet, or had arrived. Both are kept for each record, so ask for some pages (page_id IN (SELECT
-- page_id FROM events WHERE …)) where there are tens of millions of records.
CREATE VIEW page_records AS
SELECT
    CAST(app AS VARCHAR) AS app,
    CAST(service AS VARCHAR) AS service,
    page_id,
    first_value(CAST(session_id AS VARCHAR) ORDER BY sequence) AS session_id,
    min(CAST(region AS VARCHAR)) AS region,
    min(time) AS time,
    count(*) FILTER (WHERE is_record) AS records,
    max(sequence) + 1 - count(DISTINCT sequence) AS missing,
    coalesce(max(TRY_CAST(dropped AS BIGINT)), 0) AS dropped
FROM (
    SELECT
        app, service, page_id, session_id, region, time, layer,
        sequence,
        TRUE AS is_record,
        resource['behavior.dropped_records'] AS dropped
    FROM spans
    UNION ALL
    SELECT
        app, service, page_id, session_id, region, time, layer,
        sequence,
        TRUE,
        resource['behavior.dropped_records']
    FROM events
    UNION ALL
    SELECT
        app, service, page_id, session_id, region, time, layer,
        TRY_CAST(attributes['behavior.request_sequence'] AS BIGINT),
        FALSE,
        NULL
    FROM events
) AS numbered
WHERE layer = 'browser' AND page_id IS NOT NULL AND sequence BETWEEN 0 AND 4294967295
GROUP BY 1, 2, 3;

-- How callers send again, as seen, by hour and hop that was sent to again or timed out: calls that were
-- sent again, the attempts they got
-- at most, the pause between the end of one attempt and the next on the caller's own clock, and
-- its spread: (p90 − p10) ÷ p50, near 0 for a fixed pause without jitter. unprovoked retries were
-- sent though the earlier attempt had not failed or was still awaited; hedges are meant so and not
-- among them. retry_after_asked counts the retries whose earlier answer said how long to wait,
-- retry_after_obeyed those that did; nested those below another retry, where layers multiply.
-- timeouts are all sends of the hop that timed out, timeout_us their median, and below_tail is true
-- where the callee's own 99th percentile is longer than that; of a callee without spans of its own, such
-- as a database, that of the answers its callers had.
CREATE VIEW retry_policies AS
SELECT
    coalesce(hop.hour, late.hour) AS hour,
    coalesce(hop.app, late.app) AS app,
    coalesce(hop.layer, late.layer) AS layer,
    coalesce(hop.caller, late.caller) AS caller,
    coalesce(hop.service, late.service) AS service,
    coalesce(calls_retried, 0) AS calls_retried,
    coalesce(attempts_max, 1) AS attempts_max,
    coalesce(retries, 0) AS retries,
    coalesce(hedges, 0) AS hedges,
    coalesce(unprovoked, 0) AS unprovoked,
    hdr_quantile(backoff, 0.1) AS backoff_us_p10,
    hdr_quantile(backoff, 0.5) AS backoff_us_p50,
    hdr_quantile(backoff, 0.9) AS backoff_us_p90,
    CAST(hdr_quantile(backoff, 0.9) - hdr_quantile(backoff, 0.1) AS DOUBLE)
        / nullif(CAST(hdr_quantile(backoff, 0.5) AS DOUBLE), 0) AS backoff_spread,
    coalesce(hdr_count(backoff), 0) AS backoffs,
    coalesce(retry_after_asked, 0) AS retry_after_asked,
    coalesce(retry_after_obeyed, 0) AS retry_after_obeyed,
    coalesce(nested, 0) AS nested,
    coalesce(timeouts, 0) AS timeouts,
    timeout_us,
    coalesce(tail.callee_us_p99, met.callee_us_p99) AS callee_us_p99,
    timeout_us < coalesce(tail.callee_us_p99, met.callee_us_p99) AS below_tail,
    coalesce(overlaps, 0) AS overlaps
FROM (
    SELECT
        date_trunc('hour', time) AS hour,
        CAST(app AS VARCHAR) AS app,
        CAST(layer AS VARCHAR) AS layer,
        CAST(caller AS VARCHAR) AS caller,
        CAST(callee AS VARCHAR) AS service,
        count(*) FILTER (WHERE attempt = 2) AS calls_retried,
        max(attempt) AS attempts_max,
        count(*) FILTER (WHERE attempt_kind IN ('retry', 'overlap')) AS retries,
        count(*) FILTER (WHERE attempt_kind = 'overlap') AS overlaps,
        count(*) FILTER (WHERE attempt_kind = 'hedge') AS hedges,
        count(*) FILTER (
            WHERE attempt_kind = 'overlap' OR (attempt_kind = 'retry' AND follows AND NOT after_failure)
        ) AS unprovoked,
        hdr(started_us - ended_us) FILTER (WHERE attempt_kind = 'retry' AND follows) AS backoff,
        count(*) FILTER (WHERE attempt_kind = 'retry' AND follows AND asked_s IS NOT NULL) AS retry_after_asked,
        count(*) FILTER (
            WHERE attempt_kind = 'retry' AND follows AND started_us - ended_us >= asked_s * 1000000
        ) AS retry_after_obeyed,
        count(*) FILTER (WHERE attempt_kind IN ('retry', 'overlap') AND retry_depth > 1) AS nested
    FROM (
        SELECT
            *,
            -- The attempt before may be unknown: then nothing is said of the pause.
            coalesce(lag(attempt) OVER earlier = attempt - 1, false) AS follows,
            lag(started_us + duration_us) OVER earlier AS ended_us,
            lag(has_failed) OVER earlier AS after_failure,
            lag(retry_after_s) OVER earlier AS asked_s
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
                retry_depth,
                duration_us,
                -- Seconds, or the date until which it is asked to wait, `Wed, 21 Oct 2015 07:28:00 GMT`.
                coalesce(
                    TRY_CAST(retry_after AS DOUBLE),
                    CAST(CAST(TRY_CAST(concat(
                        substr(retry_after, 13, 4), '-',
                        right(concat('0', CAST((strpos('JanFebMarAprMayJunJulAugSepOctNovDec', substr(retry_after, 9, 3)) + 2) / 3 AS VARCHAR)), 2), '-',
                        substr(retry_after, 6, 2), 'T', substr(retry_after, 18, 8), 'Z'
                    ) AS TIMESTAMP) AS BIGINT) - CAST(time AS BIGINT) - duration_us * 1000 AS DOUBLE) / 1000000000
                ) AS retry_after_s,
                CAST(time_client AS BIGINT) / 1000 AS started_us,
                CASE
                    WHEN status_code IS NULL THEN error_type IS NOT NULL OR status = 'error'
                    ELSE status_code >= 500 OR status_code IN (408, 425, 429)
                END AS has_failed
            FROM (
                -- A captured header is a list of one.
                SELECT *, replace(replace(attributes['http.response.header.retry-after'], '["', ''), '"]', '') AS retry_after
                FROM spans
            ) AS answered
            WHERE is_send AND attempt > 0
                AND original IN (SELECT original FROM spans WHERE is_send AND attempt > 1)
        ) AS sends
        WINDOW earlier AS (PARTITION BY app, caller, callee, original ORDER BY started_us, attempt)
    ) AS sequences
    WHERE attempt > 1
    GROUP BY 1, 2, 3, 4, 5
) AS hop
FULL JOIN (
    SELECT
        date_trunc('hour', time) AS hour,
        CAST(app AS VARCHAR) AS app,
        CAST(caller_layer AS VARCHAR) AS layer,
        CAST(caller AS VARCHAR) AS caller,
        CAST(callee AS VARCHAR) AS service,
        count(*) AS timeouts,
        hdr_quantile(hdr(duration_us), 0.5) AS timeout_us
    FROM spans
    WHERE is_send AND status_code IS NULL
        AND (lower(CAST(error_type AS VARCHAR)) LIKE '%timeout%' OR lower(CAST(error_type AS VARCHAR)) LIKE '%deadline%')
    GROUP BY 1, 2, 3, 4, 5
) AS late
ON late.hour = hop.hour AND late.app = hop.app AND late.layer = hop.layer
    AND late.caller = hop.caller AND late.service = hop.service
LEFT JOIN (
    SELECT
        date_trunc('hour', time) AS hour,
        CAST(app AS VARCHAR) AS app,
        CAST(service AS VARCHAR) AS service,
        hdr_quantile(hdr(duration_us), 0.99) AS callee_us_p99
    FROM spans
    WHERE kind = 'server'
    GROUP BY 1, 2, 3
) AS tail
ON tail.hour = coalesce(hop.hour, late.hour) AND tail.app = coalesce(hop.app, late.app)
    AND tail.service = coalesce(hop.service, late.service)
LEFT JOIN (
    SELECT
        date_trunc('hour', time) AS hour,
        CAST(app AS VARCHAR) AS app,
        CAST(callee AS VARCHAR) AS service,
        hdr_quantile(hdr(duration_us), 0.99) AS callee_us_p99
    FROM spans
    WHERE is_send AND kind = 'client' AND error_type IS NULL
    GROUP BY 1, 2, 3
) AS met
ON met.hour = coalesce(hop.hour, late.hour) AND met.app = coalesce(hop.app, late.app)
    AND met.service = coalesce(hop.service, late.service);
