//! How to reach the API server, which may change while the agent runs: the cluster's authority and the account's
//! credentials are rotated, and the server moves. So all of it is read anew when nobody answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::BoxFuture;
use hyper::Response;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio::time::Instant;
use tower::util::MapResultLayer;

use crate::contact::Contact;

/// How often it is read anew at most. Who fails waits longer before each try, but there are many.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// What is asked for is the pod's metadata: all of it would be sent back otherwise.
pub(super) const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// What the API server is reached with.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Where it is, whom to trust and who asks.
    pub(crate) config: Config,
    /// A client with that.
    pub(crate) client: Client,
    /// Which reading of the configuration it is from: [`Cluster::renew`] wants to know what failed.
    pub(crate) revision: u64,
}

type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<(Config, Client)>> + Send + Sync>;

struct Shared {
    connect: Connect,
    contact: Contact,
    current: Mutex<Connection>,
    renewals: tokio::sync::Mutex<Renewals>,
}

/// The attempts to read it anew.
struct Renewals {
    last: Instant,
    /// It was said that the last one failed.
    failed: bool,
}

/// The API server. Clones share the connection.
///
/// Take [`Cluster::current`] before a request (or before a number of connections of your own is made). When there was no
/// answer to it, or 401, hand its `revision` to [`Cluster::renew`], wait as a [`super::backoff::Backoff`] says, and take
/// [`Cluster::current`] again: another revision means that clients made from the earlier configuration are to be dropped.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Shared>);

impl Cluster {
    /// The cluster that this process runs in, or that the kubeconfig names. Nobody is asked yet.
    pub(crate) async fn infer(contact: Contact) -> Result<Self> {
        let counting = contact.clone();
        let connect = move || -> BoxFuture<'static, Result<(Config, Client)>> {
            let contact = counting.clone();
            Box::pin(async move {
                let config = super::config().await?;
                let client = client(config.clone(), &contact)?;
                Ok((config, client))
            })
        };
        Self::new(Box::new(connect), contact).await
    }

    /// The cluster that is reached by what this function makes each time.
    pub(crate) async fn new(connect: Connect, contact: Contact) -> Result<Self> {
        let (config, client) = connect().await?;
        let current = Mutex::new(Connection { config, client, revision: 0 });
        let renewals = tokio::sync::Mutex::new(Renewals { last: Instant::now(), failed: false });
        Ok(Self(Arc::new(Shared { connect, contact, current, renewals })))
    }

    /// A cluster that is always reached by this client.
    #[cfg(test)]
    pub(crate) fn with_client(client: Client) -> Self {
        let connect = move || -> BoxFuture<'static, Result<(Config, Client)>> {
            let config = Config::new(hyper::Uri::from_static("https://127.0.0.1:1"));
            Box::pin(std::future::ready(Ok((config, client.clone()))))
        };
        let cluster = Self::new(Box::new(connect), Contact::new());
        futures_util::FutureExt::now_or_never(cluster).unwrap().unwrap()
    }

    /// What it is reached with now.
    pub(crate) fn current(&self) -> Connection {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it is recorded what the API server says.
    pub(crate) fn contact(&self) -> &Contact {
        &self.0.contact
    }

    /// Nobody answered what was made from this revision: the configuration, the authority and the credentials are read anew,
    /// unless somebody else has done that meanwhile, or just now. What can't be read stays as it was.
    pub(crate) async fn renew(&self, failed: u64) {
        let mut renewals = self.0.renewals.lock().await;
        if self.current().revision != failed || renewals.last.elapsed() < RENEW_EVERY {
            return;
        }
        renewals.last = Instant::now();
        match (self.0.connect)().await {
            Ok((config, client)) => {
                renewals.failed = false;
                let connection = Connection { config, client, revision: failed + 1 };
                *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = connection;
                tracing::debug!("the configuration for the API server was read again");
            }
            Err(error) if !std::mem::replace(&mut renewals.failed, true) => tracing::warn!(
                "the configuration for the API server can't be read again, and the one from before is used on: {error:#}"
            ),
            Err(_) => {}
        }
    }
}

/// A client whose answers are counted.
pub(crate) fn client(config: Config, contact: &Contact) -> Result<Client> {
    let builder = ClientBuilder::try_from(config).context("can't set up the client for the API server")?;
    Ok(builder.with_layer(&counted(contact.clone())).build())
}

/// What a client makes of a request.
type Answer<B, E> = Result<Response<B>, E>;

/// Counts what is answered to the requests of a client, by code. For the outermost layer.
pub(crate) fn counted<B, E>(
    contact: Contact,
) -> MapResultLayer<impl Fn(Answer<B, E>) -> Answer<B, E> + Clone> {
    MapResultLayer::new(move |answer: Answer<B, E>| {
        contact.answered(answer.as_ref().ok().map(Response::status));
        answer
    })
}

#[cfg(test)]
mod tests;
