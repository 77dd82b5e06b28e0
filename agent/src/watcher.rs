//! One inotify instance for every volume and pod cgroup. Only watch descriptors are kept: an open file inside a volume
//! would make the kubelet's unmount fail.
//!
//! A volume's directory that isn't there yet is awaited at its nearest ancestor. A tmpfs that the kubelet mounts over a
//! directory after it was made hides the watched one; that is found by comparing directories before the first
//! publication. A volume that can't be watched is polled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use reloadlet_core::Time;
use reloadlet_core::cgroup::pod_part;
use reloadlet_core::event::{Event, VolumeRef};
use reloadlet_core::generation::{DATA_LINK, Generation};
use reloadlet_core::mounts::DirId;
use reloadlet_core::pod::{Name, PodUid, VolumeKind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::listing::dir_id;

/// Room for some thousand events a read.
const BUFFER: usize = 64 * 1024;

/// What the watcher found out.
#[derive(Debug)]
pub(crate) enum Sight {
    /// Something happened that decides about reloads.
    Event(Event),
    /// The volume is to be listed: its watch is new.
    List(VolumeRef),
}

/// Why the kernel's notifications can't be had.
#[derive(Debug, thiserror::Error)]
#[error("can't {op}")]
pub(crate) struct WatchError {
    op: &'static str,
    #[source]
    source: io::Error,
}

/// What a watch descriptor stands for.
#[derive(Debug)]
enum Watch {
    Volume(VolumeRef),
    /// A directory in which something awaited may appear.
    Ancestor(BTreeSet<VolumeRef>),
    /// A pod's cgroup.
    Pod(PodUid),
    /// A directory in which pods' cgroups appear.
    Pods,
}

/// How a volume is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Watched { wd: i32, dir: DirId },
    Awaited { ancestor: i32 },
    Polled,
}

#[derive(Debug)]
struct Volume {
    path: PathBuf,
    follow: Follow,
    /// The generation whose directory was made last: the one that the next swap publishes.
    made: Option<Generation>,
    published: bool,
    /// That it can't be watched was said.
    warned: bool,
}

/// Every watch.
#[derive(Debug)]
pub(crate) struct Watcher {
    inotify: OwnedFd,
    pods_dir: PathBuf,
    watches: HashMap<i32, Watch>,
    volumes: BTreeMap<VolumeRef, Volume>,
    cgroups: BTreeMap<PodUid, (PathBuf, i32)>,
    parents: BTreeSet<PathBuf>,
    warned_limit: bool,
}

