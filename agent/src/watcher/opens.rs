//! Whether somebody opens a file of a generation. A watch goes off once (`IN_ONESHOT`), so that a busy reader can't fill
//! the queue: the first open that counts is the last that is looked for.
//!
//! On each sync of a pod the kubelet opens the generation's directory and then its files (`atomic_writer.go`:
//! `pathsToRemove`, `shouldWritePayload`). So nothing that is opened within 5 ms after that directory counts. A directory
//! below it counts as a file does, since the kubelet never opens one first. That such a directory was opened is told once, since a
//! reader may do that too.

use std::time::Duration;

use inotify::EventMask;
use reloadlet_core::Time;

use super::notes::Note;
use super::*;

/// How long after its directory was opened a generation's files may be the kubelet's to open.
const BURST: Duration = Duration::from_millis(5);
/// How often at most a generation is watched again after an open that doesn't count: so often at once, and once more each
/// [`REARM_EACH`]. The kubelet needs one a minute.
const MOST_REARMS: u8 = 16;
const REARM_EACH: Duration = Duration::from_secs(5);
/// So many directories are watched for opens at most, on the node and of one pod: a pod chooses how many directories it has, and
/// how long they are watched.
const MOST_DIRECTORIES: usize = 8192;
const MOST_OF_POD: usize = 64;

/// What is watched of one generation.
#[derive(Debug)]
pub(super) struct Opens {
    /// The generation's directory, then those below it, with their watch descriptors. The first is always watched where
    /// another one is: else a sync of the kubelet wouldn't be known as one.
    directories: Vec<(PathBuf, Option<WatchDescriptor>)>,
    /// After an open that doesn't count: nothing counts until then.
    paused_until: Option<Time>,
    rearms_left: u8,
    /// When the first of those that were used comes back; none were used without.
    next_rearm: Option<Time>,
    /// Whether it was told that somebody looked through the directory.
    looked_through: bool,
    /// Whether an own read hides what others open.
    is_hidden: bool,
}

impl Opens {
    /// Takes one of the times that it may be watched again; whether there was one.
    fn take_rearm(&mut self, now: Time) -> bool {
        while let Some(due) = self.next_rearm.filter(|due| *due <= now) {
            self.rearms_left += 1;
            self.next_rearm = (self.rearms_left < MOST_REARMS).then_some(due + REARM_EACH);
        }
        let Some(left) = self.rearms_left.checked_sub(1) else { return false };
        self.rearms_left = left;
        self.next_rearm.get_or_insert(now + REARM_EACH);
        true
    }
}

impl Watcher {
    /// Sees whether a file of a generation is opened: in its own directory, or in one of these below it. Whether that can be had.
    pub(crate) fn watch_opens(
        &mut self,
        volume: &VolumeRef,
        generation: &Generation,
        below: &[Name],
    ) -> bool {
        self.unwatch_opens(volume, generation);
        let Some(path) = self.path(volume).map(|path| path.join(generation.as_str())) else { return false };
        let directories = below.iter().map(|name| (path.join(&**name), None));
        let directories = std::iter::once((path.clone(), None)).chain(directories).collect();
        let of_pod: usize = self.opens_of(&volume.pod).map(|(_, opens)| opens.directories.len()).sum();
        let count = below.len() + 1;
        if of_pod + count > MOST_OF_POD || self.opened_directories + count > MOST_DIRECTORIES {
            return false;
        }
        self.opened_directories += count;
        let opens = Opens {
            directories,
            paused_until: None,
            rearms_left: MOST_REARMS,
            next_rearm: None,
            looked_through: false,
            is_hidden: false,
        };
        let key = (volume.clone(), generation.clone());
        self.opens.insert(key.clone(), opens);
        let is_seen = self.arm(&key);
        if !is_seen {
            self.unwatch_opens(volume, generation);
        }
        is_seen
    }

    /// That isn't of interest any more.
    pub(crate) fn unwatch_opens(&mut self, volume: &VolumeRef, generation: &Generation) {
        let Some(opens) = self.opens.remove(&(volume.clone(), generation.clone())) else { return };
        self.opened_directories -= opens.directories.len();
        opens.directories.into_iter().filter_map(|(_, wd)| wd).for_each(|wd| self.drop_watch(wd));
    }

    /// What is watched of a pod.
    fn opens_of(&self, pod: &PodUid) -> impl Iterator<Item = (&(VolumeRef, Generation), &Opens)> {
        // No volume comes before this name, and no generation before this one.
        let volume = VolumeRef { pod: pod.clone(), volume: "".into() };
        let first = Generation::parse("..0000_00_00_00_00_00.0").map(|generation| (volume, generation));
        let from_there = first.into_iter().flat_map(|first| self.opens.range(first..));
        from_there.take_while(move |((of, _), _)| of.pod == *pod)
    }

    /// Lets go of what is watched of a volume that isn't followed any more.
    pub(super) fn forget_opens(&mut self, volume: &VolumeRef) {
        let mine = self.opens_of(&volume.pod).map(|(key, _)| key).filter(|(of, _)| of == volume);
        let mine: Vec<_> = mine.cloned().collect();
        mine.iter().for_each(|(volume, generation)| self.unwatch_opens(volume, generation));
    }

