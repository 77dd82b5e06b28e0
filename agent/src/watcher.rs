//! One inotify instance for every volume and pod cgroup. Only watch descriptors are kept: an open file inside a volume
//! would make the kubelet's unmount fail.
//!
//! A volume's directory that isn't there yet is awaited at its nearest ancestor. A tmpfs that the kubelet mounts over a
//! directory after it was made hides the watched one, and where notifications were lost a watch may have ended unseen. Both
//! are found by adding the watch again: the kernel gives the same descriptor for as long as the directory is the same
//! (inotify_add_watch(2)). Comparing directories doesn't do: a tmpfs that was made anew can have the device and the inode of
//! the one before. A volume that can't be watched is polled, and so are all while no inotify instance can be had.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use inotify::{Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use reloadlet_core::Time;
use reloadlet_core::kernel::mounts::DirId;
use reloadlet_core::machine::event::{Event, VolumeRef};
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::pod::VolumeKind;

use crate::listing::{dir_id, look};
use crate::own_reads::OwnReads;

mod barred;
mod notes;
mod opens;
mod place;
mod recheck;

use opens::Opens;
use recheck::Recheck;

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
enum Subject {
    Volume(VolumeRef),
    /// A directory in which something awaited may appear.
    Ancestor(BTreeSet<VolumeRef>),
    /// A pod's cgroup.
    Pod(PodUid),
    /// A directory in which pods' cgroups appear.
    Pods,
    /// A directory of a generation whose files may be opened.
    Opens(VolumeRef, Generation),
}

/// How a volume is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Follow {
    Watched {
        wd: WatchDescriptor,
        dir: DirId,
    },
    Awaited {
        ancestor: WatchDescriptor,
    },
    Polled,
    /// It is not placed yet.
    Unplaced,
}

/// How many new volumes are placed at a time, before notifications are taken in again: each takes some 20 µs.
const PLACED_AT_A_TIME: usize = 32;

/// Room for so many sights is kept; that of a flood is given back.
const SIGHTS_KEPT: usize = 64;

#[derive(Debug)]
struct Volume {
    path: PathBuf,
    follow: Follow,
    /// The generation whose directory was made last: the one that the next swap publishes.
    made: Option<Generation>,
    published: bool,
    /// That it can't be watched was said.
    warned: bool,
    /// It isn't known to be safe to look at: nothing touches it.
    is_barred: bool,
}

/// All that is watched, by one inotify instance.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// `None` while the kernel gives none.
    inotify: Option<Inotify>,
    /// Where notifications are read into, [`notes::BUFFER`] bytes.
    buffer: Box<[u8]>,
    /// What was seen and wasn't given yet, in order.
    sights: VecDeque<Sight>,
    pods_dir: PathBuf,
    watches: HashMap<WatchDescriptor, Subject>,
    pods: BTreeSet<PodUid>,
    volumes: BTreeMap<VolumeRef, Volume>,
    /// Those of them that are polled, and those whose first publication is awaited in a watched directory.
    polled: BTreeSet<VolumeRef>,
    unpublished: BTreeSet<VolumeRef>,
    /// Those that are to be placed, and the one that was placed last: pods take turns.
    unplaced: BTreeSet<VolumeRef>,
    placed: Option<VolumeRef>,
    recheck: Option<Recheck>,
    cgroups: BTreeMap<PodUid, (PathBuf, WatchDescriptor)>,
    parents: BTreeMap<PathBuf, WatchDescriptor>,
    warned_limit: bool,
    warned_refused: bool,
    opens: BTreeMap<(VolumeRef, Generation), Opens>,
    /// When each pause of theirs ends, or of those that were paused once.
    pauses: BTreeSet<(Time, (VolumeRef, Generation))>,
    /// How many directories of theirs there are.
    opened_directories: usize,
    own_reads: OwnReads,
}

impl Watcher {
    /// Watches nothing yet.
    pub(crate) fn new(kubelet_root: &Path, own_reads: OwnReads) -> Self {
        Self {
            inotify: Inotify::init().inspect_err(warn_of_no_instance).ok(),
            buffer: vec![0; notes::BUFFER].into(),
            sights: VecDeque::new(),
            pods_dir: kubelet_root.join("pods"),
            watches: HashMap::new(),
            pods: BTreeSet::new(),
            volumes: BTreeMap::new(),
            polled: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            placed: None,
            recheck: None,
            cgroups: BTreeMap::new(),
            parents: BTreeMap::new(),
            warned_limit: false,
            warned_refused: false,
            opens: BTreeMap::new(),
            pauses: BTreeSet::new(),
            opened_directories: 0,
            own_reads,
        }
    }

    /// What was seen next. Every verb adds to it, and it is to be asked for until there is none.
    pub(crate) fn poll_sight(&mut self) -> Option<Sight> {
        let sight = self.sights.pop_front();
        if sight.is_none() {
            self.sights.shrink_to(SIGHTS_KEPT);
        }
        sight
    }

