//! The budget: what runs, what waits, what is refused, what is given back.

use ethogram_timeline::store::TableView;
use futures::future::join_all;

use super::*;
use crate::error::Kind;

fn engine(adjust: impl FnOnce(&mut SqlConfig)) -> (tempfile::TempDir, Arc<Engine>) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut limits = SqlConfig::default();
    adjust(&mut limits);
    let engine = Engine::open(&limits, directory.path()).expect("an engine");
    (directory, Arc::new(engine))
}

fn snapshot() -> Arc<Snapshot> {
    Arc::new(Snapshot::of(1, 5, std::array::from_fn(|_| TableView::default())))
}

async fn ask(engine: &Engine, sql: &str) -> Result<Answer, ApiError> {
    engine.ask(snapshot(), Question::Statement(String::from(sql))).await
}

/// A statement of 64^`factors` rows of work and one row of answer.
fn product(factors: usize) -> String {
    let values = vec!["(1)"; 64].join(", ");
    let tables: Vec<String> =
        (0..factors).map(|factor| format!("(VALUES {values}) AS t{factor}(a)")).collect();
    format!("SELECT sum(t0.a) FROM {}", tables.join(" CROSS JOIN "))
}

#[tokio::test]
async fn answers_and_gives_its_memory_back() {
    let (_directory, engine) = engine(|_limits| {});
    let answer = ask(&engine, &product(2)).await.expect("an answer");
    assert_eq!((answer.rows, answer.complete_until_ns), (1, 5));
    assert!(engine.memory_bytes() > 0, "an answer is in the budget until it is sent");
    drop(answer);
    until(|| engine.memory_bytes() == 0 && engine.running() == 0).await;
}

/// Waits for a condition, at most as long as a very busy machine needs.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it happens");
}

#[tokio::test]
async fn time_is_limited_and_the_next_statement_is_fine() {
    let (_directory, engine) = engine(|limits| {
        limits.wall_seconds = 1;
        // A step takes far longer where every core is busy with other tests.
        limits.stop_seconds = 60;
    });
    let error = ask(&engine, &product(8)).await.expect_err("it would take days");
    assert_eq!(error.kind, Kind::Limit, "{error}");
    assert!(error.message.contains("longer than 1 s"), "{error}");
    until(|| engine.running() == 0).await;
    answered(&engine, "SELECT 1").await;
    assert!(!is_wedged(&engine).await, "it has stopped");
}

#[tokio::test]
async fn a_statement_keeps_its_snapshot_until_it_has_ended() {
    let (_directory, engine) = engine(|limits| limits.wall_seconds = 1);
    let snapshot = snapshot();
    let kept = Arc::downgrade(&snapshot);
    let holds_memory = format!("{} GROUP BY t1.a", product(8));
    let asked = engine.ask(snapshot, Question::Statement(holds_memory));
    let seen = async {
        // It is planned, and works.
        until(|| engine.memory_bytes() > 0).await;
        assert!(kept.upgrade().is_some(), "its files may go while it reads them");
    };
    let (answer, ()) = futures::join!(asked, seen);
    assert_eq!(answer.expect_err("it would take days").kind, Kind::Limit);
    until(|| kept.upgrade().is_none()).await;
}

/// On one partition there is nobody to wait for, so only the budget of a task ends its turn.
#[tokio::test]
async fn towers_of_joins_give_others_a_turn() {
    let (_directory, engine) = engine(|limits| limits.partitions = 1);
    let crossed = product(8).replace("sum(t0.a)", "t0.a");
    let equal = (1..8).map(|factor| format!("t0.a = t{factor}.a")).collect::<Vec<_>>();
    let hashed = format!("{crossed} WHERE {}", equal.join(" AND "));
    let nested = format!("{crossed} WHERE {}", equal.join(" AND ").replace('=', "<="));
    for sql in [crossed, hashed, nested] {
        let question = Question::Statement(sql.clone());
        let planned = plan(&engine.template, &snapshot(), question, engine.limits()).await;
        let Planned { plan, context } = planned.expect("a plan");
        let mut stream = execute_stream(plan, context).expect("it runs");
        let mut batches = 0;
        while let std::task::Poll::Ready(batch) = futures::poll!(stream.next()) {
            batch.expect("it is given").expect("it is good");
            batches += 1;
            assert!(batches < 1_000, "it goes on and on: {sql}");
        }
    }
}

async fn is_wedged(engine: &Engine) -> bool {
    tokio::time::timeout(Duration::from_millis(100), engine.wedged()).await.is_ok()
}

#[tokio::test]
async fn what_does_not_stop_is_noticed() {
    let (_directory, engine) = engine(|limits| limits.stop_seconds = 1);
    let question = Question::Statement(String::from("SELECT 1"));
    let place = Arc::new(engine.permit().await.expect("a place"));
    let waiting = engine.watchdog.watch(&place, &question);
    drop(place);
    drop(waiting);
    let place = Arc::new(engine.permit().await.expect("a place"));
    drop(engine.watchdog.watch(&place, &question));
    drop(place);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!is_wedged(&engine).await, "both have let go");
    let place = Arc::new(engine.permit().await.expect("a place"));
    drop(engine.watchdog.watch(&place, &question));
    let noticed = tokio::time::timeout(Duration::from_secs(20), engine.wedged());
    noticed.await.expect("it is noticed");
    drop(place);
}

/// Asks until there is an answer: where every core is busy with other tests, even the smallest
/// statement can take longer than the smallest limit.
async fn answered(engine: &Engine, sql: &str) {
    let asked = async {
        while let Err(error) = ask(engine, sql).await {
            assert_eq!(error.kind, Kind::Limit, "{error}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("an answer");
}

#[tokio::test]
async fn answers_are_limited() {
    let (_directory, engine) = engine(|limits| limits.result_bytes_max = 1 << 10);
    let error = ask(&engine, &product(2).replace("sum(t0.a)", "*")).await.expect_err("too large");
    assert_eq!(error.kind, Kind::Limit, "{error}");
}

#[tokio::test]
async fn who_is_one_too_many_is_told_at_once() {
    let (_directory, engine) = engine(|limits| {
        limits.running_max = 1;
        limits.queued_max = 1;
        limits.wall_seconds = 1;
    });
    let statement = product(8);
    let answers = join_all((0..4).map(|_| ask(&engine, &statement))).await;
    let refused = answers.iter().filter(|answer| {
        answer.as_ref().is_err_and(|error| error.status == StatusCode::SERVICE_UNAVAILABLE)
    });
    assert_eq!(refused.count(), 2, "one runs, one waits");
}

#[tokio::test]
async fn going_away_stops_the_work() {
    let (_directory, engine) = engine(|_limits| {});
    let asked = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { ask(&engine, &product(8)).await.map(drop) }
    });
    until(|| engine.running() == 1).await;
    asked.abort();
    until(|| engine.running() == 0).await;
}

#[tokio::test]
async fn parameters_are_values() {
    let (_directory, engine) = engine(|_limits| {});
    let hostile = "x' OR '1'='1";
    let question = Question::Prepared(
        String::from("SELECT $1 AS a, count(*) FROM spans WHERE session_id = $1"),
        vec![ScalarValue::Utf8(Some(String::from(hostile)))],
    );
    let answer = engine.ask(snapshot(), question).await.expect("an answer");
    assert_eq!(answer.rows, 1);
}
