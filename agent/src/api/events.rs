//! Kubernetes Events: what a person sees in `kubectl describe pod`. Sent beside the reloads, never before them, and
//! dropped rather than queued without end.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use reloadlet_core::event::{ReloadReport, Report};
use reloadlet_core::outcome::{Outcome, Verdict};
use reloadlet_core::pod::Pod;
use tokio::sync::mpsc;

use super::backoff::{Backoff, chances};
use super::budget::Budget;
use super::cluster::Cluster;
use crate::clock;
use crate::logs::Causes;

/// How many Events wait for the API server; more are dropped.
const WAITING: usize = 256;

/// How often an Event is tried while the API server can't take it. By then others wait that are newer.
const TRIES: u32 = 3;

/// What is to be said about a pod.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pod: Arc<Pod>,
    type_: EventType,
    reason: &'static str,
    text: String,
}

/// Hands notes to the sender.
#[derive(Clone, Debug)]
pub(crate) struct Notes(mpsc::Sender<Note>);

/// The other end.
pub(crate) struct NoteSender {
    notes: mpsc::Receiver<Note>,
    cluster: Cluster,
    reporter: Reporter,
    recorder: Recorder,
    /// Which reading of the configuration the recorder is from.
    revision: u64,
    backoff: Backoff,
}

/// The two ends.
pub(crate) fn channel(cluster: Cluster, node: &str) -> (Notes, NoteSender) {
    let (sender, notes) = mpsc::channel(WAITING);
    let reporter = Reporter { controller: "reloadlet".to_owned(), instance: Some(node.to_owned()) };
    let connection = cluster.current();
    let recorder = Recorder::new(connection.client, reporter.clone());
    let (revision, backoff) = (connection.revision, Backoff::new());
    (Notes(sender), NoteSender { notes, cluster, reporter, recorder, revision, backoff })
}

impl Notes {
    /// Says what a report means to the pod's owner, if anything.
    pub(crate) fn tell(&self, report: &Report) {
        if let Some(note) = note(report)
            && self.0.try_send(note).is_err()
        {
            tracing::debug!("an Event is dropped: too many wait for the API server");
        }
    }
}

impl NoteSender {
    /// Sends what there is, within the budget, for as long as the agent runs.
    pub(crate) async fn run(mut self) {
        let mut budget = Budget::new(clock::now());
        let mut refused = false;
        while let Some(note) = self.notes.recv().await {
            let urgent = matches!(note.type_, EventType::Warning);
            let Some(held_back) = budget.take(&note.pod.uid, note.reason, urgent, clock::now()) else {
                continue;
            };
            let text = match held_back {
                0 => note.text.clone(),
                more => format!("{} (and {more} more since the last one)", note.text),
            };
            let event = Event {
                type_: note.type_,
                reason: note.reason.to_owned(),
                note: Some(text),
                action: "Reload".to_owned(),
                secondary: None,
            };
            match self.publish(&event, &reference(&note.pod)).await {
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

    /// Sends an Event. While the API server doesn't answer, or has too much to do, it is tried again.
    async fn publish(&mut self, event: &Event, pod: &ObjectReference) -> Result<(), kube::Error> {
        for _ in 1..TRIES {
            match self.recorder.publish(event, pod).await {
                Err(error) if passes(&error) => self.wait(&error).await,
                answered => {
                    self.backoff.succeeded();
                    return answered;
                }
            }
        }
        self.recorder.publish(event, pod).await
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
            self.recorder = Recorder::new(connection.client, self.reporter.clone());
        }
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

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.to_string()),
        name: Some(pod.name.to_string()),
        uid: Some(pod.uid.to_string()),
        ..ObjectReference::default()
    }
}

/// What a report means to a pod's owner.
fn note(report: &Report) -> Option<Note> {
    match report {
        Report::Reload(reload) => reload_note(reload),
        Report::Problem(pod, problem) => Some(Note {
            pod: pod.clone(),
            type_: EventType::Warning,
            reason: "ReloadProblem",
            text: problem.sentence.clone(),
        }),
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
            Some(Note { pod: pod.clone(), type_: EventType::Warning, reason: "ReloadVerdict", text })
        }
        Report::Swapped(_)
        | Report::Published { .. }
        | Report::Nudged(..)
        | Report::Settled(_)
        | Report::SettleTimedOut(_)
        | Report::Rescan
        | Report::Reread { .. }
        | Report::Solved(_) => None,
    }
}

fn reload_note(reload: &ReloadReport) -> Option<Note> {
    let volumes: Vec<&str> = reload.generations.iter().map(|(volume, _)| &**volume).collect();
    let (volumes, container, signal) = (volumes.join(", "), &reload.container, reload.signal);
    let (type_, reason, text) = match reload.outcome {
        Outcome::Delivered => (
            EventType::Normal,
            "ConfigReloaded",
            format!("Sent {signal} to container {container}: {volumes} changed."),
        ),
        Outcome::NoProcess => (
            EventType::Warning,
            "ReloadNoProcess",
            format!(
                "{volumes} changed and container {container} wasn't told: {}.",
                reload.reason.unwrap_or("no process to tell was found")
            ),
        ),
        Outcome::Unhandled => (
            EventType::Warning,
            "ReloadUnhandled",
            format!(
                "{volumes} changed and container {container} wasn't told: its process doesn't handle {signal}. Choose \
                 a signal that it handles in reloadlet.io/signal."
            ),
        ),
        Outcome::Denied => (
            EventType::Warning,
            "ReloadDenied",
            format!(
                "The kernel refused {signal} for container {container}: its AppArmor or SELinux policy must allow \
                 signals from the agent."
            ),
        ),
        Outcome::Failed => (
            EventType::Warning,
            "ReloadFailed",
            format!("{signal} for container {container} failed: the agent's log says why."),
        ),
        Outcome::Held => (
            EventType::Warning,
            "ReloadHeld",
            format!(
                "{volumes} changed and container {container} wasn't told, since the last two signals ended it. Restart \
                 it to load the change; change an annotation of the pod to try signals again."
            ),
        ),
        Outcome::DryRun
        | Outcome::Unchanged
        | Outcome::Excluded
        | Outcome::StartedAfter
        | Outcome::Superseded
        | Outcome::Gone => return None,
    };
    Some(Note { pod: reload.pod.clone(), type_, reason, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(causes: &str) -> kube::Error {
        let text = format!(
            r#"{{"status": "Failure", "code": 403, "reason": "Forbidden", "details": {{"causes": {causes}}}}}"#
        );
        kube::Error::Api(Box::new(serde_json::from_str(&text).unwrap()))
    }

    #[test]
    fn that_a_namespace_is_being_deleted_is_no_trouble_with_rights() {
        let going = r#"[{"reason": "NamespaceTerminating", "message": "it is being terminated"}]"#;
        assert!(is_going(&refused(going)));
        assert!(!is_going(&refused("[]")));
    }
}
