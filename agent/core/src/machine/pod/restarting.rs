//! What happens to a pod's containers goes to its restart in place, and what follows from that to its reloads.

use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::{Action, Delivery, Shown};
use crate::machine::pod::PodMachine;
use crate::machine::pod::restart::Restarts;
use crate::model::names::{ContainerId, Name};
use crate::model::pod::Pod;

impl PodMachine {
    /// What is known of its grants.
    pub(crate) const fn restarts(&self) -> &Restarts {
        &self.restarts
    }

    /// Whether nothing is left to be done about it, which was watched for a grant alone, where the pod is this by now.
    pub(crate) fn is_done_with(&self, pod: &Pod) -> bool {
        self.plan.is_of_nothing() && !pod.is_granted() && !self.restarts.is_under_way()
    }

    /// How each process took its stop signal; `None` where it was too late to send any.
    pub(crate) fn stopped(&mut self, taken: Option<&[(ProcessIdentity, Delivery)]>, ctx: &mut Context<'_>) {
        let told = self.restarts.stopped(&self.site, taken, ctx);
        for target in self.targets.iter_mut().filter(|target| told.contains(target.container())) {
            target.is_stopped(&self.site, ctx);
        }
    }

    /// What a volume holds now.
    pub(crate) fn shown(&mut self, volume: &Name, shown: Option<&Shown>) {
        self.restarts.shown(volume, shown);
    }

    /// A process of this container has ended: if the container was told to, no reload's signal has ended it.
    pub(super) fn absolve(&mut self, container: &ContainerId, ctx: &mut Context<'_>) {
        if self.restarts.has_told(container) {
            for target in &mut self.targets {
                target.killed(&self.site, &|process| process.container == *container, ctx);
            }
        }
    }

    /// The same of whatever a survey has found to have ended.
    pub(super) fn absolve_all(&mut self, ctx: &mut Context<'_>) {
        let restarts = &self.restarts;
        if restarts.has_told_any() {
            for target in &mut self.targets {
                target.killed(&self.site, &|process| restarts.has_told(&process.container), ctx);
            }
        }
    }

    /// Carries out the next steps of a restart in place.
    pub(super) fn advance_restart(&mut self, ctx: &mut Context<'_>) {
        let consequences = self.restarts.advance(&self.site, ctx);
        // A process can be held for a reload as well: it is let go of when neither needs it.
        let restarts = &self.restarts;
        if restarts.is_under_way() {
            let is_needed =
                |action: &Action| matches!(action, Action::Release(process) if restarts.holds(process));
            ctx.out.retain(|action| !is_needed(action));
        }
        for process in consequences.unneeded {
            let is_needed = self.restarts.holds(&process);
            if !is_needed && !self.targets.iter().any(|target| target.needs(&process)) {
                ctx.act(Action::Release(process));
            }
        }
        if consequences.survey {
            self.begin_survey(ctx);
        }
    }
}
