//! A look into a pod's cgroups, in pieces: programs can make cgroups of their own below their containers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use reloadlet_core::model::names::{ContainerId, PodUid};

use super::{CgroupError, Cgroups, PodCgroup, PodPlace, all_directories, is_gone};
use reloadlet_core::kernel::cgroup::container_part;

/// How deep below a container processes are looked for. Programs can make cgroups of their own, and the kernel sets no
/// bound; systemd in a container makes half a dozen levels.
const DEEPEST_INSIDE: usize = 32;
/// The most directories of a container that are looked into, and the most that are listed of a directory.
pub(super) const MOST_DIRECTORIES: usize = 1024;
/// The most directories of a pod below those of its containers that are looked into, some 15 µs each.
const MOST_IN_POD: usize = 2048;
/// The most processes of a pod that are looked at.
pub(super) const MOST_PROCESSES: usize = 4096;
/// The longest line of `cgroup.procs`: a PID has seven digits at most.
const LONGEST_PID: u64 = 16;

/// A look for a pod's containers and processes, in the first hierarchy that has any.
#[derive(Debug)]
pub(crate) struct Look {
    pod: PodUid,
    /// Which hierarchy is looked through.
    hierarchy: usize,
    /// Its places that weren't looked into; `None` until they are known.
    places: Option<Vec<PodPlace>>,
    walk: Option<Walk>,
    /// What is at its places.
    found: Vec<PodCgroup>,
    /// The pod in a hierarchy without processes.
    empty: PodCgroup,
    failed: Option<CgroupError>,
}

impl Look {
    /// Nothing was looked at yet.
    pub(crate) fn begin(pod: PodUid) -> Self {
        Self {
            pod,
            hierarchy: 0,
            places: None,
            walk: None,
            found: Vec::new(),
            empty: PodCgroup::default(),
            failed: None,
        }
    }

    /// Goes on until that is enough. What was found comes back, or `None` if there is more to look at.
    pub(crate) fn go_on(
        &mut self,
        cgroups: &mut Cgroups,
        enough: &dyn Fn() -> bool,
    ) -> Result<Option<PodCgroup>, CgroupError> {
        loop {
            if let Some(walk) = &mut self.walk {
                match walk.go_on(enough) {
                    Ok(true) => return Ok(None),
                    Ok(false) => self.found.extend(self.walk.take().map(Walk::end)),
                    Err(error) => self.fail(error),
                }
                continue;
            }
            if let Some(place) = self.places.as_mut().and_then(Vec::pop) {
                match Walk::begin(place) {
                    Ok(walk) => self.walk = Some(walk),
                    Err(error) => self.fail(error),
                }
                continue;
            }
            let Some(tree) = cgroups.hierarchies.get_mut(self.hierarchy) else {
                // Its containers may be where none was when the hierarchies were looked through.
                cgroups.hierarchies.iter_mut().for_each(|tree| drop(tree.pods.remove(&self.pod)));
                return self.failed.take().map_or_else(|| Ok(Some(std::mem::take(&mut self.empty))), Err);
            };
            if self.places.is_none() {
                match tree.places(&self.pod) {
                    Ok(places) => self.places = Some(places),
                    Err(error) => self.fail(error),
                }
                continue;
            }
            let found = tree.choose(&self.pod, std::mem::take(&mut self.found));
            if found.has_processes() {
                return Ok(Some(found));
            }
            if self.empty.directory.is_none() {
                self.empty = found;
            }
            self.next_hierarchy();
        }
    }

    fn fail(&mut self, error: CgroupError) {
        self.failed.get_or_insert(error);
        self.next_hierarchy();
    }

    fn next_hierarchy(&mut self) {
        self.hierarchy += 1;
        self.places = None;
        self.walk = None;
        self.found = Vec::new();
    }
}

/// A look into one place of a pod.
#[derive(Debug)]
struct Walk {
    found: PodCgroup,
    /// What is still to be looked into, the next one last.
    visits: Vec<Visit>,
    /// How many of them lie below a container's own directory.
    inside: usize,
    /// How many more of the pod's directories, of the container's and of the pod's processes are looked at.
    of_pod: usize,
    of_container: usize,
    processes: usize,
}

#[derive(Debug)]
struct Visit {
    directory: PathBuf,
    /// The first container on the way to it.
    container: Option<ContainerId>,
    /// How much deeper it goes.
    depth: usize,
}

impl Walk {
    fn begin(place: PodPlace) -> Result<Self, CgroupError> {
        let visit = |directory, container| Visit { directory, container, depth: DEEPEST_INSIDE };
        let (directory, mut visits) = match place {
            PodPlace::Own(place) => {
                let found = directories(&place)?.found.into_iter();
                (Some(place), found.map(|directory| visit(directory, None)).collect::<Vec<_>>())
            }
            PodPlace::Joint(mut leaves) => {
                leaves.sort();
                leaves.truncate(MOST_DIRECTORIES);
                (None, leaves.into_iter().map(|(directory, id)| visit(directory, Some(id))).collect())
            }
        };
        visits.reverse();
        Ok(Self {
            found: PodCgroup { directory, ..PodCgroup::default() },
            visits,
            inside: 0,
            of_pod: MOST_IN_POD,
            of_container: 0,
            processes: MOST_PROCESSES,
        })
    }

