//! What decides how a workload's pods are replaced.

use reloadlet_core::policy::reloader::{Form, Partition, Resting, Update};

use super::*;

/// The form of a workload of this kind with this beside the template in its spec, and this status.
fn form(kind: &str, api_version: &str, spec: &str, status: &str) -> Form {
    let text = format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: web}}\nspec: {{{spec}template: {TEMPLATE}}}\nstatus: {status}\n"
    );
    workload(&text).form
}

fn partition(from: u32, first: u32, replicas: Option<u32>) -> Form {
    Form::StatefulSet(Update::Partition(Partition { from, first, replicas }))
}

#[test]
fn the_update_strategy_of_a_stateful_set_is_read_with_its_partition() {
    let of = |spec: &str| form("StatefulSet", "apps/v1", spec, "{}");
    let rolling = Form::StatefulSet(Update::Rolling);
    let on_delete = Form::StatefulSet(Update::OnDelete);
    for (spec, expected) in [
        ("", rolling),
        ("updateStrategy: {type: OnDelete}, ", on_delete),
        ("updateStrategy: {type: RollingUpdate}, ", rolling),
        ("updateStrategy: {rollingUpdate: {partition: 0}}, ", rolling),
        ("replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}, ", partition(2, 0, Some(3))),
        ("updateStrategy: {rollingUpdate: {partition: 2}}, ", partition(2, 0, None)),
        (
            "ordinals: {start: 5}, replicas: 3, updateStrategy: {rollingUpdate: {maxUnavailable: 1, partition: 6}}, ",
            partition(6, 5, Some(3)),
        ),
        ("ordinals: {start: 5}, updateStrategy: {rollingUpdate: {partition: 5}}, ", rolling),
    ] {
        assert_eq!(of(spec), expected, "{spec}");
    }
}

#[test]
fn a_deployment_rests_without_pods_and_where_it_is_paused() {
    let of = |spec: &str| form("Deployment", "apps/v1", spec, "{}");
    for (spec, expected) in [
        ("replicas: 0, paused: true, ", Form::Resting(Resting::Empty)),
        ("replicas: 3, paused: true, ", Form::Resting(Resting::Paused)),
        ("replicas: null, paused: [7], ", Form::Deployment),
    ] {
        assert_eq!(of(spec), expected, "{spec}");
    }
}

#[test]
fn whatever_stands_where_a_strategy_or_a_status_is_expected_the_workload_is_read() {
    for odd in
        ["[]", "text", "{type: [a], rollingUpdate: {partition: [1, {a: b}]}}", "null", "-1", "1.5", "true"]
    {
        let spec = format!("updateStrategy: {odd}, ordinals: {odd}, replicas: {odd}, ");
        assert_eq!(form("StatefulSet", "apps/v1", &spec, odd), Form::StatefulSet(Update::Rolling), "{odd}");
        assert_eq!(form("Job", "batch/v1", "", odd), Form::Job { is_complete: false }, "{odd}");
    }
    let spec = "updateStrategy: {rollingUpdate: {partition: -3}}, ";
    assert_eq!(form("StatefulSet", "apps/v1", spec, "{}"), Form::StatefulSet(Update::Rolling));
    let spec = "updateStrategy: {rollingUpdate: {partition: 99999999999}}, ";
    assert_eq!(form("StatefulSet", "apps/v1", spec, "{}"), Form::StatefulSet(Update::Rolling));
}

#[test]
fn a_daemon_set_may_wait_for_somebody_to_delete_its_pods() {
    let of = |spec: &str| form("DaemonSet", "apps/v1", spec, "{}");
    assert_eq!(of("updateStrategy: {type: OnDelete}, "), Form::DaemonSet { on_delete: true });
    assert_eq!(of(""), Form::DaemonSet { on_delete: false });
}

#[test]
fn a_job_is_complete_where_its_status_says_so() {
    for (spec, status, is_complete) in [
        ("", "{}", false),
        ("", "{succeeded: 1}", true),
        ("completions: 3, ", "{succeeded: 2}", false),
        ("completions: 3, ", "{succeeded: 3}", true),
        ("", "{conditions: [{type: Suspended, status: \"True\"}, {type: Complete, status: \"True\"}]}", true),
        ("", "{conditions: [{type: Complete, status: \"False\"}, {type: Failed, status: \"True\"}]}", false),
        ("", "{conditions: [7, null, {type: 3}], active: 1}", false),
    ] {
        assert_eq!(form("Job", "batch/v1", spec, status), Form::Job { is_complete }, "{spec} {status}");
    }
}

#[test]
fn a_rollout_may_have_its_template_in_another_workload() {
    assert_eq!(form("Rollout", "argoproj.io/v1alpha1", "", "{}"), Form::Rollout { has_template: true });
    let text = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\n\
                spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n";
    let found = workload(text);
    assert_eq!((found.kind, found.form), (WorkloadKind::Rollout, Form::Rollout { has_template: false }));
    assert!(found.spec.containers.is_empty());
    assert!(said(&text.replace("workloadRef", "other"))[0].ends_with("is a pod without containers"));
    let others = text.replace("argoproj.io", "rollouts.kruise.io");
    assert_eq!(said(&others), ["- rollouts.kruise.io Rollout /web"], "another one's");
}

#[test]
fn what_a_controller_has_made_counts_by_its_controller() {
    let owned = |kind: &str, owner: &str| {
        let text = format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web, ownerReferences: [{{kind: Deployment, name: web, uid: a{owner}}}]}}\n\
             spec: {{template: {TEMPLATE}}}\n"
        );
        workload(&text).form
    };
    assert_eq!(owned("ReplicaSet", ", controller: true"), Form::Owned);
    assert_eq!(owned("ReplicaSet", ""), Form::ReplicaSet);
    assert_eq!(
        owned("StatefulSet", ", controller: true"),
        Form::StatefulSet(Update::Rolling),
        "an operator's"
    );
}
