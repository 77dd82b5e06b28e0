//! The journal's file: redb's tables, and what is done about a file that can't be read.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::excess::Excess;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::journal::{Endings, Handled, JournalKey};
use reloadlet_core::model::mark::Mark;
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::model::pod::Pod;
use reloadlet_core::policy::crowd::Crowd;

use super::carried::CARRIED;
use super::error::StoreError;
use super::file::{self, FileId, Unsynced};
use super::frozen::FROZEN;
use super::held;
use super::records::{Changes, Records, unix_seconds};
use super::tables::opened;
use super::{carried, deliveries, frozen, rereads, whole};

pub(super) use opening::Past;

mod opening;

/// Records are small and few; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 512 * 1024;

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// How the clocks stood to each other, and in which boot. Agents that don't know of it leave it as it is, also after a boot.
const CLOCK: &str = "clock";
const CLOCK_BOOT_ID: &str = "clock_boot_id";
/// Pod UID, container, volume → generation, outcome (empty for a baseline), Unix seconds.
const HANDLED: TableDefinition<'_, (&str, &str, &str), (&str, &str, u64)> = TableDefinition::new("handled");
/// Pod UID, container → how many in a row, the version of the mark and the mark of the annotations, Unix seconds.
const ENDINGS: TableDefinition<'_, (&str, &str), (u8, u8, u64, u64)> = TableDefinition::new("marked_endings");
/// The same of agents whose marks had no version: it is read, and nothing is added to it. Such an agent doesn't take a file
/// without it.
const EARLIER_ENDINGS: TableDefinition<'_, (&str, &str), (u8, u64, u64)> = TableDefinition::new("endings");

/// Pod UID → the pod as JSON.
const PODS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("pods");

/// The open file.
pub(super) struct Store {
    database: Option<Database>,
    path: PathBuf,
    /// Which file it is.
    file: FileId,
    /// Set: the file is neither read nor written any more.
    pub(super) sealed: Arc<AtomicBool>,
    /// Whether anything was ever recorded: an empty journal is that of an installation.
    begun: bool,
    /// Whether the file says by now of which boot it is what earlier agents leave as it is.
    names_boot: bool,
}

