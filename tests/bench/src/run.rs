//! The order of the measurements.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use standin::{Interrupt, Node, NodeOptions};

use crate::busy::Busy;
use crate::contender::{self, Running};
use crate::fleet::{self, Kind, Target};
use crate::plan::Plan;
use crate::rounds::{Work, at_once, one_by_one};
use crate::shell;

/// A freshly started agent looks at every container once.
const CALM: Duration = Duration::from_secs(2);

/// Who was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Floor,
    Reloadlet,
    Shell,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) pods: usize,
    pub(crate) who: Who,
    /// Nothing where the contender only watched.
    pub(crate) work: Option<Work>,
    pub(crate) rss: u64,
    pub(crate) ready: Duration,
    pub(crate) idle_ticks: Option<u64>,
    /// Others kept the processors busy.
    pub(crate) busy: bool,
}

/// Measures everything; the rows have the table's order.
pub(crate) fn all(plan: &Plan, stop: &Interrupt) -> Result<Vec<Row>> {
    let begin = Instant::now();
    let mut rows = fleet_rows(plan, stop)?;
    if shell::is_installed() {
        rows.extend(shell_rows(plan, stop)?);
    }
    rows.sort_by_key(|row| (row.pods, row.busy));
    say(&format!("measured in {} s", begin.elapsed().as_secs()))?;
    Ok(rows)
}

/// A reader that has gone away is an error like others, so that everything is taken away first.
fn say(what: &str) -> Result<()> {
    writeln!(std::io::stderr(), "… {what}").context("nobody reads what it prints")
}

fn fleet_rows(plan: &Plan, stop: &Interrupt) -> Result<Vec<Row>> {
    let node = start_node(true)?;
    let mut bench = Bench { node, fleet: Vec::new(), runs: 0, rows: Vec::new(), busy: None };
    say("1 pod")?;
    bench.grow(1, stop)?;
    for _ in 0..plan.pairs {
        for who in [Who::Floor, Who::Reloadlet] {
            bench.measure(who, Duration::ZERO, stop, |running, fleet| {
                one_by_one(running, &mut fleet[0], plan.changes, stop).map(Some)
            })?;
        }
    }
    if Busy::is_possible() {
        say("1 pod on a busy node")?;
        bench.busy = Some(Busy::start()?);
        for _ in 0..plan.pairs {
            for who in [Who::Floor, Who::Reloadlet] {
                bench.measure(who, Duration::ZERO, stop, |running, fleet| {
                    one_by_one(running, &mut fleet[0], plan.changes, stop).map(Some)
                })?;
            }
        }
        bench.busy = None;
    } else {
        say("no busy node, without processor cgroups of version 1")?;
    }
    for (pods, rounds) in [(110, plan.rounds_110), (500, plan.rounds_500)] {
        say(&format!("{pods} pods"))?;
        bench.grow(pods, stop)?;
        for who in [Who::Floor, Who::Reloadlet] {
            let idle = if pods == 110 && who == Who::Reloadlet { plan.idle } else { Duration::ZERO };
            bench
                .measure(who, idle, stop, |running, fleet| at_once(running, fleet, rounds, stop).map(Some))?;
        }
    }
    if plan.most_pods > 0 {
        say(&format!("{} pods", plan.most_pods))?;
        bench.grow(plan.most_pods, stop)?;
        bench.measure(Who::Reloadlet, plan.idle, stop, |_, _| Ok(None))?;
    }
    bench.end()
}

fn shell_rows(plan: &Plan, stop: &Interrupt) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    // A node each: the loops of the other pods would be at work beside the one.
    for pods in [1, 110] {
        say(&format!("shell loops in {pods} pod{}", if pods == 1 { "" } else { "s" }))?;
        let node = start_node(false)?;
        let mut fleet = Vec::new();
        fleet::grow(&node, &mut fleet, pods, Kind::WithSidecar, stop)?;
        let running = shell::start(&fleet)?;
        stop.sleep(CALM)?;
        let work = match pods {
            1 => one_by_one(&running, &mut fleet[0], plan.changes, stop)?,
            _ => at_once(&running, &mut fleet, plan.rounds_shell, stop)?,
        };
        let (rss, ready) = (running.rss()?, running.ready());
        rows.push(Row { pods, who: Who::Shell, work: Some(work), rss, ready, idle_ticks: None, busy: false });
        drop(fleet);
        node.shutdown()?;
    }
    Ok(rows)
}

fn start_node(light: bool) -> Result<Node> {
    Node::start(NodeOptions { light, ..NodeOptions::default() }).context("can't set up a stand-in node")
}

/// A node that grows.
struct Bench {
    fleet: Vec<Target>,
    node: Node,
    runs: usize,
    rows: Vec<Row>,
    /// What keeps the node busy meanwhile.
    busy: Option<Busy>,
}

impl Bench {
    fn grow(&mut self, pods: usize, stop: &Interrupt) -> Result<()> {
        fleet::grow(&self.node, &mut self.fleet, pods, Kind::Plain, stop)
    }

    /// Starts a contender, lets it idle if that is wanted, gives it work, and ends it.
    fn measure(
        &mut self,
        who: Who,
        idle: Duration,
        stop: &Interrupt,
        work: impl FnOnce(&Running, &mut [Target]) -> Result<Option<Work>>,
    ) -> Result<()> {
        self.runs += 1;
        let running = match who {
            Who::Floor => contender::floor(&self.node, &self.fleet)?,
            Who::Reloadlet | Who::Shell => contender::agent(&self.node, self.runs)?,
        };
        if let Some((busy, pid)) = self.busy.as_ref().zip(running.pid()) {
            busy.take_in(pid)?;
        }
        stop.sleep(CALM)?;
        let idle_ticks = if idle.is_zero() { None } else { running.ticks_in(idle, stop)? };
        let work = work(&running, &mut self.fleet)?;
        let (pods, rss, ready) = (self.fleet.len(), running.rss()?, running.ready());
        let busy = self.busy.is_some();
        self.rows.push(Row { pods, who, work, rss, ready, idle_ticks, busy });
        running.stop()
    }

    fn end(self) -> Result<Vec<Row>> {
        drop(self.fleet);
        self.node.shutdown().context("something of the node is left")?;
        Ok(self.rows)
    }
}
