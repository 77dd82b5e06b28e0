//! Which volumes trigger and which container is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::means::Means;
use crate::model::names::{FilePath, Name};
use crate::model::pod::{
    Container, ContainerKind, Pod, PodSpec, ProjectedSource, Volume, VolumeKind, VolumeSource,
};
use crate::model::signal::SignalChoice;
use crate::policy::annotations::{
    self, CONTAINER, CONTAINER_SIGNAL_PREFIX, DEFAULT_CONTAINER, HTTP, PodPolicy, SIGNAL, VOLUMES,
};
use crate::policy::files::FileFilter;
use crate::policy::plan::{Allowed, MeasuredPlan, Plan, Planned, TargetPlan, VolumePlan};
use crate::policy::problem::{Problem, ProblemKind, listed, quoted, unquoted};
use crate::policy::request::Asked;
use crate::policy::sources;

/// ConfigMaps that the cluster puts into every namespace, and their key. They are in each pod's `kube-api-access-*`
/// volume, and no application reloads for them unless it says so.
const CLUSTER_CONFIG_MAPS: [(&str, &str); 2] =
    [("kube-root-ca.crt", "ca.crt"), ("openshift-service-ca.crt", "service-ca.crt")];

/// The most problems that are kept of one pod.
const MOST_PROBLEMS: usize = 20;

/// What several triggering volumes wait for by default, since one change often touches more than one of them.
const DEBOUNCE_OF_SEVERAL: Duration = Duration::from_millis(100);

/// What is to be done about a running pod: nothing where it ends. One that is granted a restart in place, or of which is said what it
/// doesn't get, is watched for that alone, if it asks for nothing else.
pub fn plan_of(pod: &Pod, allowed: Allowed) -> Planned {
    if pod.terminating {
        return Planned::LeftAlone;
    }
    match plan(&pod.spec, &pod.namespace, allowed) {
        Planned::LeftAlone if pod.is_granted() || is_reported(pod) => Planned::Plan(Plan::of_nothing()),
        planned @ (Planned::LeftAlone | Planned::Invalid(_) | Planned::Plan(_)) => planned,
    }
}

/// Whether it is said of all that a pod's containers took at their start what of it has changed: they are to get it, and nobody rolls the
/// pod.
pub(crate) fn is_reported(pod: &Pod) -> bool {
    pod.unrolled && pod.spec.excess.is_none() && annotations::wants_all(&pod.spec.annotations)
}

/// What is to be done about a pod with this spec in this namespace.
pub fn plan(spec: &PodSpec, namespace: &Name, allowed: Allowed) -> Planned {
    if let Some(excess) = spec.excess {
        return Planned::Invalid(vec![excess.problem()]);
    }
    let (policy, mut problems) = annotations::policy(&spec.annotations);
    let Some(policy) = policy else { return Planned::LeftAlone };
    let volumes = triggering(spec, namespace, &policy, &mut problems);
    let told = told(spec, (&policy, allowed), &volumes, &mut problems);
    let watched: BTreeSet<&Name> = told.iter().flat_map(|told| &told.volumes).collect();
    if problems.is_empty() {
        let idle = policy.volumes.iter().flatten().filter(|name| !watched.contains(name));
        problems.extend(
            idle.map(|name| volume_problem(name, "but no container that is told mounts it as a directory")),
        );
    }
    if !problems.is_empty() {
        return Planned::Invalid(bounded(problems));
    }
    let volumes: Vec<VolumePlan> =
        volumes.iter().filter(|volume| watched.contains(&volume.name)).cloned().collect();
    // What a driver publishes doesn't come together with what the kubelet does, as far as nobody says so.
    let together = volumes.iter().filter(|volume| policy.volumes.is_some() || volume.kind != VolumeKind::Csi);
    let default_debounce = if together.count() > 1 { DEBOUNCE_OF_SEVERAL } else { Duration::ZERO };
    let (mut targets, mut measured) = (Vec::new(), Vec::new());
    for Told { container, choice, volumes } in told {
        match choice {
            Choice::Tell(means) => targets.push(TargetPlan { container, means, volumes }),
            Choice::Measure => measured.push(MeasuredPlan { container, volumes }),
        }
    }
    Planned::Plan(Plan {
        volumes,
        targets,
        measured,
        process: policy.process,
        debounce: policy.debounce.unwrap_or(default_debounce),
        min_interval: policy.min_interval,
        splay: policy.splay,
        verify: policy.verify,
        send_unhandled: policy.send_unhandled,
        accelerate: policy.accelerate,
        retell: policy.retell,
    })
}

