//! Against servers that do what a pod's may.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel as pipe};
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::model::means::{Method, Request, Scheme};
use reloadlet_core::model::names::{ContainerId, PodUid};
use rustls::{ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::api::authority::self_signed;
use crate::inbox::Inbound;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A proc directory in which processes appear to be in a pod.
struct Proc(TempDir);

impl Proc {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A process that is there, with the start that its identity has.
    fn process(&self, pid: u32) -> ProcessIdentity {
        let process = ProcessIdentity {
            pid,
            started: Time::from_nanos(1_230_000_000),
            pod: PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap(),
            container: ContainerId::parse(&"a".repeat(64)).unwrap(),
        };
        let own = self.0.path().join(pid.to_string());
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("stat"), format!("1 (app) S 1{} 123 1{}", " 0".repeat(17), " 0".repeat(29)))
            .unwrap();
        let cgroup = format!("0::/kubepods/pod{}/{}\n", process.pod, process.container);
        std::fs::write(own.join("cgroup"), cgroup).unwrap();
        process
    }

    fn exchanges(&self) -> Exchanges {
        Exchanges::new(ProcRoot::new(self.0.path().into()))
    }

    fn call(&self, port: u16) -> Call {
        Call {
            process: self.process(7),
            begun: Time::default(),
            addresses: vec![LOCALHOST],
            request: Arc::new(request(port)),
        }
    }
}

fn request(port: u16) -> Request {
    let timeout = Duration::from_secs(30);
    Request { method: Method::Post, scheme: Scheme::Http, port, path: "/-/reload?now=1".into(), timeout }
}

fn with(call: &Call, change: impl FnOnce(&mut Request)) -> Call {
    let mut request = Request::clone(&call.request);
    change(&mut request);
    Call { request: Arc::new(request), ..call.clone() }
}

/// A server that does this with each connection.
fn serve(ip: IpAddr, what: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(|stream| what(stream.unwrap())));
    port
}

/// What comes up to the end of a request's head.
fn head(stream: &mut impl std::io::Read) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") && stream.read(&mut byte).unwrap_or_default() == 1 {
        text.push(char::from(byte[0]));
    }
    text
}

