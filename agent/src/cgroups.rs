//! Finds a pod's cgroup directories and the processes in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use reloadlet_core::kernel::cgroup::{container_part, joint_part, pod_part};
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::model::names::{ContainerId, PodUid};

use crate::lack;

pub(crate) use look::Look;

mod look;

/// How deep below a hierarchy's root pods are looked for; kind's are at four.
const DEEPEST: usize = 8;

/// The hierarchies below `--cgroup-root`.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Tree>,
}

/// One hierarchy of cgroups.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    /// Where each pod was found: at one place, unless somebody made a second one.
    pods: HashMap<PodUid, Vec<PathBuf>>,
    /// Pods of which it was said that they have several places with processes.
    doubtful: BTreeSet<PodUid>,
    /// Directories in which pods were found: new ones appear there.
    parents: BTreeSet<PathBuf>,
    /// Those of them in which containers lie that name their pod themselves.
    joint: BTreeSet<PathBuf>,
}

/// Where a pod is.
#[derive(Clone, Debug)]
enum PodPlace {
    /// In a directory of its own.
    Own(PathBuf),
    /// Nowhere, and these are its containers, side by side with those of others.
    Joint(Vec<(PathBuf, ContainerId)>),
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

    fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno as i32)
    }
}

/// A pod's directory in the hierarchy that its processes are found in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodCgroup {
    /// The directory, where new containers appear.
    pub(crate) directory: Option<PathBuf>,
    /// Processes by container.
    pub(crate) containers: BTreeMap<ContainerId, Vec<u32>>,
    /// Containers that have more than was looked at.
    pub(crate) cut: BTreeSet<ContainerId>,
    /// Containers with threaded cgroups: threads can be among their processes.
    pub(crate) threaded: BTreeSet<ContainerId>,
}

impl PodCgroup {
    fn has_processes(&self) -> bool {
        self.containers.values().any(|pids| !pids.is_empty())
    }
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
        let tree = |root| Tree {
            root,
            pods: HashMap::new(),
            doubtful: BTreeSet::new(),
            parents: BTreeSet::new(),
            joint: BTreeSet::new(),
        };
        Self { hierarchies: roots.into_iter().map(tree).collect() }
    }

    /// Whether there is any hierarchy at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.hierarchies.is_empty()
    }

    /// A pod's containers and processes, in the first hierarchy that has any, looked at in one go.
    pub(crate) fn pod(&mut self, uid: &PodUid) -> Result<PodCgroup, CgroupError> {
        Look::begin(uid.clone()).go_on(self, &|| false).map(Option::unwrap_or_default)
    }

    /// Directories in which pods appear.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &Path> {
        self.hierarchies.iter().flat_map(|tree| tree.parents.iter().map(PathBuf::as_path))
    }

    /// A pod isn't asked for any more.
    pub(crate) fn forget(&mut self, uid: &PodUid) {
        for tree in &mut self.hierarchies {
            tree.pods.remove(uid);
            tree.doubtful.remove(uid);
        }
    }
}

impl Tree {
    /// Where a pod is.
    fn places(&mut self, uid: &PodUid) -> Result<Vec<PodPlace>, CgroupError> {
        if !self.pods.get(uid).is_some_and(|places| places.iter().all(|directory| directory.is_dir())) {
            let unread = self.walk();
            if let Some(error) = unread.filter(|_| !self.pods.contains_key(uid)) {
                return Err(error);
            }
        }
        let own = self.pods.get(uid).into_iter().flatten().cloned().map(PodPlace::Own);
        let joint = self.joint.iter().map(|parent| self.joint_in(parent, uid));
        let joint = joint.filter(|found| found.as_ref().map_or(true, |found| !found.is_empty()));
        own.map(Ok).chain(joint.map(|found| Ok(PodPlace::Joint(found?)))).collect()
    }

    /// A pod's containers that lie in this directory and name their pod themselves.
    fn joint_in(&self, parent: &Path, uid: &PodUid) -> Result<Vec<(PathBuf, ContainerId)>, CgroupError> {
        let owner = owner(&self.root);
        let of_pod = |entry: PathBuf| {
            let (pod, id) = joint_part(&entry.file_name()?.to_string_lossy())?;
            (pod == *uid && self::owner(&entry) == owner).then_some((entry, id))
        };
        Ok(all_directories(parent)?.filter_map(of_pod).collect())
    }