    /// Readable when something happened; `None` while there is no inotify instance.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Tries to get an inotify instance where there is none; whether there is a new one. Nothing is watched by it yet.
    pub(crate) fn retry_instance(&mut self) -> bool {
        if self.inotify.is_none() {
            self.inotify = Inotify::init().ok();
            return self.inotify.is_some();
        }
        false
    }

    /// Gives the inotify instance up, of which nothing can be read; nothing must be watched by it yet.
    pub(crate) fn drop_instance(&mut self) {
        self.inotify = None;
    }

    /// The pods whose volumes are followed.
    pub(crate) fn pods(&self) -> BTreeSet<PodUid> {
        self.volumes.keys().map(|name| name.pod.clone()).collect()
    }

    /// Adds a watch. Without an instance that is refused as the instance was.
    fn add_watch(&self, path: &Path, mask: WatchMask) -> Result<WatchDescriptor, Errno> {
        let inotify = self.inotify.as_ref().ok_or(Errno::EMFILE)?;
        inotify.watches().add(path, mask).map_err(errno)
    }

    /// How many watches there are.
    pub(crate) fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// A volume's directory.
    pub(crate) fn path(&self, volume: &VolumeRef) -> Option<&Path> {
        self.volumes.get(volume).map(|volume| volume.path.as_path())
    }

    /// Where a volume's directory is, watched or not.
    pub(crate) fn place_of(&self, volume: &VolumeRef, kind: VolumeKind) -> PathBuf {
        let volumes = self.pods_dir.join(volume.pod.as_str()).join("volumes");
        volumes.join(kind.directory()).join(kind.place(&volume.volume))
    }

    /// Watches a pod's volumes, as soon as [`Watcher::place_some`] comes to them. What was watched of the pod and isn't named
    /// any more is let go.
    pub(crate) fn watch_pod(&mut self, pod: &PodUid, volumes: &[(Name, VolumeKind)]) {
        let barred: BTreeSet<&Name> =
            volumes.iter().filter(|(_, kind)| *kind == VolumeKind::Csi).map(|(name, _)| name).collect();
        let wanted: BTreeMap<VolumeRef, PathBuf> = volumes
            .iter()
            .map(|(name, kind)| {
                let volume = VolumeRef { pod: pod.clone(), volume: name.clone() };
                let path = self.place_of(&volume, *kind);
                (volume, path)
            })
            .collect();
        for volume in self.volumes_of(pod) {
            if !wanted.contains_key(&volume) {
                self.drop_volume(&volume);
            }
        }
        self.pods.insert(pod.clone());
        for (name, path) in wanted {
            if !self.volumes.contains_key(&name) {
                let is_barred = barred.contains(&name.volume);
                let follow = Follow::Unplaced;
                let volume = Volume { path, follow, made: None, published: false, warned: false, is_barred };
                self.volumes.insert(name.clone(), volume);
                if !is_barred {
                    self.unplaced.insert(name);
                }
            }
        }
    }

    /// Whether there are volumes that aren't followed yet.
    pub(crate) fn has_unplaced(&self) -> bool {
        !self.unplaced.is_empty()
    }

    /// Begins to follow some of them.
    pub(crate) fn place_some(&mut self, now: Time) {
        for _ in 0..PLACED_AT_A_TIME {
            let Some(name) = self.next_unplaced() else { return };
            self.place(&name, now);
            self.placed = Some(name);
        }
    }

    /// A volume of the next pod that has any.
    fn next_unplaced(&self) -> Option<VolumeRef> {
        let later = self.placed.as_ref().and_then(|placed| {
            let after = (Bound::Excluded(placed), Bound::Unbounded);
            self.unplaced.range::<VolumeRef, _>(after).find(|name| name.pod != placed.pod)
        });
        later.or_else(|| self.unplaced.first()).cloned()
    }

