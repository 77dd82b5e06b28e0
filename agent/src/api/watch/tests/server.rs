//! A server that answers what a test has it answer.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::{Body, ClientBuilder};
use tower::service_fn;

use crate::api::cluster::counted;
use crate::api::watch::*;
use crate::contact::{Contact, WatchState};

impl Versioned for ConfigMap {
    fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

pub(super) type Text = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// What the server does with a request.
pub(super) enum Answer {
    /// Answers with this status and text.
    Says(u16, String),
    Busy(&'static str),
    /// Answers these lines, each after a pause, and then ends or falls silent.
    Tells(Vec<(u64, String)>, End),
    /// Answers as fast as it can without an end, and without one of a line.
    Floods,
    /// No connection.
    Fails,
}

pub(super) enum End {
    Ends,
    Hangs,
}

pub(super) fn list(names: &[&str], token: &str) -> Answer {
    let items: Vec<String> = names.iter().map(|name| object(name, "1")).collect();
    let items = items.join(",");
    Answer::Says(
        200,
        format!(r#"{{"metadata": {{"resourceVersion": "5", "continue": "{token}"}}, "items": [{items}]}}"#),
    )
}

pub(super) fn object(name: &str, version: &str) -> String {
    format!(r#"{{"metadata": {{"name": "{name}", "namespace": "shop", "resourceVersion": "{version}"}}}}"#)
}

pub(super) fn line(kind: &str, object: &str) -> String {
    format!("{{\"type\": \"{kind}\", \"object\": {object}}}\n")
}

pub(super) fn bookmark(version: u32) -> String {
    let meta = format!(
        r#"{{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {{"resourceVersion": "{version}"}}}}"#
    );
    line("BOOKMARK", &meta)
}

pub(super) fn expired() -> String {
    line("ERROR", r#"{"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}"#)
}

pub(super) fn text(answer: &Answer) -> Text {
    let data = |text: String| Ok(Frame::data(Bytes::from(text)));
    match answer {
        Answer::Says(_, said) => Box::pin(stream::iter([data(said.clone())])),
        Answer::Busy(_) | Answer::Fails => Box::pin(stream::empty()),
        Answer::Floods => Box::pin(stream::repeat_with(move || data("x".repeat(1 << 20)))),
        Answer::Tells(lines, end) => {
            let lines = stream::iter(lines.clone()).then(move |(seconds, text)| async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                data(text)
            });
            match end {
                End::Ends => Box::pin(lines),
                End::Hangs => Box::pin(lines.chain(stream::pending())),
            }
        }
    }
}

/// A request, and how many seconds after the start it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: f64,
    pub(super) uri: String,
}

impl Asked {
    pub(super) fn is_watch(&self) -> bool {
        self.uri.contains("watch=true")
    }
}

pub(super) struct Server {
    pub(super) cluster: Cluster,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    /// How its watch did when it was last followed.
    pub(super) state: Mutex<WatchState>,
    /// How often the configuration was read.
    pub(super) reads: Arc<Mutex<usize>>,
}

impl Server {
    /// The answer depends on the requests so far, this one included.
    pub(super) async fn start(answer: impl Fn(&[Asked]) -> Answer + Send + Sync + 'static) -> Self {
        let (asked, reads) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<Mutex<usize>>::default());
        let (contact, answer, start) = (Contact::new(), Arc::new(answer), Instant::now());
        let (all, counting, counted_reads) = (asked.clone(), contact.clone(), reads.clone());
        let connect = move || -> BoxFuture<'static, anyhow::Result<(kube::Config, kube::Client)>> {
            *counted_reads.lock().unwrap() += 1;
            let (all, answer) = (all.clone(), answer.clone());
            let service = service_fn(move |request: Request<Body>| {
                let mut all = all.lock().unwrap();
                all.push(Asked { at: start.elapsed().as_secs_f64(), uri: request.uri().to_string() });
                let answer = answer(&all);
                async move {
                    let mut response = Response::new(StreamBody::new(text(&answer)));
                    match answer {
                        Answer::Fails => return Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                        Answer::Says(status, _) => *response.status_mut() = status.try_into().unwrap(),
                        Answer::Busy(retry_after) => {
                            *response.status_mut() = hyper::StatusCode::TOO_MANY_REQUESTS;
                            response.headers_mut().insert("Retry-After", retry_after.parse().unwrap());
                        }
                        Answer::Tells(..) | Answer::Floods => {}
                    }
                    Ok(response)
                }
            });
            let client =
                ClientBuilder::new(service, "default").with_layer(&counted(counting.clone())).build();
            Box::pin(async move { Ok((kube::Config::new("https://127.0.0.1:1".parse()?), client)) })
        };
        let cluster = Cluster::new(Box::new(connect), contact).await.unwrap();
        Self { cluster, asked, state: Mutex::new(WatchState::Unused), reads }
    }

    pub(super) fn followed(&self) -> Followed {
        Followed {
            cluster: self.cluster.clone(),
            resource: Resource::Pods,
            path: "/api/v1/configmaps".to_owned(),
            form: Form::Whole,
            fields: "spec.nodeName=n1".to_owned(),
            page: 4,
            most: MOST_LISTED,
            longest: Duration::from_secs(120),
        }
    }

    /// Follows for so many seconds, and gives what was told.
    pub(super) async fn follow(&self, seconds: u64) -> Vec<String> {
        let mut stream = pin!(follow::<ConfigMap>(self.followed()));
        let mut told = Vec::new();
        let name = |object: &ConfigMap| object.metadata.name.clone().unwrap();
        let following = async {
            while let Some(event) = stream.next().await {
                told.push(match event {
                    Event::Init => "init".to_owned(),
                    Event::InitApply(object) => format!("listed {}", name(&object)),
                    Event::InitDone => "done".to_owned(),
                    Event::Apply(object) => format!("changed {}", name(&object)),
                    Event::Delete(object) => format!("deleted {}", name(&object)),
                });
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(seconds), following).await.is_err());
        *self.state.lock().unwrap() = self.contact();
        told
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn state(&self) -> WatchState {
        *self.state.lock().unwrap()
    }

    pub(super) fn contact(&self) -> WatchState {
        self.cluster.contact().watch(Resource::Pods).state
    }

    /// The longest time between two requests, in seconds.
    pub(super) fn longest_pause(&self) -> f64 {
        self.asked().windows(2).map(|two| two[1].at - two[0].at).fold(0.0, f64::max)
    }
}
