//! What is wrong with a workload, or will never work.

use std::collections::{BTreeMap, BTreeSet};

use reloadlet_core::model::closed::closed_set;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::PodSpec;
use reloadlet_core::model::shown::{listed, quoted, unquoted};
use reloadlet_core::policy::annotations::DEFAULT_CONTAINER;
use reloadlet_core::policy::plan::Planned;
use reloadlet_core::policy::references::{Effect, Reference, Why, references};
use reloadlet_core::policy::select;
use reloadlet_manifest::{OtherObject, Workload};

use super::codes::{Code, of_problem, of_reference};

closed_set! {
    /// How much a finding matters.
    pub(crate) enum Level {
        /// It may be meant so, or be right elsewhere.
        Hint => "hint",
        /// Something will never reach its program.
        Warning => "warning",
        /// Nothing is told as long as it is so.
        Error => "error",
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) level: Level,
    pub(super) sentence: String,
    /// What would change it.
    pub(super) remedy: Option<String>,
}

impl Finding {
    fn new(code: Code, level: Level, sentence: String, remedy: Option<String>) -> Self {
        Self { code, level, sentence, remedy }
    }
}

/// The ConfigMaps and Secrets among the manifests, by kind and name, each with the namespaces in which it is; the empty one stands
/// for one that isn't written.
#[derive(Debug, Default)]
pub(super) struct Objects(BTreeMap<(ObjectKind, Name), BTreeSet<Name>>);

/// Names that differ in more letters than these aren't taken for the same one misspelled.
const MOST_LETTERS: usize = 3;
/// So many names are compared at most for each object that is missing.
const MOST_COMPARED: usize = 2_000;

impl Objects {
    /// Takes in one object, if it is such a one.
    pub(super) fn add(&mut self, object: &OtherObject) {
        let kind = match (object.group.as_str(), object.kind.as_str()) {
            ("", "ConfigMap") => ObjectKind::ConfigMap,
            ("", "Secret") => ObjectKind::Secret,
            _ => return,
        };
        if let Some(name) = &object.name {
            let namespace = object.namespace.clone().unwrap_or_else(|| "".into());
            self.0.entry((kind, name.clone())).or_default().insert(namespace);
        }
    }

    /// Whether one of a kind is among them at all: without, the objects come from elsewhere.
    fn has_any(&self, kind: ObjectKind) -> bool {
        self.0.keys().any(|(of, _)| *of == kind)
    }

    /// Whether it is there, as far as that can be said: where a namespace isn't written, whoever applies the manifest chooses it.
    fn has(&self, kind: ObjectKind, name: &Name, namespace: Option<&Name>) -> bool {
        self.0.get(&(kind, name.clone())).is_some_and(|namespaces| {
            namespace.is_none_or(|own| namespaces.contains(own) || namespaces.contains(""))
        })
    }

    /// The name that is nearest to one that isn't there.
    fn nearest(&self, kind: ObjectKind, name: &str) -> Option<&Name> {
        let of_kind = self.0.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name).take(MOST_COMPARED);
        let near = of_kind.map(|known| (strsim::osa_distance(known, name), known));
        near.filter(|(letters, _)| *letters <= MOST_LETTERS && *letters < name.len())
            .min()
            .map(|(_, known)| known)
    }
}

/// What a change of each object does to a workload's pods, and what is found about it.
pub(super) fn of(workload: &Workload, objects: &Objects) -> (Vec<Reference>, Vec<Finding>) {
    // Which namespace it is decides about no reference.
    let namespace = workload.namespace.clone().unwrap_or_else(|| "default".into());
    let references = references(&workload.spec, &namespace, |_, _| false);
    let mut findings = problems(&workload.spec, &namespace);
    findings.extend(misplaced(workload));
    findings.extend(references.iter().filter_map(never));
    findings.extend(beside_directories(&references));
    findings.extend(missing(workload, &references, objects));
    findings.dedup();
    (references, findings)
}

/// What the agent says of such a pod.
fn problems(spec: &PodSpec, namespace: &Name) -> Vec<Finding> {
    let Planned::Invalid(problems) = select::plan(spec, namespace) else { return Vec::new() };
    let findings = problems.into_iter().filter_map(|problem| {
        Some(Finding::new(of_problem(problem.kind)?, Level::Error, problem.sentence, None))
    });
    findings.collect()
}

fn misplaced(workload: &Workload) -> Option<Finding> {
    let ours = workload.annotations.keys().filter(|key| *key != DEFAULT_CONTAINER);
    let missing: Vec<&str> =
        ours.filter(|key| !workload.spec.annotations.contains_key(*key)).map(String::as_str).collect();
    let kind = workload.kind;
    let sentence = match &*missing {
        [] => return None,
        [key] => {
            format!("{} is on the {kind}, and its pods have the annotations of its template", unquoted(key))
        }
        keys => format!(
            "{} are on the {kind}, and its pods have the annotations of its template",
            listed(keys.iter().copied())
        ),
    };
    let remedy = "write it at spec.template.metadata.annotations".replacen(
        "spec.template",
        if kind.as_str() == "CronJob" { "spec.jobTemplate.spec.template" } else { "spec.template" },
        1,
    );
    Some(Finding::new(Code::MisplacedAnnotation, Level::Error, sentence, Some(remedy)))
}

fn never(reference: &Reference) -> Option<Finding> {
    if reference.effect != Effect::Never {
        return None;
    }
    let level = match reference.why {
        Why::InitContainer | Why::Unmounted => Level::Hint,
        Why::FrozenEnvironment
        | Why::FrozenSubPath
        | Why::Unasked
        | Why::Problem
        | Why::OtherContainer
        | Why::Sidecar
        | Why::OtherVolume
        | Why::OtherKeys
        | Why::ClusterObject
        | Why::Told
        | Why::Watches => Level::Warning,
    };
    Some(Finding::new(of_reference(reference.why)?, level, reference.to_string(), reference.remedy()))
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

fn missing(workload: &Workload, references: &[Reference], objects: &Objects) -> Vec<Finding> {
    let used: BTreeSet<(ObjectKind, &Name)> = references
        .iter()
        .filter(|reference| reference.why != Why::ClusterObject)
        .map(|reference| (reference.kind, &reference.object))
        .collect();
    let is_missing = |(kind, name): &(ObjectKind, &Name)| {
        objects.has_any(*kind) && !objects.has(*kind, name, workload.namespace.as_ref())
    };
    let finding = |(kind, name): (ObjectKind, &Name)| {
        let word = match kind {
            ObjectKind::ConfigMap => "ConfigMap",
            ObjectKind::Secret => "Secret",
        };
        let place = workload
            .namespace
            .as_ref()
            .map(|namespace| format!(" in namespace {namespace}"))
            .unwrap_or_default();
        let sentence = format!("{word} {}{place} isn't among the manifests", quoted(name));
        let remedy =
            objects.nearest(kind, name).map(|near| format!("{} is: is that one meant?", quoted(near)));
        Finding::new(Code::MissingObject, Level::Hint, sentence, remedy)
    };
    used.into_iter().filter(is_missing).map(finding).collect()
}
