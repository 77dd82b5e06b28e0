//! Helpers for tests: wait for something, or skip with a reason.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Error;
use crate::options::Hierarchy;

/// What a condition says: `bool`, `Option<T>`, or a `Result` of those (an error counts as not yet).
pub trait Outcome {
    /// What is handed out in the end.
    type Value;
    /// The value, if it is there.
    fn outcome(self) -> Option<Self::Value>;
}

impl Outcome for bool {
    type Value = ();
    fn outcome(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;
    fn outcome(self) -> Option<T> {
        self
    }
}

impl<O: Outcome, E> Outcome for Result<O, E> {
    type Value = O::Value;
    fn outcome(self) -> Option<O::Value> {
        self.ok().and_then(Outcome::outcome)
    }
}

/// Polls a condition each 2 ms until it holds; the error names what was awaited.
pub fn wait_until<O: Outcome>(
    timeout: Duration,
    description: &str,
    mut condition: impl FnMut() -> O,
) -> Result<O::Value, Error> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition().outcome() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            return Err(Error::Timeout { what: description.to_owned(), waited: timeout });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Why a test can't run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

/// Checks what the stand-in needs: root, a writable cgroup hierarchy of this kind, these programs in `PATH`. With
/// `CI=true` in the environment a missing one is a failure of the test, not a reason to skip it; but a host whose kernel
/// or init offers no cgroup v1 is never at fault for that.
pub fn require_root(hierarchy: Hierarchy, programs: &[&str]) -> Result<(), Skip> {
    let missing = missing(hierarchy, programs);
    if let Some(reason) = &missing
        && std::env::var_os("CI").is_some_and(|value| value == "true")
        && !(hierarchy == Hierarchy::V1 && lacks_v1())
    {
        #[allow(clippy::panic, reason = "under CI a test that can't run must fail")]
        {
            panic!("{reason}");
        }
    }
    missing.map_or(Ok(()), |reason| Err(Skip(reason)))
}

fn lacks_v1() -> bool {
    crate::cgroups::mounts(Hierarchy::V1).0.iter().any(|mount| !mount.join("cgroup.procs").exists())
}

fn missing(hierarchy: Hierarchy, programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    for mount in crate::cgroups::mounts(hierarchy).0 {
        let writable = rustix::fs::access(mount.join("cgroup.procs"), rustix::fs::Access::WRITE_OK);
        if writable.is_err() {
            return Some(format!("needs a writable cgroup hierarchy at {}", mount.display()));
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let found = |name: &str| path.split(':').any(|dir| Path::new(dir).join(name).is_file());
    programs.iter().find(|name| !found(name)).map(|name| format!("needs the program {name}"))
}
