//! What Reloader v1.4.21 does by its public sources, and what reloadlet is to do: the rows of `table.tsv`.

use super::*;
use crate::model::names::Name;
use crate::model::object::ObjectKind;
use crate::policy::references::{Known, references};
use row::{annotations, rows};
use specs::spec;

mod row;
mod specs;
mod table;

#[test]
fn the_container_is_the_one_that_reloader_changes() {
    let name_of = |text: &str| {
        consumer(&spec(text, ObjectKind::ConfigMap, "app"), ObjectType::ConfigMap, "app").cloned()
    };
    assert_eq!(name_of("two containers use app (env)"), Some(Name::from("app")));
    assert_eq!(
        name_of("init container: envFrom"),
        Some(Name::from("app")),
        "the first regular one stands for it"
    );
    assert_eq!(name_of("two volumes of app: vol1 mounted by nobody, vol2 mounted"), None);
    assert_eq!(name_of("none"), None);
    let secret = spec("envFrom.secretRef", ObjectKind::Secret, "app");
    assert_eq!(
        consumer(&secret, ObjectType::ConfigMap, "app"),
        None,
        "a Secret of that name is another object"
    );
}

#[test]
fn keys_of_reloader_are_told_from_others() {
    for key in
        [AUTO, PAUSE_PERIOD, ObjectType::Secret.exclude_key(), "reloader.stakater.com/last-reloaded-from"]
    {
        assert!(is_relevant(key), "{key}");
    }
    for key in [
        "reloadlet.io/signal",
        "xreloader.stakater.com/auto",
        "stakater.com/auto",
        "reloader.stakater.com.evil/auto",
    ] {
        assert!(!is_relevant(key), "{key}");
    }
}

#[test]
fn of_a_very_long_list_only_so_many_items_are_looked_at_and_that_is_said() {
    let names: Vec<String> = (0..=MOST_ITEMS).map(|n| format!("app-{n}")).collect();
    let workload = annotations(&format!("configmap.reloader.stakater.com/reload={}", names.join(",")));
    let template = Annotations::new();
    let asking = Asking::new(&workload, &template);
    let decide = |name: &str| asking.decide(ObjectType::ConfigMap, name, Marks::default(), Rules::Ours);
    assert_eq!(
        (decide(&names[MOST_ITEMS - 1]), decide(&names[MOST_ITEMS])),
        (Decision::Named, Decision::Unasked)
    );
    let [remark] = remarks(&asking, Form::Deployment).try_into().unwrap();
    assert!(
        remark.sentence.ends_with("has 257 items: the first 256 are looked at here, and by Reloader all"),
        "{remark:?}"
    );
}

/// A Deployment that is rolled for what it uses, and uses these.
fn asked<T>(consumer: &str, f: impl FnOnce(&Candidate<'_>, &Object<'_>) -> T) -> T {
    let (workload, template) = (annotations("reloader.stakater.com/auto=true"), Annotations::new());
    let spec = spec(consumer, ObjectKind::ConfigMap, "app");
    let asking = Asking::new(&workload, &template);
    let candidate =
        Candidate { form: Form::Deployment, namespace: None, asking: &asking, spec: &spec, rolls: false };
    let object = Object {
        of: ObjectType::ConfigMap,
        namespace: None,
        name: "app",
        marks: Marks::default(),
        is_immutable: false,
        is_ignored: false,
        is_selected: true,
    };
    f(&candidate, &object)
}

#[test]
fn no_environment_has_a_binary_key_and_every_volume_has() {
    let scope = Scope::default();
    let options = Options { annotations: true, rollouts: false, relaxed_names: true, scope: &scope };
    let difference = Difference::Keys(&[Key { name: "a", is_binary: true }]);
    let rest = |consumer| {
        asked(consumer, |candidate, object| {
            let references =
                references(candidate.spec, &"one".into(), Default::default(), |_, _| Known::default()).all;
            course(candidate, &references, &[(*object, difference)], Pods::default(), &options).rest
        })
    };
    for consumer in ["env.valueFrom key=a", "envFrom.configMapRef"] {
        assert_eq!(rest(consumer), Rest::Nothing(Idle::OtherKeys), "{consumer}");
    }
    for consumer in ["volume configMap, directory mount", "volume configMap, subPath mount of key a"] {
        assert!(matches!(rest(consumer), Rest::Roll { .. }), "{consumer}");
    }
}

#[test]
fn what_reloader_doesnt_hear_of_or_has_written_already_changes_nothing() {
    let installation = Installation { on_delete: true, ..Installation::default() };
    let of = |event, variable, installation: &Installation| {
        asked("env.valueFrom key=a", |candidate, object| {
            matches!(reaction(candidate, object, event, variable, installation), Reaction::Rolls)
        })
    };
    for (event, variable, rolls) in [
        (Event::Deleted, Variable::Missing, false),
        (Event::Deleted, Variable::Current, true),
        (Event::Changed, Variable::Current, false),
        (Event::Changed, Variable::Older, true),
        (Event::Created, Variable::Older, false),
        (Event::Listed, Variable::Older, false),
    ] {
        assert_eq!(of(event, variable, &installation), rolls, "{event:?} {variable:?}");
    }
    let annotations = Installation { strategy: Strategy::Annotations, ..installation.clone() };
    assert!(of(Event::Changed, Variable::Current, &annotations), "it writes the time, too");
    let webhook = Installation { calls_webhook: true, ..installation };
    assert!(!of(Event::Changed, Variable::Older, &webhook));
}

