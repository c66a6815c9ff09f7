//! Running statements within a budget.
//!
//! A statement waits for a permit, is judged and planned on a thread with a large stack, and runs
//! on threads of its own, so that `/healthz` and `/metrics` answer while every core computes. Its
//! time is limited from arrival on, its answer in rows and bytes. Whoever asked may go away: the
//! future is dropped, and with it the work.
//!
//! It is not SQL's surface over HTTP, which is [`crate::sql`].
//!
//! Invariant: a permit is held as long as any thread works for the statement, even after its
//! client was told that the time is over. Planning cannot be interrupted; running can, between two
//! steps. What does not stop is noticed (`watchdog`).

mod turns;
mod watchdog;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayData};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use ethogram_timeline::store::Snapshot;
use futures::StreamExt;
use http::StatusCode;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::config::SqlConfig;
use crate::error::{ApiError, QueryError};
use crate::guard;
use crate::session::Template;
use watchdog::Watchdog;

/// The engine: one per process, shared by all doors.
#[derive(Debug)]
pub struct Engine {
    template: Arc<Template>,
    limits: SqlConfig,
    running: Arc<Semaphore>,
    queued: AtomicUsize,
    watchdog: Watchdog,
    threads: Option<Runtime>,
}

/// What a statement answers.
#[derive(Debug)]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// The number of rows.
    pub rows: usize,
    /// Rows received before this are all in the answer, nanoseconds since the Unix epoch.
    pub complete_until_ns: i64,
    /// Keeps the answer's bytes in the budget until it is sent.
    _held: MemoryReservation,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// A text from outside: it passes the guard.
    Statement(String),
    /// A text of ours with its parameters (`$1`, …), which are values and never text.
    Prepared(String, Vec<ScalarValue>),
}

impl Answer {
    /// An answer of these batches, whose bytes `held` keeps in the budget.
    pub fn new(
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        complete_until_ns: i64,
        held: MemoryReservation,
    ) -> Self {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Self { schema, batches, rows, complete_until_ns, _held: held }
    }
}

impl Engine {
    /// An engine over the store's directory.
    pub fn open(limits: &SqlConfig, store: &Path) -> Result<Self, QueryError> {
        let threads = Builder::new_multi_thread()
            .thread_name("sql")
            .enable_all()
            .build()
            .map_err(QueryError::Store)?;
        Ok(Self {
            template: Arc::new(Template::open(limits, store)?),
            limits: limits.clone(),
            running: Arc::new(Semaphore::new(limits.running_max.max(1))),
            queued: AtomicUsize::new(0),
            watchdog: Watchdog::new(Duration::from_secs(limits.stop_seconds)),
            threads: Some(threads),
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> &SqlConfig {
        &self.limits
    }

    /// Bytes that statements hold now.
    pub fn memory_bytes(&self) -> usize {
        self.template.memory_bytes()
    }

    /// Statements running now.
    pub fn running(&self) -> usize {
        self.limits.running_max.max(1) - self.running.available_permits()
    }

    /// Completes when a statement has not stopped after its time was over: it never will, and the
    /// process must be replaced.
    pub async fn wedged(&self) {
        self.watchdog.wedged().await;
    }

    /// Answers a question over one snapshot.
    pub async fn ask(
        &self,
        snapshot: Arc<Snapshot>,
        question: Question,
    ) -> Result<Answer, ApiError> {
        let wall = Duration::from_secs(self.limits.wall_seconds);
        match tokio::time::timeout(wall, self.answer(snapshot, question)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ApiError::limit(format!(
                "the statement took longer than {} s; ask for less time or fewer columns",
                self.limits.wall_seconds
            ))),
        }
    }

    async fn answer(
        &self,
        snapshot: Arc<Snapshot>,
        question: Question,
    ) -> Result<Answer, ApiError> {
        let place = Arc::new(self.permit().await?);
        let _waiting = self.watchdog.watch(&place, &question);
        // Declared last, so let go first: what has ended need not be watched.
        let permit = place;
        let complete_until_ns = snapshot.complete_until_ns;
        let planned = self.plan(Arc::clone(&snapshot), question, Arc::clone(&permit)).await?;
        let limits =
            Limits { rows: self.limits.result_rows_max, bytes: self.limits.result_bytes_max };
        let handle = self.handle()?;
        let work = Work(handle.spawn(async move {
            let collected = collect(planned, limits).await;
            // A plan names files and opens them as it goes; the snapshot is what keeps them there.
            drop(snapshot);
            drop(permit);
            collected
        }));
        let (schema, batches, held) = work.finish().await?;
        Ok(Answer::new(schema, batches, complete_until_ns, held))
    }

    /// Waits for a turn; refused at once where too many wait already.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let place = Place::take(&self.queued, self.limits.queued_max)?;
        let permit = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|closed| ApiError::internal(&closed));
        drop(place);
        permit
    }

