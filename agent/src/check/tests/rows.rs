//! What is printed for each row of Reloader's table that manifests can show.

use serde_json::{Map, Value, json};

use super::*;

/// One row.
struct Row {
    id: &'static str,
    kind: &'static str,
    workload: &'static str,
    template: &'static str,
    object: &'static str,
    marks: &'static str,
    consumer: &'static str,
    change: &'static str,
    flags: &'static str,
    reloader: &'static str,
    ours: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = include_str!("../../../core/src/policy/reloader/table.tsv").lines().skip(1);
    let all = lines.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, _, kind, workload, template, object, marks, consumer, change, flags, reloader, ours] =
            columns[..]
        else {
            panic!("{line}")
        };
        Row { id, kind, workload, template, object, marks, consumer, change, flags, reloader, ours }
    });
    all.collect()
}

/// What no manifest shows: it is in the test of the core alone.
fn is_beyond_manifests(row: &Row) -> bool {
    let of_kind = matches!(
        row.kind,
        "Deployment in mid roll-out"
            | "Deployment not available (CrashLoopBackOff)"
            | "Deployment, all pods pending"
            | "Deployment with PDB disruptionsAllowed=0"
    );
    let of_change = match row.change {
        "update data key a"
        | "update data"
        | "update the other ConfigMap"
        | "update the other, not excluded ConfigMap"
        | "update binaryData key"
        | "Secret type-preserving rotation of tls.crt/tls.key (cert-manager)"
        | "immutable object deleted and created again with other content"
        | "ConfigMap and Secret of one workload change at once"
        | "update ConfigMap a-b, then a.b"
        | "SecretProviderClassPodStatus: a version changes" => false,
        // Which keys.
        "update data key b (not consumed)"
        | "update data key b (not in items)"
        | "add data key z (not consumed)"
        | "add data key with a name that is no env name ('a b')"
        // What else than another content.
        | "labels or annotations of the ConfigMap only"
        | "labels only"
        | "SecretProviderClassPodStatus: labels only"
        | "the same data is written again"
        | "immutable: true is set, data unchanged"
        | "data A -> B -> A within 2 s"
        | "delete"
        | "delete, create again with the same content"
        | "delete, create again with other content"
        | "an optional object is created later"
        | "a required object is created later"
        // What happens besides.
        | "update data key a in namespace two"
        | "helm upgrade changes the template (checksum annotation) and the ConfigMap"
        | "update data key a, Reloader still installed"
        | "kubectl rollout undo after a roll"
        | "first installation, nothing changes"
        | "controller restarts, nothing changed"
        | "object changes while leadership moves"
        | "annotation added to a running workload after the object changed"
        | "reloadlet uninstalled, then installed again; content changed between" => true,
        other => panic!("{}: a change that no test knows: {other}", row.id),
    };
    // What reloadlet runs with.
    of_kind || of_change || matches!(row.flags, "reloadlet without --reloader-annotations" | "reloadlet only")
}

fn annotations(cell: &str) -> Map<String, Value> {
    if matches!(cell, "" | "(annotation set on running pods only)" | "(label reload=yes)") {
        return Map::new();
    }
    let each = cell.split("; ").map(|one| {
        let (key, value) = one.split_once('=').unwrap();
        (key.to_owned(), value.replace("(empty)", "").replace("(space)", " ").into())
    });
    each.collect()
}

/// The kind and the name of each object that changes.
fn objects(row: &Row) -> Vec<(&'static str, &'static str)> {
    let is_other =
        matches!(row.change, "update the other ConfigMap" | "update the other, not excluded ConfigMap");
    let each = row.object.split(" + ").map(|one| {
        let (kind, name) = one.trim_end_matches(" immutable").split_once('/').unwrap();
        (kind, if is_other { "other" } else { name })
    });
    each.collect()
}

