//! The verify window: what becomes of a process after a delivery.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::machine::reload::process::Process;
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::progress::{Pending, START_DOUBT};
use crate::machine::reload::sight::Sight;
use crate::model::generation::Generation;
use crate::model::journal::LastDelivery;
use crate::model::names::Name;
use crate::model::outcome::Verdict;
use crate::model::time::Time;

/// The shortest window.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// Whoever takes over from a process has started so long before that one ends. Starts are rounded down, and ends are seen a
/// little late: one that was started at once after the end may look as if it had been there before.
const OVERLAP: Duration = Duration::from_millis(50);

/// An open window.
#[derive(Clone, Debug)]
pub(crate) struct Verify {
    until: Time,
    /// Since when the processes have lived through deliveries, each of which closed the window of the one before.
    since: Time,
    first: ProcessIdentity,
    told: Vec<ProcessIdentity>,
    /// Those that have ended, and when if that was seen.
    exits: BTreeMap<ProcessIdentity, Option<Time>>,
    /// The last masks are being read.
    reading: bool,
    delivered: Time,
    /// When the signal went out.
    sent: Time,
    /// What the delivery told of.
    generations: Vec<(Name, Pending)>,
    /// The generations whose opens would be seen and would count still.
    opens: Vec<(Name, Generation)>,
    /// How well opens were seen.
    sight: Sight,
    /// Whether somebody looked through a generation's directory.
    looked_through: bool,
    /// From the delivery to the first open.
    reread: Option<Duration>,
    /// The processes were known to be ready.
    was_ready: bool,
    /// An agent before made the delivery.
    resumed: Option<Resumed>,
}

/// How far a window is that an agent before has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resumed {
    /// It isn't known yet whether its processes are there.
    Unseen,
    /// They were looked for.
    Seen,
}

impl Verify {
    /// The window of a delivery to these processes of a container, of which this is the first one, that told of these generations.
    pub(super) fn open(
        first: ProcessIdentity,
        told: Vec<ProcessIdentity>,
        generations: Vec<(Name, Pending)>,
        window: Duration,
        now: Time,
    ) -> Self {
        let opens: Vec<_> =
            generations.iter().map(|(name, told)| (name.clone(), told.generation.clone())).collect();
        Self {
            until: now + window.max(SHORTEST),
            since: now,
            first,
            told,
            exits: BTreeMap::new(),
            reading: false,
            sent: now,
            delivered: now,
            generations,
            opens,
            sight: Sight::Clear,
            looked_through: false,
            reread: None,
            was_ready: false,
            resumed: None,
        }
    }

    /// The window of a delivery that an agent before has made. Which files were opened meanwhile wasn't seen.
    pub(super) fn resume(past: &LastDelivery, first: ProcessIdentity, told: Vec<ProcessIdentity>) -> Self {
        Self {
            until: past.until,
            since: past.at,
            first,
            told,
            exits: BTreeMap::new(),
            reading: false,
            delivered: past.at,
            sent: past.at,
            generations: Vec::new(),
            opens: Vec::new(),
            sight: Sight::Blind,
            looked_through: false,
            reread: None,
            was_ready: past.was_ready,
            resumed: Some(Resumed::Unseen),
        }
    }

    /// Its processes were looked for.
    pub(super) fn seen(&mut self) {
        if self.resumed.is_some() {
            self.resumed = Some(Resumed::Seen);
        }
    }

    /// A process that was taken to have ended is there.
    pub(super) fn revive(&mut self) {
        self.exits.clear();
    }

    /// When an ending is no consequence any more.
    pub(super) const fn until(&self) -> Time {
        self.until
    }

    /// The signal went out then. What was opened before says nothing.
    pub(super) const fn sent(mut self, at: Time) -> Self {
        self.sent = at;
        self
    }

    /// The processes are known to be ready.
    pub(super) const fn of_ready(mut self, was_ready: bool) -> Self {
        self.was_ready = was_ready;
        self
    }