impl Store {
    fn over(file: File, path: PathBuf) -> Result<Self, StoreError> {
        let file_id = file.metadata().map(|found| FileId::of(&found));
        let file_id =
            file_id.map_err(|source| StoreError::Io { op: "look at", path: path.clone(), source })?;
        let sealed = Arc::new(AtomicBool::new(false));
        let backend = Unsynced { file, sealed: Arc::clone(&sealed) };
        match Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend) {
            Ok(database) => Ok(Self {
                database: Some(database),
                path,
                file: file_id,
                sealed,
                begun: false,
                names_boot: false,
            }),
            Err(error) => Err(StoreError::Database { op: "open", path, source: Box::new(error.into()) }),
        }
    }

    /// Whether the file is still the one at its path: what is written to another one, nobody finds.
    pub(super) fn is_in_place(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { op: "find", path: self.path.clone(), source };
        let found = FileId::of(&fs::symlink_metadata(&self.path).map_err(failed)?);
        let is_other = || failed(io::Error::other("another file has taken its place"));
        (found == self.file).then_some(()).ok_or_else(is_other)
    }

    fn records(&self) -> Result<Records, StoreError> {
        let mut records = Records::default();
        let mut bad = None;
        self.read(|transaction| {
            for row in transaction.open_table(HANDLED)?.iter()? {
                let (key, value) = row?;
                let ((pod, container, volume), (generation, outcome, at)) = (key.value(), value.value());
                match (PodUid::parse(pod), Generation::parse(generation)) {
                    (Some(pod), Some(generation)) => {
                        let key = JournalKey { pod, container: container.into(), volume: volume.into() };
                        // An outcome that only a later version knows is as good as a baseline.
                        let handled = Handled::new(generation, Outcome::parse(outcome));
                        records.handled.insert(key, (handled, at));
                    }
                    (None, _) | (_, None) => bad = Some(format!("{pod} {container} {volume} {generation}")),
                }
            }
            held::read(transaction, &mut records.handled)?;
            endings_of(transaction, |pod, container, endings, at| match PodUid::parse(pod) {
                Some(pod) => {
                    let of = records.endings.entry((pod, container.into())).or_insert((endings, at));
                    // Agents of two versions may have written one each.
                    if at > of.1 {
                        *of = (endings, at);
                    }
                }
                None => bad = Some(format!("{pod} {container}")),
            })?;
            rereads::read(transaction, |pod, container, value, at| match PodUid::parse(pod) {
                Some(pod) => drop(records.rereads.insert((pod, container.into()), (value, at))),
                None => bad = Some(format!("{pod} {container}")),
            })?;
            deliveries::read(transaction, |pod, container, value| match PodUid::parse(pod) {
                Some(pod) => drop(records.deliveries.insert((pod, container.into()), Arc::new(value))),
                None => bad = Some(format!("{pod} {container}")),
            })?;
            carried::read(transaction, |pod, value| match PodUid::parse(pod) {
                Some(pod) => drop(records.carried.insert(pod, Arc::new(value))),
                None => bad = Some(pod.to_owned()),
            })?;
            frozen::read(transaction, |pod, known| match PodUid::parse(pod) {
                Some(pod) => drop(records.frozen.insert(pod, Arc::new(known))),
                None => bad = Some(pod.to_owned()),
            })?;
            // A version without limits may have written them.
            let mut pods = Crowd::default();
            for row in transaction.open_table(PODS)?.iter()? {
                let (uid, json) = row?;
                match serde_json::from_slice::<Pod>(json.value()) {
                    Ok(pod) => {
                        let excess = Excess::of(&pod.spec.containers, &pod.spec.volumes);
                        let pod = match excess {
                            Some(excess) => pod.left_out(excess),
                            None => pod,
                        };
                        pods.insert(pod.uid.clone(), Arc::new(pod));
                    }
                    Err(_) => bad = Some(uid.value().to_owned()),
                }
            }
            records.pods.extend(pods.pods().map(|pod| (pod.uid.clone(), pod.clone())));
            Ok(())
        })?;
        match bad {
            Some(record) => Err(StoreError::Record { path: self.path.clone(), record }),
            None => Ok(records),
        }
    }

    /// Adds these changes to the file, all or none, and how the clocks stand to each other now.
    pub(super) fn commit(&mut self, changes: &Changes, clock: &str, at: u64) -> Result<(), StoreError> {
        // A pod that is known says nothing of its volumes yet.
        let begun = self.begun || changes.only_pods();
        self.write("write", |transaction| {
            begin(transaction, begun, self.names_boot, clock)?;
            if !changes.forgotten.is_empty() {
                forget(transaction, changes)?;
            }
            // A table that is opened costs as much as a record.
            if !changes.rereads.is_empty() {
                rereads::write(transaction, changes, at)?;
            }
            if !changes.deliveries.is_empty() {
                deliveries::write(transaction, changes)?;
            }
            if !changes.carried.is_empty() {
                carried::write(transaction, &changes.carried)?;
            }
            if !changes.frozen.is_empty() {
                frozen::write(transaction, &changes.frozen)?;
            }
            if !changes.handled.is_empty() {
                held::write(transaction, changes)?;
                let mut handled = transaction.open_table(HANDLED)?;
                let mut each = changes.handled.iter();
                each.try_for_each(|(key, value)| put_handled(&mut handled, key, value, at))?;
            }
            if !changes.pods.is_empty() {
                let mut pods = transaction.open_table(PODS)?;
                changes.pods.values().try_for_each(|pod| put_pod(&mut pods, pod))?;
            }
            if !changes.endings.is_empty() {
                write_endings(transaction, changes, at)?;
            }
            Ok(())
        })?;
        self.names_boot = true;
        self.set_begun(!changes.only_pods());
        Ok(())
    }

    /// Makes the file hold these records and no others.
    pub(super) fn replace(&mut self, records: &Records) -> Result<(), StoreError> {
        let begun = self.begun || records.handled.is_empty();
        self.write("write", |transaction| {
            begin(transaction, begun, self.names_boot, &records.clock)?;
            clear(transaction)?;
            let mut handled = transaction.open_table(HANDLED)?;
            let mut endings = transaction.open_table(ENDINGS)?;
            for (key, (value, at)) in &records.handled {
                put_handled(&mut handled, key, value, *at)?;
            }
            for ((pod, container), (value, at)) in &records.endings {
                put_endings(&mut endings, pod, container, *value, *at)?;
            }
            rereads::write_all(transaction, records)?;
            deliveries::write_all(transaction, records)?;
            carried::write(transaction, &records.carried)?;
            frozen::write(transaction, &records.frozen)?;
            held::write_all(transaction, &records.handled)?;
            let mut pods = transaction.open_table(PODS)?;
            records.pods.values().try_for_each(|pod| put_pod(&mut pods, pod))?;
            Ok(())
        })?;
        self.names_boot = true;
        self.set_begun(!records.handled.is_empty());
        Ok(())
    }

    /// Something was recorded, if it is so: from the first time on there is a sign of it beside the file.
    fn set_begun(&mut self, begun: bool) {
        if begun && !std::mem::replace(&mut self.begun, true) {
            file::mark_begun(&self.path);
        }
    }

    /// Everything is recorded.
    pub(super) fn finish(&self, clock: &str) -> Result<(), StoreError> {
        self.write("finish", |transaction| {
            begin(transaction, true, self.names_boot, clock)?;
            whole::mark(&mut transaction.open_table(META)?, clock)
        })
    }

    fn write<T>(
        &self,
        op: &'static str,
        fill: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, redb::Error> {
            let transaction = self.database()?.begin_write()?;
            let filled = fill(&transaction)?;
            transaction.commit()?;
            Ok(filled)
        };
        run().map_err(|error| self.failed(op, error))
    }

    fn read<T>(
        &self,
        take: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, redb::Error> { take(&self.database()?.begin_read()?) };
        run().map_err(|error| self.failed("read", error))
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    fn failed(&self, op: &'static str, error: redb::Error) -> StoreError {
        StoreError::Database { op, path: self.path.clone(), source: Box::new(error) }
    }
}

