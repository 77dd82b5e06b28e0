//! A send on its way: which generations it is about, and how each process took it.

use std::borrow::Cow;
use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::machine::event::Delivery;
use crate::machine::reload::progress::Pending;
use crate::machine::reload::sight::Sight;
use crate::model::generation::Generation;
use crate::model::journal::LastDelivery;
use crate::model::names::Name;
use crate::model::outcome::Outcome;
use crate::model::time::Time;

/// What the kernel says where it denies a send.
const DENIED: &str = "EPERM: Operation not permitted";

/// Why a signal that was sent counts as unhandled: for whom the kernel drops it, and what was seen.
const DROPPED: &str = "the kernel drops it for a process that ignores it and for the first one of a container that has no \
                       handler (SIGWINCH and SIGCONT for any such), and none of the new files was opened within 2 s of the \
                       signal";

/// The same where it can't be seen whether a file is opened.
const UNSEEN: &str = "the kernel drops it for a process that ignores it and for the first one of a container that has no \
                      handler (SIGWINCH and SIGCONT for any such), and whether one of the new files was opened couldn't be seen";

/// The same where others were sent it too, which open files.
const DROPPED_FOR_SOME: &str = "the kernel drops it for those of the processes that ignore it, or have no handler and are the \
                                first one of a PID namespace (SIGWINCH and SIGCONT for any such)";

/// How long a signal that the kernel may drop is taken not to be dropped yet: whoever takes it opens a file by then.
pub(super) const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// A send on its way.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    /// What it settles; what settles meanwhile has a reload of its own.
    generations: Vec<(Name, Pending)>,
    /// When the waits that the pod asked for were over.
    due: Time,
    changes: Option<(Time, Time)>,
    results: Vec<(ProcessIdentity, Option<Delivery>)>,
    /// What the processes that were not sent anything make of it.
    worst: Outcome,
    /// For whom the kernel may drop the signal: a process that ignores it and the first one of a PID namespace that has no
    /// handler, unless it waits for it in `sigwait`, which can't be seen. Who takes it opens files.
    may_drop: Vec<ProcessIdentity>,
    /// Until when it isn't known whether these take it.
    unseen_until: Option<Time>,
    /// When it went out.
    begun: Time,
    /// The open that has shown it.
    opened: Option<(Name, Generation, Time)>,
    /// Whether an open has shown it.
    is_shown: bool,
    /// How well opens were seen.
    sight: Sight,
    /// It is a request: whoever takes it may open files before the answer is there. What is known of the processes before it.
    request: Option<Standing>,
    /// The process has ended before the answer was there.
    ended: Option<Box<Ended>>,
    /// Why a request has failed.
    failure: Option<String>,
}

/// Whether the end of a process, told now, would say something about that, and whether it is known to be ready.
pub(super) type Standing = (bool, bool);

/// The end of a process during a request to it.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) process: ProcessIdentity,
    pub(super) at: Time,
    /// What the journal is to hold of it, if the server had the request.
    pub(super) record: Option<LastDelivery>,
}

/// What came of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Some processes haven't answered yet, or it isn't known yet whether they take it.
    NotYet,
    /// All of them are gone: nobody was told.
    ToNobody,
    /// The worst of what came of it, and whether anybody was sent anything.
    So(Outcome, bool),
}

impl Sending {
    /// A signal goes out to these processes.
    pub(super) fn new(
        generations: Vec<(Name, Pending)>,
        due: Time,
        changes: Option<(Time, Time)>,
        to: &[ProcessIdentity],
        worst: Outcome,
        now: Time,
    ) -> Self {
        let results = to.iter().map(|process| (process.clone(), None)).collect();
        Self {
            generations,
            due,
            changes,
            results,
            worst,
            may_drop: Vec::new(),
            unseen_until: None,
            begun: now,
            opened: None,
            is_shown: false,
            sight: Sight::Clear,
            request: None,
            ended: None,
            failure: None,
        }
    }

    /// The same, as a request.
    pub(super) fn request(self, standing: Standing) -> Self {
        Self { request: Some(standing), ..self }
    }

