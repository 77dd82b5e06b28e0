//! What a container's `mountinfo` says: which container it is, and whether it sees what the kubelet publishes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::generation::Generation;
use crate::model::names::{Name, PodUid};
use crate::model::pod::VolumeKind;

/// A device, as `mountinfo` and `stat` number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// A directory that can't be mistaken for one that was made later under the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirId {
    /// The device it is on.
    pub device: Device,
    /// Its inode.
    pub inode: u64,
}

/// What one container's `mountinfo` shows of its pod. Read when the container is discovered, then remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerMounts {
    /// The container's name, by the bind mount of `…/pods/<uid>/containers/<name>/<8 hex digits>`.
    pub container: Option<Name>,
    /// Whether anything of the pod is mounted; without it, this is the host's mount namespace.
    of_pod: bool,
    /// What is seen of the pod's volume directories on disk, by their paths below `volumes`: the best of several.
    disk: BTreeMap<Box<str>, View>,
    /// The same of other mounts that can be a volume's own tmpfs.
    tmpfs: BTreeMap<Device, View>,
    /// Which generations its frozen mounts show, by the volume that they are of.
    frozen: BTreeSet<(Place, Generation)>,
    /// Whether there is more than is kept or was read: then what wasn't seen may well be there.
    cut: bool,
}

/// A volume, as a mount shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// On disk, at this path below `volumes`.
    Disk(Box<str>),
    /// On a file system of its own.
    Tmpfs(Device),
}

/// The most volumes on disk, and the most tmpfs, that are kept of a container. A program can mount thousands; those of
/// the pod's spec come first, since the runtime made them before the program started.
const MOST_KEPT: usize = 128;

/// The longest path of a volume below `volumes` that is kept: the plugin's directory and a name of 63 characters.
const LONGEST_KEPT: usize = 128;

/// What a container sees of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// What the kubelet publishes.
    Live,
    /// One generation's file or directory, for good (subPath).
    Frozen,
    /// A directory that was torn down.
    Dead,
}

impl ContainerMounts {
    /// Reads the text of `mountinfo` (proc_pid_mountinfo(5)).
    pub fn parse(text: &str, pod: &PodUid) -> Self {
        let mut mounts = Self::default();
        let below_pod = below_pod(pod);
        for line in text.lines() {
            mounts.take_line(line, &below_pod);
        }
        mounts
    }

    /// There are further lines that aren't read.
    pub const fn cut(&mut self) {
        self.cut = true;
    }

    /// Takes in one line of `mountinfo`; `below_pod` is what [`below_pod`] gives.
    pub fn take_line(&mut self, line: &str, below_pod: &str) {
        let mut fields = line.split(' ');
        let Some((device, root, point)) = fields
            .nth(2)
            .and_then(parse_device)
            .and_then(|device| Some((device, fields.next()?, fields.next()?)))
        else {
            return;
        };
        // In the host's mount namespace the kubelet's own mounts show; they are nobody's view.
        if point.contains(below_pod) {
            return;
        }
        if let Some((_, path)) = root.split_once(below_pod) {
            self.of_pod = true;
            self.take_pod_path(path);
            return;
        }
        let is_tmpfs = line.split_once(" - ").is_some_and(|(_, tail)| tail.starts_with("tmpfs "));
        if is_tmpfs {
            let is_dead = root.ends_with("//deleted");
            let path = root.trim_start_matches('/');
            let view = if is_dead { View::Dead } else { view_of(path) };
            self.take_frozen(Place::Tmpfs(device), path);
            self.cut |= !keep(&mut self.tmpfs, device, view);
        }
    }

