//! From the API server's answer to the swap, and to the application's handler: the kubelet by itself, and nudged.

use std::thread;
use std::time::{Duration, Instant};

use super::client::{Change, Client, Watch};
use super::fleet::Member;
use super::handlers::agent_says;
use super::pairs::Pairs;
use super::reader::{Priority, Publication, Reader, become_first};
use super::samples::{Samples, micros_between};
use super::table::Table;
use crate::space::{LIMIT, holds_within};

/// How often each pod's ConfigMap is changed.
const ROUNDS: usize = 3;

/// By how much the stage times that the agent logs may differ from those taken outside, in milliseconds.
const APART_MILLIS: f64 = 20.0;

/// What a nudged kubelet may take, in seconds.
const ACCELERATED_SECONDS: f64 = 1.0;

/// By when the agent has logged a delivery. It does when it has nothing else to do.
const LOGGED: Duration = Duration::from_secs(20);

/// Whether the kubelet is nudged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// It looks at each pod once in 60 to 90 s.
    Default,
    /// The pods ask for acceleration, and the agent may.
    Accelerated,
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Accelerated => "accelerated",
        }
    }

    /// How long each pod's changes are apart. Nothing waits for a swap, so where the kubelet is in its minute says nothing
    /// of when a change comes, nor the other way round. By then it has looked; nudged, it would wait for a second before
    /// it looks at the same pod again.
    const fn period(self) -> Duration {
        match self {
            Self::Default => Duration::from_secs(100),
            Self::Accelerated => Duration::from_secs(11),
        }
    }
}

/// One change of one pod, as it was seen from outside, in nanoseconds since boot.
struct Seen {
    pod: String,
    generation: String,
    answered: u64,
    received: u64,
    swapped: u64,
    settled: u64,
    handled: u64,
}

/// Changes the pods one after the other, some times, and adds what it took.
pub fn measure(pairs: &Pairs, way: Way, table: &mut Table) {
    let name = way.as_str();
    let client = Client::start(pairs.namespace());
    let watch = client.watch();
    let start = |priority| Reader::start(priority, pairs.members().iter().map(Member::volume));
    let (reader, bare) = (start(Priority::First), start(Priority::Usual));
    let changes = thread::scope(|scope| scope.spawn(|| change_all(pairs, way, &client)).join().unwrap());
    let (published, late) = (reader.stop(), bare.stop());

    let (mut seen, mut lost, mut repeated) = (Vec::new(), 0, 0);
    for ((member, changes), published) in pairs.members().iter().zip(&changes).zip(&published) {
        let found = join(member, changes, published, &watch);
        lost += found.lost;
        repeated += found.repeated;
        seen.extend(found.seen);
    }
    if !seen.is_empty() {
        spread(way, &seen, table);
        let late = published.iter().flatten().zip(late.iter().flatten());
        let late = late.map(|(first, usual)| micros_between(first.settled, usual.settled) / 1e3);
        // What any thread of the usual priority, such as the agent's, waits for a processor now and then.
        table.spread(&format!("{name}: settle to a bare reader, ms"), Samples::new(late));
    }
    table.limited_count(&format!("{name}: changes that the pod wasn't told of"), lost, 0);
    table.limited_count(&format!("{name}: changes that it was told of more than once"), repeated, 0);
    compare(pairs, way, &seen, table);
}

/// From the API server's answer on.
fn spread(way: Way, seen: &[Seen], table: &mut Table) {
    let since_answer = |until: fn(&Seen) -> u64| {
        Samples::new(seen.iter().map(|seen| micros_between(seen.answered, until(seen)).max(0.0) / 1e6))
    };
    for (until, samples) in [
        ("the swap", since_answer(|seen| seen.swapped)),
        ("the application's handler", since_answer(|seen| seen.handled)),
    ] {
        let what = format!("{}: answer to {until}, s", way.as_str());
        match way {
            Way::Default => table.spread(&what, samples),
            Way::Accelerated => table.limited_spread(&what, samples, ACCELERATED_SECONDS),
        }
    }
}

