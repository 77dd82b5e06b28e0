//! Kubernetes Events: what a person sees in `kubectl describe pod`. Sent beside the reloads, never before them. What
//! waits for that has a bound, and so has what each namespace has sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use reloadlet_core::machine::event::{ReloadReport, Report};
use reloadlet_core::model::names::Name;
use reloadlet_core::model::outcome::{Outcome, Unread, Verdict};
use reloadlet_core::model::pod::Pod;
use reloadlet_core::propagation::frozen::Way;
use tokio::sync::Notify;

use super::backoff::{Backoff, chances};
use super::budget::Key;
use super::cluster::Cluster;
use super::unsaid::{About, Note, Saying, Text, Unsaid};
use crate::clock;
use crate::logs::Causes;
use crate::reports;

/// How often an Event is tried while the API server can't take it. Then others have their turn.
const TRIES: u32 = 3;

/// How often it is looked whether the budget has room for what waits.
const LOOK: Duration = Duration::from_secs(1);

/// Of how many pods and reasons it is known what was said last.
const SAID: usize = 64;

/// The reason of an Event that says that a signal was sent.
const SENT: &str = "SignalSent";
/// The reason of an Event that says what is wrong with what a pod asks for.
const PROBLEM: &str = "ReloadProblem";
/// The reason of one that says that a container has left unread what it was told of.
const UNREAD: &str = "ReloadUnread";
/// The reason of one that says that only a restart brings a change.
const NEEDS_RESTART: &str = "ConfigNeedsRestart";
/// The longest list of what was changed in an Event, in bytes.
const LISTED: usize = 512;
/// Those that say that a container wasn't told of a change.
const NOT_TOLD: [&str; 5] =
    ["ReloadNoProcess", "ReloadUnhandled", "ReloadDenied", "ReloadFailed", "ReloadHeld"];

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
        unsay(report, &mut unsaid);
        if let Some(note) = note(report) {
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
            action: "Reload".to_owned(),
            secondary: None,
        };
        self.recorder.publish(&event, &reference(&saying.pod)).await
    }
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

/// What isn't true any more after a report isn't said.
fn unsay(report: &Report, unsaid: &mut Unsaid) {
    match report {
        Report::Solved(pod) => unsaid.unsay(pod, &[PROBLEM], |_| true),
        Report::Mended(pod, problem) => {
            unsaid.unsay(pod, &[PROBLEM], |text| text.text == problem.sentence);
        }
        Report::Forgotten(pod) => unsaid.forget(pod),
        Report::Reload(reload) if reload.outcome == Outcome::Delivered => {
            unsaid.unsay(&reload.pod, &NOT_TOLD, |text| text.container.as_ref() == Some(&reload.container));
        }
        Report::Reread { pod, container, .. } => {
            unsaid.unsay(pod, &[UNREAD], |text| text.container.as_ref() == Some(container));
        }
        Report::Reload(_)
        | Report::Retold(_)
        | Report::Unread { .. }
        | Report::NeedsRestart { .. }
        | Report::Problem(..)
        | Report::Verdict { .. }
        | Report::Swapped(_)
        | Report::Published { .. }
        | Report::Nudged(..)
        | Report::Settled(_)
        | Report::SettleTimedOut(_)
        | Report::Rescan => {}
    }
}

