//! The next steps of a pod's waiting reloads are carried out.

use std::collections::BTreeSet;

use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::{Action, Call, ReloadReport};
use crate::machine::pod::PodMachine;
use crate::machine::pod::surveys::Surveys;
use crate::machine::reload::Target;
use crate::machine::reload::retry::PATIENCE;
use crate::machine::reload::step::Step;
use crate::model::means::Means;
use crate::model::names::Name;
use crate::model::signal::Signal;
use crate::model::time::Time;
use crate::policy::problem::Problem;

/// What the next steps of a pod's reloads come to.
#[derive(Debug, Default)]
struct Todo {
    survey: bool,
    problems: Vec<Problem>,
    reports: Vec<ReloadReport>,
    sends: Vec<(Vec<ProcessIdentity>, Signal)>,
    calls: Vec<Call>,
    /// The volumes whose files are to be compared with what has ended another replica.
    compared: BTreeSet<Name>,
}

/// Carrying out the next steps.
impl PodMachine {
    /// Carries out the next steps of every waiting reload, until each waits for something.
    pub(crate) fn advance(&mut self, ctx: &mut Context<'_>) {
        self.unsent = false;
        let mut todo = Todo::default();
        for target in &mut self.targets {
            target.decide_older();
            target.note_start(&self.site, ctx);
            target.consult(&self.site, ctx);
            loop {
                match target.step(&self.site, is_surveying(&self.surveys, target, ctx.now), ctx.now) {
                    Step::End(volumes, outcome, reason) => {
                        todo.reports.extend(target.conclude(&self.site, &volumes, outcome, reason, ctx));
                    }
                    Step::Baseline(volumes) => target.take_baseline(&self.site, &volumes, ctx),
                    Step::Idle | Step::AwaitGuard => break,
                    Step::Await | Step::Until(_) => {
                        target.wait();
                        break;
                    }
                    Step::Compare => {
                        target.wait();
                        todo.compared.extend(target.progress().keys().cloned());
                        break;
                    }
                    // What was read before the end of the last wait decides nothing.
                    Step::Guard(_) | Step::Send(..) | Step::ChooseAnew | Step::Refused
                        if target.clear(ctx.now) => {}
                    Step::ChooseAnew => {
                        target.choose_anew();
                        todo.survey = true;
                    }
                    Step::Survey => {
                        target.wait();
                        todo.problems.extend(target.say_lack(ctx.now));
                        todo.survey |= look(&mut self.surveys, target, ctx.now);
                        break;
                    }
                    Step::Guard(processes) => {
                        target.read_guards(processes, ctx);
                        break;
                    }
                    Step::Refused => {
                        todo.problems.extend(target.refused(&self.site.terms, ctx.now));
                        break;
                    }
                    Step::Unaddressed => {
                        target.wait();
                        todo.problems.extend(target.unaddressed(ctx.now));
                        break;
                    }
                    Step::Lacking => {
                        let lack = target.say_request_lack();
                        if lack.is_none() {
                            break;
                        }
                        todo.problems.extend(lack);
                    }
                    Step::Send(..) if self.sends_left == 0 => {
                        target.wait();
                        self.unsent = true;
                        break;
                    }
                    Step::Send(processes, worst) => {
                        self.sends_left = self.sends_left.saturating_sub(processes.len());
                        target.begin_turn(&self.site, ctx);
                        // One signal is for all that stands there.
                        target.give(&self.site);
                        target.begin_sending(&self.site, &processes, worst, ctx.now);
                        let reads = &self.reads;
                        target.dim_where(|volume, generation| reads.is_underway(volume, generation));
                        match target.means().clone() {
                            Means::Signal(signal) => todo.sends.push((processes, signal)),
                            Means::Http(request) => {
                                let call = |process| target.call(&self.site, process, request.clone());
                                todo.calls.extend(processes.into_iter().map(call));
                            }
                        }
                        break;
                    }
                }
            }
            todo.problems.extend(target.say_withholding());
        }
        self.carry_out(todo, ctx);
        self.advance_restart(ctx);
    }

    fn carry_out(&mut self, todo: Todo, ctx: &mut Context<'_>) {
        // Whoever is told opens files at once. Nothing else comes before the signals.
        self.follow_opens(ctx);
        for (processes, signal) in todo.sends {
            processes.into_iter().for_each(|process| ctx.act(Action::Send(process, signal)));
        }
        todo.calls.into_iter().for_each(|call| ctx.act(Action::Call(call)));
        if todo.survey {
            self.begin_survey(ctx);
        }
        for volume in todo.compared {
            self.compare(&volume, ctx);
        }
        self.say_each(todo.reports, ctx);
        for problem in todo.problems {
            self.set_problem(Some(problem), ctx);
        }
        self.solve(ctx);
        self.nudge(ctx);
        self.read_late(ctx);
    }

    /// When a container's next step is due.
    pub(super) fn step_due(&self, target: &Target, now: Time) -> Option<Time> {
        match target.step(&self.site, is_surveying(&self.surveys, target, now), now) {
            Step::Until(due) => Some(due),
            Step::Idle
            | Step::Await
            | Step::AwaitGuard
            | Step::Compare
            | Step::ChooseAnew
            | Step::Survey
            | Step::Guard(_)
            | Step::End(..)
            | Step::Baseline(_)
            | Step::Send(..)
            | Step::Unaddressed
            | Step::Lacking
            | Step::Refused => None,
        }
    }
}

/// Whether a survey is still to be waited for that may find a container's processes.
fn is_surveying(surveys: &Surveys, target: &Target, now: Time) -> bool {
    // The last one may have taken long, and have looked before the container was there. Where all of them do, that ends.
    let is_old = target
        .looks_since()
        .is_some_and(|since| now < since + 6 * PATIENCE && surveys.is_older_than(since + PATIENCE / 2));
    is_old || surveys.is_running() || surveys.is_put_off_since(target.looks_since())
}

/// A reload waits for its process, which is looked for at once where nothing is known, with growing pauses after that.
/// Whether a survey is to be begun.
fn look(surveys: &mut Surveys, target: &mut Target, now: Time) -> bool {
    let first_look = target.look(now);
    if first_look {
        surveys.look(now);
    }
    // Where nothing was found: a survey that is on its way may have looked before the change.
    let nothing_found = target.processes().why_missing().is_some() && !target.processes().is_doubtful();
    if nothing_found { first_look } else { !surveys.is_running() }
}
