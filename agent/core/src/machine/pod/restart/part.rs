//! One container that a grant names: which process it begins with, what that does with the stop signal, its end, and what runs after it.

use crate::kernel::guard::{GuardReading, Handling};
use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::Action;
use crate::machine::pod::leaves::{Instanced, Leaves, Successor};
use crate::machine::reload::process::{Process, Taken, YOUNG};
use crate::model::granted::Stopping;
use crate::model::names::{ContainerId, Name};
use crate::model::pod::Pod;
use crate::model::restart::Finding;
use crate::model::shown::quoted;
use crate::model::signal::Signal;
use crate::model::time::Time;

/// A container of a grant.
#[derive(Clone, Debug)]
pub(super) struct Part {
    of: Stopping,
    /// Whether it has ended: of itself before it was told, or then.
    ended: bool,
    process: Option<Process>,
    /// Whether the kernel would drop what the process has no handler for.
    is_first: bool,
    /// When the last reading of its masks was begun.
    read: Option<Time>,
    /// What runs in its place by now.
    next: Option<Successor>,
}

/// What can be done about it.
pub(super) enum Standing {
    /// There is nothing to do.
    Gone,
    /// It can be told by this signal to this process.
    Ready(ProcessIdentity, Signal),
    /// That isn't known yet. What is said of it if it stays so.
    Waits(Finding, String),
    /// It doesn't handle its signal.
    Refused(String),
}

impl Part {
    /// Nothing is known of it yet.
    pub(super) fn new(of: &Stopping) -> Self {
        Self { of: of.clone(), ended: false, process: None, is_first: false, read: None, next: None }
    }

    /// Its name.
    pub(super) const fn name(&self) -> &Name {
        &self.of.name
    }

    /// Its first process.
    pub(super) fn process(&self) -> Option<&ProcessIdentity> {
        self.process.as_ref().map(Process::identity)
    }

    /// Whether it has ended.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// What runs in its place.
    pub(super) const fn next(&self) -> Option<&Successor> {
        self.next.as_ref()
    }

    /// Its process isn't of interest any more, and is to be let go.
    pub(super) fn release(&mut self) -> Option<ProcessIdentity> {
        self.read = None;
        self.process.take().map(|process| process.identity().clone())
    }

    /// Its process has ended, or isn't the one: the container ends with it.
    pub(super) fn lose(&mut self) {
        (self.process, self.read) = (None, None);
        self.ended = true;
    }

    /// Its process is held.
    pub(super) fn hold(&mut self) {
        if let Some(process) = &mut self.process {
            process.hold();
        }
    }

    /// Whether a container is the one that is meant.
    pub(super) fn is(&self, container: &ContainerId) -> bool {
        self.of.instance.is(container)
    }

    /// Looks for its first process. What is to be let go comes back.
    pub(super) fn find(
        &mut self,
        pod: &Pod,
        leaves: &Leaves<'_>,
        ctx: &mut Context<'_>,
    ) -> Option<ProcessIdentity> {
        match leaves.instance(&self.of.name, &self.of.instance) {
            Instanced::Running(process, face) => {
                self.ended = false;
                if self.process() == Some(&process) {
                    return None;
                }
                let before = self.release();
                self.is_first = face.is_first;
                self.process = Some(Process::new(process.clone(), face));
                ctx.act(Action::Hold(process));
                before
            }
            Instanced::Unclear => {
                self.ended = false;
                self.release()
            }
            Instanced::Gone => {
                // Where the status names it, it may be hidden from the agent, unless another one has taken its place.
                let is_named = pod.status.get(&self.of.name).is_some_and(|id| self.of.instance.is(id));
                let is_replaced = leaves.successor(&self.of.name, &self.of.instance).is_some();
                self.ended = !is_named || is_replaced;
                self.release()
            }
        }
    }

