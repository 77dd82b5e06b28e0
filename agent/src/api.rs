//! The API server: the pods of this node come from it, and Events go to it. Nothing here is in the way of a reload.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::{Client, Config};

pub(crate) mod budget;
pub(crate) mod events;
pub(crate) mod fence;
pub(crate) mod kubelet;
pub(crate) mod nudges;
pub(crate) mod objects;
pub(crate) mod pods;
pub(crate) mod tokens;

/// How long a connection may be silent before it is replaced: it may have died without a word, and a request on it would
/// wait for a quarter of an hour. A watch isn't silent for so long, since a bookmark comes each minute.
const SILENCE: Duration = Duration::from_secs(90);

/// How to reach the cluster that this process runs in, or that the kubeconfig names.
pub(crate) async fn config() -> Result<Config> {
    let mut config = Config::infer().await.context("can't tell where the API server is")?;
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(SILENCE);
    // A connection that has been idle isn't late.
    config.reset_reader_on_write = true;
    Ok(config)
}

/// A client for that cluster.
pub(crate) fn client(config: Config) -> Result<Client> {
    Client::try_from(config).context("can't set up the client for the API server")
}
