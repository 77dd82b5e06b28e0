//! What workloads name and the manifests don't have.

use std::collections::BTreeSet;

use reloadlet_core::model::names::{Name, is_variable};
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{Volume, VolumeSource};
use reloadlet_core::model::shown::{quoted, unquoted};
use reloadlet_core::policy::references::{Keys, Part, Reference, Way, Why, is_clusters};
use reloadlet_manifest::{Workload, WorkloadKind};

use super::codes::Code;
use super::finding::{Finding, Level};
use super::objects::Objects;

/// So many mounts of volumes that aren't there are said of one workload.
const MOST_MISSING: usize = 100;

/// What isn't there of all that a workload uses.
pub(super) fn of(workload: &Workload, references: &[Reference], objects: &Objects) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut said, mut said_empty) = (BTreeSet::new(), BTreeSet::new());
    // Who can't do without it is told of first.
    let is_others =
        |reference: &&Reference| reference.object().is_some_and(|(kind, name)| !is_clusters(kind, name));
    let of_several = |volume: &&Volume| matches!(volume.source, VolumeSource::Projected(_));
    let projected: BTreeSet<&Name> =
        workload.spec.volumes.iter().filter(of_several).map(|volume| &volume.name).collect();
    let mut counting: Vec<&Reference> = references.iter().filter(is_others).collect();
    counting.sort_by_key(|reference| reference.optional);
    for reference in counting {
        let Some((kind, name)) = reference.object() else { continue };
        let is_projected = reference.volume.as_ref().is_some_and(|volume| projected.contains(volume));
        if let Some(field) = empty(reference, kind, name, is_projected) {
            if said_empty.insert((reference.container.as_ref(), field)) {
                findings.push(without_name(reference, field));
            }
            continue;
        }
        let Some(found) = objects.get(kind, name, workload.namespace.as_ref()) else {
            if objects.has_any(kind) && said.insert((kind, name, None)) {
                findings.push(object(workload, reference, kind, name, objects));
            }
            continue;
        };
        let Some(keys) = found.keys() else { continue };
        if !is_projected {
            findings.extend(misspelt(reference, (kind, name), keys, objects));
        }
        for key in missing(reference, keys) {
            if said.insert((kind, name, Some(key))) {
                let near = objects.nearest_key(keys.all, key);
                findings.push(of_key(reference, kind, name, key, keys, near));
            }
        }
        findings.extend(skipped(reference, (kind, name, workload.namespace.as_ref()), keys, objects));
    }
    findings.extend(mounts_of_nothing(workload));
    findings
}

/// The field that should name what is used, and doesn't.
fn empty(reference: &Reference, kind: ObjectKind, name: &Name, is_projected: bool) -> Option<&'static str> {
    let is_secret = kind == ObjectKind::Secret;
    let of = |secret, config_map| Some(if is_secret { secret } else { config_map });
    match (reference.way, &reference.part) {
        (Way::Variable | Way::Arguments, _) if name.is_empty() => {
            of("env[].valueFrom.secretKeyRef.name", "env[].valueFrom.configMapKeyRef.name")
        }
        (Way::Variable, Part::Key(key)) if key.is_empty() => {
            of("env[].valueFrom.secretKeyRef.key", "env[].valueFrom.configMapKeyRef.key")
        }
        _ if !name.is_empty() => None,
        (Way::Variables, _) => of("envFrom[].secretRef.name", "envFrom[].configMapRef.name"),
        _ if is_projected => {
            of("volumes[].projected.sources[].secret.name", "volumes[].projected.sources[].configMap.name")
        }
        (
            Way::Directory
            | Way::Projected
            | Way::SubPath
            | Way::Unmounted
            | Way::Csi
            | Way::Variable
            | Way::Arguments,
            _,
        ) => of("volumes[].secret.secretName", "volumes[].configMap.name"),
    }
}

