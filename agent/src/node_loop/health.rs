//! What is shown of the node when nothing else is to be done: gauges, what the agent lacks, and whether it is ready.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::machine::event::{Event, VolumeRef};
use reloadlet_core::machine::status::Counts;
use reloadlet_core::policy::problem::ProblemKind;

use super::NodeLoop;
use crate::health::Ailment;
use crate::kubelet_root::Judgement;
use crate::{clock, home, reports};

/// How often at most the loop looks around while there is always something to do.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// How much longer than the numbers took to count it is until they are counted again: on a large node they take milliseconds, in
/// which no signal goes out.
const REST: u32 = 100;
/// Once the agent is ready it is at least so long: who changes many pods changes them one right after the other.
const LEAST_REST: Duration = Duration::from_millis(50);
/// How often gauges are set though nothing has changed: the series of a namespace that has no pods any more end in time.
const GAUGES_EACH: Duration = Duration::from_secs(60);

/// Whether the agent is ready: not yet, and once it is, for ever.
#[derive(Debug)]
pub(crate) struct Startup {
    ready: Arc<AtomicBool>,
    /// The kubelet's directory of pods, and whether it couldn't be looked into when it was last looked for.
    pods_dir: PathBuf,
    is_root_missing: bool,
    /// The volumes whose listing is on its way.
    listing: BTreeSet<VolumeRef>,
}

impl Startup {
    /// Not ready; `ready` is set once the agent is. Without the kubelet's directory of pods it never is.
    pub(crate) const fn new(ready: Arc<AtomicBool>, pods_dir: PathBuf) -> Self {
        Self { ready, pods_dir, is_root_missing: false, listing: BTreeSet::new() }
    }

    /// Whether the agent is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// A volume's listing is on its way.
    pub(super) fn begin_listing(&mut self, volume: &VolumeRef) {
        if !self.is_ready() {
            self.listing.insert(volume.clone());
        }
    }

    /// A volume was listed, or can't be.
    pub(super) fn end_listing(&mut self, volume: &VolumeRef) {
        self.listing.remove(volume);
    }
}

/// The numbers that are shown, and since when.
#[derive(Debug, Default)]
pub(super) struct Shown {
    counts: Counts,
    /// When gauges were set.
    set: Time,
    looked_around: Time,
    /// The numbers aren't counted before.
    rests_until: Time,
    /// Nothing has happened since.
    is_fresh: bool,
}

impl Shown {
    /// Something has happened.
    pub(super) const fn doubt(&mut self) {
        self.is_fresh = false;
    }

    /// From when on to look around, if nothing else is to be done.
    pub(super) fn look_at(&self) -> Option<Time> {
        (!self.is_fresh).then_some(self.rests_until)
    }

    /// Whether the numbers may be counted.
    pub(super) fn has_rested(&self, now: Time) -> bool {
        now >= self.rests_until
    }

    /// The numbers were counted.
    fn counted(&mut self, begun: Time, ended: Time, is_ready: bool) {
        let least = if is_ready { LEAST_REST } else { Duration::ZERO };
        self.rests_until = ended + (ended.since(begun) * REST).max(least);
    }

    /// Whether to look around although there is always something to do.
    pub(super) fn is_overdue(&self, now: Time) -> bool {
        now >= self.looked_around + LOOK_AROUND
    }
}

impl NodeLoop {
    /// Nothing else is to be done: gauges and readiness.
    pub(super) fn look_around(&mut self) {
        let now = clock::now();
        self.shown.looked_around = now;
        self.shown.is_fresh = true;
        self.set_gauges(now);
        if self.parts.startup.is_ready() || !self.reports.is_empty() || !self.is_root_there() {
            return;
        }
        let is_root_right = !self.parts.kubelet_root.is_doubtful();
        if is_root_right
            && !self.parts.watcher.is_rechecking()
            && self.parts.startup.listing.is_empty()
            && self.parts.machine.is_ready()
            && self.parts.journal.is_flushed()
        {
            self.parts.startup.ready.store(true, Ordering::Relaxed);
            let counts = &self.shown.counts;
            tracing::info!(pods = counts.watched, invalid = counts.invalid, "ready");
        }
    }

