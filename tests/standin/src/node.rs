//! The node: a kubelet root, a part of the cgroup hierarchies, and pods.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};

use serde_json::Value;

use crate::binaries::sibling_binary;
use crate::cgroups::Cgroups;
use crate::error::{At, Error};
use crate::options::NodeOptions;
use crate::pod::Pod;
use crate::spec::PodSpec;
use crate::volumes::{lock, make_dir, missing_is_fine};
use crate::{manifest, mounts, sweep};

/// Ends the names of the nodes' directories.
pub(crate) const SUFFIX: &str = ".standin";

/// What a node's pods share.
#[derive(Debug)]
pub(crate) struct Shared {
    options: NodeOptions,
    dir: PathBuf,
    kubelet_root: PathBuf,
    shim: PathBuf,
    workload: PathBuf,
    cgroups: Cgroups,
    pods: Mutex<BTreeMap<String, Arc<Pod>>>,
}

impl Shared {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn kubelet_root(&self) -> &Path {
        &self.kubelet_root
    }

    pub(crate) fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    pub(crate) fn light(&self) -> bool {
        self.options.light
    }

    pub(crate) fn shim(&self) -> &Path {
        &self.shim
    }

    pub(crate) fn workload(&self) -> &Path {
        &self.workload
    }

    /// The directory on which containers mount their root, each in a mount namespace of its own.
    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub(crate) fn forget(&self, uid: &str) {
        lock(&self.pods).remove(uid);
    }
}

/// A stand-in node. When it is dropped, everything of it is taken away by force; [`Node::shutdown`] does so politely.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    ended: bool,
}

impl Node {
    /// Makes the directories, the kubelet root's shared mount and the node's cgroups.
    pub fn start(options: NodeOptions) -> Result<Self, Error> {
        static SWEEP: Once = Once::new();
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("reloadlet-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        SWEEP.call_once(sweep::dead_nodes);
        let (shim, workload) = (sibling_binary("standin-shim")?, sibling_binary("workload")?);
        let dir =
            options.root.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("{name}{SUFFIX}")));
        make_dir(&dir, 0o755)?;
        let dir = fs::canonicalize(&dir).at("resolve", &dir)?;
        raise_file_limit()?;
        let cgroups = Cgroups::new(&options, &name)?;
        let kubelet_root = dir.join("kubelet");
        let shared = Shared { options, dir, kubelet_root, shim, workload, cgroups, pods: Mutex::default() };
        // From here on a failure is cleaned up by Drop.
        let node = Self { shared: Arc::new(shared), ended: false };
        make_dir(node.kubelet_root(), 0o750)?;
        mounts::make_shared(node.kubelet_root())?;
        make_dir(&node.kubelet_root().join("pods"), 0o750)?;
        make_dir(&node.shared.staging(), 0o755)?;
        Ok(node)
    }

    /// The directory that holds everything of this node; free for a test's own files too.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// What to pass as `--kubelet-root`.
    pub fn kubelet_root(&self) -> &Path {
        &self.shared.kubelet_root
    }

    /// What to pass as `--cgroup-root`.
    pub fn cgroup_root(&self) -> &Path {
        self.shared.cgroups.root()
    }

    /// The options that the node was started with.
    pub fn options(&self) -> &NodeOptions {
        &self.shared.options
    }

    /// Adds a pod and starts what its spec says.
    pub fn add_pod(&self, spec: PodSpec) -> Result<Arc<Pod>, Error> {
        let pod = Arc::new(Pod::new(Arc::clone(&self.shared), spec));
        lock(&self.shared.pods).insert(pod.uid().to_owned(), Arc::clone(&pod));
        pod.set_up()?;
        Ok(pod)
    }

    /// Adds many pods from several threads; the result has the order of the specs.
    pub fn add_pods(&self, specs: Vec<PodSpec>) -> Result<Vec<Arc<Pod>>, Error> {
        let threads = 2 * std::thread::available_parallelism().map_or(2, usize::from);
        in_parallel(threads, specs, |spec| self.add_pod(spec))
    }

    /// The pods that were added and not removed, by UID.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        lock(&self.shared.pods).values().cloned().collect()
    }

    /// A pod by name.
    pub fn pod(&self, name: &str) -> Result<Arc<Pod>, Error> {
        let found = self.pods().into_iter().find(|pod| pod.name() == name);
        found.ok_or_else(|| Error::unknown("pod", name))
    }

    /// All pods as a v1 List, as `kubectl get pods -o json` gives it.
    pub fn pods_json(&self) -> Value {
        manifest::list(&self.pods())
    }

    /// Writes that list to a file, atomically.
    pub fn write_pods_file(&self, path: &Path) -> Result<(), Error> {
        let text = format!("{:#}\n", self.pods_json());
        let mut tmp = path.as_os_str().to_owned();
        tmp.push(".tmp");
        fs::write(&tmp, text).at("write", path)?;
        fs::rename(&tmp, path).at("rename", path)
    }

    /// Removes all pods and everything else of the node, also a test's own files in its directory (an agent that logs
    /// there should have ended). The first error is returned; [`Drop`] then does the rest.
    pub fn shutdown(mut self) -> Result<(), Error> {
        let threads = 2 * std::thread::available_parallelism().map_or(2, usize::from);
        in_parallel(threads, self.pods(), |pod| pod.remove())?;
        mounts::unmount(self.kubelet_root())?;
        self.shared.cgroups.remove_all()?;
        missing_is_fine(fs::remove_dir_all(self.dir())).at("remove", self.dir())?;
        self.ended = true;
        Ok(())
    }

    /// Takes everything away by force and reports the first error.
    fn force(&self) -> Result<(), Error> {
        let mut result = Ok(());
        let mut keep = |step: Result<(), Error>| {
            if result.is_ok() {
                result = step;
            }
        };
        for pod in self.pods() {
            keep(pod.remove());
        }
        keep(self.shared.cgroups.remove_all());
        for point in mounts::below(self.dir())? {
            keep(mounts::detach(&point));
        }
        // With a mount left in place this could delete what isn't ours.
        if mounts::below(self.dir())?.is_empty() {
            keep(missing_is_fine(fs::remove_dir_all(self.dir())).at("remove", self.dir()));
        }
        result
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Err(error) = self.force() {
            #[allow(clippy::print_stderr, reason = "a drop has no other way to tell what it left behind")]
            {
                eprintln!("standin: {error}: {:?}", std::error::Error::source(&error));
            }
        }
    }
}

/// Each container costs two pipes.
fn raise_file_limit() -> Result<(), Error> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        .at("raise RLIMIT_NOFILE", Path::new("/proc/self/limits"))
}

fn in_parallel<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let queue = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).next();
                    let Some((index, item)) = next else { return };
                    let result = work(item);
                    lock(&done).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