    /// Whether the processes were known to be ready when they were told.
    pub(super) const fn was_ready(&self) -> bool {
        self.was_ready
    }

    /// It follows one whose processes lived, but not for long enough.
    pub(super) fn after(mut self, before: Option<Time>) -> Self {
        self.since = before.unwrap_or(self.since);
        self
    }

    /// Since when its processes have lived through deliveries, where that isn't long enough yet.
    pub(super) fn lives_since(&self, now: Time) -> Option<Time> {
        (!self.has_exited() && !self.is_over(now)).then_some(self.since)
    }

    /// Whether there was time enough for a consequence: where changes come fast, no window has its time.
    pub(super) fn is_over(&self, now: Time) -> bool {
        now >= self.since + self.until.since(self.delivered)
    }

    /// Whether a process that the delivery was about has ended.
    pub(super) fn has_exited(&self) -> bool {
        !self.exits.is_empty()
    }

    /// When the delivery was made.
    pub(super) const fn delivered(&self) -> Time {
        self.delivered
    }

    /// A file of a generation was opened. How long after the delivery, if that counts: whoever was told of the generation
    /// may have done it.
    pub(super) fn opened(&mut self, volume: &Name, generation: &Generation, at: Time) -> Option<Duration> {
        let is_told = self.opens.iter().any(|(name, told)| name == volume && told == generation);
        if !is_told || at < self.sent || at > self.until {
            return None;
        }
        let after = at.since(self.delivered);
        self.reread = Some(after);
        self.opens.clear();
        Some(after)
    }

    /// The generations whose opens still count; those that aren't current any more are forgotten.
    pub(super) fn opens(&mut self, is_current: impl Fn(&Name, &Generation) -> bool) -> &[(Name, Generation)] {
        self.opens.retain(|(name, generation)| is_current(name, generation));
        &self.opens
    }

    /// What the delivery told of.
    pub(super) fn generations(&self) -> &[(Name, Pending)] {
        &self.generations
    }

    /// A newer generation of a volume is the same to the container: what was told of the older one is as good as told of this.
    pub(super) fn carry_over(&mut self, volume: &Name, newer: &Pending) {
        for (_, told) in self.generations.iter_mut().filter(|(name, _)| name == volume) {
            if self.reread.is_none() {
                self.opens.push((volume.clone(), newer.generation.clone()));
            }
            *told = newer.clone();
        }
    }

    /// Opens were seen no better than this at some time.
    pub(super) fn dim(&mut self, sight: Sight) {
        self.sight = self.sight.max(sight);
    }

    /// How well opens were seen at any time.
    pub(super) const fn sight(&self) -> Sight {
        self.sight
    }

    /// Whether a process may still open a file of a generation, which would count.
    pub(super) fn awaits(&self, volume: &Name, generation: &Generation) -> bool {
        !self.has_exited() && self.opens.iter().any(|(name, told)| name == volume && told == generation)
    }

    /// Somebody looked through a generation's directory.
    pub(super) fn looked_through(&mut self, volume: &Name, generation: &Generation) {
        self.looked_through |= self.tells_of(volume, generation);
    }

    /// Whether somebody looked through the directory of a generation.
    pub(super) const fn is_looked_through(&self) -> bool {
        self.looked_through
    }

    /// Whether the delivery told of a generation.
    pub(super) fn tells_of(&self, volume: &Name, generation: &Generation) -> bool {
        self.generations.iter().any(|(name, told)| name == volume && told.generation == *generation)
    }

    /// Whether the delivery was about this process.
    pub(super) fn concerns(&self, process: &ProcessIdentity) -> bool {
        self.first == *process || self.told.contains(process)
    }

    /// A process that the delivery was about has ended.
    pub(super) fn exited(&mut self, process: &ProcessIdentity, at: Option<Time>) {
        self.exits.entry(process.clone()).or_insert(at);
        // Masks that were asked for don't come any more.
        self.reading = false;
    }

