//! One request: the connection, what is written, and how much of the answer is read.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::machine::event::{Answer, Call};
use reloadlet_core::model::means::{self, Scheme};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bounded::Bounded;
use super::tls;
use crate::proc::ProcRoot;

/// How much of an answer's body is kept for people, in bytes.
const SHOWN: usize = 200;
/// How much of it is read, in bytes: a server that has taken the request isn't cut off in the middle of a usual answer.
const READ: usize = 64 << 10;
/// How much is read for an answer's head, in bytes.
const HEAD: usize = 64 << 10;
/// How long a body is read once the status is known, which alone decides; longer where people are told what is in it.
const REST: Duration = Duration::from_millis(100);
const REST_OF_FAILURE: Duration = Duration::from_secs(1);

/// What is read of an answer when it is known what came of the request.
pub(super) type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What requests need.
pub(super) struct Exchanges {
    proc: ProcRoot,
    tls: OnceLock<Option<TlsConnector>>,
}

impl Exchanges {
    pub(super) const fn new(proc: ProcRoot) -> Self {
        Self { proc, tls: OnceLock::new() }
    }

    /// Makes a request, and says what came of it. The rest is to be read after that, so that no server is cut off in the middle of
    /// a usual answer.
    pub(super) async fn make(&self, call: &Call) -> (Answer, Option<Rest>) {
        let end = Instant::now() + call.request.timeout;
        let connected = async {
            let stream = connect(call, end).await?;
            // The address is the pod's as long as the process that it is meant for lives.
            self.check(call)?;
            let host = stream.peer_addr().map_err(|error| unreachable_by(&error))?;
            Ok((stream, host))
        };
        let (stream, host) = match connected.await {
            Ok(connected) => connected,
            Err(answer) => return (answer, None),
        };
        let exchange = async {
            match call.request.scheme {
                Scheme::Http => exchange(Bounded::new(stream), host, &call.request).await,
                Scheme::Https => match self.secure(stream, host.ip()).await {
                    Ok(stream) => exchange(Bounded::new(stream), host, &call.request).await,
                    Err(answer) => (answer, None),
                },
            }
        };
        tokio::time::timeout_at(end, exchange).await.unwrap_or((Answer::Silent, None))
    }

    /// Whether the process is there that a request is meant for.
    fn check(&self, call: &Call) -> Result<(), Answer> {
        match self.proc.is(&call.process) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Answer::Gone),
            Err(error) => Err(Answer::Lacked(error.lack())),
        }
    }

    async fn secure(&self, stream: TcpStream, host: IpAddr) -> Result<TlsStream<TcpStream>, Answer> {
        let connector = self.tls.get_or_init(|| {
            let config =
                tls::of_anybody().inspect_err(|error| tracing::error!(%error, "TLS can't be set up"));
            config.ok().map(TlsConnector::from)
        });
        let Some(connector) = connector else {
            return Err(Answer::NoTls("the agent can't set up TLS".into()));
        };
        let name = ServerName::IpAddress(host.into());
        connector.connect(name, stream).await.map_err(|error| {
            let of_socket = unreachable_by(&error);
            if let Answer::Unreachable(why) = of_socket { Answer::NoTls(why) } else { of_socket }
        })
    }
}

/// A connection to the first of the addresses at which somebody listens. Each has its share of the time.
async fn connect(call: &Call, end: Instant) -> Result<TcpStream, Answer> {
    let mut answer = Answer::Unreachable("the pod has no address".into());
    let mut left = u32::try_from(call.addresses.len()).unwrap_or(u32::MAX);
    for address in &call.addresses {
        let share = end.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        let socket = SocketAddr::new(*address, call.request.port);
        match tokio::time::timeout(share, TcpStream::connect(socket)).await {
            Ok(Ok(stream)) => {
                // One small write: nothing is gained by waiting for more.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            // What the first address says is what people have to mend.
            Ok(Err(error)) if *address == call.addresses[0] => answer = unreachable_by(&error),
            Err(_elapsed) if *address == call.addresses[0] => answer = Answer::NotConnected,
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Err(answer)
}

/// What the agent lacks, where an error of the socket says that.
fn lack(error: &io::Error) -> Option<Lack> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => Some(Lack::Descriptors),
        Some(Errno::ENOBUFS | Errno::ENOMEM) => Some(Lack::Memory),
        Some(_) | None => None,
    }
}

/// What an error of the socket says of the server.
pub(super) fn unreachable_by(error: &io::Error) -> Answer {
    let kind = error.kind();
    if let Some(lack) = lack(error) {
        Answer::Lacked(lack)
    } else if kind == io::ErrorKind::ConnectionRefused {
        Answer::Refused
    } else if matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
        Answer::Reset
    } else if kind == io::ErrorKind::UnexpectedEof {
        Answer::Closed
    } else {
        Answer::Unreachable(error.to_string().into())
    }
}

/// Writes the request and reads the answer, as far as it is of interest.
async fn exchange<S>(stream: S, host: SocketAddr, request: &means::Request) -> (Answer, Option<Rest>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
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
        Err(error) => return (Answer::Unreachable(error.to_string().into()), None),
    };
    let mut client = http1::Builder::new();
    client.max_buf_size(HEAD);
    let (mut sender, connection) = match client.handshake(TokioIo::new(stream)).await {
        Ok(ends) => ends,
        Err(error) => return (broken(&error), None),
    };
    // The connection carries the bytes while somebody polls it.
    let mut connection = Box::pin(connection);
    let response = match select(Box::pin(sender.send_request(written)), &mut connection).await {
        Either::Left((response, _)) => response,
        Either::Right((_, response)) => response.await,
    };
    let response = match response {
        Ok(response) => response,
        Err(error) => return (broken(&error), None),
    };
    let (status, is_taken) = (response.status().as_u16(), response.status().is_success());
    let mut body = response.into_body();
    if is_taken {
        let rest = async move {
            let mut begin = Vec::new();
            drop(tokio::time::timeout(REST, drain(&mut body, connection, &mut begin)).await);
        };
        return (Answer::Status(status, "".into()), Some(Box::pin(rest)));
    }
    let mut begin = Vec::new();
    drop(tokio::time::timeout(REST_OF_FAILURE, drain(&mut body, connection, &mut begin)).await);
    (Answer::Status(status, String::from_utf8_lossy(&begin).into()), None)
}

/// Reads a body while the connection carries it.
async fn drain(body: &mut Incoming, connection: impl Future + Unpin, begin: &mut Vec<u8>) {
    match select(Box::pin(read(body, begin)), connection).await {
        Either::Left(_) => {}
        Either::Right((_, read)) => read.await,
    }
}

/// Reads a body, as much of it as is read, and keeps its beginning.
async fn read(body: &mut Incoming, begin: &mut Vec<u8>) {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let room = SHOWN.saturating_sub(begin.len());
        begin.extend(data.iter().take(room));
        length += data.len();
        if length >= READ {
            break;
        }
    }
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
