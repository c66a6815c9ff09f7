//! Both roles as children of this process, on one set of addresses.
//!
//! The supervisor serves nothing itself: the less it does, the less can end it.

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::config::{Config, Written};
use crate::telemetry::Telemetry;

use super::child::Child;
use super::ready::{Ready, STANDARD_OUTPUT};
use super::role::Role;
use super::stop::{Stop, Supervised};

/// What is started.
pub(crate) struct Launch {
    /// The configuration.
    pub(crate) config: Config,
    /// What it was made from, for the children.
    pub(crate) written: Written,
    /// One more child, once both roles serve.
    pub(crate) guest: Option<Guest>,
    /// Called once with all addresses when both roles serve.
    pub(crate) on_ready: Box<dyn FnOnce(&Ready) + Send>,
}

/// The arguments of a guest, given all addresses and which start it is, from 0.
pub(crate) type GuestArguments = Box<dyn Fn(&Ready, u64) -> Vec<String> + Send + Sync>;

/// A child that uses the roles: the simulated world.
pub(crate) struct Guest {
    /// The name in messages.
    pub(crate) name: &'static str,
    /// What it is started with.
    pub(crate) arguments: GuestArguments,
}

/// Runs everything until asked to stop, or until a role cannot start.
pub(crate) fn supervise(launch: Launch) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // It waits for children and signals; a second thread would have nothing to do.
        .worker_threads(1)
        .enable_all()
        .thread_name("supervisor")
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(Box::pin(run(launch)));
    // An export that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

async fn run(launch: Launch) -> anyhow::Result<()> {
    let stop = Stop::new();
    stop.on_signals(Supervised::No)?;
    let telemetry = Telemetry::start(&launch.config.telemetry, "supervisor")?;
    let mut children = JoinSet::new();
    let collector = keep_role(Role::Collector, &launch, &stop, &telemetry, &mut children);
    let query = keep_role(Role::Query, &launch, &stop, &telemetry, &mut children);

    let started = tokio::select! {
        ready = both(collector, query) => start_guest(launch, ready, &stop, &telemetry, &mut children),
        // A role that ends before both serve has refused, or we were asked to stop.
        Some(ended) = children.join_next() => flat(ended),
    };
    if started.is_err() {
        stop.request();
    }
    let mut result = started;
    while let Some(ended) = children.join_next().await {
        let ended = flat(ended);
        if ended.is_err() {
            // The others end with it: half an Ethogram that looks whole would mislead.
            stop.request();
        }
        // The first error is the cause; the rest follow from it.
        result = result.and(ended);
    }
    telemetry.stop().await;
    tracing::info!("stopped");
    result
}

/// A child's result; a panic of its keeper is one too.
fn flat(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    ended.map_err(anyhow::Error::from).and_then(|ended| ended)
}

fn keep_role(
    role: Role,
    launch: &Launch,
    stop: &Stop,
    telemetry: &Telemetry,
    children: &mut JoinSet<anyhow::Result<()>>,
) -> watch::Receiver<Option<Ready>> {
    let child = Child {
        name: role.name(),
        arguments: role_arguments(role, launch.written.clone()),
        serves: true,
        patience: super::kill_patience(&launch.config),
    };
    let (sender, receiver) = watch::channel(None);
    children.spawn(child.keep(stop.clone(), telemetry.clone(), sender));
    receiver
}

/// The role's command with everything that was written, the wish to be told where it serves, and the
/// addresses it had before.
fn role_arguments(role: Role, written: Written) -> super::child::Arguments {
    Box::new(move |bound, _start| {
        let mut written = written.clone();
        written.flags.push(("ready_file".to_owned(), STANDARD_OUTPUT.to_owned()));
        for (name, address) in bound.into_iter().flat_map(Ready::iter) {
            written.flags.push((format!("{name}_listen"), address.to_string()));
        }
        let mut arguments = vec![role.name().to_owned(), "--supervised".to_owned()];
        arguments.extend(written.to_arguments());
        arguments
    })
}

async fn both(
    mut collector: watch::Receiver<Option<Ready>>,
    mut query: watch::Receiver<Option<Ready>>,
) -> Ready {
    let mut ready = Ready::default();
    for role in [&mut collector, &mut query] {
        match role.wait_for(Option::is_some).await {
            Ok(addresses) => ready.extend(addresses.clone().unwrap_or_default()),
            // The child is given up; whoever joins it knows why.
            Err(_) => std::future::pending().await,
        }
    }
    ready
}

fn start_guest(
    launch: Launch,
    ready: Ready,
    stop: &Stop,
    telemetry: &Telemetry,
    children: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    if let Some(path) = &launch.config.ready_file {
        ready
            .write(path)
            .with_context(|| format!("--ready-file {} cannot be written", path.display()))?;
    }
    (launch.on_ready)(&ready);
    if let Some(guest) = launch.guest {
        let child = Child {
            name: guest.name,
            arguments: Box::new(move |_, start| (guest.arguments)(&ready, start)),
            serves: false,
            patience: super::kill_patience(&launch.config),
        };
        children.spawn(child.keep(stop.clone(), telemetry.clone(), watch::Sender::new(None)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_role_comes_back_where_it_was() {
        let written = Written {
            flags: vec![
                ("query_listen".to_owned(), "127.0.0.1:0".to_owned()),
                ("ready_file".to_owned(), "/tmp/all.json".to_owned()),
            ],
            ..Written::default()
        };
        let arguments = role_arguments(Role::Query, written);
        let first = ["query", "--supervised", "--query-listen=127.0.0.1:0", "--ready-file=-"];
        assert_eq!(arguments(None, 0), first);
        let mut bound = Ready::default();
        bound.insert("query", SocketAddr::from(([127, 0, 0, 1], 40_001)));
        let second = ["query", "--supervised", "--ready-file=-", "--query-listen=127.0.0.1:40001"];
        assert_eq!(arguments(Some(&bound), 1), second);
    }
}
