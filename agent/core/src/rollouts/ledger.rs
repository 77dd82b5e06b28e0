//! The records of all workloads, as they are kept where no controller's end takes them: in a few shards, each of which is written as
//! a whole and only where nobody else has written it since it was read. So of two controllers that mean to roll the same workload one
//! finds out before it has done anything: whoever didn't write the last version of a shard reads it first.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::hash;
use crate::model::names::Name;
use crate::rollouts::record::Record;
use crate::rollouts::workload::WorkloadRef;

/// How many shards there are.
pub const SHARDS: usize = 16;

/// A shard, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(usize);

impl Shard {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// The one in which a workload's record is.
    pub fn of(workload: &WorkloadRef) -> Self {
        let WorkloadRef { kind, namespace, name } = workload;
        let bytes = [kind.as_str(), "/", namespace, "/", name].into_iter().flat_map(str::bytes);
        let hash = usize::try_from(hash::mark(bytes) >> 32).unwrap_or_default();
        Self(hash % SHARDS)
    }

    /// Its number, from 0.
    pub const fn number(self) -> usize {
        self.0
    }
}

/// The records of a shard.
pub type Records = BTreeMap<WorkloadRef, Record>;

/// What is to be done with a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is to be read.
    Read,
    /// It is to be written, if it is still at this version; `None` if there was none.
    Write(Option<Name>, Records),
}

#[derive(Debug, Default)]
struct Kept {
    /// The version that was read or written last, with what it held; `None` where that isn't known.
    known: Option<(Option<Name>, Records)>,
    /// What is being written.
    under_way: Option<Records>,
    /// Whether it is being read.
    is_read: bool,
    /// Whether what is under way isn't the last word: it is read once more afterwards.
    is_doubted: bool,
    /// What is to be written next.
    next: BTreeMap<WorkloadRef, Option<Record>>,
}

/// All shards.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    shards: BTreeMap<Shard, Kept>,
}

impl Ledger {
    /// What is known of a workload's record; `None` where nothing can be said before something was read or written.
    pub(crate) fn record(&self, workload: &WorkloadRef) -> Option<Option<&Record>> {
        let kept = self.shards.get(&Shard::of(workload))?;
        let is_written = kept.under_way.is_some() && kept.changes(workload);
        if is_written || kept.next.contains_key(workload) {
            return None;
        }
        let (_, records) = kept.known.as_ref()?;
        Some(records.get(workload))
    }

    /// What was known last of a workload's record, also where it is written just now.
    pub(crate) fn known(&self, workload: &WorkloadRef) -> Option<&Record> {
        let (_, records) = self.shards.get(&Shard::of(workload))?.known.as_ref()?;
        records.get(workload)
    }

    /// All records that are known.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&WorkloadRef, &Record)> {
        self.shards.values().filter_map(|kept| kept.known.as_ref()).flat_map(|(_, records)| records)
    }

    /// Whether all of them are known.
    pub(crate) fn is_known(&self) -> bool {
        Shard::all().all(|shard| self.shards.get(&shard).is_some_and(|kept| kept.known.is_some()))
    }

    /// Has a workload's record written, or taken away.
    pub(crate) fn write(&mut self, workload: &WorkloadRef, record: Option<Record>) {
        let kept = self.shards.entry(Shard::of(workload)).or_default();
        kept.next.insert(workload.clone(), record);
    }

    /// A workload's record may be another one by now.
    pub(crate) fn doubt(&mut self, workload: &WorkloadRef) {
        let kept = self.shards.entry(Shard::of(workload)).or_default();
        // The answer to what is under way is that to nothing else.
        kept.is_doubted = kept.is_read || kept.under_way.is_some();
        if !kept.is_doubted {
            kept.forget();
        }
    }

    /// What is to be done next, if anything is.
    pub(crate) fn next(&mut self) -> Option<(Shard, Access)> {
        Shard::all().find_map(|shard| Some((shard, self.shards.entry(shard).or_default().next()?)))
    }

    /// A shard was read: it is at this version and holds this. Whose records may be others than before.
    pub(crate) fn read(
        &mut self,
        shard: Shard,
        version: Option<Name>,
        records: Records,
    ) -> BTreeSet<WorkloadRef> {
        let kept = self.shards.entry(shard).or_default();
        kept.is_read = false;
        let before = kept.known.take().map(|(_, records)| records).unwrap_or_default();
        // What was meant to be written came of what isn't known to be so any more.
        let mut changed: BTreeSet<WorkloadRef> = std::mem::take(&mut kept.next).into_keys().collect();
        changed.extend(before.into_keys());
        changed.extend(records.keys().cloned());
        kept.know(version, records);
        changed
    }

    /// A shard was written, and is at this version. Whose records are others by that.
    pub(crate) fn wrote(&mut self, shard: Shard, version: Name) -> BTreeSet<WorkloadRef> {
        let Some(kept) = self.shards.get_mut(&shard) else { return BTreeSet::new() };
        let Some(written) = kept.under_way.take() else { return BTreeSet::new() };
        let before = kept.known.take().map(|(_, records)| records).unwrap_or_default();
        let differs = |(workload, record): (&WorkloadRef, &Record)| {
            (before.get(workload) != Some(record)).then(|| workload.clone())
        };
        let mut changed: BTreeSet<WorkloadRef> = written.iter().filter_map(differs).collect();
        changed.extend(before.into_keys().filter(|workload| !written.contains_key(workload)));
        kept.know(Some(version), written);
        changed
    }

    /// A shard couldn't be written, or it isn't known whether it was; or it couldn't be read: it is read (again).
    pub(crate) fn lost(&mut self, shard: Shard) {
        let kept = self.shards.entry(shard).or_default();
        (kept.under_way, kept.is_read, kept.is_doubted) = (None, false, false);
        kept.forget();
    }
}

impl Kept {
    /// It is at this version and holds this.
    fn know(&mut self, version: Option<Name>, records: Records) {
        self.known = Some((version, records));
        if std::mem::take(&mut self.is_doubted) {
            self.forget();
        }
    }

    /// What it holds isn't known any more.
    fn forget(&mut self) {
        if let Some((_, records)) = self.known.take() {
            // They are looked at again when it was read.
            self.next.extend(records.into_keys().map(|workload| (workload, None)));
        }
    }

    /// Whether what is being written changes a workload's record.
    fn changes(&self, workload: &WorkloadRef) -> bool {
        let known = self.known.as_ref().and_then(|(_, records)| records.get(workload));
        self.under_way.as_ref().and_then(|records| records.get(workload)) != known
    }

    fn next(&mut self) -> Option<Access> {
        if self.is_read || self.under_way.is_some() {
            return None;
        }
        let Some((version, records)) = &self.known else {
            self.is_read = true;
            return Some(Access::Read);
        };
        if self.next.is_empty() {
            return None;
        }
        let mut records = records.clone();
        for (workload, record) in std::mem::take(&mut self.next) {
            match record {
                Some(record) => drop(records.insert(workload, record)),
                None => drop(records.remove(&workload)),
            }
        }
        self.under_way = Some(records.clone());
        Some(Access::Write(version.clone(), records))
    }
}