    /// Which of what was found at its places is the pod.
    fn choose(&mut self, uid: &PodUid, mut found: Vec<PodCgroup>) -> PodCgroup {
        if found.len() > 1 {
            // Left over from another cgroup driver, say. Where the pod lives in two, one of them is made up.
            found.retain(PodCgroup::has_processes);
        }
        if found.len() > 1 {
            if self.doubtful.insert(uid.clone()) {
                let places: Vec<_> = found.iter().filter_map(|found| found.directory.as_ref()).collect();
                tracing::warn!(pod = %uid, ?places, "several cgroups with processes have the UID of a pod: it is left alone");
            }
            return PodCgroup::default();
        }
        self.doubtful.remove(uid);
        found.pop().unwrap_or_default()
    }

    /// Looks through the hierarchy for pods: not into them, not into containers, and not into what was handed to another
    /// user, who makes directories of any name there. Gives back why a part of it couldn't be looked through.
    fn walk(&mut self) -> Option<CgroupError> {
        let owner = owner(&self.root);
        self.pods.clear();
        self.parents.retain(|parent| parent.is_dir());
        self.joint.clear();
        let mut failed = None;
        let mut next = vec![(self.root.clone(), 0)];
        while let Some((directory, depth)) = next.pop() {
            let entries = match all_directories(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            for entry in entries {
                let name =
                    entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if self::owner(&entry) != owner {
                    continue;
                }
                if let Some(uid) = pod_part(&name) {
                    self.parents.insert(directory.clone());
                    self.pods.entry(uid).or_default().push(entry);
                } else if joint_part(&name).is_some() {
                    self.parents.insert(directory.clone());
                    self.joint.insert(directory.clone());
                } else if depth < DEEPEST && container_part(&name).is_none() {
                    next.push((entry, depth + 1));
                }
            }
        }
        failed
    }
}

/// The user whose a directory is.
fn owner(directory: &Path) -> Option<u32> {
    fs::symlink_metadata(directory).ok().map(|found| found.uid())
}

/// The directories in a directory. Cgroups come and go: one that is gone has none.
fn all_directories(path: &Path) -> Result<impl Iterator<Item = PathBuf> + use<>, CgroupError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => Some(entries),
        Err(error) if is_gone(&error) => None,
        Err(source) => return Err(CgroupError { path: path.to_owned(), source }),
    };
    Ok(entries
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path()))
}

/// Whether an error means that a cgroup was removed (ENODEV comes from files that were opened before).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

#[cfg(test)]
mod tests {
    use super::look::{MOST_DIRECTORIES, MOST_PROCESSES};
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

