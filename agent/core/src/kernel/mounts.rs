//! What a container's `mountinfo` says: which container it is, and whether it sees what the kubelet publishes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
    /// Whether there is more than is kept or was read: then what wasn't seen may well be there.
    cut: bool,
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
            let view = if is_dead { View::Dead } else { view_of(root.trim_start_matches('/')) };
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
mod tests {
    use super::*;

    const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    /// Lines as recorded on a node, Kubernetes 1.36 and containerd 1.6.
    const CONTAINER: &str = "\
1362 1161 0:421 / / rw,relatime - overlay overlay rw,lowerdir=x
1364 1362 0:424 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
1378 1362 0:400 / /sec ro,relatime - tmpfs tmpfs rw,size=24581692k,noswap
1381 1362 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~configmap/conf/..2026_11_21_06_14_10.1488999967/nginx.conf//deleted /one.conf ro,relatime - ext4 /dev/vda rw
1382 1362 254:0 /var/lib/kubelet/pods/UID/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
1383 1364 254:0 /var/lib/kubelet/pods/UID/containers/a/5ef088ab /dev/termination-log rw,relatime - ext4 /dev/vda rw
";

    fn mounts(text: &str) -> ContainerMounts {
        ContainerMounts::parse(&text.replace("UID", UID), &PodUid::parse(UID).unwrap())
    }

    fn on(minor: u32) -> Option<DirId> {
        Some(DirId { device: Device { major: 0, minor }, inode: 1 })
    }

    #[test]
    fn the_recorded_container_has_its_name_its_tmpfs_and_a_frozen_file() {
        let mounts = mounts(CONTAINER);
        assert_eq!(mounts.container.as_deref(), Some("a"));
        assert_eq!(mounts.view(VolumeKind::Secret, "sec", on(400)), View::Live);
        assert_eq!(mounts.view(VolumeKind::ConfigMap, "conf", on(7)), View::Frozen);
    }

    #[test]
    fn a_tmpfs_on_another_device_was_torn_down() {
        assert_eq!(mounts(CONTAINER).view(VolumeKind::Secret, "sec", on(777)), View::Dead);
    }

    #[test]
    fn a_deleted_directory_on_disk_was_torn_down() {
        let text = CONTAINER.replace("/..2026_11_21_06_14_10.1488999967/nginx.conf//deleted", "//deleted");
        assert_eq!(mounts(&text).view(VolumeKind::ConfigMap, "conf", on(7)), View::Dead);
    }

    #[test]
    fn a_directory_mount_beside_a_sub_path_is_live() {
        let text = format!(
            "{CONTAINER}1418 1402 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~configmap/conf /conf ro - ext4 /dev/vda rw\n"
        );
        assert_eq!(mounts(&text).view(VolumeKind::ConfigMap, "conf", on(7)), View::Live);
    }

    #[test]
    fn the_hosts_own_mounts_take_nothing_away() {
        let text = "\
1087 42 0:400 / /var/lib/kubelet/pods/UID/volumes/kubernetes.io~secret/sec rw shared:3 - tmpfs tmpfs rw
1157 42 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~configmap/conf/..2026_11_21_06_14_10.1/x//deleted /var/lib/kubelet/pods/UID/volume-subpaths/conf/a/3 rw - ext4 /dev/vda rw
";
        assert_eq!(mounts(text).view(VolumeKind::Secret, "sec", on(777)), View::Live);
        assert_eq!(mounts(text).view(VolumeKind::ConfigMap, "conf", on(7)), View::Live);
    }

    #[test]
    fn what_a_program_mounts_later_or_inside_a_volume_doesnt_name_the_container() {
        let names = |text: &str| mounts(text).container.as_deref().map(str::to_owned);
        let forged = "9 1 0:50 /x/pods/UID/containers/other/01234567 /x rw - tmpfs tmpfs rw\n";
        assert_eq!(names(&format!("{CONTAINER}{forged}")).as_deref(), Some("a"), "the first one counts");
        for inside in [
            "9 1 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~empty-dir/s/pods/UID/containers/other/01234567 /x rw - ext4 d rw\n",
            "9 1 254:0 /var/lib/kubelet/pods/UID/containers/other/notahexn /x rw - ext4 d rw\n",
            "9 1 254:0 /var/lib/kubelet/pods/UID/containers/other/0123456 /x rw - ext4 d rw\n",
            "9 1 254:0 /var/lib/kubelet/pods/UID/containers/other/01234567/more /x rw - ext4 d rw\n",
        ] {
            assert_eq!(names(inside), None, "{inside}");
        }
    }

