//! What Reloader does with a workload today, and what becomes of a change here.

use std::collections::BTreeSet;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::ContainerKind;
use reloadlet_core::model::shown::{quoted, unquoted};
use reloadlet_core::policy::references::{self, Effect, Reference, Way, Why};
use reloadlet_core::policy::reloader::{
    self, Asking, Candidate, Course, Decision, Difference, Event, Form, Idle, Marks, Object, ObjectType,
    Options, Pods, Reaction, Rest, Rules, Variable, course, reaction, remarks, remarks_of_jobs,
};
use reloadlet_manifest::Workload;

use super::codes::{Code, of_remark};
use super::finding::{Finding, Level};
use super::objects::{Objects, Said};

/// So many comparisons of a name with an item are made for one workload.
const MOST_COMPARED: usize = 2_000;
/// So many containers are named in one sentence.
const MOST_NAMED: usize = 8;

/// What is found about a workload that Reloader looks at, and that may ask to be rolled; nothing without annotations of its, unless it rolls all workloads.
pub(super) fn of(
    workload: &Workload,
    references: &[Reference],
    objects: &Objects,
    rolls: bool,
) -> Vec<Finding> {
    let asking = Asking::with(&workload.others, &workload.template_others, objects.expressions());
    let of_jobs = remarks_of_jobs(&workload.jobs_others).into_iter();
    let mut findings: Vec<Finding> = of_jobs.map(|remark| remarked(remark.kind, remark.sentence)).collect();
    let is_asked = asking.is_any() || objects.installation().auto_reload_all;
    // What a controller has made has its annotations, too, and is told of with it.
    if !is_asked || workload.form == Form::Owned {
        return findings;
    }
    let all = remarks(&asking, workload.form).into_iter();
    findings.extend(all.map(|remark| remarked(remark.kind, remark.sentence)));
    let namespace = workload.namespace.as_ref();
    let candidate =
        Candidate { form: workload.form, namespace, asking: &asking, spec: &workload.spec, rolls };
    let report = Report { candidate, references, objects };
    let mut concerned = concerned(&asking, references);
    findings.extend(add_taken(&mut concerned, &candidate, objects));
    for (of, name) in concerned {
        let said = kind(of).and_then(|kind| objects.get(kind, &name, namespace));
        let (marks, odd) = said.map_or((Marks::default(), &[][..]), |said| (said.marks, &*said.remarks));
        findings.extend(odd.iter().map(|odd| {
            let sentence = format!("{} {}: {}", written(of), quoted(&name), odd.sentence);
            remarked(odd.kind, sentence)
        }));
        let elsewhere = kind(of).filter(|_| said.is_none()).and_then(|kind| objects.elsewhere(kind, &name));
        let place =
            elsewhere.map(|namespace| format!(" of namespace {}", unquoted(namespace))).unwrap_or_default();
        let object = Object {
            of,
            namespace: elsewhere.or(namespace),
            name: &name,
            marks,
            is_immutable: said.is_some_and(|said| said.immutable),
            is_ignored: said.is_some_and(Said::is_ignored)
                && kind(of).is_some_and(|kind| objects.are_seen(kind)),
            is_selected: objects.is_selected(said, namespace),
        };
        findings.extend(report.finding(&object, &format!("{} {}{place}", written(of), quoted(&name))));
    }
    findings.extend(report.of_another_template());
    findings
}

/// A remark; the API server refuses what isn't a string.
fn remarked(kind: reloader::RemarkKind, sentence: String) -> Finding {
    let level = if kind == reloader::RemarkKind::NotText { Level::Error } else { Level::Warning };
    Finding::new(of_remark(kind), level, sentence, None)
}

/// The objects that the workload uses or names.
fn concerned(asking: &Asking<'_>, references: &[Reference]) -> BTreeSet<(ObjectType, Name)> {
    let used = references.iter().filter_map(object_of).map(|(of, name)| (of, name.clone()));
    let named = ObjectType::ALL
        .into_iter()
        .flat_map(|of| asking.named(of).into_iter().map(move |name| (of, Name::from(name))));
    used.chain(named).collect()
}

/// What a reference uses, if it is an object at which Reloader looks.
fn object_of(reference: &Reference) -> Option<(ObjectType, &Name)> {
    match &reference.subject {
        references::Subject::Object(kind, name) => Some(((*kind).into(), name)),
        references::Subject::Class(name) => Some((ObjectType::SecretProviderClass, name)),
        references::Subject::Driver(_) => None,
    }
}

/// Adds the objects among the manifests that no more than an expression names; says where not all are looked at.
fn add_taken(
    concerned: &mut BTreeSet<(ObjectType, Name)>,
    candidate: &Candidate<'_>,
    objects: &Objects,
) -> Option<Finding> {
    let mut is_cut = false;
    for kind in ObjectKind::ALL {
        let of = ObjectType::from(kind);
        let patterns = candidate.asking.patterns(of);
        if patterns == 0 {
            continue;
        }
        let is_named = |name: &Name, rules| {
            candidate.asking.decide(of, name, Marks::default(), rules) == Decision::Named
        };
        let mut left = MOST_COMPARED / patterns;
        for name in objects.names(kind, candidate.namespace) {
            if left == 0 || !objects.take_comparisons(patterns) {
                is_cut = true;
                break;
            }
            left -= 1;
            if is_named(name, Rules::Reloader { auto_reload_all: false }) || is_named(name, Rules::Ours) {
                concerned.insert((of, name.clone()));
            }
        }
    }
    let is_spent = objects.expressions().is_spent();
    (is_cut || is_spent).then(|| {
        let sentence = String::from(if is_cut {
            "not all objects among the manifests are compared with its lists: there are too many"
        } else {
            "not all items of its lists are compared with objects: the expressions of all workloads are too many"
        });
        Finding::new(Code::ReloaderExpression, Level::Hint, sentence, None)
    })
}

