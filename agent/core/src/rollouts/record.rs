//! What is remembered of a workload beyond the controller's life.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::names::Name;
use crate::model::time::Time;
use crate::rollouts::content::Print;
use crate::rollouts::uses::Object;

/// So many rolls are remembered, by their times: as many as it takes to see that an object flaps.
const MOST_REMEMBERED: usize = 8;

/// What stands for what a workload's pods use of each object, by the object's name.
pub(crate) type Prints = BTreeMap<Object, Print>;

/// As a list: the keys of an object of JSON are strings.
mod listed {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Prints;

    pub(super) fn serialize<S: Serializer>(prints: &Prints, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(prints.iter().map(|((kind, name), print)| (kind, name, print)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Prints, D::Error> {
        let all = Vec::deserialize(deserializer)?;
        Ok(all.into_iter().map(|(kind, name, print)| ((kind, name), print)).collect())
    }
}

/// What is remembered of a workload. Its writer is the only one that may roll it: see [`super::ledger`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The workload's UID: what is remembered of another one of its name counts for nothing.
    pub(crate) uid: Name,
    /// What all of its pods hold, or will when they start.
    #[serde(with = "listed")]
    pub(crate) base: Prints,
    /// How far it is with the last roll.
    pub(crate) step: Step,
    /// When it was rolled, by the time since the epoch in seconds; the newest last.
    pub(crate) rolled: Vec<u64>,
}

/// How far a workload is with its last roll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// There was none.
    None,
    /// Its template is to get the mark.
    Planned(Roll),
    /// Its template has the mark, and its pods are replaced.
    Rolling(Roll),
    /// Its pods were available with the new content.
    Done(Roll),
    /// They weren't in time.
    Failed(Roll),
    /// Its template has lost the mark, by somebody's hand.
    Undone(Roll),
    /// Some of its pods can't be restarted in place.
    Stuck(Roll),
}

/// One roll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roll {
    /// The mark: nothing of a content is in it.
    pub(crate) marker: Name,
    /// What its pods hold after it.
    #[serde(with = "listed")]
    pub(crate) wanted: Prints,
    /// What stands for all of each object that it was made for.
    #[serde(with = "listed")]
    pub(crate) causes: Prints,
    /// When it began, by the time since the epoch in seconds.
    pub(crate) since: u64,
    /// The roll before it, after which not all pods became available, or of whose pods some couldn't be restarted in place.
    pub(crate) mends: Option<Box<Roll>>,
    /// Whether its pods are restarted in place. Its mark is in no template then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_in_place: bool,
    /// The UID of the pod whose turn it is then: no other one is granted a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) turn: Option<Name>,
    /// Whether it is under way, where it is one that another one mends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_under_way: bool,
}

impl Roll {
    /// One for this, without a mark.
    pub(crate) fn new(wanted: Prints, causes: Prints, is_in_place: bool) -> Self {
        Self {
            marker: "".into(),
            wanted,
            causes,
            since: 0,
            mends: None,
            is_in_place,
            turn: None,
            is_under_way: false,
        }
    }
}

impl Step {
    /// The roll.
    pub(crate) const fn roll(&self) -> Option<&Roll> {
        match self {
            Self::None => None,
            Self::Planned(roll)
            | Self::Rolling(roll)
            | Self::Done(roll)
            | Self::Failed(roll)
            | Self::Undone(roll)
            | Self::Stuck(roll) => Some(roll),
        }
    }
}

impl Record {
    /// That of a workload of which nothing is known: what there is now is what its pods are taken to hold.
    pub(crate) const fn begin(uid: Name, base: Prints) -> Self {
        Self { uid, base, step: Step::None, rolled: Vec::new() }
    }

    /// What its pods hold, or will once its roll is over. Those that are restarted in place aren't taken to before all of them were.
    pub(crate) const fn held(&self) -> &Prints {
        match &self.step {
            Step::Rolling(roll) if !roll.is_in_place => &roll.wanted,
            Step::None
            | Step::Planned(_)
            | Step::Rolling(_)
            | Step::Done(_)
            | Step::Failed(_)
            | Step::Undone(_)
            | Step::Stuck(_) => &self.base,
        }
    }

    /// The restart in place which some of its pods have gone through, and others may not have: whatever they hold, it isn't one content.
    pub(crate) fn partial(&self) -> Option<&Roll> {
        let roll = match &self.step {
            Step::Rolling(roll) | Step::Failed(roll) | Step::Stuck(roll) => roll,
            Step::Planned(roll) => roll.mends.as_deref()?,
            Step::None | Step::Done(_) | Step::Undone(_) => return None,
        };
        roll.is_in_place.then_some(roll)
    }

    /// The restart in place that is under way.
    pub(crate) fn restarting(&self) -> Option<&Roll> {
        self.partial().filter(|_| matches!(self.step, Step::Rolling(_)))
    }