/// The spec of the pods.
fn spec(row: &Row) -> Value {
    let (kind, name) = objects(row)[0];
    let key = || json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": name, "key": "a"}}}]);
    let all = || match kind {
        "Secret" => json!([{"secretRef": {"name": name}}]),
        _ => json!([{"configMapRef": {"name": name}}]),
    };
    let volume = |volume: &str| json!({"name": volume, "configMap": {"name": name}});
    let projected = |sources: Value| json!([{"name": "v", "projected": {"sources": sources}}]);
    let mounts = |volume: &str| json!([{"name": volume, "mountPath": "/etc/app"}]);
    let mounting = |volumes: Value| json!({"containers": [{"name": "app", "volumeMounts": mounts("v")}], "volumes": volumes});
    match row.consumer {
        "none" | "no CSI volume" => json!({"containers": [{"name": "app"}]}),
        "env.valueFrom key=a" => json!({"containers": [{"name": "app", "env": key()}]}),
        "envFrom.configMapRef" | "envFrom.secretRef" => {
            json!({"containers": [{"name": "app", "envFrom": all()}]})
        }
        "envFrom.configMapRef optional=true" => {
            json!({"containers": [{"name": "app", "envFrom": [{"configMapRef": {"name": name, "optional": true}}]}]})
        }
        "envFrom of both" => json!({"containers": [
            {"name": "app", "envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "cred"}}]}]}),
        "volume csi secretProviderClass=spc" => {
            let csi = json!({"driver": "secrets-store.csi.k8s.io", "readOnly": true, "volumeAttributes": {"secretProviderClass": name}});
            mounting(json!([{"name": "v", "csi": csi}]))
        }
        "serviceAccount secrets" => json!({"serviceAccountName": "cred", "containers": [{"name": "app"}]}),
        "ephemeral container: envFrom" => {
            json!({"containers": [{"name": "app"}], "ephemeralContainers": [{"name": "debug", "envFrom": all()}]})
        }
        "volume secret, directory mount" => mounting(json!([{"name": "v", "secret": {"secretName": name}}])),
        "volume configMap, directory mount"
        | "volume configMap, directory mount; template reloadlet.io/signal=HUP" => {
            mounting(json!([volume("v")]))
        }
        "volume configMap, subPath mount of key a" => json!({"containers": [{"name": "app", "volumeMounts": [
            {"name": "v", "mountPath": "/etc/app/a", "subPath": "a"}]}], "volumes": [volume("v")]}),
        "volume projected [secret]" => mounting(projected(json!([{"secret": {"name": name}}]))),
        "volume projected [configMap app]" => mounting(projected(json!([{"configMap": {"name": name}}]))),
        "volume projected [configMap app, secret cred]" => {
            mounting(projected(json!([{"configMap": {"name": name}}, {"secret": {"name": "cred"}}])))
        }
        "volume configMap declared but mounted by no container" => {
            json!({"containers": [{"name": "app"}], "volumes": [volume("v")]})
        }
        "two volumes of app: vol1 mounted by nobody, vol2 mounted" => json!({
            "containers": [{"name": "app", "volumeMounts": mounts("vol2")}], "volumes": [volume("vol1"), volume("vol2")]}),
        "init container: envFrom" => {
            json!({"containers": [{"name": "app"}], "initContainers": [{"name": "init", "envFrom": all()}]})
        }
        "native sidecar (initContainer restartPolicy=Always): envFrom" => {
            json!({"containers": [{"name": "app"}],
            "initContainers": [{"name": "side", "restartPolicy": "Always", "envFrom": all()}]})
        }
        "two containers use app (env)" => {
            json!({"containers": [{"name": "app", "env": key()}, {"name": "second", "env": key()}]})
        }
        "used by container 1 (app) and container 2 (other CM)" => json!({"containers": [
            {"name": "first", "envFrom": [{"configMapRef": {"name": "app"}}]}, {"name": "app", "envFrom": all()}]}),
        other => panic!("{}: a consumer that no test knows: {other}", row.id),
    }
}

/// The workload of a row.
fn workload(row: &Row) -> Value {
    let mut of_template = annotations(row.template);
    if row.consumer.ends_with("template reloadlet.io/signal=HUP") {
        of_template.insert("reloadlet.io/signal".to_owned(), "HUP".into());
    }
    let template = json!({"metadata": {"annotations": of_template}, "spec": spec(row)});
    let (api_version, kind, mut inner) = match row.kind {
        "Deployment" => ("apps/v1", "Deployment", json!({})),
        "StatefulSet" => ("apps/v1", "StatefulSet", json!({})),
        "StatefulSet partition=2 replicas=3" => {
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
            ("apps/v1", "StatefulSet", json!({"replicas": 3, "updateStrategy": strategy}))
        }
        "DaemonSet" => ("apps/v1", "DaemonSet", json!({})),
        "DaemonSet updateStrategy=OnDelete" => {
            ("apps/v1", "DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}))
        }
        "argoproj Rollout" => ("argoproj.io/v1alpha1", "Rollout", json!({})),
        "argoproj Rollout with workloadRef" => {
            let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
            ("argoproj.io/v1alpha1", "Rollout", json!({"workloadRef": workload}))
        }
        "DeploymentConfig" => ("apps.openshift.io/v1", "DeploymentConfig", json!({})),
        "CronJob" => ("batch/v1", "CronJob", json!({})),
        "Job" | "Job (completed)" => ("batch/v1", "Job", json!({})),
        "Pod (bare)" => ("v1", "Pod", json!({})),
        "ReplicaSet (no Deployment)" => ("apps/v1", "ReplicaSet", json!({})),
        other => panic!("{}: a kind that no test knows: {other}", row.id),
    };
    match row.kind {
        "argoproj Rollout with workloadRef" => {}
        "CronJob" => inner["jobTemplate"] = json!({"spec": {"template": template}}),
        "Pod (bare)" => inner = spec(row),
        _ => inner["template"] = template,
    }
    let status = match row.kind {
        "Job (completed)" => json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}),
        _ => json!({}),
    };
    let metadata = json!({"name": "web", "namespace": "one", "annotations": annotations(row.workload)});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": inner, "status": status})
}

/// All manifests of a row, and the flags of its Reloader.
fn manifests(row: &Row) -> (String, Flags) {
    let mut all = vec![workload(row)];
    for (kind, name) in objects(row).into_iter().filter(|(kind, _)| *kind != "SecretProviderClass") {
        let labels = if row.marks == "(label reload=yes)" { json!({"reload": "yes"}) } else { json!({}) };
        let metadata = json!({"name": name, "namespace": "one", "annotations": annotations(row.marks), "labels": labels});
        let is_immutable = row.object.ends_with(" immutable");
        all.push(json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "immutable": is_immutable}));
    }
    let (flags, is_labelled) = match row.flags.split_once(", namespace ") {
        Some((flags, "labelled so")) => (flags, true),
        Some((flags, "not labelled")) => (flags, false),
        None => (row.flags, false),
        Some(other) => panic!("{}: {other:?}", row.id),
    };
    let labels = if is_labelled { json!({"env": "prod"}) } else { json!({}) };
    all.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "one", "labels": labels}}));
    let text: Vec<String> = all.iter().map(|object| format!("---\n{object}\n")).collect();
    let flags = flags.replace("<its namespace>", "one").replace("<another namespace>", "two");
    (text.concat(), flags::parse(&flags).unwrap_or_else(|error| panic!("{}: {error}", row.id)))
}