    /// Goes on until that is enough. Whether there is more to look into.
    fn go_on(&mut self, enough: &dyn Fn() -> bool) -> Result<bool, CgroupError> {
        while let Some(visit) = self.visits.pop() {
            if visit.depth == DEEPEST_INSIDE {
                self.of_container = self.of_pod.min(MOST_DIRECTORIES);
            } else {
                self.inside -= 1;
            }
            self.of_container = self.of_container.saturating_sub(1);
            self.of_pod = self.of_pod.saturating_sub(1);
            self.visit(visit)?;
            if enough() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds the processes in a directory to its container, and what is below it to what is still to be looked into.
    fn visit(&mut self, visit: Visit) -> Result<(), CgroupError> {
        let own = visit.directory.file_name().and_then(|name| container_part(&name.to_string_lossy()));
        let container = visit.container.or(own);
        let mut whole = true;
        if let Some(id) = &container {
            let pids = self.found.containers.entry(id.clone()).or_default();
            match read_pids(&visit.directory, "cgroup.procs", &mut self.processes, pids) {
                Err(error) if error.is(Errno::EOPNOTSUPP) => {
                    whole = read_pids(&visit.directory, "cgroup.threads", &mut self.processes, pids)?;
                    self.found.threaded.insert(id.clone());
                }
                read => whole = read?,
            }
        }
        let below = directories(&visit.directory)?;
        let room = if visit.depth == 0 { 0 } else { self.of_container.saturating_sub(self.inside) };
        whole &= below.whole && below.found.len() <= room;
        let first = self.visits.len();
        self.visits.extend(below.found.into_iter().take(room).map(|directory| Visit {
            directory,
            container: container.clone(),
            depth: visit.depth - 1,
        }));
        self.inside += self.visits.len() - first;
        self.visits[first..].reverse();
        self.found.cut.extend(container.filter(|_| !whole));
        Ok(())
    }

    fn end(mut self) -> PodCgroup {
        for id in &self.found.threaded {
            // The cgroup above lists the process once more.
            let pids = self.found.containers.entry(id.clone()).or_default();
            pids.sort_unstable();
            pids.dedup();
        }
        self.found
    }
}

/// Adds the PIDs that one of a cgroup's files lists, and tells whether these are all. A threaded cgroup lists only
/// threads (cgroups(7)): of those a process's first has its PID, and the others are told from it by who looks at them.
fn read_pids(
    directory: &Path,
    file: &str,
    left: &mut usize,
    pids: &mut Vec<u32>,
) -> Result<bool, CgroupError> {
    let path = directory.join(file);
    match File::open(&path).and_then(|file| take_pids(BufReader::new(file), left, pids)) {
        Ok(whole) => Ok(whole),
        // A cgroup that goes away meanwhile has no more processes.
        Err(error) if is_gone(&error) => Ok(true),
        Err(source) => Err(CgroupError { path, source }),
    }
}

fn take_pids(mut from: impl BufRead, left: &mut usize, pids: &mut Vec<u32>) -> io::Result<bool> {
    let mut line = String::new();
    loop {
        line.clear();
        if from.by_ref().take(LONGEST_PID).read_line(&mut line)? == 0 {
            return Ok(true);
        }
        let Ok(pid) = line.trim_end().parse() else { continue };
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        pids.push(pid);
    }
}

/// Directories in a directory.
#[derive(Debug)]
struct Directories {
    found: Vec<PathBuf>,
    /// Whether these are all.
    whole: bool,
}

/// The first directories in a directory.
fn directories(path: &Path) -> Result<Directories, CgroupError> {
    let mut all = all_directories(path)?;
    let found = all.by_ref().take(MOST_DIRECTORIES).collect();
    Ok(Directories { found, whole: all.next().is_none() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::fs;

    #[test]
    fn thousands_of_cgroups_of_a_pod_are_looked_into_in_pieces() {
        const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join(format!("kubepods/pod{UID}"));
        for digit in ["a", "b", "c"] {
            let container = pod.join(digit.repeat(64));
            for n in 0..700 {
                fs::create_dir_all(container.join(n.to_string())).unwrap();
            }
            fs::write(container.join("699/cgroup.procs"), "7\n").unwrap();
        }
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        let mut cgroups = Cgroups::new(root.path());
        let mut look = Look::begin(PodUid::parse(UID).unwrap());
        let mut slices = 0;
        let found = loop {
            slices += 1;
            let seen = Cell::new(0);
            let enough = || {
                seen.set(seen.get() + 1);
                seen.get() >= 100
            };
            if let Some(found) = look.go_on(&mut cgroups, &enough).unwrap() {
                break found;
            }
        };
        assert!(slices > MOST_IN_POD / 100 && slices < 30, "{slices}");
        assert_eq!(found.containers.len(), 3);
        assert_eq!(found.cut.len(), 1, "beyond so many of a pod: {:?}", found.cut);
        let whole = cgroups.pod(&PodUid::parse(UID).unwrap()).unwrap();
        assert_eq!(found, whole);
    }
}
