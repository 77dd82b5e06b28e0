//! The work of the replica that holds the Lease.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use reloadlet_core::Time;
use reloadlet_core::policy::rollout::Clock;
use reloadlet_core::rollouts::controller::Controller;
use reloadlet_core::rollouts::event::{Action, Event};
use reloadlet_core::rollouts::settings::{Calendar, Looks, Options};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::asker::Asker;
use super::leader::Leadership;
use super::requests::Executor;
use super::state::{NoKey, State};
use super::watches::{Scope, Told, Watches};
use crate::api::backoff::{Backoff, chances};
use crate::cli::ControllerConfig;
use crate::clock;
use crate::logs::Causes;

/// So much that was heard is taken in before anything is done.
const AT_ONCE: usize = 256;
/// The longest sleep: nothing depends on it.
const LONG: Duration = Duration::from_secs(3600);

/// The options of the core that the flags ask for.
pub(super) fn options(config: &ControllerConfig) -> Options {
    Options {
        looks: Looks { annotations: config.reloader_annotations, secrets: config.secrets },
        most: config.max_rollouts,
        most_each: config.max_rollouts_per_namespace,
        debounce: config.debounce,
        interval: config.min_interval,
        limit: config.deadline,
    }
}

/// What a zone's clocks show, by the database of time zones that is part of the program.
fn clock_of(zone: &str, at: Time) -> Option<Clock> {
    let zone = TimeZone::get(zone).ok()?;
    let elapsed = jiff::SignedDuration::try_from(at.elapsed_since_boot()).ok()?;
    let now = Timestamp::UNIX_EPOCH.checked_add(elapsed).ok()?.to_zoned(zone);
    Some(Clock {
        day: u8::try_from(now.weekday().to_monday_zero_offset()).ok()?,
        minute: u16::try_from(now.hour()).ok()? * 60 + u16::try_from(now.minute()).ok()?,
    })
}

/// A clock of the time since the epoch that never goes back.
#[derive(Default)]
struct Epoch(Time);

impl Epoch {
    fn now(&mut self) -> Time {
        self.0 = self.0.max(Time::since_boot(clock::wall()));
        self.0
    }
}

/// Works whenever the Lease is this replica's.
pub(super) async fn take_turns(
    config: &ControllerConfig,
    asker: &Asker,
    leadership: &mut watch::Receiver<Leadership>,
) -> Result<()> {
    loop {
        if lasts(leadership).is_some() {
            tracing::info!("this replica leads");
            lead(config, asker, leadership).await?;
            tracing::info!("this replica leads no more");
        }
        if leadership.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Works until the Lease is lost. What is under way then is given up.
async fn lead(
    config: &ControllerConfig,
    asker: &Asker,
    leadership: &mut watch::Receiver<Leadership>,
) -> Result<()> {
    let state = State::new(asker.clone(), config.namespace.clone());
    take_key(&state, leadership).await?;
    let scope = Scope {
        own: &config.namespace,
        namespaces: &config.namespaces,
        secrets: config.secrets,
        annotations: config.reloader_annotations,
    };
    let executor = Executor { asker: asker.clone(), state, annotations: config.reloader_annotations };
    let mut work = Work {
        machine: Controller::new(options(config), Calendar::new(clock_of)),
        executor,
        tasks: JoinSet::new(),
        epoch: Epoch::default(),
        unlisted: 0,
    };
    let mut watches = Watches::start(asker.cluster(), &scope);
    work.unlisted = watches.count;
    work.act();
    while let Some(lasts) = lasts(leadership) {
        let timer = work.timer();
        tokio::select! {
            told = watches.told.recv() => {
                let Some(told) = told else { break };
                work.take(told);
                for _ in 0..AT_ONCE {
                    let Ok(told) = watches.told.try_recv() else { break };
                    work.take(told);
                }
            }
            Some(done) = work.tasks.join_next() => {
                if let Some(event) = done.context("a task of the controller ended unexpectedly")? {
                    work.handle(event);
                }
            }
            () = tokio::time::sleep(timer) => work.time_out(),
            () = tokio::time::sleep(lasts) => {}
            changed = leadership.changed() => if changed.is_err() { break },
        }
        work.act();
    }
    Ok(())
}

/// For how long the Lease is this replica's.
fn lasts(leadership: &mut watch::Receiver<Leadership>) -> Option<Duration> {
    leadership.borrow_and_update().lasts(clock::now())
}

/// Has the key taken. Where it can't be had, it is asked for again.
async fn take_key(state: &State, leadership: &mut watch::Receiver<Leadership>) -> Result<()> {
    let mut backoff = Backoff::new();
    while lasts(leadership).is_some() {
        match state.take_key().await {
            Ok(()) => break,
            Err(error @ NoKey::Another) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "the controller has no key for what it remembers: it rolls nothing");
                tokio::time::sleep(backoff.failed(None, chances())).await;
            }
        }
    }
    Ok(())
}

/// The controller's core, with what it has under way.
struct Work {
    machine: Controller,
    executor: Executor,
    tasks: JoinSet<Option<Event>>,
    epoch: Epoch,
    /// How many watches haven't told all that there is.
    unlisted: usize,
}

impl Work {
    fn take(&mut self, told: Told) {
        match told {
            Told::Workload(who, workload) => self.handle(Event::Workload(who, workload)),
            Told::Object(object, seen) => self.handle(Event::Object(object, seen)),
            Told::Holds(holds) => {
                let namespaces = holds.namespaces.into_keys().collect();
                self.handle(Event::Holds { all: holds.all.is_some(), namespaces });
            }
            // Later it says so again after each listing.
            Told::Listed if self.unlisted > 0 => {
                self.unlisted -= 1;
                if self.unlisted == 0 {
                    self.handle(Event::Synced);
                }
            }
            Told::Listed => {}
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.epoch.now();
        self.machine.handle(event, now);
    }

    fn time_out(&mut self) {
        let now = self.epoch.now();
        self.machine.handle_timeout(now);
    }

    /// How long it is until time has to be told.
    fn timer(&mut self) -> Duration {
        let now = self.epoch.now();
        self.machine.poll_timeout().map_or(LONG, |at| at.since(now).min(LONG))
    }

    /// Has done what is to be done.
    fn act(&mut self) {
        let now = self.epoch.now();
        while let Some(action) = self.machine.poll_action(now) {
            if let Action::Report(who, report) = &action {
                tracing::info!(workload = %who, ?report, "reported");
                continue;
            }
            tracing::debug!(?action, "to be done");
            self.tasks.spawn(self.executor.clone().carry_out(action));
        }
    }
}
