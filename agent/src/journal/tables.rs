//! Tables of the journal's file that a file of an earlier agent may not have.

use redb::{Key, ReadOnlyTable, ReadTransaction, TableDefinition, TableError, Value};

/// A table; `None` where nothing was written into it yet.
pub(super) fn opened<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, redb::Error> {
    match transaction.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