    /// These processes stand for the container by now. If one of them was started between the signal and the end of one that it went
    /// to, that one has handed over to it, and what becomes of it is the consequence: the one that has ended.
    pub(super) fn handed_over(&mut self, chosen: &Chosen) -> Option<ProcessIdentity> {
        if *chosen.first() != self.first {
            return None;
        }
        let started_within = |next: &ProcessIdentity, end: Time| {
            next.started + START_DOUBT >= self.sent && next.started + OVERLAP < end
        };
        let (ended, next) = self.exits.iter().find_map(|(ended, end)| {
            let mut told = chosen.told().iter().map(Process::identity);
            let end = (*end)?;
            let next = told.find(|next| !self.told.contains(next) && started_within(next, end))?;
            (*ended != self.first).then(|| (ended.clone(), next.clone()))
        })?;
        self.exits.remove(&ended);
        self.told.iter_mut().filter(|told| **told == ended).for_each(|told| *told = next.clone());
        Some(ended)
    }

    /// When something of it is due.
    pub(super) fn timeout(&self) -> Option<Time> {
        (!self.reading && self.resumed != Some(Resumed::Unseen)).then_some(self.until)
    }

    /// Time has passed. At the window's end the masks of one process are read once more.
    pub(super) fn handle_timeout(&mut self, now: Time) -> End {
        if self.timeout().is_none_or(|due| now < due) {
            return End::NotYet;
        }
        match self.told.first() {
            // Of a delivery of before it isn't known that they are held.
            Some(process) if !self.has_exited() && self.resumed.is_none() => {
                self.reading = true;
                End::Read(process.clone())
            }
            Some(_) | None => End::Now,
        }
    }

    /// Whether masks of this process are the last that are waited for.
    pub(super) fn ends_with(&self, process: &ProcessIdentity) -> bool {
        self.reading && self.told.contains(process)
    }

    /// The verdict, and how long after the delivery files were read; `living` is the one where no process ended, and `first`
    /// the container's first process by now.
    pub(super) fn verdict(
        &self,
        living: Verdict,
        first: Option<&ProcessIdentity>,
    ) -> (Verdict, Option<Duration>) {
        let runs_again = first.is_some_and(|first| *first != self.first || !self.told.contains(first));
        let verdict = match (self.has_exited(), runs_again) {
            (false, _) if living == Verdict::Alive && self.reread.is_some() => Verdict::Reread,
            (false, _) => living,
            (true, true) => Verdict::Restarted,
            (true, false) => Verdict::Exited,
        };
        (verdict, self.reread)
    }
}

