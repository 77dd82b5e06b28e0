//! One workload: what it is rolled for, and how far that is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::time::Time;
use crate::policy::problem::Problem;
use crate::policy::reloader::Asking;
use crate::policy::rollout::{Asked, Windows};
use crate::rollouts::changed::Changed;
use crate::rollouts::content::Print;
use crate::rollouts::contents::Contents;
use crate::rollouts::event::{Listed, Report, Wait};
use crate::rollouts::found::{Found, Sight};
use crate::rollouts::next::Next;
use crate::rollouts::pods::{self, Known, Listing, Unlisted};
use crate::rollouts::record::{Prints, Record, Roll, Step};
use crate::rollouts::restarting::{Refusals, SETTLE, Watched};
use crate::rollouts::room;
use crate::rollouts::settings::Options;
use crate::rollouts::uses::{Looks, Object, Uses};
use crate::rollouts::workload::{Progress, Workload, WorkloadRef};

use restart::Look;

mod deciding;
mod restart;
mod rolling;

/// One workload.
#[derive(Debug)]
pub(crate) struct Case {
    workload: Arc<Workload>,
    pub(super) asked: Asked,
    has_lists: bool,
    /// What it uses, and how often the objects of its namespace had become others then; `None` where that is to be found out.
    uses: Option<(Uses, u64)>,
    /// What differs, and since when.
    changed: Option<Changed>,
    pods: Listing,
    /// How often it has said something else than before.
    edition: u64,
    /// How often its pods were listed in a row without anything that came of it, and when they were asked for last.
    listings: (u32, Time),
    /// That they couldn't be listed when that was tried last.
    unlisted: Option<Box<Unlisted>>,
    /// Whether its template, or a pod, is being changed.
    is_rolled: bool,
    /// The pod that is restarted in place, and how far it was found to be.
    restart: Option<(Watched, Look)>,
    /// What was said against restarts of its pods.
    refusals: Refusals,
    /// The UID of the pod that had its turn last, and whether one was restarted since that was written.
    had_turn: Option<Name>,
    has_gone_on: bool,
    /// The mark of its plan, if that is known to be in no template.
    unmade: Option<Name>,
    wait: Option<Wait>,
    /// What was told last.
    pub(super) told: Option<Report>,
    /// When it is looked at again.
    due: Option<Time>,
    /// Why what an object holds couldn't be read when that was tried last.
    unread: Option<Box<str>>,
    /// Until when no change of its template is tried, as the last ones weren't taken.
    put_off: Option<Time>,
    /// How often nobody has answered in a row.
    failures: u32,
    /// Since when all of its pods have been available, as far as was seen; `None` where some aren't, or there are none.
    available: Option<Time>,
}

impl Case {
    pub(crate) fn new(workload: Arc<Workload>, now: Time) -> Self {
        Self {
            available: is_available(&workload).then_some(now),
            asked: Asked::of(&workload.own, &workload.spec.annotations),
            has_lists: has_lists(&workload),
            workload,
            uses: None,
            changed: None,
            pods: Listing::Unknown,
            edition: 0,
            listings: (0, Time::default()),
            unlisted: None,
            is_rolled: false,
            restart: None,
            refusals: Refusals::default(),
            had_turn: None,
            has_gone_on: false,
            unmade: None,
            wait: None,
            told: None,
            due: None,
            unread: None,
            put_off: None,
            failures: 0,
        }
    }

    /// It is another one by now. Whether it is available, and wasn't.
    pub(crate) fn update(&mut self, workload: Arc<Workload>, now: Time) -> bool {
        if workload.uid != self.workload.uid {
            *self = Self::new(workload, now);
            return false;
        }
        let before = &self.workload;
        let was_available = self.available.is_some();
        // Of another template other pods are available.
        let since = self.available.filter(|_| workload.generation == before.generation).unwrap_or(now);
        self.available = is_available(&workload).then_some(since);
        if !workload.says_the_same(before) {
            self.edition += 1;
        }
        if workload.generation != before.generation {
            // Its selector may be mended, as far as that can be.
            self.unlisted = None;
        }
        if workload.spec != before.spec
            || workload.own != before.own
            || workload.of_template != before.of_template
        {
            self.asked = Asked::of(&workload.own, &workload.spec.annotations);
            self.has_lists = has_lists(&workload);
            self.uses = None;
        }
        self.workload = workload;
        !was_available && self.available.is_some()
    }

