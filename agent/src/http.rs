//! Metrics, health and status over HTTP.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Socket};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::metrics::Metrics;

#[cfg(test)]
mod tests;

/// How many connections each address serves at a time. One more takes the place of the oldest: those that nobody uses
/// must not keep the kubelet's probes out.
const CONNECTIONS: usize = 64;
/// How long a client may take for the head of a request, the time between two requests included.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection lasts at most, so that one whose client reads nothing doesn't keep its place.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);
const LIVE_LIMIT: Duration = Duration::from_secs(1);
const STATUS_LIMIT: Duration = Duration::from_secs(5);
/// How long requests may take when the server is told to stop.
const STOP_LIMIT: Duration = Duration::from_millis(500);
/// How long accepting pauses after a failure such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
/// The content type of Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

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
pub(crate) struct Server {
    public: Socket,
    admin: Socket,
}

impl Server {
    /// Takes the addresses. Connections are accepted once [`Server::serve`] runs.
    pub(crate) fn bind(listen: SocketAddr, admin_listen: SocketAddr) -> Result<Self, BindError> {
        Ok(Self { public: bind(listen)?, admin: bind(admin_listen)? })
    }

    /// The addresses that were taken: `--listen`, `--admin-listen`.
    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.admin.local_addr()?))
    }

    /// Serves until `stop` becomes true (or its sender is dropped), then at most half a second longer. For a runtime
    /// with I/O and time.
    pub(crate) async fn serve(self, endpoints: Endpoints, stop: watch::Receiver<bool>) -> io::Result<()> {
        let endpoints = Arc::new(endpoints);
        let public = TcpListener::from_std(self.public)?;
        let admin = TcpListener::from_std(self.admin)?;
        tokio::join!(
            accept(public, &PUBLIC, Arc::clone(&endpoints), stop.clone()),
            accept(admin, &ADMIN, endpoints, stop)
        );
        Ok(())
    }
}

fn bind(address: SocketAddr) -> Result<Socket, BindError> {
    let failed = |source: Errno| BindError { address, source: source.into() };
    match open(address) {
        // No IPv6 on this machine: all of its addresses are IPv4 ones.
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
            if address.ip().is_unspecified() && address.is_ipv6() =>
        {
            let fallback = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            let socket = open(fallback).map_err(failed)?;
            tracing::warn!(%address, %fallback, "there is no IPv6 on this node: listening on IPv4 only");
            Ok(socket)
        }
        opened => opened.map_err(failed),
    }
}

fn open(address: SocketAddr) -> Result<Socket, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        // Both families, whatever net.ipv6.bindv6only says.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // A restarted agent takes the port while connections of the one before it linger.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 128)?;
    Ok(Socket::from(socket))
}

/// What is served at a path.
#[derive(Clone, Copy, Debug)]
enum Page {
    Metrics,
    Live,
    Ready,
    Status,
}

/// The paths of one listener.
type Pages = [(&'static str, Page)];

static PUBLIC: [(&str, Page); 3] =
    [("/metrics", Page::Metrics), ("/livez", Page::Live), ("/readyz", Page::Ready)];
static ADMIN: [(&str, Page); 1] = [("/status", Page::Status)];

async fn accept(
    listener: TcpListener,
    pages: &'static Pages,
    endpoints: Arc<Endpoints>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::new();
    loop {
        tokio::select! {
            () = told_to_stop(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    oldest_first.retain(|connection: &AbortHandle| !connection.is_finished());
                    if oldest_first.len() >= CONNECTIONS && let Some(oldest) = oldest_first.pop_front() {
                        oldest.abort();
                    }
                    let connection = serve_connection(stream, pages, Arc::clone(&endpoints), stop.clone());
                    oldest_first.push_back(connections.spawn(connection));
                }
                Err(error) => {
                    tracing::debug!(%error, "can't accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_LIMIT, finished).await.is_err() {
        connections.shutdown().await;
    }
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, and with it whoever could say stop.
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("nobody is left to stop the server");
    }
}

async fn serve_connection(
    stream: TcpStream,
    pages: &'static Pages,
    endpoints: Arc<Endpoints>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let endpoints = Arc::clone(&endpoints);
        async move { Ok::<_, Infallible>(respond(&request, pages, &endpoints).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = sleep(CONNECTION_LIMIT) => {
            connection.as_mut().graceful_shutdown();
            match timeout(STATUS_LIMIT, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended early");
    }
}

async fn respond(request: &Request<Incoming>, pages: &Pages, endpoints: &Endpoints) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let Some((_, page)) = pages.iter().find(|(at, _)| *at == path) else {
        let paths: Vec<&str> = pages.iter().map(|(at, _)| *at).collect();
        return response(StatusCode::NOT_FOUND, TEXT, format!("not found; there is {}\n", paths.join(", ")));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, const { HeaderValue::from_static("GET, HEAD") });
        return response;
    }
    match page {
        Page::Metrics => match endpoints.metrics.encode(clock::now()) {
            Ok(text) => response(StatusCode::OK, METRICS_TEXT, text),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        Page::Live => match timeout(LIVE_LIMIT, (endpoints.live)()).await {
            Ok(()) => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
            Err(_) => {
                let sentence = format!("the loop hasn't answered for {} s\n", LIVE_LIMIT.as_secs());
                response(StatusCode::SERVICE_UNAVAILABLE, TEXT, sentence)
            }
        },
        Page::Ready => match (endpoints.ready)() {
            Readiness::Ready => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
            Readiness::NotReady(reason) => {
                response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n"))
            }
        },
        Page::Status => match timeout(STATUS_LIMIT, (endpoints.status)()).await {
            Ok(Ok(json)) => response(StatusCode::OK, JSON, json),
            Ok(Err(reason)) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
            Err(_) => {
                let sentence = format!("the loop hasn't answered for {} s\n", STATUS_LIMIT.as_secs());
                response(StatusCode::SERVICE_UNAVAILABLE, TEXT, sentence)
            }
        },
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("no-store") });
    response
}
