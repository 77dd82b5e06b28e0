//! How long a thread works before others have their turn (`sched_setattr(2)`): a call that neither rustix nor nix has.
#![allow(unsafe_code)]

use std::io;

use nix::libc::{SCHED_OTHER, SYS_sched_getattr, SYS_sched_setattr, c_long, sched_attr, syscall};

/// In nanoseconds, the shortest that the kernel takes (`__setparam_fair` in `kernel/sched/syscalls.c`).
const SHORT: u64 = 100_000;

/// This thread asks for the shortest slice, so that it works as soon as it is woken: the scheduler lets a thread that wakes up take the
/// processor from one with a longer slice, and else it may have to wait until that one sleeps, even beside a processor that is idle.
/// It gets no more processor time than before. Linux knows of slices from 6.12 on, and ignores the wish before. A thread under
/// another policy than the usual one is left as it is.
pub(crate) fn shorten() -> io::Result<()> {
    let mut attr = attributes()?;
    if attr.sched_policy != SCHED_OTHER.cast_unsigned() {
        return Ok(());
    }
    attr.sched_runtime = SHORT;
    // SAFETY: the kernel reads as many bytes as the structure says that it has, and these are all of it.
    done(unsafe { syscall(SYS_sched_setattr, 0, &raw const attr, 0) })
}

/// How this thread is scheduled.
fn attributes() -> io::Result<sched_attr> {
    let mut attr = sched_attr {
        size: 0,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes no more bytes than it is told that there is room for, and any bytes are a `sched_attr`.
    done(unsafe { syscall(SYS_sched_getattr, 0, &raw mut attr, size_of::<sched_attr>(), 0) })?;
    Ok(attr)
}

fn done(result: c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_the_shortest_slice_and_is_as_nice_as_before() {
        std::thread::spawn(|| {
            let before = attributes().unwrap();
            shorten().unwrap();
            let after = attributes().unwrap();
            // Linux tells of slices since it takes them.
            let expected = if before.sched_runtime == 0 { 0 } else { SHORT };
            assert_eq!(after.sched_runtime, expected);
            assert_eq!(
                (before.sched_policy, before.sched_nice, before.sched_flags),
                (after.sched_policy, after.sched_nice, after.sched_flags)
            );
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_under_another_policy_is_left_as_it_is() {
        std::thread::spawn(|| {
            let mut attr = attributes().unwrap();
            attr.sched_policy = nix::libc::SCHED_IDLE.cast_unsigned();
            // SAFETY: as above.
            done(unsafe { syscall(SYS_sched_setattr, 0, &raw const attr, 0) }).unwrap();
            let before = attributes().unwrap();
            shorten().unwrap();
            let after = attributes().unwrap();
            assert_eq!(
                (before.sched_policy, before.sched_runtime),
                (after.sched_policy, after.sched_runtime)
            );
            assert_eq!(after.sched_policy, nix::libc::SCHED_IDLE.cast_unsigned());
        })
        .join()
        .unwrap();
    }
}
