//! That an agent has recorded everything and ended. The mark is what the journal holds of the clocks then: an agent that doesn't know of
//! the mark leaves it there, and its first record changes what is held of the clocks.

use redb::Table;

const KEY: &str = "whole";

type Meta<'a> = Table<'a, &'static str, &'static str>;

/// Everything is recorded.
pub(super) fn mark(meta: &mut Meta<'_>, clock: &str) -> Result<(), redb::Error> {
    drop(meta.insert(KEY, clock)?);
    Ok(())
}

/// Whether the last agent has recorded everything. Asking takes the mark away: whoever asks begins to record.
pub(super) fn take(meta: &mut Meta<'_>, clock: Option<&str>) -> Result<bool, redb::Error> {
    let marked = meta.remove(KEY)?.map(|found| found.value().to_owned());
    Ok(marked.is_some() && marked.as_deref() == clock)
}