    /// Looks whether it has ended. One of which an agent before has seen the process is held, so that its end is heard of.
    pub(super) fn see_end(&mut self, leaves: &Leaves<'_>, ctx: &mut Context<'_>) {
        match leaves.instance(&self.of.name, &self.of.instance) {
            Instanced::Gone => self.lose(),
            Instanced::Running(process, face) if self.process.is_none() && !self.ended => {
                self.process = Some(Process::new(process.clone(), face));
                ctx.act(Action::Hold(process));
            }
            Instanced::Running(..) | Instanced::Unclear => {}
        }
    }

    /// Looks for what runs in its place.
    pub(super) fn see_start(&mut self, pod: &Pod, leaves: &Leaves<'_>) {
        let is_of_pod = pod.spec.containers.iter().any(|container| container.name == self.of.name);
        self.next = leaves.successor(&self.of.name, &self.of.instance).filter(|_| is_of_pod);
    }

    /// Whether its masks can be read, or needn't be.
    pub(super) fn is_readable(&self) -> bool {
        self.ended || self.process.as_ref().is_some_and(Process::is_held)
    }

    /// Has its masks read.
    pub(super) fn ask(&mut self, ctx: &mut Context<'_>) {
        if let (Some(process), Ok(signal)) = (&mut self.process, self.of.stop) {
            process.ask(ctx.now);
            ctx.act(Action::ReadGuard(process.identity().clone(), signal));
        }
    }

    /// Its masks were read.
    pub(super) fn guarded(&mut self, signal: Signal, reading: &GuardReading, ctx: &mut Context<'_>) {
        let Some(process) = self.process.as_mut().filter(|_| self.of.stop == Ok(signal)) else { return };
        match process.guarded(reading, signal, None, ctx.now) {
            Taken::InDoubt => ctx.act(Action::ReadClosely(process.identity().clone(), signal)),
            Taken::Known | Taken::Proven => self.read = Some(reading.begun),
        }
    }

    /// What can be done about it, by a reading that was asked for then.
    pub(super) fn standing(&self, asked: Option<Time>, now: Time) -> Standing {
        let name = &self.of.name;
        let waits = |finding, why: &str| Standing::Waits(finding, format!("container {name}: {why}"));
        if self.ended {
            return Standing::Gone;
        }
        let not_found = "no process was found that it begins with";
        let (Some(process), Ok(signal)) = (&self.process, self.of.stop) else {
            return waits(Finding::NotFound, not_found);
        };
        let is_fresh = self.read.zip(asked).is_some_and(|(read, asked)| read >= asked);
        let handling = process.last_handling().filter(|_| is_fresh && process.is_held());
        let who = || {
            let face = process.face();
            format!("{} (PID {})", quoted(&face.comm), process.identity().pid)
        };
        let refused = |why: &str| {
            let why = format!("container {name}: its first process, {}, {why} {signal}", who());
            let is_young = now < process.grown(YOUNG);
            if is_young { Standing::Waits(Finding::Unhandled, why) } else { Standing::Refused(why) }
        };
        match handling {
            None => waits(Finding::NotFound, "the signal masks of its first process couldn't be read"),
            Some(Handling::Handled) => Standing::Ready(process.identity().clone(), signal),
            // It ends by its default action.
            Some(Handling::Default) if !self.is_first && !signal.is_harmless() => {
                Standing::Ready(process.identity().clone(), signal)
            }
            Some(Handling::Default) => refused("has no handler for"),
            Some(Handling::Ignored) => refused("ignores"),
            Some(Handling::Harmful(_)) => refused("does something else at"),
            Some(Handling::Blocked | Handling::Spawning) => {
                waits(Finding::Unhandled, &format!("its first process, {}, blocks {signal}", who()))
            }
            Some(Handling::Fleeting) => waits(
                Finding::Unhandled,
                &format!("its first process, {}, handles {signal} now and then only", who()),
            ),
            Some(Handling::Unknown) => waits(
                Finding::Unhandled,
                &format!("whether its first process, {}, handles {signal} isn't known", who()),
            ),
            Some(Handling::Starting) => waits(Finding::NotFound, "it is still being started"),
        }
    }
}
