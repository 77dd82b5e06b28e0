//! One volume: from the kubelet's swap to the settle.
//!
//! A swap is settled when the directory that `..data` named before is gone: new keys are linked by then (kubelet
//! `atomic_writer.go`: rename, link new keys, unlink removed keys, remove the old directory).

use std::time::Duration;

use crate::kernel::mounts::DirId;
use crate::model::generation::Generation;
use crate::model::time::Time;

/// After this long a swap counts as settled: a kubelet that was killed after the rename never removes the old
/// directory, and its next write finds nothing to change.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A listing of a volume's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// When it was begun: notifications taken in since then are newer.
    pub begun: Time,
    /// The directory; `None` if there is none.
    pub dir: Option<DirId>,
    /// What `..data` names, and the link's change time.
    pub current: Option<(Generation, Time)>,
    /// The other generations' directories.
    pub others: Vec<Generation>,
}

/// How far a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not listed yet.
    Unknown,
    /// There is no `..data`.
    Unpublished,
    /// The generation was swapped in and isn't complete.
    Settling(Settling),
    /// The generation is complete.
    Settled(Settled),
}

/// A swap on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settling {
    /// The new generation.
    pub generation: Generation,
    /// The one before, where it is known.
    pub previous: Option<Generation>,
    /// When `..data` was renamed.
    pub swapped: Time,
    /// Until when the one before stood there for certain.
    pub since: Time,
    /// Whether this is what stood there when the volume was first listed.
    pub discovered: bool,
}

/// A complete generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The generation.
    pub generation: Generation,
    /// When `..data` was renamed.
    pub swapped: Time,
    /// Until when the one before stood there for certain; another one can have come and gone since, unseen.
    pub since: Time,
    /// When it was complete.
    pub settled: Time,
    /// How this came to be known.
    pub how: How,
}

/// How a settled generation came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The kubelet published a change.
    Changed,
    /// It stood there when the volume was first listed.
    Discovered,
    /// The volume's first publication, which is no change: the containers start after it.
    First,
}

/// What has become of a volume after some news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing that matters.
    Nothing,
    /// A new generation was swapped in.
    Swapped(Generation),
    /// The generation is complete.
    Settled(Settled),
    /// A listing is needed to go on.
    List,
}

/// The state of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    phase: Phase,
    dir: Option<DirId>,
    /// Whether the directory was torn down and made anew since it was first published.
    rebuilds: u32,
    published: bool,
    /// Whether the directory went away and none was listed since.
    torn_down: bool,
    last_notified: Time,
    /// When the newest listing that was taken in was begun.
    last_listed: Time,
    /// Until when what is known was so for certain.
    certain: Time,
    /// Notifications were lost, and it wasn't listed since.
    doubtful: bool,
    timed_out: bool,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            phase: Phase::Unknown,
            dir: None,
            rebuilds: 0,
            published: false,
            torn_down: false,
            last_notified: Time::default(),
            last_listed: Time::default(),
            certain: Time::default(),
            doubtful: false,
            timed_out: false,
        }
    }
}

impl Volume {
    /// A volume that is watched from now on; listings that were begun before are somebody else's.
    pub fn watched_since(now: Time) -> Self {
        Self { last_listed: now, ..Self::default() }
    }

    /// Whether it was looked at, and nothing is published in it.
    pub const fn is_missing(&self) -> bool {
        matches!(self.phase, Phase::Unpublished)
    }

    /// How far it is.
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Its directory, as far as it is known.
    pub const fn dir(&self) -> Option<DirId> {
        self.dir
    }

    /// Whether it was listed at least once.
    pub fn is_listed(&self) -> bool {
        self.phase != Phase::Unknown
    }

    /// When the newest listing that was taken in was begun.
    pub const fn last_listed(&self) -> Time {
        self.last_listed
    }

    /// Whether its directory was made anew after a teardown.
    pub const fn is_rebuilt(&self) -> bool {
        self.rebuilds > 0
    }

    /// How often its directory was made anew.
    pub const fn rebuilds(&self) -> u32 {
        self.rebuilds
    }

    /// The complete generation, if there is one.
    pub const fn settled(&self) -> Option<&Settled> {
        match &self.phase {
            Phase::Settled(settled) => Some(settled),
            Phase::Unknown | Phase::Unpublished | Phase::Settling(_) => None,
        }
    }

    /// The swap that is on its way, if there is one.
    pub const fn settling(&self) -> Option<&Settling> {
        match &self.phase {
            Phase::Settling(settling) => Some(settling),
            Phase::Unknown | Phase::Unpublished | Phase::Settled(_) => None,
        }
    }

    /// The generation that `..data` names, as far as it is known.
    pub const fn generation(&self) -> Option<&Generation> {
        match &self.phase {
            Phase::Settled(settled) => Some(&settled.generation),
            Phase::Settling(settling) => Some(&settling.generation),
            Phase::Unknown | Phase::Unpublished => None,
        }
    }

    /// Whether its generation is a change, and not what stood there at first.
    pub fn is_changed(&self) -> bool {
        match &self.phase {
            Phase::Settled(settled) => settled.how == How::Changed,
            Phase::Settling(settling) => !settling.discovered,
            Phase::Unknown | Phase::Unpublished => false,
        }
    }

    /// When its generation was swapped in, and whether that is a change.
    pub fn swapped_at(&self) -> Option<(Time, bool)> {
        match &self.phase {
            Phase::Settled(settled) => Some((settled.swapped, self.is_changed())),
            Phase::Settling(settling) => Some((settling.swapped, self.is_changed())),
            Phase::Unknown | Phase::Unpublished => None,
        }
    }

