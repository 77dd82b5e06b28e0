//! Kubernetes Events: what a person sees in `kubectl describe pod`. Sent beside the reloads, never before them. What
//! waits for that has a bound, and so has what each namespace has sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use reloadlet_core::machine::event::Report;
use tokio::sync::Notify;

use super::backoff::{Backoff, chances};
use super::budget::Key;
use super::cluster::Cluster;
use super::unsaid::{About, Saying, Unsaid};
use crate::clock;
use crate::logs::Causes;

/// How often an Event is tried while the API server can't take it. Then others have their turn.
const TRIES: u32 = 3;

/// How often it is looked whether the budget has room for what waits.
const LOOK: Duration = Duration::from_secs(1);

/// Of how many pods and reasons it is known what was said last.
const SAID: usize = 64;

/// What the agent does, in an Event.
const ACTION: &str = "Reload";
/// The longest name of an object.
const LONGEST_NAME: usize = 253;

/// Hands what is to be said to the sender.
#[derive(Clone, Debug)]
pub(crate) struct Notes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    unsaid: Mutex<Unsaid>,
    more: Notify,
}

impl Shared {
    fn unsaid(&self) -> MutexGuard<'_, Unsaid> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end.
pub(crate) struct NoteSender {
    shared: Arc<Shared>,
    cluster: Cluster,
    speaker: Speaker,
    /// Which reading of the configuration the speaker is from.
    revision: u64,
    backoff: Backoff,
}

/// The two ends.
pub(crate) fn channel(cluster: Cluster, node: &str) -> (Notes, NoteSender) {
    let shared = Arc::new(Shared { unsaid: Mutex::new(Unsaid::new(clock::now())), more: Notify::new() });
    let reporter = Reporter { controller: "reloadlet".to_owned(), instance: Some(node.to_owned()) };
    let connection = cluster.current();
    let speaker = Speaker::new(connection.client, reporter);
    let (revision, backoff) = (connection.revision, Backoff::new());
    (Notes(shared.clone()), NoteSender { shared, cluster, speaker, revision, backoff })
}

impl Notes {
    /// Says what a report means to the pod's owner, if anything, and no more what it makes untrue.
    pub(crate) fn report(&self, report: &Report) {
        let mut unsaid = self.0.unsaid();
        words::unsay(report, &mut unsaid);
        if let Some(note) = words::note(report) {
            if unsaid.say(note) {
                tracing::debug!("an Event is dropped: too many wait");
            }
            self.0.more.notify_one();
        }
    }
}

impl NoteSender {
    /// Sends what there is, within the budget, for as long as the agent runs.
    pub(crate) async fn run(mut self) {
        let mut refused = false;
        loop {
            let Some(saying) = self.next().await else { continue };
            let result = self.publish(&saying).await;
            self.shared.unsaid().ended(result.as_ref().is_err_and(passes));
            match result {
                Ok(()) => refused = false,
                Err(error) if is_going(&error) => {}
                Err(error) if !std::mem::replace(&mut refused, true) => tracing::warn!(
                    error = %Causes(&error),
                    "Events can't be sent; reloads go on without them"
                ),
                Err(_) => {}
            }
        }
    }

    /// What may be sent now. If that is nothing, there may be something afterwards.
    async fn next(&self) -> Option<Saying> {
        let (next, is_waiting) = {
            let mut unsaid = self.shared.unsaid();
            (unsaid.next(clock::now()), unsaid.is_waiting())
        };
        if next.is_none() {
            let limit = if is_waiting { LOOK } else { Duration::MAX };
            // Whichever it was: what waits is looked at.
            drop(tokio::time::timeout(limit, self.shared.more.notified()).await);
        }
        next
    }

    /// Sends an Event. While the API server doesn't answer, or has too much to do, it is tried again.
    async fn publish(&mut self, saying: &Saying) -> Result<(), kube::Error> {
        for _ in 1..TRIES {
            match self.speaker.publish(saying).await {
                Err(error) if passes(&error) => self.wait(&error).await,
                answered => {
                    self.backoff.succeeded();
                    return answered;
                }
            }
        }
        self.speaker.publish(saying).await
    }

