//! What is wrong with a workload, or will never work.

use std::collections::BTreeSet;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::Annotations;
use reloadlet_core::model::shown::{listed, quoted, unquoted};
use reloadlet_core::policy::annotations::{self, DEBOUNCE, DEFAULT_CONTAINER, KEYS, ROLLOUT};
use reloadlet_core::policy::plan::Allowed;
use reloadlet_core::policy::problem::Problem;
use reloadlet_core::policy::references::{
    self, Effect, Known, Part, Reference, References, Subject, Why, references,
};
use reloadlet_core::policy::reloader::Form;
use reloadlet_core::policy::rollout::Asked;
use reloadlet_manifest::{Workload, WorkloadKind};

use super::codes::{Code, of_problem, of_reference};
use super::finding::{Finding, Level};
use super::objects::Objects;
use super::{absent, content, in_place, programs, reloader};

/// What a change of each object does to a workload's pods, and what is found about it.
pub(super) fn of(workload: &Workload, objects: &Objects, allowed: Allowed) -> (Vec<Reference>, Vec<Finding>) {
    // Which namespace it is decides about no reference.
    let namespace = workload.namespace.clone().unwrap_or_else(|| "default".into());
    let Asked { rolls, manner, problems: mut of_rolls, .. } = asked(workload);
    let is_rolled = rolls && of_rolls.is_empty();
    let References { all: mut references, is_cut, problems } =
        references(&workload.spec, &namespace, allowed, |kind, name| {
            let known = objects.known(kind, name, workload.namespace.as_ref());
            // What it asks for badly isn't done.
            Known { rolls: is_rolled, ..known }
        });
    let of_restarts = in_place::of(&workload.spec, manner, &mut references);
    let mut findings = errors(problems);
    of_rolls.retain(|problem| !findings.iter().any(|said| said.sentence == problem.sentence));
    findings.extend(errors(of_rolls));
    findings.extend(never_rolled(workload));
    findings.extend(misplaced(workload));
    findings.extend(of_restarts);
    findings.extend(references.iter().filter_map(|reference| never(reference, workload.spec.asks())));
    findings.extend(of_no_files(&references));
    findings.extend(beside_directories(&references));
    findings.extend(programs::of(&workload.spec, &references));
    findings.extend(absent::of(workload, &references, objects));
    findings.extend(content::of(workload, &references, objects));
    findings.extend(checksums(workload, &references));
    findings.extend(reloader::of(workload, &references, objects, is_rolled));
    findings.extend(is_cut.then(too_many));
    findings.dedup();
    (references, findings)
}

/// What the agent says of such a pod.
fn errors(problems: Vec<Problem>) -> Vec<Finding> {
    let findings = problems.into_iter().filter_map(|problem| {
        Some(Finding::new(of_problem(problem.kind)?, Level::Error, problem.sentence, None))
    });
    findings.collect()
}

/// Nobody reads so many.
fn too_many() -> Finding {
    let sentence = format!(
        "it has more than {} references, with the items of its volumes counted at each mount: the rest isn't shown",
        references::MOST
    );
    Finding::new(Code::TooLarge, Level::Warning, sentence, None)
}

/// Annotations of ours that stand where no pod has them.
fn misplaced(workload: &Workload) -> Vec<Finding> {
    let is_rolled = asked(workload).rolls;
    let missing = |found: &'_ Annotations| -> Vec<String> {
        let counts = |key: &str| annotations::is_of_workloads(key) || (is_rolled && key == DEBOUNCE);
        let ours = found.keys().filter(|key| *key != DEFAULT_CONTAINER && !counts(key));
        ours.filter(|key| workload.spec.annotations.get(*key) != found.get(*key)).cloned().collect()
    };
    // A Deployment's ReplicaSets have its annotations: they are said of it.
    if workload.form == Form::Owned {
        return Vec::new();
    }
    let (kind, template) = (workload.kind, place_of_pods(workload));
    let places = [
        (&workload.annotations, format!("on the {kind}")),
        (&workload.of_jobs, "on the template of its Jobs".to_owned()),
    ];
    let mut findings = Vec::new();
    for (found, place) in places {
        let which = match &*missing(found) {
            [] => String::new(),
            [key] => format!("{} is", unquoted(key)),
            keys => format!("{} are", listed(keys.iter().map(String::as_str))),
        };
        if !which.is_empty() {
            let sentence = format!("{which} {place}, and its pods have the annotations of its template");
            let remedy = format!("write it at {template}");
            findings.push(Finding::new(Code::MisplacedAnnotation, Level::Error, sentence, Some(remedy)));
        }
    }
    findings
}

/// Where the annotations of a workload's pods are written.
fn place_of_pods(workload: &Workload) -> &'static str {
    match (workload.kind, workload.form) {
        (_, Form::Rollout { has_template: false }) => {
            "spec.template.metadata.annotations of the workload that it refers to"
        }
        (WorkloadKind::CronJob, _) => "spec.jobTemplate.spec.template.metadata.annotations",
        (WorkloadKind::PodTemplate, _) => "template.metadata.annotations",
        (_, _) => "spec.template.metadata.annotations",
    }
}

