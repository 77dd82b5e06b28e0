//! What people see of the rolls: which workloads are rolled, which wait, and for what.

use std::collections::BTreeSet;

use crate::model::closed::closed_set;
use crate::model::names::Name;
use crate::model::object::ObjectKind;
use crate::model::time::Time;
use crate::policy::problem::Problem;
use crate::policy::reloader::Telling;
use crate::rollouts::case::Case;
use crate::rollouts::controller::{Controller, trouble};
use crate::rollouts::event::{Report, Wait};
use crate::rollouts::ledger::Ledger;
use crate::rollouts::record::{Record, Step, moment};
use crate::rollouts::workload::WorkloadRef;

/// What there is to say of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview<'a> {
    /// The workload.
    pub workload: &'a WorkloadRef,
    /// Its last roll, as long as that isn't over well.
    pub roll: Option<Current<'a>>,
    /// What its next roll waits for, if one is wanted.
    pub wait: Option<Wait>,
    /// What can't be done, if it waits for that.
    pub trouble: Option<&'a str>,
    /// Why nothing is done about its pods, if they are stale and nothing is.
    pub stale: Option<Telling>,
    /// What is wrong with what it asks for.
    pub problems: &'a [Problem],
    /// The objects that differ from what its pods hold; without any, those that its roll is made for.
    pub objects: BTreeSet<&'a (ObjectKind, Name)>,
}

/// A roll that isn't over well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current<'a> {
    /// How far it is.
    pub standing: Standing,
    /// Its mark.
    pub marker: &'a Name,
    /// Since when it is planned, or under way, by the time since the epoch.
    pub since: Time,
}

closed_set! {
    /// How far a roll is.
    pub enum Standing {
        /// Pods are replaced.
        Rolling => "rolling",
        /// Pods are restarted in place.
        Restarting => "restarting",
        /// The template is to get its mark.
        Planned => "planned",
        /// Not all pods were available in time.
        Failed => "failed",
    }
}

impl Controller {
    /// The workloads that are rolled, whose rolls wait or have failed, whose pods are stale, and those with problems.
    pub fn overview(&self) -> impl Iterator<Item = Overview<'_>> {
        self.cases.iter().filter_map(|(who, case)| of(who, case, &self.ledger))
    }

    /// The UID of a workload that asks for something.
    pub fn uid(&self, who: &WorkloadRef) -> Option<&Name> {
        self.cases.get(who).map(|case| &case.workload().uid)
    }

    /// How many workloads ask to be rolled.
    pub fn asking(&self) -> usize {
        let lists_count = self.options.looks.annotations;
        let asks =
            |case: &Case| !case.asked.refuses && (case.asked.rolls || (lists_count && case.has_lists()));
        self.cases.values().filter(|case| asks(case)).count()
    }
}

fn of<'a>(who: &'a WorkloadRef, case: &'a Case, ledger: &'a Ledger) -> Option<Overview<'a>> {
    // What was said of another one of its name is over.
    let record = ledger.known(who).filter(|record| record.uid == case.workload().uid);
    // A plan that the API server refuses, or of which can't be written what came of it, is one that waits for that. What any other one
    // has waited for is over.
    let is_refused = matches!(case.wait(), Some(Wait::Refused | Wait::State));
    let roll = record.and_then(current).filter(|roll| roll.standing != Standing::Planned || !is_refused);
    let wait = case.wait().filter(|_| roll.is_none_or(|roll| roll.standing != Standing::Planned));
    let (stale, problems) = match (&case.told, wait) {
        (Some(Report::Stale(telling)), None) => (Some(*telling), case.problems()),
        (Some(Report::Problems(problems)), None) => (None, problems.as_slice()),
        _ => (None, case.problems()),
    };
    if roll.is_none() && wait.is_none() && stale.is_none() && problems.is_empty() {
        return None;
    }
    let mut objects: BTreeSet<_> = case.differing().iter().collect();
    if objects.is_empty() && roll.is_some() {
        let causes = record.and_then(|record| record.step.roll()).map(|roll| &roll.causes);
        objects.extend(causes.into_iter().flatten().map(|(object, _)| object));
    }
    let trouble = wait.and_then(|wait| trouble(ledger, who, case, wait));
    Some(Overview { workload: who, roll, wait, trouble, stale, problems, objects })
}

fn current(record: &Record) -> Option<Current<'_>> {
    let (standing, roll) = match &record.step {
        Step::Rolling(roll) if roll.is_in_place => (Standing::Restarting, roll),
        Step::Rolling(roll) => (Standing::Rolling, roll),
        Step::Planned(roll) => (Standing::Planned, roll),
        Step::Failed(roll) => (Standing::Failed, roll),
        Step::None | Step::Done(_) | Step::Undone(_) | Step::Stuck(_) => return None,
    };
    Some(Current { standing, marker: &roll.marker, since: moment(roll.since) })
}