    /// Whether it is a request, and what is known of the processes before it.
    pub(super) const fn as_request(&self) -> Option<Standing> {
        self.request
    }

    /// The process has ended before the answer to the request was there.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.ended.get_or_insert(Box::new(ended));
    }

    /// One of these has ended before the answer was there, and of something else: nothing of that is to be recorded.
    pub(super) fn absolve(&mut self, is_it: impl Fn(&ProcessIdentity) -> bool) {
        if let Some(ended) = self.ended.as_mut().filter(|ended| is_it(&ended.process)) {
            ended.record = None;
        }
    }

    /// That it has.
    pub(super) fn take_ended(&mut self) -> Option<Box<Ended>> {
        self.ended.take()
    }

    /// The request has failed: what it told of was tried.
    pub(super) fn tried(&mut self) {
        self.generations.iter_mut().for_each(|(_, pending)| pending.tried = true);
    }

    /// The request has failed for good, and this is why.
    pub(super) fn fail(&mut self, why: String) {
        self.failure = Some(why);
    }

    /// The same; until then it isn't known whether these take it, and if nothing has shown it by then they haven't.
    pub(super) fn unseen(mut self, may_drop: Vec<ProcessIdentity>, until: Time) -> Self {
        (self.may_drop, self.unseen_until) = (may_drop, Some(until));
        self
    }

    /// A file of a generation was opened.
    pub(super) fn opened(&mut self, volume: &Name, generation: &Generation, at: Time) {
        if !self.tells_of(volume, generation) || at < self.begun {
            return;
        }
        if self.unseen_until.take().is_some() {
            self.is_shown = true;
        } else if self.request.is_none() {
            return;
        }
        self.opened.get_or_insert_with(|| (volume.clone(), generation.clone(), at));
    }

    /// Opens were seen no better than this at some time.
    pub(super) fn dim(&mut self, sight: Sight) {
        self.sight = self.sight.max(sight);
    }

    /// How well opens were seen at any time.
    pub(super) const fn sight(&self) -> Sight {
        self.sight
    }

    /// Whether it tells of a generation.
    pub(super) fn tells_of(&self, volume: &Name, generation: &Generation) -> bool {
        self.generation(volume).is_some_and(|pending| pending.generation == *generation)
    }

    /// When it went out.
    pub(super) const fn begun(&self) -> Time {
        self.begun
    }

    /// The open that has shown that the signal was taken.
    pub(super) fn take_opened(&mut self) -> Option<(Name, Generation, Time)> {
        self.opened.take()
    }

    /// When something of it is due.
    pub(super) const fn timeout(&self) -> Option<Time> {
        self.unseen_until
    }

    /// Time has passed: whoever hasn't opened anything by now hasn't taken the signal, as far as can be known.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.unseen_until.take_if(|until| now >= *until);
    }

    /// Those that were there to be sent it, and for whom the kernel hasn't dropped it, as far as can be known.
    pub(super) fn receivers(&self) -> impl Iterator<Item = &ProcessIdentity> {
        let is_dropped = !self.is_shown || self.is_any_sure();
        self.sent().filter(move |process| !is_dropped || !self.may_drop.contains(process))
    }

    /// Whether it goes out to a process.
    pub(super) fn is_to(&self, process: &ProcessIdentity) -> bool {
        self.results.iter().any(|(to, _)| to == process)
    }

    /// Those that were there to be sent it.
    fn sent(&self) -> impl Iterator<Item = &ProcessIdentity> {
        let sent = self.results.iter().filter(|(_, result)| *result == Some(Delivery::Sent));
        sent.map(|(process, _)| process)
    }

    /// Whether anybody surely got it: then an open says nothing of the others.
    fn is_any_sure(&self) -> bool {
        self.sent().any(|process| !self.may_drop.contains(process))
    }

    /// Whether the kernel has dropped it for somebody, as far as can be known.
    fn is_dropped(&self) -> bool {
        self.sent().count() > self.receivers().count()
    }

    /// The generations that it is about.
    pub(super) fn generations(&self) -> &[(Name, Pending)] {
        &self.generations
    }

    /// The generation of a volume that it is about.
    pub(super) fn generation(&self, volume: &Name) -> Option<&Pending> {
        self.generations.iter().find(|(name, _)| name == volume).map(|(_, pending)| pending)
    }

    /// How a process took it; what was known first stays.
    pub(super) fn took(&mut self, process: &ProcessIdentity, delivery: Delivery) {
        for (_, result) in self.results.iter_mut().filter(|(sent, _)| sent == process) {
            result.get_or_insert(delivery);
        }
    }

    /// What came of it so far.
    pub(super) fn result(&self) -> Sent {
        let results: Option<Vec<Delivery>> = self.results.iter().map(|(_, result)| *result).collect();
        let Some(results) = results else { return Sent::NotYet };
        if results.iter().all(|result| *result == Delivery::Gone) {
            return Sent::ToNobody;
        }
        if self.unseen_until.is_some() && results.contains(&Delivery::Sent) && !self.is_any_sure() {
            return Sent::NotYet;
        }
        let least = if self.is_dropped() { self.worst.max(Outcome::Unhandled) } else { self.worst };
        let worst = results.iter().map(|result| result.outcome()).fold(least, Outcome::max);
        Sent::So(worst, self.receivers().next().is_some())
    }

    /// When the waits that the pod asked for were over.
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// When the first and the last of the changes settled that it is about.
    pub(super) const fn changes(&self) -> Option<(Time, Time)> {
        self.changes
    }

    /// Whether it tells a second time.
    pub(super) fn is_again(&self) -> bool {
        self.generations.iter().any(|(_, pending)| pending.again)
    }

    /// What the kernel said where it refused one of them, the first that was refused, or else why nobody took it.
    pub(super) fn reason(&self) -> Option<Cow<'_, str>> {
        if let Some(failure) = &self.failure {
            return Some(Cow::Borrowed(failure));
        }
        let refused = self.results.iter().find_map(|(_, result)| match result {
            Some(Delivery::Denied) => Some(DENIED),
            Some(Delivery::Failed(error)) => Some(*error),
            Some(Delivery::Sent | Delivery::Spared | Delivery::Gone) | None => None,
        });
        let dropped = match (self.is_any_sure(), self.sight) {
            (true, _) => DROPPED_FOR_SOME,
            (false, Sight::Clear) => DROPPED,
            (false, Sight::Hidden | Sight::Blind) => UNSEEN,
        };
        refused.or_else(|| self.is_dropped().then_some(dropped)).map(Cow::Borrowed)
    }

    /// What it was about.
    pub(super) fn into_generations(self) -> Vec<(Name, Pending)> {
        self.generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::{ContainerId, PodUid};

    fn process(pid: u32) -> ProcessIdentity {
        let pod = PodUid::parse("00000001").unwrap();
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid, started: Time::default(), pod, container }
    }

    fn sending(worst: Outcome) -> Sending {
        Sending::new(Vec::new(), Time::default(), None, &[process(1), process(2)], worst, Time::default())
    }

    #[test]
    fn its_result_is_the_worst_once_everybody_has_answered() {
        let mut some = sending(Outcome::Delivered);
        some.took(&process(1), Delivery::Sent);
        assert_eq!(some.result(), Sent::NotYet);
        some.took(&process(2), Delivery::Denied);
        some.took(&process(2), Delivery::Sent);
        assert_eq!(some.result(), Sent::So(Outcome::Denied, true));
        let mut spared = sending(Outcome::Unhandled);
        [1, 2].into_iter().for_each(|pid| spared.took(&process(pid), Delivery::Spared));
        assert_eq!(spared.result(), Sent::So(Outcome::Unhandled, false));
    }

    #[test]
    fn a_signal_that_the_kernel_may_have_dropped_was_taken_if_somebody_opens_a_file_and_else_not() {
        let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
        let generation = |n| Generation::parse(&format!("..2026_11_21_05_56_44.{n}")).unwrap();
        let volume = Name::from("config");
        let sending = || {
            let pending = Pending {
                generation: generation(2),
                swapped: at(0),
                since: at(0),
                settled: at(0),
                only_if_older: false,
                again: false,
                tried: false,
            };
            let sent = vec![(volume.clone(), pending)];
            let mut sending = Sending::new(sent, at(0), None, &[process(1)], Outcome::Delivered, at(0))
                .unseen(vec![process(1)], at(2));
            sending.took(&process(1), Delivery::Sent);
            sending
        };
        let mut taken = sending();
        assert_eq!((taken.result(), taken.timeout()), (Sent::NotYet, Some(at(2))));
        taken.opened(&volume, &generation(1), at(1));
        taken.opened(&"other".into(), &generation(2), at(1));
        taken.handle_timeout(Time::since_boot(Duration::from_millis(1_999)));
        assert_eq!(taken.result(), Sent::NotYet);
        taken.opened(&volume, &generation(2), at(1));
        assert_eq!(taken.result(), Sent::So(Outcome::Delivered, true));
        assert_eq!(taken.take_opened(), Some((volume.clone(), generation(2), at(1))));
        let mut dropped = sending();
        dropped.handle_timeout(at(2));
        assert_eq!((dropped.result(), dropped.timeout()), (Sent::So(Outcome::Unhandled, false), None));
        dropped.opened(&volume, &generation(2), at(3));
        assert_eq!(dropped.take_opened(), None);
    }

    #[test]
    fn beside_one_that_surely_got_it_those_for_whom_the_kernel_may_have_dropped_it_got_nothing() {
        let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
        let mut some = sending(Outcome::Delivered).unseen(vec![process(2)], at(2));
        [1, 2].into_iter().for_each(|pid| some.took(&process(pid), Delivery::Sent));
        assert_eq!(some.result(), Sent::So(Outcome::Unhandled, true), "nothing is waited for");
        assert_eq!(some.receivers().collect::<Vec<_>>(), [&process(1)]);
        assert_eq!(some.reason().as_deref(), Some(DROPPED_FOR_SOME));
        let mut gone = sending(Outcome::Delivered).unseen(vec![process(2)], at(2));
        gone.took(&process(1), Delivery::Gone);
        gone.took(&process(2), Delivery::Sent);
        assert_eq!(gone.result(), Sent::NotYet);
        gone.handle_timeout(at(2));
        assert_eq!(
            (gone.result(), gone.receivers().count()),
            (Sent::So(Outcome::Unhandled.max(Outcome::Gone), false), 0)
        );
    }

    #[test]
    fn the_kernels_error_is_its_reason() {
        let mut failed = sending(Outcome::Delivered);
        failed.took(&process(1), Delivery::Sent);
        assert_eq!(failed.reason().as_deref(), None);
        failed.took(&process(2), Delivery::Failed("ENOSYS: Function not implemented"));
        assert_eq!(failed.reason().as_deref(), Some("ENOSYS: Function not implemented"));
        let mut denied = sending(Outcome::Delivered);
        denied.took(&process(1), Delivery::Denied);
        assert_eq!(denied.reason().as_deref(), Some("EPERM: Operation not permitted"));
    }

    #[test]
    fn where_all_are_gone_nobody_was_told() {
        let mut sending = sending(Outcome::Delivered);
        [1, 2].into_iter().for_each(|pid| sending.took(&process(pid), Delivery::Gone));
        assert_eq!(sending.result(), Sent::ToNobody);
    }

    #[test]
    fn where_opens_cant_be_seen_that_is_the_reason() {
        let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
        let generation = Generation::parse("..2026_11_21_05_56_44.2").unwrap();
        let pending = Pending {
            generation: generation.clone(),
            swapped: at(0),
            since: at(0),
            settled: at(0),
            only_if_older: false,
            again: false,
            tried: false,
        };
        let sent = vec![("config".into(), pending)];
        let mut sending = Sending::new(sent, at(0), None, &[process(1)], Outcome::Delivered, at(0))
            .unseen(vec![process(1)], at(2));
        sending.took(&process(1), Delivery::Sent);
        assert!(
            sending.tells_of(&"config".into(), &generation)
                && !sending.tells_of(&"other".into(), &generation)
        );
        sending.handle_timeout(at(2));
        assert_eq!(sending.reason().as_deref(), Some(DROPPED));
        sending.dim(Sight::Hidden);
        assert_eq!(sending.reason().as_deref(), Some(UNSEEN));
    }
}
