//! What is to be done about what differs, by the rules that hold for Reloader's annotations and for ours ([`course()`]).

use std::collections::BTreeSet;

use crate::model::names::Name;
use crate::policy::reloader::{
    Asking, Candidate, Difference, Object as Subject, ObjectType, Options, Pods, Rest, Scope, course,
};
use crate::rollouts::contents::Contents;
use crate::rollouts::found::Found;
use crate::rollouts::uses::{Object, Uses};
use crate::rollouts::workload::Workload;

/// A workload, and what it asks for.
#[derive(Clone, Copy)]
pub(crate) struct Asks<'a> {
    /// Its namespace.
    pub(crate) namespace: &'a Name,
    /// The workload.
    pub(crate) workload: &'a Workload,
    /// Whether it asks to be rolled itself.
    pub(crate) rolls: bool,
    /// Whether Reloader's annotations count.
    pub(crate) annotations: bool,
    /// What it uses.
    pub(crate) uses: &'a Uses,
}

/// What is done about these objects, which aren't what its pods hold.
pub(crate) fn rest(
    asks: Asks<'_>,
    differing: &BTreeSet<Object>,
    found: &Found,
    contents: &Contents,
    pods: Pods,
) -> Rest {
    let Asks { namespace, workload, rolls, annotations, uses } = asks;
    let asking = Asking::new(&workload.own, &workload.of_template);
    let candidate = Candidate {
        form: workload.form,
        namespace: Some(namespace),
        asking: &asking,
        spec: &workload.spec,
        rolls,
    };
    let differences: Vec<_> = differing
        .iter()
        .map(|object| {
            let (content, seen) = (found.content(object), contents.seen(namespace, object));
            let difference = if content.is_some() { Difference::Any } else { Difference::Gone };
            let subject = Subject {
                of: ObjectType::from(object.0),
                namespace: Some(namespace),
                name: &object.1,
                marks: seen.map(|seen| seen.marks).unwrap_or_default(),
                // A kubelet may keep the old content where a pod has it; on other nodes a roll brings the new one.
                is_immutable: content.is_some_and(|content| content.is_immutable) && !rolls,
                is_ignored: seen.is_some_and(|seen| seen.is_ignored),
                is_selected: true,
            };
            (subject, difference)
        })
        .collect();
    let scope = Scope::default();
    let options = Options { annotations, rollouts: false, relaxed_names: true, scope: &scope };
    course(&candidate, uses.references(), &differences, pods, &options).rest
}