/// What Reloader does, in the words of the report; `None` for nothing.
fn of_reloader(row: &Row) -> Option<&'static str> {
    match row.reloader {
        "none"
        | "none ('a{1' and '3}' are two items)"
        | "none (no container found)"
        | "none (not seen: its pod template is not in the Rollout)"
        | "none (only the first volume is looked at)"
        | "none (support removed 2025-06)" => None,
        "roll"
        | "roll, env var on the first of them only"
        | "roll, roll; both write STAKATER_A_B_CONFIGMAP"
        | "rolled at once"
        | "rolled at once, warning"
        | "two rolls" => Some("rolls it"),
        "template patched, no pod replaced" => {
            Some("patches its template, and replaces no pod before somebody deletes it (OnDelete)")
        }
        "template patched; only ordinals >= partition replaced" => {
            Some("rolls its pods from ordinal 2 on (partition)")
        }
        "restartAt set, template unchanged" => Some("sets its restartAt, and leaves its template as it is"),
        "a Job is created at once" => Some("starts a Job of it at once"),
        "Job deleted and created again: its work is run a second time" => {
            Some("deletes it and makes it again, although it is complete")
        }
        "paused first, then patched: pods are replaced when the period ends" => {
            Some("pauses it, and rolls it when \"5m\" are over")
        }
        "reload fails, retried 5 times, never rolled" => {
            Some("fails, as its pause-period is \"5 minutes\", and never rolls it")
        }
        other => panic!("{}: an answer that no test knows: {other}", row.id),
    }
}

/// What reloadlet does, in the words of the report, without the containers for which it is rolled; `None` for nothing.
fn of_ours(row: &Row) -> Option<&'static str> {
    match row.ours {
        "none"
        | "none + annotation problem"
        | "none + check warning"
        | "none (no such switch proposed; document)"
        | "none (not supported; documented)"
        | "none: the next run reads the new content" => None,
        "roll"
        | "roll + annotation problem"
        | "roll + check warning"
        | "roll (if consumed)"
        | "roll (no signal)"
        | "roll (one)"
        | "roll (whole object, every key)"
        | "roll (env/subPath started without it)"
        | "roll or signal"
        | "roll, roll"
        | "one roll"
        | "annotation problem; roll with the default debounce" => Some("would roll it"),
        "roll after that debounce; spec.paused is never touched"
        | "debounce applies to every kind"
        | "debounce + check warning" => Some("would roll it once no change has come for 300s"),
        "roll, and report the pods below the partition as stale" => {
            Some("would roll its pods from ordinal 2 on, and say that the others are stale (partition)")
        }
        "signal, no roll" => Some("tells container \"app\" by SIGHUP"),
        "report" => Some(
            "would leave it, as nothing replaces its pods, and with reloadlet.io/rollout on the pods its agents would say what they don't get",
        ),
        "report only" => Some(
            "would leave it, as Rollouts are left alone, and with reloadlet.io/rollout on the pods its agents would say what they don't get",
        ),
        "report: waits for a person (OnDelete)" => {
            Some("would say that its pods are stale, as it waits for somebody to delete them (OnDelete)")
        }
        "report: the kubelet keeps the old content on nodes where a pod uses it (kubernetes 119733)" => Some(
            "would say that its pods are stale, as kubelets keep the old content of an immutable object where a pod has it",
        ),
        other => panic!("{}: an answer that no test knows: {other}", row.id),
    }
}

