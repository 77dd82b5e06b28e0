//! Accepts connections and serves each of them, within bounds that no client can move.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::pages::{Answers, STATUS_LIMIT, Site, respond};
use super::places::{Asking, Peer, Places};

/// How long a client may take for the head of its request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection lasts at most, so that one whose client reads nothing doesn't keep its place: the head, the
/// agent's answer, and as long again for reading it.
const CONNECTION_LIMIT: Duration = Duration::from_secs(2 * (HEAD_LIMIT.as_secs() + STATUS_LIMIT.as_secs()));
/// How large a request's head may be, in bytes. That of a scrape or a probe takes a few hundred.
const HEAD_SIZE: usize = 16 * 1024;
/// How many connections are accepted before those that are there, and the work on the API, get their turn.
const TURN: u32 = 16;
/// How long requests may take when the server is told to stop.
const STOP_LIMIT: Duration = Duration::from_millis(500);
/// How long accepting pauses after a failure such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a site until `stop` becomes true (or its sender is dropped), then at most half a second longer.
pub(super) async fn accept(
    listener: TcpListener,
    site: &'static Site,
    answers: Arc<Answers>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = Connections { tasks: JoinSet::new(), places: Places::new() };
    let mut accepted_in_turn = 0;
    loop {
        connections.reap();
        let (stream, address) = tokio::select! {
            () = wait_for_stop(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    failed(&error).await;
                    continue;
                }
            },
            Some(ended) = connections.tasks.join_next_with_id() => {
                connections.ended(ended);
                continue;
            }
        };
        connections.serve(stream, address, site, Arc::clone(&answers), stop.clone());
        accepted_in_turn += 1;
        if accepted_in_turn == TURN {
            accepted_in_turn = 0;
            yield_now().await;
        }
    }
    drop(listener);
    let mut tasks = connections.tasks;
    let finished = async { while tasks.join_next().await.is_some() {} };
    if timeout(STOP_LIMIT, finished).await.is_err() {
        tasks.shutdown().await;
    }
}

/// The connections of one listener: their tasks, and their places, which are fewer.
struct Connections {
    tasks: JoinSet<()>,
    places: Places<AbortHandle>,
}

impl Connections {
    fn serve(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        site: &'static Site,
        answers: Arc<Answers>,
        stop: watch::Receiver<bool>,
    ) {
        let (peer, asking) = (Peer::of(address.ip()), Asking::default());
        if let Some(evicted) = self.places.make_room(peer) {
            evicted.abort();
        }
        let connection = serve_connection(stream, site, answers, asking.clone(), stop);
        self.places.take(peer, asking, self.tasks.spawn(connection));
    }

    /// Frees what the connections that have ended took.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.places.leave(|task| task.id() == id);
    }
}

async fn failed(error: &io::Error) {
    tracing::debug!(%error, "can't accept a connection");
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        // The client's doing: others needn't wait for it.
        yield_now().await;
    } else {
        sleep(ACCEPT_PAUSE).await;
    }
}

async fn wait_for_stop(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, and with it whoever could say stop.
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("nobody is left to stop the server");
    }
}

/// Serves one request: a client that had more could keep its place for longer than others wait for theirs.
async fn serve_connection(
    stream: TcpStream,
    site: &'static Site,
    answers: Arc<Answers>,
    asking: Asking,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let (answers, asks) = (Arc::clone(&answers), asking.begin());
        async move {
            let response = respond(&request, site, &answers).await;
            drop(asks);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_SIZE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = wait_for_stop(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = sleep(CONNECTION_LIMIT) => return,
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended early");
    }
}
