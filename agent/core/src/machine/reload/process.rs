//! One of the processes to tell: what it does with the signal, as far as that is known, and when it is looked at again.

use std::time::Duration;

use crate::kernel::guard::{GuardReading, Handling};
use crate::kernel::process::ProcessIdentity;
use crate::kernel::program::{Harm, Kind, Nature, may_harm, stands_before};
use crate::machine::reload::blocking::Blocking;
use crate::machine::reload::catching::Catching;
use crate::machine::reload::renewal::Renewal;
use crate::model::names::Name;
use crate::model::signal::Signal;
use crate::model::time::Time;

/// A process younger than this waits, whatever a status says: without probes a container is ready as soon as it runs. Programs
/// install their handlers after they start, and their container may still be being set up.
pub(crate) const YOUNG: Duration = Duration::from_secs(3);

/// After a delivery a process is looked at again and again, so that it is known when it has executed itself anew: after so long,
/// and then after twice as long each time.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// The same when it is no longer young, until a program is seen that catches the signal: entry points become programs. The next look is
/// twice as long after the first one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The last of these pauses.
const LAST_LOOK: Duration = Duration::from_secs(8);

/// Masks that were read longer ago than this decide nothing, and so much more for each process that is told together with
/// this one: as long as it takes to read those of all of them.
const STALE: Duration = Duration::from_millis(50);
const STALE_EACH: Duration = Duration::from_millis(4);

/// What a process looked like when it was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Face {
    /// Its name.
    pub(crate) comm: String,
    /// Whether it is the first process of its PID namespace: the kernel drops a signal to it that it has no handler for.
    pub(crate) is_first: bool,
    /// The name of the wrapper whose child it is.
    pub(crate) wrapper: Option<Name>,
    /// The names of the other processes in the container, as a sentence lists them, where it only stands before the one that is meant.
    pub(crate) others: Option<Name>,
}

/// One of the processes to tell.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    identity: ProcessIdentity,
    face: Face,
    held: bool,
    /// Whether it was seen to catch the signal. If it only blocks it later, it executes itself anew (HAProxy): that
    /// keeps the mask and drops the handlers, and what is sent meanwhile is lost (measured with HAProxy 2.6).
    catches: bool,
    /// When the masks were asked for that didn't come yet.
    asked: Option<Time>,
    guard: Option<Guard>,
    blocking: Blocking,
    catching: Catching,
    renewal: Renewal,
    /// What runs the program, under the name that it had then.
    nature: Option<(String, Nature)>,
    /// When it is looked at again though nothing waits for it.
    look: Option<Look>,
}

/// A look at a process for which nothing waits.
#[derive(Clone, Copy, Debug)]
struct Look {
    due: Time,
    /// Half of the pause after it.
    pause: Duration,
    /// Whether it was told; else it was chosen.
    is_told: bool,
}

/// A reading of the masks.
#[derive(Clone, Debug)]
struct Guard {
    /// What happened before that is in it.
    begun: Time,
    /// What happened after that isn't.
    made: Time,
    handling: Handling,
    comm: String,
}

/// What is to be done after a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing.
    Known,
    /// It leaves something open that decides: the process is to be looked at closely.
    InDoubt,
    /// It proves that the signal is taken though nothing catches it, or that it goes on to be caught.
    Proven,
}

impl Process {
    /// A process of which nothing is known but what it looks like.
    pub(crate) fn new(identity: ProcessIdentity, face: Face) -> Self {
        let look = Some(Look { due: identity.started + YOUNG, pause: FIRST_PAUSE, is_told: false });
        let renewal = if face.comm.is_empty() { Renewal::default() } else { Renewal::of(&face.comm) };
        Self {
            identity,
            face,
            held: false,
            catches: false,
            asked: None,
            guard: None,
            blocking: Blocking::default(),
            catching: Catching::default(),
            renewal,
            nature: None,
            look,
        }
    }

    /// The same process, chosen anew.
    pub(super) fn chosen_anew(&self, face: Face) -> Self {
        Self { face, ..self.clone() }
    }

    /// The same process, which an agent may have told that has ended by then: what followed wasn't seen.
    pub(super) fn unseen(mut self, since: Option<Time>) -> Self {
        if let Some(since) = since.filter(|since| self.identity.started < *since) {
            self.renewal.begin_unseen(since);
        }
        self
    }

