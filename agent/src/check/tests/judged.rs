//! What is found of directories, and of what stands in the way.

use super::{deployment, found, said};

/// A Deployment with these annotations, and one container that has all of these volumes.
fn web(annotations: &str, volumes: &str) -> String {
    let spec = format!(
        "{{containers: [{{name: a, volumeMounts: [{{name: c, mountPath: /c}}]}}], volumes: [{volumes}]}}"
    );
    deployment("web", &format!("{{annotations: {{{annotations}}}}}"), &spec)
}

fn config_map(more: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cfg, namespace: shop}}\n{more}\n")
}

#[test]
fn keys_of_which_none_counts_are_found() {
    let text =
        web("reloadlet.io/signal: HUP, reloadlet.io/keys: \"*.cnf\"", "{name: c, configMap: {name: cfg}}");
    let expected = "warning other-keys: no change of ConfigMap \"cfg\" is told to container \"a\": none of its keys is one of those that \
                    count; add its files to reloadlet.io/keys";
    assert_eq!(found(&(text.clone() + &config_map("data: {a.conf: x, b.conf: y}"))), [expected]);
    assert_eq!(found(&(text.clone() + &config_map("data: {a.conf: x, b.cnf: y}"))), [""; 0]);
    assert_eq!(found(&text), [""; 0], "they aren't known");
    let items = |keys: &str| {
        web(
            &format!("reloadlet.io/signal: HUP, reloadlet.io/keys: {keys}"),
            "{name: c, configMap: {name: cfg, items: [{key: x, path: x}, {key: y, path: y}]}}",
        )
    };
    let text = said(&[("web.yaml", &items("x"))]);
    assert!(text.contains("ConfigMap cfg (x)  directory  SIGHUP\n"), "{text}");
    assert!(text.contains("ConfigMap cfg (y)  directory  never        other-keys\n"), "{text}");
    assert_eq!(found(&items("x")), [""; 0]);
    assert_eq!(found(&items("z")), [expected]);
}

#[test]
fn the_clusters_own_volume_is_no_finding() {
    let volume = "{name: c, projected: {sources: [{serviceAccountToken: {path: token}}, \
                  {configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}}, \
                  {downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}}]}}";
    let text = web("", volume) + &config_map("data: {a: b}");
    assert_eq!(found(&text), [""; 0]);
    assert!(said(&[("web.yaml", &text)]).contains("never        cluster-object\n"));
}

#[test]
fn a_drivers_volume_into_which_the_pod_may_write_says_so() {
    let volume = "{name: c, csi: {driver: csi.example.org}}";
    assert_eq!(found(&web("", volume)), [""; 0], "most drivers bring storage");
    let of_class =
        "{name: c, csi: {driver: csi.example.org, volumeAttributes: {secretProviderClass: vault}}}";
    let unasked = found(&web("", of_class));
    assert!(unasked.len() == 1 && unasked[0].starts_with("warning csi-writable: "), "{unasked:?}");
    let asked = found(&web("reloadlet.io/signal: HUP", volume));
    assert!(
        asked[0].ends_with("; a csi volume has to have readOnly: true, which isn't so of \"c\""),
        "{asked:?}"
    );
}

#[test]
fn where_volumes_are_named_another_container_is_none_that_could_be_told() {
    let spec = "{containers: [{name: a, volumeMounts: [{name: c, mountPath: /c}]}, \
                {name: b, volumeMounts: [{name: d, mountPath: /d}]}], \
                volumes: [{name: c, configMap: {name: one}}, {name: d, configMap: {name: two}}]}";
    let text = deployment("web", "{annotations: {reloadlet.io/signal: HUP, reloadlet.io/volumes: d}}", spec);
    assert_eq!(found(&text), [""; 0]);
    assert!(said(&[("web.yaml", &text)]).contains("never        other-volume\n"));
}

#[test]
fn of_several_containers_each_is_asked_for_by_its_name() {
    let spec = "{containers: [{name: a, volumeMounts: [{name: c, mountPath: /c}]}, \
                {name: b, volumeMounts: [{name: c, mountPath: /d}]}], volumes: [{name: c, configMap: {name: one}}]}";
    let all = found(&deployment("web", "{}", spec));
    assert_eq!(all.len(), 2, "{all:?}");
    for (line, name) in all.iter().zip(["a", "b"]) {
        assert!(
            line.contains(&format!("; signal.reloadlet.io/{name}: the signal at which its program loads")),
            "{line}"
        );
    }
}

