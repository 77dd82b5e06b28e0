//! Random names.

use std::fmt::Write;

use rustix::rand::{GetRandomFlags, getrandom};

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            // The call fails only for a bad address or flag, or when interrupted.
            Err(_) => std::thread::yield_now(),
        }
    }
    bytes
}

fn hex<const N: usize>() -> String {
    bytes::<N>().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        if write!(text, "{byte:02x}").is_err() {
            text.clear();
        }
        text
    })
}

/// A container ID: 64 hex digits.
pub(crate) fn container_id() -> String {
    hex::<32>()
}

/// The name of a termination log: 8 hex digits.
pub(crate) fn log_name() -> String {
    hex::<4>()
}

/// A pod UID.
pub(crate) fn uid() -> String {
    let text = hex::<16>();
    format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

/// The suffix that Go's MkdirTemp gives a generation: a decimal of 8 to 10 digits.
pub(crate) fn suffix() -> u32 {
    u32::from_le_bytes(bytes()).max(10_000_000)
}
