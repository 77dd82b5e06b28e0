//! The API server: the pods of this node come from it, and Events go to it. Nothing here is in the way of a reload.

use anyhow::{Context as _, Result};
use kube::{Client, Config};

pub(crate) mod budget;
pub(crate) mod events;
pub(crate) mod pods;

/// A client for the cluster that this process runs in, or that the kubeconfig names.
pub(crate) async fn client() -> Result<Client> {
    let config = Config::infer().await.context("can't tell where the API server is")?;
    Client::try_from(config).context("can't set up the client for the API server")
}
