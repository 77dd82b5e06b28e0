//! What Reloader does with a workload today, and what becomes of a change here.

use std::collections::BTreeSet;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::shown::quoted;
use reloadlet_core::policy::references::{Effect, Reference, Way};
use reloadlet_core::policy::reloader::{self, Asking, Marks, Rules, consumer, remarks};
use reloadlet_manifest::{Workload, WorkloadKind};

use super::codes::{Code, of_remark};
use super::finding::{Finding, Level};
use super::objects::Objects;

/// What is found about a workload that Reloader looks at; nothing without annotations of its.
pub(super) fn of(workload: &Workload, references: &[Reference], objects: &Objects) -> Vec<Finding> {
    let asking = Asking::new(&workload.others, &workload.template_others);
    if !asking.is_any() {
        return Vec::new();
    }
    let remark = |remark: reloader::Remark| {
        Finding::new(of_remark(remark.kind), Level::Warning, remark.sentence, None)
    };
    let mut findings: Vec<Finding> = remarks(&asking).into_iter().map(remark).collect();
    for (kind, name) in concerned(&asking, references) {
        let said = objects.get(kind, &name, workload.namespace.as_ref());
        let (marks, odd) = said.map_or((Marks::default(), &[][..]), |said| (said.marks, &*said.remarks));
        findings.extend(odd.iter().map(|odd| {
            let sentence = format!("{} {}: {}", kind.written(), quoted(&name), odd.sentence);
            Finding::new(of_remark(odd.kind), Level::Warning, sentence, None)
        }));
        let rules = Rules::Reloader { auto_reload_all: false };
        let is_used = consumer(&workload.spec, kind, &name).is_some();
        if asking.decide(kind.into(), &name, marks, rules).rolls(is_used)
            && let Some(does) = does(workload.kind)
        {
            let sentence = format!(
                "when {} {} changes, Reloader 1.4 {does}; reloadlet {}",
                kind.written(),
                quoted(&name),
                here(references, kind, &name)
            );
            findings.push(Finding::new(Code::ReloaderRolls, Level::Hint, sentence, None));
        }
    }
    findings
}

/// The objects that the workload uses or names.
fn concerned(asking: &Asking<'_>, references: &[Reference]) -> BTreeSet<(ObjectKind, Name)> {
    let used = references.iter().filter_map(Reference::object).map(|(kind, name)| (kind, name.clone()));
    let named = ObjectKind::ALL
        .into_iter()
        .flat_map(|kind| asking.named(kind.into()).into_iter().map(move |name| (kind, Name::from(name))));
    used.chain(named).collect()
}

/// What Reloader does with such a workload; `None` where it doesn't look at it.
const fn does(kind: WorkloadKind) -> Option<&'static str> {
    match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => Some("rolls it"),
        WorkloadKind::CronJob => Some("starts a Job of it at once"),
        WorkloadKind::Job => Some("deletes it and makes it again, also if it is complete"),
        WorkloadKind::Pod
        | WorkloadKind::PodTemplate
        | WorkloadKind::ReplicaSet
        | WorkloadKind::ReplicationController => None,
    }
}

/// What reloadlet does.
fn here(references: &[Reference], kind: ObjectKind, name: &Name) -> String {
    let of =
        |reference: &&Reference| reference.object() == Some((kind, name)) && reference.way != Way::Unmounted;
    let mut parts: Vec<String> = Vec::new();
    for reference in references.iter().filter(of) {
        let container = quoted(reference.container.as_deref().unwrap_or_default());
        let part = match &reference.effect {
            Effect::Http(request) => format!("tells container {container} by {request}"),
            Effect::Signal(signal) => format!("tells container {container} by {signal}"),
            Effect::Itself => format!("leaves container {container}, which watches its files itself"),
            Effect::Roll => continue,
            Effect::Never => format!("does nothing for container {container} ({})", reference.why.as_str()),
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.is_empty() { String::from("does nothing, as no container uses it") } else { parts.join(", ") }
}
