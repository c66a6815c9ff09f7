//! Sessions over a real store: what a statement sees, and what only its plan tells.

mod growing;

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::util::pretty::pretty_format_batches;
use ethogram_timeline::join::{self, Change, Delta, Join, RowId};
use ethogram_timeline::log::{LogId, Position};
use ethogram_timeline::rollup::Rollup;
use ethogram_timeline::schema::{Attributes, Label, SessionId, SpanId, SpanRow, Time, TraceId};
use ethogram_timeline::store::{self, Store};

use super::*;
use crate::guard;

/// A store in a directory of its own, and a template over it.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) template: Template,
    pub(crate) snapshot: Arc<Snapshot>,
    _store: Store,
}

impl Fixture {
    /// The numbers of the rows within `range` that were not retracted.
    pub(crate) fn alive(&self, range: Range<i32>) -> BTreeSet<i32> {
        range.filter(|row| !is_retracted(*row)).collect()
    }
}

/// Every fifth row is retracted, in runs of two, so that selections have runs of every kind.
fn is_retracted(row: i32) -> bool {
    row % 10 == 7 || row % 10 == 8
}

/// A store whose first `sealed` spans are in a part and whose next `recent` are in the head; the
/// number of a row is its `depth`.
pub(crate) fn fixture(sealed: i32, recent: i32) -> Fixture {
    let spans = |range: Range<i32>| range.map(|row| Arc::new(span(row))).collect::<Vec<_>>();
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, _resume) =
        Store::open(directory.path(), store::Config::default()).expect("a new store");
    let mut place = 0_u64;
    let mut came = |rows: Vec<Arc<SpanRow>>| -> Vec<Change> {
        rows.into_iter()
            .map(|row| {
                let placed = (RowId(place), row);
                place += 1;
                Change::Span(Delta { old: None, new: Some(placed) })
            })
            .collect()
    };
    store.apply(came(spans(0..sealed)));
    let position = Position { log_id: LogId(1), epoch: 1, segment: 1, offset: 64 };
    let join = Join::new(join::Config::default());
    let sealing = store.begin_seal(&join, &Rollup::default(), position).expect("packs");
    let written = sealing.write().expect("a part");
    store.finish_seal(written);
    store.apply(came(spans(sealed..sealed + recent)));
    let went = (0..sealed + recent).filter(|row| is_retracted(*row)).map(|row| {
        let placed = (RowId(u64::try_from(row).expect("not negative")), Arc::new(span(row)));
        Change::Span(Delta { old: Some(placed), new: None })
    });
    store.apply(went.collect());
    let template = Template::open(&SqlConfig::default(), directory.path()).expect("a template");
    let snapshot = Arc::new(store.snapshot(1_700_000_000_000_000_000));
    Fixture { directory, template, snapshot, _store: store }
}

/// A send of the service `shop` to `cart`: of each ten, the second is a retry of the first.
fn span(row: i32) -> SpanRow {
    let number = u64::try_from(row).expect("not negative");
    let id = |row: u64| SpanId((row + 1).to_be_bytes());
    let is_retry = row % 10 == 1;
    let is_wasted = row % 10 == 0;
    let at = Time(1_700_000_000_000_000_000 + i64::from(row) * 1_000_000);
    SpanRow {
        time: at,
        time_client: at,
        time_received: at,
        duration_us: i64::from(row) * 1_000,
        trace_id: TraceId(u128::from(number).to_be_bytes()),
        span_id: id(number),
        parent_span_id: None,
        app: Label::new("default"),
        environment: Label::unknown(),
        service: Label::new("shop"),
        service_version: Label::unknown(),
        name: Label::new("GET"),
        kind: Label::new("client"),
        layer: Label::new("service"),
        method: Label::new("GET"),
        route: Label::new("/cart"),
        status_code: Some(if row % 10 == 0 { 503 } else { 200 }),
        error_type: None,
        session_id: SessionId::new("s1"),
        user_id: None,
        country: Label::new("GB"),
        subdivision: Label::unknown(),
        region: Label::new("GB"),
        cloud_region: Label::unknown(),
        synthetic: false,
        verified: true,
        sample_weight: 1.0,
        request_id: None,
        is_send: true,
        callee: Label::new("cart"),
        attempt: if is_retry { 2 } else { 1 },
        attempt_kind: Label::new(if is_retry { "retry" } else { "first" }),
        retry_evidence: Label::new(if is_retry { "resend_count" } else { "none" }),
        original: Some(id(if is_retry { number - 1 } else { number })),
        retry_depth: 0,
        attributes: Attributes::from_iter([(String::from("http.route"), format!("/cart/{row}"))]),
        resource: Attributes::empty(),
        status: Label::new("ok"),
        caller: Label::new("shop"),
        depth: row,
        page_id: None,
        sequence: None,
        caller_layer: Label::new("service"),
        wasted: is_wasted,
    }
}

