//! Finds a pod's cgroup directories and the processes in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reloadlet_core::cgroup::{container_part, pod_part};
use reloadlet_core::lack::Lack;
use reloadlet_core::pod::{ContainerId, PodUid};
use rustix::io::Errno;

use crate::lack;

/// How deep below a hierarchy's root pods are looked for; kind's are at four.
const DEEPEST: usize = 8;

/// The hierarchies below `--cgroup-root`.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Tree>,
}

/// One hierarchy.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    pods: HashMap<PodUid, PathBuf>,
    /// Directories in which pods were found: new ones appear there.
    parents: BTreeSet<PathBuf>,
}

/// A cgroup that can't be read although it is there.
#[derive(Debug, thiserror::Error)]
#[error("can't read {}", .path.display())]
pub(crate) struct CgroupError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl CgroupError {
    /// What the agent lacks.
    pub(crate) fn lack(&self) -> Lack {
        lack::of(&self.source)
    }
}

/// A pod's directory in the hierarchy that its processes are found in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodCgroup {
    /// The directory, where new containers appear.
    pub(crate) directory: Option<PathBuf>,
    /// Processes by container.
    pub(crate) containers: BTreeMap<ContainerId, Vec<u32>>,
}

impl Cgroups {
    /// A root that holds `cgroup.procs` itself is v2; else it holds the hierarchies of a v1 or hybrid host.
    pub(crate) fn new(root: &Path) -> Self {
        let roots = if root.join("cgroup.procs").exists() {
            vec![root.to_owned()]
        } else {
            ["unified", "systemd", "pids"]
                .iter()
                .map(|name| root.join(name))
                .filter(|path| path.is_dir())
                .collect()
        };
        let tree = |root| Tree { root, pods: HashMap::new(), parents: BTreeSet::new() };
        Self { hierarchies: roots.into_iter().map(tree).collect() }
    }

    /// Whether there is any hierarchy at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.hierarchies.is_empty()
    }

    /// A pod's containers and processes, in the first hierarchy that has any.
    pub(crate) fn pod(&mut self, uid: &PodUid) -> Result<PodCgroup, CgroupError> {
        let mut empty = PodCgroup::default();
        let mut failed = None;
        for tree in &mut self.hierarchies {
            let found = match tree.pod(uid) {
                Ok(found) => found,
                Err(error) => {
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            if found.containers.values().any(|pids| !pids.is_empty()) {
                return Ok(found);
            }
            if empty.directory.is_none() {
                empty = found;
            }
        }
        failed.map_or(Ok(empty), Err)
    }

    /// Directories in which pods appear.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &Path> {
        self.hierarchies.iter().flat_map(|tree| tree.parents.iter().map(PathBuf::as_path))
    }

    /// A pod isn't asked for any more.
    pub(crate) fn forget(&mut self, uid: &PodUid) {
        for tree in &mut self.hierarchies {
            tree.pods.remove(uid);
        }
    }
}

impl Tree {
    fn pod(&mut self, uid: &PodUid) -> Result<PodCgroup, CgroupError> {
        if !self.pods.get(uid).is_some_and(|directory| directory.is_dir()) {
            let unread = self.walk();
            if let Some(error) = unread.filter(|_| !self.pods.contains_key(uid)) {
                return Err(error);
            }
        }
        let Some(directory) = self.pods.get(uid) else { return Ok(PodCgroup::default()) };
        let mut containers = BTreeMap::new();
        for entry in directories(directory)? {
            collect(&entry, None, DEEPEST, &mut containers)?;
        }
        Ok(PodCgroup { directory: Some(directory.clone()), containers })
    }

