//! The means of a reload: a signal to processes. Which ones is for [`super::processes`]; here is what they need before it can go
//! out, and what becomes of it where nobody handles it. Another means has a file of its own beside this one, and the same
//! [`Step`]s.

use crate::kernel::guard::GuardReading;
use crate::kernel::process::ProcessIdentity;
use crate::kernel::program::Kind;
use crate::machine::context::Context;
use crate::machine::event::Action;
use crate::machine::reload::maturity::READINESS;
use crate::machine::reload::process::{Process, Taken};
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::progress::START_DOUBT;
use crate::machine::reload::refusal;
use crate::machine::reload::step::Step;
use crate::machine::reload::waiting::Waiting;
use crate::machine::reload::{Site, Target, Terms};
use crate::model::outcome::{Outcome, Verdict};
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};

/// What is to be done about one process.
enum Each {
    /// Its masks are asked for, or are on their way.
    Read {
        ask: bool,
    },
    /// Another program than was chosen runs in it.
    ChooseAnew,
    Send,
    Refuse,
}

impl Target {
    /// What the signal waits for, or to whom it goes.
    pub(super) fn signalling(&self, chosen: &Chosen, waiting: &Waiting, site: &Site, now: Time) -> Step {
        if !chosen.is_told_held() {
            return Step::Await;
        }
        let told = self.awaited(chosen, now);
        let standing = self.maturity.standing(site, &self.plan.container, chosen);
        let ripe = self.maturity.ripe(standing, chosen.first(), &told, now);
        let due = self.objection.turn.into_iter().chain(waiting.guard_due()).fold(ripe, Time::max);
        if now < due {
            return Step::Until(due);
        }
        self.guarded_step(&told, waiting, &site.terms, now)
    }

    /// The processes that are waited for and told. Of several under one name some may be started again and again: the others are
    /// told without them after a minute, if these have all started after what is told of.
    fn awaited<'a>(&self, chosen: &'a Chosen, now: Time) -> Vec<&'a Process> {
        let newest = self.pending().map(|(_, pending)| pending.settled).max().unwrap_or_default();
        let has_waited = now >= newest + READINESS;
        let is_older = |process: &&Process| process.identity().started <= newest + START_DOUBT;
        let is_any_older = has_waited && chosen.told().iter().any(|process| is_older(&process));
        chosen.told().iter().filter(|process| !is_any_older || is_older(process)).collect()
    }

    /// The masks that decide are those that were read after the last wait. Where there was none, those that were read at the
    /// swap will do.
    fn guarded_step(&self, told: &[&Process], waiting: &Waiting, terms: &Terms, now: Time) -> Step {
        let newest_swap = self.pending().map(|(_, pending)| pending.swapped).max().unwrap_or_default();
        let oldest_use = newest_swap.max(waiting.decides_since(now));
        let (mut unread, mut refused) = (false, false);
        let mut to_ask = Vec::new();
        let mut to = Vec::new();
        for process in told {
            match each(process, (oldest_use, told.len()), waiting, terms, now) {
                Each::Read { ask } => {
                    unread = true;
                    to_ask.extend(ask.then(|| process.identity().clone()));
                }
                Each::ChooseAnew => return Step::ChooseAnew,
                Each::Send => to.push(process.identity().clone()),
                Each::Refuse => refused = true,
            }
        }
        if unread {
            return if to_ask.is_empty() { Step::AwaitGuard } else { Step::Guard(to_ask) };
        }
        if !refused {
            Step::Send(to, Outcome::Delivered)
        } else if waiting.is_refused_for_long(now) && !to.is_empty() {
            Step::Send(to, Outcome::Unhandled)
        } else {
            Step::Refused
        }
    }

    /// The reload waits for something.
    pub(crate) const fn wait(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.wait();
        }
    }

    /// Nothing is left to be waited for but masks. Whether those that were read before don't count.
    pub(crate) fn clear(&mut self, now: Time) -> bool {
        self.waiting.as_mut().is_some_and(|waiting| waiting.clear(now))
    }

    /// Has these processes' masks read.
    pub(crate) fn read_guards(&mut self, processes: Vec<ProcessIdentity>, ctx: &mut Context<'_>) {
        self.processes.ask(&processes, ctx.now);
        let Some(signal) = self.plan.means.signal() else { return };
        for process in processes {
            ctx.act(Action::ReadGuard(process, signal));
        }
    }

    /// A process's masks were read.
    pub(crate) fn guarded(
        &mut self,
        site: &Site,
        process: &ProcessIdentity,
        reading: &GuardReading,
        ctx: &mut Context<'_>,
    ) {
        let Some(signal) = self.plan.means.signal() else { return };
        let since = self.waiting.as_ref().and_then(Waiting::since);
        match self.processes.guarded(process, reading, signal, since, ctx.now) {
            Taken::Known => {}
            Taken::InDoubt => {
                ctx.act(Action::ReadClosely(process.clone(), signal));
                return;
            }
            Taken::Proven => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.try_again(ctx.now);
                }
            }
        }
        let pending = reading.is_pending(signal);
        self.end_window(site, process, if pending { Verdict::Pending } else { Verdict::Alive }, ctx);
    }

    /// Looks at processes though nothing waits for them: it takes time to know what they do with the signal.
    pub(crate) fn look_again(&mut self, ctx: &mut Context<'_>) {
        let Some(signal) = self.plan.means.signal() else { return };
        for process in self.processes.take_looks(ctx.now) {
            ctx.act(Action::ReadGuard(process, signal));
        }
    }

    /// When processes are looked at though nothing waits for them.
    pub(crate) fn look_due(&self) -> Option<Time> {
        self.plan.means.signal().and_then(|_| self.processes.look_due())
    }

    /// Nobody handles the signal: it is looked at again after a pause. What people are told of it comes back.
    pub(crate) fn refused(&mut self, terms: &Terms, now: Time) -> Option<Problem> {
        let say = self.waiting.as_mut().is_some_and(|waiting| waiting.refused(now));
        let (process, handling) = self.processes.refusing(terms.send_unhandled).filter(|_| say)?;
        let signal = self.plan.means.signal()?;
        let sentence = refusal::sentence(&self.plan.container, signal, process, handling, terms);
        Some(Problem::new(ProblemKind::Unhandled, sentence))
    }
}

fn each(
    process: &Process,
    (oldest_use, all): (Time, usize),
    waiting: &Waiting,
    terms: &Terms,
    now: Time,
) -> Each {
    let Some(handling) = process.guard(oldest_use, all, now) else {
        return Each::Read { ask: !process.is_asked(oldest_use) };
    };
    match process.other_kind() {
        Some(_) if waiting.may_choose() => return Each::ChooseAnew,
        // Whoever changes that all the time is taken as it is now.
        Some(Kind::Wrapper | Kind::Supervisor) => return Each::Refuse,
        Some(Kind::Other) | None if process.is_renamed() && waiting.may_choose() => return Each::ChooseAnew,
        Some(Kind::Other) | None => {}
    }
    if handling.is_sent(terms.send_unhandled) { Each::Send } else { Each::Refuse }
}
