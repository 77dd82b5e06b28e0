//! What kustomize makes of `deploy/`, alone and in kustomizations of other people's. These need kubectl and no cluster.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::overlays::{assert_paths_agree, built, kind, own, take_daemon_set};
use cluster_suite::overlay::{deploy, directory};
use cluster_suite::space::{kubectl_command, output};

mod controller;

/// Whether kubectl is there.
fn can_render() -> bool {
    let there = output(kubectl_command(["version", "--client"]));
    if let Err(error) = &there {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
        eprintln!("skipped: {error}");
    }
    there.is_ok()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The only object of a kind.
fn one<'a>(objects: &'a [Value], wanted: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == wanted);
    let object = found.next().unwrap_or_else(|| panic!("no {wanted}"));
    assert!(found.next().is_none(), "two of {wanted}");
    object
}

fn place(objects: &[Value], wanted: &str) -> usize {
    objects.iter().position(|object| object["kind"] == wanted).unwrap_or_else(|| panic!("no {wanted}"))
}

/// The kustomization that the README has for combining variants.
fn of_the_readme() -> String {
    let readme = fs::read_to_string(deploy().join("../README.md")).unwrap();
    let begin = readme.find("    resources: [PATH/deploy/base]").expect("a kustomization in the README");
    let lines = readme[begin..].lines().map_while(|line| line.strip_prefix("    "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Two kubelets' directories can't be combined.
const EITHER: [&str; 2] = ["k0s", "microk8s"];
/// The components that aren't the agents'.
const CONTROLLERS: [&str; 2] = ["controller", "controller-secrets"];

#[test]
fn all_variants_together_follow_another_namespace_and_a_prefix() {
    if !can_render() {
        return;
    }
    for without in EITHER {
        let components: Vec<_> = names_in(&deploy().join("components"))
            .into_iter()
            .filter(|name| name != without && !CONTROLLERS.contains(&&**name))
            .map(|name| format!("PATH/deploy/components/{name}"))
            .collect();
        let mut objects = own(&format!(
            "namespace: platform\nnamePrefix: team-\nresources: [PATH/deploy/base]\ncomponents: [{}]\n\
             images: [{{name: set-your-image.invalid/reloadlet, newName: registry.example/agent, newTag: \"7\"}}]\n",
            components.join(", "),
        ));
        for namespaced in ["ResourceQuota", "ServiceAccount", "DaemonSet", "PodMonitor", "NetworkPolicy"] {
            assert_eq!(one(&objects, namespaced)["metadata"]["namespace"], "platform", "{namespaced}");
        }
        assert_eq!(one(&objects, "Namespace")["metadata"]["name"], "platform");
        let name = |kind| &one(&objects, kind)["metadata"]["name"];
        let account = name("ServiceAccount");
        assert_eq!(account, "team-reloadlet");

        let binding = one(&objects, "ClusterRoleBinding");
        let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": "platform"});
        assert_eq!(binding["subjects"], json!([subject]), "who gets the rights");
        assert_eq!(&binding["roleRef"]["name"], name("ClusterRole"));

        let fence = &one(&objects, "ValidatingAdmissionPolicyBinding")["spec"];
        assert_eq!(&fence["policyName"], name("ValidatingAdmissionPolicy"));
        let fenced = json!({"name": account, "namespace": "platform", "parameterNotFoundAction": "Allow"});
        assert_eq!(fence["paramRef"], fenced, "whom the fence is for");

        let scc = name("SecurityContextConstraints");
        let rules = one(&objects, "ClusterRole")["rules"].as_array().unwrap();
        let may_use = rules.iter().find(|rule| rule["verbs"] == json!(["use"])).unwrap();
        assert_eq!(may_use["resourceNames"], json!([scc]));
        let annotation = &one(&objects, "Namespace")["metadata"]["annotations"]["openshift.io/node-selector"];
        assert_eq!(annotation, "");

        // No text but the labels has the namespace or the name of before.
        let literal = "system:serviceaccount:reloadlet";
        assert!(!json!(objects).to_string().contains(literal), "an account that is named in a text");
        let scc = scc.clone();
        let account = account.clone();
        let daemon_set = take_daemon_set(&mut objects);
        assert_paths_agree(without, &daemon_set);
        let template = &daemon_set["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"], json!({"openshift.io/required-scc": scc}));
        assert_eq!(template["spec"]["serviceAccountName"], account);
        assert_eq!(template["spec"]["containers"][0]["image"], "registry.example/agent:7");
    }
}

#[test]
fn a_fence_follows_its_account_to_another_name_or_namespace() {
    if !can_render() {
        return;
    }
    for path in
        ["overlays/acceleration", "overlays/controller", "overlays/controller-namespaced", "controller"]
    {
        for (more, namespace) in [("", "reloadlet"), ("namespace: platform\n", "platform")] {
            if path == "overlays/controller-namespaced" && namespace != "reloadlet" {
                // Its RoleBindings are where the workloads are.
                continue;
            }
            let objects = own(&format!("namePrefix: team-\nresources: [PATH/deploy/{path}]\n{more}"));
            let names = |kind: &str| -> Vec<&Value> {
                let named = objects.iter().filter(|object| object["kind"] == kind);
                named.map(|object| &object["metadata"]["name"]).collect()
            };
            let policies = names("ValidatingAdmissionPolicy");
            let account = if policies.len() == 1 { "team-reloadlet" } else { "team-reloadlet-controller" };
            assert!(names("ServiceAccount").contains(&&json!(account)), "{path}");
            let mut bound = Vec::new();
            for binding in
                objects.iter().filter(|object| object["kind"] == "ValidatingAdmissionPolicyBinding")
            {
                let fenced =
                    json!({"name": account, "namespace": namespace, "parameterNotFoundAction": "Allow"});
                assert_eq!(binding["spec"]["paramRef"], fenced, "{path} {more}");
                assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
                bound.push(&binding["spec"]["policyName"]);
            }
            assert_eq!(bound, policies, "{path} {more}: each policy is bound");
        }
    }
}

#[test]
fn the_fence_comes_before_the_right_that_it_fences() {
    if !can_render() {
        return;
    }
    for (name, objects) in [
        ("acceleration", built(&directory("acceleration"))),
        ("the README's", own(&of_the_readme())),
        ("controller", built(&directory("controller"))),
        ("controller-namespaced", built(&directory("controller-namespaced"))),
        ("the controller alone", built(&deploy().join("controller"))),
    ] {
        let rights = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
        let is = |object: &Value, kinds: &[&str]| kinds.iter().any(|kind| object["kind"] == *kind);
        let right = objects.iter().position(|object| is(object, &rights)).unwrap();
        for fence in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
            let last = objects.iter().rposition(|object| object["kind"] == fence).unwrap();
            assert!(last < right, "{name}: {fence}");
        }
        assert_eq!(place(&objects, "Namespace"), 0, "{name}");
        let programs = ["Deployment", "DaemonSet"];
        let first = objects.iter().position(|object| is(object, &programs)).unwrap();
        assert!(
            objects[first..].iter().all(|object| is(object, &programs)),
            "{name}: the programs after all that they need"
        );
    }
}

#[test]
fn every_object_has_the_labels_by_which_it_is_found() {
    if !can_render() {
        return;
    }
    let overlays = names_in(&deploy().join("overlays"));
    for path in overlays.iter().map(|name| directory(name)).chain([deploy(), deploy().join("controller")]) {
        for object in built(&path) {
            assert_eq!(
                object["metadata"]["labels"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .filter(|(key, _)| key.starts_with("app.kubernetes.io/"))
                    .map(|(key, value)| (key.as_str(), value.as_str().unwrap()))
                    .collect::<Vec<_>>(),
                [
                    ("app.kubernetes.io/managed-by", "kustomize"),
                    ("app.kubernetes.io/name", "reloadlet"),
                    ("app.kubernetes.io/part-of", "reloadlet"),
                    ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
                ],
                "{}: {}",
                path.display(),
                kind(&object)
            );
        }
    }
}

#[test]
fn the_daemon_set_can_be_installed_over_the_one_before_and_says_what_image_to_set() {
    if !can_render() {
        return;
    }
    let daemon_set = take_daemon_set(&mut built(&deploy()));
    let spec = &daemon_set["spec"];
    let selector = json!({"app.kubernetes.io/name": "reloadlet"});
    assert_eq!(spec["selector"], json!({"matchLabels": selector}), "it can never be changed");
    assert_eq!(spec["template"]["metadata"]["labels"], selector);
    let image = spec["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    // RFC 2606: no registry has such a name.
    assert_eq!(image, format!("set-your-image.invalid/reloadlet:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(spec["updateStrategy"]["rollingUpdate"]["maxSurge"], Value::Null, "the journal has one lock");
}
