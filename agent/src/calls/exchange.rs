//! One request: the connection, what is written, and how much of the answer is read.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::machine::event::{Answer, Call};
use reloadlet_core::model::means::{self, Scheme};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls;
use crate::proc::ProcRoot;

/// How much of an answer's body is kept for people, in bytes.
const SHOWN: usize = 200;
/// How much of it is read, in bytes: a server that has taken the request isn't cut off in the middle of a usual answer.
const READ: usize = 64 << 10;
/// How much is read for an answer's head, in bytes.
const HEAD: usize = 64 << 10;
/// How long a body is waited for once the status is known, which alone decides; longer where people are told what is in it.
const REST: Duration = Duration::from_millis(100);
const REST_OF_FAILURE: Duration = Duration::from_secs(1);

/// What requests need.
pub(super) struct Exchanges {
    proc: ProcRoot,
    tls: OnceLock<Option<TlsConnector>>,
}

impl Exchanges {
    pub(super) const fn new(proc: ProcRoot) -> Self {
        Self { proc, tls: OnceLock::new() }
    }

    /// Makes a request, and says what came of it.
    pub(super) async fn make(&self, call: &Call) -> Answer {
        let timeout = call.request.timeout;
        let end = tokio::time::Instant::now() + timeout;
        let stream = match connect(call, end).await {
            Ok(stream) => stream,
            Err(answer) => return answer,
        };
        let peer = stream.peer_addr();
        // The address is the pod's as long as the process that it is meant for lives.
        match self.proc.is(&call.process) {
            Ok(true) => {}
            Ok(false) => return Answer::Gone,
            Err(error) => return Answer::Lacked(error.lack()),
        }
        let exchange = async {
            let host = match peer {
                Ok(peer) => peer,
                Err(error) => return unreachable_by(&error),
            };
            match call.request.scheme {
                Scheme::Http => exchange(stream, host, &call.request).await,
                Scheme::Https => match self.secure(stream, host.ip()).await {
                    Ok(stream) => exchange(stream, host, &call.request).await,
                    Err(answer) => answer,
                },
            }
        };
        tokio::time::timeout_at(end, exchange).await.unwrap_or(Answer::Silent)
    }

    async fn secure(
        &self,
        stream: TcpStream,
        host: IpAddr,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin, Answer> {
        let connector = self.tls.get_or_init(|| {
            let config =
                tls::of_anybody().inspect_err(|error| tracing::error!(%error, "TLS can't be set up"));
            config.ok().map(TlsConnector::from)
        });
        let Some(connector) = connector else {
            return Err(Answer::NoTls("the agent can't set up TLS".into()));
        };
        let name = ServerName::IpAddress(host.into());
        connector.connect(name, stream).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Answer::Reset,
            io::ErrorKind::UnexpectedEof => Answer::Closed,
            _ => Answer::NoTls(error.to_string().into()),
        })
    }
}

/// A connection to the first of the addresses at which somebody listens. Each has its share of the time.
async fn connect(call: &Call, end: tokio::time::Instant) -> Result<TcpStream, Answer> {
    let mut answer = Answer::Unreachable("the pod has no address".into());
    let mut left = u32::try_from(call.addresses.len()).unwrap_or(u32::MAX);
    for address in &call.addresses {
        let share = end.saturating_duration_since(tokio::time::Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        let socket = SocketAddr::new(*address, call.request.port);
        match tokio::time::timeout(share, TcpStream::connect(socket)).await {
            Ok(Ok(stream)) => {
                // One small write: nothing is gained by waiting for more.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            // What the first address says is what people have to mend.
            Ok(Err(error)) if *address == call.addresses[0] || is_lack(&error) => {
                answer = unreachable_by(&error)
            }
            Err(_elapsed) if *address == call.addresses[0] => answer = Answer::NotConnected,
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Err(answer)
}

fn is_lack(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EADDRNOTAVAIL)
    )
}

/// What an error of the socket says of the server.
pub(super) fn unreachable_by(error: &io::Error) -> Answer {
    match error.kind() {
        _ if is_lack(error) => Answer::Lacked(Lack::Descriptors),
        io::ErrorKind::ConnectionRefused => Answer::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Answer::Reset,
        io::ErrorKind::UnexpectedEof => Answer::Closed,
        _ => Answer::Unreachable(error.to_string().into()),
    }
}

/// Writes the request and reads the answer, as far as it is of interest.
async fn exchange<S>(stream: S, host: SocketAddr, request: &means::Request) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let written = Request::builder()
        .method(request.method.as_str())
        .uri(&*request.path)
        .header(HOST, host.to_string())
        .header(USER_AGENT, concat!("reloadlet/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let written = match written {
        Ok(written) => written,
        Err(error) => return Answer::Unreachable(error.to_string().into()),
    };
    let mut client = http1::Builder::new();
    client.max_buf_size(HEAD);
    let (mut sender, connection) = match client.handshake(TokioIo::new(stream)).await {
        Ok(ends) => ends,
        Err(error) => return broken(&error),
    };
    let asked = async {
        match sender.send_request(written).await {
            Ok(response) => read(response).await,
            Err(error) => broken(&error),
        }
    };
    // The connection carries the bytes while somebody polls it.
    match select(pin!(asked), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, asked)) => asked.await,
    }
}

/// The status, and how the body begins where it says why the request wasn't taken.
async fn read(response: Response<Incoming>) -> Answer {
    let status = response.status().as_u16();
    let limit = if response.status().is_success() { REST } else { REST_OF_FAILURE };
    let mut body = response.into_body();
    let (mut begin, mut length) = (Vec::new(), 0);
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            let room = SHOWN.saturating_sub(begin.len());
            begin.extend(data.iter().take(room));
            length += data.len();
            if length >= READ {
                break;
            }
        }
    };
    // Whatever else comes changes nothing any more.
    drop(tokio::time::timeout(limit, rest).await);
    Answer::Status(status, String::from_utf8_lossy(&begin).into())
}

/// What an error of the connection says of the server.
fn broken(error: &hyper::Error) -> Answer {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return unreachable_by(io);
        }
        source = cause.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Answer::Closed;
    }
    Answer::Garbage(error.to_string().into())
}
