//! Connections to the API server that many watches share.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::api::{Api, ListParams, WatchParams};
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use reloadlet_core::object::{ObjectKind, ObjectRef};
use tower::{BoxError, ServiceBuilder};

use super::decode::Object;
use super::step::Protocol;
use crate::api::SILENCE;

/// How often the other end is asked whether it is there, and how long it has for the answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);
/// How much of one answer and of all on a connection may be on its way.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The open connections, by number.
#[derive(Default)]
pub(super) struct Connections(Vec<Option<Client>>);

impl Connections {
    /// The connection of this number, which is made if there is none.
    pub(super) fn get(&mut self, number: usize, protocol: Protocol, config: &Config) -> Result<Client> {
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        match self.0.get_mut(number) {
            Some(Some(client)) => Ok(client.clone()),
            Some(empty) => {
                let client = match protocol {
                    Protocol::Http1 => Client::try_from(config.clone())?,
                    Protocol::Http2 => client(config, true)?,
                };
                Ok(empty.insert(client).clone())
            }
            None => client(config, true),
        }
    }

    /// Nobody needs this one any more.
    pub(super) fn close(&mut self, number: usize) {
        if let Some(client) = self.0.get_mut(number) {
            *client = None;
        }
    }
}

/// A client that speaks HTTP/2, or what the API server prefers. Where it is known, a hundred requests at once wait for one
/// connection; else each would begin one of its own.
fn client(config: &Config, only_http2: bool) -> Result<Client> {
    let client = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(only_http2)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_ANSWER)
        .http2_keep_alive_while_idle(true)
        .build::<_, Body>(connector(config)?);
    let service = ServiceBuilder::new()
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
pub(super) async fn ask(config: &Config, object: &ObjectRef) -> Result<Protocol, AskError> {
    let client = client(config, false).map_err(AskError::Client)?;
    let asked = async {
        let request = hyper::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError)?;
        let version = client.send(request).await?.version();
        let protocol = if version == hyper::Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 };
        match object.kind {
            ObjectKind::ConfigMap => try_watch::<false>(client.clone(), object).await?,
            ObjectKind::Secret => try_watch::<true>(client.clone(), object).await?,
        }
        Ok(protocol)
    };
    match tokio::time::timeout(SILENCE, asked).await {
        Ok(Ok(protocol)) => Ok(protocol),
        Ok(Err(error)) => Err(AskError::Refused(Box::new(error))),
        Err(_elapsed) => Err(AskError::Silent),
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
    Refused(Box<kube::Error>),
    /// It said nothing.
    #[error("the API server doesn't answer")]
    Silent,
}

impl AskError {
    pub(super) fn is_forbidden(&self) -> bool {
        match self {
            Self::Refused(error) => is_forbidden(error),
            Self::Client(_) | Self::Silent => false,
        }
    }
}

pub(super) fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

async fn try_watch<const SECRET: bool>(client: Client, object: &ObjectRef) -> Result<(), kube::Error> {
    let api = Api::<Object<SECRET>>::namespaced(client, &object.namespace);
    let one = format!("metadata.name={}", object.name);
    api.list(&ListParams::default().fields(&one).limit(1).match_any()).await?;
    api.watch(&WatchParams::default().fields(&one).timeout(1), "0").await.map(drop)
}
