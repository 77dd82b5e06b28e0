//! The roll of a workload's template that is under way, or planned: how far it is.

use crate::model::time::Time;
use crate::rollouts::event::{Report, Wait};
use crate::rollouts::found::Found;
use crate::rollouts::next::Next;
use crate::rollouts::pods::Listing;
use crate::rollouts::record::{Prints, Record, Roll, Step, moment, seconds};
use crate::rollouts::settings::Options;
use crate::rollouts::uses::Object;
use crate::rollouts::workload::Progress;

use super::{Case, Proof};

impl Case {
    fn has_mark(&self, roll: &Roll) -> bool {
        self.workload.marker.as_ref() == Some(&roll.marker)
    }

    /// Whether all of its pods are of a roll's template, and available, whether they stay so or not.
    pub(crate) fn is_available_by(&self, roll: &Roll) -> bool {
        !roll.is_in_place && self.has_mark(roll) && self.workload.progress == Progress::Available
    }

    /// What is said of a roll whose pods are available; nothing as long as they may not stay so.
    fn end(&self, now: Time) -> Option<Report> {
        match self.proof(now) {
            Proof::Stays => Some(Report::Finished),
            Proof::Nothing => Some(Report::Emptied),
            Proof::Settles(_) | Proof::Broken => None,
        }
    }

    /// When its pods will have been available with its last roll for long enough, if nothing else is missing.
    pub(crate) fn settles(&self, record: &Record, now: Time) -> Option<Time> {
        match (&record.step, self.proof(now)) {
            (Step::Rolling(roll) | Step::Failed(roll), Proof::Settles(until)) => {
                self.is_available_by(roll).then_some(until)
            }
            _ => None,
        }
    }

    /// What follows of the roll that is under way; nothing where that goes on.
    pub(super) fn follow_roll(
        &self,
        record: &Record,
        seen: Option<&(Prints, Found)>,
        options: &Options,
        now: Time,
    ) -> Option<Next> {
        let has_mark = |roll: &Roll| self.has_mark(roll);
        match &record.step {
            Step::Planned(roll) if has_mark(roll) => {
                let objects = roll.causes.keys().cloned().collect();
                Some(Next::Write(Some(record.begun(now)), Some(Report::Started(objects))))
            }
            Step::Rolling(roll) | Step::Failed(roll) | Step::Stuck(roll) if roll.is_in_place => None,
            Step::Rolling(roll) if !has_mark(roll) => {
                // What had changed before the roll was undone with it, known or not when that was made. In the same second, too: of the two
                // mistakes that are possible then, rolling against somebody who is at the keyboard is the worse one.
                let undone = |(wanted, found): &(Prints, Found)| {
                    let is_undone = |object: &&Object| {
                        found.changed(object).is_some_and(|changed| seconds(changed) <= roll.since)
                    };
                    wanted.keys().filter(is_undone).map(|object| (object.clone(), wanted[object])).collect()
                };
                // Where it isn't known what the objects hold, what the roll was for was undone at least.
                let undone = seen.map_or_else(|| roll.wanted.clone(), undone);
                Some(Next::Write(Some(record.undone(undone)), Some(Report::Undone)))
            }
            Step::Rolling(roll) => match self.workload.progress {
                Progress::Available => {
                    self.end(now).map(|end| Next::Write(Some(record.ended(Step::Done)), Some(end)))
                }
                Progress::Late => Some(Next::Write(Some(record.ended(Step::Failed)), Some(Report::Failed))),
                Progress::Rolling | Progress::Unavailable
                    if seconds(now) >= roll.since + options.limit.as_secs() =>
                {
                    Some(Next::Write(Some(record.ended(Step::Failed)), Some(Report::Failed)))
                }
                Progress::Rolling | Progress::Unavailable => None,
            },
            Step::Failed(roll) if self.is_available_by(roll) => {
                self.end(now).map(|end| Next::Write(Some(record.ended(Step::Done)), Some(end)))
            }
            Step::None
            | Step::Planned(_)
            | Step::Done(_)
            | Step::Failed(_)
            | Step::Undone(_)
            | Step::Stuck(_) => None,
        }
    }

    /// Whether it is known that a plan's mark is in no template.
    pub(crate) fn is_unmade(&self, record: &Record) -> bool {
        record.planned().is_some_and(|roll| self.unmade.as_ref() == Some(&roll.marker))
    }

    /// Where it isn't known whether a planned roll was made, its revisions say it: somebody may have taken it back already.
    pub(super) fn doubt(&mut self, record: &Record, options: &Options, now: Time) -> Option<Next> {
        let roll = record.planned().filter(|roll| !roll.is_in_place)?;
        if self.is_unmade(record) {
            return None;
        }
        match &self.pods {
            Listing::Known(known) if known.edition == self.edition => {
                if known.listed.mark.as_ref() == Some(&roll.marker) {
                    // It was made and stands, and the watch will show it.
                    return Some(Next::Busy(None));
                }
                if known.listed.marks.contains(&roll.marker) {
                    return Some(Next::Write(Some(record.ended(Step::Undone)), Some(Report::Undone)));
                }
                self.unmade = Some(roll.marker.clone());
                None
            }
            Listing::Asked(..) => Some(Next::Busy(None)),
            Listing::Known(_) | Listing::Unknown => Some(match self.unlisted_until(now) {
                Some(until) if now < moment(roll.since) + options.limit => Next::Busy(Some(until)),
                // One of which nobody knows for so long whether it was made keeps no others waiting.
                Some(until) => Next::Wait(Wait::Pods, Some(until)),
                None => Next::ListPods,
            }),
        }
    }
}
