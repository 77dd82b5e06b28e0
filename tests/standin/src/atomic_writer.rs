//! The kubelet's AtomicWriter: the same system calls in the same order.
//!
//! The order is that of the kubelet's `Write`; what others see of it (inotify events) is the contract here, so the walk
//! and the removal below open directories exactly where the kubelet does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::clock::{boottime_ns, pause_until, utc_now};
use crate::error::{At, Error};
use crate::random;

/// The files of a volume: path in the volume (may contain `/`) and content.
pub type Payload = BTreeMap<String, Vec<u8>>;

const DATA: &str = "..data";
const DATA_TMP: &str = "..data_tmp";

/// Makes a payload of pairs.
pub fn payload<const N: usize>(files: [(&str, &str); N]) -> Payload {
    files.into_iter().map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec())).collect()
}

/// Where a write breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The kubelet dies before the rename and leaves `..data_tmp`: every later write fails with EEXIST.
    DieBeforeRename,
    /// The kubelet dies after the rename: no links, and the old generation stays for good.
    DieAfterRename,
    /// Everything but the removal of the old generation.
    KeepOld,
}

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// The least time from the rename to the removal of the old generation.
    pub gap: Duration,
    /// Where to break off.
    pub fault: Option<Fault>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { gap: Duration::from_micros(100), fault: None }
    }
}

impl WriteOptions {
    /// Waits at least so long between rename and removal.
    pub fn gap(gap: Duration) -> Self {
        Self { gap, ..Self::default() }
    }

    /// Breaks off.
    pub fn fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }
}

/// What a write did. Times are CLOCK_BOOTTIME in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The content is what it was; missing links were repaired.
    Unchanged,
    /// A new generation is in place and the old one is gone.
    Swapped {
        /// The new generation's directory name.
        generation: String,
        /// The old one's; `None` at the first publication.
        previous: Option<String>,
        /// Right after the rename.
        renamed_at: u64,
        /// Right before the rmdir of the old generation (at the first publication: after the last link).
        settled_at: u64,
    },
    /// The write broke off as [`WriteOptions::fault`] asked.
    Broken {
        /// The new generation's directory name.
        generation: String,
        /// The old one's, whose directory is still there.
        previous: Option<String>,
        /// Right after the rename, if it came to it.
        renamed_at: Option<u64>,
    },
}

impl Written {
    /// The new generation's directory name, if there is one.
    pub fn generation(&self) -> Option<&str> {
        match self {
            Self::Unchanged => None,
            Self::Swapped { generation, .. } | Self::Broken { generation, .. } => Some(generation),
        }
    }

    /// When `..data` was renamed.
    pub fn renamed_at(&self) -> Option<u64> {
        match self {
            Self::Unchanged => None,
            Self::Swapped { renamed_at, .. } => Some(*renamed_at),
            Self::Broken { renamed_at, .. } => *renamed_at,
        }
    }

    /// When the old generation's removal came to its last call.
    pub fn settled_at(&self) -> Option<u64> {
        match self {
            Self::Swapped { settled_at, .. } => Some(*settled_at),
            Self::Unchanged | Self::Broken { .. } => None,
        }
    }
}

/// Publishes payloads in one volume's directory.
#[derive(Debug, Clone)]
pub struct AtomicWriter {
    dir: PathBuf,
}

impl AtomicWriter {
    /// A writer for an existing directory.
    pub fn new(volume_dir: PathBuf) -> Self {
        Self { dir: volume_dir }
    }