    /// No agent has told it shortly before its end.
    pub(super) const fn end_unseen(&mut self) {
        self.renewal.end_unseen();
    }

    /// The same process, let go of.
    pub(super) fn released(self) -> Self {
        Self { held: false, asked: None, guard: None, ..self }
    }

    /// The same process, of which it isn't known what it does with another signal.
    pub(super) fn for_another_signal(self) -> Self {
        let (blocking, catching) = (Blocking::default(), Catching::default());
        Self { catches: false, blocking, catching, ..self }
    }

    /// Who it is.
    pub(crate) const fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// What it looked like when it was chosen.
    pub(crate) const fn face(&self) -> &Face {
        &self.face
    }

    /// Whether it is held.
    pub(crate) const fn is_held(&self) -> bool {
        self.held
    }

    /// It is held.
    pub(crate) const fn hold(&mut self) {
        self.held = true;
    }

    /// What it does with the signal, if that was read at that time or later, and not long ago: the loop may have stood still.
    /// `all` are the processes that are told together with it.
    pub(super) fn guard(&self, oldest: Time, all: usize, now: Time) -> Option<Handling> {
        let stale = STALE + STALE_EACH * u32::try_from(all).unwrap_or(u32::MAX);
        let is_fresh = |guard: &&Guard| guard.begun >= oldest && guard.made >= now - stale;
        self.guard.as_ref().filter(is_fresh).map(|guard| guard.handling)
    }

    /// What it does with the signal, whenever that was read.
    pub(crate) fn last_handling(&self) -> Option<Handling> {
        self.guard.as_ref().map(|guard| guard.handling)
    }

    /// Whether the kernel may drop this signal for it, as far as the masks tell.
    pub(super) fn may_drop(&self, signal: Signal) -> bool {
        match self.last_handling() {
            Some(Handling::Ignored) => true,
            Some(Handling::Default) => self.face.is_first || signal.is_harmless(),
            Some(
                Handling::Handled
                | Handling::Unknown
                | Handling::Fleeting
                | Handling::Blocked
                | Handling::Spawning
                | Handling::Harmful(_)
                | Handling::Starting,
            )
            | None => false,
        }
    }

    /// Its name when it was read last, or was chosen.
    pub(super) fn name(&self) -> &str {
        self.guard.as_ref().map_or(&self.face.comm, |guard| &guard.comm)
    }

    /// What the program is that runs in it by now, if that isn't what was chosen.
    pub(super) fn other_kind(&self) -> Option<Kind> {
        let guard = self.guard.as_ref().filter(|_| !self.face.comm.is_empty())?;
        let kind = Kind::of(&guard.comm);
        (kind != Kind::of(&self.face.comm)).then_some(kind)
    }

    /// Whether it has another name by now than when it was chosen: then it may not be the one any more.
    pub(super) fn is_renamed(&self) -> bool {
        let chosen = &self.face.comm;
        !chosen.is_empty() && self.guard.as_ref().is_some_and(|guard| guard.comm != *chosen)
    }

    /// Whether its masks were asked for at that time or later, and didn't come yet.
    pub(super) fn is_asked(&self, oldest: Time) -> bool {
        self.asked.is_some_and(|asked| asked >= oldest)
    }

    /// Its masks are asked for.
    pub(crate) const fn ask(&mut self, now: Time) {
        self.asked = Some(now);
    }

    /// When it is this old: one that has executed itself anew begins anew.
    pub(crate) fn grown(&self, age: Duration) -> Time {
        self.renewal.last().map_or(self.identity.started, |last| last.max(self.identity.started)) + age
    }

    /// When it was seen last to have executed itself anew.
    pub(super) fn renewed(&self) -> Option<Time> {
        self.renewal.last()
    }