/// An answer as lines of cells, or the message.
async fn answer(fixture: &Fixture, sql: &str) -> Result<String, String> {
    let statement = guard::admit(sql, &SqlConfig::default()).map_err(|error| error.to_string())?;
    let session = fixture.template.session(&fixture.snapshot).await.map_err(|e| e.to_string())?;
    let plan = session.state().statement_to_plan(statement).await.map_err(|e| e.to_string())?;
    guard::check_plan(&plan, &SqlConfig::default()).map_err(|error| error.to_string())?;
    let optimized = session.state().optimize(&plan).map_err(|error| error.to_string())?;
    guard::check_histograms(&optimized).map_err(|error| error.to_string())?;
    let frame = session.execute_logical_plan(plan).await.map_err(|error| error.to_string())?;
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    let table = pretty_format_batches(&batches).map_err(|error| error.to_string())?.to_string();
    let lines = table.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells = lines
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" "));
    Ok(cells.collect::<Vec<_>>().join("; "))
}

#[tokio::test]
async fn answers_questions() {
    let fixture = fixture(100, 50);
    for (sql, expected) in [
        ("SELECT count(*) FROM spans", "120"),
        ("SELECT attributes['http.route'] FROM spans WHERE depth = 3", "/cart/3"),
        ("SELECT attributes['missing'] FROM spans WHERE depth = 3", ""),
        ("SELECT hdr_count(hdr(duration_us)) FROM spans", "120"),
        ("SELECT region, count(*) FROM spans GROUP BY region", "GB 120"),
        (
            "SELECT sends, first_attempts, logical_calls, retries, hedges, local, inherited, \
             amplification, annotated_share FROM amplification",
            "120 105 105 15 0 1.1428571428571428 1.0 1.1428571428571428 1.0",
        ),
        ("SELECT caller, service, route, layer FROM amplification", "shop cart /cart service"),
        (
            "SELECT layer, what, status, duration_us, service, attempt FROM timeline WHERE depth = 10",
            "service GET /cart 503 10000 shop 1",
        ),
        ("SELECT count(*) FROM timeline WHERE session_id = 's1'", "120"),
        // Row 0 of each ten failed after as many milliseconds as its number; row 1 retries it.
        (
            "SELECT retry_ratio, wasted_share FROM amplification",
            "0.14285714285714285 0.11864406779661017",
        ),
        (
            "SELECT caller, service, calls_retried, attempts_max, retries, hedges, unprovoked, \
             backoff_us_p50, backoffs FROM retry_policies",
            "shop cart 15 2 15 0 0 1000 1",
        ),
        ("SELECT arrow_typeof(now())", "Timestamp(ns, \"UTC\")"),
        ("SELECT date_trunc('minute', time) FROM spans WHERE depth = 3", "2023-11-14T22:13:00Z"),
        (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
            "abandonment; amplification; coverage; events; exits; losses; metrics; page_records; patience; \
             refreshes; requests; retry_policies; session_bursts; sessions; spans; timeline",
        ),
    ] {
        assert_eq!(answer(&fixture, sql).await.as_deref(), Ok(expected), "{sql}");
    }
    for sql in [
        "SHOW TABLES",
        "DESCRIBE spans",
        "SHOW COLUMNS FROM requests",
        "EXPLAIN SELECT * FROM spans",
    ] {
        let text = answer(&fixture, sql).await.expect(sql);
        assert!(!text.contains(fixture.directory.path().to_str().expect("UTF-8")), "{text}");
    }
}