    #[test]
    fn mounts_that_name_another_pod_say_nothing() {
        let other = "7f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        assert_eq!(mounts(&CONTAINER.replace("UID", other)).container, None);
    }

    #[test]
    fn what_is_kept_has_a_bound_and_what_is_beyond_it_is_live() {
        let mut text = CONTAINER.to_owned();
        for n in 0..8000 {
            text += &format!("{n} 1 0:{} / /m{n} rw - tmpfs tmpfs rw\n", 1000 + n);
            text += &format!(
                "{n} 1 254:0 /k/pods/UID/volumes/kubernetes.io~configmap/v{n}/x /n{n} rw - ext4 d rw\n"
            );
        }
        let mounts = mounts(&text);
        assert_eq!((mounts.disk.len(), mounts.tmpfs.len()), (MOST_KEPT, MOST_KEPT));
        assert_eq!(mounts.view(VolumeKind::ConfigMap, "conf", on(7)), View::Frozen, "it came first");
        assert_eq!(mounts.view(VolumeKind::Secret, "other", on(99)), View::Live, "it may be beyond");
        assert_eq!(mounts.view(VolumeKind::ConfigMap, "v7999", on(7)), View::Live);
    }

    #[test]
    fn a_mount_that_gets_none_from_elsewhere_is_blind_unless_it_is_the_hosts_own() {
        let own = "20 1 254:0 / / rw - overlay o rw\n21 20 254:0 /k /k/pods rw master:3 - ext4 d rw\n";
        let sees = |own: &str, host: &str| sees_later_mounts(own, host, "/k/pods");
        assert!(sees(own, ""));
        assert!(sees(&own.replace("master:3", "shared:3"), ""));
        let private = own.replace(" master:3", "");
        assert!(!sees(&private, "20 1 254:0 / / rw - ext4 d rw\n"));
        assert!(sees(&private, "21 20 254:0 /k /k/pods rw - ext4 d rw\n"));
        let above = format!("{private}22 20 254:0 /k /k/pods rw shared:3 - ext4 d rw\n");
        assert!(sees(&above, ""), "the last one is on top");
        assert!(sees(&format!("{own}22 20 0:9 / /k/pod rw - tmpfs t rw\n"), ""), "another directory");
        assert!(sees("x\n", ""), "what isn't known isn't said");
    }

    #[test]
    fn broken_lines_are_passed_over() {
        assert_eq!(mounts("x\n1 2\n1 2 3 4 5\n\n"), ContainerMounts::default());
    }

    #[test]
    fn of_several_file_systems_at_one_place_the_one_on_top_counts() {
        let text = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /a/b rw shared:1 - tmpfs t rw\n\
                    3 1 0:6 / /a/bc rw - nfs4 s:/ rw\n4 2 0:7 / /a/b ro - fuse.s3 s ro\n5 1 0:8 / /none\n";
        let device = |minor| Device { major: 0, minor };
        assert_eq!(mounted_at(text, "/a/b"), Some((device(7), "fuse.s3")));
        assert_eq!(mounted_at(text, "/a/bc"), Some((device(6), "nfs4")));
        assert_eq!(mounted_at(text, "/a"), None);
        assert_eq!(mounted_at(text, "/none"), None);
        assert_eq!(device_of(text, "/a/b/c"), Some(device(7)));
        assert_eq!(device_of(text, "/a/bcd"), Some(Device { major: 8, minor: 1 }));
        assert_eq!(device_of("", "/a"), None);
    }

    #[test]
    fn a_volume_of_a_driver_is_live_unless_its_end_is_known() {
        let pod = below_pod(&PodUid::parse(UID).unwrap());
        let below = |rest: &str| {
            format!("9 1 8:1 /kubelet{pod}volumes/kubernetes.io~csi/s/mount{rest} /s ro - ext4 d rw\n")
        };
        let view =
            |more: &str, device| mounts(&format!("{CONTAINER}{more}")).view(VolumeKind::Csi, "s", on(device));
        assert_eq!(view("", 777), View::Live, "a part of a disk of the driver's");
        assert_eq!(view(&below(""), 1), View::Live);
        assert_eq!(view(&below("/..2026_11_21_05_56_44.1/a"), 1), View::Frozen);
        assert_eq!(view(&below("//deleted"), 1), View::Dead);
        assert_eq!(view("9 1 0:777 /vol-1 /s ro - tmpfs t rw\n", 777), View::Live, "a part of its tmpfs");
        assert_eq!(view("9 1 0:777 //deleted /s ro - tmpfs t rw\n", 777), View::Dead);
    }
}