/// A server that answers so, and what it was sent.
fn answering(ip: IpAddr, answer: impl Into<Vec<u8>>) -> (u16, Receiver<String>) {
    let (heard, hears) = pipe();
    let answer = answer.into();
    let port = serve(ip, move |mut stream| {
        heard.send(head(&mut stream)).unwrap();
        stream.write_all(&answer).unwrap();
    });
    (port, hears)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn ok() -> Answer {
    Answer::Status(200, "".into())
}

async fn made(call: &Call, proc: &Proc) -> Answer {
    let (answer, rest) = proc.exchanges().make(call).await;
    if let Some(rest) = rest {
        rest.await;
    }
    answer
}

#[tokio::test]
async fn a_request_is_one_line_and_three_headers_that_nobody_can_choose() {
    let proc = Proc::new();
    let (port, heard) = answering(LOCALHOST, answer("200 OK", ""));
    assert_eq!(made(&proc.call(port), &proc).await, ok());
    let head = heard.recv().unwrap().to_ascii_lowercase();
    let lines: Vec<&str> = head.trim_end().lines().collect();
    assert_eq!(lines[0], "post /-/reload?now=1 http/1.1");
    let mut headers = lines[1..].to_vec();
    headers.sort_unstable();
    let agent = format!("user-agent: reloadlet/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: 127.0.0.1:{port}");
    headers.retain(|header| *header != "content-length: 0");
    assert_eq!(headers, ["connection: close", &*host, &*agent]);
}

#[tokio::test]
async fn what_the_server_says_is_told_as_far_as_it_is_shown() {
    let proc = Proc::new();
    for (written, expected) in [
        (
            answer("500 Internal Server Error", "failed to reload config\n"),
            Answer::Status(500, "failed to reload config\n".into()),
        ),
        (answer("404 Not Found", ""), Answer::Status(404, "".into())),
        (answer("503 Busy", &"x".repeat(100_000)), Answer::Status(503, "x".repeat(200).into())),
        (
            "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n".into(),
            Answer::Status(500, "bad".into()),
        ),
        ("HTTP/1.0 500 No\r\n\r\nuntil the end".into(), Answer::Status(500, "until the end".into())),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".into(),
            Answer::Status(204, "".into()),
        ),
    ] {
        let (port, _heard) = answering(LOCALHOST, written);
        assert_eq!(made(&proc.call(port), &proc).await, expected);
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nobody_else_is_asked() {
    let proc = Proc::new();
    let (other, heard) = answering(LOCALHOST, answer("200 OK", ""));
    let location = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"
    );
    let (port, _heard) = answering(LOCALHOST, location);
    assert_eq!(made(&proc.call(port), &proc).await, Answer::Status(307, "".into()));
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn each_way_not_to_answer_is_told_from_the_others() {
    let proc = Proc::new();
    let closed = serve(LOCALHOST, |mut stream| drop(head(&mut stream)));
    assert_eq!(made(&proc.call(closed), &proc).await, Answer::Closed);
    let reset = serve(LOCALHOST, |stream| {
        // What wasn't read is lost with the connection, and the other end is told so.
        while stream.peek(&mut [0]).unwrap() == 0 {}
    });
    assert_eq!(made(&proc.call(reset), &proc).await, Answer::Reset);
    let unused = TcpListener::bind((LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    assert_eq!(made(&proc.call(unused), &proc).await, Answer::Refused);
    let (garbage, _heard) = answering(LOCALHOST, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let said = made(&proc.call(garbage), &proc).await;
    assert!(matches!(said, Answer::Garbage(_)), "{said:?}");
    let (long, _heard) = answering(LOCALHOST, format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20)));
    let said = made(&proc.call(long), &proc).await;
    assert!(matches!(said, Answer::Garbage(_)), "{said:?}");
    let held = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let silent = with(&proc.call(held.local_addr().unwrap().port()), |request| {
        request.timeout = Duration::from_millis(50);
    });
    assert_eq!(made(&silent, &proc).await, Answer::Silent);
}

#[tokio::test]
async fn heads_without_end_are_no_answer() {
    let proc = Proc::new();
    let (ended, ends) = pipe();
    let port = serve(LOCALHOST, move |mut stream| {
        head(&mut stream);
        let mut written = 0_usize;
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {
            written += 25;
        }
        ended.send(written).unwrap();
    });
    let said = made(&proc.call(port), &proc).await;
    assert!(matches!(&said, Answer::Unreachable(why) if why.contains("more than is read")), "{said:?}");
    assert!(ends.recv().unwrap() < 16 << 20);
}

#[tokio::test]
async fn what_a_second_address_says_takes_no_place_of_what_the_first_one_does() {
    let proc = Proc::new();
    // The kernel refuses it at once.
    let nowhere: IpAddr = "255.255.255.255".parse().unwrap();
    let call = Call { addresses: vec![LOCALHOST, nowhere], ..proc.call(1) };
    assert_eq!(made(&call, &proc).await, Answer::Refused);
    let call = Call { addresses: vec![nowhere, LOCALHOST], ..proc.call(1) };
    assert!(matches!(made(&call, &proc).await, Answer::Unreachable(_)));
}

#[tokio::test]
async fn a_body_without_end_is_left_alone_once_the_status_is_known() {
    let proc = Proc::new();
    for status in ["200 OK", "500 No"] {
        let (ended, ends) = pipe();
        let port = serve(LOCALHOST, move |mut stream| {
            head(&mut stream);
            stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
            let mut written = 0_usize;
            while let Ok(length) = stream.write(&[b'x'; 4096]) {
                written += length;
            }
            ended.send(written).unwrap();
        });
        let said = made(&proc.call(port), &proc).await;
        let Answer::Status(code, body) = said else { panic!("{said:?}") };
        let shown = if status.starts_with('2') { 0 } else { 200 };
        assert_eq!((code.to_string(), body.len()), (status[..3].to_owned(), shown));
        // Sockets' buffers take some of it.
        assert!(ends.recv().unwrap() < 16 << 20);
    }
}

#[tokio::test]
async fn where_no_connection_comes_about_that_is_told_from_silence() {
    let proc = Proc::new();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((LOCALHOST, 0).into()).unwrap();
    // The kernel takes in two connections, and drops what asks for another one.
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let _taken = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    let call = with(&proc.call(address.port()), |request| request.timeout = Duration::from_millis(50));
    assert_eq!(made(&call, &proc).await, Answer::NotConnected);
}

#[tokio::test]
async fn where_nobody_listens_at_the_first_address_the_next_one_is_asked() {
    let proc = Proc::new();
    let (port, heard) = answering(IpAddr::V6(Ipv6Addr::LOCALHOST), answer("200 OK", ""));
    let both = Call { addresses: vec![LOCALHOST, IpAddr::V6(Ipv6Addr::LOCALHOST)], ..proc.call(port) };
    assert_eq!(made(&both, &proc).await, ok());
    assert!(heard.recv().unwrap().to_ascii_lowercase().contains(&format!("host: [::1]:{port}")));
    let neither = Call { addresses: both.addresses, ..proc.call(1) };
    assert_eq!(made(&neither, &proc).await, Answer::Refused, "what the first one says");
}

#[tokio::test]
async fn nothing_is_written_once_the_process_is_gone_or_another_one() {
    let proc = Proc::new();
    let (heard, hears) = pipe();
    let port = serve(LOCALHOST, move |mut stream| {
        let mut text = Vec::new();
        drop(stream.read_to_end(&mut text));
        heard.send(text).unwrap();
    });
    let call = proc.call(port);
    let gone = Call { process: ProcessIdentity { pid: 8, ..call.process.clone() }, ..call.clone() };
    let other =
        Call { process: ProcessIdentity { started: Time::default(), ..call.process.clone() }, ..call };
    for call in [gone, other] {
        assert_eq!(made(&call, &proc).await, Answer::Gone);
        assert_eq!(hears.recv().unwrap(), b"");
    }
}

#[tokio::test]
async fn by_tls_any_certificate_will_do_and_plain_text_wont() {
    let proc = Proc::new();
    let tls = Arc::new(self_signed("somebody-else.example"));
    let (heard, hears) = pipe();
    let port = serve(LOCALHOST, move |mut stream| {
        let mut connection = ServerConnection::new(Arc::<ServerConfig>::clone(&tls)).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut stream);
        heard.send(head(&mut stream)).unwrap();
        stream.write_all(answer("200 OK", "").as_bytes()).unwrap();
    });
    let secure = |port| with(&proc.call(port), |request| request.scheme = Scheme::Https);
    assert_eq!(made(&secure(port), &proc).await, ok());
    assert!(hears.recv().unwrap().starts_with("POST /-/reload"));
    let plain = serve(LOCALHOST, |mut stream| {
        drop(stream.read(&mut [0; 4096]));
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    let said = made(&secure(plain), &proc).await;
    assert!(matches!(said, Answer::NoTls(_)), "{said:?}");
}

#[test]
fn the_variables_that_name_proxies_arent_read() {
    let text = [include_str!("exchange.rs"), include_str!("../calls.rs")].concat();
    assert!(!text.contains("env::var"));
}

/// The caller's end of a loop, and what it is told.
fn running(proc: &Proc) -> (CallQueue, Receiver<Inbound>) {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let (queue, caller) = channel(ProcRoot::new(proc.0.path().into()), inbox);
    tokio::spawn(caller.run());
    (queue, receiver)
}

async fn answered(receiver: &Receiver<Inbound>) -> (u32, Time, Answer) {
    loop {
        match receiver.try_recv() {
            Ok(Inbound::Event(Event::Answered(process, begun, answer))) => {
                return (process.pid, begun, answer);
            }
            Ok(other) => panic!("{other:?}"),
            Err(_empty) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn servers_that_never_answer_keep_nobody_elses_request_waiting() {
    let proc = Proc::new();
    let silent = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let silent = silent.local_addr().unwrap().port();
    let (port, _heard) = answering(LOCALHOST, answer("200 OK", ""));
    let (queue, receiver) = running(&proc);
    for pid in 1000..2000 {
        queue.call(&"loud".into(), Call { process: proc.process(pid), ..proc.call(silent) });
    }
    queue.call(&"quiet".into(), proc.call(port));
    assert_eq!(answered(&receiver).await, (7, Time::default(), ok()));
    let calls = queue.0.calls();
    assert_eq!((calls.running.len(), calls.waiting.len()), (AT_A_TIME / 2, 1000 - AT_A_TIME / 2));
}

#[tokio::test]
async fn however_many_namespaces_wait_for_silent_servers_the_next_one_has_a_place() {
    let proc = Proc::new();
    let silent = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let silent = silent.local_addr().unwrap().port();
    let (port, _heard) = answering(LOCALHOST, answer("200 OK", ""));
    let (queue, receiver) = running(&proc);
    for pid in 1000..1400 {
        let namespace = format!("loud-{}", pid % 10).into();
        queue.call(&namespace, Call { process: proc.process(pid), ..proc.call(silent) });
    }
    // In turns each gets as many as are left free then.
    while queue.0.calls().running.len() < 110 {
        tokio::task::yield_now().await;
    }
    queue.call(&"quiet".into(), proc.call(port));
    assert_eq!(answered(&receiver).await, (7, Time::default(), ok()));
}

#[tokio::test]
async fn an_answer_takes_a_place_for_as_long_as_it_is_read() {
    let proc = Proc::new();
    let port = serve(LOCALHOST, |mut stream| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").unwrap();
        // The body never comes.
        std::thread::spawn(move || drop(stream.read(&mut [0])));
    });
    let (queue, receiver) = running(&proc);
    for pid in 1000..1200 {
        queue.call(&"loud".into(), Call { process: proc.process(pid), ..proc.call(port) });
    }
    for _ in 0..200 {
        assert_eq!(answered(&receiver).await.2, ok());
        // Each that has a connection holds the queue, as its two ends do.
        let connections = Arc::strong_count(&queue.0) - 2;
        assert!(connections <= AT_A_TIME / 2, "{connections}");
    }
}

#[tokio::test]
async fn a_newer_request_to_a_process_takes_the_place_of_the_older_one() {
    let proc = Proc::new();
    let silent = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let (port, _heard) = answering(LOCALHOST, answer("200 OK", ""));
    let (queue, receiver) = running(&proc);
    queue.call(&"shop".into(), proc.call(silent.local_addr().unwrap().port()));
    while queue.0.calls().running.is_empty() {
        tokio::task::yield_now().await;
    }
    let newer = Call { begun: Time::from_nanos(1), ..proc.call(port) };
    queue.call(&"shop".into(), newer);
    assert_eq!(answered(&receiver).await, (7, Time::from_nanos(1), ok()));
    let calls = queue.0.calls();
    assert!(calls.running.is_empty() && calls.waiting.len() == 0);
}

#[test]
fn what_the_agent_lacks_isnt_the_servers_fault() {
    for (errno, lack) in [
        (nix::errno::Errno::EMFILE, Lack::Descriptors),
        (nix::errno::Errno::ENFILE, Lack::Descriptors),
        (nix::errno::Errno::ENOBUFS, Lack::Memory),
        (nix::errno::Errno::ENOMEM, Lack::Memory),
    ] {
        let error = std::io::Error::from(errno);
        assert_eq!(exchange::unreachable_by(&error), Answer::Lacked(lack), "{errno}");
    }
    // Without IPv6 on the machine an address of it can't be reached, and that lasts.
    for errno in [nix::errno::Errno::EHOSTUNREACH, nix::errno::Errno::EADDRNOTAVAIL] {
        let error = std::io::Error::from(errno);
        assert!(matches!(exchange::unreachable_by(&error), Answer::Unreachable(_)), "{errno}");
    }
}
