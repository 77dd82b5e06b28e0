//! Where a change is stuck: which volumes and containers hold something else than the API server shows, and why.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kernel::mounts::View;
use crate::kernel::process::NoProcess;
use crate::machine::context::Context;
use crate::machine::event::{Action, Report};
use crate::machine::pod::PodMachine;
use crate::machine::reload::Target;
use crate::machine::status::{Stale, StaleReason};
use crate::machine::watched::Watched;
use crate::model::frozen::Way;
use crate::model::names::Name;
use crate::model::object::ObjectRef;
use crate::model::pod::{Pod, VolumeKind};
use crate::model::shown::quoted;
use crate::model::time::Time;
use crate::policy::annotations::VOLUMES;
use crate::policy::problem::{Problem, ProblemKind};
use crate::propagation::frozen::{Frozen, Unsaid};
use crate::propagation::volume::Standing;

impl PodMachine {
    /// Everything of the pod that is stale: a volume, or what a container took at its start.
    pub(crate) fn stale(&self) -> Vec<Stale> {
        let volumes = self
            .site
            .volumes
            .iter()
            .filter_map(|(name, watched)| volume(name, watched, &self.targets, &self.site.pod));
        let mut stale: Vec<Stale> = volumes.collect();
        let frozen = self.frozen.iter().filter(|one| self.starts.has(one));
        let frozen = frozen.filter_map(|one| Some((one.difference()?, one)));
        stale.extend(frozen.map(|(difference, one)| Stale {
            volume: None,
            container: Some(one.container.clone()),
            object: Some(one.object.clone()),
            reason: match one.way {
                _ if !difference.is_certain => StaleReason::Unsure,
                Way::Init => StaleReason::Init,
                Way::Environment => StaleReason::Environment,
                Way::SubPath => StaleReason::SubPath,
                Way::Files => StaleReason::Files,
            },
            since: difference.since,
        }));
        stale
    }

    /// The objects that containers took something of at their start, and that aren't there.
    pub(crate) fn absent(&self) -> BTreeSet<(Name, ObjectRef)> {
        let absent = self.frozen.iter().filter(|frozen| frozen.is_absent());
        absent.map(|frozen| (frozen.container.clone(), frozen.object.clone())).collect()
    }

    /// Says which containers need a restart to get what they took at their start, once for each version of that, and which don't any more.
    pub(super) fn say_restarts(&mut self, ctx: &mut Context<'_>) {
        for frozen in &mut self.frozen {
            let has = self.starts.has(frozen);
            say_over(frozen, has, &self.site.pod, ctx);
            let Some(Unsaid { version, is_certain }) = has.then(|| frozen.take_unsaid()).flatten() else {
                continue;
            };
            let (pod, container, object) =
                (self.site.pod.clone(), frozen.container.clone(), frozen.object.clone());
            let way = frozen.way;
            ctx.act(Action::Report(Report::NeedsRestart {
                pod,
                container,
                object,
                version,
                way,
                is_certain,
            }));
        }
    }

    /// Nothing is said of restarts any more: whoever follows the pod next says what is so then.
    pub(super) fn unsay_restarts(&mut self, ctx: &mut Context<'_>) {
        self.frozen.iter_mut().for_each(|frozen| say_over(frozen, false, &self.site.pod, ctx));
    }
}

/// Says that a container needs no restart any more, where it was said that it does.
fn say_over(frozen: &mut Frozen, has: bool, pod: &Arc<Pod>, ctx: &mut Context<'_>) {
    if frozen.take_over(has) {
        ctx.act(Action::Report(Report::RestartNotNeeded {
            pod: pod.clone(),
            container: frozen.container.clone(),
            object: frozen.object.clone(),
            way: frozen.way,
        }));
    }
}

/// Volumes of CSI drivers that don't publish as the kubelet does.
impl PodMachine {
    /// Whether a container runs that has a CSI volume, which is mounted by then, and nothing in that is as the kubelet publishes.
    pub(crate) fn has_no_layout(&self, name: &Name, watched: &Watched) -> bool {
        let is_used =
            |target: &Target| target.progress().contains_key(name) && target.processes().chosen().is_some();
        watched.plan().kind == VolumeKind::Csi
            && watched.state().is_missing()
            && self.targets.iter().any(is_used)
    }

