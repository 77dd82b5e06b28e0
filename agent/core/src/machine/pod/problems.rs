//! What is wrong with a pod, as people are told.

use crate::machine::context::Context;
use crate::machine::event::{Action, Report};
use crate::machine::pod::PodMachine;
use crate::machine::reload::Target;
use crate::policy::problem::{Problem, ProblemKind};

impl PodMachine {
    pub(super) fn set_problem(&mut self, problem: Option<Problem>, ctx: &mut Context<'_>) {
        if self.problem == problem {
            return;
        }
        ctx.act(Action::Report(match &problem {
            Some(problem) => Report::Problem(self.site.pod.clone(), problem.clone()),
            None => Report::Solved(self.site.pod.clone()),
        }));
        self.problem = problem;
    }

    /// What was said of its containers may have come to an end.
    pub(super) fn solve(&mut self, ctx: &mut Context<'_>) {
        let Some(problem) = &self.problem else { return };
        let stands = match problem.kind {
            ProblemKind::KubeletRoot => true,
            ProblemKind::Agent => self.targets.iter().any(Target::is_lack_said),
            ProblemKind::Supervisor => self.targets.iter().any(Target::is_supervised),
            ProblemKind::Layout => self.is_layout_missing(),
            ProblemKind::UnknownKey
            | ProblemKind::Unsupported
            | ProblemKind::BadValue
            | ProblemKind::NotText
            | ProblemKind::NoSignal
            | ProblemKind::Container
            | ProblemKind::Volume
            | ProblemKind::Ambiguous
            | ProblemKind::Port
            | ProblemKind::HostNetwork
            | ProblemKind::NoAddress
            | ProblemKind::Unhandled
            | ProblemKind::Suspended
            | ProblemKind::BadContent
            | ProblemKind::TooLarge
            | ProblemKind::NoRoom => self.targets.iter().any(Target::is_anything_said),
        };
        if !stands {
            self.set_problem(None, ctx);
        }
    }

    /// What is wrong with the kubelet root, or that nothing is any more.
    pub(crate) fn set_kubelet_root(&mut self, sentence: Option<&str>, ctx: &mut Context<'_>) {
        let was_said = self.problem.as_ref().is_some_and(|problem| problem.kind == ProblemKind::KubeletRoot);
        if let Some(sentence) = sentence {
            self.set_problem(Some(Problem::new(ProblemKind::KubeletRoot, sentence)), ctx);
        } else if was_said {
            self.set_problem(None, ctx);
        }
    }
}
