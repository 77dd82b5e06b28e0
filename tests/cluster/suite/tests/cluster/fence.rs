//! What the agent's account can do with the right to patch `pods/status`: one annotation, on its own node.

use std::process::Command;

use serde_json::{Value, json};

use cluster_suite::agent;
use cluster_suite::audit;
use cluster_suite::overlay::Overlay;
use cluster_suite::space::{SIGNAL, Space, app, config_map, kubectl, kubectl_command, output, wait_until};

/// What the overlay has and `deploy/` hasn't.
pub(crate) const OWN: &[&str] =
    &["validatingadmissionpolicybinding/reloadlet", "validatingadmissionpolicy/reloadlet"];
const OBSERVED: &str = "reloadlet.io/observed";

/// The API server, as someone with a token sees it.
struct Client {
    server: String,
    /// The file with the API server's authority.
    authority: std::path::PathBuf,
    token: String,
}

impl Client {
    fn new(token: String) -> Self {
        let config = |path: &str| {
            kubectl([
                "config",
                "view",
                "--raw",
                "--minify",
                "-o",
                &format!("jsonpath={{.clusters[0].cluster.{path}}}"),
            ])
        };
        let authority = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("authority-{}", std::process::id()));
        let mut decode = Command::new("sh");
        decode
            .args(["-c", "echo \"$0\" | base64 -d >\"$1\"", &config("certificate-authority-data")])
            .arg(&authority);
        output(decode).unwrap();
        Self { server: config("server"), authority, token }
    }

    /// As the agent's own pod.
    fn agent() -> Self {
        let pod = agent::pod();
        let [name, uid] = ["name", "uid"].map(|key| pod["metadata"][key].as_str().unwrap().to_owned());
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", &name, "--bound-object-uid", &uid];
        Self::new(
            kubectl([&["create", "token", "reloadlet", "-n", "reloadlet"][..], &bound].concat())
                .trim()
                .to_owned(),
        )
    }

    /// With a token that is for no pod.
    fn unbound(&self) -> Self {
        let token = kubectl(["create", "token", "reloadlet", "-n", "reloadlet"]).trim().to_owned();
        Self { server: self.server.clone(), authority: self.authority.clone(), token }
    }

    /// Patches without a look before, as kubectl would have.
    fn patch(&self, path: &str, patch: &Value) -> (u16, Value) {
        self.send("PATCH", path, patch)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--request", method, "--write-out", "\n%{http_code}"])
            .arg("--cacert")
            .arg(&self.authority)
            .args(["--header", &format!("Authorization: Bearer {}", self.token)])
            .args(["--header", &format!("Content-Type: {kind}")])
            .args(["--data", &body.to_string(), &format!("{}{path}", self.server)]);
        let said = output(curl).unwrap_or_else(|error| panic!("{}", error.replace(&self.token, "…")));
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_else(|_text| json!({"message": body})))
    }
}

/// A node that no kubelet runs on, with a pod.
struct OtherNode<'a> {
    space: &'a Space,
    node: String,
}