#[test]
fn of_two_objects_of_one_name_only_what_both_say_counts() {
    let text =
        web("reloadlet.io/signal: HUP", "{name: c, configMap: {name: cfg, items: [{key: x, path: x}]}}");
    let both = |one: &str, other: &str| found(&(text.clone() + &config_map(one) + &config_map(other)));
    assert_eq!(both("data: {x: a}", "data: {z: a}"), [""; 0]);
    assert_eq!(both("data: {z: b}", "data: {x: a}"), [""; 0]);
    assert_eq!(both("immutable: true\ndata: {x: a}", "data: {x: a}"), [""; 0]);
    assert_eq!(both("data: {x: a}", "immutable: true\ndata: {x: a}"), [""; 0]);
    assert!(both("data: {z: a}", "data: {z: a}")[0].starts_with("warning missing-key: "));
    assert!(
        both("immutable: true\ndata: {x: a}", "immutable: true\ndata: {x: a}")[0]
            .starts_with("hint immutable: ")
    );
}

#[test]
fn no_variable_has_a_key_of_binary_data() {
    let spec =
        "{containers: [{name: a, env: [{name: A, valueFrom: {configMapKeyRef: {name: cfg, key: k}}}]}]}";
    let of = |more: &str| {
        let all = found(&(deployment("web", "{}", spec) + &config_map(more)));
        all.into_iter().filter(|line| line.starts_with("warning missing-key")).collect::<Vec<_>>()
    };
    let expected = "warning missing-key: ConfigMap \"cfg\" has no key \"k\" in its data, without which container \"a\" isn't started; \
                    write it in data: no variable has a key of binaryData";
    assert_eq!(of("binaryData: {k: eA==}"), [expected]);
    assert_eq!(of("data: {k: x}"), [""; 0]);
}

#[test]
fn what_looks_like_a_variable_may_be_a_shells_command() {
    let spec = "{containers: [{name: a, command: [sh, -c, \"echo $(date) $(date +%s) $(LEVEL)\"], envFrom: [{configMapRef: {name: cfg}}]}]}";
    let args = |more: &str| {
        let all = found(&(deployment("web", "{}", spec) + more));
        all.into_iter().filter(|line| line.contains("frozen-args: ")).collect::<Vec<_>>()
    };
    let unknown = args("");
    assert_eq!(unknown.len(), 2, "{unknown:?}");
    for line in unknown {
        assert!(
            line.starts_with("hint frozen-args: container \"a\" may take into its command line "),
            "{line}"
        );
    }
    let known = args(&config_map("data: {LEVEL: x}"));
    assert!(
        known.len() == 1 && known[0].contains("warning frozen-args: container \"a\" takes "),
        "{known:?}"
    );
    assert!(known[0].contains("(key \"LEVEL\")"), "{known:?}");
}

#[test]
fn a_workload_that_asks_for_it_is_rolled_for_what_never_changes_in_place() {
    let own = |annotations: &str, kind: &str| {
        format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web, namespace: shop, annotations: {{{annotations}}}}}\nspec:\n  \
             selector: {{}}\n  template:\n    spec:\n      containers:\n      - name: app\n        env:\n        - {{name: A, valueFrom: \
             {{configMapKeyRef: {{name: cfg, key: a}}}}}}\n"
        )
    };
    let of = |annotations: &str| found(&own(annotations, "Deployment"));
    assert!(of("x: y")[0].starts_with("warning frozen-env"), "{:?}", of("x: y"));
    assert_eq!(
        of("reloadlet.io/rollout: \"true\", reloadlet.io/wave: \"2\", reloadlet.io/debounce: 1m"),
        [""; 0]
    );
    let bad = of("reloadlet.io/rollout: \"yes\"");
    assert_eq!(
        bad[0],
        "error bad-value: reloadlet.io/rollout is \"yes\", but must be \"false\", \"true\", \"in-place\" or \"in-place,rollout\""
    );
    assert!(bad[1].starts_with("warning frozen-env"), "what it asks for badly isn't done: {bad:?}");
    let splayed = of("reloadlet.io/rollout: \"true\", reloadlet.io/splay: 10s");
    assert!(
        splayed[0].starts_with("error misplaced-annotation: reloadlet.io/splay is on the Deployment"),
        "{splayed:?}"
    );
    let set = found(&own("reloadlet.io/rollout: \"true\"", "ReplicaSet"));
    let expected = "warning unsupported: reloadlet.io/rollout is on the ReplicaSet, and only Deployments, StatefulSets and DaemonSets are rolled: of its pods it is said what they don't get; write it at spec.template.metadata.annotations, where agents read it";
    assert!(set.iter().any(|line| line == expected), "{set:?}");
}

