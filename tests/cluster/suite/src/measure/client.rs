//! Requests to the API server whose answers are dated here: kubectl's own end comes some milliseconds after them. All of
//! it runs before everything else on the machine: on a busy one the dates would be late otherwise.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use serde_json::{Value, json};

use super::reader::{become_first, boot_time};
use crate::space::{kubectl, wait_until};

/// `kubectl proxy`, which ends with this.
pub(super) struct Client {
    proxy: Child,
    socket: PathBuf,
    namespace: String,
}

/// When a change was sent and when the API server had answered, in nanoseconds since boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) sent: u64,
    pub(super) answered: u64,
}

/// A watch of the namespace's ConfigMaps, and when each change of each came.
pub(super) struct Watch(Arc<Mutex<BTreeMap<String, Vec<u64>>>>);

impl Client {
    pub(super) fn start(namespace: &str) -> Self {
        let socket = std::env::temp_dir().join(format!("{namespace}.socket"));
        // It ends with this process, however that ends.
        let proxy = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "chrt", "--fifo", "1", "kubectl", "proxy", "--unix-socket"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("kubectl is a proxy", || UnixStream::connect(&socket).is_ok());
        Self { proxy, socket, namespace: namespace.to_owned() }
    }

    /// Changes the ConfigMap's key. The caller's thread is to be first, too.
    pub(super) fn change(&self, name: &str, content: &str) -> Change {
        let sent = boot_time();
        let mut answer =
            self.ask("PATCH", &format!("/{name}"), &json!({"data": {"key": content}}).to_string());
        let mut status = String::new();
        answer.read_line(&mut status).unwrap();
        let answered = boot_time();
        assert!(status.contains(" 200 "), "the change of {name}: {status}");
        Change { sent, answered }
    }

    /// Watches from now on.
    pub(super) fn watch(&self) -> Watch {
        let list = kubectl(["get", "--raw", &self.path("")]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let answer = self.ask("GET", &format!("?watch=1&resourceVersion={version}"), "");
        let received = Arc::new(Mutex::new(BTreeMap::<String, Vec<u64>>::new()));
        thread::spawn({
            let received = received.clone();
            move || {
                become_first();
                for line in answer.lines().map_while(Result::ok) {
                    let at = boot_time();
                    // Between the objects are the answer's head and the lengths of its pieces.
                    let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                    if event["type"] == "MODIFIED" {
                        let name = event["object"]["metadata"]["name"].as_str().unwrap().to_owned();
                        received.lock().unwrap().entry(name).or_default().push(at);
                    }
                }
            }
        });
        Watch(received)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps{rest}", self.namespace)
    }

    /// Sends a request. A plain socket is enough: the proxy speaks TLS and knows who asks.
    fn ask(&self, method: &str, rest: &str, body: &str) -> BufReader<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let request = format!(
            "{method} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            self.path(rest),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.proxy.kill().unwrap();
        self.proxy.wait().unwrap();
        fs::remove_file(&self.socket).unwrap();
    }
}

impl Watch {
    /// When the changes of one came.
    pub(super) fn received(&self, name: &str) -> Vec<u64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}