    /// Whether the last settle was by time-out; asking clears it.
    pub const fn take_timed_out(&mut self) -> bool {
        std::mem::replace(&mut self.timed_out, false)
    }

    /// `..data` was renamed, to `generation` where the notifications told which.
    pub fn swapped(&mut self, generation: Option<Generation>, at: Time) -> News {
        let since = self.notified(at);
        let Some(generation) = generation else { return News::List };
        let previous = match &self.phase {
            // What came before is found by the listing that is on its way.
            Phase::Unknown => return News::Nothing,
            Phase::Unpublished if !self.published && !self.doubtful => {
                self.published = true;
                self.torn_down = false;
                let how = How::First;
                return self.settle(Settled { generation, swapped: at, since, settled: at, how });
            }
            Phase::Unpublished => {
                self.begin(Settling { generation, previous: None, swapped: at, since, discovered: false });
                return News::List;
            }
            Phase::Settled(settled) => settled.generation.clone(),
            Phase::Settling(settling) => settling.generation.clone(),
        };
        if previous == generation {
            return News::Nothing;
        }
        if self.doubtful {
            // Others may have come in between, unseen: which one is removed last isn't known.
            self.begin(Settling { generation, previous: None, swapped: at, since, discovered: false });
            return News::List;
        }
        self.begin(Settling { generation, previous: Some(previous), swapped: at, since, discovered: false })
    }

    /// Something was notified. Gives back until when what was known before was so for certain.
    fn notified(&mut self, at: Time) -> Time {
        self.last_notified = self.last_notified.max(at);
        if !self.doubtful {
            self.certain = self.certain.max(at);
        }
        self.certain
    }

    /// Notifications were lost: what is known may be wrong, and so may a listing that was begun before.
    pub fn doubt(&mut self, now: Time) {
        self.doubtful = true;
        self.last_notified = self.last_notified.max(now);
    }

    /// A generation's directory was removed.
    pub fn removed(&mut self, generation: &Generation, at: Time) -> News {
        self.notified(at);
        let Phase::Settling(settling) = &self.phase else { return News::Nothing };
        match &settling.previous {
            Some(previous) if previous == generation => self.complete(at),
            Some(_) => News::Nothing,
            None => News::List,
        }
    }

    /// The directory itself went away.
    pub fn torn_down(&mut self, at: Time) -> News {
        self.notified(at);
        self.torn_down = true;
        News::List
    }

    /// The directory was listed.
    pub fn listed(&mut self, listing: &Listing, now: Time) -> News {
        if listing.begun <= self.last_notified {
            return News::List;
        }
        // Listings are made off the loop: a younger one can come first.
        if listing.begun < self.last_listed {
            return News::Nothing;
        }
        self.last_listed = listing.begun;
        let was_doubtful = std::mem::take(&mut self.doubtful);
        let since = std::mem::replace(&mut self.certain, listing.begun);
        self.torn_down |= self.dir.zip(listing.dir).is_some_and(|(before, found)| before != found);
        self.dir = listing.dir.or(self.dir);
        // Only what is published again stands in a new directory for certain (which can have the inode of the one
        // before): a teardown empties the old one before it removes it.
        if listing.current.is_some() && std::mem::take(&mut self.torn_down) && self.published {
            self.rebuilds += 1;
        }
        let Some((generation, changed)) = &listing.current else {
            self.phase = Phase::Unpublished;
            return News::Nothing;
        };
        let first_seen = self.phase == Phase::Unknown;
        let first_published = self.phase == Phase::Unpublished && !self.published;
        self.published = true;
        if first_published {
            let (generation, swapped) = (generation.clone(), *changed);
            let (settled, how) = (swapped, How::First);
            return self.settle(Settled { generation, swapped, since, settled, how });
        }
        let swap = if self.generation() == Some(generation) {
            News::Nothing
        } else {
            let previous = self.generation().filter(|_| !was_doubtful).cloned();
            let (generation, swapped, discovered) = (generation.clone(), *changed, first_seen);
            self.begin(Settling { generation, previous, swapped, since: since.min(swapped), discovered })
        };
        let Phase::Settling(settling) = &self.phase else { return swap };
        let complete = match &settling.previous {
            Some(previous) => !listing.others.contains(previous),
            None => listing.others.is_empty(),
        };
        let late = now >= settling.swapped + SETTLE_TIMEOUT;
        if complete {
            let at = if settling.discovered { settling.swapped } else { now };
            self.complete(at)
        } else if late {
            self.timed_out = !settling.discovered;
            let at = if settling.discovered { settling.swapped + SETTLE_TIMEOUT } else { now };
            self.complete(at)
        } else {
            swap
        }
    }

    /// When the settle times out.
    pub fn timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::Settling(settling) => Some(settling.swapped + SETTLE_TIMEOUT),
            Phase::Unknown | Phase::Unpublished | Phase::Settled(_) => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) -> News {
        if self.timeout().is_none_or(|due| now < due) {
            return News::Nothing;
        }
        self.timed_out = true;
        self.complete(now)
    }

    fn begin(&mut self, settling: Settling) -> News {
        let news = News::Swapped(settling.generation.clone());
        self.phase = Phase::Settling(settling);
        news
    }

    fn complete(&mut self, at: Time) -> News {
        let Phase::Settling(settling) = &self.phase else { return News::Nothing };
        let how = if settling.discovered { How::Discovered } else { How::Changed };
        let (generation, swapped, since) = (settling.generation.clone(), settling.swapped, settling.since);
        self.settle(Settled { generation, swapped, since, settled: at.max(swapped), how })
    }

    fn settle(&mut self, settled: Settled) -> News {
        self.phase = Phase::Settled(settled.clone());
        News::Settled(settled)
    }
}

#[cfg(test)]
mod tests;
