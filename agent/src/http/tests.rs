use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::places::{ALL, EACH};
use super::*;
use crate::metrics::Metrics;

/// How long a client waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    ready: Arc<AtomicBool>,
    answering: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    /// How often the loop was asked.
    pings: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    fn start() -> Self {
        let (stop, stopped) = watch::channel(false);
        let (ready, answering) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let server = Server::bind(ANY, ANY).unwrap();
        let (public, admin) = server.addresses().unwrap();
        let (is_ready, answers) = (Arc::clone(&ready), Arc::clone(&answering));
        let (metrics, pings) = (Arc::new(Metrics::new().unwrap()), Arc::new(AtomicUsize::new(0)));
        let asked = Arc::clone(&pings);
        let endpoints = Endpoints {
            metrics: encode(&metrics),
            ready: Box::new(move || match is_ready.load(Ordering::SeqCst) {
                true => Readiness::Ready,
                false => Readiness::NotReady("2 volumes are not watched yet".to_owned()),
            }),
            live: Box::new(move || {
                asked.fetch_add(1, Ordering::SeqCst);
                match answers.load(Ordering::SeqCst) {
                    true => Box::pin(std::future::ready(())),
                    false => Box::pin(std::future::pending()),
                }
            }),
            status: Box::new(|| Box::pin(std::future::ready(Ok("{\"pods\":[]}".to_owned())))),
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(server.serve(endpoints, stopped))
        });
        Self { public, admin, ready, answering, metrics, pings, stop, thread }
    }

    fn stop(self) -> Duration {
        let told = Instant::now();
        self.stop.send(true).unwrap();
        self.thread.join().unwrap().unwrap();
        told.elapsed()
    }
}

fn encode(metrics: &Arc<Metrics>) -> Box<Encode> {
    let metrics = Arc::clone(metrics);
    Box::new(move |now| metrics.encode(now))
}

/// What the server says until it closes.
fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    ask_from(Ipv4Addr::LOCALHOST, address, &format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n\r\n"))
}

