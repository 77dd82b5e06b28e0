//! The controller's status as a table: the replica and what it lacks, where rolls are held, then one line for each workload.

use std::time::Duration;

use reloadlet_core::machine::status::Age;
use reloadlet_core::model::closed::Word;
use reloadlet_core::model::shown::{plain, unquoted};

use super::super::watches::WatchStatus;
use super::{Document, HoldStatus, ReplicaStatus, State, WorkloadStatus};

const HEAD: [&str; 6] = ["NAMESPACE", "WORKLOAD", "STATE", "FOR", "OBJECTS", "WHAT ENDS IT"];

/// How many objects a line names.
const NAMED: usize = 3;

/// The replica's lines and the table, with a line's end after each line. Nothing of it is obeyed by a terminal, whoever has written it.
pub(in crate::status) fn table(document: &Document) -> String {
    let replica = &document.controller;
    let mut text: String = replica_lines(replica).map(|line| format!("CONTROLLER  {line}\n")).collect();
    text.extend(document.holds.iter().map(|hold| format!("HOLD        {}\n", hold_line(hold))));
    if !replica.leads {
        return text;
    }
    text.push('\n');
    if document.workloads.is_empty() {
        text.push_str("No workload is rolled, and none waits for a roll.\n");
        return text;
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(document.workloads.iter().map(row));
    super::super::columns::write(&mut text, &rows);
    if document.more > 0 {
        text.push_str(&format!("and {} more\n", document.more));
    }
    text
}

/// Who it is and what it does, and what it lacks.
fn replica_lines(replica: &ReplicaStatus) -> impl Iterator<Item = String> {
    let name = plain(&replica.name);
    let watches: Vec<&str> = replica.watches.iter().map(WatchStatus::written).collect();
    let first = match (replica.leads, &replica.leader) {
        (true, _) if watches.is_empty() => format!("{name} leads"),
        (true, _) => format!("{name} leads, and watches {}", plain(&watches.join(", "))),
        (false, Some(leader)) => {
            format!("{name} stands by: {} leads, and knows of the rolls", plain(leader))
        }
        (false, None) => format!("{name} stands by, and it isn't known who leads"),
    };
    std::iter::once(first).chain(replica.lacks.iter().map(|lack| plain(&lack.sentence)))
}

fn hold_line(hold: &HoldStatus) -> String {
    let place = match &hold.namespace {
        None => "all namespaces".to_owned(),
        Some(namespace) => format!("namespace {}", plain(namespace)),
    };
    match &hold.reason {
        None => place,
        Some(reason) => format!("{place}: {}", plain(reason)),
    }
}

fn row(workload: &WorkloadStatus) -> [String; HEAD.len()] {
    let kind = match &workload.kind {
        Word::Known(kind) => kind.written(),
        Word::Other(word) => word,
    };
    let waits = workload.wait.as_ref().map(|wait| format!("waits ({wait})"));
    let state = match (&workload.state, waits) {
        (Word::Known(State::Waiting), Some(waits)) => waits,
        (state, Some(waits)) => format!("{state}, {waits}"),
        (state, None) => state.to_string(),
    };
    let age = workload.roll.as_ref().map(|roll| roll.seconds).or(workload.wait_seconds);
    [
        plain(&workload.namespace),
        plain(&format!("{kind} {}", workload.name)),
        plain(&state),
        age.map_or_else(|| "-".to_owned(), |Age(age)| seconds(age)),
        objects(workload),
        plain(&workload.sentence),
    ]
}

fn objects(workload: &WorkloadStatus) -> String {
    let named = workload.objects.iter().take(NAMED);
    let named = named.map(|object| {
        let kind = match &object.kind {
            Word::Known(kind) => kind.written().to_owned(),
            Word::Other(word) => plain(word),
        };
        format!("{kind} {}", unquoted(&object.name))
    });
    let named: Vec<String> = named.collect();
    let more = (workload.objects.len() - named.len()).saturating_add(workload.more_objects);
    match (named.is_empty(), more) {
        (true, 0) => "-".to_owned(),
        (_, 0) => named.join(", "),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    }
}

fn seconds(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
