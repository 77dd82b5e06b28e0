//! From a survey to the processes that are held.

use super::*;
use crate::kernel::process::{Chosen, choose};
use crate::machine::reload::{HeldProcess, Resolved};

/// The containers of a survey, looked through once for all that are told: a pod can have many of them.
struct Leaves<'a> {
    /// By the name in the spec, with their places in the survey.
    named: BTreeMap<Name, Vec<(usize, &'a ContainerFacts)>>,
    /// Each process with the place of its container, in order.
    processes: Vec<(u32, usize)>,
}

impl<'a> Leaves<'a> {
    fn of(pod: &PodMachine, containers: &'a [ContainerFacts]) -> Self {
        let mut named: BTreeMap<Name, Vec<_>> = BTreeMap::new();
        let mut processes = Vec::new();
        for (place, container) in containers.iter().enumerate() {
            if let Some(name) = pod.name_of(container) {
                named.entry(name.clone()).or_default().push((place, container));
            }
            processes.extend(container.processes.iter().map(|process| (process.pid, place)));
        }
        processes.sort_unstable();
        Self { named, processes }
    }

    fn named(&self, name: &Name) -> &[(usize, &'a ContainerFacts)] {
        self.named.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a process is in another container than the one at this place.
    fn is_outside(&self, place: usize, pid: u32) -> bool {
        let first = self.processes.partition_point(|(known, _)| *known < pid);
        let mut same = self.processes.iter().skip(first).take_while(|(known, _)| *known == pid);
        same.any(|(_, other)| *other != place)
    }
}

impl PodMachine {
    /// Asks for a survey, unless one is on its way: then for another one after it.
    pub(super) fn begin_survey(&mut self, ctx: &mut Context<'_>) {
        if self.targets.is_empty() {
            return;
        }
        if self.survey.running {
            self.survey.again = true;
            return;
        }
        self.survey.put_off = self.survey.pause.is_some_and(|pause| ctx.now < pause.until);
        if self.survey.put_off {
            return;
        }
        self.survey.running = true;
        ctx.act(Action::Survey(Survey {
            pod: self.pod.uid.clone(),
            name: self.plan.process.clone(),
            fresh_mounts: std::mem::take(&mut self.survey.fresh_mounts),
        }));
    }

    /// Containers came or went.
    pub(crate) fn cgroup_changed(&mut self, ctx: &mut Context<'_>) {
        if self.targets.is_empty() {
            return;
        }
        self.survey.retry = Some(Retry::begin(ctx.now));
        // Others than those that were too much.
        self.survey.pause = None;
        self.survey.changed = self.survey.running;
        self.begin_survey(ctx);
    }

    /// A reload waits for its process: at once where nothing is known, with growing pauses after that.
    pub(super) fn look_for_process(&mut self, index: usize, ctx: &mut Context<'_>) {
        self.say_lack(index, ctx);
        let target = &mut self.targets[index];
        let first_look = target.missing.is_none();
        if first_look {
            target.missing = Some(Retry::begin(ctx.now));
            self.survey.retry = Some(Retry::begin(ctx.now));
        }
        // Where nothing was found: a survey that is on its way may have looked before the change.
        let look = match target.resolution {
            Resolution::Missing(_) if !target.stale_choice => first_look,
            Resolution::Found(_) | Resolution::Missing(_) | Resolution::Unknown => !self.survey.running,
        };
        if look {
            self.begin_survey(ctx);
        }
    }

    /// The survey is there.
    pub(crate) fn surveyed(&mut self, containers: &[ContainerFacts], ctx: &mut Context<'_>) {
        self.survey.running = false;
        let leaves = Leaves::of(self, containers);
        for index in 0..self.targets.len() {
            match self.found(index, &leaves) {
                Ok(resolved) => self.take_found(index, resolved, ctx),
                Err(why) => self.take_missing(index, why, ctx),
            }
        }
        self.pause_surveys(ctx.now);
        if std::mem::take(&mut self.survey.again) {
            self.begin_survey(ctx);
        } else {
            // A survey that was begun before the change that made the choice stale doesn't stand for it.
            self.targets.iter_mut().for_each(|target| target.stale_choice = false);
        }
        self.pace_surveys(ctx.now);
    }

    /// Which processes stand for a target.
    fn found(&self, index: usize, leaves: &Leaves<'_>) -> Result<Resolved, NoProcess> {
        let target = &self.targets[index];
        let name = &target.plan.container;
        let in_status = self.pod.status.get(name);
        let mut starting = None;
        let mut newest: Option<(Chosen<'_>, &ContainerFacts)> = None;
        for &(place, container) in leaves.named(name) {
            if !container.complete {
                // What wasn't looked at could be the process that is meant.
                starting = Some(NoProcess::TooMuch);
                continue;
            }
            let is_outside = |pid| leaves.is_outside(place, pid);
            match choose(&container.processes, &is_outside, self.plan.process.as_deref()) {
                // During a restart both leaves can stand for a moment: the younger one is meant.
                Ok(chosen) => {
                    let is_newer = newest
                        .as_ref()
                        .is_none_or(|(other, _)| chosen.first.stat.started >= other.first.stat.started);
                    if is_newer {
                        newest = Some((chosen, container));
                    }
                }
                Err(why) => starting = Some(why),
            }
        }
        let Some((chosen, container)) = newest else { return Err(starting.unwrap_or(NoProcess::NotRunning)) };
        if self.pod.runtime_class.is_some() {
            let vouched = in_status == Some(&container.id);
            if !vouched || chosen.told.iter().any(|process| process.namespace_pids.len() < 2) {
                return Err(NoProcess::Hidden);
            }
        }
        Ok(self.resolved(target, &chosen, container))
    }

    /// The name of a container of the pod. An ID never comes to mean another container, so where the status knows it,
    /// that counts; what is mounted, which a program has a hand in, only until then.
    fn name_of<'a>(&'a self, container: &'a ContainerFacts) -> Option<&'a Name> {
        let in_status = self.pod.status.iter().find(|(_, id)| **id == container.id).map(|(name, _)| name);
        in_status.or_else(|| container.mounts.as_ref().and_then(|mounts| mounts.container.as_ref()))
    }

    fn resolved(&self, target: &Target, chosen: &Chosen<'_>, container: &ContainerFacts) -> Resolved {
        let identity = |process: &crate::kernel::process::ProcessFacts| ProcessIdentity {
            pid: process.pid,
            started: process.stat.started,
            pod: self.pod.uid.clone(),
            container: container.id.clone(),
        };
        let views = target.volumes.keys().filter_map(|name| {
            let volume = self.volumes.get(name)?;
            let mounts = container.mounts.as_ref()?;
            Some((name.clone(), mounts.view(volume.plan.kind, name, volume.state.dir())))
        });
        Resolved {
            first: identity(chosen.first),
            first_held: false,
            told: chosen
                .told
                .iter()
                .map(|process| HeldProcess {
                    identity: identity(process),
                    held: false,
                    asked: None,
                    catches: false,
                    guard: None,
                })
                .collect(),
            volatile: chosen.volatile,
            views: views.collect(),
        }
    }

    fn take_found(&mut self, index: usize, mut resolved: Resolved, ctx: &mut Context<'_>) {
        let target = &mut self.targets[index];
        let own = |frozen: &&mut Frozen| frozen.container == target.plan.container;
        self.frozen.iter_mut().filter(own).for_each(|frozen| frozen.started(resolved.first.started));
        let before = target.held_processes();
        if let Resolution::Found(known) = &target.resolution {
            resolved.first_held = known.first_held && known.first == resolved.first;
            for process in &mut resolved.told {
                let same = known.told.iter().find(|other| other.identity == process.identity);
                if let Some(same) = same {
                    *process = same.clone();
                }
            }
        }
        // As long as it can't be held it is looked for with growing pauses.
        target.missing = target.missing.filter(|_| !resolved.is_held());
        target.resolution = Resolution::Found(resolved);
        let after = target.held_processes();
        for process in before.iter().filter(|process| !after.contains(process)) {
            ctx.act(Action::Release(process.clone()));
        }
        for process in after.into_iter().filter(|process| !before.contains(process)) {
            ctx.act(Action::Hold(process));
        }
    }

    pub(super) fn take_missing(&mut self, index: usize, why: NoProcess, ctx: &mut Context<'_>) {
        let target = &mut self.targets[index];
        for process in target.held_processes() {
            ctx.act(Action::Release(process));
        }
        target.resolution = Resolution::Missing(why);
        // New to the journal, and nothing runs that could be older: whatever starts now reads what is there.
        let looked_after = target.missing.is_some() && !self.survey.again;
        let fresh = match why {
            NoProcess::NotRunning | NoProcess::Starting if looked_after => {
                target.waiting_volumes(|_, pending| pending.only_if_older)
            }
            NoProcess::NotRunning
            | NoProcess::Starting
            | NoProcess::NoneNamed
            | NoProcess::TooManyNamed
            | NoProcess::TooMuch
            | NoProcess::InitWithoutChild
            | NoProcess::InitWithChildren
            | NoProcess::Hidden
            | NoProcess::StaleMount
            | NoProcess::Lacking(_) => Vec::new(),
        };
        for name in fresh {
            let pending = self.targets[index].volumes.get(&name).and_then(|volume| volume.pending.clone());
            if let Some(pending) = pending {
                self.take_baseline(index, &name, pending.generation, ctx);
            }
        }
    }

    /// After a survey that was given up the next one isn't made at once, whatever asks for it.
    fn pause_surveys(&mut self, now: Time) {
        let changed = std::mem::take(&mut self.survey.changed);
        let is_too_much =
            |target: &Target| matches!(target.resolution, Resolution::Missing(NoProcess::TooMuch));
        let given_up = !changed && self.targets.iter().any(is_too_much);
        self.survey.pause = given_up.then(|| Pause::after(self.survey.pause, now));
    }

    /// Whether no survey was made yet since a target's reload began to look for its process, and one will be.
    pub(super) fn has_survey_to_come(&self, index: usize) -> bool {
        let looks_since = self.targets[index].missing.map(|missing| missing.since);
        let given_up = self.survey.pause.map(|pause| pause.since);
        self.survey.put_off && looks_since.zip(given_up).is_none_or(|(since, given_up)| given_up < since)
    }

    /// Surveys go on with growing pauses while something is missing, and stop when nothing waits for it.
    fn pace_surveys(&mut self, now: Time) {
        let missing = self.targets.iter().any(|target| !target.is_found());
        let waiting = self.targets.iter().any(Target::is_waiting);
        let retry = self.survey.retry.get_or_insert_with(|| Retry::begin(now));
        if !missing || (!waiting && now >= retry.since + PATIENCE) {
            self.survey.retry = None;
        } else if now >= retry.next {
            retry.again(now);
        }
    }

    /// The process is gone or another one: look again, but not at once.
    pub(crate) fn not_held(&mut self, process: &ProcessIdentity, ctx: &mut Context<'_>) {
        for target in self.targets.iter_mut().filter(|target| target.hangs_on(process)) {
            for held in target.held_processes() {
                ctx.act(Action::Release(held));
            }
            target.resolution = Resolution::Missing(NoProcess::NotRunning);
            if target.is_waiting() {
                target.missing.get_or_insert_with(|| Retry::begin(ctx.now));
                self.survey.retry.get_or_insert_with(|| Retry::begin(ctx.now));
            }
        }
    }

    /// The identity was checked after the pidfd was opened.
    pub(crate) fn held(&mut self, process: &ProcessIdentity, ctx: &mut Context<'_>) {
        for target in &mut self.targets {
            if let Resolution::Found(resolved) = &mut target.resolution {
                resolved.first_held |= resolved.first == *process;
                for held in resolved.told.iter_mut().filter(|held| held.identity == *process) {
                    held.held = true;
                }
                if resolved.is_held() {
                    target.missing = None;
                    target.lack_said = false;
                }
            }
        }
        if !self.survey.running && self.targets.iter().all(Target::is_found) {
            self.survey.retry = None;
        }
        self.solve_lack(ctx);
    }
}
