//! Kubernetes Events: what a person sees in `kubectl describe` of a pod or a workload. Sent beside the work, never before it. What
//! waits for that has a bound, and so has what each namespace has sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use reloadlet_core::machine::event::Report;
use reloadlet_core::model::restart::Finding;
use reloadlet_core::policy::annotations::RESTART;
use tokio::sync::Notify;

use super::backoff::{Backoff, chances};
use super::budget::Key;
use super::cluster::Cluster;
use super::unsaid::{About, Note, Saying, Unsaid};
use crate::clock;
use crate::logs::Causes;

/// How often an Event is tried while the API server can't take it. Then others have their turn.
const TRIES: u32 = 3;

/// How often it is looked whether the budget has room for what waits.
const LOOK: Duration = Duration::from_secs(1);

/// Of how many objects and reasons it is known what was said last.
const SAID: usize = 64;

/// Who says it.
const REPORTER: &str = "reloadlet";
/// The longest name of an object, and of an Event's reporting instance.
const LONGEST_NAME: usize = 253;
const LONGEST_INSTANCE: usize = 128;
/// So many seconds after the last time the same is counted as once more; later it is said anew.
const RECENT: i64 = 6 * 60;

/// In whose name Events are sent.
#[derive(Clone, Debug)]
pub(crate) struct Speaks {
    /// What it does.
    action: &'static str,
    /// Which one of those that do the same, as far as an Event has room for its name.
    instance: String,
}

impl Speaks {
    /// The agent of a node, which reloads.
    pub(crate) fn of_node(node: &str) -> Self {
        Self::new("Reload", node)
    }

    /// A replica of the controller, which rolls.
    pub(crate) fn of_controller(replica: &str) -> Self {
        Self::new("Roll", replica)
    }

    fn new(action: &'static str, instance: &str) -> Self {
        Self { action, instance: instance.get(..LONGEST_INSTANCE).unwrap_or(instance).to_owned() }
    }
}

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
pub(crate) fn channel(cluster: Cluster, speaks: Speaks) -> (Notes, NoteSender) {
    let shared = Arc::new(Shared { unsaid: Mutex::new(Unsaid::new(clock::now())), more: Notify::new() });
    let connection = cluster.current();
    let speaker = Speaker::new(connection.client, speaks);
    let (revision, backoff) = (connection.revision, Backoff::new());
    (Notes(shared.clone()), NoteSender { shared, cluster, speaker, revision, backoff })
}

impl Notes {
    /// Says what a report means to the pod's owner, if anything, and no more what it makes untrue.
    pub(crate) fn report(&self, report: &Report) {
        self.say(|unsaid| words::unsay(report, unsaid), words::note(report));
    }

    /// Says these after something was taken back that isn't true any more.
    pub(crate) fn say(&self, unsay: impl FnOnce(&mut Unsaid), notes: impl IntoIterator<Item = Note>) {
        let mut unsaid = self.0.unsaid();
        unsay(&mut unsaid);
        for note in notes {
            if unsaid.say(note) {
                tracing::debug!("an Event is dropped: too many wait");
            }
            self.0.more.notify_one();
        }
    }
}

#[cfg(test)]
impl Notes {
    /// Whether something waits to be sent.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.unsaid().is_waiting()
    }
}

