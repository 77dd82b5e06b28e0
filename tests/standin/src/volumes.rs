//! A pod's volumes, as the kubelet makes, publishes and takes them away.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::Mode;

use crate::atomic_writer::{AtomicWriter, Payload, WriteOptions, Written};
use crate::error::{At, Error};
use crate::mounts;
use crate::spec::VolumeSpec;

/// One volume of a pod.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) spec: VolumeSpec,
    /// `<kubelet root>/pods/<uid>/volumes/<plugin>/<name>`.
    pub(crate) dir: PathBuf,
    /// `<kubelet root>/pods/<uid>/plugins/kubernetes.io~empty-dir/wrapped_<name>`.
    wrapped: PathBuf,
    /// The payload published last. The kubelet works on a volume in one thread at a time.
    last: Mutex<Payload>,
}

impl Volume {
    pub(crate) fn new(pod_dir: &Path, spec: VolumeSpec) -> Self {
        let dir = pod_dir.join("volumes").join(spec.kind.directory()).join(spec.kind.place(&spec.name));
        let wrapped = pod_dir.join("plugins/kubernetes.io~empty-dir").join(format!("wrapped_{}", spec.name));
        Self { spec, dir, wrapped, last: Mutex::default() }
    }

    /// Directory, tmpfs (after `delay`), marker, first publication: the kubelet's order.
    pub(crate) fn make(&self, payload: &Payload, delay: Duration) -> Result<Written, Error> {
        let mut last = lock(&self.last);
        make_dir(&self.dir, 0o777)?;
        rustix::fs::chmod(&self.dir, Mode::from_raw_mode(0o777)).at("chmod", &self.dir)?;
        // A kubelet that was restarted finds the tmpfs in place.
        if self.spec.kind.is_tmpfs() && !mounts::is_mount_point(&self.dir)? {
            if !delay.is_zero() {
                std::thread::sleep(delay);
            }
            mounts::tmpfs(&self.dir)?;
            rustix::fs::chmod(&self.dir, Mode::from_raw_mode(0o777)).at("chmod", &self.dir)?;
        }
        make_dir(&self.wrapped, 0o750)?;
        let ready = self.wrapped.join("ready");
        fs::write(&ready, b"").at("write", &ready)?;
        self.write(&mut last, payload, &WriteOptions::default())
    }

    pub(crate) fn update(&self, payload: &Payload, options: &WriteOptions) -> Result<Written, Error> {
        self.write(&mut lock(&self.last), payload, options)
    }

    pub(crate) fn resync(&self) -> Result<Written, Error> {
        let mut last = lock(&self.last);
        let payload = last.clone();
        self.write(&mut last, &payload, &WriteOptions::default())
    }

    fn write(&self, last: &mut Payload, payload: &Payload, options: &WriteOptions) -> Result<Written, Error> {
        last.clone_from(payload);
        let written = AtomicWriter::new(self.dir.clone()).write(payload, options);
        if written.is_err() && self.dir.is_dir() {
            // The kubelet's callers tear a volume down when a write fails, also under running containers.
            self.take_away()?;
        }
        written
    }

    /// Marker, umount, directory: the kubelet's order. EBUSY where something pins the tmpfs.
    pub(crate) fn unmake(&self) -> Result<(), Error> {
        let _held = lock(&self.last);
        self.take_away()
    }

    fn take_away(&self) -> Result<(), Error> {
        let ready = self.wrapped.join("ready");
        missing_is_fine(fs::remove_file(&ready)).at("unlink", &ready)?;
        if self.spec.kind.is_tmpfs() && mounts::is_mount_point(&self.dir)? {
            mounts::unmount(&self.dir)?;
        }
        missing_is_fine(fs::remove_dir_all(&self.dir)).at("remove", &self.dir)
    }
}

/// Makes a directory and its parents with this mode (less the umask).
pub(crate) fn make_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(dir).at("mkdir", dir)
}

pub(crate) fn missing_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A test that panicked while it held the lock has failed already; the others can go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