    /// Whether that is so of a volume that the pod names.
    pub(super) fn is_layout_missing(&self) -> bool {
        self.without_layout().is_some()
    }

    /// The first of those volumes.
    fn without_layout(&self) -> Option<&Name> {
        let is_named = self.site.pod.spec.annotations.contains_key(VOLUMES);
        let mut volumes = self.site.volumes.iter().filter(|_| is_named);
        volumes.find(|(name, watched)| self.has_no_layout(name, watched)).map(|(name, _)| name)
    }

    /// Says that of a volume that the pod names, once.
    pub(super) fn say_layout(&mut self, ctx: &mut Context<'_>) {
        let Some(name) = self.without_layout() else { return };
        let sentence = format!(
            "{VOLUMES} names {}, a csi volume in which nothing is seen that is published as the kubelet does (..data): its changes \
             can't be told of",
            quoted(name)
        );
        if self.problem.is_none() {
            self.set_problem(Some(Problem::new(ProblemKind::Layout, sentence)), ctx);
        }
    }
}

/// A volume is stale once, for the reason that comes first on the way.
fn volume(name: &Name, watched: &Watched, targets: &[Target], pod: &Pod) -> Option<Stale> {
    let stale = |container, reason, since| Stale {
        volume: Some(name.clone()),
        container,
        object: None,
        reason,
        since,
    };
    match watched.standing() {
        Standing::Waiting { since, immutable: true } => {
            return Some(stale(None, StaleReason::Immutable, since));
        }
        Standing::Waiting { since, immutable: false } => {
            return Some(stale(None, StaleReason::Waiting, since));
        }
        Standing::Unknown | Standing::UpToDate => {}
    }
    let of_targets = targets.iter().filter_map(|target| {
        let (reason, since) = for_container(target, name, watched, pod)?;
        Some(stale(Some(target.container().clone()), reason, since))
    });
    of_targets.min_by_key(|stale| stale.since)
}

/// Why a container doesn't hold what is on disk, and since when.
fn for_container(target: &Target, name: &Name, watched: &Watched, pod: &Pod) -> Option<(StaleReason, Time)> {
    let progress = target.progress().get(name)?;
    let is_unfound = target.is_unfound(pod);
    let Some(settled) = watched.state().settled() else {
        // A driver needn't publish as the kubelet does.
        if watched.plan().kind == VolumeKind::Csi {
            return None;
        }
        // Nothing says that a container runs whose volume isn't there yet.
        let may_be_gone = target.is_of_last_time();
        let is_missing = !may_be_gone && is_running(pod, target) && watched.state().is_missing();
        return is_missing.then(|| (StaleReason::Undelivered, watched.since()));
    };
    if is_unfound && progress.pending().is_none() {
        return Some((StaleReason::Undelivered, settled.settled));
    }
    let started = match target.processes().chosen() {
        Some(chosen) => {
            if watched.state().is_rebuilt() && chosen.view(watched) == Some(View::Dead) {
                return Some((StaleReason::Orphaned, settled.settled));
            }
            chosen.first().started
        }
        // Whatever starts reads what is there.
        None if !is_unfound && target.processes().why_missing().is_some_and(NoProcess::is_not_started) => {
            return None;
        }
        None => Time::default(),
    };
    let waits = progress.pending().or_else(|| target.asked_for(name));
    let since = match waits.filter(|pending| !pending.again) {
        Some(pending) => pending.settled,
        None if progress.handled() == Some(&settled.generation) && progress.holds().is_none() => {
            settled.settled
        }
        None => return None,
    };
    if started > since {
        return None;
    }
    let reason = if target.is_suspended() { StaleReason::Suspended } else { StaleReason::Undelivered };
    Some((reason, since))
}

/// Whether the pod's status says that a container runs.
fn is_running(pod: &Pod, target: &Target) -> bool {
    pod.status.contains_key(target.container())
}
