//! What a roll waits for that its workload's pods have nothing to do with: a person, the clock, and others.

use std::time::Duration;

use crate::model::time::Time;
use crate::policy::rollout::Windows;
use crate::rollouts::case::{Case, Proof};
use crate::rollouts::event::Wait;
use crate::rollouts::neighbours::{Neighbours, Rolls, Wish};
use crate::rollouts::record::{Prints, Record, Roll};
use crate::rollouts::uses::Object;
use crate::rollouts::workload::WorkloadRef;

use super::Controller;
use super::following::{LOOK_AGAIN, LOOK_LATER};

/// Whose turn it is has so long to list its pods.
const TURN: Duration = Duration::from_secs(60);
/// A workload that was rolled so often within so long flaps.
const FLAPS_AT: usize = 5;
const FLAPS_WITHIN: Duration = Duration::from_secs(3600);

impl Controller {
    /// What a roll waits for that its pods have nothing to do with, and when that is looked at again if nothing else tells. One that
    /// `goes_on`, pod by pod, has had its turn, and only a person stops it.
    pub(super) fn waits_for_anything(
        &mut self,
        who: &WorkloadRef,
        case: &Case,
        record: &Record,
        causes: &Prints,
        goes_on: bool,
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
        // A template gets the mark of a plan that is written. Whatever else is done is written first.
        if record.planned().is_none_or(|roll| roll.is_in_place) && self.ledger.trouble(who).is_some() {
            return Some((Wait::State, None));
        }
        if goes_on {
            return None;
        }
        if !case.windows().is_none_or(is_open) {
            return Some((Wait::Window, Some(now + LOOK_AGAIN)));
        }
        // Whose plan is written goes before all others.
        let others = match record.planned() {
            Some(_) => None,
            None => self.waits_for_others(who, case, causes, now),
        };
        let early = || self.too_early(record, now).map(|(wait, until)| (wait, Some(until)));
        others.or_else(early)
    }

    /// What a roll for these objects waits for that isn't the workload's own matter.
    fn waits_for_others(
        &mut self,
        who: &WorkloadRef,
        case: &Case,
        causes: &Prints,
        now: Time,
    ) -> Option<(Wait, Option<Time>)> {
        // Nobody lists pods for so long.
        self.turns.retain(|_, since| now.since(*since) < TURN);
        let Self { ledger, plans, cases, index, turns, contents, options, .. } = self;
        let rolls = Rolls { ledger, plans };
        let neighbours = self.neighbours.get_or_insert_with(|| {
            let others = index.waiting().iter().filter_map(|other| Some((other, &**cases.get(other)?)));
            let waiting = others.chain([(who, case)]);
            Neighbours::of(
                rolls,
                waiting.flat_map(|(who, case)| {
                    case.differing().iter().map(move |object| (who, case.wave(), object))
                }),
            )
        });
        let holds_still = |other: &WorkloadRef, roll: &Roll, object: &Object| {
            cases.get(other).is_some_and(|case| case.holds_still(roll, object, &other.namespace, contents))
        };
        let wish = Wish { who, causes, holds_still: &holds_still };
        let is_earlier =
            |other: &WorkloadRef| cases.get(other).is_some_and(|other| other.wave() < case.wave());
        if neighbours.has_earlier(&wish, case.wave(), rolls, is_earlier) {
            return Some((Wait::Wave, None));
        }
        let proof = |other: &WorkloadRef| cases.get(other).map_or(Proof::Nothing, |other| other.proof(now));
        if let Some(first) = neighbours.first(&wish, rolls, proof, now + LOOK_LATER) {
            return Some(first);
        }
        let is_available = |other: &WorkloadRef, roll: &Roll| {
            cases.get(other).is_some_and(|other| other.is_available_by(roll))
        };
        let most = (options.most, options.most_each);
        let is_full = neighbours.is_full(who, most, rolls, turns.keys(), is_available);
        is_full.then(|| (Wait::Budget, turns.values().min().map(|since| *since + TURN)))
    }

    /// Until when a workload isn't rolled again, and why.
    fn too_early(&self, record: &Record, now: Time) -> Option<(Wait, Time)> {
        let until = record.last()? + record.pause(self.options.interval, FLAPS_WITHIN, now);
        let flaps = record.rolls_within(FLAPS_WITHIN, now) >= FLAPS_AT;
        (now < until).then_some((if flaps { Wait::Flapping } else { Wait::Interval }, until))
    }
}