/// What a report means to a pod's owner.
fn note(report: &Report) -> Option<Note> {
    match report {
        Report::Reload(reload) => reload_note(reload),
        Report::Problem(pod, problem) => Some(warning(pod, PROBLEM, None, problem.sentence.clone())),
        Report::Verdict { pod, container, verdict, .. } => {
            let text = match verdict {
                Verdict::Reread | Verdict::Alive => return None,
                Verdict::Pending => format!(
                    "Container {container} blocks the signal and hasn't taken it: check that it reads its signals."
                ),
                Verdict::Exited => format!(
                    "Container {container} ended after the signal and doesn't run: check its log for what it made of \
                     the new configuration."
                ),
                Verdict::Restarted => format!(
                    "Container {container} ended after the signal and was restarted: check that the program reloads \
                     on this signal instead of ending."
                ),
            };
            Some(warning(pod, "ReloadVerdict", Some(container), text))
        }
        Report::Unread { pod, container, signal, unread, deliveries, again, window } => {
            let window = seconds(*window);
            let twice = if *again { " twice" } else { "" };
            let text = match unread {
                Unread::NotRead => format!(
                    "Told, not read: container {container} was sent {signal}{twice} and opened none of the new files within \
                     {window}, though it has after earlier signals. It may hold the old ones still: look at its log. If it \
                     drops a signal that comes while it reloads, set reloadlet.io/min-interval; if it takes longer, set \
                     reloadlet.io/verify."
                ),
                Unread::NeverRead => format!(
                    "Told {deliveries} times, never read: container {container} was sent {signal} and never seen to open a \
                     new file within {window}. Check that the program reloads on {signal}, and that it reads the mounted \
                     files and no copy of them."
                ),
            };
            Some(warning(pod, UNREAD, Some(container), text))
        }
        Report::NeedsRestart { pod, container, object, way } => {
            let how = match way {
                Way::Environment => "has it in its environment",
                Way::SubPath => "mounts it by subPath",
            };
            let text = format!(
                "{object} has changed, and container {container} {how}, which never changes in a running container: restart \
                 it to load the change."
            );
            Some(warning(pod, NEEDS_RESTART, None, text))
        }
        Report::Retold(reload) => (reload.outcome == Outcome::Delivered).then(|| {
            let text = format!(
                "Sent {} to container {} a second time for {}, since it opened none of the new files.",
                reload.signal,
                reload.container,
                changed(reload)
            );
            let text = Text { container: Some(reload.container.clone()), text };
            Note { pod: (&*reload.pod).into(), urgent: false, reason: SENT, text }
        }),
        Report::Swapped(_)
        | Report::Published { .. }
        | Report::Nudged(..)
        | Report::Settled(_)
        | Report::SettleTimedOut(_)
        | Report::Rescan
        | Report::Reread { .. }
        | Report::Mended(..)
        | Report::Forgotten(_)
        | Report::Solved(_) => None,
    }
}

fn warning(pod: &Pod, reason: &'static str, container: Option<&Name>, text: String) -> Note {
    Note { pod: pod.into(), urgent: true, reason, text: Text { container: container.cloned(), text } }
}

/// What a reload told of: the versions that it brought where they are known, else the volumes.
fn changed(reload: &ReloadReport) -> String {
    let versions = reload.stages.as_ref().map(|stages| reports::written(&stages.versions));
    cut(versions.filter(|versions| !versions.is_empty()).unwrap_or_else(|| volumes(reload)), LISTED)
}

fn volumes(reload: &ReloadReport) -> String {
    let volumes: Vec<&str> = reload.generations.iter().map(|(volume, _)| &**volume).collect();
    volumes.join(", ")
}

fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

/// A duration as people say it.
fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 10_000 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} s", (millis + 500) / 1000)
    }
}

fn reload_note(reload: &ReloadReport) -> Option<Note> {
    // What comes after them says what is to be done.
    let volumes = cut(volumes(reload), LISTED / 2);
    let (container, signal) = (&reload.container, reload.signal);
    let (urgent, reason, text) = match reload.outcome {
        Outcome::Delivered => {
            let since = reload.stages.as_ref().map_or_else(String::new, |stages| {
                format!(", {} after the API server showed it", seconds(stages.propagation))
            });
            (false, SENT, format!("Sent {signal} to container {container} for {}{since}.", changed(reload)))
        }
        Outcome::NoProcess => (
            true,
            "ReloadNoProcess",
            format!(
                "{volumes} changed and container {container} wasn't told: {}.",
                reload.reason.as_deref().unwrap_or("no process to tell was found")
            ),
        ),
        Outcome::Unhandled => (
            true,
            "ReloadUnhandled",
            format!(
                "{volumes} changed and container {container} wasn't told: its process doesn't handle {signal}{}. Choose \
                 a signal that it handles in reloadlet.io/signal.",
                reload.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"))
            ),
        ),
        Outcome::Denied => (
            true,
            "ReloadDenied",
            format!(
                "{volumes} changed and container {container} wasn't told: the kernel refused {signal} ({}). The agent has no \
                 right to signal the process: it lacks the capability KILL there, or a security module such as AppArmor or \
                 SELinux forbids it; the node's audit log says so if one does.",
                reload.reason.as_deref().unwrap_or("EPERM")
            ),
        ),
        Outcome::Failed => (
            true,
            "ReloadFailed",
            format!(
                "{volumes} changed and container {container} wasn't told: {signal} failed with the kernel's error {}.",
                reload.reason.as_deref().unwrap_or("that isn't known")
            ),
        ),
        Outcome::Suspended => (
            true,
            "ReloadHeld",
            format!(
                "{volumes} changed and container {container} wasn't told: {}.",
                reload.reason.as_deref().unwrap_or("signals end its process")
            ),
        ),
        Outcome::DryRun
        | Outcome::Unchanged
        | Outcome::Excluded
        | Outcome::StartedAfter
        | Outcome::Superseded
        | Outcome::Gone => return None,
    };
    let text = Text { container: Some(container.clone()), text };
    Some(Note { pod: (&*reload.pod).into(), urgent, reason, text })
}

#[cfg(test)]
mod tests;