#[test]
fn what_is_against_a_restart_in_place_is_said_where_one_is_asked_for() {
    let of = |manner: &str, more: &str| {
        found(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  selector: {{}}\n  template:\n    \
             metadata: {{annotations: {{reloadlet.io/rollout: \"{manner}\"}}}}\n    spec:\n      containers:\n      - name: app\n        \
             {more}env:\n        - {{name: A, valueFrom: {{configMapKeyRef: {{name: cfg, key: a}}}}}}\n"
        ))
    };
    let hook = "lifecycle: {preStop: {exec: {command: [\"true\"]}}}\n        ";
    assert_eq!((of("in-place", ""), of("in-place,rollout", ""), of("true", hook)), (vec![], vec![], vec![]));
    let alone = of("in-place", hook);
    let expected = "warning not-in-place: container \"app\" can't be restarted in place, as it has a preStop hook, which only the kubelet \
                    runs: it keeps the old content; reloadlet.io/rollout: in-place,rollout has its pods replaced";
    assert_eq!(alone[0], expected, "{alone:?}");
    assert!(alone[1].starts_with("warning frozen-env"), "{alone:?}");
    let either = of("in-place,rollout", hook);
    assert!(
        either.len() == 1
            && either[0].starts_with("hint not-in-place: ")
            && either[0].ends_with("replaced instead"),
        "{either:?}"
    );
    let ruled = of("in-place", "restartPolicyRules: [{action: Restart}]\n        ");
    assert!(ruled[0].contains("restartPolicyRules"), "{ruled:?}");
    let own = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {reloadlet.io/rollout: in-place}}\nspec:\n  \
               selector: {}\n  template: {spec: {containers: [{name: app}]}}\n";
    assert!(found(own)[0].contains("it must be in the annotations of the template"), "{:?}", found(own));
}

#[test]
fn an_annotation_on_the_template_of_jobs_is_misplaced() {
    let text = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: web}\nspec: {jobTemplate: {metadata: {annotations: \
                {reloadlet.io/signal: HUP}}, spec: {template: {spec: {containers: [{name: a}]}}}}}\n";
    let expected = "error misplaced-annotation: reloadlet.io/signal is on the template of its Jobs, and its pods have the annotations of \
                    its template; write it at spec.jobTemplate.spec.template.metadata.annotations";
    assert_eq!(found(text), [expected]);
}

#[test]
fn a_sub_path_of_everything_and_one_of_nothing_show_no_key() {
    let of = |path: &str| {
        let volume = "{name: c, configMap: {name: cfg, items: [{key: x, path: x}]}}";
        web("", volume).replace("mountPath: /c", &format!("mountPath: /c, subPath: {path}"))
    };
    let empty = found(&of("y"));
    assert!(empty.len() == 1 && empty[0].starts_with("warning empty-subpath: "), "{empty:?}");
    assert!(!empty[0].contains("key"), "{empty:?}");
    let all = found(&of(".").replace(", items: [{key: x, path: x}]", ""));
    assert!(all.len() == 1 && !all[0].contains("key"), "{all:?}");
}

#[test]
fn files_that_the_pod_leaves_out_are_no_reason_to_roll_a_container_that_is_told() {
    let text = web(
        "reloadlet.io/signal: HUP, reloadlet.io/keys: x",
        "{name: c, configMap: {name: cfg, items: [{key: x, path: x}, {key: y, path: y}]}}",
    );
    let asks = "namespace: shop, annotations: {reloader.stakater.com/auto: \"true\"}";
    let expected = "hint reloader-rolls: when ConfigMap \"cfg\" changes, Reloader 1.4 rolls it; reloadlet tells container \"a\" by SIGHUP";
    assert_eq!(found(&text.replacen("namespace: shop", asks, 1)), [expected]);
}
