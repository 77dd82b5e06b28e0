//! What is against the restart in place for which a workload asks, as far as its manifest says it.

use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::{Container, PodSpec};
use reloadlet_core::model::shown::quoted;
use reloadlet_core::policy::annotations::ROLLOUT;
use reloadlet_core::policy::references::{Effect, Reference};
use reloadlet_core::policy::restart;
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
        let Some(why) = container.and_then(|container| restart::against(container, spec.restarts)) else {
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
        let sentence =
            format!("container {name} can't be restarted in place, as {}: {follows}", why.sentence());
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