/// The volumes that can trigger, in the order of the spec.
fn triggering(
    spec: &PodSpec,
    namespace: &Name,
    policy: &PodPolicy,
    problems: &mut Vec<Problem>,
) -> Vec<VolumePlan> {
    let plan = |volume: &Volume, excluded: BTreeSet<Name>| {
        let files = FileFilter::new(policy.keys.clone(), excluded);
        let sources = sources::of_volume(&volume.source, namespace);
        volume.kind().map(|kind| VolumePlan { name: volume.name.clone(), kind, files, sources })
    };
    let Some(named) = &policy.volumes else {
        return spec.volumes.iter().filter_map(|volume| plan(volume, not_counting(volume)?)).collect();
    };
    problems.extend(named.iter().filter_map(|name| {
        let volume = spec.volumes.iter().find(|volume| volume.name == *name);
        let why = match volume.map(|volume| &volume.source) {
            Some(_) if volume.is_some_and(is_covered) => return None,
            Some(VolumeSource::DownwardApi) => {
                "a downwardAPI volume, which the kubelet rewrites when the pod's own annotations change"
            }
            Some(_) if volume.is_some_and(|volume| volume.csi.is_some()) => {
                "a csi volume without readOnly: true, into which the pod itself could write"
            }
            Some(_) => "which is no configMap, secret, projected or csi volume",
            None => "which the pod doesn't have",
        };
        let covered = spec.volumes.iter().filter(|volume| is_covered(volume)).map(|volume| &*volume.name);
        Some(volume_problem(name, &format!("{why}; it can name {}", listed(covered))))
    }));
    let chosen = spec.volumes.iter().filter(|volume| is_covered(volume) && named.contains(&volume.name));
    chosen.filter_map(|volume| plan(volume, BTreeSet::new())).collect()
}

/// Whether a volume can trigger if it is named. A downwardAPI volume can't: it changes with the pod's own annotations.
fn is_covered(volume: &Volume) -> bool {
    volume.kind().is_some()
}

/// The paths in a volume that nobody named which don't count; `None` if nothing in it counts.
fn not_counting(volume: &Volume) -> Option<BTreeSet<Name>> {
    match &volume.source {
        VolumeSource::Secret(_) => Some(BTreeSet::new()),
        VolumeSource::ConfigMap(source) => cluster_key(&source.name).is_none().then(BTreeSet::new),
        VolumeSource::Projected(sources) => not_counting_of(sources),
        VolumeSource::Other => volume.kind().map(|_| BTreeSet::new()),
        VolumeSource::DownwardApi => None,
    }
}

/// The same for a projected volume. Its sources are written in their order, so that a path which two of them have is
/// the later one's (kubelet `projected.go`, `collectData`).
fn not_counting_of(sources: &[ProjectedSource]) -> Option<BTreeSet<Name>> {
    let name = |path: &FilePath| path.as_name().clone();
    let mut excluded = BTreeSet::new();
    let mut any_counts = false;
    for source in sources {
        match source {
            ProjectedSource::Rotating { paths } => excluded.extend(paths.iter().map(name)),
            ProjectedSource::ConfigMap(source) => {
                match (cluster_key(&source.name), source.items.is_empty()) {
                    (Some(_), false) => excluded.extend(source.items.iter().map(|item| name(&item.path))),
                    (Some(key), true) => excluded.extend([Name::from(key)]),
                    (None, _) => {
                        any_counts = true;
                        for item in &source.items {
                            excluded.remove(item.path.as_name());
                        }
                    }
                }
            }
            ProjectedSource::Secret(_) => any_counts = true,
        }
    }
    any_counts.then_some(excluded)
}

/// The key of a ConfigMap that the cluster puts into every namespace.
pub(super) fn cluster_key(config_map: &str) -> Option<&'static str> {
    CLUSTER_CONFIG_MAPS.iter().find(|(name, _)| *name == config_map).map(|(_, key)| *key)
}

/// A container that was chosen.
struct Told {
    container: Name,
    choice: Choice,
    volumes: Vec<Name>,
}

/// What is done about a container.
enum Choice {
    Tell(Means),
    Measure,
}

impl From<SignalChoice> for Choice {
    fn from(choice: SignalChoice) -> Self {
        match choice {
            SignalChoice::Send(signal) => Self::Tell(signal.into()),
            SignalChoice::Measure => Self::Measure,
        }
    }
}

/// What is asked for the container that is meant: the request, where there is one, stands in the place of the signal.
#[derive(Clone, Copy)]
enum Asks<'a> {
    Signal(SignalChoice),
    Request(&'a Asked),
}

