//! What the journal's file holds of what containers hold for certain. Files of earlier agents haven't this table, and such agents
//! leave it as it is: each record names the generation that was done with then, and with another one it isn't true any more.

use std::collections::BTreeMap;

use redb::{Table, TableDefinition, WriteTransaction};
use reloadlet_core::Time;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::journal::{Handled, Held, JournalKey};

use super::records::Changes;
use super::tables::opened;

type Key = (&'static str, &'static str, &'static str);
type Value = (&'static str, &'static str, u64, u8);

/// Pod UID, container, volume → the generation that is done with, the one that is held (empty where that isn't known), when the
/// container's first process had started in nanoseconds since the boot, [`UNREAD`].
const HELD: TableDefinition<'_, Key, Value> = TableDefinition::new("held");

const UNREAD: u8 = 1;

/// Adds what is held to what was handled.
pub(super) fn read(
    transaction: &redb::ReadTransaction,
    handled: &mut BTreeMap<JournalKey, (Handled, u64)>,
) -> Result<(), redb::Error> {
    let Some(table) = opened(transaction, HELD)? else { return Ok(()) };
    for (key, (value, _)) in handled {
        let Some(row) = table.get((key.pod.as_str(), &*key.container, &*key.volume))? else { continue };
        let (generation, held, started, flags) = row.value();
        if generation == value.generation.as_str() {
            let started = Time::from_nanos(started);
            value.held = Generation::parse(held).map(|generation| Held { generation, started });
            value.unread = flags & UNREAD != 0;
        }
    }
    Ok(())
}

/// Takes away what is forgotten.
pub(super) fn forget(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(HELD)?;
    for pod in &changes.forgotten {
        // The next string after the UID bounds the range of its records.
        let end = format!("{}\0", pod.as_str());
        table.retain_in((pod.as_str(), "", "")..(end.as_str(), "", ""), |_, _| false)?;
    }
    Ok(())
}

/// Adds changes to the file, from which what is forgotten was taken away.
pub(super) fn write(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(HELD)?;
    changes.handled.iter().try_for_each(|(key, value)| put(&mut table, key, value))
}

/// Adds these records to a file that holds none of them.
pub(super) fn write_all(
    transaction: &WriteTransaction,
    handled: &BTreeMap<JournalKey, (Handled, u64)>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(HELD)?;
    handled.iter().try_for_each(|(key, (value, _))| put(&mut table, key, value))
}

/// Takes all of them away.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(transaction.open_table(HELD)?.retain(|_, _| false)?)
}

fn put(table: &mut Table<'_, Key, Value>, key: &JournalKey, value: &Handled) -> Result<(), redb::Error> {
    let place = (key.pod.as_str(), &*key.container, &*key.volume);
    if value.held.is_none() && !value.unread {
        table.remove(place)?;
        return Ok(());
    }
    let (held, started) =
        value.held.as_ref().map_or(("", Time::default()), |held| (held.generation.as_str(), held.started));
    let started = u64::try_from(started.elapsed_since_boot().as_nanos()).unwrap_or(u64::MAX);
    let flags = if value.unread { UNREAD } else { 0 };
    table.insert(place, (value.generation.as_str(), held, started, flags))?;
    Ok(())
}
