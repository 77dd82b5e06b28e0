//! Metrics, health and status over HTTP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::metrics::Metrics;

/// A future that an endpoint answers with.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whether the agent does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It does.
    Ready,
    /// Not yet: one sentence about what is waited for.
    NotReady(String),
}

/// Where the answers come from.
pub(crate) struct Endpoints {
    /// `/metrics`.
    pub(crate) metrics: Arc<Metrics>,
    /// `/readyz`.
    pub(crate) ready: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// `/livez`: done when the loop has answered. The server gives it a second.
    pub(crate) live: Box<dyn Fn() -> Answer<()> + Send + Sync>,
    /// `/status`: JSON, or one sentence why there is none. The server gives it five seconds.
    pub(crate) status: Box<dyn Fn() -> Answer<Result<String, String>> + Send + Sync>,
}

/// Why an address can't be served.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}")]
pub(crate) struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// The two listening sockets, not yet served.
#[derive(Debug)]
pub(crate) struct Server {}

impl Server {
    /// Takes the addresses. Connections are accepted once [`Server::serve`] runs.
    pub(crate) fn bind(_listen: SocketAddr, _admin_listen: SocketAddr) -> Result<Self, BindError> {
        Ok(Self {})
    }

    /// Serves until `stop` becomes true (or its sender is dropped), then at most a second longer. For a runtime of one
    /// thread or more, with I/O and time.
    pub(crate) async fn serve(
        self,
        _endpoints: Endpoints,
        _stop: watch::Receiver<bool>,
    ) -> Result<(), io::Error> {
        Ok(())
    }
}