/// Whether a half of the sentence says this; nothing is done where it isn't there, too.
fn says(said: Option<&str>, expected: Option<&str>) -> bool {
    match (said, expected) {
        (None, expected) => expected.is_none(),
        (Some(said), None) => said.starts_with("does nothing, as "),
        (Some(said), Some(expected)) => {
            said == expected
                || said.strip_prefix(expected).is_some_and(|rest| rest.starts_with(", for container "))
        }
    }
}

#[test]
fn the_report_says_of_each_row_of_the_table_what_both_do() {
    let rows = rows();
    assert_eq!(rows.len(), 138);
    let shown: Vec<&Row> = rows.iter().filter(|row| !is_beyond_manifests(row)).collect();
    assert_eq!(shown.len(), 106);
    for row in shown {
        let (text, flags) = manifests(row);
        let said = said_with(&text, flags);
        for (kind, name) in objects(row) {
            let what = match row.kind {
                "argoproj Rollout with workloadRef" => format!("a {kind} of its pods"),
                _ => format!("{kind} \"{name}\""),
            };
            let happens = if row.object.ends_with(" immutable") { "is made anew" } else { "changes" };
            let begin = format!("hint reloader-rolls: when {what} {happens}, Reloader 1.4 ");
            let line = said.lines().find_map(|line| line.trim().strip_prefix(&begin));
            let (reloader, ours) = match line {
                Some(line) => {
                    line.split_once("; reloadlet ").map(|(one, other)| (Some(one), Some(other))).unwrap()
                }
                None => (None, None),
            };
            assert!(says(reloader, of_reloader(row)), "{}: {} of Reloader in {said}", row.id, row.reloader);
            assert!(says(ours, of_ours(row)), "{}: {} of reloadlet in {said}", row.id, row.ours);
        }
        let is_remarked = row.ours.contains("warning") || row.ours.contains("problem");
        let has_remark = said.lines().any(|line| line.trim().starts_with("warning reloader-"));
        // Of what these have the table says nothing where it doesn't decide.
        let besides = ["R080", "R084", "R112", "R113", "R132", "R179", "R194"];
        assert_eq!(has_remark, is_remarked || besides.contains(&row.id), "{}: {said}", row.id);
    }
}

#[test]
fn an_object_that_only_an_expression_takes_is_told_of_where_it_is_among_the_manifests() {
    let spec = "{containers: [{name: app}]}";
    let workload = deployment("web", "{}", spec).replace(
        "namespace: shop",
        "namespace: shop, annotations: {configmap.reloader.stakater.com/reload: \"app-.*\"}",
    );
    let object = |name: &str, namespace: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n")
    };
    let elsewhere = object("app-c", "shop").replace(", namespace: shop", "");
    let objects = [object("app-a", "shop"), object("app-b", "blog"), object("other", "shop"), elsewhere];
    let text = workload.clone() + &objects.concat();
    let said = said_with(&text, Flags::default());
    let told = said.lines().filter(|line| line.contains("reloader-rolls")).collect::<Vec<_>>();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("when ConfigMap \"app-a\" changes"), "{told:?}");
    assert!(told[1].contains("when ConfigMap \"app-c\" changes"), "its namespace isn't written: {told:?}");
    let anywhere = said_with(&text.replace("namespace: shop, annotations", "annotations"), Flags::default());
    assert_eq!(anywhere.matches("reloader-rolls").count(), 3, "{anywhere}");

    let many: String = (0..2_100).map(|n| object(&format!("other-{n}"), "shop")).collect();
    let said = said_with(&(workload + &many), Flags::default());
    assert!(
        said.contains("hint reloader-expression: not all objects among the manifests are compared"),
        "{said}"
    );
}

#[test]
fn what_a_controller_has_made_of_an_annotated_workload_isnt_told_of_again() {
    let spec = "{containers: [{name: app, envFrom: [{configMapRef: {name: app}}]}]}";
    let owner = "namespace: shop, annotations: {reloader.stakater.com/auto: \"true\"}, \
                 ownerReferences: [{kind: Deployment, name: web, uid: a, controller: true}]";
    let text =
        deployment("web", "{}", spec).replace("Deployment", "ReplicaSet").replace("namespace: shop", owner);
    let said = said_with(&text, Flags::default());
    assert!(said.contains("ReplicaSet shop/web") && !said.contains("reloader-"), "{said}");
}