fn without_name(reference: &Reference, field: &str) -> Finding {
    let volume = reference.volume.as_ref().map(|volume| format!(" of volume {}", quoted(volume)));
    let container =
        reference.container.as_ref().map(|container| format!(" for container {}", quoted(container)));
    let [volume, container] = [volume, container].map(Option::unwrap_or_default);
    let sentence = format!("{field}{volume} is empty or missing{container}: nothing is named there");
    Finding::new(Code::EmptyName, Level::Warning, sentence, None)
}

/// Mounts of volumes that aren't there. Those of a StatefulSet may be claims.
fn mounts_of_nothing(workload: &Workload) -> Vec<Finding> {
    if workload.kind == WorkloadKind::StatefulSet {
        return Vec::new();
    }
    let volumes: BTreeSet<&Name> = workload.spec.volumes.iter().map(|volume| &volume.name).collect();
    let mut missing = BTreeSet::new();
    for container in &workload.spec.containers {
        let of_nothing = container.mounts.iter().filter(|mount| !volumes.contains(&mount.volume));
        missing.extend(of_nothing.map(|mount| (&container.name, &mount.volume)));
    }
    let finding = |(container, volume): (&Name, &Name)| {
        let sentence = format!(
            "container {} mounts volume {}, which the pod doesn't have",
            quoted(container),
            quoted(volume)
        );
        Finding::new(Code::MissingVolume, Level::Warning, sentence, None)
    };
    missing.into_iter().take(MOST_MISSING).map(finding).collect()
}

fn object(
    workload: &Workload,
    reference: &Reference,
    kind: ObjectKind,
    name: &Name,
    objects: &Objects,
) -> Finding {
    let place = workload.namespace.as_ref().map(|namespace| format!(" in namespace {namespace}"));
    let what = format!("{} {}{}", kind.written(), quoted(name), place.unwrap_or_default());
    let elsewhere = objects.elsewhere(kind, name);
    let remedy =
        elsewhere.map(|namespace| format!("one of this name is in namespace {}", unquoted(namespace)));
    let remedy = remedy.or_else(|| objects.nearest(kind, name).as_ref().map(is_it));
    if reference.optional {
        return optional(reference, &what, "isn't among the manifests", remedy);
    }
    Finding::new(Code::MissingObject, Level::Hint, format!("{what} isn't among the manifests"), remedy)
}

/// The keys that are used one by one, and aren't there.
fn missing<'a>(reference: &'a Reference, keys: Keys<'_>) -> Vec<&'a Name> {
    let named = match &reference.part {
        // What a path without items shows may be a directory that nothing is in.
        Part::Everything | Part::Variables { .. } => Vec::new(),
        Part::Files { items, .. } if items.is_empty() => Vec::new(),
        _ if reference.way == Way::Unmounted => Vec::new(),
        // Which of the objects has the variable isn't known.
        Part::Key(_) if reference.way == Way::Arguments => Vec::new(),
        Part::Key(_) | Part::Files { .. } => reference.part.keys(),
    };
    let is_there = |key: &Name| match reference.way {
        Way::Variable | Way::Variables | Way::Arguments => keys.have_text(key),
        Way::Directory | Way::Projected | Way::Csi | Way::SubPath | Way::Unmounted => keys.all.contains(key),
    };
    named.into_iter().filter(|key| !is_there(key)).collect()
}

