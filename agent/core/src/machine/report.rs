//! What is told to people and to the journal when a generation is done with.

use std::sync::Arc;

use crate::machine::context::Context;
use crate::machine::event::{Action, ReloadReport, Report};
use crate::machine::reload::{Pending, Resolution, Target};
use crate::model::journal::{Handled, JournalKey, JournalUpdate};
use crate::model::names::{Name, PodUid};
use crate::model::outcome::Outcome;
use crate::model::pod::Pod;
use crate::model::time::Time;

pub(crate) fn key(pod: &PodUid, container: &Name, volume: &Name) -> JournalKey {
    JournalKey { pod: pod.clone(), container: container.clone(), volume: volume.clone() }
}

/// These generations are done with: the journal is told; what people are told comes back.
pub(crate) fn ended(
    pod: &Arc<Pod>,
    target: &Target,
    due: Time,
    ended: &[(Name, Pending)],
    outcome: Outcome,
    reason: Option<&'static str>,
    ctx: &mut Context<'_>,
) -> Option<Box<ReloadReport>> {
    for (volume, pending) in ended {
        let handled = Handled { generation: pending.generation.clone(), outcome: Some(outcome) };
        let key = key(&pod.uid, &target.plan.container, volume);
        ctx.act(Action::Record(JournalUpdate::Handled(key, handled)));
    }
    let (_, newest) = ended.iter().max_by_key(|(_, pending)| pending.settled)?;
    let from = if due > newest.settled { due } else { newest.swapped };
    let pids = match &target.resolution {
        Resolution::Found(resolved) => resolved.told.iter().map(|process| process.identity.pid).collect(),
        Resolution::Unknown | Resolution::Missing(_) => Vec::new(),
    };
    Some(Box::new(ReloadReport {
        pod: pod.clone(),
        container: target.plan.container.clone(),
        signal: target.plan.signal,
        outcome,
        generations: ended.iter().map(|(name, pending)| (name.clone(), pending.generation.clone())).collect(),
        pids,
        swapped: newest.swapped,
        ended: ctx.now,
        settle: newest.settled.since(newest.swapped),
        since_settle: ctx.now.since(newest.settled),
        deliver: ctx.now.since(from),
        reason,
        stages: None,
    }))
}

/// A generation was folded into a newer one's reload. The journal isn't told: the newer one is still to come.
pub(crate) fn superseded(
    pod: Arc<Pod>,
    target: &Target,
    volume: &Name,
    older: Pending,
    ctx: &mut Context<'_>,
) {
    ctx.act(Action::Report(Report::Reload(Box::new(ReloadReport {
        container: target.plan.container.clone(),
        signal: target.plan.signal,
        outcome: Outcome::Superseded,
        pids: Vec::new(),
        swapped: older.swapped,
        ended: ctx.now,
        settle: older.settled.since(older.swapped),
        since_settle: ctx.now.since(older.settled),
        deliver: ctx.now.since(older.swapped),
        generations: vec![(volume.clone(), older.generation)],
        reason: None,
        stages: None,
        pod,
    }))));
}