impl NoteSender {
    /// Sends what there is, within the budget, for as long as the agent runs.
    pub(crate) async fn run(mut self) {
        let mut refused = false;
        loop {
            let Some(saying) = self.next().await else { continue };
            let result = self.publish(&saying).await;
            match &result {
                Err(error) if is_going(error) || is_answer(error, 403) => {
                    self.shared.unsaid().refused(&saying, is_going(error), clock::now());
                }
                result => self.shared.unsaid().ended(result.as_ref().is_err_and(passes)),
            }
            match result {
                Ok(()) => refused = false,
                Err(error) if is_going(&error) => {}
                Err(error) if !std::mem::replace(&mut refused, true) => tracing::warn!(
                    error = %Causes(&error),
                    "Events can't be sent; all else goes on without them"
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
            self.speaker = Speaker::new(connection.client, self.speaker.speaks.clone());
        }
    }
}

/// Sends Events. One that says the same as the last one of its object and reason is counted there.
struct Speaker {
    client: Client,
    speaks: Speaks,
    /// What was said last, by object and reason.
    said: BTreeMap<Key, Event>,
}

impl Speaker {
    const fn new(client: Client, speaks: Speaks) -> Self {
        Self { client, speaks, said: BTreeMap::new() }
    }

    async fn publish(&mut self, saying: &Saying) -> Result<(), kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &saying.about.namespace);
        let now = Timestamp::now();
        if let Some(once) = &saying.once {
            // Its name says what it is about: the API server takes one of them as long as it keeps it, also from the agent before.
            let event = self.event(saying, &once.name, now);
            return match api.create(&PostParams::default(), &event).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                answered => answered.map(drop),
            };
        }
        let key = (saying.about.uid.clone(), saying.reason);
        let said = self.said.remove(&key).filter(|said| said.note.as_ref() == Some(&saying.text));
        if let Some(before) = said.filter(|said| is_recent(said, now)) {
            let mut event = before.clone();
            let count = event.series.as_ref().map_or(1, |series| series.count).saturating_add(1);
            event.series = Some(EventSeries { count, last_observed_time: MicroTime(now) });
            let name = event.metadata.name.clone().unwrap_or_default();
            match api.patch(&name, &PatchParams::default(), &Patch::Merge(&event)).await {
                // The API server doesn't keep it any more.
                Err(error) if is_answer(&error, 404) => {}
                Err(error) => {
                    self.remember(key, before);
                    return Err(error);
                }
                Ok(_) => {
                    self.remember(key, event);
                    return Ok(());
                }
            }
        }
        let event = self.event(saying, &format!("{:x}", now.as_nanosecond()), now);
        api.create(&PostParams::default(), &event).await?;
        self.remember(key, event);
        Ok(())
    }

    fn event(&self, saying: &Saying, end: &str, now: Timestamp) -> Event {
        let said = saying.once.as_ref().and_then(|once| once.said.as_ref());
        let is_warning = match said.map(|said| said.finding) {
            Some(Finding::Current | Finding::Unproved) => false,
            Some(_) | None => saying.urgent,
        };
        Event {
            metadata: ObjectMeta {
                namespace: Some(saying.about.namespace.to_string()),
                name: Some(name(&saying.about.name, end)),
                annotations: said.map(|said| [(RESTART.to_owned(), said.to_string())].into()),
                ..ObjectMeta::default()
            },
            action: Some(self.speaks.action.to_owned()),
            reason: Some(saying.reason.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(saying.text.clone()),
            regarding: Some(reference(&saying.about)),
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(self.speaks.instance.clone()),
            type_: Some(if is_warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        }
    }

    fn remember(&mut self, key: Key, event: Event) {
        if self.said.len() >= SAID {
            self.said.clear();
        }
        self.said.insert(key, event);
    }
}

/// Whether an Event is counted on: people see when it was last.
fn is_recent(event: &Event, now: Timestamp) -> bool {
    let last = event.series.as_ref().map(|series| &series.last_observed_time).or(event.event_time.as_ref());
    last.is_some_and(|last| now.as_second() - last.0.as_second() < RECENT)
}

/// The name of an Event on an object: as kube makes it, with something else at its end. A name has 253 bytes at most.
fn name(object: &str, end: &str) -> String {
    let room = LONGEST_NAME.saturating_sub(end.len() + 1);
    let object = object.get(..room).unwrap_or(object).trim_end_matches(['.', '-']);
    format!("{object}.{end}")
}

/// Whether the API server has answered with this code.
fn is_answer(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Whether the same Event may be taken a little later: there was no answer, or it says that the server is busy, or that it
/// doesn't know these credentials, which may have been rotated.
fn passes(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return true };
    matches!(status.code, 401 | 429 | 500..=599)
}

/// Whether it was refused because the object's namespace is being deleted, or is gone: nobody would read it.
fn is_going(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.details.as_ref().is_some_and(|details| {
        let is_gone = status.code == 404 && details.kind == "namespaces";
        is_gone || details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
    })
}

fn reference(about: &About) -> ObjectReference {
    ObjectReference {
        api_version: Some(about.api_version.to_owned()),
        kind: Some(about.kind.to_owned()),
        namespace: Some(about.namespace.to_string()),
        name: Some(about.name.to_string()),
        uid: Some(about.uid.to_string()),
        ..ObjectReference::default()
    }
}

mod words;

#[cfg(test)]
mod tests;