impl<'a> OtherNode<'a> {
    fn new(space: &'a Space) -> Self {
        let other = Self { space, node: format!("other-{}", space.name()) };
        // Without labels, so that no DaemonSet wants to be there.
        let mut pod = app("far", &[(SIGNAL, "SIGHUP")]);
        pod["spec"]["nodeName"] = json!(other.node);
        space.create(&[json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": other.node}}), pod]);
        other
    }
}

impl Drop for OtherNode<'_> {
    fn drop(&mut self) {
        for args in [
            &["-n", self.space.name(), "delete", "pod", "far", "--force", "--grace-period=0"][..],
            &["delete", "node", &self.node],
        ] {
            if let Err(error) = output(kubectl_command(args)) {
                eprintln!("{error}");
            }
        }
    }
}

fn status_of(space: &Space, pod: &str) -> String {
    format!("/api/v1/namespaces/{}/pods/{pod}/status", space.name())
}

fn observed(value: &str) -> Value {
    json!({"metadata": {"annotations": {OBSERVED: value}}})
}

/// What a patch could change, without the annotation that it may.
fn rest(space: &Space, pod: &str) -> Value {
    let mut pod = space.get("pod", pod);
    let metadata = pod["metadata"].as_object_mut().unwrap();
    for changing in ["resourceVersion", "managedFields"] {
        metadata.remove(changing);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(OBSERVED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    // The rest of it the kubelet may write meanwhile.
    pod["status"] = json!([pod["status"]["phase"], pod["status"]["podIP"]]);
    pod
}

/// Patches as the agent, and takes what is refused for it: the sentence.
#[track_caller]
fn refused(client: &Client, path: &str, patch: &Value, sentence: &str) {
    let (status, said) = client.patch(path, patch);
    assert!(
        status == 403 && said["message"].as_str().unwrap().ends_with(sentence),
        "{patch}: {status} {said}, not {sentence}"
    );
}

#[test]
fn the_agents_account_may_change_one_annotation_on_its_own_node_and_nothing_else() {
    let Some(space) = Space::alone("fence") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    let mut bare = app("bare", &[]);
    bare["metadata"] = json!({"name": "bare"});
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ("example.com/owner", "me")]), bare]);
    let _other = OtherNode::new(&space);
    let agent = Client::agent();
    let unbound = agent.unbound();
    let far = status_of(&space, "far");
    wait_until("the fence is up", || agent.patch(&far, &observed("early")).0 == 403);
    let before = [rest(&space, "app"), rest(&space, "bare")];

    for pod in ["app", "bare"] {
        for value in ["a", &"b".repeat(64)] {
            let (status, said) = agent.patch(&status_of(&space, pod), &observed(value));
            assert_eq!(status, 200, "{said}");
            assert_eq!(space.get("pod", pod)["metadata"]["annotations"][OBSERVED], *value);
        }
    }

    let own_node = "reloadlet may only change pods of the node that its token is for";
    refused(&agent, &far, &observed("c"), own_node);
    refused(&unbound, &far, &observed("c"), own_node);
    refused(&unbound, &status_of(&space, "app"), &observed("c"), own_node);

    let labels = "reloadlet may not change labels";
    let finalizers = "reloadlet may not change finalizers";
    let status = "reloadlet may not change the status";
    let annotation = "reloadlet may change no annotation but reloadlet.io/observed";
    let must = "reloadlet must set the annotation reloadlet.io/observed, to 1 to 64 characters";
    let condition = json!({"type": "example.com/Ready", "status": "True"});
    let annotations = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
    for (patch, sentence) in [
        (json!({"metadata": {"generateName": "other-"}}), "reloadlet may not change generateName"),
        (json!({"metadata": {"labels": {"a": "b"}}}), labels),
        (json!({"metadata": {"finalizers": ["example.com/stay"]}}), finalizers),
        (json!({"status": {"podIP": "192.0.2.1"}}), status),
        (json!({"status": {"conditions": [condition]}}), status),
        (json!({"status": {"phase": "Failed"}}), status),
        (annotations("example.com/new", json!("x")), annotation),
        (annotations("example.com/owner", json!("x")), annotation),
        (annotations("reloadlet.io/signal", json!("SIGTERM")), annotation),
        (annotations("reloadlet.io/accelerate", json!("true")), annotation),
        (annotations("signal.reloadlet.io/app", json!("SIGTERM")), annotation),
        (annotations("reloadlet.io/signal", Value::Null), annotation),
        (annotations("example.com/owner", Value::Null), annotation),
        (annotations(OBSERVED, Value::Null), must),
        (annotations(OBSERVED, json!("")), must),
        (annotations(OBSERVED, json!("c".repeat(65))), must),
    ] {
        // Beside what is allowed, unless that is what is tried.
        let mut patch = patch;
        let tried = &mut patch["metadata"]["annotations"];
        if tried.get(OBSERVED).is_none() {
            tried[OBSERVED] = json!("c");
        }
        refused(&agent, &status_of(&space, "app"), &patch, sentence);
        if tries_bare(&patch) {
            refused(&agent, &status_of(&space, "bare"), &patch, sentence);
        }
    }

    // What this subresource doesn't take.
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "config", "uid": "6f1e2d3c"});
    let mut dropped = observed("d");
    dropped["metadata"]["ownerReferences"] = json!([owner]);
    dropped["metadata"]["selfLink"] = json!("/elsewhere");
    dropped["metadata"]["generation"] = json!(99);
    dropped["spec"] = json!({"activeDeadlineSeconds": 1});
    assert_eq!(agent.patch(&status_of(&space, "app"), &dropped).0, 200);
    // A pod of the same name that was made meanwhile.
    let mut other = observed("e");
    other["metadata"]["uid"] = json!("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0");
    let (code, said) = agent.patch(&status_of(&space, "app"), &other);
    assert_eq!((code, &said["details"]["causes"][0]["field"]), (422, &json!("metadata.uid")), "{said}");
    // Not by another way, which the account hasn't.
    let (code, said) = agent.patch(status_of(&space, "app").trim_end_matches("/status"), &observed("f"));
    assert!(code == 403 && said["message"].as_str().unwrap().contains("cannot patch resource"), "{said}");

    refuses_what_is_granted_by_mistake(&space, &agent);
    assert_eq!([rest(&space, "app"), rest(&space, "bare")], before);
    assert_eq!(space.get("pod", "app")["metadata"]["annotations"][OBSERVED], "d");
    // Others are not fenced in.
    space.kubectl(&["label", "pod", "app", "a=b"]);
}

