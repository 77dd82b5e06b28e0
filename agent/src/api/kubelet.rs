//! The kubelet's own configuration, where it may be read: how it learns of changes, and so whether a nudge can help. The
//! account's token goes to nobody whose certificate the cluster's authority hasn't signed.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, StatusCode};
use kube::client::Body;
use kube::{Client, Config};
use reloadlet_core::Event;
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::propagation::strategy::Strategy;
use serde::Deserialize;

use super::short;
use crate::inbox::Inbox;
use crate::logs::Causes;

/// How often it is read: a kubelet takes another configuration when it is started anew.
const EVERY: Duration = Duration::from_secs(600);
/// After a failure; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How long the kubelet has for the answer. It asks the API server twice, about the token and about the right.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const ANSWER_BYTES: usize = 512 << 10;

/// Tells the loop how the kubelet at this address learns of changes, for as long as the agent runs.
pub(crate) async fn follow(address: SocketAddr, inbox: Inbox) {
    // The token and the authority are read anew each time.
    let read_anew = || async move {
        match super::config().await {
            Ok(config) => read(config, address).await,
            Err(error) => Err(Unreadable::Client(error)),
        }
    };
    follow_with(read_anew, &inbox).await;
}

async fn follow_with<R>(mut read: impl FnMut() -> R, inbox: &Inbox)
where
    R: Future<Output = Result<Strategy, Unreadable>>,
{
    // What was read last holds for a while when it can't be read: a kubelet that is being started anew answers nobody.
    let mut known = None;
    let mut said = false;
    let mut pause = FIRST_PAUSE;
    loop {
        match read().await {
            Ok(strategy) => {
                if known.replace(strategy) != Some(strategy) {
                    say(strategy);
                    inbox.put(Event::Strategy(Some(strategy))).await;
                }
                (said, pause) = (false, FIRST_PAUSE);
                tokio::time::sleep(EVERY).await;
            }
            Err(error) => {
                if pause == EVERY && known.take().is_some() {
                    said = false;
                    inbox.put(Event::Strategy(None)).await;
                }
                say_unreadable(&error, std::mem::replace(&mut said, true));
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(EVERY);
            }
        }
    }
}

fn say(strategy: Strategy) {
    let name = strategy.as_str();
    if strategy.finds_the_new() {
        tracing::info!(strategy = name, "the kubelet's configMapAndSecretChangeDetectionStrategy was read");
    } else {
        tracing::warn!(
            strategy = name,
            "the kubelet isn't nudged: with its configMapAndSecretChangeDetectionStrategy it would look and find its old copy"
        );
    }
}

fn say_unreadable(error: &Unreadable, said: bool) {
    let sentence = "the kubelet's configMapAndSecretChangeDetectionStrategy can't be read: whether nudges can help isn't known";
    if said {
        tracing::debug!(error = %Causes(error), "{sentence}");
    } else {
        tracing::info!(error = %Causes(error), "{sentence}");
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the kubelet's configuration isn't known.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    /// The client can't be set up.
    #[error("{0:#}")]
    Client(anyhow::Error),
    /// The certificate couldn't be verified.
    #[error("the agent has no authority to verify the kubelet's certificate with")]
    Unverifiable,
    /// No connection, no trust, or no whole answer.
    #[error("the kubelet can't be asked")]
    Unasked(#[source] BoxError),
    #[error("the kubelet took longer than {LIMIT:?}")]
    Silent,
    /// Without the right; or the kubelet is older than the right, and asks for one that allows much more.
    #[error("the kubelet answers {0}: {1}")]
    Refused(StatusCode, String),
    #[error("the kubelet's answer isn't its configuration: {0}")]
    Garbage(String),
    #[error("the strategy {0:?} isn't known")]
    Unknown(String),
}

/// What the kubelet serves as `/configz`, as far as it is of interest.
#[derive(Deserialize)]
struct Configz {
    kubeletconfig: KubeletConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubeletConfig {
    config_map_and_secret_change_detection_strategy: String,
}

/// Reads it, with the credentials for the API server.
async fn read(config: Config, address: SocketAddr) -> Result<Strategy, Unreadable> {
    match tokio::time::timeout(LIMIT, ask(of_kubelet(config, address)?)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(Unreadable::Silent),
    }
}

/// The API server's client, for the kubelet.
fn of_kubelet(mut config: Config, address: SocketAddr) -> Result<Config, Unreadable> {
    // Without one the system's authorities would do, and anybody can have a certificate of those.
    if config.accept_invalid_certs || config.root_cert.is_none() {
        return Err(Unreadable::Unverifiable);
    }
    config.cluster_url =
        format!("https://{address}").parse().map_err(|error| Unreadable::Unasked(Box::new(error)))?;
    // These are for the API server.
    config.tls_server_name = None;
    config.proxy_url = None;
    config.default_retry = false;
    Ok(config)
}

async fn ask(config: Config) -> Result<Strategy, Unreadable> {
    let unasked = |error: BoxError| Unreadable::Unasked(error);
    let client = Client::try_from(config).map_err(|error| Unreadable::Client(error.into()))?;
    let request = Request::get("/configz").body(Body::empty()).map_err(|error| unasked(error.into()))?;
    let response = client.send(request).await.map_err(|error| unasked(error.into()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(unasked)?.to_bytes();
    if !status.is_success() {
        return Err(Unreadable::Refused(status, short(&String::from_utf8_lossy(&body))));
    }
    let configz: Configz =
        serde_json::from_slice(&body).map_err(|error| Unreadable::Garbage(short(&error.to_string())))?;
    let name = configz.kubeletconfig.config_map_and_secret_change_detection_strategy;
    Strategy::parse(&name).ok_or_else(|| Unreadable::Unknown(short(&name)))
}

#[cfg(test)]
mod tests;