    fn set_gauges(&mut self, now: Time) {
        let counts = self.parts.machine.take_counts();
        self.shown.counted(now, clock::now(), self.parts.startup.is_ready());
        if counts.is_some() || now >= self.shown.set + GAUGES_EACH {
            self.shown.counts = counts.unwrap_or_else(|| std::mem::take(&mut self.shown.counts));
            self.shown.set = now;
            reports::set_gauges(&self.parts.metrics, &self.shown.counts, now);
            self.parts.health.count(Ailment::Looks, self.shown.counts.problems_of(ProblemKind::Agent));
        }
        self.parts.metrics.set_inotify_watches(self.parts.watcher.watch_count());
        let polled = self.parts.watcher.polled().count();
        self.parts.metrics.set_polled_volumes(polled);
        self.parts.health.count(Ailment::Watches, polled);
    }

    /// Before the agent is ready: whether the kubelet's directory of pods is there. Else it is waited for.
    fn is_root_there(&mut self) -> bool {
        let closed = home::is_closed(&self.parts.startup.pods_dir);
        let judgement = self.parts.kubelet_root.take_closed(closed);
        self.take_judgement(judgement);
        let startup = &mut self.parts.startup;
        if closed {
            startup.is_root_missing = true;
            return false;
        }
        if !startup.pods_dir.is_dir() {
            self.parts.health.set(Ailment::KubeletRoot, true);
            if !std::mem::replace(&mut startup.is_root_missing, true) {
                tracing::warn!(path = %startup.pods_dir.display(), "the kubelet's directory of pods isn't there: waiting for it");
            }
            return false;
        }
        self.parts.health.set(Ailment::KubeletRoot, self.parts.kubelet_root.is_wrong());
        if std::mem::take(&mut startup.is_root_missing) {
            // What was listed without it says nothing, and its notification may still be on its way.
            self.parts.watcher.recheck(true);
        }
        true
    }

    /// Says what became of the kubelet root; what the pods are told of it.
    pub(super) fn judged(&self, judgement: Option<Judgement>) -> Option<Event> {
        let judgement = judgement?;
        let (is_wrong, is_closed) =
            (matches!(judgement, Judgement::Wrong(_)), matches!(judgement, Judgement::Closed(_)));
        self.parts.metrics.set_kubelet_root_wrong(is_wrong);
        self.parts.metrics.set_kubelet_root_closed(is_closed);
        self.parts.health.set(Ailment::KubeletRoot, is_wrong);
        self.parts.health.set(Ailment::KubeletRootClosed, is_closed);
        match judgement {
            Judgement::Wrong(sentence) | Judgement::Closed(sentence) => {
                tracing::warn!("{sentence}");
                Some(Event::KubeletRoot(Some(sentence.into())))
            }
            Judgement::Right => {
                tracing::info!("the kubelet root can be looked into, and isn't known to be wrong any more");
                Some(Event::KubeletRoot(None))
            }
        }
    }

    /// Takes in what became of the kubelet root.
    pub(super) fn take_judgement(&mut self, judgement: Option<Judgement>) {
        if let Some(event) = self.judged(judgement) {
            self.handle(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_to_count_rests_longer_and_is_looked_at_then() {
        let at = |millis| Time::since_boot(Duration::from_millis(millis));
        let mut shown = Shown { is_fresh: true, ..Shown::default() };
        assert!(shown.look_at().is_none() && shown.has_rested(at(0)));
        shown.counted(at(1000), at(1010), true);
        shown.doubt();
        assert_eq!(shown.look_at(), Some(at(2010)));
        assert!(!shown.has_rested(at(2009)) && shown.has_rested(at(2010)));
        shown.counted(at(3000), at(3000), false);
        assert!(shown.has_rested(at(3000)), "what takes no time needs no rest at the start");
        shown.counted(at(3000), at(3000), true);
        assert!(
            !shown.has_rested(at(3049)) && shown.has_rested(at(3050)),
            "later a change may follow at once"
        );
    }
}