    /// Takes in what was read of its masks.
    /// A change waits `since` then, if one does.
    pub(crate) fn guarded(
        &mut self,
        reading: &GuardReading,
        signal: Signal,
        since: Option<Time>,
        now: Time,
    ) -> Taken {
        self.asked = None;
        let is_close = reading.nature.is_some();
        // What was seen of a young one may still become another. With another signal nobody has looked.
        let is_grown = now >= self.grown(YOUNG);
        if let Some(nature) = reading.nature.filter(|_| is_grown && may_harm(signal)) {
            self.nature = Some((reading.comm.clone(), nature));
        }
        let known = self.nature.as_ref().filter(|(comm, _)| *comm == reading.comm).map(|(_, nature)| *nature);
        let nature = reading.nature.or(known);
        let may_harm = may_harm(signal) && reading.catches(signal);
        if !is_close && (self.renewal.is_in_doubt(reading) || (may_harm && nature.is_none())) {
            self.asked = Some(now);
            return Taken::InDoubt;
        }
        if !self.renewal.is_named(&reading.comm) {
            // What another program caught says nothing of this one.
            self.catches = false;
        }
        if self.renewal.take(reading, signal, since, now) {
            self.blocking.interrupt();
            self.catching.interrupt();
            self.nature = None;
            if may_harm && !is_close {
                self.asked = Some(now);
                return Taken::InDoubt;
            }
        }
        let (was_proven, was_believed) = (self.blocking.is_proven(), self.catching.is_believed());
        let handling =
            self.judge(reading.handling(signal), nature.and_then(|nature| nature.harm(signal)), now);
        self.catches |= reading.catches(signal);
        self.guard =
            Some(Guard { begun: reading.begun, made: reading.made, handling, comm: reading.comm.clone() });
        self.look.take_if(|look| {
            !look.is_told && is_grown && handling == Handling::Handled && !stands_before(&reading.comm)
        });
        let is_proven =
            (self.blocking.is_proven() && !was_proven) || (self.catching.is_believed() && !was_believed);
        if is_proven { Taken::Proven } else { Taken::Known }
    }

    /// What a reading comes to, with what is known from before.
    fn judge(&mut self, seen: Handling, harm: Option<Harm>, now: Time) -> Handling {
        if let (Handling::Handled, Some(harm)) = (seen, harm) {
            self.blocking.interrupt();
            self.catching.interrupt();
            return Handling::Harmful(harm);
        }
        match seen {
            Handling::Handled => {
                self.blocking.interrupt();
                if self.catching.caught(&self.identity, now) { Handling::Handled } else { Handling::Fleeting }
            }
            Handling::Blocked | Handling::Spawning => {
                self.catching.interrupt();
                self.judge_blocked(seen == Handling::Blocked, now)
            }
            Handling::Default if now >= self.grown(YOUNG) => {
                self.blocking.not_blocked(true);
                self.catching.not_caught();
                Handling::Default
            }
            Handling::Default | Handling::Ignored => {
                self.blocking.not_blocked(false);
                self.catching.interrupt();
                seen
            }
            Handling::Fleeting | Handling::Harmful(_) | Handling::Starting | Handling::Unknown => {
                self.blocking.interrupt();
                self.catching.interrupt();
                seen
            }
        }
    }

    /// The same of one that blocks the signal; `counts` says whether it doesn't just wait for a child.
    fn judge_blocked(&mut self, counts: bool, now: Time) -> Handling {
        if self.catches {
            self.blocking.interrupt();
            return Handling::Starting;
        }
        if counts {
            self.blocking.blocked(&self.identity, now);
        } else {
            self.blocking.put_off(&self.identity, now);
        }
        if self.blocking.is_proven() { Handling::Handled } else { Handling::Blocked }
    }

    /// It was sent the signal.
    pub(super) fn told(&mut self, now: Time) {
        self.renewal.told();
        // What was read before says nothing of what it does now.
        self.guard = None;
        self.look = Some(Look { due: now + FIRST_LOOK, pause: FIRST_LOOK, is_told: true });
    }

    /// When it is looked at again though nothing waits for it.
    pub(super) fn look_due(&self) -> Option<Time> {
        let look = self.look.map(|look| look.due);
        let is_free = self.held && self.asked.is_none();
        look.into_iter().chain(self.blocking.next()).chain(self.catching.next()).min().filter(|_| is_free)
    }

    /// It is looked at now, if that is due.
    pub(super) fn take_look(&mut self, now: Time) -> bool {
        if self.look_due().is_none_or(|due| now < due) {
            return false;
        }
        if let Some(look) = self.look.filter(|look| now >= look.due) {
            let pause = look.pause * 2;
            self.look = (pause <= LAST_LOOK).then_some(Look { due: now + pause, pause, ..look });
        }
        self.asked = Some(now);
        true
    }
}

#[cfg(test)]
mod tests;
