//! What was carried out of grants, in files of agents that record it and of those that don't.

use std::sync::Arc;

use reloadlet_core::model::journal::CarriedOut;
use reloadlet_core::model::restart::{Finding, Grant};

use super::*;

fn carried(said: Option<Finding>) -> Arc<CarriedOut> {
    let grant = Grant::parse("00ff 1800000000 app=aaaaaaaaaaaa,log=bbbbbbbbbbbb").unwrap();
    let told = said.is_none().then(|| "app".into()).into_iter().collect();
    Arc::new(CarriedOut { grant, at: Time::from_nanos(u64::MAX), told, said })
}

fn record(journal: &Journal, pod: usize, said: Option<Finding>) {
    journal.handle.record(JournalUpdate::CarriedOut(uid(pod), carried(said)));
}

#[test]
fn what_was_carried_out_is_there_after_a_restart_of_the_agent_and_not_after_a_boot() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::start(directory.path());
    assert!(journal.opened().carried.is_empty());
    (1..4).for_each(|pod| record(&journal, pod, None));
    journal.wait_until_flushed();
    record(&journal, 2, Some(Finding::StillRuns));
    journal.handle.record(JournalUpdate::Forget(uid(3)));
    assert!(journal.handle.close());
    let snapshot = Journal::start(directory.path()).opened();
    let expected = [(uid(1), carried(None)), (uid(2), carried(Some(Finding::StillRuns)))];
    assert_eq!(snapshot.carried, expected.into());
    let snapshot = Journal::start_in_boot(directory.path(), "the next one").opened();
    assert!(snapshot.existed && snapshot.carried.is_empty());
}