impl Drop for Store {
    /// Leaves the file as a kill would, marked as not closed. redb then checks every page when it opens it; a file that
    /// was closed is trusted, and pages that a power loss took out of a trusted one make redb 4.4 panic.
    fn drop(&mut self) {
        self.sealed.store(true, Ordering::Release);
        self.database = None;
    }
}

/// Tells of all endings, whichever agent wrote them: each with its pod, its container and its Unix seconds.
fn endings_of(
    transaction: &redb::ReadTransaction,
    mut tell: impl FnMut(&str, &str, Endings, u64),
) -> Result<(), redb::Error> {
    for row in transaction.open_table(EARLIER_ENDINGS)?.iter()? {
        let (key, value) = row?;
        let ((pod, container), (in_a_row, mark, at)) = (key.value(), value.value());
        tell(pod, container, Endings { in_a_row, mark: Mark::without_version(mark) }, at);
    }
    // There may be none: nothing was written since an earlier agent began the file.
    let Some(table) = opened(transaction, ENDINGS)? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        let ((pod, container), (in_a_row, version, mark, at)) = (key.value(), value.value());
        tell(pod, container, Endings { in_a_row, mark: Mark::recorded(version, mark) }, at);
    }
    Ok(())
}

/// Takes away what is forgotten.
fn forget(transaction: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    let mut handled = transaction.open_table(HANDLED)?;
    let mut endings = transaction.open_table(ENDINGS)?;
    let mut earlier = transaction.open_table(EARLIER_ENDINGS)?;
    let mut pods = transaction.open_table(PODS)?;
    for pod in &changes.forgotten {
        let pod = pod.as_str();
        // The next string after the UID bounds the range of its records.
        let end = format!("{pod}\0");
        handled.retain_in((pod, "", "")..(end.as_str(), "", ""), |_, _| false)?;
        endings.retain_in((pod, "")..(end.as_str(), ""), |_, _| false)?;
        earlier.retain_in((pod, "")..(end.as_str(), ""), |_, _| false)?;
        pods.remove(pod)?;
    }
    rereads::forget(transaction, changes)?;
    deliveries::forget(transaction, changes)?;
    CARRIED.forget(transaction, changes)?;
    FROZEN.forget(transaction, changes)?;
    held::forget(transaction, changes)
}

