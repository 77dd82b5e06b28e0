//! Reads notifications and says what they mean.

use std::ffi::OsStr;

use inotify::EventMask;
use reloadlet_core::Time;
use reloadlet_core::kernel::cgroup::{joint_part, pod_part};
use reloadlet_core::model::generation::DATA_LINK;

use super::*;

/// Room for some thousand events a read.
pub(super) const BUFFER: usize = 64 * 1024;
/// A read that gave fewer has left room for the largest event, of 16 bytes and the longest name with its end (inotify(7)): there
/// was no more to be read.
const MAY_FILL: usize = BUFFER / (16 + 256);
/// How many reads empty a queue of the usual size (16,384), as far as it is filled by then.
const READS_OF_A_FULL_QUEUE: usize = 16;

/// One notification.
pub(super) type Note<'a> = inotify::Event<&'a OsStr>;

impl Watcher {
    /// Reads what happened, as far as one buffer holds it. Whether there may be more.
    pub(super) fn read(&mut self, now: impl Fn() -> Time) -> Result<bool, WatchError> {
        let Some(inotify) = &mut self.inotify else { return Ok(false) };
        // It is put back: notifications are taken in out of it, and none of them is copied.
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = loop {
            match inotify.read_events(&mut buffer) {
                Ok(notes) => {
                    let at = now();
                    let count = notes.map(|note| self.take(&note, at)).count();
                    break Ok(count >= MAY_FILL);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => break Err(WatchError { op: "read inotify events", source }),
            }
        };
        self.buffer = buffer;
        read
    }

    /// Reads what happened until now, as far as a queue of the usual size holds it.
    pub(crate) fn read_all(&mut self, now: impl Fn() -> Time) -> Result<(), WatchError> {
        for _ in 0..READS_OF_A_FULL_QUEUE {
            if !self.read(&now)? {
                break;
            }
        }
        Ok(())
    }

    fn see(&mut self, event: Event) {
        self.sights.push_back(Sight::Event(event));
    }

    fn take(&mut self, note: &Note<'_>, at: Time) {
        if note.mask.contains(EventMask::Q_OVERFLOW) {
            self.volumes.values_mut().for_each(|volume| volume.made = None);
            self.see(Event::Overflowed);
            return;
        }
        match self.watches.get(&note.wd) {
            Some(Subject::Volume(name)) => {
                let name = name.clone();
                self.take_volume(&name, note, at);
            }
            Some(Subject::Ancestor(_)) => self.take_ancestor(note),
            Some(Subject::Pod(pod)) => {
                let pod = pod.clone();
                if note.mask.contains(EventMask::IGNORED) {
                    self.watches.remove(&note.wd);
                    self.cgroups.remove(&pod);
                }
                self.see(Event::CgroupChanged(pod));
            }
            Some(Subject::Pods) => {
                if note.mask.contains(EventMask::IGNORED) {
                    self.watches.remove(&note.wd);
                    self.parents.retain(|_, wd| *wd != note.wd);
                } else if let Some(pod) = file_name(note).and_then(pod_in) {
                    self.see(Event::CgroupChanged(pod));
                }
            }
            Some(Subject::Opens(volume, generation)) => {
                let key = (volume.clone(), generation.clone());
                if let Some(event) = self.take_open(&key, note, at) {
                    self.see(event);
                }
            }
            // Of a watch that was just removed.
            None => {}
        }
    }

    fn take_volume(&mut self, name: &VolumeRef, note: &Note<'_>, at: Time) {
        let gone = EventMask::IGNORED | EventMask::MOVE_SELF | EventMask::UNMOUNT | EventMask::DELETE_SELF;
        if note.mask.intersects(gone) {
            if note.mask.contains(EventMask::IGNORED) {
                self.watches.remove(&note.wd);
            } else {
                self.drop_watch(note.wd.clone());
            }
            // Of another directory than the one that is followed by now: its end is known.
            let is_followed = self
                .volumes
                .get(name)
                .is_some_and(|volume| matches!(&volume.follow, Follow::Watched { wd, .. } if *wd == note.wd));
            if is_followed {
                self.place(name, at);
            }
            return;
        }
        let Some(volume) = self.volumes.get_mut(name) else { return };
        let Some(file) = file_name(note) else { return };
        if file == DATA_LINK {
            if note.mask.contains(EventMask::MOVED_TO) {
                let made = volume.made.take();
                if !std::mem::replace(&mut volume.published, true) {
                    self.account(name);
                }
                self.see(Event::Swapped(name.clone(), made, at));
            } else if note.mask.contains(EventMask::DELETE) {
                // Never part of a swap: the kubelet tears the volume down. A container that still mounts the directory
                // keeps it from being reported as deleted.
                volume.published = false;
                self.account(name);
                self.see(Event::TornDown(name.clone(), at));
            }
            return;
        }
        let Some(generation) = Generation::parse(file) else { return };
        if note.mask.contains(EventMask::CREATE) {
            volume.made = Some(generation);
        } else if note.mask.contains(EventMask::DELETE) {
            self.see(Event::Removed(name.clone(), generation, at));
        }
    }

    fn take_ancestor(&mut self, note: &Note<'_>) {
        let lost = EventMask::IGNORED | EventMask::MOVE_SELF | EventMask::UNMOUNT | EventMask::DELETE_SELF;
        let lost = note.mask.intersects(lost);
        let Some(Subject::Ancestor(awaiting)) = self.watches.get(&note.wd) else { return };
        let concerned: Vec<VolumeRef> =
            awaiting.iter().filter(|name| lost || self.passes(name, note.name)).cloned().collect();
        if lost && note.mask.contains(EventMask::IGNORED) {
            self.watches.remove(&note.wd);
        }
        // A pod's directory may be the way to many.
        self.unplaced.extend(concerned);
    }

    /// Whether the way to a volume passes through a directory of this name.
    fn passes(&self, name: &VolumeRef, entry: Option<&OsStr>) -> bool {
        let Some((volume, entry)) = self.volumes.get(name).zip(entry) else { return false };
        volume.path.components().any(|part| part.as_os_str() == entry)
    }
}

/// The pod whose cgroup, or whose container's, has this name.
fn pod_in(name: &str) -> Option<PodUid> {
    pod_part(name).or_else(|| joint_part(name).map(|(pod, _)| pod))
}

/// The name of what a notification is about, where it is text. The kubelet gives no other.
fn file_name<'a>(note: &Note<'a>) -> Option<&'a str> {
    note.name.and_then(OsStr::to_str)
}
