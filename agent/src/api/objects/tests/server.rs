//! Against an API server on loopback that speaks HTTP/2.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reloadlet_core::Event;
use reloadlet_core::model::object::Observed;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::api::authority::Authority;
use crate::inbox::Inbound;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

type Text = std::pin::Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// What the server has: of each ConfigMap its version and its `data`.
#[derive(Clone, Debug, Default)]
struct Store {
    version: u64,
    objects: BTreeMap<String, (u64, String)>,
    /// What it tells those who ask for anything that it has in memory.
    memory: Option<Box<Store>>,
}

impl Store {
    fn put(&mut self, name: &str, data: &str) {
        self.version += 1;
        self.objects.insert(name.to_owned(), (self.version, data.to_owned()));
    }

    fn list(&self, name: &str) -> String {
        let item = self.objects.get(name).map(|(version, data)| {
            format!(r#"{{"metadata": {{"uid": "u", "resourceVersion": "{version}"}}, "data": {{"key": "{data}"}}}}"#)
        });
        format!(
            r#"{{"metadata": {{"resourceVersion": "{}"}}, "items": [{}]}}"#,
            self.version,
            item.unwrap_or_default()
        )
    }
}

/// The server.
struct Server {
    url: String,
    authority: Authority,
    store: watch::Sender<Store>,
    watches: Arc<AtomicUsize>,
}

impl Server {
    async fn start(streams: u32, store: Store) -> Self {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut tls = authority.signed("127.0.0.1");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let store = watch::Sender::new(store);
        let server = Self { url, authority, store, watches: Arc::default() };
        let (store, watches) = (server.store.clone(), server.watches.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, store, watches) = (acceptor.clone(), store.clone(), watches.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let answer = answer(&request, &store, &watches);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .max_concurrent_streams(streams)
                        .serve_connection(TokioIo::new(stream), service);
                    drop(served.await);
                });
            }
        });
        server
    }

    /// The agent's side, with these ConfigMaps wanted.
    async fn follow(&self, names: &[String]) -> (WantedObjects, Receiver<Inbound>, Contact) {
        let (inbox, receiver, wake) = Inbox::new().unwrap();
        std::mem::forget(wake);
        let contact = Contact::new();
        let mut config = kube::Config::new(self.url.parse().unwrap());
        config.root_cert = Some(pem_der(&self.authority.pem()));
        let counted = contact.clone();
        let connect = move || -> BoxFuture<'static, anyhow::Result<(kube::Config, kube::Client)>> {
            let client = crate::api::cluster::client(config.clone(), &counted).unwrap();
            let config = config.clone();
            Box::pin(async { Ok((config, client)) })
        };
        let cluster = Cluster::new(Box::new(connect), contact.clone()).await.unwrap();
        let (objects, watches) = channel(cluster, false, inbox);
        for name in names {
            objects.observe(config_map(name));
        }
        tokio::spawn(watches.run());
        (objects, receiver, contact)
    }

    async fn wait_for_watches(&self, count: usize) {
        let running = || self.watches.load(Ordering::SeqCst);
        let waited = tokio::time::timeout(PATIENCE, async {
            while running() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{} of {count} run", running());
    }
}

fn pem_der(pem: &str) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    vec![base64::engine::general_purpose::STANDARD.decode(lines).unwrap()]
}

fn config_map(name: &str) -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: name.into() }
}

fn answer(
    request: &Request<Incoming>,
    store: &watch::Sender<Store>,
    watches: &Arc<AtomicUsize>,
) -> Response<StreamBody<Text>> {
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect();
    let asked = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
    let name = asked("fieldSelector").trim_start_matches("metadata.name=").to_owned();
    let text: Text = if request.uri().path() == "/version" {
        whole("{}".to_owned())
    } else if asked("watch") == "true" {
        let running = Counted::new(watches);
        let from: u64 = asked("resourceVersion").parse().unwrap();
        let seen = store.subscribe();
        Box::pin(stream::unfold((seen, from, running), move |(mut seen, last, running)| {
            let name = name.clone();
            async move {
                let is_news =
                    |store: &Store| store.objects.get(&name).is_some_and(|(version, _)| *version > last);
                let version = seen.wait_for(is_news).await.ok()?.objects[&name].0;
                let line = format!(
                    r#"{{"type": "MODIFIED", "object": {{"kind": "Table", "metadata": {{"resourceVersion": "{version}"}}}}}}"#
                );
                Some((Ok(Frame::data(Bytes::from(line + "\n"))), (seen, version, running)))
            }
        }))
    } else {
        let store = store.borrow();
        let is_any = asked("resourceVersion") == "0";
        let store = store.memory.as_deref().filter(|_| is_any).unwrap_or(&store);
        whole(store.list(&name))
    };
    Response::new(StreamBody::new(text))
}