    fn of_one_container(fill: impl FnOnce(&Path, &str)) -> PodCgroup {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "", "");
        fill(root.path(), &format!("pod{UID}/{}", id('a')));
        put(root.path(), &format!("pod{UID}/{}", id('b')), "");
        Cgroups::new(root.path()).pod(&PodUid::parse(UID).unwrap()).unwrap()
    }

    #[test]
    fn of_many_processes_the_first_are_found_and_the_rest_is_known_to_be_missing() {
        let pids = |count: usize| (1..=count).map(|pid| format!("{pid}\n")).collect::<String>();
        let found = of_one_container(|root, leaf| put(root, leaf, &pids(MOST_PROCESSES)));
        assert_eq!((found.containers[&id('a')].len(), found.cut.len()), (MOST_PROCESSES, 0));
        let found = of_one_container(|root, leaf| put(root, leaf, &pids(MOST_PROCESSES + 1)));
        assert_eq!(found.containers[&id('a')].len(), MOST_PROCESSES);
        assert_eq!(found.cut, BTreeSet::from([id('a')]));
    }

    #[test]
    fn of_many_and_of_deep_directories_the_rest_is_known_to_be_missing() {
        let wide = of_one_container(|root, leaf| {
            (0..=MOST_DIRECTORIES).for_each(|n| put(root, &format!("{leaf}/{n}"), ""));
        });
        assert_eq!(wide.cut, BTreeSet::from([id('a')]));
        let deep = of_one_container(|root, leaf| put(root, &format!("{leaf}{}", "/d".repeat(100)), "7\n"));
        assert_eq!(deep.cut, BTreeSet::from([id('a')]));
        let many = of_one_container(|root, leaf| {
            for digit in ['a', 'c', 'd'] {
                let leaf = leaf.replace(&*id('a').to_string(), &id(digit).to_string());
                (0..900).for_each(|n| put(root, &format!("{leaf}/{n}"), ""));
            }
        });
        assert_eq!(many.cut.len(), 1, "the last one: {:?}", many.cut);
    }

    #[test]
    fn what_a_program_names_like_a_pod_inside_a_container_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "", "");
        let other = UID.replace('6', "7");
        let forged = format!("kubepods/pod{UID}/{}", id('a'));
        put(root.path(), &format!("kubepods/pod{other}/{}/{forged}", id('b')), "9\n");
        put(root.path(), &format!("system.slice/docker-{}.scope/{forged}", id('c')), "9\n");
        let mut cgroups = Cgroups::new(root.path());
        assert_eq!(cgroups.pod(&PodUid::parse(UID).unwrap()).unwrap(), PodCgroup::default());
        let found = cgroups.pod(&PodUid::parse(&other).unwrap()).unwrap();
        assert_eq!(found.containers, BTreeMap::from([(id('b'), vec![9])]), "it is the outer container's");
    }

    #[test]
    fn what_lies_in_a_hierarchy_that_was_handed_to_another_user_is_no_pod() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "", "");
        put(root.path(), &format!("user.slice/user@1000.service/pod{UID}/{}", id('a')), "9\n");
        let delegated = root.path().join("user.slice/user@1000.service");
        if let Err(error) = std::os::unix::fs::chown(&delegated, Some(1000), None) {
            assert!(!nix::unistd::geteuid().is_root(), "{error}");
            return;
        }
        let mut cgroups = Cgroups::new(root.path());
        assert_eq!(cgroups.pod(&PodUid::parse(UID).unwrap()).unwrap(), PodCgroup::default());
        assert_eq!(cgroups.parents().count(), 0);
    }

    #[test]
    fn a_pod_in_two_places_is_where_its_processes_are_and_nowhere_if_both_have_some() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "", "");
        let uid = PodUid::parse(UID).unwrap();
        let (one, two) = (format!("a/pod{UID}/{}", id('a')), format!("b/c/pod{UID}/{}", id('a')));
        for (first, second, expected) in [("7\n", "", Some(7)), ("", "8\n", Some(8)), ("7\n", "8\n", None)] {
            put(root.path(), &one, first);
            put(root.path(), &two, second);
            let pids = Cgroups::new(root.path()).pod(&uid).unwrap().containers.remove(&id('a'));
            assert_eq!(pids.and_then(|pids| pids.first().copied()), expected);
        }
    }

    #[test]
    fn containers_that_name_their_pod_themselves_are_found_whenever_they_come() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "", "");
        let uid = PodUid::parse(UID).unwrap();
        let slice = format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
        // The kubelet's own directory stays empty.
        put(root.path(), &format!("kubepods.slice/{slice}"), "");
        let mut cgroups = Cgroups::new(root.path());
        assert!(cgroups.pod(&uid).unwrap().containers.is_empty());
        let leaf = |slice: &str, digit| {
            format!("system.slice/containerd.service/{slice}:cri-containerd:{}", id(digit))
        };
        put(root.path(), &leaf(&slice, 'a'), "7\n");
        put(root.path(), &leaf(&slice.replace('6', "7"), 'b'), "9\n");
        let found = cgroups.pod(&uid).unwrap();
        assert_eq!(found.containers, BTreeMap::from([(id('a'), vec![7])]));
        assert_eq!(found.directory, None, "the directory is everybody's");
        assert!(cgroups.parents().any(|parent| parent.ends_with("containerd.service")));
        put(root.path(), &format!("{}/deep", leaf(&slice, 'c')), "8\n");
        let found = cgroups.pod(&uid).unwrap().containers;
        assert_eq!(found, BTreeMap::from([(id('a'), vec![7]), (id('c'), vec![8])]));
        // Where both hold processes, one of them is made up.
        put(root.path(), &format!("kubepods.slice/{slice}/{}", id('d')), "5\n");
        assert_eq!(cgroups.pod(&uid).unwrap(), PodCgroup::default());
    }

    #[test]
    fn what_a_program_names_like_another_pods_container_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "", "");
        let slice = format!("kubepods-pod{}.slice", UID.replace('-', "_"));
        let forged = format!("{slice}:cri-containerd:{}", id('a'));
        let other = UID.replace('6', "7");
        put(root.path(), &format!("kubepods/pod{other}/{}/{forged}", id('b')), "9\n");
        put(root.path(), &format!("system.slice/docker-{}.scope/{forged}", id('c')), "9\n");
        let found = Cgroups::new(root.path()).pod(&PodUid::parse(UID).unwrap()).unwrap();
        assert_eq!(found, PodCgroup::default());
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
