//! What reports mean to a workload's owner, as Events on the workload.

use reloadlet_core::model::names::Name;
use reloadlet_core::rollouts::event::{Obstacle, Report, Wait};
use reloadlet_core::rollouts::workload::WorkloadRef;

use super::words;
use crate::api::events::Notes;
use crate::api::unsaid::{About, Note, Text, Unsaid};

const STARTED: &str = "RollStarted";
const FINISHED: &str = "RollFinished";
const FAILED: &str = "RollFailed";
const UNDONE: &str = "RollUndone";
const HELD: &str = "RollHeld";
const PROBLEM: &str = "RollProblem";
const STALE: &str = "ConfigStale";
const REFUSED: &str = "RollRefused";
const NOT_IN_PLACE: &str = "NotRestartedInPlace";

/// A workload, as far as an Event on it needs it.
pub(super) fn about(who: &WorkloadRef, uid: &Name) -> About {
    About {
        kind: who.kind.written(),
        api_version: "apps/v1",
        uid: uid.clone(),
        namespace: who.namespace.clone(),
        name: who.name.clone(),
    }
}

/// Says what a report means to the workload's owner, if anything, and no more what it makes untrue.
pub(super) fn say(notes: &Notes, about: &About, report: &Report) {
    notes.say(|unsaid| unsay(about, report, unsaid), of(about, report));
}

/// The report as one text: for the log, and mostly for the Event.
pub(super) fn text(report: &Report) -> String {
    match report {
        Report::Problems(problems) if problems.is_empty() => {
            "What it asks for has no problem any more.".to_owned()
        }
        Report::Problems(problems) => {
            let sentences: Vec<&str> = problems.iter().map(|problem| &*problem.sentence).collect();
            sentences.join("; ")
        }
        Report::Started(objects) => {
            let have = if objects.len() == 1 { "has" } else { "have" };
            format!("A roll has begun: {} {have} changed.", words::objects(objects))
        }
        Report::Restarting(objects) => {
            let have = if objects.len() == 1 { "has" } else { "have" };
            format!(
                "Its pods are restarted in place, one after another: {} {have} changed.",
                words::objects(objects)
            )
        }
        Report::NotInPlace(obstacle, instead) => words::not_in_place(*obstacle, *instead),
        Report::Finished => "The roll is over: all pods are available with the new content, and have been for ten seconds.".to_owned(),
        Report::Emptied => "The roll is over: the workload has no pods any more, and new ones start with the new content.".to_owned(),
        Report::Failed => {
            "Not all pods became available in time with the new content: workloads of the namespace that wait for it are left as they are \
             until they do, or until the content changes again."
                .to_owned()
        }
        Report::Undone => {
            "Somebody has taken the mark of the roll out of the template: that isn't fought, and the pods are left as they are until the \
             content changes again."
                .to_owned()
        }
        Report::Waits(wait) => words::wait(*wait).to_owned(),
        Report::Stale(telling) => words::stale(*telling),
        Report::Blocked(wait, why) => words::blocked(*wait, why),
        Report::Refused(reason) => format!(
            "The API server refuses the change by which it would be rolled, which is tried again after five minutes at the latest: {}",
            words::said(reason)
        ),
    }
}

/// What a person must act on.
pub(super) const fn is_urgent(report: &Report) -> bool {
    match report {
        Report::Problems(problems) => !problems.is_empty(),
        Report::Failed | Report::Stale(_) | Report::Refused(_) | Report::Blocked(..) => true,
        Report::NotInPlace(obstacle, instead) => !*instead && !matches!(obstacle, Obstacle::Recent),
        Report::Started(_) | Report::Restarting(_) | Report::Finished | Report::Emptied | Report::Undone => {
            false
        }
        Report::Waits(wait) => match wait {
            Wait::Flapping | Wait::Failed | Wait::InPlace => true,
            // A person has asked for it, or it mostly ends by itself: there is an alert for when it lasts.
            Wait::Held | Wait::Window | Wait::Unavailable | Wait::Disruption => false,
            Wait::Problem
            | Wait::State
            | Wait::Pods
            | Wait::Objects
            | Wait::Refused
            | Wait::Recent
            | Wait::Fence
            | Wait::Debounce
            | Wait::Interval
            | Wait::Wave
            | Wait::First
            | Wait::Budget
            | Wait::Rolling => false,
        },
    }
}

