//! rustix names no real-time signals: making one of a number is unsafe.
#![allow(unsafe_code)]

use reloadlet_core::model::signal::Signal;

/// The signal as rustix passes it to the kernel.
pub(crate) fn raw(signal: Signal) -> rustix::process::Signal {
    // SAFETY: a `Signal` is one of the named ones or 34 to 64. rustix asks for care with the two below 34, which libc
    // keeps for itself, and never dereferences the number.
    unsafe { rustix::process::Signal::from_raw_unchecked(signal.number()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal as Named;

    #[test]
    fn numbers_are_the_kernels() {
        for (name, named) in [
            ("HUP", Named::SIGHUP),
            ("INT", Named::SIGINT),
            ("QUIT", Named::SIGQUIT),
            ("TERM", Named::SIGTERM),
            ("USR1", Named::SIGUSR1),
            ("USR2", Named::SIGUSR2),
            ("WINCH", Named::SIGWINCH),
            ("CONT", Named::SIGCONT),
        ] {
            assert_eq!(raw(Signal::parse(name).unwrap()).as_raw(), named as i32, "{name}");
        }
        assert_eq!(raw(Signal::parse("RTMIN+3").unwrap()).as_raw(), 37);
    }
}