impl Watcher {
    /// Watches nothing yet.
    pub(crate) fn new(kubelet_root: &Path) -> Result<Self, WatchError> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|errno| WatchError { op: "make an inotify instance", source: errno.into() })?;
        Ok(Self {
            inotify,
            pods_dir: kubelet_root.join("pods"),
            watches: HashMap::new(),
            volumes: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            parents: BTreeSet::new(),
            warned_limit: false,
        })
    }

    /// Readable when something happened.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// How many watches there are.
    pub(crate) fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// The volumes that are polled.
    pub(crate) fn polled(&self) -> impl Iterator<Item = &VolumeRef> {
        self.volumes.iter().filter(|(_, volume)| volume.follow == Follow::Polled).map(|(name, _)| name)
    }

    /// Whether any volume's first publication is awaited in a watched directory.
    pub(crate) fn awaits_publication(&self) -> bool {
        let mut volumes = self.volumes.values();
        volumes.any(|volume| matches!(volume.follow, Follow::Watched { .. }) && !volume.published)
    }

    /// A volume's directory.
    pub(crate) fn path(&self, volume: &VolumeRef) -> Option<&Path> {
        self.volumes.get(volume).map(|volume| volume.path.as_path())
    }

    /// Watches a pod's volumes. What was watched of the pod and isn't named any more is let go.
    pub(crate) fn watch_pod(
        &mut self,
        pod: &PodUid,
        volumes: &[(Name, VolumeKind)],
        see: &mut impl FnMut(Sight),
    ) {
        let wanted: BTreeMap<VolumeRef, PathBuf> = volumes
            .iter()
            .map(|(name, kind)| {
                let path =
                    self.pods_dir.join(pod.as_str()).join("volumes").join(kind.directory()).join(&**name);
                (VolumeRef { pod: pod.clone(), volume: name.clone() }, path)
            })
            .collect();
        for volume in self.volumes_of(pod) {
            if !wanted.contains_key(&volume) {
                self.drop_volume(&volume);
            }
        }
        for (name, path) in wanted {
            if !self.volumes.contains_key(&name) {
                let volume =
                    Volume { path, follow: Follow::Polled, made: None, published: false, warned: false };
                self.volumes.insert(name.clone(), volume);
                self.place(&name, see);
            }
        }
    }

    /// Lets a pod go.
    pub(crate) fn unwatch_pod(&mut self, pod: &PodUid) {
        for volume in self.volumes_of(pod) {
            self.drop_volume(&volume);
        }
        if let Some((_, wd)) = self.cgroups.remove(pod) {
            self.drop_watch(wd);
        }
    }

    fn volumes_of(&self, pod: &PodUid) -> Vec<VolumeRef> {
        let lowest = VolumeRef { pod: pod.clone(), volume: "".into() };
        self.volumes
            .range(lowest..)
            .map(|(name, _)| name)
            .take_while(|name| name.pod == *pod)
            .cloned()
            .collect()
    }

    fn drop_volume(&mut self, name: &VolumeRef) {
        if let Some(volume) = self.volumes.remove(name) {
            self.unfollow(name, volume.follow);
        }
    }

    fn unfollow(&mut self, name: &VolumeRef, follow: Follow) {
        match follow {
            Follow::Watched { wd, .. } => self.drop_watch(wd),
            Follow::Awaited { ancestor } => {
                if let Some(Watch::Ancestor(awaiting)) = self.watches.get_mut(&ancestor) {
                    awaiting.remove(name);
                    if awaiting.is_empty() {
                        self.drop_watch(ancestor);
                    }
                }
            }
            Follow::Polled => {}
        }
    }

    fn drop_watch(&mut self, wd: i32) {
        if self.watches.remove(&wd).is_some()
            && let Err(errno) = inotify::remove_watch(&self.inotify, wd)
            && errno != Errno::INVAL
        {
            tracing::warn!(error = %errno, "can't remove an inotify watch");
        }
    }

    /// Watches a pod's cgroup and the directories in which pods' cgroups appear. Without such a watch containers are
    /// still found when they are needed.
    pub(crate) fn watch_cgroup(&mut self, pod: &PodUid, directory: &Path, parents: &[PathBuf]) {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        for parent in parents {
            if !self.parents.contains(parent)
                && let Ok(wd) = inotify::add_watch(&self.inotify, parent, flags)
            {
                self.watches.insert(wd, Watch::Pods);
                self.parents.insert(parent.clone());
            }
        }
        if self.cgroups.get(pod).is_some_and(|(known, _)| known == directory) {
            return;
        }
        if let Some((_, wd)) = self.cgroups.remove(pod) {
            self.drop_watch(wd);
        }
        if let Ok(wd) = inotify::add_watch(&self.inotify, directory, flags) {
            self.watches.insert(wd, Watch::Pod(pod.clone()));
            self.cgroups.insert(pod.clone(), (directory.to_owned(), wd));
        }
    }

    /// A listing saw this directory and perhaps a publication. Whether the listing speaks of the directory that is
    /// followed; if not, the volume is followed anew and will be listed again.
    pub(crate) fn confirm(
        &mut self,
        name: &VolumeRef,
        dir: Option<DirId>,
        published: bool,
        see: &mut impl FnMut(Sight),
    ) -> bool {
        let Some(volume) = self.volumes.get_mut(name) else { return false };
        volume.published |= published;
        let agrees = match (volume.follow, dir) {
            (Follow::Watched { dir: watched, .. }, Some(listed)) => watched == listed,
            (Follow::Watched { .. }, None) | (Follow::Awaited { .. }, Some(_)) => false,
            (Follow::Awaited { .. }, None) | (Follow::Polled, _) => true,
        };
        if !agrees {
            self.place(name, see);
        }
        agrees
    }

    /// Looks whether other directories stand where volumes are watched: a tmpfs may cover one that nothing was published
    /// in yet. With `all`, also for published ones: a tmpfs that a container still mounts isn't reported as unmounted.
    pub(crate) fn recheck(&mut self, all: bool, see: &mut impl FnMut(Sight)) {
        let moved: Vec<VolumeRef> = self
            .volumes
            .iter()
            .filter(|(_, volume)| all || !volume.published)
            .filter(|(_, volume)| match volume.follow {
                Follow::Watched { dir, .. } => dir_id(&volume.path) != Some(dir),
                Follow::Awaited { .. } | Follow::Polled => false,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in moved {
            self.place(&name, see);
        }
    }

    /// Tries to watch polled volumes after all.
    pub(crate) fn retry_polled(&mut self, see: &mut impl FnMut(Sight)) {
        let polled: Vec<VolumeRef> = self.polled().cloned().collect();
        for name in polled {
            self.place(&name, see);
        }
    }

    /// Checks that a volume's watch is on its directory, as after lost notifications, and asks for a listing.
    pub(crate) fn check(&mut self, name: &VolumeRef, see: &mut impl FnMut(Sight)) {
        let Some(volume) = self.volumes.get(name) else { return };
        if matches!(volume.follow, Follow::Watched { dir, .. } if dir_id(&volume.path) == Some(dir)) {
            see(Sight::List(name.clone()));
        } else {
            self.place(name, see);
        }
    }

    /// Watches a volume's directory or its nearest ancestor, and asks for a listing.
    fn place(&mut self, name: &VolumeRef, see: &mut impl FnMut(Sight)) {
        let Some(volume) = self.volumes.get_mut(name) else { return };
        volume.made = None;
        let (path, before) = (volume.path.clone(), volume.follow);
        let follow = self.follow(name, &path);
        if before != follow {
            let shared = matches!((before, follow), (Follow::Watched { wd: a, .. }, Follow::Watched { wd: b, .. }) if a == b);
            if !shared {
                self.unfollow(name, before);
            }
        }
        if let Some(volume) = self.volumes.get_mut(name) {
            volume.follow = follow;
        }
        see(Sight::List(name.clone()));
    }

    fn follow(&mut self, name: &VolumeRef, path: &Path) -> Follow {
        loop {
            match self.add_volume_watch(name, path) {
                Ok(Some((wd, dir))) => return Follow::Watched { wd, dir },
                Ok(None) => continue,
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return self.poll_instead(name, errno),
            }
            match self.add_ancestor_watch(name, path) {
                Ok(Some(ancestor)) => return Follow::Awaited { ancestor },
                Ok(None) => {}
                Err(errno) => return self.poll_instead(name, errno),
            }
        }
    }

    /// Watches a volume's directory; `None` if another one came to stand there meanwhile.
    fn add_volume_watch(&mut self, name: &VolumeRef, path: &Path) -> Result<Option<(i32, DirId)>, Errno> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let before = dir_id(path).ok_or(Errno::NOENT)?;
        let wd = inotify::add_watch(&self.inotify, path, flags)?;
        if dir_id(path) != Some(before) {
            self.watches.insert(wd, Watch::Volume(name.clone()));
            self.drop_watch(wd);
            return Ok(None);
        }
        self.watches.insert(wd, Watch::Volume(name.clone()));
        Ok(Some((wd, before)))
    }

    /// Watches the nearest directory above that exists; `None` if the next one on the way appeared meanwhile.
    fn add_ancestor_watch(&mut self, name: &VolumeRef, path: &Path) -> Result<Option<i32>, Errno> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let mut missing = path;
        for ancestor in path.ancestors().skip(1) {
            match inotify::add_watch(&self.inotify, ancestor, flags) {
                Ok(wd) => {
                    let watch = self.watches.entry(wd).or_insert_with(|| Watch::Ancestor(BTreeSet::new()));
                    if let Watch::Ancestor(awaiting) = watch {
                        awaiting.insert(name.clone());
                    }
                    if missing.is_dir() {
                        self.unfollow(name, Follow::Awaited { ancestor: wd });
                        return Ok(None);
                    }
                    return Ok(Some(wd));
                }
                Err(Errno::NOENT | Errno::NOTDIR) => missing = ancestor,
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::NOENT)
    }

    fn poll_instead(&mut self, name: &VolumeRef, errno: Errno) -> Follow {
        let Some(volume) = self.volumes.get_mut(name) else { return Follow::Polled };
        let path = volume.path.display();
        if errno == Errno::NOSPC {
            if !std::mem::replace(&mut self.warned_limit, true) {
                tracing::warn!(
                    %path,
                    "the limit of inotify watches is reached (fs.inotify.max_user_watches): volumes are polled each \
                     second"
                );
            }
        } else if !std::mem::replace(&mut volume.warned, true) {
            tracing::warn!(%path, error = %errno, "a volume can't be watched: it is polled each second");
        }
        Follow::Polled
    }

    /// Reads what happened, as far as one buffer holds it. Whether there may be more.
    pub(crate) fn read(
        &mut self,
        now: impl Fn() -> Time,
        see: &mut impl FnMut(Sight),
    ) -> Result<bool, WatchError> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); BUFFER];
        let fd = self.inotify.as_fd();
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
            Some(Watch::Ancestor(_)) => self.take_ancestor(&note, see),
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
                    self.parents.clear();
                } else if let Some(pod) = note.name.as_deref().and_then(pod_part) {
                    see(Sight::Event(Event::CgroupChanged(pod)));
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

    fn take_ancestor(&mut self, note: &Note, see: &mut impl FnMut(Sight)) {
        let lost = ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::DELETE_SELF;
        let lost = note.flags.intersects(lost);
        let Some(Watch::Ancestor(awaiting)) = self.watches.get(&note.wd) else { return };
        let concerned: Vec<VolumeRef> =
            awaiting.iter().filter(|name| lost || self.passes(name, note.name.as_deref())).cloned().collect();
        if lost && note.flags.contains(ReadFlags::IGNORED) {
            self.watches.remove(&note.wd);
        }
        for name in concerned {
            self.place(&name, see);
        }
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
