//! What people are told when a generation is done with.

use std::borrow::Cow;
use std::sync::Arc;

use crate::machine::event::ReloadReport;
use crate::machine::reload::Target;
use crate::machine::reload::progress::Pending;
use crate::model::journal::JournalKey;
use crate::model::names::{Name, PodUid};
use crate::model::outcome::Outcome;
use crate::model::pod::Pod;
use crate::model::time::Time;

/// Whose record of the journal it is.
pub(super) fn key(pod: &PodUid, container: &Name, volume: &Name) -> JournalKey {
    JournalKey { pod: pod.clone(), container: container.clone(), volume: volume.clone() }
}

/// A reload of these generations has ended; `None` for none.
pub(super) fn ended(
    pod: &Arc<Pod>,
    target: &Target,
    due: Time,
    ended: &[(Name, Pending)],
    outcome: Outcome,
    reason: Option<Cow<'static, str>>,
    now: Time,
) -> Option<ReloadReport> {
    let (_, newest) = ended.iter().max_by_key(|(_, pending)| pending.settled)?;
    let from = if due > newest.settled { due } else { newest.swapped };
    Some(ReloadReport {
        pod: pod.clone(),
        container: target.container().clone(),
        means: target.means().clone(),
        outcome,
        generations: ended.iter().map(|(name, pending)| (name.clone(), pending.generation.clone())).collect(),
        pids: target.processes().told().map(|process| process.pid).collect(),
        swapped: newest.swapped,
        ended: now,
        settle: newest.settled.since(newest.swapped),
        since_settle: now.since(newest.settled),
        deliver: now.since(from),
        reason,
        stages: None,
    })
}

/// A generation was folded into a newer one's reload.
pub(super) fn superseded(
    pod: Arc<Pod>,
    target: &Target,
    volume: &Name,
    older: Pending,
    now: Time,
) -> ReloadReport {
    ReloadReport {
        container: target.container().clone(),
        means: target.means().clone(),
        outcome: Outcome::Superseded,
        pids: Vec::new(),
        swapped: older.swapped,
        ended: now,
        settle: older.settled.since(older.swapped),
        since_settle: now.since(older.settled),
        deliver: now.since(older.swapped),
        generations: vec![(volume.clone(), older.generation)],
        reason: None,
        stages: None,
        pod,
    }
}