fn write_endings(transaction: &WriteTransaction, changes: &Changes, at: u64) -> Result<(), redb::Error> {
    let mut endings = transaction.open_table(ENDINGS)?;
    let mut earlier = transaction.open_table(EARLIER_ENDINGS)?;
    for ((pod, container), value) in &changes.endings {
        earlier.remove((pod.as_str(), &**container))?;
        match value {
            Some(value) => put_endings(&mut endings, pod, container, *value, at)?,
            None => drop(endings.remove((pod.as_str(), &**container))?),
        }
    }
    Ok(())
}

/// How the clocks stand, which changes with each look at them, and what is written once by each agent.
fn begin(
    transaction: &WriteTransaction,
    begun: bool,
    names_boot: bool,
    clock: &str,
) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    if !begun {
        meta.insert("begun", "")?;
    }
    if !names_boot {
        let boot_id = meta.get("boot_id")?.map(|found| found.value().to_owned()).unwrap_or_default();
        meta.insert(CLOCK_BOOT_ID, boot_id.as_str())?;
        meta.insert(deliveries::BOOT_ID, boot_id.as_str())?;
    }
    meta.insert(CLOCK, clock)?;
    Ok(())
}

fn clear(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(HANDLED)?.retain(|_, _| false)?;
    transaction.open_table(ENDINGS)?.retain(|_, _| false)?;
    transaction.open_table(EARLIER_ENDINGS)?.retain(|_, _| false)?;
    transaction.open_table(PODS)?.retain(|_, _| false)?;
    rereads::clear(transaction)?;
    deliveries::clear(transaction)?;
    CARRIED.clear(transaction)?;
    FROZEN.clear(transaction)?;
    held::clear(transaction)?;
    Ok(())
}

fn put_pod(pods: &mut Table<'_, &str, &[u8]>, pod: &Pod) -> Result<(), redb::Error> {
    let json = serde_json::to_vec(pod).map_err(|error| redb::Error::Io(error.into()))?;
    pods.insert(pod.uid.as_str(), json.as_slice())?;
    Ok(())
}

fn put_handled(
    table: &mut Table<'_, (&'static str, &'static str, &'static str), (&'static str, &'static str, u64)>,
    key: &JournalKey,
    value: &Handled,
    at: u64,
) -> Result<(), redb::Error> {
    table.insert(
        (key.pod.as_str(), &*key.container, &*key.volume),
        (value.generation.as_str(), value.outcome.map_or("", Outcome::as_str), at),
    )?;
    Ok(())
}

fn put_endings(
    table: &mut Table<'_, (&'static str, &'static str), (u8, u8, u64, u64)>,
    pod: &PodUid,
    container: &str,
    value: Endings,
    at: u64,
) -> Result<(), redb::Error> {
    table
        .insert((pod.as_str(), container), (value.in_a_row, value.mark.version(), value.mark.value(), at))?;
    Ok(())
}

#[cfg(test)]
mod tests;