/// A workload that asks to be rolled, and is of a kind that isn't: of its pods is said what they don't get, where they ask themselves.
fn never_rolled(workload: &Workload) -> Option<Finding> {
    let asked = Asked::of(&workload.annotations, &workload.spec.annotations);
    let is_asked = asked.rolls && asked.problems.is_empty();
    if !is_asked || is_rolled_kind(workload.kind) || workload.form == Form::Owned {
        return None;
    }
    let sentence = format!(
        "{ROLLOUT} is on the {}, and only Deployments, StatefulSets and DaemonSets are rolled: of its pods it is said what they don't get",
        workload.kind
    );
    let is_on_pods = workload.spec.annotations.contains_key(ROLLOUT);
    let remedy =
        (!is_on_pods).then(|| format!("write it at {}, where agents read it", place_of_pods(workload)));
    Some(Finding::new(Code::Unsupported, Level::Warning, sentence, remedy))
}

/// What a workload asks the controller for; nothing where it is of a kind that isn't rolled.
fn asked(workload: &Workload) -> Asked {
    if is_rolled_kind(workload.kind) {
        Asked::of(&workload.annotations, &workload.spec.annotations)
    } else {
        Asked::default()
    }
}

/// Whether workloads of this kind are rolled.
const fn is_rolled_kind(kind: WorkloadKind) -> bool {
    match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => true,
        WorkloadKind::Pod
        | WorkloadKind::PodTemplate
        | WorkloadKind::ReplicaSet
        | WorkloadKind::ReplicationController
        | WorkloadKind::Job
        | WorkloadKind::CronJob
        | WorkloadKind::Rollout
        | WorkloadKind::DeploymentConfig => false,
    }
}

fn never(reference: &Reference, asks: bool) -> Option<Finding> {
    // What has no name is found for that.
    let has_no_name =
        reference.subject.name().is_empty() || matches!(&reference.part, Part::Key(key) if key.is_empty());
    if reference.effect != Effect::Never || has_no_name {
        return None;
    }
    // What a driver mounts is no configuration, unless somebody says so.
    if reference.why == Why::Writable && matches!(reference.subject, Subject::Driver(_)) && !asks {
        return None;
    }
    let is_hint = !reference.is_certain
        || matches!(reference.why, Why::InitContainer | Why::Unmounted | Why::Ephemeral);
    let level = if is_hint { Level::Hint } else { Level::Warning };
    Some(Finding::new(of_reference(reference.why)?, level, reference.to_string(), reference.remedy()))
}

/// Objects of which no file counts in a container that is told of others: what the pod says of files may have a typing error.
fn of_no_files(references: &[Reference]) -> Vec<Finding> {
    let counting = references::live_mounts(references.iter());
    let left_out = references.iter().filter(|reference| reference.why == Why::OtherKeys);
    let left_out: BTreeSet<references::Mount<'_>> =
        left_out.filter(|reference| !reference.is_left_out_of(&counting)).map(Reference::mount).collect();
    let finding = |(container, _, object): references::Mount<'_>| {
        let sentence = format!(
            "no change of {} {} is told to container {}: none of its keys is one of those that count",
            object.written(),
            quoted(object.name()),
            quoted(container.map(|name| &**name).unwrap_or_default())
        );
        Finding::new(Code::OtherKeys, Level::Warning, sentence, Some(format!("add its files to {KEYS}")))
    };
    left_out.into_iter().map(finding).collect()
}

/// A container that has a volume as a directory doesn't need a part of it by subPath.
fn beside_directories(references: &[Reference]) -> Vec<Finding> {
    let by = |why: Why| {
        let of = references.iter().filter(move |reference| reference.why == why);
        of.filter_map(|reference| Some((reference.container.as_ref()?, reference.volume.as_ref()?)))
    };
    let told: BTreeSet<(&Name, &Name)> = by(Why::Told).chain(by(Why::Watches)).collect();
    let both: BTreeSet<(&Name, &Name)> = by(Why::FrozenSubPath).filter(|one| told.contains(one)).collect();
    let finding = |(container, volume): (&Name, &Name)| {
        let sentence = format!(
            "container {} mounts volume {} as a directory and by subPath: after a change the two differ until it is restarted",
            quoted(container),
            quoted(volume)
        );
        let remedy = String::from("let the program read the file in the directory");
        Finding::new(Code::SubPathBesideDirectory, Level::Warning, sentence, Some(remedy))
    };
    both.into_iter().map(finding).collect()
}

/// A chart that writes a checksum of a configuration into the template makes a new template of each change.
fn checksums(workload: &Workload, references: &[Reference]) -> Option<Finding> {
    let is_live = |reference: &&Reference| {
        matches!(reference.effect, Effect::Signal(_) | Effect::Http(_) | Effect::Itself)
    };
    let live = references.iter().find(is_live)?;
    let keys: Vec<&str> = workload
        .template_others
        .keys()
        .filter(|key| key.starts_with("checksum/"))
        .map(String::as_str)
        .collect();
    if keys.is_empty() {
        return None;
    }
    let sentence = format!(
        "the template has {}: an upgrade that changes the configuration rolls the pods, although container {} {}",
        listed(keys),
        quoted(live.container.as_deref().unwrap_or_default()),
        match &live.effect {
            Effect::Signal(signal) => format!("is told by {signal}"),
            Effect::Http(request) => format!("is told by {request}"),
            Effect::Itself | Effect::Roll | Effect::Restart | Effect::Never =>
                "watches its files itself".into(),
        }
    );
    let remedy = String::from("take away what is of nothing but configuration that containers are told of");
    Some(Finding::new(Code::HelmChecksum, Level::Warning, sentence, Some(remedy)))
}
