//! Keeps the agent's memory out of core files: it holds the key of the digests, and for moments contents of Secrets.

use std::io;

use nix::sys::prctl::set_dumpable;

/// From now on the kernel writes no core file of this process, and lets only who may trace every process read its memory
/// (prctl(2), `PR_SET_DUMPABLE`).
pub(crate) fn forbid() -> io::Result<()> {
    Ok(set_dumpable(false)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::prctl::get_dumpable;

    #[test]
    fn after_it_there_are_no_core_files_of_this_process() {
        forbid().unwrap();
        assert!(!get_dumpable().unwrap());
    }
}
