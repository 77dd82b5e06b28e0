//! What is against the restart in place for which a workload asks, as far as its manifest says it.

use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::{Container, ContainerKind, PodSpec, Restarts};
use reloadlet_core::model::shown::quoted;
use reloadlet_core::policy::annotations::ROLLOUT;
use reloadlet_core::policy::references::{Effect, Reference};
use reloadlet_core::policy::rollout::Manner;

use super::codes::Code;
use super::finding::{Finding, Level};

/// Makes of the rolls among these references the restarts for which the workload asks, but for containers that can't be restarted in
/// place, and says which those are.
pub(super) fn of(spec: &PodSpec, manner: Manner, references: &mut [Reference]) -> Vec<Finding> {
    if !manner.is_in_place() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for reference in references.iter_mut().filter(|reference| reference.effect == Effect::Roll) {
        let container = reference.container.as_ref().and_then(|name| container(spec, name));
        let Some(why) = container.and_then(|container| against(container, spec.restarts)) else {
            reference.effect = Effect::Restart;
            continue;
        };
        let name = quoted(container.map(|container| &*container.name).unwrap_or_default());
        let (level, follows, remedy) = if manner == Manner::Either {
            (Level::Hint, "its pods are replaced instead", None)
        } else {
            reference.effect = Effect::Never;
            let remedy = format!("{ROLLOUT}: in-place,rollout has its pods replaced");
            (Level::Warning, "it keeps the old content", Some(remedy))
        };
        let sentence = format!("container {name} can't be restarted in place, as {why}: {follows}");
        let finding = Finding::new(Code::NotInPlace, level, sentence, remedy);
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

fn container<'a>(spec: &'a PodSpec, name: &Name) -> Option<&'a Container> {
    spec.containers.iter().find(|container| container.name == *name)
}

/// What is against ending a container, so that the kubelet starts it again. `of_pod` is the policy of its pod.
fn against(container: &Container, of_pod: Restarts) -> Option<&'static str> {
    if container.kind == ContainerKind::Init {
        return Some("an init container isn't run again");
    }
    if container.has_pre_stop {
        return Some("it has a preStop hook, which only the kubelet runs");
    }
    let is_sidecar = container.kind == ContainerKind::Sidecar;
    let restarts = if is_sidecar { Restarts::Always } else { container.restarts.unwrap_or(of_pod) };
    (container.has_restart_rules || restarts != Restarts::Always)
        .then_some("it isn't started again always (restartPolicy, restartPolicyRules)")
}
