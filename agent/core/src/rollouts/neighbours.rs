//! The other workloads that are rolled, or were for the same content.

use std::collections::BTreeMap;

use crate::model::names::Name;
use crate::model::time::Time;
use crate::rollouts::case::Proof;
use crate::rollouts::content::Print;
use crate::rollouts::event::Wait;
use crate::rollouts::ledger::Ledger;
use crate::rollouts::record::{Prints, Roll, Step};
use crate::rollouts::uses::Object;
use crate::rollouts::workload::WorkloadRef;

/// An object of a namespace.
type Place = (Name, Object);

/// The workloads with a roll, by what others wait for: it is made once for all that wait, of which there may be thousands.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    /// Whose roll is planned or under way.
    under_way: Vec<WorkloadRef>,
    /// They, and those whose roll has failed, by what they are rolled for.
    unfinished: BTreeMap<Place, Vec<WorkloadRef>>,
    /// Whose pods were available, by what they were rolled for.
    done: BTreeMap<(Place, Print), Vec<WorkloadRef>>,
    /// The first wave of those that wait, by what differs for them.
    waves: BTreeMap<Place, i32>,
}

/// What is known of rolls: what is recorded, and what is to be.
#[derive(Clone, Copy)]
pub(crate) struct Rolls<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) plans: &'a BTreeMap<WorkloadRef, Roll>,
}

/// How another one is.
#[derive(Clone, Copy)]
enum Standing<'a> {
    UnderWay(&'a Roll),
    Done(&'a Roll),
    Failed(&'a Roll),
}

impl<'a> Rolls<'a> {
    fn standing(self, who: &WorkloadRef) -> Option<Standing<'a>> {
        if let Some(roll) = self.plans.get(who) {
            return Some(Standing::UnderWay(roll));
        }
        match &self.ledger.known(who)?.step {
            Step::Planned(roll) | Step::Rolling(roll) => Some(Standing::UnderWay(roll)),
            Step::Done(roll) => Some(Standing::Done(roll)),
            Step::Failed(roll) => Some(Standing::Failed(roll)),
            Step::None | Step::Undone(_) | Step::Stuck(_) => None,
        }
    }
}

/// One that wants to be rolled, and what for.
pub(crate) struct Wish<'a> {
    pub(crate) who: &'a WorkloadRef,
    /// What stands for all of each object that differs.
    pub(crate) causes: &'a Prints,
    /// Whether what another one's roll was made for is what there is now, as far as that one uses the object.
    pub(crate) holds_still: &'a dyn Fn(&WorkloadRef, &Roll, &Object) -> bool,
}

impl Wish<'_> {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.causes.keys().map(|object| (self.who.namespace.clone(), object.clone()))
    }

    /// Whether another one's roll was made for an object with the same content. What it doesn't use may have changed since: it isn't rolled for
    /// that.
    fn is_same(&self, other: &WorkloadRef, roll: &Roll) -> bool {
        self.causes.iter().any(|(object, print)| match roll.causes.get(object) {
            Some(known) => known == print || (self.holds_still)(other, roll, object),
            None => false,
        })
    }

    /// Whether a roll was made for all of these contents.
    fn is_all(&self, roll: &Roll) -> bool {
        self.causes.iter().all(|(object, print)| roll.causes.get(object) == Some(print))
    }
}

