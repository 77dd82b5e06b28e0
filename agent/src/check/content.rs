//! What the objects that a workload uses say of themselves.

use std::collections::BTreeSet;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::AnnotationValue;
use reloadlet_core::model::shown::{quoted, unquoted};
use reloadlet_core::policy::annotations::{IGNORE, is_of_pods};
use reloadlet_core::policy::references::{Reference, Why};
use reloadlet_manifest::Workload;

use super::codes::Code;
use super::finding::{Finding, Level};
use super::objects::{Objects, Said};

/// What is found about the objects.
pub(super) fn of(workload: &Workload, references: &[Reference], objects: &Objects) -> Vec<Finding> {
    let used: BTreeSet<(ObjectKind, &Name)> = references.iter().filter_map(Reference::object).collect();
    let left_out = references.iter().filter(|reference| reference.why == Why::Ignored);
    let left_out: BTreeSet<(ObjectKind, &Name)> = left_out.filter_map(Reference::object).collect();
    let mut findings = Vec::new();
    for (kind, name) in used {
        let Some(said) = objects.get(kind, name, workload.namespace.as_ref()) else { continue };
        let shown = format!("{} {}", kind.written(), quoted(name));
        findings.extend(said.ours.iter().map(|key| unread(&shown, key)));
        findings.extend(said.immutable.then(|| immutable(&shown)));
        let is_left_out = left_out.contains(&(kind, name));
        findings.extend(ignored(said, &shown, objects.are_seen(kind), is_left_out));
    }
    findings
}

/// An annotation of ours that is no object's.
fn unread(shown: &str, key: &str) -> Finding {
    let (code, what) = match is_of_pods(key) {
        true => (Code::MisplacedAnnotation, "which is one for pods"),
        false => (Code::UnknownKey, "which doesn't exist"),
    };
    let sentence = format!("{shown} has {}, {what}: of objects only {IGNORE} is read", unquoted(key));
    Finding::new(code, Level::Error, sentence, None)
}

/// An object that never changes: a change comes with another one, of another name.
fn immutable(shown: &str) -> Finding {
    let sentence = format!(
        "{shown} is immutable: it never changes, and the kubelet doesn't look at one that is made anew under its name while the pod runs"
    );
    let remedy = String::from("make another one under another name, and name that in the workload");
    Finding::new(Code::Immutable, Level::Hint, sentence, Some(remedy))
}

/// An object that says whether it triggers anything.
fn ignored(said: &Said, shown: &str, is_seen: bool, is_left_out: bool) -> Option<Finding> {
    let found = match said.ignore.as_ref()? {
        AnnotationValue::Text(text) if text == "false" => return None,
        AnnotationValue::Text(text) if text == "true" && !is_seen => {
            let sentence = format!(
                "{shown} has {IGNORE}, which counts for nothing: agents see it only with --watch-secrets"
            );
            let remedy = String::from("check --watch-secrets judges as agents with that flag do");
            Finding::new(Code::Ignored, Level::Hint, sentence, Some(remedy))
        }
        AnnotationValue::Text(text) if text == "true" => {
            let sentence = format!("{shown} has {IGNORE}: nobody is told of its changes");
            return is_left_out.then(|| Finding::new(Code::Ignored, Level::Hint, sentence, None));
        }
        AnnotationValue::Text(text) => {
            let sentence = format!(
                "{shown}: {IGNORE} is {}, but must be \"true\" or \"false\": it counts for nothing",
                quoted(text)
            );
            Finding::new(Code::BadValue, Level::Warning, sentence, None)
        }
        AnnotationValue::NotText(_) => {
            let sentence = format!("{shown}: the value of {IGNORE} is no string: it counts for nothing");
            let remedy = format!("write {IGNORE}: \"true\"");
            Finding::new(Code::NotText, Level::Warning, sentence, Some(remedy))
        }
    };
    Some(found)
}
