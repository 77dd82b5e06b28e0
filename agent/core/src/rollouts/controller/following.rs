//! What follows from how a workload is: its record is written, people are told, it waits, or it is rolled.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::hash;
use crate::model::names::Name;
use crate::model::time::Time;
use crate::policy::rollout::Windows;
use crate::rollouts::case::Case;
use crate::rollouts::event::{Action, Mark, Report, Wait};
use crate::rollouts::neighbours::Neighbours;
use crate::rollouts::next::Next;
use crate::rollouts::record::{Prints, Record, Roll, seconds};
use crate::rollouts::room;
use crate::rollouts::uses::Object;
use crate::rollouts::workload::WorkloadRef;

use super::Controller;

/// How often it is looked whether a window has opened, or a budget allows a disruption.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A workload that was rolled so often within so long flaps.
const FLAPS_AT: usize = 5;
const FLAPS_WITHIN: Duration = Duration::from_secs(3600);

impl Controller {
    /// Does what a workload is ready for. When it is looked at again, if that is known.
    pub(super) fn follow(
        &mut self,
        who: &WorkloadRef,
        case: &mut Case,
        record: Option<Record>,
        next: Next,
        now: Time,
    ) -> Option<Time> {
        match next {
            Next::Rest => {
                case.rest();
                None
            }
            Next::Busy(until) => until,
            Next::Write(record, report) => {
                case.rest();
                if self.ledger.write(who, record.clone()) {
                    self.unsaid.extend(report.map(|report| (who.clone(), (record, report))));
                    // Others may have waited for it.
                    self.look_at_waiting();
                } else {
                    self.tell(who, case, Report::Problems(vec![room::for_record()]));
                }
                None
            }
            Next::Tell(report) => {
                self.tell(who, case, report);
                self.withdraw(who, record.as_ref());
                None
            }
            Next::Wait(wait, until) => {
                self.say_wait(who, case, wait);
                self.withdraw(who, record.as_ref());
                until
            }
            Next::ListPods => {
                case.lists(now);
                self.actions.push_back(Action::ListPods(who.clone()));
                None
            }
            Next::Almost { causes } => {
                let Some((wait, until)) = self.waits_for_anything(who, case, record.as_ref()?, &causes, now)
                else {
                    // It is its turn: by what its pods are now.
                    case.unlisted();
                    self.dirty.insert(who.clone());
                    return None;
                };
                self.say_wait(who, case, wait);
                self.withdraw(who, record.as_ref());
                until
            }
            Next::Ready { wanted, causes, waits } => {
                let record = record?;
                let (wait, until) = match waits {
                    // Nothing else says when it is over.
                    Some(wait @ Wait::Disruption) => (wait, Some(now + LOOK_AGAIN)),
                    Some(wait) => (wait, None),
                    None => match self.waits_for_anything(who, case, &record, &causes, now) {
                        Some(waits) => {
                            case.waits_with(wanted);
                            waits
                        }
                        None => {
                            self.roll(who, case, &record, wanted, causes, now);
                            return None;
                        }
                    },
                };
                self.say_wait(who, case, wait);
                self.withdraw(who, Some(&record));
                until
            }
        }
    }

    /// What a roll waits for that its pods have nothing to do with, and when that is looked at again if nothing else tells.
    fn waits_for_anything(
        &self,
        who: &WorkloadRef,
        case: &Case,
        record: &Record,
        causes: &Prints,
        now: Time,
    ) -> Option<(Wait, Option<Time>)> {
        let is_open = |windows: &Windows| windows.are_open(|zone| self.calendar.clock(zone, now));
        if !case.problems().is_empty() {
            return Some((Wait::Problem, None));
        }
        if !self.is_fenced {
            return Some((Wait::Fence, None));
        }
        if self.holds.are_on(&who.namespace) {
            return Some((Wait::Held, None));
        }
        if !case.windows().is_none_or(is_open) {
            return Some((Wait::Window, Some(now + LOOK_AGAIN)));
        }
        // Whose plan is written goes before all others.
        let others = match record.planned() {
            Some(_) => None,
            None => self.waits_for_others(who, case, causes),
        };
        let early = || self.too_early(record, now).map(|(wait, until)| (wait, Some(until)));
        others.map(|wait| (wait, None)).or_else(early)
    }