impl Neighbours {
    /// All of them; `waiting` are those that wait, with their waves and what differs for them.
    pub(crate) fn of<'a>(
        rolls: Rolls<'_>,
        waiting: impl Iterator<Item = (&'a WorkloadRef, i32, &'a Object)>,
    ) -> Self {
        let mut all = Self::default();
        let planned = rolls.plans.keys();
        let recorded = rolls.ledger.records().map(|(who, _)| who);
        for who in recorded.filter(|who| !rolls.plans.contains_key(who)).chain(planned) {
            let Some(standing) = rolls.standing(who) else { continue };
            let (Standing::UnderWay(roll) | Standing::Done(roll) | Standing::Failed(roll)) = standing;
            for (object, print) in &roll.causes {
                let place = (who.namespace.clone(), object.clone());
                let others = match standing {
                    Standing::Done(_) => all.done.entry((place, *print)).or_default(),
                    Standing::UnderWay(_) | Standing::Failed(_) => all.unfinished.entry(place).or_default(),
                };
                others.push(who.clone());
            }
            if let Standing::UnderWay(_) = standing {
                all.under_way.push(who.clone());
            }
        }
        for (who, wave, object) in waiting {
            let first = all.waves.entry((who.namespace.clone(), object.clone())).or_insert(wave);
            *first = wave.min(*first);
        }
        all
    }

    /// Whether one with an earlier wave waits for any of these objects, or is rolled for it, whatever it holds, or didn't become available
    /// with what it holds now.
    pub(crate) fn has_earlier(
        &self,
        wish: &Wish<'_>,
        wave: i32,
        rolls: Rolls<'_>,
        is_earlier: impl Fn(&WorkloadRef) -> bool,
    ) -> bool {
        wish.places().any(|place| self.waves.get(&place).is_some_and(|first| *first < wave))
            || self.unfinished(wish, rolls).any(|(other, standing)| match standing {
                Standing::UnderWay(_) => is_earlier(other),
                Standing::Failed(roll) => is_earlier(other) && wish.is_same(other, roll),
                Standing::Done(_) => false,
            })
    }

    /// What the first one with this content is waited for, and until when if that is known; nothing where there was none, or its pods prove
    /// that they stay available. Where they aren't, nothing tells when they are again: that is looked at at `again`.
    pub(crate) fn first(
        &self,
        wish: &Wish<'_>,
        rolls: Rolls<'_>,
        proof: impl Fn(&WorkloadRef) -> Proof,
        again: Time,
    ) -> Option<(Wait, Option<Time>)> {
        let mut wait = None;
        for (other, standing) in self.unfinished(wish, rolls).chain(self.done(wish, rolls)) {
            match standing {
                Standing::Done(roll) if wish.is_all(roll) => match proof(other) {
                    Proof::Stays => return None,
                    Proof::Settles(until) => wait = wait.or(Some((Wait::First, Some(until)))),
                    Proof::Broken => wait = Some((Wait::Failed, Some(again))),
                    Proof::Nothing => {}
                },
                Standing::Failed(roll) if wish.is_same(other, roll) => wait = Some((Wait::Failed, None)),
                Standing::UnderWay(roll) if wish.is_same(other, roll) => {
                    wait = wait.or(Some((Wait::First, None)));
                }
                Standing::Done(_) | Standing::Failed(_) | Standing::UnderWay(_) => {}
            }
        }
        wait
    }

    /// Whether as many are rolled as may be at a time, counting those that `have_turns`. Whose pods are available takes no place any more: that
    /// they stay so is proved while others are rolled, which would take ten seconds longer for each place otherwise.
    pub(crate) fn is_full<'a>(
        &'a self,
        who: &WorkloadRef,
        (most, most_each): (usize, usize),
        rolls: Rolls<'_>,
        have_turns: impl Iterator<Item = &'a WorkloadRef>,
        is_available: impl Fn(&WorkloadRef, &Roll) -> bool,
    ) -> bool {
        let takes_a_place = |other: &&WorkloadRef| match rolls.standing(other) {
            Some(Standing::UnderWay(roll)) => !is_available(other, roll),
            Some(Standing::Done(_) | Standing::Failed(_)) | None => false,
        };
        let have_turns = have_turns.filter(|other| !self.under_way.contains(other));
        let (mut all, mut of_namespace) = (0, 0);
        for other in self.under_way.iter().filter(takes_a_place).chain(have_turns) {
            if other != who {
                all += 1;
                of_namespace += usize::from(other.namespace == who.namespace);
            }
        }
        all >= most || of_namespace >= most_each
    }

    fn unfinished<'a>(
        &'a self,
        wish: &'a Wish<'_>,
        rolls: Rolls<'a>,
    ) -> impl Iterator<Item = (&'a WorkloadRef, Standing<'a>)> {
        let others = wish.places().filter_map(|place| self.unfinished.get(&place)).flatten();
        others
            .filter(|other| *other != wish.who)
            .filter_map(move |other| Some((other, rolls.standing(other)?)))
    }

    /// Whose roll was made for the first of these contents, and ended well: of one that was made for all of them that is so, too.
    fn done<'a>(
        &'a self,
        wish: &'a Wish<'_>,
        rolls: Rolls<'a>,
    ) -> impl Iterator<Item = (&'a WorkloadRef, Standing<'a>)> {
        let first = wish.causes.iter().next();
        let place = first.map(|(object, print)| ((wish.who.namespace.clone(), object.clone()), *print));
        let others = place.and_then(|place| self.done.get(&place)).into_iter().flatten();
        others
            .filter(|other| *other != wish.who)
            .filter_map(move |other| Some((other, rolls.standing(other)?)))
    }
}
