//! The other workloads that are rolled, or were for the same content.

use std::collections::BTreeMap;

use crate::model::time::Time;
use crate::rollouts::case::Proof;
use crate::rollouts::event::Wait;
use crate::rollouts::ledger::Ledger;
use crate::rollouts::record::{Prints, Roll, Step};
use crate::rollouts::workload::WorkloadRef;

/// All others.
pub(crate) struct Neighbours<'a> {
    who: &'a WorkloadRef,
    others: BTreeMap<&'a WorkloadRef, Standing<'a>>,
}

/// How another one is.
#[derive(Clone, Copy)]
enum Standing<'a> {
    UnderWay(&'a Roll),
    Done(&'a Roll),
    Failed(&'a Roll),
}

impl<'a> Neighbours<'a> {
    /// Those of a workload, by what is recorded and by what is to be.
    pub(crate) fn of(
        who: &'a WorkloadRef,
        ledger: &'a Ledger,
        plans: &'a BTreeMap<WorkloadRef, Roll>,
    ) -> Self {
        let recorded = ledger.records().filter_map(|(other, record)| {
            let standing = match &record.step {
                Step::Planned(roll) | Step::Rolling(roll) => Standing::UnderWay(roll),
                Step::Done(roll) => Standing::Done(roll),
                Step::Failed(roll) => Standing::Failed(roll),
                Step::None | Step::Undone(_) | Step::Stuck(_) => return None,
            };
            Some((other, standing))
        });
        let mut others: BTreeMap<_, _> = recorded.collect();
        others.extend(plans.iter().map(|(other, roll)| (other, Standing::UnderWay(roll))));
        others.remove(who);
        Self { who, others }
    }

    /// Those that are rolled for any of these objects, whatever they hold, or didn't become available with what they hold now.
    pub(crate) fn unfinished(&self, causes: &Prints) -> impl Iterator<Item = &'a WorkloadRef> {
        self.sharing(causes).filter_map(|(other, standing)| match standing {
            Standing::UnderWay(_) => Some(other),
            Standing::Failed(roll) => is_same(roll, causes).then_some(other),
            Standing::Done(_) => None,
        })
    }

    /// What the first one with this content is waited for, and until when if that is known; nothing where there was none, or its pods prove
    /// that they stay available. Where they aren't, nothing tells when they are again: that is looked at at `again`.
    pub(crate) fn first(
        &self,
        causes: &Prints,
        proof: impl Fn(&WorkloadRef) -> Proof,
        again: Time,
    ) -> Option<(Wait, Option<Time>)> {
        let mut wait = None;
        for (other, standing) in self.sharing(causes) {
            match standing {
                Standing::Done(roll) if is_all(roll, causes) => match proof(other) {
                    Proof::Stays => return None,
                    Proof::Settles(until) => wait = wait.or(Some((Wait::First, Some(until)))),
                    Proof::Broken => wait = Some((Wait::Failed, Some(again))),
                    Proof::Nothing => {}
                },
                Standing::Failed(roll) if is_same(roll, causes) => wait = Some((Wait::Failed, None)),
                Standing::UnderWay(roll) if is_same(roll, causes) => {
                    wait = wait.or(Some((Wait::First, None)));
                }
                Standing::Done(_) | Standing::Failed(_) | Standing::UnderWay(_) => {}
            }
        }
        wait
    }

    /// Whether as many are rolled as may be at a time. Whose pods are available takes no place any more: that they stay so is proved while
    /// others are rolled, which would take ten seconds longer for each place otherwise.
    pub(crate) fn budget(
        &self,
        most: usize,
        most_each: usize,
        is_available: impl Fn(&WorkloadRef, &Roll) -> bool,
    ) -> Option<Wait> {
        let takes_a_place = |(other, standing): &(&&WorkloadRef, &Standing<'_>)| matches!(standing, Standing::UnderWay(roll) if !is_available(other, roll));
        let under_way = || self.others.iter().filter(takes_a_place);
        let of_namespace = under_way().filter(|(other, _)| other.namespace == self.who.namespace);
        (under_way().count() >= most || of_namespace.count() >= most_each).then_some(Wait::Budget)
    }

    /// Those in its namespace that were rolled for any of these objects.
    fn sharing(&self, causes: &Prints) -> impl Iterator<Item = (&'a WorkloadRef, Standing<'a>)> {
        let shares = |roll: &Roll| causes.keys().any(|object| roll.causes.contains_key(object));
        let mine = self.others.iter().filter(|(other, _)| other.namespace == self.who.namespace);
        mine.filter_map(move |(other, standing)| {
            let (Standing::UnderWay(roll) | Standing::Done(roll) | Standing::Failed(roll)) = standing;
            shares(roll).then_some((*other, *standing))
        })
    }
}

/// Whether a roll was made for an object with the same content.
fn is_same(roll: &Roll, causes: &Prints) -> bool {
    causes.iter().any(|(object, print)| roll.causes.get(object) == Some(print))
}

/// Whether a roll was made for all of these contents.
fn is_all(roll: &Roll, causes: &Prints) -> bool {
    causes.iter().all(|(object, print)| roll.causes.get(object) == Some(print))
}