/// The kind of objects of this type, where their contents are followed.
const fn kind(of: ObjectType) -> Option<ObjectKind> {
    match of {
        ObjectType::ConfigMap => Some(ObjectKind::ConfigMap),
        ObjectType::Secret => Some(ObjectKind::Secret),
        ObjectType::SecretProviderClass => None,
    }
}

/// The type as manifests write it.
fn written(of: ObjectType) -> &'static str {
    kind(of).map_or("SecretProviderClass", ObjectKind::written)
}

/// What is said of one workload.
struct Report<'a> {
    candidate: Candidate<'a>,
    references: &'a [Reference],
    objects: &'a Objects,
}

impl Report<'_> {
    /// What a change of an object does, which has this name in the sentence; nothing where nobody does anything.
    fn finding(&self, object: &Object<'_>, shown: &str) -> Option<Finding> {
        // What is immutable changes by being made anew.
        let (event, happens) =
            if object.is_immutable { (Event::Created, "is made anew") } else { (Event::Changed, "changes") };
        let (reaction, course) = self.both(object, event);
        if !reaction.is_worth_telling() && !course.is_worth_telling() {
            return None;
        }
        let here = self.here(object, course);
        let sentence = format!("when {shown} {happens}, Reloader 1.4 {reaction}; reloadlet {here}");
        Some(Finding::new(Code::ReloaderRolls, Level::Hint, sentence, None))
    }

    /// What Reloader does, and what reloadlet is to do.
    fn both(&self, object: &Object<'_>, event: Event) -> (Reaction<'_>, Course) {
        let installation = self.objects.installation();
        let options = Options {
            annotations: true,
            rollouts: installation.rollouts,
            relaxed_names: true,
            scope: &installation.scope,
        };
        let differences = [(*object, Difference::Any)];
        let course = course(&self.candidate, self.references, &differences, Pods::default(), &options);
        (reaction(&self.candidate, object, event, Variable::Missing, installation), course)
    }

    /// The same for a Rollout whose pods are made of another workload's template: it isn't known what they use.
    fn of_another_template(&self) -> Option<Finding> {
        if self.candidate.form != (Form::Rollout { has_template: false }) {
            return None;
        }
        let any = ObjectType::ALL.into_iter().map(|of| Object {
            of,
            namespace: None,
            // No object has this name.
            name: "-",
            marks: Marks::default(),
            is_immutable: false,
            is_ignored: false,
            is_selected: true,
        });
        any.into_iter()
            .find_map(|object| self.finding(&object, &format!("a {} of its pods", written(object.of))))
    }

    /// What reloadlet does.
    fn here(&self, object: &Object<'_>, course: Course) -> String {
        let of = |reference: &&Reference| {
            object_of(reference).is_some_and(|(of, name)| of == object.of && **name == *object.name)
                && reference.way != Way::Unmounted
                && reference.why != Why::EmptySubPath
                && reference.role != Some(ContainerKind::Ephemeral)
        };
        let (mut live, mut frozen): (Vec<String>, Vec<String>) = Default::default();
        let add = |part: String, to: &mut Vec<String>| {
            if to.len() < MOST_NAMED && !to.contains(&part) {
                to.push(part);
            }
        };
        let told = references::live_mounts(self.references.iter().filter(of));
        for reference in self.references.iter().filter(of) {
            if reference.is_left_out_of(&told) {
                continue;
            }
            let container = quoted(reference.container.as_deref().unwrap_or_default());
            match &reference.effect {
                Effect::Http(request) => add(format!("tells container {container} by {request}"), &mut live),
                Effect::Signal(signal) => add(format!("tells container {container} by {signal}"), &mut live),
                Effect::Itself => {
                    add(format!("leaves container {container}, which watches its files itself"), &mut live);
                }
                Effect::Roll | Effect::Restart | Effect::Never => {
                    add(format!("container {container} ({})", reference.why.as_str()), &mut frozen);
                }
            }
        }
        let rest = match course.rest {
            Rest::Nothing(Idle::Told) => return live.join(", "),
            Rest::Nothing(idle) if !live.is_empty() => format!("does nothing else, {idle}"),
            Rest::Roll { .. } if !frozen.is_empty() => format!("{}, for {}", course.rest, frozen.join(", ")),
            Rest::Nothing(_) | Rest::Tell(_) | Rest::Hold(_) | Rest::Roll { .. } => course.rest.to_string(),
        };
        if live.is_empty() { rest } else { format!("{}, and {rest}", live.join(", ")) }
    }
}
