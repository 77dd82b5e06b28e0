//! The show itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use standin::{AgentOptions, AgentProcess, Interrupt, Node, NodeOptions, sibling_binary};

use crate::actor::{self, Actor, Seen, wait_for};
use crate::agent_log::AgentLog;
use crate::report;

/// How long a delivery may take to be in the agent's log.
const LOGGED: Duration = Duration::from_secs(5);
/// A second signal for a change would come soon after the first.
const AFTERMATH: Duration = Duration::from_millis(300);

/// Sets the stage, makes the changes, checks them, and takes everything away.
pub(crate) fn run(changes: u32, interval: Duration, stop: &Interrupt) -> Result<()> {
    let binary = sibling_binary("reloadlet")?;
    let node = Node::start(NodeOptions::default()).context("can't set up a stand-in node")?;
    let actors = actor::start(&node)?;
    let options = AgentOptions::for_node(&node);
    node.write_pods_file(&options.pods_file)?;
    let log = AgentLog::new(&options.log);
    stop.check()?;

    let began = Instant::now();
    let mut agent = AgentProcess::start(&binary, options)?;
    agent.wait_ready(Duration::from_secs(10))?;
    report::say(&format!(
        "A stand-in node in {} with {} pods; reloadlet (pid {}) is ready after {}.",
        node.dir().display(),
        actors.len(),
        agent.pid(),
        report::micros(began.elapsed())
    ))?;
    if actors.len() < 4 {
        report::say("nginx isn't installed, so only the bundled workload is shown.")?;
    }
    for actor in &actors {
        actor.wait_ready(stop)?;
    }
    report::say(&format!(
        "{changes} changes follow. Times are from the kubelet's last step until reloadlet knows that its signal\n\
         is sent, and until the process's handler runs.\n"
    ))?;
    let mut show = Show { agent, actors, log, sent: Vec::new(), handled: Vec::new(), served: Vec::new() };
    report::head()?;
    for number in 1..=changes {
        let next = Instant::now() + interval;
        show.change(number, stop)?;
        if number < changes {
            stop.sleep_until(next)?;
        }
    }
    stop.sleep_until(Instant::now() + AFTERMATH)?;
    show.check(changes)?;
    let metrics = show.agent.get("/metrics")?.body;
    show.summary(changes, &metrics)?;
    let stopped = show.agent.terminate()?;
    ensure!(stopped.status.success(), "reloadlet ended with {}", stopped.status);
    drop(show);
    node.shutdown().context("something of the node is left")
}

struct Show {
    agent: AgentProcess,
    actors: Vec<Actor>,
    log: AgentLog,
    sent: Vec<Duration>,
    handled: Vec<Duration>,
    served: Vec<Duration>,
}

impl Show {
    fn change(&mut self, number: u32, stop: &Interrupt) -> Result<()> {
        let index = usize::try_from(number - 1)? % self.actors.len();
        let actor = &mut self.actors[index];
        let change = actor.change(number)?;
        let pod = actor.pod.name().to_owned();
        let what = format!("a log line of reloadlet for change {number} in pod {pod}");
        let (log, agent) = (&mut self.log, &mut self.agent);
        let reload = wait_for(stop, LOGGED, &what, || {
            if let Some(status) = agent.try_wait()? {
                bail!("reloadlet ended before change {number} was delivered ({status})");
            }
            log.read()?;
            Ok(log.of(&pod, &actor.volume, &change.generation).first().map(|reload| (*reload).clone()))
        })?;
        ensure!(reload.outcome == "delivered", "change {number} in pod {pod} ended as {}", reload.outcome);
        let seen = actor.wait_seen(&change, stop)?;
        self.sent.push(Duration::from_micros(reload.since_settle_us));
        match seen {
            Seen::Handled(after) => self.handled.push(after),
            Seen::Served(after) => self.served.push(after),
        }
        let process = Actor::process_name(&reload.pids);
        report::line(number, &change.generation, &reload, &process, &seen)
    }

    /// Each change was delivered once, by the word of the agent and of the processes.
    fn check(&mut self, changes: u32) -> Result<()> {
        self.log.read()?;
        let told = self.log.reloads.len();
        ensure!(told == usize::try_from(changes)?, "reloadlet tells of {told} reloads for {changes} changes");
        self.actors.iter().try_for_each(Actor::check)
    }

    fn summary(&mut self, changes: u32, metrics: &str) -> Result<()> {
        report::say(&format!("\n{changes} changes, each delivered exactly once."))?;
        report::say(&format!(
            "kubelet's last step to the signal:     {}",
            report::quantiles(&mut self.sent)
        ))?;
        report::say(&format!(
            "kubelet's last step to the handler:    {}",
            report::quantiles(&mut self.handled)
        ))?;
        if !self.served.is_empty() {
            report::say(&format!(
                "change to nginx serving the new text:  {}",
                report::quantiles(&mut self.served)
            ))?;
        }
        report::say("\nWhat reloadlet exports (values that aren't zero, without buckets):")?;
        report::metrics(metrics)
    }
}