    fn take_pod_path(&mut self, path: &str) {
        let mut parts = path.splitn(4, '/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            // The first one: the runtime's mounts come before those that a program adds.
            (Some("containers"), Some(container), Some(file), None)
                if self.container.is_none() && is_termination_log(file) =>
            {
                self.container = Some(container.into());
            }
            (Some("volumes"), Some(plugin), Some(volume), rest) => {
                // A driver that mounts nothing writes into the directory that it was given.
                let rest = match rest {
                    Some(rest) if plugin == VolumeKind::Csi.directory() => {
                        match rest.strip_prefix("mount/") {
                            None if rest == "mount" => None,
                            below => Some(below.unwrap_or(rest)),
                        }
                    }
                    rest => rest,
                };
                if let Some(rest) = rest {
                    self.take_frozen(Place::Disk(disk_path(plugin, volume)), rest);
                }
                let (volume, view) = match rest {
                    None => (volume, View::Live),
                    Some("/deleted") => (volume, View::Dead),
                    Some(rest) => (volume, view_of(rest)),
                };
                let path = disk_path(plugin, volume);
                self.cut |= path.len() > LONGEST_KEPT || !keep(&mut self.disk, path, view);
            }
            _ => {}
        }
    }

    /// Keeps which generation a path inside a volume is in, where it is in one and there is room.
    fn take_frozen(&mut self, place: Place, path: &str) {
        let directory = path.split('/').next().unwrap_or_default();
        let fits = match &place {
            Place::Disk(path) => path.len() <= LONGEST_KEPT,
            Place::Tmpfs(_) => true,
        };
        if let Some(generation) = Generation::parse(directory).filter(|_| fits) {
            if self.frozen.len() < MOST_KEPT {
                self.frozen.insert((place, generation));
            } else {
                self.cut = true;
            }
        }
    }

    /// Which generations of a volume its `subPath` mounts show, whose directory on the host is `dir`; `None` where that isn't known as a
    /// whole.
    pub fn frozen(&self, kind: VolumeKind, volume: &str, dir: Option<DirId>) -> Option<Vec<&Generation>> {
        let disk = Place::Disk(disk_path(kind.directory(), volume));
        let tmpfs = dir.map(|dir| Place::Tmpfs(dir.device));
        let is_its = |place: &Place| *place == disk || Some(place) == tmpfs.as_ref();
        let shown: Vec<_> =
            self.frozen.iter().filter(|(place, _)| is_its(place)).map(|(_, generation)| generation).collect();
        (!self.cut && !shown.is_empty()).then_some(shown)
    }

    /// What the container sees of a volume whose directory on the host is `dir`. Where nothing contradicts the pod's
    /// spec, it is live: `mountinfo` only takes away.
    pub fn view(&self, kind: VolumeKind, volume: &str, dir: Option<DirId>) -> View {
        if !self.of_pod {
            return View::Live;
        }
        if let Some(view) = self.disk.get(&disk_path(kind.directory(), volume)) {
            return *view;
        }
        match (kind, dir) {
            (VolumeKind::ConfigMap, _) | (_, None) => View::Live,
            // A driver may mount a part of a tmpfs of its own, or of a disk: only an end is known for certain.
            (VolumeKind::Csi, Some(dir)) => match self.tmpfs.get(&dir.device) {
                Some(View::Dead) => View::Dead,
                Some(View::Live | View::Frozen) | None => View::Live,
            },
            (VolumeKind::Secret | VolumeKind::Projected, Some(dir)) => {
                let unseen = if self.cut { View::Live } else { View::Dead };
                self.tmpfs.get(&dir.device).copied().unwrap_or(unseen)
            }
        }
    }
}

