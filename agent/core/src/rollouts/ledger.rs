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

/// How long a shard may be where it is written, in bytes: a Secret has 1 MiB at most.
const LONGEST: usize = 900 << 10;
/// By so much a record may always grow: its roll is made, and has to be remembered.
const ALWAYS: usize = 128;

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
    /// What it held when it was known last, while it isn't.
    former: Records,
    /// Why it can't be written, or read.
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    /// Whether it is that it can't be read.
    is_of_read: bool,
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

    /// Why a workload's record can't be written, or read.
    pub(crate) fn trouble(&self, workload: &WorkloadRef) -> Option<&str> {
        let own = self.shards.get(&Shard::of(workload)).and_then(|kept| kept.trouble.as_ref());
        // Without all of them nothing is decided.
        own.or_else(|| self.of_reads().next()).map(|trouble| &*trouble.why)
    }

    /// Whether it is known of one of them that it can't be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.of_reads().next().is_some()
    }

    fn of_reads(&self) -> impl Iterator<Item = &Trouble> {
        self.shards.values().filter_map(|kept| kept.trouble.as_ref()).filter(|trouble| trouble.is_of_read)
    }

    /// Whether all of them are known.
    pub(crate) fn is_known(&self) -> bool {
        Shard::all().all(|shard| self.shards.get(&shard).is_some_and(|kept| kept.known.is_some()))
    }

    /// Has a workload's record written, or taken away. Whether there is room for it: a namespace may take half of what the others leave
    /// of a shard.
    pub(crate) fn write(&mut self, workload: &WorkloadRef, record: Option<Record>) -> bool {
        let kept = self.shards.entry(Shard::of(workload)).or_default();
        let is_kept = record.as_ref().is_none_or(|record| kept.has_room(workload, record));
        if is_kept {
            kept.next.insert(workload.clone(), record);
        }
        is_kept
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
        kept.trouble.take_if(|trouble| trouble.is_of_read);
        let before = kept.known.take().map(|(_, records)| records).unwrap_or_default();
        // What was meant to be written came of what isn't known to be so any more.
        let mut changed: BTreeSet<WorkloadRef> = std::mem::take(&mut kept.next).into_keys().collect();
        changed.extend(before.into_keys());
        changed.extend(records.keys().cloned());
        let former = std::mem::take(&mut kept.former);
        let is_empty = records.is_empty();
        kept.know(version, records);
        match &kept.known {
            // Somebody has taken away what was in it, or spoiled it. Whoever is gone meanwhile is left out later.
            Some(_) if is_empty => {
                kept.next.extend(former.into_iter().map(|(workload, record)| (workload, Some(record))));
            }
            Some(_) => {}
            // It is read once more.
            None if is_empty => kept.former = former,
            None => {}
        }
        changed
    }

    /// A shard was written, and is at this version. Whose records are others by that.
    pub(crate) fn wrote(&mut self, shard: Shard, version: Name) -> BTreeSet<WorkloadRef> {
        let Some(kept) = self.shards.get_mut(&shard) else { return BTreeSet::new() };
        let Some(written) = kept.under_way.take() else { return BTreeSet::new() };
        kept.trouble = None;
        let before = kept.known.take().map(|(_, records)| records).unwrap_or_default();
        let differs = |(workload, record): (&WorkloadRef, &Record)| {
            (before.get(workload) != Some(record)).then(|| workload.clone())
        };
        let mut changed: BTreeSet<WorkloadRef> = written.iter().filter_map(differs).collect();
        changed.extend(before.into_keys().filter(|workload| !written.contains_key(workload)));
        kept.know(Some(version), written);
        changed
    }

    /// A shard couldn't be written, or it isn't known whether it was; or it couldn't be read: it is read (again). Without a reason
    /// somebody else has written it.
    pub(crate) fn lost(&mut self, shard: Shard, why: Option<String>) {
        let kept = self.shards.entry(shard).or_default();
        if let Some(why) = why {
            kept.trouble = Some(Trouble { why, is_of_read: kept.under_way.is_none() });
        }
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
            self.next.extend(records.keys().map(|workload| (workload.clone(), None)));
            self.former = records;
        }
    }

    /// Whether a workload's record may be this, beside all that there is and will be.
    fn has_room(&self, workload: &WorkloadRef, record: &Record) -> bool {
        let known = self.known.as_ref().map(|(_, records)| records);
        let written = self.under_way.as_ref().or(known);
        let last = |other: &WorkloadRef, kept: usize| match self.next.get(other) {
            Some(next) => next.as_ref().map_or(0, |next| length(other, next)),
            None => kept,
        };
        let kept =
            written.into_iter().flatten().map(|(other, record)| (other, last(other, length(other, record))));
        let is_new = |other: &&WorkloadRef| written.is_none_or(|records| !records.contains_key(*other));
        let new = self.next.keys().filter(is_new).map(|other| (other, last(other, 0)));
        let (mut own, mut others, mut before) = (0, 0, 0);
        for (other, length) in kept.chain(new) {
            match () {
                () if other == workload => before = length,
                () if other.namespace == workload.namespace => own += length,
                () => others += length,
            }
        }
        let length = length(workload, record);
        length <= before + ALWAYS && before > 0 || own + length <= LONGEST.saturating_sub(others) / 2
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
        // One that couldn't be written is tried until it can be, so that nobody has to plan anything for that.
        if self.next.is_empty() && self.trouble.is_none() {
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

/// About how long an entry is where it is written, in bytes.
fn length(workload: &WorkloadRef, record: &Record) -> usize {
    workload.namespace.len() + workload.name.len() + record.length()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::ObjectKind;
    use crate::rollouts::content::Print;
    use crate::rollouts::record::{Roll, Step};
    use crate::rollouts::workload::Kind;

    /// Workloads of a namespace whose records are in the first shard.
    fn of(namespace: &str) -> impl Iterator<Item = WorkloadRef> {
        let all = (0..).map(move |n: u32| WorkloadRef {
            kind: Kind::Deployment,
            namespace: namespace.into(),
            name: format!("web-{n}").as_str().into(),
        });
        all.filter(|who| Shard::of(who).number() == 0)
    }

    fn record(objects: usize) -> Record {
        let long = "n".repeat(200);
        let object = |n| ((ObjectKind::ConfigMap, format!("{long}-{n}").as_str().into()), Print::default());
        Record::begin("u-1".into(), (0..objects).map(object).collect())
    }

    /// Does what the ledger wants with a shard, as a server that takes everything.
    fn settle(ledger: &mut Ledger) {
        while let Some((shard, access)) = ledger.next() {
            match access {
                Access::Read => drop(ledger.read(shard, None, Records::new())),
                Access::Write(_, records) => {
                    let length: usize = records.iter().map(|(who, record)| length(who, record)).sum();
                    assert!(length <= LONGEST, "{length}");
                    ledger.wrote(shard, "1".into());
                }
            }
        }
    }

    #[test]
    fn a_namespace_with_many_long_records_leaves_room_for_others() {
        let mut ledger = Ledger::default();
        settle(&mut ledger);
        let written = of("hostile").take_while(|who| {
            let is_kept = ledger.write(who, Some(record(64)));
            settle(&mut ledger);
            is_kept
        });
        let written: Vec<WorkloadRef> = written.collect();
        assert!((10..100).contains(&written.len()), "{}", written.len());
        for who in of("shop").take(100) {
            assert!(ledger.write(&who, Some(record(2))), "{who}");
        }
        settle(&mut ledger);
        // What was planned before is remembered on, whatever happens.
        let roll = Roll {
            marker: "00ff".into(),
            wanted: record(64).base,
            causes: record(64).base,
            since: 1,
            mends: None,
            is_in_place: false,
            turn: None,
            is_under_way: false,
        };
        assert!(!ledger.write(&written[0], Some(record(64).plan(roll.clone()))), "it would be longer");
        let planned = Record { step: Step::Planned(roll), ..record(1) };
        let who = of("other").next().unwrap();
        assert!(ledger.write(&who, Some(planned.clone())));
        settle(&mut ledger);
        for hostile in of("hostile-too").take(40) {
            ledger.write(&hostile, Some(record(64)));
        }
        assert!(ledger.write(&who, Some(planned.begun(crate::model::time::Time::default()))));
    }

    #[test]
    fn what_somebody_has_taken_away_or_spoiled_is_written_again_and_what_another_one_wrote_is_believed() {
        let all: Vec<WorkloadRef> = of("shop").take(3).collect();
        let shard = Shard::of(&all[0]);
        for (version, found, expected) in
            [(None, vec![], vec![0, 1]), (Some("9"), vec![], vec![0, 1]), (Some("9"), vec![2], vec![2])]
        {
            let mut ledger = Ledger::default();
            settle(&mut ledger);
            for who in &all[..2] {
                ledger.write(who, Some(record(1)));
            }
            settle(&mut ledger);
            // What comes next isn't taken, as the shard isn't what it was.
            ledger.write(&all[0], Some(record(2)));
            assert!(matches!(ledger.next(), Some((_, Access::Write(..)))));
            ledger.lost(shard, None);
            assert!(matches!(ledger.next(), Some((_, Access::Read))));
            let found = found.iter().map(|index: &usize| (all[*index].clone(), record(1))).collect();
            let changed = ledger.read(shard, version.map(Name::from), found);
            assert!(changed.contains(&all[0]));
            settle(&mut ledger);
            let known: Vec<usize> =
                (0..3).filter(|index| ledger.record(&all[*index]) == Some(Some(&record(1)))).collect();
            assert_eq!(known, expected, "{version:?}");
        }
    }

    #[test]
    fn records_that_wait_to_be_written_count_too() {
        let mut ledger = Ledger::default();
        settle(&mut ledger);
        let taken = of("hostile").take_while(|who| ledger.write(who, Some(record(64)))).count();
        assert!((10..100).contains(&taken), "{taken}");
        settle(&mut ledger);
    }
}
