//! Watches that are added again since the directories may be others by now: some at a time, so that notifications are taken
//! in between.

use super::*;

/// How many volumes' watches are added again at a time: each takes some 10 µs.
const RECHECKED_AT_A_TIME: usize = 64;

/// A look at the watches of the volumes that is on its way.
#[derive(Debug)]
pub(super) struct Recheck {
    all: bool,
    /// The last volume that was looked at.
    after: Option<VolumeRef>,
    /// What was asked for meanwhile comes after it.
    again: Option<bool>,
}

impl Watcher {
    /// Has the watches of volumes added again: a tmpfs may cover a directory that nothing was published in yet. With `all`,
    /// also those of published ones, since a tmpfs that a container still mounts isn't reported as unmounted, and of those
    /// whose directory wasn't there. [`Watcher::recheck_some`] does it.
    pub(crate) fn recheck(&mut self, all: bool) {
        match &mut self.recheck {
            Some(recheck) => recheck.again = Some(all || recheck.again == Some(true)),
            None => self.recheck = Some(Recheck { all, after: None, again: None }),
        }
    }

    /// Whether volumes are still to be looked at.
    pub(crate) const fn is_rechecking(&self) -> bool {
        self.recheck.is_some()
    }

    /// Adds some of them again.
    pub(crate) fn recheck_some(&mut self, now: Time) {
        let Some(mut recheck) = self.recheck.take() else { return };
        let all = recheck.all;
        let from = recheck.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.volumes.range::<VolumeRef, _>((from, Bound::Unbounded));
        let wanted = rest.filter(|(_, volume)| all || !volume.published);
        let looked_at: Vec<(VolumeRef, bool)> = wanted
            .take(RECHECKED_AT_A_TIME)
            .map(|(name, volume)| {
                let is_doubtful = match &volume.follow {
                    Follow::Watched { .. } => true,
                    Follow::Awaited { .. } => all,
                    Follow::Polled | Follow::Unplaced => false,
                };
                (name.clone(), is_doubtful)
            })
            .collect();
        let last = (looked_at.len() == RECHECKED_AT_A_TIME).then(|| looked_at.last()).flatten();
        recheck.after = last.map(|(name, _)| name.clone());
        self.recheck = match recheck.after {
            Some(_) => Some(recheck),
            None => recheck.again.map(|all| Recheck { all, after: None, again: None }),
        };
        for (name, _) in looked_at.iter().filter(|(_, is_doubtful)| *is_doubtful) {
            if self.follow_again(name, now) {
                self.sights.push_back(Sight::List(name.clone()));
            }
        }
    }
}