/// Whether a file is one that the kubelet makes for a container's termination message: a random number (kubelet
/// `makeMounts`).
fn is_termination_log(file: &str) -> bool {
    file.len() == 8 && file.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What stands in the path of each of a pod's directories, whatever the kubelet's root is.
pub fn below_pod(pod: &PodUid) -> String {
    format!("/pods/{pod}/")
}

fn disk_path(plugin: &str, volume: &str) -> Box<str> {
    format!("{plugin}/{volume}").into()
}

/// Keeps the best view, where there is room for it.
fn keep<K: Ord>(views: &mut BTreeMap<K, View>, key: K, view: View) -> bool {
    let full = views.len() >= MOST_KEPT;
    match views.entry(key) {
        Entry::Occupied(mut known) => {
            let best = view.min(*known.get());
            known.insert(best);
        }
        Entry::Vacant(_) if full => return false,
        Entry::Vacant(free) => {
            free.insert(view);
        }
    }
    true
}

/// The kubelet root that a line of a container's `mountinfo` shows, as a path in its file system: what stands before
/// `/pods/<uid>/containers/<name>/<8 hex digits>` or `/pods/<uid>/etc-hosts`. `below_pod` is what [`below_pod`] gives.
pub fn root_shown(line: &str, below_pod: &str) -> Option<(Device, String)> {
    let mut fields = line.split(' ').skip(2);
    let (device, root) = (parse_device(fields.next()?)?, fields.next()?);
    let (kubelet_root, path) = root.split_once(below_pod)?;
    let mut parts = path.splitn(4, '/');
    let shows = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("etc-hosts"), None, None, None) => true,
        (Some("containers"), Some(_), Some(file), None) => is_termination_log(file),
        _ => false,
    };
    shows.then(|| (device, kubelet_root.to_owned()))
}

/// Where the host has a path of a file system, by the host's own `mountinfo`: below the mount that shows the most of it.
pub fn path_on_host(text: &str, device: Device, path: &str) -> Option<String> {
    let below = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        let (found, root, point) = (parse_device(fields.next()?)?, fields.next()?, fields.next()?);
        let rest = path.strip_prefix(root.trim_end_matches('/'))?;
        let fits = found == device && (rest.is_empty() || rest.starts_with('/'));
        fits.then(|| (root.len(), format!("{}{rest}", point.trim_end_matches('/'))))
    };
    text.lines().filter_map(below).min_by_key(|(length, _)| *length).map(|(_, path)| path)
}

/// What is mounted at a path, by this text of `mountinfo`: its device and its type; `None` where nothing is.
pub fn mounted_at<'t>(text: &'t str, path: &str) -> Option<(Device, &'t str)> {
    // Of several at one place the last one is on top.
    let line = text.lines().rev().find(|line| line.split(' ').nth(4) == Some(path))?;
    let file_system = line.split_once(" - ")?.1.split(' ').next()?;
    Some((parse_device(line.split(' ').nth(2)?)?, file_system))
}

/// The device of what is mounted at a path or nearest above it.
pub fn device_of(text: &str, path: &str) -> Option<Device> {
    parse_device(mount_above(text, path)?.split(' ').nth(2)?)
}

/// The line of what is mounted at a path or nearest above it.
fn mount_above<'t>(text: &'t str, path: &str) -> Option<&'t str> {
    let covers = |line: &&str| {
        let point = line.split(' ').nth(4).map(|point| point.trim_end_matches('/'));
        let rest = point.and_then(|point| path.strip_prefix(point));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let depth = |line: &&str| line.split(' ').nth(4).map_or(0, str::len);
    // Of several at one place the last one is on top, and the last one of equals is taken.
    text.lines().filter(covers).max_by_key(depth)
}

/// Whether mounts that are made later below a path are seen there, by the `mountinfo` of who looks and that of the host's first process:
/// the mount there gets them from others, or it is the host's own.
pub fn sees_later_mounts(own: &str, host: &str, path: &str) -> bool {
    // What isn't known isn't said.
    let Some(mount) = mount_above(own, path) else { return true };
    let mut options = mount.split(' ').skip(6).take_while(|word| *word != "-");
    let id = |line: &str| line.split(' ').next().map(str::to_owned);
    options.any(|word| word.starts_with("master:") || word.starts_with("shared:"))
        || host.lines().any(|line| id(line) == id(mount))
}

/// The view through a mount whose root lies at this path inside a volume.
fn view_of(path: &str) -> View {
    if path.is_empty() {
        View::Live
    } else if path == "/deleted" {
        View::Dead
    } else {
        // A file or directory inside the volume: what it showed at the container's start, for good.
        View::Frozen
    }
}

fn parse_device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests;