fn ask_from(source: Ipv4Addr, address: SocketAddr, request: &str) -> String {
    let mut stream = connect_from(source, address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket =
        nix::sys::socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.unwrap();
    let of = |address| SockaddrStorage::from(address);
    nix::sys::socket::bind(socket.as_raw_fd(), &of(SocketAddr::from((source, 0)))).unwrap();
    nix::sys::socket::connect(socket.as_raw_fd(), &of(address)).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the server closes a connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(
        stream.read(&mut [0; 512]).map_err(|error| error.kind()),
        Ok(0) | Err(io::ErrorKind::ConnectionReset)
    )
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[test]
fn metrics_are_served_in_prometheus_text_format() {
    let server = Running::start();
    let answer = ask(server.public, "GET", "/metrics");
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\nreloadlet_overflows_total 0\n"), "{answer}");
    let head = ask(server.public, "HEAD", "/metrics?name[]=x");
    assert_eq!(status(&head), "200");
    assert!(head.ends_with("\r\n\r\n"), "a HEAD has no body: {head}");
    server.stop();
}

#[test]
fn readiness_gives_its_reason_until_the_agent_is_ready() {
    let server = Running::start();
    let answer = ask(server.public, "GET", "/readyz");
    assert_eq!(status(&answer), "503");
    assert!(answer.ends_with("\r\n\r\n2 volumes are not watched yet\n"), "{answer}");
    server.ready.store(true, Ordering::SeqCst);
    assert_eq!(status(&ask(server.public, "GET", "/readyz")), "200");
    server.stop();
}

#[test]
fn liveness_fails_after_a_second_without_an_answer() {
    let server = Running::start();
    assert_eq!(status(&ask(server.public, "GET", "/livez")), "200");
    server.answering.store(false, Ordering::SeqCst);
    let stuck = Instant::now();
    while status(&ask(server.public, "GET", "/livez")) == "200" {
        assert!(stuck.elapsed() < PATIENCE, "an answer of before serves for a moment only");
    }
    let asked = Instant::now();
    assert_eq!(status(&ask(server.public, "GET", "/livez")), "503");
    assert!((1.0..3.0).contains(&asked.elapsed().as_secs_f64()), "{:?}", asked.elapsed());
    server.stop();
}

#[test]
fn the_status_of_all_tenants_is_on_the_admin_address_only() {
    let server = Running::start();
    let answer = ask(server.admin, "GET", "/status");
    assert!(answer.contains("content-type: application/json\r\n") && answer.ends_with("{\"pods\":[]}"));
    assert_eq!(status(&ask(server.public, "GET", "/status")), "404");
    assert_eq!(status(&ask(server.admin, "GET", "/metrics")), "404");
    server.stop();
}

#[test]
fn other_paths_and_methods_are_told_what_there_is() {
    let server = Running::start();
    let answer = ask(server.public, "GET", "/");
    assert_eq!(status(&answer), "404");
    assert!(answer.ends_with("\r\n\r\nnot found; there is /metrics, /livez, /readyz\n"), "{answer}");
    let answer = ask(server.public, "POST", "/metrics");
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    server.stop();
}

#[test]
fn the_server_stops_within_a_second_whatever_its_clients_do() {
    let server = Running::start();
    server.answering.store(false, Ordering::SeqCst);
    let idle = TcpStream::connect(server.public).unwrap();
    let mut waiting = TcpStream::connect(server.public).unwrap();
    write!(waiting, "GET /livez HTTP/1.1\r\nhost: node\r\n\r\n").unwrap();
    let mut served = TcpStream::connect(server.public).unwrap();
    write!(served, "GET /readyz HTTP/1.1\r\nhost: node\r\n\r\n").unwrap();
    assert_eq!(served.read(&mut [0; 512]).unwrap().min(12), 12);
    let took = server.stop();
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(idle);
}

#[test]
fn a_connection_too_many_takes_the_place_of_its_peers_oldest() {
    let server = Running::start();
    let other = connect_from(Ipv4Addr::new(127, 0, 0, 2), server.public);
    let mut held: Vec<TcpStream> = (0..EACH).map(|_| TcpStream::connect(server.public).unwrap()).collect();
    for stream in &mut held {
        // A head that never ends.
        write!(stream, "GET /readyz HTTP/1.1\r\nhost: node\r\n").unwrap();
    }
    assert_eq!(status(&ask(server.public, "GET", "/readyz")), "503");
    assert!(is_closed(&mut held[0]), "the oldest is closed");
    for mut stream in [&held[1], &other] {
        write!(stream, "GET /readyz HTTP/1.1\r\nhost: node\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_ne!(stream.read(&mut [0; 512]).unwrap(), 0, "the others are served");
    }
    server.stop();
}

#[test]
fn a_probe_that_waits_for_the_loop_outlasts_any_number_of_clients_that_hold_on() {
    let server = Running::start();
    server.answering.store(false, Ordering::SeqCst);
    let mut probe = connect_from(Ipv4Addr::new(127, 0, 0, 2), server.public);
    write!(probe, "GET /livez HTTP/1.1\r\nhost: node\r\n\r\n").unwrap();
    while server.pings.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    // An address for each.
    let sources = (0..2 * ALL).map(|n| Ipv4Addr::new(127, 0, 1, u8::try_from(n % 256).unwrap()));
    let held: Vec<TcpStream> = sources.map(|source| connect_from(source, server.public)).collect();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "503", "{answer}");
    drop(held);
    server.stop();
}

#[test]
fn a_connection_is_for_one_request() {
    let server = Running::start();
    let request = "GET /readyz HTTP/1.1\r\nhost: node\r\nconnection: keep-alive\r\n\r\n";
    let answer = ask_from(Ipv4Addr::LOCALHOST, server.public, request);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.stop();
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = Running::start();
    let mut stream = TcpStream::connect(server.public).unwrap();
    let line = format!("x: {}\r\n", "a".repeat(4000));
    // The server may close before it has read all of it.
    let sent = write!(stream, "GET /readyz HTTP/1.1\r\nhost: node\r\n{}", line.repeat(10));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{sent:?} {read:?} {answer:?}");
    assert_eq!(status(&ask(server.public, "GET", "/readyz")), "503");
    server.stop();
}

#[test]
fn an_encoded_page_is_reused_within_a_second() {
    let server = Running::start();
    let overflows = || {
        let page = ask(server.public, "GET", "/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix("reloadlet_overflows_total "));
        line.unwrap().to_owned()
    };
    let begun = Instant::now();
    assert_eq!(overflows(), "0");
    server.metrics.overflow();
    let again = overflows();
    // A machine that was held up says nothing about it.
    assert!(again == "0" || begun.elapsed() >= Duration::from_secs(1), "{again}");
    while overflows() == "0" {
        assert!(begun.elapsed() < PATIENCE, "the page is made anew");
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    server.stop();
}

#[test]
fn clients_that_ask_together_ask_the_loop_once() {
    let server = Running::start();
    server.answering.store(false, Ordering::SeqCst);
    let mut clients: Vec<TcpStream> =
        (0..EACH).map(|_| connect_from(Ipv4Addr::LOCALHOST, server.public)).collect();
    for client in &mut clients {
        write!(client, "GET /livez HTTP/1.1\r\nhost: node\r\n\r\n").unwrap();
    }
    let begun = Instant::now();
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), "503");
    }
    let (pings, took) = (server.pings.load(Ordering::SeqCst), begun.elapsed());
    // One a second.
    assert!(pings as u64 <= 2 + took.as_secs(), "{pings} in {took:?}");
    server.stop();
}

#[test]
fn the_admin_address_answers_loopback_names_only() {
    let server = Running::start();
    let asked = |head: &str| ask_from(Ipv4Addr::LOCALHOST, server.admin, &format!("{head}\r\n\r\n"));
    for host in ["localhost:9848", "127.0.0.1", "[::1]:80"] {
        let answer = asked(&format!("GET /status HTTP/1.1\r\nhost: {host}"));
        assert_eq!(status(&answer), "200", "{host}");
        assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{answer}");
    }
    let rebound = asked("GET /status HTTP/1.1\r\nhost: evil.example:9848");
    assert_eq!(status(&rebound), "403");
    let sentence = "only requests for a loopback host, such as localhost or 127.0.0.1, are answered here\n";
    assert!(rebound.ends_with(&format!("\r\n\r\n{sentence}")), "{rebound}");
    assert_eq!(status(&asked("GET http://evil.example/status HTTP/1.1\r\nhost: localhost")), "403");
    assert_eq!(status(&asked("GET /status HTTP/1.1")), "400");
    // Scrapers have names of all kinds for a node.
    let public = ask_from(Ipv4Addr::LOCALHOST, server.public, "GET /readyz HTTP/1.1\r\nhost: node-7\r\n\r\n");
    assert_eq!(status(&public), "503");
    server.stop();
}

#[test]
fn the_unspecified_ipv6_address_serves_ipv4_too() {
    let socket = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
}

#[test]
fn a_port_in_use_is_named() {
    let holder = Socket::bind(ANY).unwrap();
    let taken = holder.local_addr().unwrap();
    let error = Server::bind(ANY, taken).unwrap_err();
    assert_eq!(error.to_string(), format!("can't listen on {taken}"));
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
}
