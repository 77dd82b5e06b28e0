//! Takes away what nodes of killed test processes left. Their shims have ended all processes by then.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::node::SUFFIX;
use crate::options::Hierarchy;
use crate::{cgroups, mounts};

/// Removes directories, mounts and cgroups named after a process that is gone (or after this one, before its first
/// node: an earlier process had the same PID). What can't be removed stays, and does no harm to others.
pub(crate) fn dead_nodes() {
    for dir in dead(&std::env::temp_dir(), SUFFIX) {
        report(remove(&dir));
    }
    for hierarchy in [Hierarchy::Unified, Hierarchy::V1] {
        for mount in cgroups::mounts(hierarchy).0 {
            for dir in dead(&mount, "") {
                report(cgroups::remove_tree(&dir));
            }
        }
    }
}

/// Entries named `reloadlet-<pid>-<n><suffix>`.
fn dead(parent: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let is_dead = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let parts = name.strip_prefix("reloadlet-").and_then(|rest| rest.strip_suffix(suffix));
        let Some((pid, count)) = parts.and_then(|rest| rest.split_once('-')) else { return false };
        let (Ok(pid), Ok(_)) = (pid.parse::<u32>(), count.parse::<u32>()) else { return false };
        pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()
    };
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_dead).collect()
}

fn remove(dir: &Path) -> Result<(), Error> {
    for point in mounts::below(dir)? {
        mounts::detach(&point)?;
    }
    fs::remove_dir_all(dir).map_err(|error| Error::io("remove", dir, error))
}

fn report(result: Result<(), Error>) {
    if let Err(error) = result {
        #[allow(clippy::print_stderr, reason = "another test process may be at the same work")]
        {
            eprintln!("standin: {error}");
        }
    }
}