/// In parts, as an API server sends it.
fn whole(text: String) -> Text {
    let text = Bytes::from(text);
    let parts: Vec<Bytes> =
        (0..text.len()).step_by(8192).map(|at| text.slice(at..text.len().min(at + 8192))).collect();
    Box::pin(stream::iter(parts).map(|part| Ok(Frame::data(part))))
}

/// Counts while it is there.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The next thing that is told of an object: its version, or why there is none.
async fn told(receiver: &Receiver<Inbound>) -> (String, String) {
    let next = tokio::time::timeout(PATIENCE, async {
        loop {
            match receiver.try_recv() {
                Ok(Inbound::Event(Event::Observed(object, observed, _))) => break (object, observed),
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    let (object, observed) = next.await.expect("something is told");
    let said = match observed {
        Observed::Version(version) => version.version.to_string(),
        Observed::Absent => "absent".to_owned(),
        Observed::Unmeasured => "unmeasured".to_owned(),
    };
    (object.name.to_string(), said)
}

fn pair(name: &str, said: &str) -> (String, String) {
    (name.to_owned(), said.to_owned())
}

#[tokio::test]
async fn sixty_of_sixty_objects_are_watched_where_a_connection_has_twenty_streams() {
    let names: Vec<String> = (0..60).map(|n| format!("{n:02}")).collect();
    let mut store = Store::default();
    names.iter().for_each(|name| store.put(name, "1"));
    let server = Server::start(20, store).await;
    let (_objects, receiver, contact) = server.follow(&names).await;
    server.wait_for_watches(60).await;
    for _ in 0..60 {
        told(&receiver).await;
    }
    server.store.send_modify(|store| names.iter().for_each(|name| store.put(name, "2")));
    let mut changed = std::collections::BTreeSet::new();
    while changed.len() < 60 {
        changed.insert(told(&receiver).await.0);
    }
    let up = WatchState::Up;
    let waited = tokio::time::timeout(PATIENCE, async {
        while contact.watch(Resource::ConfigMaps).state != up {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok());
}

#[tokio::test]
async fn an_object_is_followed_from_its_absence_over_a_size_that_isnt_read_and_back() {
    let server = Server::start(250, Store { version: 7, ..Store::default() }).await;
    let (objects, receiver, _contact) = server.follow(&["web".to_owned()]).await;
    assert_eq!(told(&receiver).await, pair("web", "absent"));
    server.wait_for_watches(1).await;
    server.store.send_modify(|store| store.put("web", "1"));
    assert_eq!(told(&receiver).await, pair("web", "8"));
    server.store.send_modify(|store| store.put("web", &"x".repeat(9 << 20)));
    assert_eq!(told(&receiver).await, pair("web", "unmeasured"));
    server.store.send_modify(|store| store.put("web", &"x".repeat(1 << 20)));
    assert_eq!(told(&receiver).await, pair("web", "10"));
    objects.unobserve(&config_map("web"));
    let waited = tokio::time::timeout(PATIENCE, async {
        while server.watches.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "nobody watches any more");
}

#[tokio::test]
async fn what_lags_behind_the_store_is_asked_about_and_what_the_store_has_is_believed() {
    let mut store = Store { version: 949, ..Store::default() };
    store.put("web", "950");
    let server = Server::start(250, store).await;
    let (objects, receiver, _contact) = server.follow(&["web".to_owned()]).await;
    assert_eq!(told(&receiver).await, pair("web", "950"));
    // A backup from before is restored.
    server.store.send_modify(|store| {
        store.version = 699;
        store.put("web", "700");
    });
    objects.observe(config_map("web"));
    assert_eq!(told(&receiver).await, pair("web", "700"));
    // An API server whose memory is older than the store.
    server.store.send_modify(|store| {
        store.memory = Some(Box::new(Store { version: 600, ..Store::default() }));
    });
    objects.observe(config_map("web"));
    assert_eq!(told(&receiver).await, pair("web", "700"));
}
