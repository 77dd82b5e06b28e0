//! `reloadlet controller`: rolls workloads for what a change can't reach in place. What is done is decided in
//! `reloadlet_core::rollouts`; here it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::asker::Asker;
use self::desk::Desk;
use self::leader::Keeper;
use self::leading::Worker;
use self::metrics::Metrics;
use self::people::People;
use crate::api::cluster::Cluster;
use crate::api::events::{self, Speaks};
use crate::api::fence::{self, Trial};
use crate::cli::ControllerConfig;
use crate::contact::Contact;
use crate::http::Server;
use crate::logs::Missing;

mod asker;
mod budgets;
mod content;
mod desk;
mod leader;
mod leading;
mod lists;
mod meta;
mod metrics;
mod moments;
mod notes;
mod people;
mod pod;
mod pods;
mod queue;
mod requests;
mod revisions;
mod state;
mod status;
#[cfg(test)]
mod testing;
mod watches;
mod wire;
mod words;

/// Runs the controller until SIGTERM or SIGINT, or until something that it can't do without fails.
pub(crate) fn run(config: &ControllerConfig, missing: Missing) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime of the controller")?;
    runtime.spawn(missing.warn());
    let server = Server::bind(config.listen, config.admin_listen)?;
    let ended = runtime.block_on(work(config, server));
    // Connections to the API server needn't end in an orderly way.
    runtime.shutdown_background();
    tracing::info!("stopped");
    ended
}

async fn work(config: &ControllerConfig, server: Server) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
    let contact = Contact::new();
    let metrics = Arc::new(Metrics::new().context("can't set up the metrics")?);
    metrics.follow_contact(contact.clone()).context("can't set up the metrics")?;
    let cluster = Cluster::infer(contact.clone()).await?;
    let (notes, sender) = events::channel(cluster.clone(), Speaks::of_controller(&config.identity));
    let mut beside = JoinSet::new();
    beside.spawn(sender.run());
    let is_open = Arc::new(AtomicBool::new(false));
    let found = {
        let (metrics, is_open) = (metrics.clone(), is_open.clone());
        move |open| {
            metrics.set_fence_open(open);
            is_open.store(open, Ordering::Relaxed);
        }
    };
    let trial = Trial::Roll { deployment: config.deployment.clone() };
    let (gate, prover) = fence::channel(cluster.clone(), trial, !config.without_fence, found);
    beside.spawn(prover.run());
    let asker = Asker::new(cluster);
    let (keeper, leadership) = Keeper::new(asker.clone(), config.namespace.clone(), config.identity.clone());
    let desk = Desk {
        identity: config.identity.clone(),
        contact,
        metrics: metrics.clone(),
        gate: gate.clone(),
        is_open,
        leadership: leadership.clone(),
        is_synced: Arc::default(),
    };
    let (endpoints, questions) = desk::endpoints(&desk);
    let (listen, admin_listen) = server.addresses().context("can't tell the served addresses")?;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.serve(endpoints, stopped));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = config.namespace,
        identity = config.identity,
        namespaces = ?config.namespaces,
        secrets = config.secrets,
        reloader_annotations = config.reloader_annotations,
        %listen,
        %admin_listen,
        "started"
    );
    let people = People::new(notes, metrics);
    let worker = Worker { config, asker, gate, desk, people, questions, leadership };
    let asked = async {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    };
    let ended = work_until(asked, keeper, worker, beside).await;
    stop.send_replace(true);
    serving.await.context("the HTTP server ended unexpectedly")?.context("can't serve HTTP")?;
    ended
}

/// Works until it is asked to end, or until something that it can't do without fails. The Lease is given back when all of it has stopped, also
/// what is done beside the work: from then on another replica works.
async fn work_until(
    asked: impl Future<Output = ()>,
    mut keeper: Keeper,
    mut worker: Worker<'_>,
    beside: JoinSet<()>,
) -> Result<()> {
    let ended = tokio::select! {
        () = keeper.run() => Ok(()),
        ended = worker.take_turns() => ended,
        () = asked => Ok(()),
    };
    // What the worker had under way has gone with its turn, and none of it is begun any more.
    worker.stop();
    drop(beside);
    keeper.give_back().await;
    ended
}

#[cfg(test)]
mod tests;
