//! `reloadlet controller`: rolls workloads for what a change can't reach in place. What is done is decided in
//! `reloadlet_core::rollouts`; here it is asked for.

use anyhow::{Context as _, Result};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use self::asker::Asker;
use self::leader::Keeper;
use crate::api::cluster::Cluster;
use crate::cli::ControllerConfig;
use crate::contact::Contact;
use crate::logs::Missing;

mod asker;
mod content;
mod leader;
mod leading;
mod metrics;
mod moments;
mod notes;
mod people;
mod pods;
mod requests;
mod revisions;
mod state;
mod status;
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
    let ended = runtime.block_on(work(config));
    runtime.shutdown_background();
    tracing::info!("stopped");
    ended
}

async fn work(config: &ControllerConfig) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
    let contact = Contact::new();
    let cluster = Cluster::infer(contact.clone()).await?;
    let asker = Asker::new(cluster);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = config.namespace,
        identity = config.identity,
        "started"
    );
    let (mut keeper, mut leadership) =
        Keeper::new(asker.clone(), config.namespace.clone(), config.identity.clone());
    let ended = tokio::select! {
        () = keeper.run() => Ok(()),
        ended = leading::take_turns(config, &asker, &mut leadership) => ended,
        _ = terminate.recv() => {
            tracing::info!("SIGTERM: stopping");
            Ok(())
        }
        _ = interrupt.recv() => {
            tracing::info!("SIGINT: stopping");
            Ok(())
        }
    };
    keeper.give_back().await;
    ended
}