/// Gives the changes of each pod back. Waits for each pod before its next change and at the end, but not forever.
fn change_all(pairs: &Pairs, way: Way, client: &Client) -> Vec<Vec<Change>> {
    become_first();
    let members = pairs.members();
    let before: Vec<_> = members.iter().map(Member::told).collect();
    let gap = way.period() / u32::try_from(members.len()).unwrap();
    let mut due = Instant::now();
    let mut changed = vec![due; members.len()];
    let mut changes = vec![Vec::new(); members.len()];
    for round in 0..=ROUNDS {
        for (index, member) in members.iter().enumerate() {
            let left = LIMIT.saturating_sub(changed[index].elapsed());
            holds_within(left, || member.told() >= before[index] + round);
            if round < ROUNDS {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due += gap;
                changes[index].push(client.change(&member.name, &format!("{} {round}", way.as_str())));
                changed[index] = Instant::now();
            }
        }
    }
    changes
}

#[derive(Default)]
struct Found {
    seen: Vec<Seen>,
    lost: usize,
    repeated: usize,
}

/// Each change with the swap and the signal that came before the next change.
fn join(member: &Member, changes: &[Change], published: &[Publication], watch: &Watch) -> Found {
    let (stamps, received) = (member.stamps(), watch.received(&member.name));
    assert_eq!(received.len(), changes.len(), "{}: changes that were watched", member.name);
    let mut found = Found::default();
    for (index, (change, received)) in changes.iter().zip(received).enumerate() {
        let end = changes.get(index + 1).map_or(u64::MAX, |next| next.sent);
        let is_own = |at: u64| (change.sent..end).contains(&at);
        let swaps: Vec<_> =
            published.iter().enumerate().filter(|(_, published)| is_own(published.swapped)).collect();
        let signals: Vec<_> = stamps.iter().filter(|at| is_own(**at)).collect();
        match (&swaps[..], &signals[..]) {
            ([(place, publication)], [handled]) => found.seen.push(Seen {
                pod: member.name.clone(),
                generation: published
                    .get(place + 1)
                    .map_or_else(|| member.generation(), |next| next.before.clone()),
                answered: change.answered,
                received,
                swapped: publication.swapped,
                settled: publication.settled,
                handled: **handled,
            }),
            ([], _) | (_, []) => found.lost += 1,
            _ => found.repeated += 1,
        }
    }
    found
}

/// Holds what the agent says against what was seen from outside.
fn compare(pairs: &Pairs, way: Way, outside: &[Seen], table: &mut Table) {
    let name = way.as_str();
    let key = |seen: &Seen| (seen.pod.clone(), format!("config={}", seen.generation));
    let mut said = agent_says(pairs.namespace());
    holds_within(LOGGED, || {
        said = agent_says(pairs.namespace());
        outside.iter().all(|seen| said.contains_key(&key(seen)))
    });
    let lines: Vec<_> = outside.iter().filter_map(|seen| Some((seen, said.get(&key(seen))?))).collect();
    table.limited_count(
        &format!("{name}: deliveries that aren't in the log"),
        outside.len() - lines.len(),
        0,
    );
    if lines.is_empty() {
        return;
    }
    for (field, stage) in [
        ("publish_us", (|seen| (seen.received, seen.swapped)) as fn(&Seen) -> (u64, u64)),
        ("settle_us", |seen| (seen.swapped, seen.settled)),
        ("since_settle_us", |seen| (seen.settled, seen.handled)),
        ("propagation_us", |seen| (seen.received, seen.handled)),
    ] {
        let apart = lines.iter().map(|(seen, line)| {
            let said = line[field].as_f64().unwrap_or_else(|| panic!("{field} in {line}"));
            let (from, until) = stage(seen);
            (said - micros_between(from, until).max(0.0)).abs() / 1e3
        });
        let what = format!("{name}: {field} in the log, apart from outside, ms");
        table.limited_each(&what, Samples::new(apart), APART_MILLIS);
    }
}
