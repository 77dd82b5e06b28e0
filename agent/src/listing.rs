//! Reads of a volume's directory: what it is, which generations it holds, and what these hold. Everything is opened, read
//! and closed: nothing stays open inside a volume.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{major, minor};
use reloadlet_core::Time;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::kernel::mounts::{Device, DirId};
use reloadlet_core::machine::event::Shown;
use reloadlet_core::machine::volume::Listing;
use reloadlet_core::model::generation::{DATA_LINK, Generation};

use crate::clock;
use crate::clock::wall::WallClock;
use crate::lack;

mod files;

pub(crate) use files::Files;

/// Which directory stands at a path.
pub(crate) fn dir_id(path: &Path) -> Option<DirId> {
    look(path).ok().flatten()
}

/// Which directory stands at a path, if any does; an error where that can't be told.
pub(crate) fn look(path: &Path) -> io::Result<Option<DirId>> {
    let Some(found) = there(fs::symlink_metadata(path))?.filter(fs::Metadata::is_dir) else {
        return Ok(None);
    };
    let device = Device { major: major(found.dev()) as u32, minor: minor(found.dev()) as u32 };
    Ok(Some(DirId { device, inode: found.ino() }))
}

/// What is there; `None` where nothing is.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A volume that can't be listed although it may be there.
#[derive(Debug, thiserror::Error)]
#[error("can't list {}", .path.display())]
pub(crate) struct ListError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ListError {
    /// What the agent lacks.
    pub(crate) fn lack(&self) -> Lack {
        lack::of(&self.source)
    }
}

/// How many entries of a volume's directory are looked at. What the kubelet publishes has fewer, since an object has no more than
/// 1.5 MB; in a directory with more nothing is published as it does.
const MOST_ENTRIES: usize = 1 << 20;

/// Lists a volume's directory.
pub(crate) fn list(path: &Path, wall: &WallClock) -> Result<Listing, ListError> {
    let failed = |source| ListError { path: path.to_owned(), source };
    let begun = clock::now();
    let nothing = || Listing { begun, dir: None, current: None, others: Vec::new() };
    let Some(dir) = look(path).map_err(failed)? else { return Ok(nothing()) };
    let current = current(path, wall).map_err(failed)?;
    let Some(entries) = there(fs::read_dir(path)).map_err(failed)? else { return Ok(nothing()) };
    let mut others = Vec::new();
    for (count, entry) in entries.enumerate() {
        if count >= MOST_ENTRIES {
            return Ok(Listing { begun, dir: Some(dir), current: None, others: Vec::new() });
        }
        let name = entry.map_err(failed)?.file_name();
        let generation = name.to_str().and_then(Generation::parse);
        others.extend(generation.filter(|found| current.as_ref().is_none_or(|(named, _)| named != found)));
    }
    Ok(Listing { begun, dir: Some(dir), current, others })
}

/// What a volume holds, where the kubelet has published anything there.
pub(crate) fn show(path: &Path) -> Result<Option<Shown>, ListError> {
    let failed = |source| ListError { path: path.to_owned(), source };
    let dir = look(path).map_err(failed)?;
    let generation = named(&path.join(DATA_LINK)).map_err(failed)?;
    Ok(generation.map(|generation| Shown { dir, generation }))
}

/// The generation that a link names; `None` where there is none, or something else that isn't the kubelet's.
fn named(link: &Path) -> io::Result<Option<Generation>> {
    match there(fs::read_link(link)) {
        Ok(target) => Ok(target.and_then(|target| target.to_str().and_then(Generation::parse))),
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `..data` names, and when that was made so at the latest (the link's change time).
fn current(path: &Path, wall: &WallClock) -> io::Result<Option<(Generation, Time)>> {
    let link = path.join(DATA_LINK);
    let Some(generation) = named(&link)? else { return Ok(None) };
    let Some(found) = there(fs::symlink_metadata(&link))? else { return Ok(None) };
    Ok(Some((generation, wall.moment(found.ctime(), found.ctime_nsec()))))
}

#[cfg(test)]
mod tests;