    /// Lets a pod go.
    pub(crate) fn unwatch_pod(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
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
            self.unplaced.remove(name);
            self.forget_opens(name);
            self.account(name);
        }
    }

    fn unfollow(&mut self, name: &VolumeRef, follow: Follow) {
        match follow {
            Follow::Watched { wd, .. } => self.drop_watch(wd),
            Follow::Awaited { ancestor } => {
                if let Some(Subject::Ancestor(awaiting)) = self.watches.get_mut(&ancestor) {
                    awaiting.remove(name);
                    if awaiting.is_empty() {
                        self.drop_watch(ancestor);
                    }
                }
            }
            Follow::Polled | Follow::Unplaced => {}
        }
    }

    fn drop_watch(&mut self, wd: WatchDescriptor) {
        if self.watches.remove(&wd).is_some()
            && let Some(inotify) = &self.inotify
            && let Err(error) = inotify.watches().remove(wd)
            // EINVAL: it went with its directory.
            && error.kind() != io::ErrorKind::InvalidInput
        {
            tracing::warn!(%error, "can't remove an inotify watch");
        }
    }

    /// Watches a pod's cgroup, if it has one of its own, and the directories in which pods' cgroups appear. Without such a
    /// watch containers are still found when they are needed.
    pub(crate) fn watch_cgroup(&mut self, pod: &PodUid, directory: Option<&Path>, parents: &[PathBuf]) {
        // A survey that was under way can name a pod that was let go meanwhile.
        if !self.pods.contains(pod) {
            return;
        }
        let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::ONLYDIR;
        let gone: Vec<WatchDescriptor> =
            self.parents.extract_if(.., |known, _| !parents.contains(known)).map(|(_, wd)| wd).collect();
        gone.into_iter().for_each(|wd| self.drop_watch(wd));
        // They are added each time: one that has ended unseen gets another descriptor.
        for parent in parents {
            let before = self.parents.remove(parent);
            if let Some(wd) = self.watch_again(parent, mask, before, || Subject::Pods) {
                self.parents.insert(parent.clone(), wd);
            }
        }
        let before = match self.cgroups.remove(pod) {
            Some((known, wd)) if directory == Some(&*known) => Some(wd),
            Some((_, wd)) => {
                self.drop_watch(wd);
                None
            }
            None => None,
        };
        let Some(directory) = directory else { return };
        if let Some(wd) = self.watch_again(directory, mask, before, || Subject::Pod(pod.clone())) {
            self.cgroups.insert(pod.clone(), (directory.to_owned(), wd));
        }
    }

    /// Watches a directory that may be watched already; the watch from before ends if it was another directory's.
    fn watch_again(
        &mut self,
        directory: &Path,
        mask: WatchMask,
        before: Option<WatchDescriptor>,
        subject: impl FnOnce() -> Subject,
    ) -> Option<WatchDescriptor> {
        let wd = self.add_watch(directory, mask).ok();
        if let Some(before) = before.filter(|before| wd.as_ref() != Some(before)) {
            self.drop_watch(before);
        }
        if let Some(wd) = &wd {
            self.watches.entry(wd.clone()).or_insert_with(subject);
        }
        wd
    }

    /// A listing saw this directory and perhaps a publication. Whether the listing speaks of the directory that is
    /// followed; if not, the volume is followed anew and will be listed again.
    pub(crate) fn confirm(
        &mut self,
        name: &VolumeRef,
        dir: Option<DirId>,
        published: bool,
        now: Time,
    ) -> bool {
        let Some(volume) = self.volumes.get_mut(name) else { return false };
        volume.published |= published;
        self.account(name);
        let Some(volume) = self.volumes.get(name) else { return false };
        let is_listed_one = match (&volume.follow, dir) {
            (Follow::Watched { dir: watched, .. }, Some(listed)) => *watched == listed,
            (Follow::Watched { .. }, None) | (Follow::Awaited { .. }, Some(_)) | (Follow::Unplaced, _) => {
                false
            }
            (Follow::Awaited { .. }, None) | (Follow::Polled, _) => true,
        };
        // The watch may have ended, and the directory look the same.
        let has_watch = matches!(volume.follow, Follow::Watched { .. });
        let is_other = (has_watch || !is_listed_one) && self.follow_again(name, now);
        let agrees = is_listed_one && !is_other;
        if !agrees {
            self.sights.push_back(Sight::List(name.clone()));
        }
        agrees
    }

    /// Tries to watch polled volumes after all, as soon as [`Watcher::place_some`] comes to them.
    pub(crate) fn retry_polled(&mut self) {
        let polled: Vec<VolumeRef> = self.polled().cloned().collect();
        self.unplaced.extend(polled);
    }

    /// Adds a volume's watch again, as after lost notifications, and asks for a listing.
    pub(crate) fn check(&mut self, name: &VolumeRef, now: Time) {
        let Some(volume) = self.volumes.get(name) else { return };
        // One that isn't placed is listed when it is.
        if volume.follow != Follow::Unplaced {
            self.place(name, now);
        }
    }
}

/// What an error of the kernel's says.
fn errno(error: io::Error) -> Errno {
    Errno::try_from(error).unwrap_or(Errno::EIO)
}

/// Says what is used up: EMFILE stands for the user's inotify instances and for the process's descriptors
/// (inotify_init(2)), and only the second keeps others from being opened.
fn warn_of_no_instance(error: &io::Error) {
    let is_full = error.raw_os_error() == Some(Errno::EMFILE as i32);
    if is_full && EventFd::from_flags(EfdFlags::EFD_CLOEXEC).is_ok() {
        tracing::warn!(
            "the limit of inotify instances is reached (fs.inotify.max_user_instances): volumes are polled each second \
             until one can be had"
        );
    } else {
        tracing::warn!(
            %error,
            "no inotify instance can be had: volumes are polled each second until one can"
        );
    }
}

#[cfg(test)]
mod tests;
