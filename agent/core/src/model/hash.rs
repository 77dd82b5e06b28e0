//! Fixed shares of a range: the same at each change and after each start of the agent.

use std::time::Duration;

/// The share that belongs to these bytes.
pub(crate) fn of(bytes: impl IntoIterator<Item = u8>, range: Duration) -> Duration {
    let share = mark(bytes) >> 32;
    let nanos = range.as_nanos().saturating_mul(share.into()) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A hash of some bytes: FNV-1a, with the last bits mixed. It must stay the same between versions, since the
/// journal holds it.
pub(crate) fn mark(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let hash = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
