//! What reports mean to a pod's owner, in words.

use std::time::Duration;

use reloadlet_core::machine::event::{ReloadReport, Report, RestartReport};
use reloadlet_core::model::frozen::Way;
use reloadlet_core::model::means::Means;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectRef;
use reloadlet_core::model::outcome::{Outcome, Unread, Verdict};
use reloadlet_core::model::pod::Pod;
use reloadlet_core::model::restart::{Finding, Said};
use ring::digest::{SHA256, digest};

use super::super::unsaid::{Note, Once, Text, Unsaid};
use crate::reports;

/// The reason of an Event that says that a signal was sent.
const SENT: &str = "SignalSent";
/// The reason of one that says that a request was answered with 2xx.
const TAKEN: &str = "RequestTaken";
/// The reason of an Event that says what is wrong with what a pod asks for.
const PROBLEM: &str = "ReloadProblem";
/// The reason of one that says that a container has left unread what it was told of.
const UNREAD: &str = "ReloadUnread";
/// The reason of one that says that only a restart brings a change.
const NEEDS_RESTART: &str = "ConfigNeedsRestart";
/// The reason of one that says that only a restart would bring a change, if there was one.
const MAY_NEED_RESTART: &str = "ConfigMayNeedRestart";
/// The longest list of what was changed in an Event, in bytes.
const LISTED: usize = 512;
/// Those that say that a container wasn't told of a change.
const NOT_TOLD: [&str; 5] =
    ["ReloadNoProcess", "ReloadUnhandled", "ReloadDenied", "ReloadFailed", "ReloadHeld"];