    /// Whether some of its pods have this by a restart in place that is under way, or that a planned roll is made instead of.
    pub(crate) fn goes_on(&self, wanted: &Prints) -> bool {
        let is_stopped = matches!(self.step, Step::Failed(_) | Step::Stuck(_));
        self.partial().is_some_and(|roll| !is_stopped && roll.wanted == *wanted)
    }

    /// The restart in place that is to be made, or to be gone on with.
    pub(crate) fn resumable(&self) -> Option<&Roll> {
        match &self.step {
            Step::Planned(roll) | Step::Failed(roll) | Step::Stuck(roll) => {
                Some(roll).filter(|roll| roll.is_in_place)
            }
            Step::None | Step::Rolling(_) | Step::Done(_) | Step::Undone(_) => None,
        }
    }

    /// It is to be rolled.
    pub(crate) fn plan(&self, roll: Roll) -> Self {
        let mends = match &self.step {
            Step::Rolling(before) | Step::Failed(before) | Step::Stuck(before) => {
                let is_under_way = matches!(self.step, Step::Rolling(_));
                Some(Box::new(Roll { mends: None, is_under_way, ..before.clone() }))
            }
            Step::Planned(before) => before.mends.clone(),
            Step::None | Step::Done(_) | Step::Undone(_) => None,
        };
        let mut base = self.held().clone();
        // Of two contents that pods hold the one counts that is to be replaced.
        let other = self.partial().into_iter().flat_map(|before| &before.wanted);
        for (object, print) in other {
            let is_wanted = base.get(object).is_some_and(|held| roll.wanted.get(object) == Some(held));
            if is_wanted {
                base.insert(object.clone(), *print);
            }
        }
        Self { base, step: Step::Planned(Roll { mends, ..roll }), ..self.clone() }
    }

    /// It isn't to be rolled any more, for now. `is_unmade` says whether it is known that its template didn't get the mark: only then the roll
    /// that was under way before may be so yet.
    pub(crate) fn withdrawn(&self, is_unmade: bool) -> Self {
        let Step::Planned(roll) = &self.step else { return self.clone() };
        let step = match roll.mends.as_deref() {
            None => Step::None,
            Some(before) if before.is_in_place => Step::Stuck(before.clone()),
            Some(before) if before.is_under_way && is_unmade => {
                Step::Rolling(Roll { is_under_way: false, ..before.clone() })
            }
            Some(before) => Step::Failed(before.clone()),
        };
        Self { step, ..self.clone() }
    }

    /// The roll that is to be made.
    pub(crate) const fn planned(&self) -> Option<&Roll> {
        match &self.step {
            Step::Planned(roll) => Some(roll),
            Step::None
            | Step::Rolling(_)
            | Step::Done(_)
            | Step::Failed(_)
            | Step::Undone(_)
            | Step::Stuck(_) => None,
        }
    }

    /// The rolls after which not all pods became available (yet).
    pub(crate) fn broken_by(&self) -> impl Iterator<Item = &Roll> {
        let last = match &self.step {
            Step::Rolling(roll) | Step::Failed(roll) | Step::Stuck(roll) => Some(roll),
            Step::Planned(roll) => roll.mends.as_deref(),
            Step::None | Step::Done(_) | Step::Undone(_) => None,
        };
        // One in place leaves the template as the one before it has made it.
        std::iter::successors(last, |roll| roll.mends.as_deref().filter(|_| roll.is_in_place))
    }

    /// Its template has the mark, or its pods are restarted in place, (again) from now on.
    pub(crate) fn begun(&self, now: Time) -> Self {
        let mut next = self.clone();
        if let Step::Planned(roll) | Step::Failed(roll) | Step::Stuck(roll) = &self.step {
            let since = seconds(now);
            next.step = Step::Rolling(Roll { since, ..roll.clone() });
            // One that goes on isn't another one.
            if self.planned().is_some() {
                next.rolled.push(since);
            }
            let surplus = next.rolled.len().saturating_sub(MOST_REMEMBERED);
            next.rolled.drain(..surplus);
        }
        next
    }

    /// It is this pod's turn to be restarted in place; `has_gone_on` says whether one has been restarted since the turn before.
    pub(crate) fn turned(&self, pod: Name, has_gone_on: bool, now: Time) -> Self {
        let mut next = self.clone();
        if let Step::Rolling(roll) = &mut next.step {
            roll.turn = Some(pod);
            if has_gone_on {
                roll.since = seconds(now);
            }
        }
        next
    }

    /// Until when a restart in place that is under way keeps others waiting without another pod that is restarted, if that is so long.
    pub(crate) fn late(&self, longest: Duration) -> Option<Time> {
        self.restarting().map(|roll| moment(roll.since) + longest)
    }

