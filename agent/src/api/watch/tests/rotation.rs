//! Against a server on loopback whose certificate, and the authority behind it, are exchanged while it is followed.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Condvar;
use std::thread;

use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::{ServerConfig, ServerConnection};

use super::super::super::authority::Authority;
use super::super::super::{bounded, cluster};
use super::*;

/// Which one it is, and it.
type Numbered = (usize, Arc<ServerConfig>);

/// The server's certificate.
#[derive(Clone)]
struct Certificate(Arc<(Mutex<Numbered>, Condvar)>);

impl Certificate {
    /// From now on this one: open connections end.
    fn exchange(&self, tls: ServerConfig) {
        let mut now = self.0.0.lock().unwrap();
        *now = (now.0 + 1, Arc::new(tls));
        self.0.1.notify_all();
    }

    fn get(&self) -> Numbered {
        self.0.0.lock().unwrap().clone()
    }

    fn wait_for_another(&self, number: usize) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |now| now.0 == number).unwrap());
    }
}

/// Lists nothing; a watch tells of one object, named after the certificate's number.
fn serve(mut stream: TcpStream, certificate: &Certificate) {
    let (number, tls) = certificate.get();
    let mut connection = ServerConnection::new(tls).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut stream);
    let (mut buffer, mut head) = ([0; 4096], String::new());
    while !head.ends_with("\r\n\r\n") {
        // A client that doesn't trust the certificate is an error here.
        let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
        head.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    let is_watch = head.contains("watch=true");
    let body = if is_watch {
        line("ADDED", &object(&number.to_string(), "6"))
    } else {
        r#"{"metadata": {"resourceVersion": "5"}, "items": []}"#.to_owned()
    };
    // A watch has no length.
    let length = if is_watch { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n{body}").unwrap();
    stream.flush().unwrap();
    if is_watch {
        certificate.wait_for_another(number);
    }
}

fn kubeconfig(directory: &Path, url: &str) -> PathBuf {
    let path = directory.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: '{url}', certificate-authority: ca.crt}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_cluster_whose_authority_is_exchanged_is_followed_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let certificate =
        Certificate(Arc::new((Mutex::new((0, Arc::new(old.signed("127.0.0.1")))), Condvar::new())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let serving = certificate.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let certificate = serving.clone();
            thread::spawn(move || serve(stream.unwrap(), &certificate));
        }
    });

    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.crt");
    std::fs::write(&authority, old.pem()).unwrap();
    let path = kubeconfig(directory.path(), &url);
    let contact = Contact::new();
    let counting = contact.clone();
    let connect = move || -> BoxFuture<'static, anyhow::Result<(kube::Config, kube::Client)>> {
        let (path, contact) = (path.clone(), counting.clone());
        Box::pin(async move {
            let file = Kubeconfig::read_from(path)?;
            let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            let config = bounded(config);
            Ok((config.clone(), cluster::client(config, &contact)?))
        })
    };
    let cluster = Cluster::new(Box::new(connect), contact).await.unwrap();
    let mut stream = pin!(follow::<ConfigMap>(Followed {
        cluster,
        resource: Resource::Pods,
        path: "/api/v1/configmaps".to_owned(),
        form: Form::Whole,
        fields: String::new(),
        page: 4,
        most: MOST_LISTED,
        longest: Duration::from_secs(120),
    }));
    let mut next_change = async || {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
            if let Some(Event::Apply(object)) = next.expect("it is followed") {
                return object.metadata.name.unwrap();
            }
        }
    };
    assert_eq!(next_change().await, "0");

    std::fs::write(&authority, new.pem()).unwrap();
    certificate.exchange(new.signed("127.0.0.1"));
    assert_eq!(next_change().await, "1");
}
