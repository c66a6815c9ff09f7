//! One role in this process: lock, bind, serve, say so, stop.
//!
//! The role itself lives in its crate and gets listeners, clock and shutdown as parameters.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ethogram_collector::Pressure;
use ethogram_timeline::clock::Clock;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::telemetry::Telemetry;

use super::ready::Ready;
use super::stop::{Stop, Supervised};
use super::{listen, lock, machine, probe};

/// Stack of every thread of the query role. Planning SQL recurses with the depth of the
/// expression; Tokio's 2 MiB end at a few hundred levels, and a stack overflow aborts the
/// process. Only the pages that are used cost memory.
const QUERY_STACK_BYTES: usize = 16 << 20;

/// Stack of the collector's threads: Tokio's own default, said aloud.
const COLLECTOR_STACK_BYTES: usize = 2 << 20;

/// What the runtime's own threads may take to end after the role has. They hold nothing that is
/// not on disk.
const RUNTIME_STOP: Duration = Duration::from_secs(1);

/// The two roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Receives and appends.
    Collector,
    /// Follows and answers.
    Query,
}

impl Role {
    /// The role's name, which is also its command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Query => "query",
        }
    }

    /// The name of the listener that answers `/healthz`.
    fn health_listener(self) -> &'static str {
        match self {
            Self::Collector => "admin",
            Self::Query => "query",
        }
    }

    fn stack_bytes(self) -> usize {
        match self {
            Self::Collector => COLLECTOR_STACK_BYTES,
            Self::Query => QUERY_STACK_BYTES,
        }
    }
}

/// Runs a role in this process until it is asked to stop.
pub(crate) fn run(role: Role, config: Config, supervised: Supervised) -> anyhow::Result<()> {
    let pressure = Pressure::default();
    let gathers = pressure.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(move || gathers.let_gather())
        .thread_name(role.name())
        .thread_stack_size(role.stack_bytes())
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(Box::pin(serve(role, config, supervised, pressure)));
    runtime.shutdown_timeout(RUNTIME_STOP);
    result
}

async fn serve(
    role: Role,
    config: Config,
    supervised: Supervised,
    pressure: Pressure,
) -> anyhow::Result<()> {
    let stop = Stop::new();
    stop.on_signals(supervised)?;
    machine::prepare(role);
    let _lock = lock::take(&config.data_dir, role.name(), super::stop_patience(&config)).await?;
    let telemetry = Telemetry::start(&config.telemetry, role.name())?;
    let result = match role {
        Role::Collector => serve_collector(&config, &stop, &telemetry, pressure).await,
        Role::Query => serve_query(&config, &stop, &telemetry).await,
    };
    telemetry.stop().await;
    result
}

async fn serve_collector(
    config: &Config,
    stop: &Stop,
    telemetry: &Telemetry,
    pressure: Pressure,
) -> anyhow::Result<()> {
    let mut ready = Ready::default();
    let mut bind = |name, flag, address| bind(&mut ready, name, flag, address, config);
    let listeners = ethogram_collector::Listeners {
        admin: bind("admin", "--admin-listen", config.admin_listen)?,
        beacon: bind("beacon", "--beacon-listen", config.beacon_listen)?,
        otlp_grpc: bind("otlp_grpc", "--otlp-grpc-listen", config.otlp_grpc_listen)?,
        otlp_http: bind("otlp_http", "--otlp-http-listen", config.otlp_http_listen)?,
    };
    let serving = ethogram_collector::serve(
        config.collector.clone(),
        config.data_dir.clone(),
        listeners,
        clock(),
        pressure,
        stop.clone().requested(),
    );
    let serving = async move { serving.await.map_err(anyhow::Error::from) };
    attend(Role::Collector, config, ready, stop, telemetry, serving).await
}

async fn serve_query(config: &Config, stop: &Stop, telemetry: &Telemetry) -> anyhow::Result<()> {
    let mut ready = Ready::default();
    let listeners = ethogram_query::Listeners {
        query: bind(&mut ready, "query", "--query-listen", config.query_listen, config)?,
    };
    let serving = ethogram_query::serve(
        config.query.clone(),
        config.data_dir.clone(),
        listeners,
        clock(),
        stop.clone().requested(),
    );
    let serving = async move { serving.await.map_err(anyhow::Error::from) };
    attend(Role::Query, config, ready, stop, telemetry, serving).await
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn bind(
    ready: &mut Ready,
    name: &str,
    flag: &'static str,
    address: SocketAddr,
    config: &Config,
) -> anyhow::Result<tokio::net::TcpListener> {
    let listener = listen::bind(flag, address, config.listen_queue_max)?;
    ready.insert(name, listener.local_addr()?);
    Ok(listener)
}

/// Drives `serving`, announces it once it answers, and sees to it that it stops when asked.
async fn attend(
    role: Role,
    config: &Config,
    ready: Ready,
    stop: &Stop,
    telemetry: &Telemetry,
    serving: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let patience = super::stop_patience(config);
    let mut serving = Box::pin(async {
        tokio::select! {
            result = serving => match result {
                Ok(()) if !stop.is_requested() => bail!("the {} role ended by itself", role.name()),
                result => result,
            },
            () = late(stop, patience) => bail!("the {} role did not stop within {patience:?}", role.name()),
        }
    });
    tokio::select! {
        result = &mut serving => return result,
        result = announce(role, config, &ready, telemetry) => result?,
    }
    let result = serving.await;
    tracing::info!(role = role.name(), "stopped");
    result
}

async fn announce(
    role: Role,
    config: &Config,
    ready: &Ready,
    telemetry: &Telemetry,
) -> anyhow::Result<()> {
    let health = ready.get(role.health_listener()).expect("the role has bound its listeners");
    probe::until_it_answers(health).await;
    for (listener, address) in ready.iter() {
        tracing::info!(role = role.name(), listener, %address, "listening");
    }
    telemetry.role_started(role.name());
    if let Some(path) = &config.ready_file {
        ready
            .write(path)
            .with_context(|| format!("--ready-file {} cannot be written", path.display()))?;
    }
    Ok(())
}

async fn late(stop: &Stop, patience: Duration) {
    stop.clone().requested().await;
    tokio::time::sleep(patience).await;
}