/// What isn't true any more after a report isn't said.
pub(super) fn unsay(report: &Report, unsaid: &mut Unsaid) {
    match report {
        Report::Solved(pod) => unsaid.unsay(&(&**pod).into(), &[PROBLEM], |_| true),
        Report::Mended(pod, problem) => {
            unsaid.unsay(&(&**pod).into(), &[PROBLEM], |text| text.text == problem.sentence);
        }
        Report::Forgotten(pod) => unsaid.forget(&(&**pod).into()),
        Report::Reload(reload) if reload.outcome == Outcome::Delivered => {
            unsaid.unsay(&(&*reload.pod).into(), &NOT_TOLD, |text| {
                text.container.as_ref() == Some(&reload.container)
            });
        }
        Report::Reread { pod, container, .. } => {
            unsaid.unsay(&(&**pod).into(), &[UNREAD], |text| text.container.as_ref() == Some(container));
        }
        // Whoever has just started has what there is.
        Report::Restart(restart) if restart.finding == Finding::Current => {
            unsaid.unsay(&(&*restart.pod).into(), &[NEEDS_RESTART, MAY_NEED_RESTART], |text| {
                let mut names = restart.grant.containers.iter().map(|(name, _)| name);
                names.any(|name| text.container.as_ref() == Some(name))
            });
        }
        // Either it is known that it needs one, or it isn't.
        Report::NeedsRestart { pod, container, object, way, is_certain, .. } => {
            let reason = if *is_certain { MAY_NEED_RESTART } else { NEEDS_RESTART };
            unsay_restart(pod, &[reason], &need(container, object, *way), unsaid);
        }
        Report::RestartNotNeeded { pod, container, object, way } => {
            let reasons = [NEEDS_RESTART, MAY_NEED_RESTART];
            unsay_restart(pod, &reasons, &need(container, object, *way), unsaid);
        }
        Report::Reload(_)
        | Report::Retold(_)
        | Report::Restart(_)
        | Report::GrantIgnored(..)
        | Report::Unread { .. }
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

/// What waits to be said of a need of a restart, for these reasons, isn't so any more.
fn unsay_restart(pod: &Pod, reasons: &[&str], need: &str, unsaid: &mut Unsaid) {
    unsaid.unsay(&pod.into(), reasons, |text| text.once.as_ref().is_some_and(|once| once.about == need));
}

/// What a need of a restart is about, whatever the version is.
fn need(container: &Name, object: &ObjectRef, way: Way) -> String {
    format!("{container}\n{}\n{object}", way.as_str())
}

/// What a report means to a pod's owner.
pub(super) fn note(report: &Report) -> Option<Note> {
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
                    "Container {container} ended after it was told and doesn't run: check its log for what it made of \
                     the new configuration."
                ),
                Verdict::Restarted => format!(
                    "Container {container} ended after it was told and was restarted: check that the program reloads \
                     when it is told so, instead of ending."
                ),
            };
            Some(warning(pod, "ReloadVerdict", Some(container), text))
        }
        Report::Unread { pod, container, means, unread, deliveries, again, window } => {
            let window = seconds(*window);
            let twice = if *again { " twice" } else { "" };
            let text = match unread {
                Unread::NotRead => format!(
                    "Told, not read: container {container} was told by {means}{twice} and opened none of the new files within \
                     {window}, though it has after earlier deliveries. It may hold the old ones still: look at its log. If it \
                     drops what comes while it reloads, set reloadlet.io/min-interval; if it takes longer, set \
                     reloadlet.io/verify."
                ),
                Unread::NeverRead => format!(
                    "Told {deliveries} times, never read: container {container} was told by {means} and never seen to open a \
                     new file within {window}. Check that the program reloads on that, and that it reads the mounted \
                     files and no copy of them."
                ),
            };
            Some(warning(pod, UNREAD, Some(container), text))
        }
        Report::NeedsRestart { pod, container, object, version, way, is_certain: false } => {
            let how = match way {
                Way::Environment => "has something of it in its environment",
                Way::SubPath => "mounts something of it by subPath",
                Way::Files => "mounts it and isn't told of changes",
                Way::Init => "took something of it",
            };
            let text = format!(
                "{object} was written since container {container} took what it holds of it: version {version} is there now, and container \
                 {container} {how}. Whether that has changed isn't known: if it has, a {} loads it.",
                if *way == Way::Init { "new pod" } else { "restart" }
            );
            Some(restart_needed(pod, MAY_NEED_RESTART, (container, object, version, *way), text))
        }
        Report::NeedsRestart { pod, container, object, version, way, is_certain: true } => {
            let running = |how: &str| {
                format!(
                    "{object} has changed to version {version}, and container {container} {how}, which never changes in a running \
                     container: restart it to load the change."
                )
            };
            let text = match way {
                Way::Environment => running("has it in its environment"),
                Way::SubPath => running("mounts it by subPath"),
                Way::Files => format!(
                    "{object} has changed to version {version} since container {container} started, which mounts it and isn't told of \
                     changes: if it doesn't look for them itself, restart it to load the change."
                ),
                Way::Init => format!(
                    "{object} has changed to version {version} since init container {container} ran, which isn't run again for a change: \
                     make the pod anew to load it."
                ),
            };
            Some(restart_needed(pod, NEEDS_RESTART, (container, object, version, *way), text))
        }
        Report::Restart(restart) => Some(restart_note(restart)),
        Report::Retold(reload) => (reload.outcome == Outcome::Delivered).then(|| {
            let text = format!(
                "{} a second time for {}, since it opened none of the new files.",
                told(reload),
                changed(reload)
            );
            let text = Text { container: Some(reload.container.clone()), text, once: None };
            Note { about: (&*reload.pod).into(), urgent: false, reason: reason(&reload.means), text }
        }),
        Report::Swapped(_)
        | Report::Published { .. }
        | Report::Nudged(..)
        | Report::Settled(_)
        | Report::SettleTimedOut(_)
        | Report::Rescan
        | Report::Reread { .. }
        | Report::GrantIgnored(..)
        | Report::RestartNotNeeded { .. }
        | Report::Mended(..)
        | Report::Forgotten(_)
        | Report::Solved(_) => None,
    }
}