    /// Judges and plans on a thread of its own, whose stack is large enough for the planner.
    async fn plan(
        &self,
        snapshot: Arc<Snapshot>,
        question: Question,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Result<Planned, ApiError> {
        let (sender, receiver) = oneshot::channel();
        let template = Arc::clone(&self.template);
        let limits = self.limits.clone();
        let handle = self.handle()?;
        std::thread::Builder::new()
            .name(String::from("sql-plan"))
            .stack_size(self.limits.planner_stack_bytes)
            .spawn(move || {
                let planned = handle.block_on(plan(&template, &snapshot, question, &limits));
                drop(permit);
                // The one who asked may have gone away; then nobody wants the plan.
                drop(sender.send(planned));
            })
            .map_err(|error| ApiError::internal(&error))?;
        // The thread panicked if it sent nothing: one statement's problem, and one answer's.
        receiver.await.unwrap_or_else(|lost| Err(ApiError::internal(&lost)))
    }

    fn handle(&self) -> Result<Handle, ApiError> {
        match &self.threads {
            Some(threads) => Ok(threads.handle().clone()),
            None => Err(ApiError::internal(&"the engine has ended")),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Waiting for threads is not allowed where the engine is dropped, and nobody waits for them.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(queued: &'a AtomicUsize, max: usize) -> Result<Self, ApiError> {
        if queued.fetch_add(1, Ordering::SeqCst) >= max {
            queued.fetch_sub(1, Ordering::SeqCst);
            return Err(ApiError::limit("too many statements are waiting; ask again later")
                .with_status(StatusCode::SERVICE_UNAVAILABLE));
        }
        Ok(Self(queued))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A plan ready to run.
struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
}

async fn plan(
    template: &Template,
    snapshot: &Arc<Snapshot>,
    question: Question,
    limits: &SqlConfig,
) -> Result<Planned, ApiError> {
    let (session, plan) = match question {
        Question::Statement(sql) => {
            let statement = guard::admit(&sql, limits)?;
            let session = template.session(snapshot).await?;
            let plan = session.state().statement_to_plan(statement).await?;
            guard::check_plan(&plan, limits)?;
            (session, plan)
        }
        Question::Prepared(sql, parameters) => {
            let session = template.session(snapshot).await?;
            let plan = session.sql(&sql).await?.into_unoptimized_plan();
            (session, plan.with_param_values(parameters)?)
        }
    };
    physical(&session, &plan).await
}

async fn physical(session: &SessionContext, plan: &LogicalPlan) -> Result<Planned, ApiError> {
    let state = session.state();
    let optimized = state.optimize(plan)?;
    guard::check_histograms(&optimized)?;
    let plan = state.query_planner().create_physical_plan(&optimized, &state).await?;
    let plan = turns::with_turns(plan)?;
    Ok(Planned { plan, context: session.task_ctx() })
}

/// What one answer may hold.
#[derive(Clone, Copy)]
struct Limits {
    rows: usize,
    bytes: usize,
}

type Collected = (SchemaRef, Vec<RecordBatch>, MemoryReservation);

/// Runs a plan to its end or to the answer's limits.
async fn collect(planned: Planned, limits: Limits) -> Result<Collected, ApiError> {
    let held = MemoryConsumer::new("answer").register(&planned.context.runtime_env().memory_pool);
    let mut stream = execute_stream(planned.plan, planned.context)?;
    let schema = stream.schema();
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0_usize, 0_usize);
    let mut buffers = HashSet::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        for column in batch.columns() {
            bytes += newly_held_bytes(&column.to_data(), &mut buffers);
        }
        if rows > limits.rows || bytes > limits.bytes {
            return Err(ApiError::limit(format!(
                "the answer is larger than {} rows or {} MiB; add a LIMIT or aggregate",
                limits.rows,
                limits.bytes >> 20
            )));
        }
        held.try_resize(bytes)?;
        batches.push(batch);
    }
    Ok((schema, batches, held))
}

/// Bytes of the buffers of an array that no earlier array held: batches are often slices of one
/// larger batch, and counting that one for each of them would refuse small answers.
fn newly_held_bytes(data: &ArrayData, seen: &mut HashSet<usize>) -> usize {
    let own = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer()));
    let mut bytes = 0;
    for buffer in own {
        if seen.insert(buffer.data_ptr().addr().get()) {
            bytes += buffer.capacity();
        }
    }
    bytes + data.child_data().iter().map(|child| newly_held_bytes(child, seen)).sum::<usize>()
}

/// A running statement, stopped when nobody waits for it any more.
struct Work(JoinHandle<Result<Collected, ApiError>>);

impl Work {
    async fn finish(mut self) -> Result<Collected, ApiError> {
        match (&mut self.0).await {
            Ok(collected) => collected,
            Err(lost) => Err(ApiError::internal(&lost)),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
