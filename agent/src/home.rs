//! Whether the kubelet's directory of a pod is where the agent looks for it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::mounts::{self, Device, path_on_host};
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::pod::VolumeKind;

use crate::cgroups::Cgroups;
use crate::gates::{self, Gate};
use crate::lack;
use crate::listing;
use crate::proc::ProcRoot;

/// The most bytes of the host's `mountinfo` that are read: some 30,000 mounts.
const MOST_MOUNTS: u64 = 8 << 20;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The directory is there, or it can't be told.
    There,
    /// The agent isn't allowed to look.
    Closed,
    /// It isn't, and no container of the pod runs.
    NotNeeded,
    /// It isn't, although containers of the pod run.
    Missing(Option<Shown>),
}

/// The kubelet root that a container's mounts show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shown {
    /// A path on the host; else one in a file system of which it isn't known where it is mounted.
    pub(crate) on_host: bool,
    /// The path.
    pub(crate) path: String,
}

/// Whether the agent isn't allowed to look into the kubelet's directory of pods.
pub(crate) fn is_closed(pods_dir: &Path) -> bool {
    // The first asks whether it may be read, which a watch needs, and the second whether what is in it may be reached.
    let opened =
        File::open(pods_dir).map(drop).and_then(|()| pods_dir.join(".").symlink_metadata().map(drop));
    opened.is_err_and(|error| lack::of(&error) == Lack::Refused)
}

/// Whether volumes that the kubelet mounts from now on are seen in its directory of pods, as far as is known.
pub(crate) fn sees_later_mounts(pods_dir: &Path, proc_root: &Path) -> bool {
    let read = |name: &str| {
        let mut text = Vec::new();
        let read =
            File::open(proc_root.join(name)).and_then(|file| file.take(MOST_MOUNTS).read_to_end(&mut text));
        read.ok().map(|_| String::from_utf8_lossy(&text).into_owned())
    };
    let path = pods_dir.canonicalize().ok();
    let known = path.zip(read("self/mountinfo")).zip(read("1/mountinfo"));
    known.is_none_or(|((path, own), host)| mounts::sees_later_mounts(&own, &host, &path.to_string_lossy()))
}

/// Looks for the directories.
#[derive(Debug)]
pub(crate) struct Homes {
    pods_dir: PathBuf,
    host_mounts: PathBuf,
    own_mounts: PathBuf,
}

impl Homes {
    /// Looks below this kubelet root. What containers' mounts show is understood by the mounts of the host's first process.
    pub(crate) fn new(kubelet_root: &Path, proc_root: PathBuf) -> Self {
        let own_mounts = proc_root.join("self/mountinfo");
        Self { pods_dir: kubelet_root.join("pods"), host_mounts: proc_root.join("1/mountinfo"), own_mounts }
    }

    /// Looks for a pod's directory, and asks its containers' mounts where it isn't there.
    pub(crate) fn look(&self, pod: &PodUid, proc: &ProcRoot, cgroups: &mut Cgroups) -> Home {
        if is_closed(&self.pods_dir) {
            return Home::Closed;
        }
        if !matches!(listing::look(&self.pods_dir.join(pod.as_str())), Ok(None)) {
            return Home::There;
        }
        let Ok(found) = cgroups.pod(pod) else { return Home::NotNeeded };
        let mut pids = found.containers.into_values().filter_map(|pids| pids.into_iter().min()).peekable();
        if pids.peek().is_none() {
            return Home::NotNeeded;
        }
        let shown = pids.find_map(|pid| proc.kubelet_root(pid, pod).ok().flatten());
        Home::Missing(shown.map(|(device, path)| self.shown(device, path)))
    }

    /// What is known of a pod's volumes of CSI drivers.
    pub(crate) fn gates(&self, pod: &PodUid, volumes: &[Name]) -> Vec<(Name, Gate)> {
        // The table has paths without links.
        let pods_dir = self.pods_dir.canonicalize().unwrap_or_else(|_| self.pods_dir.clone());
        let below = pods_dir.join(pod.as_str()).join("volumes").join(VolumeKind::Csi.directory());
        let table = read(&self.own_mounts);
        let disk = pods_dir.to_str().and_then(|path| mounts::device_of(&table, path));
        let gate =
            |name: &Name| (name.clone(), gates::gate(&table, &below.join(VolumeKind::Csi.place(name)), disk));
        volumes.iter().map(gate).collect()
    }

    fn shown(&self, device: Device, path: String) -> Shown {
        match path_on_host(&read(&self.host_mounts), device, &path) {
            Some(path) => Shown { on_host: true, path },
            None => Shown { on_host: false, path },
        }
    }
}

/// What a mount table says, as far as it is read. What can't be read isn't known.
fn read(table: &Path) -> String {
    let mut mounts = Vec::new();
    let read = File::open(table).and_then(|file| file.take(MOST_MOUNTS).read_to_end(&mut mounts));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&mounts).into_owned())
}
