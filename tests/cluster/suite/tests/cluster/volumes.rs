//! Every kind of volume that can change.

use serde_json::json;

use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl_command, output, secret, wait_until};

fn server(answer: &str) -> serde_json::Value {
    json!({"default.conf": format!("server {{ listen 80; return 200 \"{answer}\\n\"; }}")})
}

#[test]
fn nginx_serves_what_its_config_map_says_after_exactly_one_reload() {
    let Some(space) = Space::new("nginx") else { return };
    let labels = json!({"app": "web"});
    space.start(&[
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": server("one")}),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": {SIGNAL: "SIGHUP"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "nginx",
                            "image": "localhost/nginx:test",
                            "volumeMounts": [{"name": "config", "mountPath": "/etc/nginx/conf.d"}],
                        }],
                        "volumes": [{"name": "config", "configMap": {"name": "web"}}],
                    },
                },
            },
        }),
    ]);
    let name = space.list("pods", &[])[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let serves = |answer: &str| {
        wait_until(&format!("nginx serves {answer}"), || {
            let get = ["-n", space.name(), "exec", &name, "--", "wget", "-qO-", "http://127.0.0.1/"];
            output(kubectl_command(get)).is_ok_and(|text| text.trim() == answer)
        });
    };
    serves("one");
    for (reloads, answer) in [(1, "two"), (2, "three")] {
        let patch = json!({"data": server(answer)}).to_string();
        space.kubectl(&["patch", "configmap", "web", "--type=merge", "-p", &patch]);
        serves(answer);
        let log = space.kubectl(&["logs", &name]);
        assert_eq!(log.matches("(SIGHUP) received").count(), reloads, "{log}");
    }
    let said = space.wait_event(&name, "SignalSent");
    assert!(said.starts_with("Sent SIGHUP to container nginx for "), "{said}");
}

#[test]
fn a_secret_is_told_of_once() {
    let Some(space) = Space::new("secret") else { return };
    let mut pod = app("app", &[(SIGNAL, "SIGHUP")]);
    pod["spec"]["volumes"] = json!([{"name": "config", "secret": {"secretName": "config"}}]);
    space.start(&[secret("one"), pod]);
    for (content, told) in [("two", vec!["hup two"]), ("three", vec!["hup two", "hup three"])] {
        let patch = json!({"stringData": {"key": content}}).to_string();
        space.kubectl(&["patch", "secret", "config", "--type=merge", "-p", &patch]);
        space.wait_told("app", "app", &told);
    }
    space.wait_event("app", "SignalSent");
}

#[test]
fn a_projected_volume_is_told_of_once_whichever_of_its_sources_changes() {
    let Some(space) = Space::new("projected") else { return };
    let mut pod = app("app", &[(SIGNAL, "SIGHUP")]);
    pod["spec"]["volumes"] = json!([{"name": "config", "projected": {"sources": [
        {"configMap": {"name": "config"}},
        {"secret": {"name": "secret", "items": [{"key": "key", "path": "password"}]}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]}},
    ]}}]);
    space.start(&[
        config_map("one"),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"key": "a"},
        }),
        pod,
    ]);
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
    // The volume is written anew, but nothing that counts has changed.
    space.annotate("app", "example.com/note", Some("other"));
    wait_until("the pod's annotations are in its volume", || {
        let text = space.kubectl(&["exec", "app", "--", "cat", "/config/annotations"]);
        text.contains("example.com/note")
    });
    let patch = json!({"stringData": {"key": "b"}}).to_string();
    space.kubectl(&["patch", "secret", "secret", "--type=merge", "-p", &patch]);
    space.wait_told("app", "app", &["hup two", "hup two"]);
    space.wait_file("app", "/config/password", "b");
    space.change("three");
    space.wait_told("app", "app", &["hup two", "hup two", "hup three"]);
}

/// Each namespace's `kube-root-ca.crt` is in each of its pods, and concerns no application.
#[test]
fn the_account_that_every_pod_has_triggers_nothing() {
    let Some(space) = Space::new("account") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    // Kubernetes would write it back, if it could be changed again.
    let patch = json!({"data": {"ca.crt": "other"}, "immutable": true}).to_string();
    space.kubectl(&["patch", "configmap", "kube-root-ca.crt", "--type=merge", "-p", &patch]);
    space.wait_file("app", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", "other");
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
}