/// A path in a volume of one object that none of its keys is: the mount shows a directory that nothing is in
/// (kubelet `kubelet_pods.go`, `makeMounts`).
fn misspelt(
    reference: &Reference,
    (kind, name): (ObjectKind, &Name),
    keys: Keys<'_>,
    objects: &Objects,
) -> Option<Finding> {
    let Part::Files { items, path: Some(path) } = &reference.part else { return None };
    let first = path.as_str().split('/').next().unwrap_or_default();
    let is_shown =
        !items.is_empty() || keys.all.contains(first) || first.contains("$(") || first.starts_with('.');
    if reference.way != Way::SubPath || reference.why != Why::FrozenSubPath || is_shown {
        return None;
    }
    let volume = reference.volume.as_deref()?;
    let sentence = format!(
        "container {} mounts by subPath {} of volume {}, which no key of {} {} is: it shows an empty directory",
        quoted(reference.container.as_deref().unwrap_or_default()),
        quoted(path.as_str()),
        quoted(volume),
        kind.written(),
        quoted(name)
    );
    let remedy = objects.nearest_key(keys.all, first).map(is_it);
    Some(Finding::new(Code::EmptySubPath, Level::Warning, sentence, remedy))
}

fn of_key(
    reference: &Reference,
    kind: ObjectKind,
    name: &Name,
    key: &Name,
    keys: Keys<'_>,
    near: Option<&Name>,
) -> Finding {
    let (kind, name) = (kind.written(), quoted(name));
    // It can be there, and be no text.
    let is_binary = keys.binary.contains(key);
    let remedy = if is_binary {
        Some(String::from("write it in data: no variable has a key of binaryData"))
    } else {
        near.map(is_it)
    };
    let place = if is_binary { " in its data" } else { "" };
    if reference.optional {
        let what = format!("key {} of {kind} {name}", quoted(key));
        let missing = if is_binary { "isn't in its data" } else { "isn't in it" };
        return optional(reference, &what, missing, remedy);
    }
    let whose = reference.container.as_deref().unwrap_or_default();
    let sentence = format!(
        "{kind} {name} has no key {}{place}, without which container {} isn't started",
        quoted(key),
        quoted(whose)
    );
    Finding::new(Code::MissingKey, Level::Warning, sentence, remedy)
}

fn optional(reference: &Reference, what: &str, missing: &str, remedy: Option<String>) -> Finding {
    let later = match reference.way {
        Way::Variable | Way::Variables | Way::Arguments | Way::SubPath => {
            "a container that starts without it goes on without it, also when it comes later"
        }
        Way::Directory | Way::Projected | Way::Csi | Way::Unmounted => "its files appear when it comes",
    };
    let sentence = format!("{what} is optional and {missing}: {later}");
    Finding::new(Code::OptionalAbsent, Level::Hint, sentence, remedy)
}

fn is_it(near: &Name) -> String {
    format!("{} is: is that one meant?", quoted(near))
}

/// The first of the keys that older kubelets leave out of the environment.
fn skipped(
    reference: &Reference,
    object: (ObjectKind, &Name, Option<&Name>),
    keys: Keys<'_>,
    objects: &Objects,
) -> Option<Finding> {
    if reference.way != Way::Variables {
        return None;
    }
    let prefix = reference.part.prefix();
    let is_skipped = |key: &&Name| keys.have_text(key) && !is_variable(&format!("{prefix}{key}"), false);
    let all = || {
        let mut skipped = keys.all.iter().filter(is_skipped);
        let first = skipped.next().cloned()?;
        Some((first, skipped.count()))
    };
    let (key, others) = objects.of_keys(object, prefix, keys.all, all)?;
    let (kind, name, _) = object;
    let with_prefix = if prefix.is_empty() {
        String::new()
    } else {
        format!(" with its prefix, {},", quoted(&format!("{prefix}{key}")))
    };
    let (others, are, it) = match others {
        0 => (String::new(), "is no name of an environment variable", "it"),
        1 => (String::from(", and one more key,"), "are no names of environment variables", "them"),
        more => (format!(", and {more} more keys,"), "are no names of environment variables", "them"),
    };
    let sentence = format!(
        "key {} of {} {}{with_prefix}{others} {are} before Kubernetes 1.32, where the kubelet leaves {it} out",
        quoted(&key),
        kind.written(),
        quoted(name)
    );
    Some(Finding::new(Code::SkippedVariable, Level::Hint, sentence, None))
}
