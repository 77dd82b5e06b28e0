//! The agent's process and its HTTP answers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use standin::{AgentOptions, AgentProcess, NodeOptions, http_get, sibling_binary};

use crate::node;

#[test]
fn an_agent_that_ends_at_once_is_told_with_its_log() {
    let Some(node) = node(NodeOptions::default()) else { return };
    // Any program that doesn't know the agent's flags.
    let binary = sibling_binary("workload").unwrap();
    let mut agent = AgentProcess::start(&binary, AgentOptions::for_node(&node)).unwrap();
    let error = agent.wait_ready(Duration::from_secs(20)).unwrap_err().to_string();
    assert!(error.contains("which ended") && error.contains("agent is not a flag"), "{error}");
    drop(agent);
    node.shutdown().unwrap();
}

#[test]
fn a_running_process_can_be_measured_and_stopped() {
    let Some(node) = node(NodeOptions::default()) else { return };
    let script = node.dir().join("agent.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"$@\"\ntrap 'exit 3' TERM\nwhile :; do sleep 0.05; done\n")
        .unwrap();
    std::os::unix::fs::chown(&script, Some(0), Some(0)).unwrap();
    let mut permissions = std::fs::metadata(&script).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&script, permissions).unwrap();
    let options = AgentOptions::for_node(&node).arg("--dry-run");
    let mut agent = AgentProcess::start(&script, options).unwrap();
    let lines = standin::wait_until(Duration::from_secs(20), "its log", || {
        agent.log_lines().map(|lines| Some(lines).filter(|lines| !lines.is_empty()))
    })
    .unwrap();
    assert!(lines[0].starts_with("agent --kubelet-root /") && lines[0].ends_with("--dry-run"), "{lines:?}");
    assert!(agent.rss_bytes().unwrap() > 100_000 && agent.cpu_ticks().unwrap() < 1_000);
    assert!(agent.open_files().unwrap() >= 3 && !agent.is_ready());
    let stopped = agent.terminate().unwrap();
    assert_eq!(stopped.status.code(), Some(3));
    drop(agent);
    node.shutdown().unwrap();
}

#[test]
fn an_answer_is_split_into_status_and_body() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = [0; 256];
        let count = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.0 503 Service Unavailable\r\nX: y\r\n\r\nnot yet\n").unwrap();
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let answer = http_get(address, "/readyz").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (503, "not yet\n"));
    assert!(thread.join().unwrap().starts_with("GET /readyz HTTP/1.0\r\n"));
}
