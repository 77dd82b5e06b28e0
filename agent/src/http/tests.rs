use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::*;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    ready: Arc<AtomicBool>,
    answering: Arc<AtomicBool>,
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
        let endpoints = Endpoints {
            metrics: Arc::new(Metrics::new().unwrap()),
            ready: Box::new(move || match is_ready.load(Ordering::SeqCst) {
                true => Readiness::Ready,
                false => Readiness::NotReady("2 volumes are not watched yet".to_owned()),
            }),
            live: Box::new(move || match answers.load(Ordering::SeqCst) {
                true => Box::pin(std::future::ready(())),
                false => Box::pin(std::future::pending()),
            }),
            status: Box::new(|| Box::pin(std::future::ready(Ok("{\"pods\":[]}".to_owned())))),
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(server.serve(endpoints, stopped))
        });
        Self { public, admin, ready, answering, stop, thread }
    }

    fn stop(self) -> Duration {
        let told = Instant::now();
        self.stop.send(true).unwrap();
        self.thread.join().unwrap().unwrap();
        told.elapsed()
    }
}

/// What the server says until it closes.
fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
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
fn a_connection_too_many_takes_the_place_of_the_oldest() {
    let server = Running::start();
    let mut held: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(server.public).unwrap()).collect();
    for stream in &mut held {
        // A head that never ends.
        write!(stream, "GET /readyz HTTP/1.1\r\nhost: node\r\n").unwrap();
    }
    let mut late = TcpStream::connect(server.public).unwrap();
    write!(late, "GET /readyz HTTP/1.1\r\nhost: node\r\n\r\n").unwrap();
    late.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_ne!(late.read(&mut [0; 512]).unwrap(), 0);
    held[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let end = held[0].read(&mut [0; 512]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(io::ErrorKind::ConnectionReset)), "the oldest is closed: {end:?}");
    write!(held[1], "\r\n").unwrap();
    assert_ne!(held[1].read(&mut [0; 512]).unwrap(), 0, "the others are served");
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
