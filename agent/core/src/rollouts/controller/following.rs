//! What follows from how a workload is: its record is written, people are told, it waits, or it is rolled.

use std::time::Duration;

use crate::model::hash;
use crate::model::names::Name;
use crate::model::time::Time;
use crate::rollouts::case::Case;
use crate::rollouts::event::{Action, Mark, Obstacle, Report, Restart, Wait};
use crate::rollouts::ledger::Ledger;
use crate::rollouts::next::{Next, Whose};
use crate::rollouts::record::{Prints, Record, Roll, Step, seconds};
use crate::rollouts::room;
use crate::rollouts::workload::WorkloadRef;

use super::Controller;

/// How often it is looked whether a window has opened, or a budget allows a disruption.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How often it is looked whether what is against a restart in place is still so, or the first workload is available again, where nothing
/// tells: many may wait for one.
pub(super) const LOOK_LATER: Duration = Duration::from_secs(300);

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
        // A restart in place that waits so long for its next turn lets others go on.
        let late =
            record.as_ref().and_then(|record| record.late(self.options.limit)).filter(|late| *late > now);
        let settles = record.as_ref().and_then(|record| case.settles(record, now));
        // Whatever is known of its objects.
        let limit = record.as_ref().and_then(|record| record.limit(self.options.limit));
        let limit = limit.filter(|limit| *limit > now);
        // Whoever looks for what is under way keeps the place that it has.
        let is_decided = !matches!(next, Next::Busy(_) | Next::ListPods);
        let had_turn = is_decided && self.turns.remove(who).is_some();
        let until = self.act_on(who, case, record, next, now);
        if had_turn && !self.plans.contains_key(who) {
            self.look_at_waiting();
        }
        until.into_iter().chain(late).chain(settles).chain(limit).min()
    }

    fn act_on(
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
                let was_blocked = case.wait() == Some(Wait::State);
                if self.write(who, case, record.clone()) {
                    case.rest();
                    if self.ledger.trouble(who).is_some() {
                        self.block(who, case, Wait::State, was_blocked);
                    }
                    self.unsaid.extend(report.map(|report| (who.clone(), (record, report))));
                    // Others may have waited for it.
                    self.look_at_waiting();
                    return None;
                }
                Some(now + LOOK_LATER)
            }
            Next::Tell(report) => {
                // Nothing tells that there is room.
                let again = matches!(report, Report::Problems(_)).then_some(now + LOOK_LATER);
                self.tell(who, case, report);
                self.withdraw(who, case, record.as_ref(), now);
                again
            }
            Next::Wait(wait, until) => {
                self.say_wait(who, case, wait);
                self.withdraw(who, case, record.as_ref(), now);
                until
            }
            Next::ListPods => {
                if let Some(until) = case.lists_later(now) {
                    if self.turns.remove(who).is_some() {
                        self.look_at_waiting();
                    }
                    return Some(until);
                }
                case.lists(now);
                self.actions.push_back(Action::ListPods(who.clone()));
                None
            }
            Next::LookAt { pod, hears } => {
                case.looks();
                self.actions.push_back(Action::LookAt(who.clone(), pod, hears));
                None
            }
            Next::Watch(watched) => {
                case.watches(watched);
                self.dirty.insert(who.clone());
                None
            }
            Next::Stuck { obstacle, until } => self.stuck(who, case, record.as_ref()?, obstacle, until, now),
            Next::Almost { causes } => {
                let Some((wait, until)) =
                    self.waits_for_anything(who, case, record.as_ref()?, &causes, false, now)
                else {
                    // It is its turn: by what its pods are now.
                    self.turns.insert(who.clone(), now);
                    case.relist();
                    self.dirty.insert(who.clone());
                    return None;
                };
                self.say_wait(who, case, wait);
                self.withdraw(who, case, record.as_ref(), now);
                until
            }
            Next::Ready { wanted, causes, waits, turn } => {
                case.decided();
                let record = record?;
                let goes_on = record.goes_on(&wanted);
                let (wait, until) = match waits {
                    // Nothing else says when it is over.
                    Some(wait @ Wait::Disruption) => (wait, Some(now + LOOK_AGAIN)),
                    Some(wait) => (wait, None),
                    None => match self.waits_for_anything(who, case, &record, &causes, goes_on, now) {
                        Some(waits) => {
                            case.waits_with(wanted);
                            waits
                        }
                        None => {
                            let is_taken = self.take_turn(who, case, &record, turn, (wanted, causes), now);
                            // Nothing tells that there is room.
                            return (!is_taken).then_some(now + LOOK_LATER);
                        }
                    },
                };
                self.say_wait(who, case, wait);
                self.withdraw(who, case, Some(&record), now);
                until
            }
        }
    }

    /// Nothing is waited for any more. Whether there is room for what is to be written of it.
    fn take_turn(
        &mut self,
        who: &WorkloadRef,
        case: &mut Case,
        record: &Record,
        turn: Whose,
        (wanted, causes): (Prints, Prints),
        now: Time,
    ) -> bool {
        let obstacle = match turn {
            Whose::Pod(restart) => return self.grant(who, case, record, restart, now),
            Whose::Pods => return self.restart(who, case, record, wanted, causes, now),
            Whose::Template(obstacle) => obstacle,
        };
        if let Some(obstacle) = obstacle.filter(|_| record.planned().is_none()) {
            self.actions.push_back(Action::Report(who.clone(), Report::NotInPlace(obstacle, true)));
        }
        self.roll(who, case, record, wanted, causes, now)
    }

    /// A record is to be this. Whether there is room for it; where there isn't, that is said.
    fn write(&mut self, who: &WorkloadRef, case: &mut Case, record: Option<Record>) -> bool {
        let has_room = self.put(who, record);
        if !has_room {
            self.tell(who, case, Report::Problems(vec![room::for_record()]));
        }
        has_room
    }

    fn tell(&mut self, who: &WorkloadRef, case: &mut Case, report: Report) {
        if case.tells(&report) {
            self.actions.push_back(Action::Report(who.clone(), report));
        }
    }

    /// Whoever waits for anything keeps nobody else waiting: a plan isn't one any more, and neither is the restart of further pods, after a
    /// while.
    fn withdraw(&mut self, who: &WorkloadRef, case: &Case, record: Option<&Record>, now: Time) {
        let Some(record) = record else { return };
        if record.planned().is_some() {
            self.put(who, Some(record.withdrawn(case.is_unmade(record))));
        } else if record.late(self.options.limit).is_some_and(|late| now >= late) {
            self.put(who, Some(record.stuck()));
        }
    }

    /// There is no room for a workload any more, whose roll is planned or under way: others go on when it is late, at the latest.
    pub(super) fn give_up_left_out(&mut self, who: &WorkloadRef, record: &Record, now: Time) {
        let longest = self.options.limit;
        let next = match (record.planned(), record.limit(longest).or_else(|| record.late(longest))) {
            (Some(_), _) => record.withdrawn(false),
            (None, Some(until)) if now < until => {
                self.due.insert((until, who.clone()));
                return;
            }
            (None, Some(_)) if record.restarting().is_some() => record.stuck(),
            (None, Some(_)) => record.ended(Step::Failed),
            (None, None) => return,
        };
        self.put(who, Some(next));
    }

    fn say_wait(&mut self, who: &WorkloadRef, case: &mut Case, wait: Wait) {
        if matches!(wait, Wait::State | Wait::Pods | Wait::Objects) {
            self.block(who, case, wait, false);
        } else if case.waits(wait) && wait != Wait::Debounce {
            self.actions.push_back(Action::Report(who.clone(), Report::Waits(wait)));
        }
    }

    /// It waits for something that can't be done, which was said if it `is_said`.
    fn block(&mut self, who: &WorkloadRef, case: &mut Case, wait: Wait, is_said: bool) {
        if case.waits(wait) && !is_said {
            let why = trouble(&self.ledger, who, case, wait).unwrap_or_default().to_owned();
            self.actions.push_back(Action::Report(who.clone(), Report::Blocked(wait, why)));
        }
    }

    /// What would have ended by itself waits for what is remembered, where that can't be read. It is looked at again when it can be.
    pub(super) fn block_waiting(&mut self) {
        if self.ledger.is_known() || !self.ledger.is_unreadable() {
            return;
        }
        for who in self.index.waiting().iter().cloned().collect::<Vec<_>>() {
            let Some(mut case) = self.cases.remove(&who) else { continue };
            if case.wait().is_some_and(Wait::passes) {
                self.block(&who, &mut case, Wait::State, false);
            }
            self.cases.insert(who, case);
        }
    }

    /// A restart in place of which nobody hears for so long keeps nobody else waiting.
    pub(super) fn give_up_late(&mut self, who: &WorkloadRef, now: Time) {
        let record = self.ledger.record(who).flatten().cloned();
        if let Some(record) =
            record.filter(|record| record.late(self.options.limit).is_some_and(|late| now >= late))
        {
            self.let_others_go(who, &record);
        }
    }

    /// A roll is planned; or, where the plan is written, made. Whether there is room for the plan.
    fn roll(
        &mut self,
        who: &WorkloadRef,
        case: &mut Case,
        record: &Record,
        wanted: Prints,
        causes: Prints,
        now: Time,
    ) -> bool {
        let planned = record.planned().filter(|roll| !roll.is_in_place);
        if let Some(roll) = planned.filter(|roll| roll.wanted == wanted) {
            let workload = case.workload();
            let mark = Mark {
                uid: workload.uid.clone(),
                version: workload.version.clone(),
                marker: roll.marker.clone(),
            };
            case.rolls();
            self.actions.push_back(Action::Roll(who.clone(), mark));
            return true;
        }
        self.plan(who, case, record, Roll::new(wanted, causes, false), now)
    }

    /// A restart in place is planned; or, where the plan is written, begun. Whether there is room for that.
    fn restart(
        &mut self,
        who: &WorkloadRef,
        case: &mut Case,
        record: &Record,
        wanted: Prints,
        causes: Prints,
        now: Time,
    ) -> bool {
        let Some(roll) = record.resumable().filter(|roll| roll.wanted == wanted) else {
            return self.plan(who, case, record, Roll::new(wanted, causes, true), now);
        };
        let begun = record.begun(now);
        let has_room = self.write(who, case, Some(begun.clone()));
        if has_room {
            case.begins();
            self.plans.insert(who.clone(), roll.clone());
            let objects = roll.causes.keys().cloned().collect();
            self.unsaid.insert(who.clone(), (Some(begun), Report::Restarting(objects)));
        }
        has_room
    }

    /// A pod is granted a restart; or it is written that it is its turn, before which nobody else may be granted one. Whether there is room for
    /// that.
    fn grant(
        &mut self,
        who: &WorkloadRef,
        case: &mut Case,
        record: &Record,
        restart: Restart,
        now: Time,
    ) -> bool {
        let has_gone_on = case.take_progress();
        if !has_gone_on && record.late(self.options.limit).is_some_and(|late| now >= late) {
            // Nobody was restarted for so long: others go on.
            self.let_others_go(who, record);
        } else if record.restarting().is_some_and(|roll| roll.turn.as_ref() == Some(&restart.uid)) {
            case.grants(&restart, now);
            self.actions.push_back(Action::Grant(who.clone(), restart));
        } else if self.write(who, case, Some(record.turned(restart.uid, has_gone_on, now))) {
            // Another controller may have had its turn meanwhile.
            case.relist();
        } else {
            return false;
        }
        true
    }

    /// Its pods can't all be restarted in place, and nothing else is asked for.
    fn stuck(
        &mut self,
        who: &WorkloadRef,
        case: &mut Case,
        record: &Record,
        obstacle: Obstacle,
        until: Option<Time>,
        now: Time,
    ) -> Option<Time> {
        if record.restarting().is_some() {
            self.let_others_go(who, record);
            return None;
        }
        let wait = if obstacle == Obstacle::Recent { Wait::Recent } else { Wait::InPlace };
        if case.waits(wait) {
            let report = Report::NotInPlace(obstacle, false);
            self.actions.push_back(Action::Report(who.clone(), report));
        }
        self.withdraw(who, case, Some(record), now);
        Some(until.unwrap_or(now + LOOK_LATER))
    }

    /// A restart in place isn't under way any more, and keeps nobody waiting.
    fn let_others_go(&mut self, who: &WorkloadRef, record: &Record) {
        if self.put(who, Some(record.stuck())) {
            self.look_at_waiting();
        }
    }

    /// What is to be done is written before it is. Whether there is room for it.
    fn plan(&mut self, who: &WorkloadRef, case: &mut Case, record: &Record, roll: Roll, now: Time) -> bool {
        // The mark of a plan that came to nothing is as good as new.
        let planned = record.planned().filter(|planned| planned.is_in_place == roll.is_in_place);
        let marker = planned.map_or_else(|| marker(who, now), |roll| roll.marker.clone());
        case.plans(marker.clone());
        let roll = Roll { marker, since: seconds(now), ..roll };
        let has_room = self.write(who, case, Some(record.plan(roll.clone())));
        if has_room {
            self.plans.insert(who.clone(), roll);
        }
        has_room
    }
}

/// What can't be done, where that is what a workload waits for.
pub(crate) fn trouble<'a>(
    ledger: &'a Ledger,
    who: &WorkloadRef,
    case: &'a Case,
    wait: Wait,
) -> Option<&'a str> {
    let of_state = ledger.trouble(who).filter(|_| wait == Wait::State);
    let of_pods = || case.why_unlisted().filter(|_| wait == Wait::Pods);
    of_state.or_else(of_pods).or_else(|| case.why_unread().filter(|_| wait == Wait::Objects))
}

/// A mark that no other roll of the workload has: when it was planned, and nothing of what for.
fn marker(who: &WorkloadRef, now: Time) -> Name {
    let nanos = now.elapsed_since_boot().as_nanos().to_le_bytes();
    let hash = hash::mark(who.name.bytes().chain(nanos));
    format!("{hash:016x}").as_str().into()
}