#[test]
fn a_partition_keeps_all_pods_only_where_their_number_is_known() {
    let keeps = |from, first, replicas| Partition { from, first, replicas }.keeps_all();
    assert!(keeps(3, 0, Some(3)) && keeps(12, 10, Some(2)));
    assert!(!keeps(2, 0, Some(3)) && !keeps(12, 10, Some(3)) && !keeps(3, 0, None));
    assert!(!keeps(u32::MAX, u32::MAX, None) && keeps(u32::MAX, u32::MAX, Some(u32::MAX)));
}

#[test]
fn a_stateful_set_whose_partition_keeps_all_pods_isnt_rolled() {
    let scope = Scope::default();
    let options = Options { annotations: true, rollouts: false, relaxed_names: true, scope: &scope };
    let rest = |from| {
        asked("env.valueFrom key=a", |candidate, object| {
            let partition = Partition { from, first: 0, replicas: Some(3) };
            let candidate = Candidate { form: Form::StatefulSet(Update::Partition(partition)), ..*candidate };
            let references =
                references(candidate.spec, &"one".into(), Default::default(), |_, _| Known::default()).all;
            course(&candidate, &references, &[(*object, Difference::Any)], Pods::default(), &options).rest
        })
    };
    assert_eq!(rest(3), Rest::Tell(Telling::Partition));
    assert!(matches!(rest(2), Rest::Roll { partition: Some(_), .. }));
}

#[test]
fn open_alternatives_are_said_as_reloader_takes_them() {
    let said = |item: &str| {
        let workload = annotations(&format!("configmap.reloader.stakater.com/reload={item}"));
        let template = Annotations::new();
        remarks(&Asking::new(&workload, &template), Form::Deployment).remove(0).sentence
    };
    assert!(said("foo|bar").contains("begins with the first alternative or ends with the last;"));
    assert!(said("foo|mid|bar").contains("the first alternative, has one between them anywhere, or ends"));
    assert!(said("app|").contains("takes every name, as an alternative is empty"));
}

#[test]
fn a_deployment_without_pods_or_that_is_paused_isnt_rolled_and_a_job_has_no_next_run() {
    let scope = Scope::default();
    let options = Options { annotations: true, rollouts: false, relaxed_names: true, scope: &scope };
    let both = |form| {
        asked("env.valueFrom key=a", |candidate, object| {
            let candidate = Candidate { form, ..*candidate };
            let references =
                references(candidate.spec, &"one".into(), Default::default(), |_, _| Default::default()).all;
            let differences = [(*object, Difference::Any)];
            let course = course(&candidate, &references, &differences, Pods::default(), &options);
            let installation = Installation::default();
            let reaction = reaction(&candidate, object, Event::Changed, Variable::Missing, &installation);
            (reaction.to_string(), course.rest)
        })
    };
    for (resting, rest) in
        [(Resting::Empty, Rest::Nothing(Idle::NoPods)), (Resting::Paused, Rest::Tell(Telling::Paused))]
    {
        let (reaction, course) = both(Form::Resting(resting));
        assert!(reaction.starts_with("patches its template, and no pod is replaced, as it "), "{reaction}");
        assert_eq!(course, rest);
    }
    assert_eq!(both(Form::Job { is_complete: false }).1, Rest::Nothing(Idle::RunsOnce));
}

/// The kinds of the remarks about such a workload, with and without its template.
fn remarked(workload: &str, template: &str, form: Form) -> Vec<RemarkKind> {
    let (workload, template) = (annotations(workload), annotations(template));
    remarks(&Asking::new(&workload, &template), form).into_iter().map(|remark| remark.kind).collect()
}

#[test]
fn what_isnt_taken_as_it_looks_is_remarked() {
    use RemarkKind::{Contradiction, Dot, Expression, Misplaced, Value};
    let rollout = Form::Rollout { has_template: true };
    let cases: [(&str, &str, Form, &[RemarkKind]); 12] = [
        ("configmap.reloader.stakater.com/reload=my.app", "", Form::Deployment, &[Dot]),
        ("configmap.reloader.stakater.com/reload=my[.]app,my-app.*", "", Form::Deployment, &[]),
        ("configmap.reloader.stakater.com/reload=a{1,3}", "", Form::Deployment, &[Expression]),
        ("configmaps.exclude.reloader.stakater.com/reload=app-.*", "", Form::Deployment, &[Expression]),
        ("configmaps.exclude.reloader.stakater.com/reload=my.app, other", "", Form::Deployment, &[]),
        (
            "configmap.reloader.stakater.com/reload=app",
            "configmaps.exclude.reloader.stakater.com/reload=app",
            Form::Deployment,
            &[Contradiction, Misplaced],
        ),
        (
            "configmaps.exclude.reloader.stakater.com/reload=app",
            "configmap.reloader.stakater.com/reload=app",
            Form::Deployment,
            &[Contradiction],
        ),
        ("deployment.reloader.stakater.com/pause-period=5m", "", Form::Deployment, &[]),
        ("deployment.reloader.stakater.com/pause-period=5m", "", Form::CronJob, &[Misplaced]),
        ("reloader.stakater.com/rollout-strategy=restart", "", rollout, &[]),
        ("reloader.stakater.com/rollout-strategy=Restart", "", rollout, &[Value]),
        ("reloader.stakater.com/rollout-strategy=restart", "", Form::Deployment, &[Misplaced]),
    ];
    for (workload, template, form, expected) in cases {
        assert_eq!(remarked(workload, template, form), expected, "{workload} {template} {form:?}");
    }
}
