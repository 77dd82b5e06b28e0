//! What workloads name and the manifests don't have.

use super::{deployment, found};

fn config_map(name: &str, data: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\ndata: {data}\n"
    )
}

/// The findings with these codes.
fn with(text: &str, codes: &[&str]) -> Vec<String> {
    let has = |line: &String| codes.iter().any(|code| line.split(' ').nth(1) == Some(&format!("{code}:")));
    found(text).into_iter().filter(has).collect()
}

const REDIS: &str = "{containers: [{name: redis, volumeMounts: [{name: config, mountPath: /etc/marvel}]}], \
                     volumes: [{name: config, configMap: {name: redis-config, items: [{key: marvel, path: marvel}]}}]}";

#[test]
fn a_key_that_isnt_in_its_object_is_found_with_the_one_that_is_meant() {
    let text = |data: &str| deployment("redis", "{}", REDIS) + &config_map("redis-config", data);
    let expected = "warning missing-key: ConfigMap \"redis-config\" has no key \"marvel\", without which container \"redis\" isn't \
                    started; \"marvell\" is: is that one meant?";
    assert_eq!(with(&text("{marvell: x, other: y}"), &["missing-key"]), [expected]);
    assert_eq!(with(&text("{marvel: x}"), &["missing-key"]), [""; 0]);
    let binary = text("{}").replace("data: {}", "binaryData: {marvel: eA==}");
    assert_eq!(with(&binary, &["missing-key"]), [""; 0]);
    for filled in ["null", "{}"] {
        assert_eq!(with(&text(filled), &["missing-key"]), [""; 0], "somebody fills it in the cluster");
    }
    let never = text("{}").replace("data: {}", "immutable: true");
    assert_eq!(with(&never, &["missing-key"]).len(), 1);
    let odd = text("[marvel]");
    assert_eq!(with(&odd, &["missing-key"]), [""; 0], "nothing is known of it");
}

#[test]
fn an_object_of_another_namespace_is_named_with_it_and_moves_nobody() {
    let away = config_map("redis-config", "{marvel: x}").replace("shop", "prod2");
    let text = deployment("redis", "{}", REDIS) + &away;
    assert_eq!(
        with(&text, &["missing-object"]),
        [
            "hint missing-object: ConfigMap \"redis-config\" in namespace shop isn't among the manifests; one of this name is in \
          namespace prod2"
        ]
    );
    let listed = "name: redis, annotations: {configmap.reloader.stakater.com/reload: redis-config}";
    let nothing = "does nothing, as the object is in another namespace";
    assert_eq!(
        with(&text.replacen("name: redis", listed, 1), &["reloader-rolls"]),
        [format!(
            "hint reloader-rolls: when ConfigMap \"redis-config\" of namespace prod2 changes, Reloader 1.4 {nothing}; reloadlet {nothing}"
        )]
    );
}

#[test]
fn annotations_of_reloader_without_quotes_are_errors_and_count_for_objects() {
    let asking = "name: redis, annotations: {reloader.stakater.com/auto: true}";
    let marked = config_map("redis-config", "{marvel: x}")
        .replace("namespace: shop", "namespace: shop, annotations: {reloader.stakater.com/ignore: true}");
    let text = deployment("redis", "{}", REDIS).replacen("name: redis", asking, 1) + &marked;
    let sentence = "is true, but must be a string: put it in quotes";
    assert_eq!(
        with(&text, &["not-text", "reloader-rolls"]),
        [
            format!("error not-text: reloader.stakater.com/auto {sentence}"),
            format!("error not-text: ConfigMap \"redis-config\": reloader.stakater.com/ignore {sentence}"),
        ]
    );
}

#[test]
fn an_empty_name_and_a_mount_of_nothing_are_found() {
    let spec = "{containers: [{name: app, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /w}], \
                env: [{name: A, valueFrom: {configMapKeyRef: {name: cfg}}}], envFrom: [{secretRef: {}}]}], \
                volumes: [{name: v, secret: {name: cfg}}]}";
    let codes = ["empty-name", "missing-volume", "frozen-env", "unasked", "missing-object", "unmounted"];
    let found = with(&deployment("web", "{}", spec), &codes);
    let rest = "is empty or missing for container \"app\": nothing is named there";
    for expected in [
        format!("warning empty-name: env[].valueFrom.configMapKeyRef.key {rest}"),
        format!("warning empty-name: envFrom[].secretRef.name {rest}"),
        format!("warning empty-name: volumes[].secret.secretName of volume \"v\" {rest}"),
        "warning missing-volume: container \"app\" mounts volume \"w\", which the pod doesn't have"
            .to_owned(),
    ] {
        assert!(found.contains(&expected), "{expected} {found:#?}");
    }
    assert!(!found.iter().any(|line| line.contains("\"\"")), "{found:#?}");
    let claims = deployment("web", "{}", spec).replace("Deployment", "StatefulSet");
    assert!(with(&claims, &["missing-volume"]).is_empty());
}

#[test]
fn what_may_be_missing_and_is_says_what_becomes_of_it() {
    let spec = "{containers: [{name: app, \
                env: [{name: A, valueFrom: {configMapKeyRef: {name: there, key: gone, optional: true}}}], \
                envFrom: [{configMapRef: {name: away, optional: true}}], \
                volumeMounts: [{name: v, mountPath: /v}]}], \
                volumes: [{name: v, configMap: {name: later, optional: true}}]}";
    let text = deployment("web", "{}", spec) + &config_map("there", "{a: b}");
    let on = "a container that starts without it goes on without it, also when it comes later";
    let mut all = with(&text, &["optional-absent", "missing-object", "missing-key"]);
    all.sort();
    assert_eq!(
        all,
        [
            format!("hint optional-absent: ConfigMap \"away\" in namespace shop is optional and isn't among the manifests: {on}"),
            "hint optional-absent: ConfigMap \"later\" in namespace shop is optional and isn't among the manifests: its files appear \
             when it comes"
                .to_owned(),
            format!("hint optional-absent: key \"gone\" of ConfigMap \"there\" is optional and isn't in it: {on}"),
        ]
    );
    let both = text
        .replace("volumes: [", "volumes: [{name: w, configMap: {name: away}}, ")
        .replace("volumeMounts: [", "volumeMounts: [{name: w, mountPath: /w}, ");
    assert_eq!(with(&both, &["missing-object"]).len(), 1, "somebody can't do without it");
    assert_eq!(with(&both, &["optional-absent"]).len(), 2);
}

#[test]
fn a_key_that_older_kubelets_skip_is_found() {
    let text = |prefix: &str, data: &str| {
        let spec =
            format!("{{containers: [{{name: app, envFrom: [{{{prefix}configMapRef: {{name: env}}}}]}}]}}");
        deployment("web", "{}", &spec) + &config_map("env", data)
    };
    let expected = "hint skipped-variable: key \"1st\" of ConfigMap \"env\" is no name of an environment variable before Kubernetes 1.32, \
                    where the kubelet leaves it out";
    assert_eq!(with(&text("", "{a.b: x, 1st: y}"), &["skipped-variable"]), [expected]);
    let prefixed = with(&text("prefix: 1-, ", "{a: x}"), &["skipped-variable"]);
    assert!(
        prefixed[0].contains("key \"a\" of ConfigMap \"env\" with its prefix, \"1-a\", is no name"),
        "{prefixed:?}"
    );
    assert_eq!(with(&text("prefix: P_, ", "{1st: y}"), &["skipped-variable"]), [""; 0]);
    assert_eq!(with(&text("", "{a.b: x}"), &["skipped-variable"]), [""; 0]);
}
