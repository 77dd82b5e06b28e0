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
/// How long a client that holds on waits before it looks whether it shall stop.
const HOLD: Duration = Duration::from_millis(200);
/// What such clients say: nothing, half a head, or a request for more than one of them reads.
const SAYINGS: [&str; 3] =
    ["", "GET /readyz HTTP/1.1\r\nHost: node\r\n", "GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n"];
/// Where the probes come from.
const KUBELET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const THREADS: usize = 64;
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

/// A client that connects, says little or nothing and reads nothing, and comes again at once when it is thrown out, until
/// it is told to stop. How often it came.
fn hold(address: SocketAddr, source: Ipv4Addr, says: &str, stop: &AtomicBool) -> usize {
    let mut came = 0;
    while !stop.load(Ordering::SeqCst) {
        came += 1;
        let held = connect(source, address, HOLD).and_then(|mut stream| {
            stream.write_all(says.as_bytes())?;
            Ok(stream)
        });
        // Until the agent closes it. What it sends stays unread.
        while held.as_ref().is_ok_and(stays) && !stop.load(Ordering::SeqCst) {}
    }
    came
}

/// Looks for a while whether a connection stays open.
fn stays(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0; 1]) {
        Ok(0) => false,
        // The answer, which it leaves where it is.
        Ok(_) => {
            thread::sleep(HOLD);
            true
        }
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock),
    }
}

/// Probes as the kubelet makes them, until they are told to stop: how many there were, and which failed.
fn probe(address: SocketAddr, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::SeqCst) {
        for path in ["/livez", "/readyz"] {
            count += 1;
            if let Err(error) = get(KUBELET, address, path, PROBE_TIMEOUT) {
                failed.push(format!("probe {count}, {path}: {error}"));
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    (count, failed)
}

/// What came of it.
struct Result {
    answered: usize,
    probes: usize,
    failed: Vec<String>,
    came: usize,
}

/// Runs the clients, those that hold on from these addresses.
fn run_clients(rig: &Rig, holder: fn(u8) -> Ipv4Addr) -> Result {
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
    let ((probes, failed), came) = thread::scope(|scope| {
        let stop = &stop;
        let holders: Vec<_> = (0..HOLDERS)
            .map(|n| {
                let source = holder(u8::try_from(n).unwrap());
                scope.spawn(move || hold(address, source, SAYINGS[n % SAYINGS.len()], stop))
            })
            .collect();
        let probes = scope.spawn(|| probe(address, stop));
        let floods: Vec<_> = (0..THREADS).map(|_| scope.spawn(flood)).collect();
        floods.into_iter().for_each(|flood| flood.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        (probes.join().unwrap(), holders.into_iter().map(|holder| holder.join().unwrap()).sum())
    });
    Result { answered: answered.into_inner(), probes, failed, came }
}

fn connections_cost_no_memory_and_no_probe(holder: fn(u8) -> Ipv4Addr) {
    let Some(rig) = Setup::new().light().alone().start(vec![app("web")]) else { return };
    rig.agent.metrics().unwrap();
    let before = rig.agent.rss_bytes().unwrap();
    let begun = Instant::now();
    let Result { answered, probes, failed, came } = run_clients(&rig, holder);
    let (took, after) = (begun.elapsed(), rig.agent.rss_bytes().unwrap());
    eprintln!(
        "{answered} of {CONNECTIONS} answered in {took:?}; {before} bytes became {after}; {} of {probes} probes failed; \
         {HOLDERS} clients held on and came {came} times",
        failed.len()
    );
    assert!(probes >= 20, "{probes}");
    assert!(
        failed.is_empty(),
        "{:#?}
{}",
        &failed[..failed.len().min(5)],
        rig.tail()
    );
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
    connections_cost_no_memory_and_no_probe(|n| Ipv4Addr::new(127, 0, 2, 1 + n));
}

/// As where the node's address stands for clients outside of it.
#[test]
fn a_hundred_thousand_connections_while_the_kubelets_address_holds_on_cost_no_memory_and_no_probe() {
    connections_cost_no_memory_and_no_probe(|_| KUBELET);
}
