//! Who is rolled, when, and whether it was.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::model::kept::Kept;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::rollouts::case::Case;
use crate::rollouts::contents::{Contents, News};
use crate::rollouts::event::{Action, Answer, Event, Granted, Report, Wait};
use crate::rollouts::holds::Holds;
use crate::rollouts::index::Index;
use crate::rollouts::ledger::{Ledger, Shard};
use crate::rollouts::neighbours::Neighbours;
use crate::rollouts::pods::FIRST_PAUSE;
use crate::rollouts::record::{Record, Roll, Step};
use crate::rollouts::room;
use crate::rollouts::settings::{Calendar, Options};
use crate::rollouts::uses::Object;
use crate::rollouts::workload::{Workload, WorkloadRef};

mod following;
mod waiting;

pub(crate) use following::trouble;

/// How much memory the workloads may take, in bytes, by what each is reckoned to take: some 12,000 usual ones, which take a fifth of it in
/// truth.
const MOST_KEPT: usize = 192 << 20;

/// The controller. It is fed with [`Event`]s and asked for [`Action`]s, and has neither a clock nor a network: all moments come
/// from outside, by the time since the epoch, and never go back.
#[derive(Debug)]
pub struct Controller {
    pub(super) options: Options,
    pub(super) ledger: Ledger,
    contents: Contents,
    /// Each in a box: where keys come in order, a map's nodes are half empty.
    pub(super) cases: BTreeMap<WorkloadRef, Box<Case>>,
    /// How much memory the workloads take.
    kept: Kept<WorkloadRef, MOST_KEPT>,
    /// Those for which there is no room.
    left_out: BTreeSet<WorkloadRef>,
    index: Index,
    /// Rolls whose plan isn't known to be written.
    plans: BTreeMap<WorkloadRef, Roll>,
    /// Those with a roll, as long as nothing has changed about them or those that wait.
    neighbours: Option<Neighbours>,
    /// Whose pods are listed once more as a place is free: they have it, since then.
    turns: BTreeMap<WorkloadRef, Time>,
    /// What is said once a record is known to be this.
    unsaid: BTreeMap<WorkloadRef, (Option<Record>, Report)>,
    holds: Holds,
    is_fenced: bool,
    calendar: Calendar,
    is_synced: bool,
    /// Whom to look at.
    dirty: BTreeSet<WorkloadRef>,
    /// Whom to look at later.
    due: BTreeSet<(Time, WorkloadRef)>,
    actions: VecDeque<Action>,
}