/// With every right to pods and what is below them, the account can still do nothing but nudge.
fn refuses_what_is_granted_by_mistake(space: &Space, agent: &Client) {
    // RBAC has no `pods/*`.
    let below =
        ["attach", "binding", "ephemeralcontainers", "eviction", "exec", "portforward", "proxy", "resize"];
    let resources: Vec<_> =
        below.iter().map(|name| format!("pods/{name}")).chain(["pods".to_owned()]).collect();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "more"},
        "rules": [{"apiGroups": [""], "resources": resources, "verbs": ["*"]}],
    });
    space.create(&[role]);
    space.kubectl(&["create", "rolebinding", "more", "--role=more", "--serviceaccount=reloadlet:reloadlet"]);
    let app_status = status_of(space, "app");
    let pod = app_status.trim_end_matches("/status");
    let namespace = pod.trim_end_matches("/pods/app");
    let sentence = "reloadlet may do nothing to pods but patch their status";
    wait_until("the right is given", || {
        agent.patch(pod, &observed("f")).1["message"].as_str().is_some_and(|said| said.ends_with(sentence))
    });
    let debugger = json!({"name": "debugger", "image": "localhost/busybox:test"});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "app"}});
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "app"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "elsewhere"},
    });
    let nothing = json!({});
    for (method, path, body) in [
        ("PATCH", pod, json!({"metadata": {"labels": {"a": "b"}}})),
        (
            "PATCH",
            &format!("{pod}/ephemeralcontainers"),
            json!({"spec": {"ephemeralContainers": [debugger]}}),
        ),
        ("PATCH", &format!("{pod}/resize"), observed("f")),
        ("POST", &format!("{pod}/eviction"), eviction),
        ("POST", &format!("{pod}/binding"), binding),
        ("POST", &format!("{pod}/exec?command=true&stdout=1"), nothing.clone()),
        ("POST", &format!("{pod}/attach?stdout=1"), nothing.clone()),
        ("POST", &format!("{pod}/portforward?ports=1"), nothing.clone()),
        ("POST", &format!("{pod}/proxy/"), nothing.clone()),
        ("DELETE", pod, nothing.clone()),
        ("DELETE", &format!("{namespace}/pods"), nothing),
        ("POST", &format!("{namespace}/pods"), app("new", &[])),
    ] {
        let (status, said) = agent.send(method, path, &body);
        let message = said["message"].as_str().unwrap_or_default();
        assert!(status == 403 && message.ends_with(sentence), "{method} {path}: {status} {said}");
    }
}

