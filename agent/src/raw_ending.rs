//! How a process ended, as its pidfd tells once its parent has taken that (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, Linux 6.15):
//! a call that neither rustix nor nix has.
#![allow(unsafe_code)]

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};

/// `struct pidfd_info` of the kernel, as far as the first version of it went: newer kernels fill in as much as they are given
/// room for (`include/uapi/linux/pidfd.h`, `PIDFD_INFO_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// Asks for the exit code, and says that it was told.
const EXIT: u64 = 1 << 3;

/// As `waitpid` gives it; `None` while the process's parent hasn't taken it. An error where the kernel doesn't tell.
pub(crate) fn wait_status(pidfd: impl AsFd) -> Result<Option<i32>, Errno> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the opcode is made of the size of `Info`, so the kernel writes into nothing else, and any bytes are an `Info`.
    unsafe { ioctl(pidfd, Updater::<{ opcode::read_write::<Info>(0xff, 11) }, Info>::new(&mut info)) }?;
    Ok((info.mask & EXIT != 0).then_some(info.exit_code))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn what_a_pidfd_tells_is_what_the_parent_was_told() {
        for (script, status) in [("kill -9 $$", 9), ("exit 3", 3 << 8)] {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("read _; {script}")]).stdin(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let pid = Pid::from_raw(child.id() as i32).unwrap();
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            let living = wait_status(&pidfd);
            drop(child.stdin.take());
            child.wait().unwrap();
            match (living, wait_status(&pidfd)) {
                (living, Ok(told)) => assert_eq!((living, told), (Ok(None), Some(status)), "{script}"),
                // A kernel before 6.15.
                (_, Err(errno)) => assert!([Errno::SRCH, Errno::NOTTY, Errno::INVAL].contains(&errno)),
            }
        }
    }
}