fn warning(pod: &Pod, reason: &'static str, container: Option<&Name>, text: String) -> Note {
    let text = Text { container: container.cloned(), text, once: None };
    Note { about: pod.into(), urgent: true, reason, text }
}

/// That a container needs a restart for a version, or may need one: by its name it is told from all else that is said, whichever agent says it.
fn restart_needed(
    pod: &Pod,
    reason: &'static str,
    (container, object, version, way): (&Name, &ObjectRef, &Name, Way),
    text: String,
) -> Note {
    let mut note = warning(pod, reason, Some(container), text);
    let about = need(container, object, way);
    let name = named(&[reason, pod.uid.as_str(), container, way.as_str(), &object.to_string(), version]);
    note.text.once = Some(Once { name, about, said: None });
    note
}

/// A name of what these make up. None of them contains a line break, but for what a pods file holds: there is no API server then.
fn named(parts: &[&str]) -> String {
    let hash = digest(&SHA256, parts.join("\n").as_bytes());
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What came of a grant. The controller waits for it, so it isn't dropped where there is no room for it yet.
fn restart_note(restart: &RestartReport) -> Note {
    let RestartReport { pod, grant, finding, reason, .. } = restart;
    let reason_of = match finding {
        Finding::Current | Finding::Unproved => "Restarted",
        Finding::Old | Finding::StillRuns => "RestartFailed",
        Finding::Unhandled
        | Finding::PreStop
        | Finding::NoRestart
        | Finding::NotFound
        | Finding::Denied
        | Finding::DryRun => "RestartRefused",
    };
    let text = cut(reports::restart_sentence(restart, reason.as_deref()), LISTED);
    let said = Said { marker: grant.marker.clone(), until: grant.until, finding: *finding };
    let name = named(&[reason_of, pod.uid.as_str(), &grant.to_string(), finding.as_str()]);
    let once = Once { name, about: grant.to_string(), said: Some(said) };
    let text = Text { container: None, text, once: Some(once) };
    Note { about: (&**pod).into(), urgent: true, reason: reason_of, text }
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

/// The reason of an Event about a delivery.
const fn reason(means: &Means) -> &'static str {
    match means {
        Means::Signal(_) => SENT,
        Means::Http(_) => TAKEN,
    }
}

/// That a container was told, and no more than that.
fn told(reload: &ReloadReport) -> String {
    let container = &reload.container;
    match &reload.means {
        Means::Signal(signal) => format!("Sent {signal} to container {container}"),
        Means::Http(request) => format!("Container {container} took {request}, which it answered with 2xx,"),
    }
}

fn reload_note(reload: &ReloadReport) -> Option<Note> {
    // What comes after them says what is to be done.
    let volumes = cut(volumes(reload), LISTED / 2);
    let (container, signal) = (&reload.container, &reload.means);
    let (urgent, reason, text) = match reload.outcome {
        Outcome::Delivered => {
            let since = reload.stages.as_ref().map_or_else(String::new, |stages| {
                format!(", {} after the API server showed it", seconds(stages.propagation))
            });
            (false, reason(&reload.means), format!("{} for {}{since}.", told(reload), changed(reload)))
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
                "{volumes} changed and container {container} didn't take {signal}: {}. Choose a signal that its program \
                 handles in reloadlet.io/signal.",
                reload.reason.as_deref().unwrap_or("its process doesn't handle it")
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
                "{volumes} changed and container {container} wasn't told: {}.",
                match (&reload.means, reload.reason.as_deref()) {
                    (Means::Http(_), Some(reason)) => reason.to_owned(),
                    (Means::Http(_), None) => format!("{signal} failed"),
                    (Means::Signal(_), reason) => format!(
                        "{signal} failed with the kernel's error {}",
                        reason.unwrap_or("that isn't known")
                    ),
                }
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
    let text = Text { container: Some(container.clone()), text, once: None };
    Some(Note { about: (&*reload.pod).into(), urgent, reason, text })
}
