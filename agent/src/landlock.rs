//! Gives up writing outside the state directory, before anything is read. `readOnly` host paths don't cover a tmpfs that
//! propagates in later, nor cgroup v1 mounts below: without this, an agent with only its rights could overwrite another
//! pod's Secret and freeze a container.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

/// The newest rights that are given up; older kernels give up what they know.
const RIGHTS: ABI = ABI::V5;

/// How much was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confined {
    /// All of it.
    Fully,
    /// What this kernel knows.
    Partly,
    /// Nothing: the kernel has no Landlock.
    Not,
}

/// Why it can't be given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandlockError {
    /// The kernel refused.
    #[error("the kernel refused the Landlock rules")]
    Rules(#[from] RulesetError),
    /// The root directory can't be opened.
    #[error("can't open the root directory")]
    Root(#[from] PathFdError),
}

/// Confines this thread and those that it starts: reading everywhere, writing only below the state directory, executing
/// nothing.
pub(crate) fn confine(state_dir: &Path) -> Result<Confined, LandlockError> {
    // If it can't be made, the journal says why.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    let all = AccessFs::from_all(RIGHTS);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let ruleset = Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, read))?;
    // Without the directory nothing can be written to it either: the journal says so.
    let ruleset = match made.ok().and_then(|()| PathFd::new(state_dir).ok()) {
        Some(directory) => ruleset.add_rule(PathBeneath::new(directory, all & !AccessFs::Execute))?,
        None => ruleset,
    };
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Confined::Fully,
        RulesetStatus::PartiallyEnforced => Confined::Partly,
        RulesetStatus::NotEnforced => Confined::Not,
    })
}
