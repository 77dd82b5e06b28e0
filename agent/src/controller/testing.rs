//! An API server with the controller's Lease and the key of its digests. To all else it says that it is busy.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tower::service_fn;

use super::asker::Asker;
use crate::api::cluster::Cluster;
use crate::digest;

/// Where the Lease is.
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/reloadlet/leases/reloadlet-controller";

/// How long this thread has had a processor. Whatever else the machine does isn't in it.
pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// What happens before a request is answered.
pub(super) enum Before {
    /// It is answered after so long.
    Waits(Duration),
    /// It is refused, with this code.
    Refused(u16),
    /// It never is.
    Silent,
}

type Interferes = Box<dyn FnMut(&str, &str, &mut Kept) -> Before + Send>;
type Serves = Box<dyn FnMut(&str, &str) -> Option<String> + Send>;

/// What it has.
#[derive(Default)]
pub(super) struct Kept {
    /// The Lease's spec.
    pub(super) lease: Option<Value>,
    /// Its version.
    pub(super) version: u64,
    /// The methods and paths of all requests, in their order.
    pub(super) asked: Vec<String>,
}

impl Kept {
    fn answer(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let is_lease = LEASE.starts_with(path);
        match method {
            "GET" if is_lease => self.written(200),
            "POST" if is_lease => self.write(body),
            "PUT" if is_lease && self.is_at(&body["metadata"]["resourceVersion"]) => self.write(body),
            "PUT" if is_lease => (409, Value::Null),
            "GET" if path.ends_with("/reloadlet-controller-key") => (
                200,
                json!({"metadata": {"resourceVersion": "1"}, "data": {"data": STANDARD.encode(digest::OF_TESTS)}}),
            ),
            _ => (503, Value::Null),
        }
    }

    fn is_at(&self, version: &Value) -> bool {
        version.as_str().is_some_and(|version| version.parse() == Ok(self.version))
    }

    fn write(&mut self, body: &Value) -> (u16, Value) {
        self.lease = Some(body["spec"].clone());
        self.version += 1;
        self.written(201)
    }

    fn written(&self, code: u16) -> (u16, Value) {
        let metadata = json!({"resourceVersion": self.version.to_string()});
        self.lease
            .as_ref()
            .map_or((404, Value::Null), |spec| (code, json!({"metadata": metadata, "spec": spec})))
    }
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub(super) struct Server {
    kept: Arc<Mutex<Kept>>,
    interferes: Arc<Mutex<Interferes>>,
    serves: Arc<Mutex<Serves>>,
}

impl Server {
    /// One that answers at once.
    pub(super) fn new() -> Self {
        Self {
            kept: Arc::default(),
            interferes: Arc::new(Mutex::new(Box::new(|_, _, _| Before::Waits(Duration::ZERO)))),
            serves: Arc::new(Mutex::new(Box::new(|_, _| None))),
        }
    }

    /// From now on this is what it answers whoever gets something, told the path and the query, where there is an answer.
    pub(super) fn serve(&self, serves: impl FnMut(&str, &str) -> Option<String> + Send + 'static) {
        *self.serves.lock().unwrap() = Box::new(serves);
    }

    /// From now on this happens before a request is answered: it is told the method and the path.
    pub(super) fn interfere(&self, interferes: impl FnMut(&str, &str, &mut Kept) -> Before + Send + 'static) {
        *self.interferes.lock().unwrap() = Box::new(interferes);
    }

    /// What it has, looked at or changed.
    pub(super) fn kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.kept.lock().unwrap())
    }

    /// The Lease's spec.
    pub(super) fn lease(&self) -> Value {
        self.kept(|kept| kept.lease.clone().unwrap())
    }

    /// Asks it.
    pub(super) fn asker(&self) -> Asker {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
                let query = request.uri().query().unwrap_or_default().to_owned();
                let body = request.into_body().collect_bytes().await?;
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let before = server.kept(|kept| {
                    kept.asked.push(format!("{method} {path}"));
                    server.interferes.lock().unwrap()(&method, &path, kept)
                });
                let (code, answer) = match before {
                    Before::Waits(so_long) => {
                        tokio::time::sleep(so_long).await;
                        let served = server.serves.lock().unwrap()(&path, &query).filter(|_| method == "GET");
                        served.map(|answer| (200, answer)).unwrap_or_else(|| {
                            let (code, answer) = server.kept(|kept| kept.answer(&method, &path, &body));
                            (code, answer.to_string())
                        })
                    }
                    Before::Refused(code) => (code, Value::Null.to_string()),
                    Before::Silent => std::future::pending().await,
                };
                let answer = Body::from(answer.into_bytes());
                Ok::<_, kube::Error>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        Asker::new(Cluster::with_client(Client::new(service, "default")))
    }
}