/// The containers that are told or measured, in the order of the spec.
fn told<'a>(
    spec: &'a PodSpec,
    (policy, allowed): (&PodPolicy, Allowed),
    volumes: &[VolumePlan],
    problems: &mut Vec<Problem>,
) -> Vec<Told> {
    // What a container mounts is judged only if it is sure which volumes are meant.
    let mut sure = problems.is_empty();
    if sure && volumes.is_empty() {
        problems.push(no_volume(spec));
        sure = false;
    }
    let asks = policy.http.as_ref().map(Asks::Request).or(policy.signal.map(Asks::Signal));
    let mut choices: BTreeMap<&Name, Asks<'_>> = BTreeMap::new();
    let mut choose = |found: Result<Vec<&'a Container>, Problem>, asks| match found {
        Ok(containers) => choices.extend(containers.into_iter().map(|container| (&container.name, asks))),
        Err(problem) => problems.push(problem),
    };
    let checked = |key: &str, name: &Name| {
        let container = named(spec, key, name)?;
        if sure && directories(container, volumes).is_empty() {
            return Err(mounts_none(key, container, volumes));
        }
        Ok(vec![container])
    };
    match (asks, &policy.container) {
        (Some(asks), Some(name)) => choose(checked(CONTAINER, name), asks),
        (Some(asks), None) if sure => choose(unnamed(spec, policy, volumes, asks), asks),
        // A container without anything to tell it is a problem already unless it has a signal of its own.
        (Some(_) | None, _) => {}
    }
    // The container's own signal comes last and wins.
    for (name, choice) in &policy.per_container {
        let asks = Asks::Signal(*choice);
        choose(checked(&format!("{CONTAINER_SIGNAL_PREFIX}{}", unquoted(name)), name), asks);
    }
    let mut told = Vec::new();
    for container in &spec.containers {
        let choice = match choices.get(&container.name) {
            Some(Asks::Signal(choice)) => (*choice).into(),
            Some(Asks::Request(asked)) => match request(asked, spec, container, policy, allowed) {
                Ok(means) => Choice::Tell(means),
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            },
            None => continue,
        };
        let volumes = directories(container, volumes);
        told.push(Told { container: container.name.clone(), choice, volumes });
    }
    told
}

/// The request to a container that was chosen.
fn request(
    asked: &Asked,
    spec: &PodSpec,
    container: &Container,
    policy: &PodPolicy,
    allowed: Allowed,
) -> Result<Means, Problem> {
    if spec.host_network && !allowed.host_network_http {
        let sentence = format!(
            "{HTTP} asks for a request to a pod with hostNetwork, whose address is its node's: the agent makes such requests only \
             with --allow-host-network-http; {SIGNAL} needs no address"
        );
        return Err(Problem::new(ProblemKind::HostNetwork, sentence));
    }
    let request = asked.to(container, policy.http_scheme, policy.http_timeout);
    let request = request.map_err(|why| Problem::new(ProblemKind::Port, format!("{HTTP} names {why}")))?;
    Ok(Means::Http(Arc::new(request)))
}

/// The container with this name, if it is one that can be told.
fn named<'a>(spec: &'a PodSpec, key: &str, name: &Name) -> Result<&'a Container, Problem> {
    let why = match spec.containers.iter().find(|container| container.name == *name) {
        Some(container) if can_be_told(container) => return Ok(container),
        Some(container) if container.kind == ContainerKind::Ephemeral => "an ephemeral container",
        Some(_) => "an init container, which ends",
        None => "which the pod doesn't have",
    };
    let others =
        spec.containers.iter().filter(|container| can_be_told(container)).map(|container| &*container.name);
    let sentence = format!("{key} names {}, {why}; it can name {}", quoted(name), listed(others));
    Err(Problem::new(ProblemKind::Container, sentence))
}

fn can_be_told(container: &Container) -> bool {
    match container.kind {
        ContainerKind::Regular | ContainerKind::Sidecar => true,
        ContainerKind::Init | ContainerKind::Ephemeral => false,
    }
}

/// Those of the volumes that a container mounts as a directory, in the order of the spec.
fn directories(container: &Container, volumes: &[VolumePlan]) -> Vec<Name> {
    let mounted: BTreeSet<&Name> =
        container.mounts.iter().filter(|mount| mount.sub_path.is_none()).map(|mount| &mount.volume).collect();
    volumes.iter().map(|volume| &volume.name).filter(|name| mounted.contains(name)).cloned().collect()
}

/// Those of the volumes that a container mounts at all.
fn mounts_any<'a>(container: &Container, volumes: &'a [VolumePlan]) -> Vec<&'a str> {
    let mounted: BTreeSet<&Name> = container.mounts.iter().map(|mount| &mount.volume).collect();
    volumes.iter().filter(|volume| mounted.contains(&volume.name)).map(|volume| &*volume.name).collect()
}