/// What follows from the time for a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It stays open.
    NotYet,
    /// The masks of this process are to be read, and then it ends.
    Read(ProcessIdentity),
    /// The window ends now.
    Now,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::volume::{How, Settled};
    use crate::model::names::{ContainerId, PodUid};

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    fn process(pid: u32) -> ProcessIdentity {
        let pod = PodUid::parse("00000001").unwrap();
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid, started: at(0), pod, container }
    }

    fn generation() -> Generation {
        Generation::parse("..2026_11_21_05_56_44.1").unwrap()
    }

    fn window() -> Verify {
        let told = Settled {
            generation: generation(),
            swapped: at(0),
            since: at(0),
            settled: at(0),
            how: How::Changed,
        };
        let told = vec![("config".into(), Pending::of(&told, false))];
        Verify::open(process(1), vec![process(2)], told, Duration::from_secs(5), at(0))
    }

    #[test]
    fn the_masks_are_read_at_its_end_unless_the_process_is_gone() {
        let mut verify = window();
        assert_eq!(verify.handle_timeout(at(4999)), End::NotYet);
        assert_eq!(verify.handle_timeout(at(5000)), End::Read(process(2)));
        assert!(verify.ends_with(&process(2)) && !verify.ends_with(&process(1)));
        let mut gone = window();
        assert!(!gone.concerns(&process(3)) && gone.concerns(&process(1)));
        gone.exited(&process(2), Some(at(1)));
        assert_eq!(gone.handle_timeout(at(5000)), End::Now);
    }

    #[test]
    fn an_open_counts_once_within_the_window_and_of_what_was_told() {
        let config = Name::from("config");
        assert_eq!(window().opened(&"other".into(), &generation(), at(1)), None);
        assert_eq!(window().opened(&config, &generation(), at(5001)), None);
        let mut verify = window();
        assert_eq!(verify.opened(&config, &generation(), at(5000)), Some(Duration::from_secs(5)));
        assert_eq!(verify.opened(&config, &generation(), at(5000)), None);
        assert_eq!(verify.verdict(Verdict::Alive, None), (Verdict::Reread, Some(Duration::from_secs(5))));
    }

    #[test]
    fn windows_that_close_one_another_are_over_together() {
        let mut verify = window();
        for (millis, over) in [(2_000, false), (4_000, false), (6_000, true)] {
            assert_eq!(verify.is_over(at(millis)), over);
            let before = verify.lives_since(at(millis));
            verify = Verify::open(process(1), vec![process(2)], vec![], Duration::from_secs(5), at(millis));
            verify = verify.after(before);
        }
        assert!(!verify.is_over(at(10_999)) && verify.is_over(at(11_000)), "it begins anew");
        verify.exited(&process(2), Some(at(6_500)));
        assert_eq!(verify.lives_since(at(7_000)), None);
    }

    #[test]
    fn the_verdict_says_whether_it_ended_and_whether_it_runs_again() {
        assert_eq!(window().verdict(Verdict::Pending, None).0, Verdict::Pending);
        let ended = || {
            let mut verify = window();
            verify.exited(&process(2), Some(at(1)));
            verify
        };
        assert_eq!(ended().verdict(Verdict::Alive, None).0, Verdict::Exited);
        assert_eq!(ended().verdict(Verdict::Alive, Some(&process(9))).0, Verdict::Restarted);
    }

    #[test]
    fn a_program_hands_over_to_one_that_was_started_after_the_signal_and_clearly_before_its_end() {
        // Starts are rounded down.
        for (started, hands_over) in [(979, false), (980, true), (1_949, true), (1_950, false)] {
            let told = vec![process(2)];
            let mut verify = Verify::open(process(1), told, vec![], Duration::from_secs(5), at(1_000));
            verify.exited(&process(2), Some(at(2_000)));
            let next = ProcessIdentity { started: at(started), ..process(3) };
            let chosen = Chosen::new(process(1), [next.clone()], true, None, at(2_100));
            assert_eq!(verify.handed_over(&chosen), hands_over.then(|| process(2)), "{started} ms");
            assert_eq!((verify.has_exited(), verify.concerns(&next)), (!hands_over, hands_over));
        }
    }

    #[test]
    fn a_container_whose_first_process_was_told_too_and_lives_on_hasnt_started_again() {
        let ended = |pid| {
            let told = vec![process(1), process(2)];
            let mut verify = Verify::open(process(1), told, vec![], Duration::from_secs(5), at(0));
            verify.exited(&process(pid), Some(at(1)));
            verify
        };
        assert_eq!(ended(2).verdict(Verdict::Alive, Some(&process(1))).0, Verdict::Exited);
        assert_eq!(ended(1).verdict(Verdict::Alive, Some(&process(2))).0, Verdict::Restarted);
    }

    #[test]
    fn only_who_was_told_of_a_generation_and_lives_may_still_open_it() {
        let config = Name::from("config");
        let mut verify = window();
        assert!(verify.awaits(&config, &generation()) && !verify.awaits(&"other".into(), &generation()));
        verify.exited(&process(2), Some(at(1)));
        assert!(!verify.awaits(&config, &generation()));
    }
}