    pub(crate) fn workload(&self) -> &Workload {
        &self.workload
    }

    /// What its pods prove of what they hold: one that ends soon after its start was available, too.
    pub(crate) fn proof(&self, now: Time) -> Proof {
        let settle = SETTLE.saturating_sub(self.workload.min_ready);
        match self.available.map(|since| since + settle) {
            Some(until) if now >= until => Proof::Stays,
            Some(until) => Proof::Settles(until),
            None if self.workload.is_empty => Proof::Nothing,
            None => Proof::Broken,
        }
    }

    pub(crate) const fn wave(&self) -> i32 {
        self.asked.wave
    }

    /// What is wrong with what it asks for.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.asked.problems
    }

    /// When it may be rolled.
    pub(crate) const fn windows(&self) -> Option<&Windows> {
        self.asked.windows.as_ref()
    }

    /// What its roll waits for, if one is wanted.
    pub(crate) const fn wait(&self) -> Option<Wait> {
        self.wait
    }

    /// The objects that differ from what its pods hold.
    pub(crate) fn differing(&self) -> &BTreeSet<Object> {
        static NONE: BTreeSet<Object> = BTreeSet::new();
        self.changed.as_ref().map_or(&NONE, |changed| &changed.objects)
    }

    /// Whether what a roll of it was made for is what there is now, as far as it uses this object.
    pub(crate) fn holds_still(
        &self,
        roll: &Roll,
        object: &Object,
        namespace: &Name,
        contents: &Contents,
    ) -> bool {
        let (Some((uses, _)), Some(held)) = (&self.uses, roll.wanted.get(object)) else { return false };
        let place = ObjectRef { kind: object.0, namespace: namespace.clone(), name: object.1.clone() };
        let content = contents.last(&place);
        content.is_some_and(|content| !uses.differs(object, content, uses.print(object, content), *held))
    }

    /// The objects that it is rolled for.
    pub(crate) fn objects(&self) -> BTreeSet<Object> {
        self.uses.iter().flat_map(|(uses, _)| uses.objects.keys().cloned()).collect()
    }

    /// Whether its annotations are Reloader's, which may take objects that aren't named anywhere.
    pub(crate) const fn has_lists(&self) -> bool {
        self.has_lists
    }

    /// Finds out what it uses.
    pub(crate) fn find_uses(&mut self, namespace: &Name, looks: Looks, contents: &Contents) {
        let (names, changes) = contents.of_namespace(namespace);
        let counts = looks.annotations && self.has_lists;
        if self.uses.as_ref().is_some_and(|(_, known)| !counts || *known == changes) {
            return;
        }
        let uses = match self.asked.refuses {
            true => Uses::default(),
            false => {
                let none = BTreeMap::new();
                Uses::of(&self.workload, namespace, self.asked.rolls, looks, names.unwrap_or(&none))
            }
        };
        self.uses = Some((uses, changes));
    }

    /// Until when its pods aren't asked for, as they couldn't be listed.
    fn unlisted_until(&self, now: Time) -> Option<Time> {
        self.unlisted.as_ref().map(|unlisted| unlisted.until).filter(|until| now < *until)
    }

    /// Its pods are listed.
    pub(crate) fn lists(&mut self, now: Time) {
        self.pods = Listing::Asked(now, self.edition);
        self.listings = (self.listings.0.saturating_add(1), now);
    }

    /// By its pods it is known what is to be done.
    pub(crate) fn decided(&mut self) {
        self.listings.0 = 0;
    }

    /// Until when they aren't, as nothing came of the last lists.
    pub(crate) fn lists_later(&self, now: Time) -> Option<Time> {
        let (count, last) = self.listings;
        pods::quiet(count, last).filter(|until| now < *until)
    }

    /// Its pods were listed.
    pub(crate) fn listed(&mut self, listed: Listed, now: Time) {
        if let Listing::Asked(asked, edition) = &self.pods {
            let took = now.since(*asked);
            let known = Known { asked: *asked, came: now, took, edition: *edition, listed, waits_for: None };
            self.pods = Listing::Known(known);
            self.unlisted = None;
        }
    }

    /// A roll for these contents waits for something that isn't its own.
    pub(crate) fn waits_with(&mut self, wanted: Prints) {
        self.pods.wait_for(wanted);
    }

    /// They couldn't be, for this reason.
    pub(crate) fn unlisted(&mut self, why: String, now: Time) {
        self.pods = Listing::Unknown;
        self.unlisted = Some(Box::new(Unlisted::again(self.unlisted.as_deref(), why, now)));
    }

    /// Why they can't be, if they can't.
    pub(crate) fn why_unlisted(&self) -> Option<&str> {
        self.unlisted.as_ref().map(|unlisted| &*unlisted.why)
    }

    /// What an object holds that it uses couldn't be read, for this reason.
    pub(crate) fn unread(&mut self, why: &str) {
        self.unread = Some(why.into());
    }

    /// Why it couldn't be, when that was tried last.
    pub(crate) fn why_unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// They are to be listed once more.
    pub(crate) fn relist(&mut self) {
        self.pods = Listing::Unknown;
    }

    /// Its template is being changed.
    pub(crate) fn rolls(&mut self) {
        self.is_rolled = true;
        self.unmade = None;
        self.listings.0 = 0;
    }

    /// Its template is to get this mark, which is new.
    pub(crate) fn plans(&mut self, marker: Name) {
        self.unmade = Some(marker);
    }

    /// Somebody has said what came of that.
    pub(crate) fn answered(&mut self) {
        self.is_rolled = false;
        self.pods = Listing::Unknown;
    }

    /// Nothing is wanted any more.
    pub(crate) fn rest(&mut self) {
        (self.changed, self.wait, self.told) = (None, None, None);
        (self.pods, self.unlisted, self.unread, self.put_off) = (Listing::Unknown, None, None, None);
        (self.failures, self.listings.0) = (0, 0);
    }

    /// It waits for something. Whether that is new.
    pub(crate) fn waits(&mut self, wait: Wait) -> bool {
        self.told = None;
        self.wait.replace(wait) != Some(wait)
    }

    /// What it has waited for is over.
    pub(crate) fn begins(&mut self) {
        (self.wait, self.told) = (None, None);
    }

    /// People are to be told something. Whether that is new.
    pub(crate) fn tells(&mut self, report: &Report) -> bool {
        self.wait = None;
        let is_new = self.told.as_ref() != Some(report);
        self.told = Some(report.clone());
        is_new
    }

    /// How long to wait where nobody has answered.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = pods::pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// A change of its template wasn't taken, and isn't tried again before this. Of the plan with the mark `unmade` it is known that nothing was made.
    pub(crate) fn puts_off(&mut self, until: Time, unmade: Option<Name>) {
        self.put_off = Some(until);
        self.unmade = unmade.or(self.unmade.take());
    }

    /// Until when no change of its template is tried.
    fn put_off(&self, now: Time) -> Option<Time> {
        self.put_off.filter(|until| now < *until)
    }

    /// When it is looked at again.
    pub(crate) const fn due(&self) -> Option<Time> {
        self.due
    }

    /// It is looked at again at this moment. When it would have been.
    pub(crate) fn wake(&mut self, at: Time) -> Option<Time> {
        self.due.replace(at)
    }

    /// Whether it is this moment at which it is looked at again.
    pub(crate) fn take_due(&mut self, due: Time) -> bool {
        self.due.take_if(|own| *own == due).is_some()
    }

    /// What its objects hold; or what follows where that isn't known.
    fn sight(&self, uses: &Uses, who: &WorkloadRef, contents: &mut Contents) -> Result<Found, Box<Next>> {
        let seen = Found::of(uses, &who.namespace, contents, Time::default(), Time::default());
        let tell = |problem| Err(Box::new(Next::Tell(Report::Problems(vec![problem]))));
        match seen {
            Sight::Known(found) => Ok(found),
            Sight::Unknown if self.unread.is_some() => Err(Box::new(Next::Wait(Wait::Objects, None))),
            Sight::Unknown => Err(Box::new(Next::Busy(None))),
            Sight::NoRoom => tell(room::for_contents()),
            Sight::Unfit(object) => tell(room::for_keys(&object)),
        }
    }

    /// What is to be done next, by what is remembered of it.
    pub(crate) fn next(
        &mut self,
        who: &WorkloadRef,
        record: Option<&Record>,
        options: &Options,
        contents: &mut Contents,
        now: Time,
    ) -> Next {
        if self.is_rolled {
            return Next::Busy(None);
        }
        let uses = self.uses.as_ref().map(|(uses, _)| uses);
        let uses = uses.filter(|uses| uses.are_too_many || !uses.objects.is_empty());
        let Some(uses) = uses else {
            return if record.is_some() { Next::Write(None, None) } else { Next::Rest };
        };
        let seen = if uses.are_too_many {
            Err(Box::new(Next::Tell(Report::Problems(vec![room::for_objects()]))))
        } else {
            self.sight(uses, who, contents).map(|found| (found.wanted(uses), found))
        };
        let own = record.filter(|record| record.uid == self.workload.uid);
        if let Some(record) = own {
            // How far its roll is doesn't hang on what the objects hold by now.
            let next = self.follow_roll(record, seen.as_ref().ok(), options, now);
            let next = next.or_else(|| self.doubt(record, options, now));
            if let Some(next) = next.or_else(|| self.follow_restart(record, now)) {
                return next;
            }
        }
        let (wanted, found) = match seen {
            Ok(known) => known,
            Err(next) => return *next,
        };
        // What there is now is what its pods are taken to hold.
        let Some(record) = own else {
            return Next::Write(Some(Record::begin(self.workload.uid.clone(), wanted)), None);
        };
        let held = record.held();
        // Where some pods were restarted in place and others weren't, two contents are held.
        let other = record.partial().map(|roll| &roll.wanted);
        let Some((uses, _)) = &self.uses else { return Next::Rest };
        let differs = |(object, now): &(&Object, &Print)| {
            let is_other = |held: &Print| uses.differs(object, found.content(object), **now, *held);
            [Some(held), other].into_iter().flatten().filter_map(|held| held.get(*object)).any(is_other)
        };
        let differing = wanted.iter().filter(differs);
        let differing: BTreeSet<Object> = differing.map(|(object, _)| object.clone()).collect();
        if differing.is_empty() {
            // What it hasn't used before is what its pods hold of it: they are of the template that uses it.
            let is_same = *held == wanted && record.planned().is_none() && other.is_none();
            return match (is_same, &record.step) {
                (true, Step::Rolling(_)) => Next::Busy(None),
                (true, _) => Next::Rest,
                (false, _) => Next::Write(Some(record.holds(wanted, None)), None),
            };
        }
        self.changed = Some(Changed::note(self.changed.take(), wanted, differing, &found, now));
        self.decide(who, record, options, &found, contents, now)
    }
}

/// What a workload's pods prove of what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// They have been available for long enough.
    Stays,
    /// They will have been then.
    Settles(Time),
    /// They aren't available.
    Broken,
    /// There are none.
    Nothing,
}

fn is_available(workload: &Workload) -> bool {
    workload.progress == Progress::Available && !workload.is_empty
}

fn has_lists(workload: &Workload) -> bool {
    Asking::new(&workload.own, &workload.of_template).is_any()
}
