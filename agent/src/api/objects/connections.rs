//! Connections to the API server that many watches share.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use reloadlet_core::model::object::ObjectRef;
use tower::{BoxError, ServiceBuilder};

use super::errand::{Failure, Protocol};
use super::requests::{Trouble, try_both};
use crate::api::SILENCE;
use crate::api::cluster::{Connection, client as plain_client, counted};
use crate::contact::Contact;

/// How often the other end is asked whether it is there, and how long it has for the answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);
/// How much of one answer and of all on a connection may be on its way: of watches, and of what is fetched.
const WATCH_WINDOWS: (u32, u32) = (64 << 10, 128 << 10);
const FETCH_WINDOWS: (u32, u32) = (256 << 10, 1 << 20);

/// The open connections, by number, and one for what is fetched.
pub(super) struct Connections {
    open: Vec<Option<Client>>,
    fetching: Option<Client>,
    contact: Contact,
}

impl Connections {
    pub(super) const fn new(contact: Contact) -> Self {
        Self { open: Vec::new(), fetching: None, contact }
    }

    /// The connection of this number, which is made if there is none.
    pub(super) fn get(&mut self, number: usize, protocol: Protocol, to: &Connection) -> Result<Client> {
        if self.open.len() <= number {
            self.open.resize(number + 1, None);
        }
        let make = || match protocol {
            Protocol::Http1 => plain_client(to.config.clone(), &self.contact),
            Protocol::Http2 => client(&to.config, true, WATCH_WINDOWS, &self.contact),
        };
        match self.open.get_mut(number) {
            Some(Some(client)) => Ok(client.clone()),
            Some(empty) => Ok(empty.insert(make()?).clone()),
            None => make(),
        }
    }

    /// The connection for what is fetched.
    pub(super) fn fetching(&mut self, protocol: Protocol, to: &Connection) -> Result<Client> {
        if let Some(client) = &self.fetching {
            return Ok(client.clone());
        }
        let client = client(&to.config, protocol == Protocol::Http2, FETCH_WINDOWS, &self.contact)?;
        Ok(self.fetching.insert(client).clone())
    }

    /// Nobody needs this one any more.
    pub(super) fn close(&mut self, number: usize) {
        if let Some(client) = self.open.get_mut(number) {
            *client = None;
        }
    }

    /// Nor any of them.
    pub(super) fn close_all(&mut self) {
        (self.open, self.fetching) = (Vec::new(), None);
    }
}

/// A client that speaks HTTP/2, or what the API server prefers. Where it is known, a hundred requests at once wait for one
/// connection; else each would begin one of its own.
fn client(
    config: &Config,
    only_http2: bool,
    (of_one, of_all): (u32, u32),
    contact: &Contact,
) -> Result<Client> {
    let client = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(only_http2)
        .http2_initial_stream_window_size(of_one)
        .http2_initial_connection_window_size(of_all)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_ANSWER)
        .http2_keep_alive_while_idle(true)
        .build::<_, Body>(connector(config)?);
    let service = ServiceBuilder::new()
        .layer(counted(contact.clone()))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        // Until an answer begins: a watch's goes on.
        .timeout(SILENCE)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
    let mut https =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().context("the API server's name isn't one")?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(https.enable_all_versions().wrap_connector(tcp))
}

/// Finds out whether objects like this one can be listed and watched, and by which protocol.
pub(super) async fn ask(
    to: &Connection,
    object: &ObjectRef,
    contact: &Contact,
) -> Result<Protocol, AskError> {
    let client = client(&to.config, false, WATCH_WINDOWS, contact).map_err(AskError::Client)?;
    let asked = async {
        let request = hyper::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError);
        let request = request.map_err(|error| Trouble::Unreached(error.into()))?;
        let answer = client.send(request).await.map_err(|error| Trouble::Unreached(error.into()))?;
        let http2 = answer.version() == hyper::Version::HTTP_2;
        try_both(client.clone(), object).await?;
        Ok(if http2 { Protocol::Http2 } else { Protocol::Http1 })
    };
    match tokio::time::timeout(SILENCE, asked).await {
        Ok(asked) => asked.map_err(AskError::Trouble),
        Err(_elapsed) => Err(AskError::Trouble(Trouble::Silent(SILENCE))),
    }
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The client can't be set up.
    #[error("{0:#}")]
    Client(anyhow::Error),
    /// The API server refused, or can't be reached.
    #[error(transparent)]
    Trouble(Trouble),
}

impl AskError {
    /// What it means.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Trouble(trouble) => trouble.failure(),
            Self::Client(_) => Failure::Other(None),
        }
    }

    /// Another authority, other credentials or another address may help.
    pub(super) fn may_be_the_configuration(&self) -> bool {
        match self {
            Self::Trouble(trouble) => trouble.may_be_the_configuration(),
            Self::Client(_) => true,
        }
    }
}
