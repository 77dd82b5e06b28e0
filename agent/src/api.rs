//! The API server: the pods of this node come from it, and Events go to it. Nothing here is in the way of a reload.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Config;

#[cfg(test)]
pub(crate) mod authority;
pub(crate) mod backoff;
pub(crate) mod budget;
pub(crate) mod cluster;
pub(crate) mod content;
pub(crate) mod events;
pub(crate) mod fence;
pub(crate) mod kubelet;
pub(crate) mod nudges;
pub(crate) mod objects;
pub(crate) mod pods;
pub(crate) mod requests;
pub(crate) mod side;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trouble;
pub(crate) mod unsaid;
pub(crate) mod watch;

/// How long a connection may be silent before it is replaced: it may have died without a word, and a request on it would
/// wait for a quarter of an hour. A watch isn't silent for so long, since a bookmark comes each minute.
const SILENCE: Duration = Duration::from_secs(90);

/// How much of a refusal is said.
const SAID_CHARS: usize = 200;

/// How long the API server has to accept a connection. One that is late is asked again, maybe another one by then.
const CONNECT: Duration = Duration::from_secs(10);

/// How to reach the cluster that this process runs in, or that the kubeconfig names.
pub(crate) async fn config() -> Result<Config> {
    Ok(bounded(Config::infer().await.context("can't tell where the API server is")?))
}

/// With the agent's limits.
fn bounded(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(SILENCE);
    // A connection that has been idle isn't late.
    config.reset_reader_on_write = true;
    // Who asks knows when to ask again. The client would obey any Retry-After, and say nothing meanwhile.
    config.default_retry = false;
    config
}

/// The beginning of a text, which may be anything, on one line.
fn short(text: &str) -> String {
    text.trim().chars().map(|char| if char.is_control() { ' ' } else { char }).take(SAID_CHARS).collect()
}