    /// An own read of a generation has ended. All its opens are in the queue: they are taken in before others count, which they
    /// do at once then.
    pub(crate) fn end_own_read(
        &mut self,
        volume: &VolumeRef,
        generation: &Generation,
        now: impl Fn() -> Time,
    ) -> Result<(), WatchError> {
        if self.opens.contains_key(&(volume.clone(), generation.clone())) {
            self.read_all(&now)?;
        }
        self.own_reads.end(volume, generation);
        if !self.own_reads.is_read(volume, generation) {
            self.show_again(&(volume.clone(), generation.clone()), now());
        }
        Ok(())
    }

    /// No own read hides what others open any more.
    fn show_again(&mut self, key: &(VolumeRef, Generation), now: Time) {
        if self.opens.get_mut(key).is_some_and(|opens| std::mem::take(&mut opens.is_hidden)) {
            self.go_on_watching(key, now);
        }
    }

    /// Watches what was paused until now.
    fn go_on_watching(&mut self, key: &(VolumeRef, Generation), now: Time) {
        let Some(opens) = self.opens.get_mut(key) else { return };
        opens.paused_until = None;
        let is_seen = opens.take_rearm(now) && self.arm(key);
        if !is_seen {
            self.unwatch_opens(&key.0, &key.1);
            self.sights.push_back(Sight::Event(Event::OpensUnseen(key.0.clone(), key.1.clone())));
        }
    }

    /// When [`Self::rearm`] is to be called. It is asked at each turn.
    pub(crate) fn rearm_at(&self) -> Option<Time> {
        self.pauses.first().map(|(until, _)| *until)
    }

    /// Watches again what was paused until now. As long as the agent itself reads a generation its pause goes on.
    pub(crate) fn rearm(&mut self, now: Time) {
        while let Some((until, key)) = self.pauses.pop_first() {
            if until > now {
                self.pauses.insert((until, key));
                return;
            }
            // A later pause ends later, and what isn't paused any more is watched already.
            if self.opens.get(&key).is_none_or(|opens| opens.paused_until != Some(until)) {
                continue;
            }
            if self.own_reads.is_read(&key.0, &key.1) {
                self.pause(&key, now + BURST, true);
            } else {
                self.go_on_watching(&key, now);
            }
        }
    }

    /// Nothing that is opened counts until then.
    fn pause(&mut self, key: &(VolumeRef, Generation), until: Time, is_hidden: bool) {
        let Some(opens) = self.opens.get_mut(key) else { return };
        opens.paused_until = Some(until);
        opens.is_hidden |= is_hidden;
        self.pauses.insert((until, key.clone()));
    }

    /// Watches the directories that aren't. Where that can't be had nothing is seen, and nothing else is lost. Whether it can.
    fn arm(&mut self, key: &(VolumeRef, Generation)) -> bool {
        let Some(mut watches) = self.inotify.as_ref().map(Inotify::watches) else { return false };
        let Some(opens) = self.opens.get_mut(key) else { return false };
        let mask = WatchMask::OPEN
            | WatchMask::ONESHOT
            | WatchMask::ONLYDIR
            | WatchMask::DONT_FOLLOW
            | WatchMask::MASK_CREATE;
        for (index, (path, armed)) in opens.directories.iter_mut().enumerate() {
            if armed.is_some() {
                continue;
            }
            match watches.add(&*path, mask).map_err(errno) {
                Ok(wd) => {
                    *armed = Some(wd.clone());
                    self.watches.insert(wd, Subject::Opens(key.0.clone(), key.1.clone()));
                }
                // An optional key isn't there, or its last file went with a change of the spec.
                Err(Errno::ENOENT | Errno::ENOTDIR) if index > 0 => {}
                Err(errno) => {
                    let error = io::Error::from(errno);
                    tracing::debug!(path = %path.display(), %error, "it won't be seen who opens these files");
                    return false;
                }
            }
        }
        true
    }

    /// A watch of a generation's opens went off, or its directory is gone.
    pub(super) fn take_open(
        &mut self,
        key: &(VolumeRef, Generation),
        note: &Note<'_>,
        at: Time,
    ) -> Option<Event> {
        self.watches.remove(&note.wd);
        let opens = self.opens.get_mut(key)?;
        let index = opens.directories.iter().position(|(_, armed)| armed.as_ref() == Some(&note.wd))?;
        opens.directories[index].1 = None;
        if !note.mask.contains(EventMask::OPEN) || opens.paused_until.is_some() {
            return None;
        }
        let is_listing = index == 0 && note.name.is_none() && note.mask.contains(EventMask::ISDIR);
        let (volume, generation) = key.clone();
        if self.own_reads.is_read(&volume, &generation) {
            self.pause(key, at + BURST, true);
            return None;
        }
        if is_listing {
            let is_known = std::mem::replace(&mut opens.looked_through, true);
            self.pause(key, at + BURST, false);
            return (!is_known).then_some(Event::LookedThrough(volume, generation));
        }
        self.unwatch_opens(&volume, &generation);
        Some(Event::Opened(volume, generation, at))
    }
}

#[cfg(test)]
mod tests;
