//! Metrics, health and status over HTTP. Whoever reaches the port may ask: a connection is for one request, connections have
//! places that are shared by address, and what is asked of the loop or costs time is asked once for all who wait.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Socket};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use reloadlet_core::Time;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::connections::accept;
use self::pages::{ADMIN, Answers, PUBLIC};

mod connections;
mod hosts;
mod pages;
mod places;
mod shared;
#[cfg(test)]
mod tests;

/// How many connections wait to be accepted; the kernel takes less where net.core.somaxconn says so. A client that finds
/// no room tries again after a second, and a probe has two.
const BACKLOG: i32 = 1024;
/// How many bytes of an answer the kernel holds for a client that doesn't read; it doubles the number.
const SEND_BUFFER: usize = 32 * 1024;
/// How many bytes the kernel holds of what a client sends and nobody reads; it doubles the number.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// A future that an endpoint answers with.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What gives the metrics in Prometheus' text format, as they are at a time.
pub(crate) type Encode = dyn Fn(Time) -> Result<String, prometheus::Error> + Send + Sync;

/// Whether the program does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It does.
    Ready,
    /// Not yet: one sentence about what is waited for.
    NotReady(String),
}

/// Where the answers come from.
pub(crate) struct Endpoints {
    /// `/metrics`: encoded once a second at most.
    pub(crate) metrics: Box<Encode>,
    /// What `/readyz` answers.
    pub(crate) ready: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// `/livez`: done when the loop has answered. The server gives it a second, and asks once at a time.
    pub(crate) live: Box<dyn Fn() -> Answer<()> + Send + Sync>,
    /// `/status`: JSON, or one sentence why there is none. The server gives it five seconds, and
    /// asks once at a time.
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
        let answers = Arc::new(Answers::new(endpoints));
        let public = TcpListener::from_std(self.public)?;
        let admin = TcpListener::from_std(self.admin)?;
        tokio::join!(
            accept(public, &PUBLIC, Arc::clone(&answers), stop.clone()),
            accept(admin, &ADMIN, answers, stop)
        );
        Ok(())
    }
}

fn bind(address: SocketAddr) -> Result<Socket, BindError> {
    let failed = |source: Errno| BindError { address, source: source.into() };
    match open(address) {
        // No IPv6 on this machine: all of its addresses are IPv4 ones.
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
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
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = nix::sys::socket::socket(family, SockType::Stream, flags, None)?;
    if address.is_ipv6() {
        // Both families, whatever net.ipv6.bindv6only says.
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    // A restarted agent takes the port while connections of the one before it linger.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // Connections inherit both.
    setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER)?;
    setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    // nix takes no more than libc's SOMAXCONN: 4096, and 128 with musl.
    nix::sys::socket::listen(&socket, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    Ok(Socket::from(socket))
}