/// The reason of the Event about a report; `None` for what isn't worth one.
const fn reason(report: &Report) -> Option<&'static str> {
    match report {
        Report::Problems(_) => Some(PROBLEM),
        Report::Started(_) | Report::Restarting(_) => Some(STARTED),
        Report::NotInPlace(..) => Some(NOT_IN_PLACE),
        Report::Finished | Report::Emptied => Some(FINISHED),
        Report::Failed => Some(FAILED),
        Report::Undone => Some(UNDONE),
        Report::Stale(_) => Some(STALE),
        Report::Refused(_) => Some(REFUSED),
        // It is a matter of the API server and of rights, and of no one workload: it is in the log, the metrics and the status.
        Report::Blocked(..) => None,
        Report::Waits(wait) => match wait {
            // Somebody can do something about them, or wants to know why nothing happens for hours.
            Wait::Held
            | Wait::Window
            | Wait::Flapping
            | Wait::Failed
            | Wait::Unavailable
            | Wait::Disruption => Some(HELD),
            // They end by themselves, within minutes, and each roll has some of them: they are in the metrics and the status.
            Wait::Debounce
            | Wait::Interval
            | Wait::Wave
            | Wait::First
            | Wait::Budget
            | Wait::Rolling
            // It is the controller's own matter, and no workload's.
            | Wait::Fence
            | Wait::State
            | Wait::Pods
            | Wait::Objects => None,
            // They have reports of their own, with what is wrong.
            Wait::Problem | Wait::Refused | Wait::InPlace | Wait::Recent => None,
        },
    }
}

fn of(about: &About, report: &Report) -> Vec<Note> {
    let Some(reason) = reason(report) else { return Vec::new() };
    let texts = match report {
        // Each by itself, so that what doesn't fit into one Event comes with the next.
        Report::Problems(problems) => problems.iter().map(|problem| problem.sentence.clone()).collect(),
        Report::Started(_)
        | Report::Restarting(_)
        | Report::NotInPlace(..)
        | Report::Finished
        | Report::Emptied
        | Report::Failed
        | Report::Undone
        | Report::Waits(_)
        | Report::Blocked(..)
        | Report::Stale(_)
        | Report::Refused(_) => vec![text(report)],
    };
    let note = |text| Note {
        about: about.clone(),
        urgent: is_urgent(report),
        reason,
        text: Text { container: None, text, once: None },
    };
    texts.into_iter().map(note).collect()
}

/// What isn't true any more after a report isn't said.
fn unsay(about: &About, report: &Report, unsaid: &mut Unsaid) {
    let untrue: &[&str] = match report {
        // What stands still is among the new ones.
        Report::Problems(_) => &[PROBLEM],
        // A problem keeps rolls from beginning.
        Report::Started(_) | Report::Restarting(_) => {
            &[FINISHED, FAILED, UNDONE, HELD, PROBLEM, STALE, REFUSED, NOT_IN_PLACE]
        }
        Report::NotInPlace(..) => &[HELD, STALE, REFUSED, NOT_IN_PLACE],
        Report::Finished | Report::Emptied | Report::Failed | Report::Undone => {
            &[FINISHED, FAILED, UNDONE, HELD, STALE, REFUSED, NOT_IN_PLACE]
        }
        Report::Waits(Wait::Refused) | Report::Refused(_) => &[HELD, STALE, REFUSED],
        Report::Waits(_) | Report::Blocked(..) | Report::Stale(_) => &[HELD, STALE, REFUSED],
    };
    unsaid.unsay(about, untrue, |_| true);
}

#[cfg(test)]
mod tests;