/// The container that is meant where none is named: the only regular one that mounts a triggering volume as a
/// directory, else the one of them that kubectl takes. Nothing is sent to a container that nobody chose: a service
/// mesh's sidecar mounts ConfigMaps too. A container with a signal of its own is still one of them: if it were not, the
/// signal would go to the only one left, which nobody chose. Where nothing is sent at all, all of them are measured.
fn unnamed<'a>(
    spec: &'a PodSpec,
    policy: &PodPolicy,
    volumes: &[VolumePlan],
    asks: Asks<'_>,
) -> Result<Vec<&'a Container>, Problem> {
    let key = match asks {
        Asks::Signal(_) => SIGNAL,
        Asks::Request(_) => HTTP,
    };
    let mounting = |kind| {
        let of_kind = spec.containers.iter().filter(move |container| container.kind == kind);
        of_kind.filter(|container| !directories(container, volumes).is_empty()).collect::<Vec<_>>()
    };
    let mut candidates = mounting(ContainerKind::Regular);
    // A container that nobody names isn't meant for a driver's volume alone, as a mesh's for its identity, where another one has
    // what the kubelet publishes.
    let is_kubelets = |container: &&Container| {
        let own = directories(container, volumes);
        volumes.iter().any(|volume| volume.kind != VolumeKind::Csi && own.contains(&volume.name))
    };
    if policy.volumes.is_none() && candidates.iter().any(is_kubelets) {
        candidates.retain(is_kubelets);
    }
    if candidates.is_empty() {
        return Err(no_container(key, spec, volumes, &mounting(ContainerKind::Sidecar)));
    }
    if candidates.len() == 1 || matches!(asks, Asks::Signal(SignalChoice::Measure)) {
        return Ok(candidates);
    }
    let default = policy.default_container.as_ref();
    match candidates.iter().find(|container| Some(&container.name) == default) {
        Some(container) => Ok(vec![*container]),
        None => Err(ambiguous(key, &candidates, default)),
    }
}

fn volume_problem(name: &Name, why: &str) -> Problem {
    Problem::new(ProblemKind::Volume, format!("{VOLUMES} names {}, {why}", quoted(name)))
}

fn no_volume(spec: &PodSpec) -> Problem {
    let mut sentence = String::from(
        "the pod has no volume that can trigger: a configMap, secret, projected or csi volume with more than tokens, pod fields and the \
         cluster's own certificates",
    );
    let writable = |volume: &&Volume| volume.csi.as_ref().is_some_and(|csi| !csi.read_only);
    let writable: Vec<&str> = spec.volumes.iter().filter(writable).map(|volume| &*volume.name).collect();
    if !writable.is_empty() {
        sentence +=
            &format!("; a csi volume has to have readOnly: true, which isn't so of {}", listed(writable));
    }
    Problem::new(ProblemKind::Volume, sentence)
}

fn names(volumes: &[VolumePlan]) -> String {
    listed(volumes.iter().map(|volume| &*volume.name))
}

fn mounts_none(key: &str, container: &Container, volumes: &[VolumePlan]) -> Problem {
    let by_sub_path = mounts_any(container, volumes);
    let why = if by_sub_path.is_empty() {
        format!("mounts none of the volumes that can trigger: {}", names(volumes))
    } else {
        format!("mounts {} only by subPath, which never changes in place", listed(by_sub_path))
    };
    Problem::new(ProblemKind::Container, format!("{key} names {}, which {why}", quoted(&container.name)))
}

fn no_container(key: &str, spec: &PodSpec, volumes: &[VolumePlan], sidecars: &[&Container]) -> Problem {
    let mut sentence =
        format!("{key} finds no container: no regular one mounts {} as a directory", names(volumes));
    let regular = |container: &&Container| container.kind == ContainerKind::Regular;
    if spec.containers.iter().filter(regular).any(|container| !mounts_any(container, volumes).is_empty()) {
        sentence += ", only by subPath, which never changes in place";
    }
    if !sidecars.is_empty() {
        let sidecars = listed(sidecars.iter().map(|container| &*container.name));
        sentence += &format!("; native sidecars are told only by name, with {CONTAINER}: {sidecars}");
    }
    Problem::new(ProblemKind::Container, sentence)
}

fn ambiguous(key: &str, candidates: &[&Container], default: Option<&Name>) -> Problem {
    let among = listed(candidates.iter().map(|container| &*container.name));
    let mut sentence = format!("{key} could mean {among}: name one of them with {CONTAINER}");
    if let Some(default) = default {
        sentence += &format!(" ({DEFAULT_CONTAINER} names {}, none of them)", quoted(default));
    }
    Problem::new(ProblemKind::Ambiguous, sentence)
}

/// Whoever writes annotations doesn't decide how much is remembered of them.
fn bounded(mut problems: Vec<Problem>) -> Vec<Problem> {
    let cut = problems.split_off(problems.len().min(MOST_PROBLEMS));
    let last =
        cut.first().map(|first| Problem::new(first.kind, format!("there are {} more problems", cut.len())));
    problems.extend(last);
    problems
}

#[cfg(test)]
mod tests;