    /// Looks through the hierarchy for pods, and not into them. Gives back why a part of it couldn't be looked through.
    fn walk(&mut self) -> Option<CgroupError> {
        self.pods.clear();
        let mut failed = None;
        let mut next = vec![(self.root.clone(), 0)];
        while let Some((directory, depth)) = next.pop() {
            let entries = match directories(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            for entry in entries {
                let name =
                    entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if let Some(uid) = pod_part(&name) {
                    self.parents.insert(directory.clone());
                    self.pods.insert(uid, entry);
                } else if depth < DEEPEST && container_part(&name).is_none() {
                    next.push((entry, depth + 1));
                }
            }
        }
        failed
    }
}

/// Adds the processes in and below a directory to the first container on the way to it.
fn collect(
    directory: &Path,
    container: Option<&ContainerId>,
    depth: usize,
    found: &mut BTreeMap<ContainerId, Vec<u32>>,
) -> Result<(), CgroupError> {
    let own = directory.file_name().and_then(|name| container_part(&name.to_string_lossy()));
    let container = container.cloned().or(own);
    if let Some(id) = &container {
        let pids = members(directory)?;
        let pids = pids.lines().filter_map(|pid| pid.parse::<u32>().ok());
        found.entry(id.clone()).or_default().extend(pids);
    }
    if depth > 0 {
        for entry in directories(directory)? {
            collect(&entry, container.as_ref(), depth - 1, found)?;
        }
    }
    Ok(())
}

/// The PIDs of a cgroup's processes. A threaded one shows only threads (cgroups(7)): of those a process's first has its
/// PID, and the others are told from it by who looks at them.
fn members(directory: &Path) -> Result<String, CgroupError> {
    let read = |file: &str| {
        let path = directory.join(file);
        fs::read_to_string(&path).map_err(|source| CgroupError { path, source })
    };
    let is = |error: &CgroupError, errno: Errno| error.source.raw_os_error() == Some(errno.raw_os_error());
    let text = match read("cgroup.procs") {
        Err(error) if is(&error, Errno::OPNOTSUPP) => read("cgroup.threads"),
        other => other,
    };
    match text {
        Err(error) if is_gone(&error.source) => Ok(String::new()),
        other => other,
    }
}

/// The directories in a directory. Cgroups come and go: one that is gone has none.
fn directories(path: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(CgroupError { path: path.to_owned(), source }),
    };
    let directories = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path());
    Ok(directories.collect())
}

/// Whether an error means that a cgroup was removed (ENODEV comes from files that were opened before).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    fn put(root: &Path, path: &str, pids: &str) {
        let directory = root.join(path);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cgroup.procs"), pids).unwrap();
    }

    fn id(digit: char) -> ContainerId {
        ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn a_containers_processes_are_all_those_below_it() {
        let root = tempfile::tempdir().unwrap();
        let pod = format!("kubelet.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
        put(root.path(), "", "");
        put(root.path(), &format!("{pod}/crio-{}.scope", id('a')), "");
        put(root.path(), &format!("{pod}/crio-{}.scope/container", id('a')), "7\n8\n");
        put(root.path(), &format!("{pod}/crio-{}.scope/container/deep", id('a')), "9\n");
        put(root.path(), &format!("{pod}/crio-conmon-{}.scope", id('a')), "5\n");
        let found = Cgroups::new(root.path()).pod(&PodUid::parse(UID).unwrap()).unwrap();
        assert_eq!(found.directory, Some(root.path().join(&pod)));
        assert_eq!(found.containers, BTreeMap::from([(id('a'), vec![7, 8, 9])]));
    }

    #[test]
    fn on_a_hybrid_host_the_first_hierarchy_with_processes_counts() {
        let root = tempfile::tempdir().unwrap();
        let leaf = format!("kubepods/pod{UID}/{}", id('a'));
        put(root.path(), &format!("unified/{leaf}"), "");
        put(root.path(), &format!("systemd/{leaf}"), "7\n");
        put(root.path(), &format!("pids/{leaf}"), "8\n");
        let mut cgroups = Cgroups::new(root.path());
        let found = cgroups.pod(&PodUid::parse(UID).unwrap()).unwrap();
        assert_eq!(found.containers, BTreeMap::from([(id('a'), vec![7])]));
        assert!(cgroups.parents().any(|parent| parent.ends_with("systemd/kubepods")));
    }

    #[test]
    fn a_pod_that_comes_later_or_moves_is_found() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "", "");
        let mut cgroups = Cgroups::new(root.path());
        let uid = PodUid::parse(UID).unwrap();
        assert_eq!(cgroups.pod(&uid).unwrap(), PodCgroup::default());
        for parent in ["kubepods/burstable", "kubepods/besteffort"] {
            put(root.path(), &format!("{parent}/pod{UID}/{}", id('a')), "7\n");
            assert!(cgroups.pod(&uid).unwrap().containers.contains_key(&id('a')), "{parent}");
            fs::remove_dir_all(root.path().join(parent)).unwrap();
        }
        assert_eq!(cgroups.pod(&uid).unwrap().directory, None);
    }
}