    fn tell(&mut self, who: &WorkloadRef, case: &mut Case, report: Report) {
        if case.tells(&report) {
            self.actions.push_back(Action::Report(who.clone(), report));
        }
    }

    /// Whoever waits for anything keeps nobody else waiting.
    fn withdraw(&mut self, who: &WorkloadRef, record: Option<&Record>) {
        if let Some(record) = record.filter(|record| record.planned().is_some()) {
            self.ledger.write(who, Some(record.withdrawn()));
        }
    }

    fn say_wait(&mut self, who: &WorkloadRef, case: &mut Case, wait: Wait) {
        if case.waits(wait) && wait != Wait::Debounce {
            self.actions.push_back(Action::Report(who.clone(), Report::Waits(wait)));
        }
    }

    /// What a roll for these objects waits for that isn't the workload's own matter.
    fn waits_for_others(&self, who: &WorkloadRef, case: &Case, causes: &Prints) -> Option<Wait> {
        let neighbours = Neighbours::of(who, &self.ledger, &self.plans);
        let is_earlier =
            |other: &WorkloadRef| self.cases.get(other).is_some_and(|other| other.wave() < case.wave());
        let shares = |objects: &BTreeSet<Object>| causes.keys().any(|object| objects.contains(object));
        let mut earlier =
            self.index.waiting().iter().filter(|other| other.namespace == who.namespace && is_earlier(other));
        if earlier.any(|other| self.cases.get(other).is_some_and(|other| shares(other.differing())))
            || neighbours.unfinished(causes).any(is_earlier)
        {
            return Some(Wait::Wave);
        }
        neighbours.first(causes).or_else(|| neighbours.budget(self.options.most, self.options.most_each))
    }

    /// Until when a workload isn't rolled again, and why.
    fn too_early(&self, record: &Record, now: Time) -> Option<(Wait, Time)> {
        let until = record.last()? + record.pause(self.options.interval, FLAPS_WITHIN, now);
        let flaps = record.rolls_within(FLAPS_WITHIN, now) >= FLAPS_AT;
        (now < until).then_some((if flaps { Wait::Flapping } else { Wait::Interval }, until))
    }

    /// A roll is planned; or, where the plan is written, made.
    fn roll(
        &mut self,
        who: &WorkloadRef,
        case: &mut Case,
        record: &Record,
        wanted: Prints,
        causes: Prints,
        now: Time,
    ) {
        let planned = record.planned();
        if let Some(roll) = planned.filter(|roll| roll.wanted == wanted) {
            let workload = case.workload();
            let mark = Mark {
                uid: workload.uid.clone(),
                version: workload.version.clone(),
                marker: roll.marker.clone(),
            };
            case.rolls();
            self.actions.push_back(Action::Roll(who.clone(), mark));
            return;
        }
        // That of a plan that came to nothing is as good as new.
        let marker = planned.map_or_else(|| marker(who, now), |roll| roll.marker.clone());
        case.plans(marker.clone());
        let roll = Roll { marker, wanted, causes, since: seconds(now), mends: None };
        if self.ledger.write(who, Some(record.plan(roll.clone()))) {
            self.plans.insert(who.clone(), roll);
        } else {
            self.tell(who, case, Report::Problems(vec![room::for_record()]));
        }
    }
}

/// A mark that no other roll of the workload has: when it was planned, and nothing of what for.
fn marker(who: &WorkloadRef, now: Time) -> Name {
    let nanos = now.elapsed_since_boot().as_nanos().to_le_bytes();
    let hash = hash::mark(who.name.bytes().chain(nanos));
    format!("{hash:016x}").as_str().into()
}
