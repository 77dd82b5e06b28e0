//! The memory that the agent has on a node, and how long a hostile case lasts.

use std::fs;
use std::path::{Path, PathBuf};

use standin::wait_until;

use crate::support::LIMIT;

/// The limit of the DaemonSet.
const MEMORY: &str = "100663296";
/// For so many seconds each case runs, where it isn't enough that ten changes are told.
pub(crate) const SECONDS: &str = "RELOADLET_HOSTILE_SECONDS";

/// A memory cgroup of its own, removed at the end.
pub(crate) struct MemoryLimit(PathBuf);

impl MemoryLimit {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (base, file) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let directory = base.join(format!("reloadlet-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).ok()?;
        let limit = Self(directory);
        fs::write(limit.0.join(file), MEMORY).ok()?;
        Some(limit)
    }

    /// A command that enters it and becomes what follows.
    pub(crate) fn wrapper(&self) -> [String; 4] {
        let script = "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"";
        ["sh".to_owned(), "-c".to_owned(), script.to_owned(), self.0.display().to_string()]
    }

    /// How many processes the kernel has ended there.
    pub(crate) fn kills(&self) -> u64 {
        let text = ["memory.oom_control", "memory.events"].map(|name| fs::read_to_string(self.0.join(name)));
        let text = text.into_iter().find_map(Result::ok).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.map_or(0, |count| count.parse().unwrap())
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Err(error) = wait_until(LIMIT, "an empty cgroup", || fs::remove_dir(&self.0).is_ok()) {
            eprintln!("a cgroup stays behind: {error}");
        }
    }
}
