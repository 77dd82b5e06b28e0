//! The controller's document at `/status`, out of what the core shows.

use reloadlet_core::Time;
use reloadlet_core::machine::status::{Age, ObjectStatus};
use reloadlet_core::rollouts::event::Wait;
use reloadlet_core::rollouts::overview::{Overview, Standing};
use reloadlet_core::rollouts::workload::WorkloadRef;

use super::words;
use crate::status::controller::{Document, HoldStatus, Replica, RollStatus, State, WorkloadStatus};

/// How many workloads a document has.
const MOST: usize = 10_000;

/// When something is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// By the boot-time clock, as what the API server has said is dated.
    pub(crate) boot: Time,
    /// By the time since the epoch, as rolls are dated.
    pub(crate) epoch: Time,
}

/// The document as JSON. `waits_since` says since when a workload's roll waits for something, as far as that is known.
pub(crate) fn document<'a>(
    replica: Replica<'_>,
    holds: &[HoldStatus],
    overview: impl Iterator<Item = Overview<'a>>,
    waits_since: impl Fn(&WorkloadRef, Wait) -> Option<Time>,
    now: Now,
) -> Result<String, serde_json::Error> {
    let mut all: Vec<(State, Overview<'_>)> = overview.map(|of| (state(&of), of)).collect();
    all.sort_by(|(state, of), (other_state, other)| {
        (state, of.wait, &of.workload.namespace, of.workload).cmp(&(
            other_state,
            other.wait,
            &other.workload.namespace,
            other.workload,
        ))
    });
    let more = all.len().saturating_sub(MOST);
    let shown = all.iter().take(MOST).map(|(state, of)| row(*state, of, &waits_since, now.epoch));
    serde_json::to_string(&Document::new(replica, holds, (shown.collect(), more), now.boot))
}

/// How a workload is.
fn state(of: &Overview<'_>) -> State {
    match (of.roll.map(|roll| roll.standing), of.wait) {
        (Some(Standing::Rolling), _) => State::Rolling,
        (Some(Standing::Restarting), _) => State::Restarting,
        (Some(Standing::Planned), _) => State::Planned,
        (Some(Standing::Failed), _) => State::Failed,
        (None, Some(_)) => State::Waiting,
        (None, None) if of.stale.is_none() => State::Problem,
        (None, None) => State::Stale,
    }
}

fn row(
    state: State,
    of: &Overview<'_>,
    waits_since: impl Fn(&WorkloadRef, Wait) -> Option<Time>,
    now: Time,
) -> WorkloadStatus {
    let WorkloadRef { kind, namespace, name } = of.workload;
    let since = of.wait.and_then(|wait| waits_since(of.workload, wait));
    let objects = of.objects.iter().take(words::LISTED);
    WorkloadStatus {
        kind: (*kind).into(),
        namespace: namespace.clone(),
        name: name.clone(),
        state: state.into(),
        roll: of.roll.map(|roll| RollStatus {
            standing: roll.standing.into(),
            marker: roll.marker.clone(),
            seconds: Age(now.since(roll.since)),
        }),
        wait: of.wait.map(Into::into),
        wait_seconds: since.map(|since| Age(now.since(since))),
        sentence: sentence(of),
        objects: objects
            .map(|(kind, name)| ObjectStatus { kind: (*kind).into(), name: name.clone() })
            .collect(),
        more_objects: of.objects.len().saturating_sub(words::LISTED),
    }
}

/// What ends what, and what is wrong.
fn sentence(of: &Overview<'_>) -> String {
    let roll = of.roll.map(|roll| words::standing(roll.standing).to_owned());
    let wait = of.wait.map(|wait| {
        let sentence = words::blocked(wait, of.trouble.unwrap_or_default());
        // What is remembered is of the one that is under way, too.
        if of.roll.is_none() || wait == Wait::State { sentence } else { format!("The next one: {sentence}") }
    });
    let stale = of.stale.map(words::stale);
    let problems = of.problems.iter().map(|problem| problem.sentence.clone());
    let problems = problems.collect::<Vec<_>>().join("; ");
    let problems = (!problems.is_empty()).then(|| format!("Problem: {problems}"));
    let all: Vec<String> = [roll, wait, stale, problems].into_iter().flatten().collect();
    all.join(" ")
}

#[cfg(test)]
mod tests;
