//! The verify window: what becomes of a process after a delivery.

use std::sync::Arc;
use std::time::Duration;

use crate::kernel::guard::GuardReading;
use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::{Action, Report};
use crate::machine::reload::{Pending, QUICK_EXIT, Resolution, Target, Verify};
use crate::model::generation::Generation;
use crate::model::journal::JournalUpdate;
use crate::model::names::Name;
use crate::model::outcome::Verdict;
use crate::model::pod::Pod;
use crate::model::time::Time;

/// How long after a delivery an open of a file counts.
pub(crate) const REREAD_WITHIN: Duration = Duration::from_secs(2);

/// A signal was sent that told of these generations: the window opens; one that was open was closed before.
pub(crate) fn open(
    pod: &Arc<Pod>,
    target: &mut Target,
    told: &[(Name, Pending)],
    window: Duration,
    ctx: &mut Context<'_>,
) {
    forget_endings(pod, target, ctx);
    target.ended_last = false;
    target.last_delivery = Some(ctx.now);
    if let Resolution::Found(resolved) = &target.resolution {
        target.verify = Some(Verify {
            until: ctx.now + window.max(QUICK_EXIT),
            first: resolved.first.clone(),
            told: resolved.told.iter().map(|process| process.identity.clone()).collect(),
            exited: false,
            reading: false,
            delivered: ctx.now,
            opens: told
                .iter()
                .map(|(volume, pending)| (volume.clone(), pending.generation.clone()))
                .collect(),
            reread: None,
        });
    }
}

/// A file of a generation was opened. Whoever was told of it may have done that.
pub(crate) fn opened(
    pod: &Arc<Pod>,
    target: &mut Target,
    volume: &Name,
    generation: &Generation,
    at: Time,
    ctx: &mut Context<'_>,
) {
    let Some(verify) = &mut target.verify else { return };
    let is_told = verify.opens.iter().any(|(name, told)| name == volume && told == generation);
    if !is_told || at > verify.delivered + REREAD_WITHIN {
        return;
    }
    let after = at.since(verify.delivered);
    verify.reread = Some(after);
    verify.opens.clear();
    let container = target.plan.container.clone();
    ctx.act(Action::Report(Report::Reread { pod: pod.clone(), container, after }));
}

/// A process ended. Whether it did so as a consequence of the last delivery.
pub(crate) fn exited(target: &mut Target, process: &ProcessIdentity, at: Time) -> bool {
    let Some(verify) = &mut target.verify else { return false };
    if verify.first != *process && !verify.told.contains(process) {
        return false;
    }
    verify.exited = true;
    // Masks that were asked for don't come any more.
    verify.reading = false;
    let quick = target.last_delivery.is_some_and(|delivered| at.since(delivered) <= QUICK_EXIT);
    quick && !std::mem::replace(&mut target.ended_last, true)
}

/// When something of a window is due.
pub(crate) fn timeout(verify: &Verify) -> Option<Time> {
    let end = (!verify.reading).then_some(verify.until);
    let opens = (!verify.opens.is_empty()).then_some(verify.delivered + REREAD_WITHIN);
    end.into_iter().chain(opens).min()
}

/// Time has passed: at the window's end the masks are read once more.
pub(crate) fn handle_timeout(pod: &Arc<Pod>, target: &mut Target, ctx: &mut Context<'_>) {
    let signal = target.plan.signal;
    let Some(verify) = &mut target.verify else { return };
    if verify.reading || ctx.now < verify.until {
        return;
    }
    match verify.told.first() {
        Some(process) if !verify.exited => {
            verify.reading = true;
            ctx.act(Action::ReadGuard(process.clone(), signal));
        }
        Some(_) | None => close(pod, target, Verdict::Alive, ctx),
    }
}

/// The masks at the window's end.
pub(crate) fn guarded(
    pod: &Arc<Pod>,
    target: &mut Target,
    process: &ProcessIdentity,
    reading: &GuardReading,
    ctx: &mut Context<'_>,
) {
    let ends = target.verify.as_ref().is_some_and(|verify| verify.reading && verify.told.contains(process));
    if ends {
        let verdict = if reading.is_pending(target.plan.signal) { Verdict::Pending } else { Verdict::Alive };
        close(pod, target, verdict, ctx);
    }
}

/// The masks at the window's end can't be read: the process lives, as far as is known.
pub(crate) fn unread(pod: &Arc<Pod>, target: &mut Target, process: &ProcessIdentity, ctx: &mut Context<'_>) {
    let ends = target.verify.as_ref().is_some_and(|verify| verify.reading && verify.told.contains(process));
    if ends {
        close(pod, target, Verdict::Alive, ctx);
    }
}

/// Endings count in a row: a delivery after which the process lived starts the count anew.
fn forget_endings(pod: &Arc<Pod>, target: &mut Target, ctx: &mut Context<'_>) {
    if !target.ended_last && target.endings > 0 {
        target.endings = 0;
        let container = target.plan.container.clone();
        ctx.act(Action::Record(JournalUpdate::Endings(pod.uid.clone(), container, None)));
    }
}

/// Ends the window; `living` is the verdict where no process ended.
pub(crate) fn close(pod: &Arc<Pod>, target: &mut Target, living: Verdict, ctx: &mut Context<'_>) {
    let Some(verify) = target.verify.take() else { return };
    forget_endings(pod, target, ctx);
    let runs_again = match &target.resolution {
        Resolution::Found(resolved) => {
            resolved.first != verify.first || !verify.told.contains(&resolved.first)
        }
        Resolution::Unknown | Resolution::Missing(_) => false,
    };
    let verdict = match (verify.exited, runs_again) {
        (false, _) if living == Verdict::Alive && verify.reread.is_some() => Verdict::Reread,
        (false, _) => living,
        (true, true) => Verdict::Restarted,
        (true, false) => Verdict::Exited,
    };
    let container = target.plan.container.clone();
    let reread = verify.reread;
    ctx.act(Action::Report(Report::Verdict { pod: pod.clone(), container, verdict, reread }));
}
