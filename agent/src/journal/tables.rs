//! Tables of the journal's file that a file of an earlier agent may not have.

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable as _, TableDefinition, TableError, Value,
    WriteTransaction,
};
use reloadlet_core::model::names::PodUid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::records::Changes;

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

/// A table with one JSON text for each pod's UID.
pub(super) struct JsonOfPods(TableDefinition<'static, &'static str, &'static [u8]>);

impl JsonOfPods {
    /// The one with this name.
    pub(super) const fn new(name: &'static str) -> Self {
        Self(TableDefinition::new(name))
    }

    /// Tells of all of it: each with its pod. What only a later version can read is as good as none.
    pub(super) fn read<W: DeserializeOwned>(
        &self,
        transaction: &ReadTransaction,
        mut tell: impl FnMut(&str, W),
    ) -> Result<(), redb::Error> {
        let Some(table) = opened(transaction, self.0)? else { return Ok(()) };
        for row in table.iter()? {
            let (pod, json) = row?;
            if let Ok(written) = serde_json::from_slice(json.value()) {
                tell(pod.value(), written);
            }
        }
        Ok(())
    }

    /// Takes away what is forgotten.
    pub(super) fn forget(
        &self,
        transaction: &WriteTransaction,
        changes: &Changes,
    ) -> Result<(), redb::Error> {
        let mut table = transaction.open_table(self.0)?;
        changes.forgotten.iter().try_for_each(|pod| table.remove(pod.as_str()).map(drop))?;
        Ok(())
    }

    /// Puts each in the place of what its pod had, or takes that away.
    pub(super) fn write<'a, W: Serialize>(
        &self,
        transaction: &WriteTransaction,
        rows: impl IntoIterator<Item = (&'a PodUid, Option<W>)>,
    ) -> Result<(), redb::Error> {
        let mut table = transaction.open_table(self.0)?;
        for (pod, written) in rows {
            match written {
                Some(written) => {
                    let json = serde_json::to_vec(&written).map_err(|error| redb::Error::Io(error.into()))?;
                    table.insert(pod.as_str(), json.as_slice())?;
                }
                None => drop(table.remove(pod.as_str())?),
            }
        }
        Ok(())
    }

    /// Takes all of it away.
    pub(super) fn clear(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        Ok(transaction.open_table(self.0)?.retain(|_, _| false)?)
    }
}