impl Controller {
    /// One that knows nothing yet.
    pub fn new(options: Options, calendar: Calendar) -> Self {
        Self {
            options,
            ledger: Ledger::default(),
            contents: Contents::default(),
            cases: BTreeMap::new(),
            kept: Kept::default(),
            left_out: BTreeSet::new(),
            index: Index::default(),
            plans: BTreeMap::new(),
            neighbours: None,
            turns: BTreeMap::new(),
            unsaid: BTreeMap::new(),
            holds: Holds::default(),
            is_fenced: false,
            calendar,
            is_synced: false,
            dirty: BTreeSet::new(),
            due: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, event: Event, now: Time) {
        self.neighbours = None;
        match event {
            Event::Workload(who, workload) => {
                if workload.is_none() {
                    self.left_out.remove(&who);
                }
                self.take_workload(who, workload, now);
            }
            Event::Object(object, seen) => {
                let news = self.contents.see(&object, seen);
                if news != News::Nothing {
                    self.look_at_users(&object);
                }
                if news == News::Standing {
                    self.dirty.extend(self.index.open(&object.namespace).cloned());
                }
            }
            Event::Synced => {
                self.is_synced = true;
                self.dirty.extend(self.cases.keys().cloned());
            }
            Event::Content(object, content) => {
                self.contents.fetched(&object, Some(content), now);
                self.look_at_users(&object);
            }
            Event::Unfit(object) => {
                self.contents.unfit(&object, now);
                self.look_at_users(&object);
            }
            Event::Unfetched(object, why) => {
                self.contents.fetched(&object, None, now);
                for who in self.index.users(&object).cloned().collect::<Vec<_>>() {
                    if let Some(case) = self.cases.get_mut(&who) {
                        case.unread(&why);
                    }
                    self.retry(&who, now);
                    self.dirty.insert(who);
                }
            }
            Event::Read(shard, version, records) => {
                let changed = self.ledger.read(shard, version, records);
                self.settle(changed);
                // Of some nothing was recorded.
                self.dirty.extend(self.cases.keys().filter(|who| Shard::of(who) == shard).cloned());
            }
            Event::Wrote(shard, version) => {
                let changed = self.ledger.wrote(shard, version);
                for who in &changed {
                    // What comes next says whether it waits for something else.
                    if let Some(case) =
                        self.cases.get_mut(who).filter(|case| case.wait() == Some(Wait::State))
                    {
                        case.begins();
                    }
                }
                self.settle(changed);
            }
            Event::Lost(shard, why) => {
                self.ledger.lost(shard, why);
                self.block_waiting();
            }
            Event::Pods(who, listed) => {
                if let Some(case) = self.cases.get_mut(&who) {
                    case.listed(listed, now);
                    self.dirty.insert(who);
                }
            }
            Event::Unlisted(who, why) => {
                if let Some(case) = self.cases.get_mut(&who) {
                    case.unlisted(why, now);
                    self.dirty.insert(who);
                }
            }
            Event::Unlooked(who) => {
                if let Some(case) = self.cases.get_mut(&who) {
                    case.unlooked(now);
                }
                self.retry(&who, now);
                self.give_up_late(&who, now);
            }
            Event::Looked(who, pod, said) => {
                if let Some(case) = self.cases.get_mut(&who) {
                    case.looked(pod.as_ref(), &said, &self.options, now);
                    self.dirty.insert(who);
                }
            }
            Event::Granted(who, granted) => self.take_granted(who, granted, now),
            Event::Rolled(who, answer) => self.take_answer(who, answer, now),
            Event::Fence(stands) => {
                self.is_fenced = stands;
                self.look_at_waiting();
            }
            Event::Holds { all, namespaces } => {
                self.holds = Holds::new(all, namespaces);
                self.look_at_waiting();
            }
        }
        self.work(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) {
        self.neighbours = None;
        while let Some((due, who)) = self.due.pop_first() {
            if due > now {
                self.due.insert((due, who));
                break;
            }
            let Some(case) = self.cases.get_mut(&who) else {
                // A roll of one that is left out may be late.
                self.dirty.insert(who);
                continue;
            };
            if case.take_due(due) {
                for (kind, name) in case.objects() {
                    self.contents.try_again(&ObjectRef { kind, namespace: who.namespace.clone(), name });
                }
                self.dirty.insert(who);
            }
        }
        self.work(now);
    }

    /// When time has to be told next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is to be done next.
    pub fn poll_action(&mut self, now: Time) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if let Some((shard, access)) = self.ledger.next() {
            return Some(Action::Access(shard, access));
        }
        self.contents.next(now).map(Action::Fetch)
    }

    /// What each workload's roll waits for, if one is wanted.
    pub fn waiting(&self) -> impl Iterator<Item = (&WorkloadRef, Wait)> {
        self.cases.iter().filter_map(|(who, case)| Some((who, case.wait()?)))
    }

    fn take_workload(&mut self, who: WorkloadRef, workload: Option<Arc<Workload>>, now: Time) {
        let Some(workload) = workload.filter(|workload| self.has_room(&who, workload)) else {
            self.kept.set(&who.namespace, &who, 0);
            if let Some(case) = self.cases.remove(&who) {
                self.use_objects(&who, &case.objects(), &BTreeSet::new());
                self.index.opens(&who, false);
                self.index.waits(&who, false);
                self.turns.remove(&who);
                self.look_at_waiting();
                self.refetch_left_out(&who);
            }
            self.dirty.insert(who);
            return;
        };
        let known = self.cases.get(&who).map(|case| case.workload());
        // A watch can lag behind what came of a request.
        if known.is_some_and(|known| known.uid == workload.uid && known.generation > workload.generation) {
            return;
        }
        let before = self.cases.get(&who).map(|case| case.problems().to_vec()).unwrap_or_default();
        let mut is_newly_available = false;
        let case = match self.cases.entry(who.clone()) {
            Entry::Occupied(known) => {
                let case = known.into_mut();
                is_newly_available = case.update(workload, now);
                case
            }
            Entry::Vacant(vacant) => vacant.insert(Box::new(Case::new(workload, now))),
        };
        case.asked.check_zones(|zone| self.calendar.clock(zone, Time::default()).is_some());
        if case.problems() != before {
            let report = Report::Problems(case.problems().to_vec());
            self.actions.push_back(Action::Report(who.clone(), report));
        }
        let is_rolled = |record: &Record| matches!(record.step, Step::Planned(_) | Step::Rolling(_));
        if is_newly_available && self.ledger.known(&who).is_some_and(is_rolled) {
            // Its place in the budget is free.
            self.look_at_waiting();
        }
        self.dirty.insert(who);
    }

    /// Whether there is room for a workload, which is taken then. Where there is none, that is said.
    fn has_room(&mut self, who: &WorkloadRef, workload: &Workload) -> bool {
        let cost = workload.cost();
        if self.kept.has_room(&who.namespace, who, cost) {
            self.kept.set(&who.namespace, who, cost);
            if self.left_out.remove(who) {
                // There may be room for more of them.
                self.refetch_left_out(who);
            }
            return true;
        }
        if self.left_out.insert(who.clone()) {
            let report = Report::Problems(vec![room::for_workload()]);
            self.actions.push_back(Action::Report(who.clone(), report));
        }
        false
    }

    /// There is room where this one was: the next one that had none is looked at.
    fn refetch_left_out(&mut self, who: &WorkloadRef) {
        let next = self.left_out.range((Bound::Excluded(who), Bound::Unbounded)).next();
        if let Some(next) = next.or_else(|| self.left_out.first()).filter(|next| *next != who) {
            self.actions.push_back(Action::Refetch(next.clone()));
        }
    }

    fn take_answer(&mut self, who: WorkloadRef, answer: Answer, now: Time) {
        let Some(case) = self.cases.get_mut(&who) else { return };
        case.answered();
        match answer {
            Answer::Taken(workload) => self.take_workload(who, Some(workload), now),
            Answer::Conflict => {
                // One is nothing unusual. Whoever has changed it may be another controller.
                let pause = case.pause();
                if pause > FIRST_PAUSE {
                    case.puts_off(now + pause, None);
                    if case.waits(Wait::Refused) {
                        self.actions.push_back(Action::Report(who.clone(), Report::Waits(Wait::Refused)));
                    }
                }
                self.ledger.doubt(&who);
                self.actions.push_back(Action::Refetch(who.clone()));
                self.wake(&who, now + pause);
            }
            Answer::Refused(reason) => {
                if case.waits(Wait::Refused) {
                    self.actions.push_back(Action::Report(who.clone(), Report::Refused(reason)));
                }
                let until = now + case.pause();
                let record = self.ledger.record(&who).flatten();
                let planned = record.and_then(Record::planned).map(|roll| roll.marker.clone());
                case.puts_off(until, planned);
                self.wake(&who, until);
                // What it waits for keeps nobody else waiting.
                self.dirty.insert(who);
            }
        }
    }

    fn take_granted(&mut self, who: WorkloadRef, granted: Granted, now: Time) {
        let Some(case) = self.cases.get_mut(&who) else { return };
        if matches!(granted, Granted::Refused(_)) {
            case.refused(now);
        }
        case.granted(matches!(granted, Granted::Taken));
        match granted {
            Granted::Taken => drop(self.dirty.insert(who)),
            Granted::Conflict => self.retry(&who, now),
            Granted::Refused(reason) => {
                if case.waits(Wait::Refused) {
                    self.actions.push_back(Action::Report(who.clone(), Report::Refused(reason)));
                }
                self.retry(&who, now);
            }
        }
    }

    /// Records are known (again).
    fn settle(&mut self, changed: BTreeSet<WorkloadRef>) {
        for who in &changed {
            self.plans.remove(who);
            let said = self.unsaid.remove(who);
            let said = said.filter(|(record, _)| self.ledger.record(who) == Some(record.as_ref()));
            self.actions.extend(said.map(|(_, report)| Action::Report(who.clone(), report)));
        }
        self.dirty.extend(changed);
        self.look_at_waiting();
    }

    fn look_at_users(&mut self, object: &ObjectRef) {
        self.dirty.extend(self.index.users(object).cloned());
    }

    fn look_at_waiting(&mut self) {
        self.dirty.extend(self.index.waiting().iter().cloned());
    }

    /// Nobody has answered: it is looked at again after a pause.
    fn retry(&mut self, who: &WorkloadRef, now: Time) {
        let Some(case) = self.cases.get_mut(who) else { return };
        let pause = case.pause();
        self.wake(who, now + pause);
    }

    fn wake(&mut self, who: &WorkloadRef, at: Time) {
        // Whatever an earlier look is for isn't over by this one.
        let is_first = |case: &&mut Box<Case>| case.due().is_none_or(|due| at < due);
        let Some(case) = self.cases.get_mut(who).filter(is_first) else { return };
        if let Some(before) = case.wake(at) {
            self.due.remove(&(before, who.clone()));
        }
        self.due.insert((at, who.clone()));
    }

    /// Has a workload's record written, or taken away. Whether there is room for it.
    fn put(&mut self, who: &WorkloadRef, record: Option<Record>) -> bool {
        self.neighbours = None;
        self.ledger.write(who, record)
    }

    fn use_objects(&mut self, who: &WorkloadRef, before: &BTreeSet<Object>, now: &BTreeSet<Object>) {
        for object in self.index.uses(who, before, now) {
            self.contents.forget(&object);
        }
    }

    fn work(&mut self, now: Time) {
        if !self.is_synced || !self.ledger.is_known() {
            return;
        }
        while let Some(who) = self.dirty.pop_first() {
            self.look_at(&who, now);
        }
    }

    /// Looks at a workload, and does what is to be done next.
    fn look_at(&mut self, who: &WorkloadRef, now: Time) {
        let Some(record) = self.ledger.record(who).map(Option::<&Record>::cloned) else { return };
        let Some(mut case) = self.cases.remove(who) else {
            match record {
                None => {}
                // What is remembered of it counts once there is room for it, and keeps nobody waiting for ever.
                Some(record) if self.left_out.contains(who) => self.give_up_left_out(who, &record, now),
                // It is gone, and with it what is remembered.
                Some(_) => drop(self.put(who, None)),
            }
            return;
        };
        let before: BTreeSet<Object> = case.objects();
        let waited = waits(&case);
        case.find_uses(&who.namespace, self.options.looks, &self.contents);
        self.use_objects(who, &before, &case.objects());
        self.index.opens(who, self.options.looks.annotations && case.has_lists());
        let next = case.next(who, record.as_ref(), &self.options, &mut self.contents, now);
        let later = self.follow(who, &mut case, record, next, now);
        if self.index.waits(who, case.wait().is_some()) {
            self.look_at_waiting();
        }
        self.neighbours.take_if(|_| waits(&case) != waited);
        self.cases.insert(who.clone(), case);
        if let Some(at) = later {
            self.wake(who, at);
        }
    }
}

/// What others wait for by what a workload waits for: its wave, and what differs.
fn waits(case: &Case) -> Option<(i32, BTreeSet<Object>)> {
    case.wait().map(|_| (case.wave(), case.differing().clone()))
}