    /// The volume's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The current generation's directory name: the target of `..data`.
    pub fn generation(&self) -> Result<Option<String>, Error> {
        let link = self.dir.join(DATA);
        match fs::read_link(&link) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("readlink", &link, error)),
        }
    }

    /// Publishes `payload`. An error leaves what the kubelet's own error would leave.
    pub fn write(&self, payload: &Payload, options: &WriteOptions) -> Result<Written, Error> {
        let previous = self.generation()?;
        let to_remove = match &previous {
            Some(old) => self.paths_to_remove(old, payload)?,
            None => BTreeSet::new(),
        };
        if let Some(old) = &previous
            && to_remove.is_empty()
            && self.is_unchanged(old, payload)
        {
            self.create_links(payload)?;
            return Ok(Written::Unchanged);
        }
        let generation = self.make_generation()?;
        let new_dir = self.dir.join(&generation);
        write_payload(&new_dir, payload)?;

        let (tmp, data) = (self.dir.join(DATA_TMP), self.dir.join(DATA));
        if let Err(error) = std::os::unix::fs::symlink(&generation, &tmp) {
            self.remove_all(&generation)?;
            return Err(Error::io("symlink", &tmp, error));
        }
        if options.fault == Some(Fault::DieBeforeRename) {
            return Ok(Written::Broken { generation, previous, renamed_at: None });
        }
        if let Err(error) = fs::rename(&tmp, &data) {
            self.remove_all(&generation)?;
            return Err(Error::io("rename", &tmp, error));
        }
        let renamed_at = boottime_ns();
        if options.fault == Some(Fault::DieAfterRename) {
            return Ok(Written::Broken { generation, previous, renamed_at: Some(renamed_at) });
        }
        self.create_links(payload)?;
        self.remove_links(payload, &to_remove)?;
        if options.fault == Some(Fault::KeepOld) {
            return Ok(Written::Broken { generation, previous, renamed_at: Some(renamed_at) });
        }
        let mut settled_at = boottime_ns();
        if let Some(old) = &previous {
            pause_until(renamed_at + u64::try_from(options.gap.as_nanos()).unwrap_or(u64::MAX / 2));
            settled_at = self.remove_all(old)?;
        }
        Ok(Written::Swapped { generation, previous, renamed_at, settled_at })
    }

    /// Step 3: walks the old generation for paths that the payload lacks.
    fn paths_to_remove(&self, old: &str, payload: &Payload) -> Result<BTreeSet<String>, Error> {
        let mut found = Vec::new();
        walk(&self.dir.join(old), "", &mut found)?;
        Ok(found.into_iter().filter(|path| !payload.contains_key(path)).collect())
    }

    /// Step 4: compares each file with the old one.
    fn is_unchanged(&self, old: &str, payload: &Payload) -> bool {
        let old = self.dir.join(old);
        payload.iter().all(|(path, content)| fs::read(old.join(path)).is_ok_and(|is| is == *content))
    }

    /// Step 5: the directory `..<UTC time>.<random decimal>`.
    fn make_generation(&self) -> Result<String, Error> {
        let (year, month, day, hour, minute, second) = utc_now();
        let time = format!("..{year:04}_{month:02}_{day:02}_{hour:02}_{minute:02}_{second:02}");
        loop {
            let name = format!("{time}.{}", random::suffix());
            let path = self.dir.join(&name);
            match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
                Ok(()) => {
                    chmod(&path, 0o755)?;
                    return Ok(name);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(Error::io("mkdir", &path, error)),
            }
        }
    }

    /// Step 10: a link for each first path element that has none.
    fn create_links(&self, payload: &Payload) -> Result<(), Error> {
        for name in top_names(payload.keys()) {
            let link = self.dir.join(name);
            if fs::read_link(&link).is_err() {
                std::os::unix::fs::symlink(Path::new(DATA).join(name), &link).at("symlink", &link)?;
            }
        }
        Ok(())
    }

    /// Step 11: unlinks the names that only removed paths had.
    fn remove_links(&self, payload: &Payload, removed: &BTreeSet<String>) -> Result<(), Error> {
        let keep = top_names(payload.keys());
        for name in top_names(removed.iter()).difference(&keep) {
            let link = self.dir.join(name);
            fs::remove_file(&link).at("unlink", &link)?;
        }
        Ok(())
    }

    /// Step 12: Go's RemoveAll, which opens the parent, then the directory. Returns the time before the rmdir.
    fn remove_all(&self, name: &str) -> Result<u64, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(CWD, &self.dir, flags, Mode::empty()).at("open", &self.dir)?;
        let path = self.dir.join(name);
        {
            let child = rustix::fs::openat(&parent, name, flags, Mode::empty()).at("open", &path)?;
            for entry in rustix::fs::Dir::read_from(&child).at("read", &path)? {
                let entry = entry.at("read", &path)?;
                let file = OsStr::from_bytes(entry.file_name().to_bytes());
                if file == "." || file == ".." {
                    continue;
                }
                match rustix::fs::unlinkat(&child, file, AtFlags::empty()) {
                    Ok(()) => {}
                    Err(Errno::ISDIR | Errno::PERM) => {
                        fs::remove_dir_all(path.join(file)).at("remove", &path.join(file))?;
                    }
                    Err(error) => return Err(Error::io("unlink", &path.join(file), error)),
                }
            }
        }
        let before = boottime_ns();
        rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).at("rmdir", &path)?;
        Ok(before)
    }
}

fn chmod(path: &Path, mode: u32) -> Result<(), Error> {
    rustix::fs::chmod(path, Mode::from_raw_mode(mode)).at("chmod", path)
}

/// Step 6: files, then their exact mode.
fn write_payload(dir: &Path, payload: &Payload) -> Result<(), Error> {
    for (name, content) in payload {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("mkdir", parent)?;
        }
        fs::write(&path, content).at("write", &path)?;
        chmod(&path, 0o644)?;
    }
    Ok(())
}

fn top_names<'a>(paths: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    paths.map(|path| path.split_once('/').map_or(path.as_str(), |(first, _)| first)).collect()
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) -> Result<(), Error> {
    for entry in fs::read_dir(dir).at("read", dir)? {
        let entry = entry.at("read", dir)?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().at("stat", &entry.path())?.is_dir() {
            walk(&entry.path(), &format!("{path}/"), found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
