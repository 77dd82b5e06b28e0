//! Reads notifications and says what they mean.

use std::mem::MaybeUninit;

use reloadlet_core::Time;
use reloadlet_core::kernel::cgroup::pod_part;
use reloadlet_core::model::generation::DATA_LINK;
use rustix::fs::inotify::ReadFlags;

use super::*;

/// Room for some thousand events a read.
const BUFFER: usize = 64 * 1024;

impl Watcher {
    /// Reads what happened, as far as one buffer holds it. Whether there may be more.
    pub(crate) fn read(
        &mut self,
        now: impl Fn() -> Time,
        see: &mut impl FnMut(Sight),
    ) -> Result<bool, WatchError> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); BUFFER];
        let Some(fd) = self.as_fd() else { return Ok(false) };
        let mut notes = Vec::new();
        {
            let mut reader = inotify::Reader::new(fd, &mut buffer);
            loop {
                let note = match reader.next() {
                    Ok(note) => Note {
                        wd: note.wd(),
                        flags: note.events(),
                        name: note.file_name().and_then(|name| name.to_str().ok()).map(str::to_owned),
                        at: now(),
                    },
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => continue,
                    Err(errno) => {
                        return Err(WatchError { op: "read inotify events", source: errno.into() });
                    }
                };
                notes.push(note);
                if reader.is_buffer_empty() {
                    break;
                }
            }
        }
        let full = !notes.is_empty();
        for note in notes {
            self.take(note, see);
        }
        Ok(full)
    }

    fn take(&mut self, note: Note, see: &mut impl FnMut(Sight)) {
        if note.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.volumes.values_mut().for_each(|volume| volume.made = None);
            see(Sight::Event(Event::Overflowed));
            return;
        }
        match self.watches.get(&note.wd) {
            Some(Watch::Volume(name)) => {
                let name = name.clone();
                self.take_volume(&name, note, see);
            }
            Some(Watch::Ancestor(_)) => self.take_ancestor(&note),
            Some(Watch::Pod(pod)) => {
                let pod = pod.clone();
                if note.flags.contains(ReadFlags::IGNORED) {
                    self.watches.remove(&note.wd);
                    self.cgroups.remove(&pod);
                }
                see(Sight::Event(Event::CgroupChanged(pod)));
            }
            Some(Watch::Pods) => {
                if note.flags.contains(ReadFlags::IGNORED) {
                    self.watches.remove(&note.wd);
                    self.parents.retain(|_, wd| *wd != note.wd);
                } else if let Some(pod) = note.name.as_deref().and_then(pod_part) {
                    see(Sight::Event(Event::CgroupChanged(pod)));
                }
            }
            Some(Watch::Opens(volume, generation)) => {
                let key = (volume.clone(), generation.clone());
                let is_child = note.name.is_some();
                if let Some(event) = self.take_open(&key, note.wd, note.flags, is_child, note.at) {
                    see(Sight::Event(event));
                }
            }
            // Of a watch that was just removed.
            None => {}
        }
    }

    fn take_volume(&mut self, name: &VolumeRef, note: Note, see: &mut impl FnMut(Sight)) {
        let gone = ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::DELETE_SELF;
        if note.flags.intersects(gone) {
            if note.flags.contains(ReadFlags::IGNORED) {
                self.watches.remove(&note.wd);
            } else {
                self.drop_watch(note.wd);
            }
            see(Sight::Event(Event::TornDown(name.clone(), note.at)));
            self.place(name, see);
            return;
        }
        let Some(volume) = self.volumes.get_mut(name) else { return };
        let Some(file) = note.name.as_deref() else { return };
        if file == DATA_LINK {
            if note.flags.contains(ReadFlags::MOVED_TO) {
                volume.published = true;
                let made = volume.made.take();
                see(Sight::Event(Event::Swapped(name.clone(), made, note.at)));
            } else if note.flags.contains(ReadFlags::DELETE) {
                // Never part of a swap: the kubelet tears the volume down. A container that still mounts the directory
                // keeps it from being reported as deleted.
                volume.published = false;
                see(Sight::Event(Event::TornDown(name.clone(), note.at)));
            }
            return;
        }
        let Some(generation) = Generation::parse(file) else { return };
        if note.flags.contains(ReadFlags::CREATE) {
            volume.made = Some(generation);
        } else if note.flags.contains(ReadFlags::DELETE) {
            see(Sight::Event(Event::Removed(name.clone(), generation, note.at)));
        }
    }

    fn take_ancestor(&mut self, note: &Note) {
        let lost = ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::DELETE_SELF;
        let lost = note.flags.intersects(lost);
        let Some(Watch::Ancestor(awaiting)) = self.watches.get(&note.wd) else { return };
        let concerned: Vec<VolumeRef> =
            awaiting.iter().filter(|name| lost || self.passes(name, note.name.as_deref())).cloned().collect();
        if lost && note.flags.contains(ReadFlags::IGNORED) {
            self.watches.remove(&note.wd);
        }
        // A pod's directory may be the way to many.
        self.unplaced.extend(concerned);
    }

    /// Whether the way to a volume passes through a directory of this name.
    fn passes(&self, name: &VolumeRef, entry: Option<&str>) -> bool {
        let Some((volume, entry)) = self.volumes.get(name).zip(entry) else { return false };
        volume.path.components().any(|part| part.as_os_str() == entry)
    }
}

/// One notification.
struct Note {
    wd: i32,
    flags: ReadFlags,
    name: Option<String>,
    at: Time,
}