    /// Waits, and is on another connection afterwards if the one that was open has died.
    async fn wait(&mut self, error: &kube::Error) {
        let mut retry_after = None;
        if let kube::Error::Api(status) = error {
            let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            retry_after = (asked > 0).then(|| Duration::from_secs(asked.into()));
        }
        if !matches!(error, kube::Error::Api(status) if status.code != 401) {
            self.cluster.renew(self.revision).await;
        }
        tokio::time::sleep(self.backoff.failed(retry_after, chances())).await;
        let connection = self.cluster.current();
        if connection.revision != self.revision {
            self.revision = connection.revision;
            self.speaker = Speaker::new(connection.client, self.speaker.reporter.clone());
        }
    }
}

/// Sends Events. One that says the same as the last one of its pod and reason is counted there.
struct Speaker {
    client: Client,
    reporter: Reporter,
    recorder: Recorder,
    /// What the recorder has said last.
    said: BTreeMap<Key, String>,
}

impl Speaker {
    fn new(client: Client, reporter: Reporter) -> Self {
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, recorder, said: BTreeMap::new() }
    }

    async fn publish(&mut self, saying: &Saying) -> Result<(), kube::Error> {
        if let Some(once) = &saying.once {
            return self.publish_once(saying, once).await;
        }
        let key = (saying.pod.uid.clone(), saying.reason);
        let differs = self.said.get(&key).is_some_and(|said| *said != saying.text);
        // A recorder takes each Event of the same pod and reason for the last one again, whatever it says.
        if differs || self.said.len() >= SAID {
            self.recorder = Recorder::new(self.client.clone(), self.reporter.clone());
            self.said.clear();
        }
        self.said.insert(key, saying.text.clone());
        let event = Event {
            type_: if saying.urgent { EventType::Warning } else { EventType::Normal },
            reason: saying.reason.to_owned(),
            note: Some(saying.text.clone()),
            action: ACTION.to_owned(),
            secondary: None,
        };
        self.recorder.publish(&event, &reference(&saying.pod)).await
    }

    /// The Event's name says what it is about: the API server takes one of them as long as it keeps it, also from the agent before.
    async fn publish_once(&self, saying: &Saying, once: &str) -> Result<(), kube::Error> {
        let reporter = &self.reporter;
        let event = events::v1::Event {
            metadata: ObjectMeta {
                namespace: Some(saying.pod.namespace.to_string()),
                name: Some(name(&saying.pod.name, once)),
                ..ObjectMeta::default()
            },
            action: Some(ACTION.to_owned()),
            reason: Some(saying.reason.to_owned()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(saying.text.clone()),
            regarding: Some(reference(&saying.pod)),
            reporting_controller: Some(reporter.controller.clone()),
            reporting_instance: reporter.instance.clone(),
            type_: Some(if saying.urgent { "Warning" } else { "Normal" }.to_owned()),
            ..events::v1::Event::default()
        };
        let api: Api<events::v1::Event> = Api::namespaced(self.client.clone(), &saying.pod.namespace);
        match api.create(&PostParams::default(), &event).await {
            Err(error) if is_said(&error) => Ok(()),
            answered => answered.map(drop),
        }
    }
}

/// The name of an Event on a pod: as kube makes it, with something else at its end. A name has 253 bytes at most.
fn name(pod: &str, end: &str) -> String {
    let room = LONGEST_NAME.saturating_sub(end.len() + 1);
    let pod = pod.get(..room).unwrap_or(pod).trim_end_matches(['.', '-']);
    format!("{pod}.{end}")
}

/// Whether there is such an Event already.
fn is_said(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// Whether the same Event may be taken a little later: there was no answer, or it says that the server is busy, or that it
/// doesn't know these credentials, which may have been rotated.
fn passes(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return true };
    matches!(status.code, 401 | 429 | 500..=599)
}

/// Whether it was refused because the pod's namespace is being deleted: nobody would read it.
fn is_going(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status
        .details
        .as_ref()
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
}

fn reference(pod: &About) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.to_string()),
        name: Some(pod.name.to_string()),
        uid: Some(pod.uid.to_string()),
        ..ObjectReference::default()
    }
}

mod words;

#[cfg(test)]
mod tests;
