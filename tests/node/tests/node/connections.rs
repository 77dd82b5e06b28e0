//! Clients that open very many connections, or hold on to them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::support::{Rig, Setup, app};

/// What the probes of the DaemonSet allow.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the other clients wait.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many connections ask for the metrics, and how many clients hold on meanwhile.
const CONNECTIONS: usize = 100_000;
const HOLDERS: usize = 100;
const THREADS: usize = 3;
const MIB: u64 = 1024 * 1024;

fn connect(source: Ipv4Addr, address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // It bounds the connect as well.
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(timeout))?;
    rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
    rustix::net::connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(timeout))?;
    Ok(stream)
}

/// A GET on a connection of its own; the length of a good answer.
fn get(source: Ipv4Addr, address: SocketAddr, path: &str, timeout: Duration) -> io::Result<usize> {
    let begun = Instant::now();
    let mut stream = connect(source, address, timeout)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
    }
    if begun.elapsed() > timeout {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(answer.len())
}

/// Clients that connect, say little or nothing and read nothing, and come again when they are thrown out, until they
/// are told to stop.
fn hold(address: SocketAddr, source: impl Fn(usize) -> Ipv4Addr, stop: &AtomicBool) -> usize {
    let says = ["", "GET /readyz HTTP/1.1\r\nHost: node\r\n", "GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n"];
    let begin = |n: usize| {
        let mut stream = connect(source(n), address, PATIENCE).ok()?;
        stream.write_all(says[n % says.len()].as_bytes()).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    let mut held: Vec<Option<TcpStream>> = (0..HOLDERS).map(begin).collect();
    let mut came_again = 0;
    while !stop.load(Ordering::SeqCst) {
        for (n, place) in held.iter_mut().enumerate() {
            let holds = place.as_ref().is_some_and(|stream| match stream.peek(&mut [0; 1]) {
                Ok(read) => read > 0,
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            });
            if !holds {
                came_again += 1;
                *place = begin(n);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    came_again
}

/// Probes as the kubelet makes them, until they are told to stop: how many there were, and which failed.
fn probe(address: SocketAddr, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::SeqCst) {
        for path in ["/livez", "/readyz"] {
            count += 1;
            if let Err(error) = get(Ipv4Addr::new(127, 0, 0, 9), address, path, PROBE_TIMEOUT) {
                failed.push(format!("probe {count}, {path}: {error}"));
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    (count, failed)
}

/// Runs the clients; how many answers the agent gave.
fn run_clients(rig: &Rig, holder: impl Fn(usize) -> Ipv4Addr + Send) -> usize {
    let address = rig.agent.listen();
    let (next, answered, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let flood = || {
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            if n >= CONNECTIONS {
                return;
            }
            // 240 addresses, so that no ports run out.
            let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + n % 240).unwrap());
            if get(source, address, "/metrics", PATIENCE).is_ok() {
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let (came_again, (probes, failed)) = thread::scope(|scope| {
        let holders = scope.spawn(|| hold(address, holder, &stop));
        let probes = scope.spawn(|| probe(address, &stop));
        let floods: Vec<_> = (0..THREADS).map(|_| scope.spawn(flood)).collect();
        floods.into_iter().for_each(|flood| flood.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        (holders.join().unwrap(), probes.join().unwrap())
    });
    println!(
        "{probes} probes, {} failed; {HOLDERS} clients held on and came again {came_again} times",
        failed.len()
    );
    assert!(
        failed.is_empty() && probes >= 20,
        "{} of {probes} failed: {failed:#?}\n{}",
        failed.len(),
        rig.tail()
    );
    answered.into_inner()
}

fn connections_cost_no_memory_and_no_probe(holder: impl Fn(usize) -> Ipv4Addr + Send) {
    let Some(rig) = Setup::new().light().alone().start(vec![app("web")]) else { return };
    rig.agent.metrics().unwrap();
    let before = rig.agent.rss_bytes().unwrap();
    let begun = Instant::now();
    let answered = run_clients(&rig, holder);
    let after = rig.agent.rss_bytes().unwrap();
    println!("{answered} of {CONNECTIONS} answered in {:?}; {before} bytes became {after}", begun.elapsed());
    assert!(answered >= CONNECTIONS * 99 / 100, "{answered}");
    assert!(after.saturating_sub(before) < 8 * MIB, "{before} bytes became {after}");
    rig.end();
}

#[test]
fn a_hundred_thousand_connections_while_one_address_holds_on_cost_no_memory_and_no_probe() {
    connections_cost_no_memory_and_no_probe(|_| Ipv4Addr::new(127, 0, 0, 7));
}

#[test]
fn a_hundred_thousand_connections_while_a_hundred_addresses_hold_on_cost_no_memory_and_no_probe() {
    connections_cost_no_memory_and_no_probe(|n| Ipv4Addr::new(127, 0, 2, u8::try_from(1 + n).unwrap()));
}