    /// Its pods can't all be restarted in place.
    pub(crate) fn stuck(&self) -> Self {
        let step = self.partial().cloned().map_or_else(|| self.step.clone(), Step::Stuck);
        Self { step, ..self.clone() }
    }

    /// All of its pods were restarted in place, or are newer, and hold this.
    pub(crate) fn restarted(&self, wanted: &Prints, causes: Prints) -> Self {
        let Some(roll) = self.partial().cloned() else { return self.clone() };
        let mut roll = Roll { wanted: wanted.clone(), turn: None, ..roll };
        roll.causes.extend(causes);
        Self { base: wanted.clone(), step: Step::Done(roll), ..self.clone() }
    }

    /// About how long it is where it is written, in bytes, or will be once its roll is over, whatever comes of that: who had room to begin
    /// has some to end.
    pub(crate) fn length(&self) -> usize {
        const EACH: usize = 64;
        const REST: usize = 256;
        let of = |prints: &Prints| prints.keys().map(|(_, name)| name.len() + EACH).sum::<usize>();
        let rolls = std::iter::successors(self.step.roll(), |roll| roll.mends.as_deref());
        let rolls: usize = rolls.map(|roll| of(&roll.wanted) + of(&roll.causes) + REST).sum();
        let base = of(&self.base).max(self.step.roll().map_or(0, |roll| of(&roll.wanted)));
        base + rolls + REST
    }

    /// Its roll has ended so.
    pub(crate) fn ended(&self, end: impl FnOnce(Roll) -> Step) -> Self {
        let Some(roll) = self.step.roll().cloned() else { return self.clone() };
        let base = if self.planned().is_some() { roll.wanted.clone() } else { self.held().clone() };
        Self { base, step: end(roll), ..self.clone() }
    }

    /// Its template has lost the mark, and with it what these objects hold.
    pub(crate) fn undone(&self, with: Prints) -> Self {
        let mut next = self.ended(Step::Undone);
        next.base.extend(with);
        next
    }

    /// Its pods hold this, without a roll; or those of the last roll do, which isn't over or has failed, with `causes` for all of what
    /// differs.
    pub(crate) fn holds(&self, base: Prints, causes: Option<Prints>) -> Self {
        let with = |roll: &Roll| {
            let mut roll = Roll { wanted: base.clone(), ..roll.clone() };
            roll.causes.extend(causes.clone().unwrap_or_default());
            roll
        };
        match &self.step {
            Step::Rolling(roll) | Step::Failed(roll) | Step::Stuck(roll) if roll.is_in_place => {
                Self { base, step: Step::None, ..self.clone() }
            }
            Step::Rolling(roll) => Self { step: Step::Rolling(with(roll)), ..self.clone() },
            Step::Failed(roll) if causes.is_some() => {
                Self { step: Step::Failed(with(roll)), base, ..self.clone() }
            }
            Step::Planned(_) => match self.withdrawn(true) {
                rolling if matches!(rolling.step, Step::Rolling(_)) => rolling.holds(base, causes),
                other => Self { base, ..other },
            },
            Step::None | Step::Done(_) | Step::Failed(_) | Step::Undone(_) | Step::Stuck(_) => {
                Self { base, ..self.clone() }
            }
        }
    }

    /// When its roll is too late, if that may take so long.
    pub(crate) fn limit(&self, longest: Duration) -> Option<Time> {
        match &self.step {
            // In place each pod has a time of its own.
            Step::Rolling(roll) if !roll.is_in_place => Some(moment(roll.since) + longest),
            Step::None
            | Step::Rolling(_)
            | Step::Planned(_)
            | Step::Done(_)
            | Step::Failed(_)
            | Step::Undone(_)
            | Step::Stuck(_) => None,
        }
    }

    /// How long to wait from the last roll to the next one, at least this long: twice as long for each further roll within `within` before it.
    pub(crate) fn pause(&self, shortest: Duration, within: Duration, now: Time) -> Duration {
        let recent = self.rolls_within(within, now);
        let doublings = u32::try_from(recent.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        shortest.saturating_mul(1 << doublings)
    }

    /// When it was rolled last.
    pub(crate) fn last(&self) -> Option<Time> {
        self.rolled.last().copied().map(moment)
    }

    /// How often it was rolled within this long.
    pub(crate) fn rolls_within(&self, within: Duration, now: Time) -> usize {
        let oldest = seconds(now).saturating_sub(within.as_secs());
        self.rolled.iter().filter(|at| **at >= oldest).count()
    }
}

/// The moment so many seconds after the epoch.
pub(crate) const fn moment(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

/// A moment in whole seconds.
pub(crate) const fn seconds(at: Time) -> u64 {
    at.elapsed_since_boot().as_secs()
}

#[cfg(test)]
mod tests;
