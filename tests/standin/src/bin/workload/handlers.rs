//! The only unsafe code of the stand-in: what a signal does.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::signal::{SigHandler, Signal};

/// Installs a real handler (`signalfd` or `sigwait` would not count as caught) that takes the time and writes it with
/// the signal's number to a pipe.
pub(crate) fn catch(signal: Signal, pipe: Arc<OwnedFd>) -> io::Result<()> {
    let number = signal as i32;
    let handler = move || {
        let now = standin::boottime_ns();
        let mut record = [0; 16];
        record[..8].copy_from_slice(&now.to_le_bytes());
        record[8..].copy_from_slice(&i64::from(number).to_le_bytes());
        // A full pipe holds 4096 records that were not read; the next one is lost and that is all.
        if rustix::io::write(&pipe, &record).is_err() {}
    };
    // SAFETY: the handler calls clock_gettime and write, which are async-signal-safe; it neither allocates nor locks
    // nor panics, and rustix does not touch errno.
    unsafe { signal_hook::low_level::register(number, handler) }.map(drop)
}

/// Ignores a signal.
pub(crate) fn ignore(signal: Signal) -> io::Result<()> {
    // SAFETY: no handler function is installed, and nothing else in this program relies on the old disposition.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) }.map(drop).map_err(io::Error::from)
}