#[tokio::test]
async fn views_have_their_columns() {
    let fixture = fixture(10, 0);
    for (view, columns) in [
        (
            "timeline",
            "session_id app time offset_ms layer depth what status duration_us page_id sequence \
             trace_id span_id request_id service attempt clock_error_us",
        ),
        (
            "amplification",
            "minute layer caller service route sends first_attempts logical_calls retries hedges \
             local inherited amplification annotated_share retry_ratio wasted_share \
             goodput_per_s over_budget_10 over_budget_20 overlaps unplaced",
        ),
        (
            "abandonment",
            "minute app region route trigger requests abandoned provisional share waited_us_p50 \
             waited_us_p90 waited_us_p99 evidence",
        ),
        (
            "patience",
            "hour app region waited_s at_risk finished abandoned censored survival incidence",
        ),
        (
            "refreshes",
            "minute app region page_loads refreshes while_waiting abandoned repeats refresh_share",
        ),
        (
            "session_bursts",
            "app session_id user_id region start end requests requests_per_min_max \
             requests_per_min_calm burst calm_of_region_per_min refreshes errors abandonments \
             burst_of_region",
        ),
        (
            "exits",
            "minute app region target name trigger phase begun abandoned share waited_us_p50 \
             waited_us_p90 waited_us_p99",
        ),
        ("coverage", "minute app service route coverage requests share what"),
        ("page_records", "app service page_id session_id region time records missing dropped"),
        (
            "retry_policies",
            "hour app layer caller service calls_retried attempts_max retries hedges unprovoked \
             backoff_us_p10 backoff_us_p50 backoff_us_p90 backoff_spread backoffs retry_after_asked \
             retry_after_obeyed nested timeouts timeout_us callee_us_p99 below_tail overlaps",
        ),
    ] {
        let session = fixture.template.session(&fixture.snapshot).await.expect("a session");
        let frame = session.table(view).await.expect("a view");
        let names: Vec<&str> =
            frame.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names.join(" "), columns);
    }
}

#[tokio::test]
async fn refuses_what_only_the_plan_tells() {
    let fixture = fixture(10, 0);
    let outside = fixture.directory.path().join("spans.parquet");
    let by_path = format!("SELECT * FROM '{}'", outside.display());
    for (sql, expected) in [
        (by_path.as_str(), "not found"),
        ("SELECT * FROM '/etc/passwd'", "not found"),
        ("SELECT * FROM 'file:///etc/passwd'", "not found"),
        ("SELECT * FROM 's3://bucket/key.parquet'", "not found"),
        ("SELECT * FROM \"ethogram-store://parts/spans.parquet\"", "not found"),
        ("SELECT * FROM other.public.spans", "not found"),
        ("SELECT * FROM information_schema.df_settings", "not a table of the timeline"),
        ("SELECT * FROM information_schema.\"DF_SETTINGS\"", "not a table of the timeline"),
        ("SELECT * FROM information_schema.\"Df_Settings\"", "not a table of the timeline"),
        (
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM information_schema.df_settings)",
            "not a table of the timeline",
        ),
        ("SELECT * FROM spanz", "not found"),
        ("SELECT regoin FROM spans", "regoin"),
        ("SELECT no_such_function(1)", "no_such_function"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
        ("SELECT $1", "laceholder"),
        (
            "SELECT hdr_merge(h) FROM (SELECT hdr(duration_us) AS h FROM spans \
             UNION ALL SELECT h FROM metrics)",
            "hdr_coarsen",
        ),
        (
            "SELECT hdr_quantile(c, 0.5) FROM (\
             SELECT hdr_censored(duration_us, true) AS c FROM spans UNION ALL \
             SELECT named_struct('finished', h, 'left', h) FROM metrics)",
            "hdr_coarsen",
        ),
        ("SELECT hdr_censored(DISTINCT duration_us, true) FROM spans", "DISTINCT"),
    ] {
        let message = answer(&fixture, sql).await.expect_err(sql);
        assert!(message.contains(expected), "{sql}: {message}");
    }
    let censored = "SELECT hdr_count(hdr_merge(c)) FROM (\
                    SELECT hdr_coarsen(hdr_censored(duration_us, true)) AS c FROM spans \
                    UNION ALL SELECT named_struct('finished', h, 'left', h) FROM metrics)";
    assert_eq!(answer(&fixture, censored).await.as_deref(), Ok("8"));
    let mixed = "SELECT hdr_count(hdr_merge(h)) FROM (SELECT hdr_coarsen(hdr(duration_us)) AS h \
                 FROM spans UNION ALL SELECT h FROM metrics)";
    assert_eq!(answer(&fixture, mixed).await.as_deref(), Ok("8"));
}

#[tokio::test]
async fn plans_at_the_limits_of_the_guard() {
    let fixture = fixture(10, 0);
    let limits = SqlConfig::default();
    let conditions = vec!["depth = 1"; limits.operators_max / 2].join(" OR ");
    let unions = vec!["SELECT 1"; limits.tables_max].join(" UNION ALL ");
    let parentheses =
        "(".repeat(limits.nesting_max - 1) + "1" + &")".repeat(limits.nesting_max - 1);
    for sql in [
        format!("SELECT count(*) FROM spans WHERE {conditions}"),
        format!("SELECT count(*) FROM ({unions})"),
        format!("SELECT {parentheses}"),
    ] {
        let shown: String = sql.chars().take(60).collect();
        if let Err(message) = answer(&fixture, &sql).await {
            panic!("{shown}: {message}");
        }
    }
}