/// Whether it would change a pod that has no annotations or labels.
fn tries_bare(patch: &Value) -> bool {
    let annotations = patch["metadata"]["annotations"].as_object().unwrap();
    annotations.iter().all(|(key, value)| key == OBSERVED || !value.is_null())
}

#[test]
fn the_fence_has_no_mistake_that_the_api_server_knows_of() {
    let Some(_space) = Space::alone("types") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    let checked = wait_until("its expressions are checked", || {
        let policy = kubectl(["get", "validatingadmissionpolicy", "reloadlet", "-o", "json"]);
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let seen = policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
        seen.then(|| policy["status"]["typeChecking"].clone())
    });
    assert!(checked["expressionWarnings"].as_array().is_none_or(Vec::is_empty), "{checked:#}");
}

/// A setting of the agent's that no manifest has, as long as this lives.
struct Setting(&'static str);

impl Setting {
    fn set(variable: &'static str, value: &str) -> Self {
        let setting = Self(variable);
        setting.change(&format!("{variable}={value}"));
        setting
    }

    fn change(&self, to: &str) {
        kubectl(["-n", "reloadlet", "set", "env", "daemonset/reloadlet", to]);
        agent::wait_rolled_out();
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.change(&format!("{}-", self.0));
    }
}

fn said(sentence: &str) -> bool {
    agent::log().lines().any(|line| line.contains(sentence))
}

/// Whether the API server takes what the fence has to refuse.
fn proof_is_taken() -> bool {
    let name = agent::pod()["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/namespaces/reloadlet/pods/{name}/status?dryRun=All");
    Client::agent().patch(&path, &json!({"metadata": {"generateName": "fence-"}})).0 == 200
}

fn fence_open() -> f64 {
    agent::metric("reloadlet_fence_open", &[])
}

#[test]
fn the_agent_proves_the_fence_and_nudges_nobody_without_it() {
    let Some(space) = Space::alone("proof") else { return };
    let _overlay = Overlay::apply("acceleration", OWN);
    wait_until("the fence is proved", || said("the fence holds"));
    assert_eq!(fence_open(), 0.0);
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ("reloadlet.io/accelerate", "true")])]);
    let nudged = || space.get("pod", "app")["metadata"]["annotations"][OBSERVED].clone();

    // As when the policy names another account: nobody is fenced in, and others' pods can be made as before.
    let other = json!({"spec": {"paramRef": {"name": "another"}}}).to_string();
    kubectl(["patch", "validatingadmissionpolicybinding", "reloadlet", "--type=merge", "-p", &other]);
    // An agent that asks before the API server knows of the patch finds the fence, and asks again in an hour.
    wait_until("the API server refuses nothing more", proof_is_taken);
    agent::restart();
    wait_until("the agent says that the fence is open", || said("the fence is open"));
    wait_until("and its metric", || fence_open() == 1.0);
    let mark = audit::mark();
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
    assert_eq!(audit::nudges_since(mark), 0);
    assert_eq!(nudged(), Value::Null);

    let _setting = Setting::set("RELOADLET_WITHOUT_FENCE", "true");
    wait_until("the agent says that the fence is open", || said("pods are nudged all the same"));
    space.change("three");
    space.wait_told("app", "app", &["hup two", "hup three"]);
    wait_until("it was nudged", || nudged().is_string());
    assert_eq!(fence_open(), 1.0);
}
