//! Keeps the agent's memory out of core files: it holds the key of the digests, and for moments contents of Secrets.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From now on the kernel writes no core file of this process, and lets only who may trace every process read its memory
/// (prctl(2), `PR_SET_DUMPABLE`).
pub(crate) fn forbid() -> Result<(), Errno> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::dumpable_behavior;

    #[test]
    fn after_it_there_are_no_core_files_of_this_process() {
        forbid().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
