//! What `deploy/` and its overlays install.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use cluster_suite::overlay::{deploy, directory};
use cluster_suite::space::{Space, kubectl, kubectl_command};

/// An overlay: what it changes in the DaemonSet, and its objects of kinds that a plain cluster doesn't have.
type Overlay = (&'static str, Vec<(&'static str, &'static str)>, Vec<&'static str>);

fn overlays() -> Vec<Overlay> {
    let selinux = ("/spec/template/spec/containers/0/securityContext/seLinuxOptions/type", "spc_t");
    vec![
        (
            "acceleration",
            vec![
                ("/spec/template/spec/containers/0/args/2", "--accelerate"),
                ("/spec/template/spec/containers/0/env/1/name", "RELOADLET_KUBELET_ADDRESS"),
                ("/spec/template/spec/containers/0/env/1/valueFrom/fieldRef/fieldPath", "status.hostIP"),
            ],
            vec![],
        ),
        (
            "apparmor",
            vec![("/spec/template/spec/containers/0/securityContext/appArmorProfile/type", "Unconfined")],
            vec![],
        ),
        (
            "arm64",
            vec![(
                "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/\
                 nodeSelectorTerms/0/matchExpressions/1/values/1",
                "arm64",
            )],
            vec![],
        ),
        ("controller", vec![], vec![]),
        (
            "k0s",
            vec![
                ("/spec/template/spec/containers/0/args/2", "--kubelet-root=/var/lib/k0s/kubelet"),
                ("/spec/template/spec/containers/0/volumeMounts/0/mountPath", "/var/lib/k0s/kubelet/pods"),
                ("/spec/template/spec/volumes/0/hostPath/path", "/var/lib/k0s/kubelet/pods"),
            ],
            vec![],
        ),
        (
            "microk8s",
            vec![
                (
                    "/spec/template/spec/containers/0/args/2",
                    "--kubelet-root=/var/snap/microk8s/common/var/lib/kubelet",
                ),
                (
                    "/spec/template/spec/containers/0/volumeMounts/0/mountPath",
                    "/var/snap/microk8s/common/var/lib/kubelet/pods",
                ),
                (
                    "/spec/template/spec/volumes/0/hostPath/path",
                    "/var/snap/microk8s/common/var/lib/kubelet/pods",
                ),
            ],
            vec![],
        ),
        ("networkpolicy", vec![], vec![]),
        ("no-configmaps", vec![], vec![]),
        (
            "openshift",
            vec![("/spec/template/metadata/annotations/openshift.io/required-scc", "reloadlet"), selinux],
            vec!["security.openshift.io/v1 SecurityContextConstraints"],
        ),
        (
            "podmonitor",
            vec![
                ("/spec/template/metadata/annotations/prometheus.io/path", "null"),
                ("/spec/template/metadata/annotations/prometheus.io/port", "null"),
                ("/spec/template/metadata/annotations/prometheus.io/scrape", "null"),
            ],
            vec!["monitoring.coreos.com/v1 PodMonitor"],
        ),
        ("secrets", vec![("/spec/template/spec/containers/0/args/2", "--watch-secrets")], vec![]),
        ("selinux", vec![selinux], vec![]),
    ]
}

/// What an overlay changes in the base's other objects.
fn rights_of(overlay: &str) -> &'static [(&'static str, &'static str)] {
    match overlay {
        "acceleration" => &[
            ("/rules/3/apiGroups", r#"[""]"#),
            ("/rules/3/resources", r#"["pods/status"]"#),
            ("/rules/3/verbs", r#"["patch"]"#),
            ("/rules/4/apiGroups", r#"[""]"#),
            ("/rules/4/resources", r#"["nodes/configz"]"#),
            ("/rules/4/verbs", r#"["get"]"#),
        ],
        // The rules after it move up.
        "no-configmaps" => &[
            ("/rules/1/apiGroups/0", "events.k8s.io"),
            ("/rules/1/resources/0", "events"),
            ("/rules/1/verbs/0", "create"),
            ("/rules/1/verbs/1", "patch"),
            ("/rules/2", "null"),
        ],
        "openshift" => &[
            ("/rules/3/apiGroups", r#"["security.openshift.io"]"#),
            ("/rules/3/resourceNames", r#"["reloadlet"]"#),
            ("/rules/3/resources", r#"["securitycontextconstraints"]"#),
            ("/rules/3/verbs", r#"["use"]"#),
            ("/metadata/annotations/openshift.io/node-selector", ""),
        ],
        "secrets" => &[
            ("/rules/3/apiGroups", r#"[""]"#),
            ("/rules/3/resources", r#"["secrets"]"#),
            ("/rules/3/verbs", r#"["list","watch"]"#),
        ],
        _ => &[],
    }
}

/// Overlays that have no agents.
const WITHOUT_AGENTS: [&str; 1] = ["controller-namespaced"];

/// Further objects of an overlay, of Kubernetes' own kinds.
fn more_of(overlay: &str) -> &'static [&'static str] {
    match overlay {
        "acceleration" => &[
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding",
        ],
        "controller" => &[
            "v1 ServiceAccount",
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding",
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding",
            "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding",
            "policy/v1 PodDisruptionBudget",
            "rbac.authorization.k8s.io/v1 ClusterRole",
            "rbac.authorization.k8s.io/v1 ClusterRoleBinding",
            "rbac.authorization.k8s.io/v1 Role",
            "rbac.authorization.k8s.io/v1 RoleBinding",
            "apps/v1 Deployment",
        ],
        "networkpolicy" => &["networking.k8s.io/v1 NetworkPolicy"],
        _ => &[],
    }
}

pub(crate) fn built(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&kubectl(["kustomize".as_ref(), path.as_os_str()])).unwrap()
}

pub(crate) fn kind(object: &Value) -> String {
    format!("{} {}", object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap())
}

/// Takes the DaemonSet, of which there is one, and leaves the others.
pub(crate) fn take_daemon_set(objects: &mut Vec<Value>) -> Value {
    let index = objects.iter().position(|object| object["kind"] == "DaemonSet").unwrap();
    let found = objects.remove(index);
    assert!(objects.iter().all(|object| object["kind"] != "DaemonSet"));
    found
}

/// Whether two manifests are of one object.
fn is_same(one: &Value, other: &Value) -> bool {
    kind(one) == kind(other) && one["metadata"]["name"] == other["metadata"]["name"]
}

/// The kinds that the cluster has.
fn known_kinds() -> BTreeSet<String> {
    kubectl(["api-resources", "--no-headers"])
        .lines()
        .map(|line| {
            // NAME [SHORTNAMES] APIVERSION NAMESPACED KIND
            let words: Vec<_> = line.split_whitespace().rev().collect();
            format!("{} {}", words[2], words[0])
        })
        .collect()
}

/// Has the API server check the objects, as if they were applied.
pub(crate) fn check(name: &str, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let mut child = kubectl_command(["apply", "--dry-run=server", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let [said, warned] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success() && warned.is_empty(), "{name}: {warned}");
    assert_eq!(said.matches("(server dry run)").count(), objects.len(), "{name}: {said}");
}

/// Where two values differ, and what the second one has there.
fn differences(before: &Value, after: &Value, path: &str, found: &mut Vec<(String, String)>) {
    let (before, after) = match (before, after) {
        (before, after) if before == after => return,
        (_, Value::Object(after)) => {
            let missing = json!({});
            let before = before.as_object().unwrap_or(missing.as_object().unwrap()).clone();
            let entry = |(key, value): (&String, &Value)| (key.clone(), value.clone());
            (before.iter().map(entry).collect::<Vec<_>>(), after.iter().map(entry).collect::<Vec<_>>())
        }
        (Value::Array(before), Value::Array(after)) => {
            let entry = |(index, value): (usize, &Value)| (index.to_string(), value.clone());
            (before.iter().enumerate().map(entry).collect(), after.iter().enumerate().map(entry).collect())
        }
        (_, after) => {
            found.push((path.to_owned(), after.as_str().map_or_else(|| after.to_string(), str::to_owned)));
            return;
        }
    };
    let value = |entries: &[(String, Value)], key: &str| {
        entries.iter().find(|(other, _)| other == key).map_or(Value::Null, |(_, value)| value.clone())
    };
    let keys: BTreeSet<_> = before.iter().chain(&after).map(|(key, _)| key.clone()).collect();
    for key in keys {
        differences(&value(&before, &key), &value(&after, &key), &format!("{path}/{key}"), found);
    }
}

/// The agent looks for the pods' directory below the kubelet's, so both must be the node's own, wherever that is.
pub(crate) fn assert_paths_agree(name: &str, daemon_set: &Value) {
    let spec = &daemon_set["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    let root = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|arg| arg.as_str().unwrap().strip_prefix("--kubelet-root="))
        .unwrap_or("/var/lib/kubelet");
    let named =
        |list: &Value| list.as_array().unwrap().iter().find(|item| item["name"] == "pods").unwrap().clone();
    let wanted = format!("{root}/pods");
    assert_eq!(named(&container["volumeMounts"])["mountPath"], *wanted, "{name}");
    assert_eq!(named(&spec["volumes"])["hostPath"]["path"], *wanted, "{name}");
}

/// A kustomization of one's own, in which `PATH` is where the manifests are.
pub(crate) fn own(text: &str) -> Vec<Value> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let own = std::env::temp_dir().join(format!("variants-{}-{count}", std::process::id()));
    fs::create_dir_all(&own).unwrap();
    // Only relative paths are allowed.
    let up = "../".repeat(own.canonicalize().unwrap().components().count() - 1);
    let repository = deploy().join("..").canonicalize().unwrap();
    let path = format!("{}{}", up.trim_end_matches('/'), repository.display());
    let head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
    fs::write(own.join("kustomization.yaml"), format!("{head}{}", text.replace("PATH", &path))).unwrap();
    let objects = built(&own);
    fs::remove_dir_all(&own).unwrap();
    objects
}

/// As people combine variants: a kustomization of their own, in another namespace.
#[test]
fn variants_can_be_combined() {
    let Some(space) = Space::new("variants") else { return };
    let mut objects = own(&format!(
        "namespace: {}\nnamePrefix: team-\nresources: [PATH/deploy/base]\ncomponents: [PATH/deploy/components/k0s, \
         PATH/deploy/components/acceleration]\n",
        space.name(),
    ));
    // It is there already, and not by apply.
    objects.retain(|object| object["kind"] != "Namespace");
    check("k0s and acceleration", &objects);
    let daemon_set = take_daemon_set(&mut objects);
    assert_paths_agree("k0s and acceleration", &daemon_set);
    let args = &daemon_set["spec"]["template"]["spec"]["containers"][0]["args"];
    let has = |arg: &str| args.as_array().unwrap().iter().any(|own| own == arg);
    assert!(has("--accelerate") && has("--kubelet-root=/var/lib/k0s/kubelet"), "{args}");
    assert!(objects.iter().any(|object| kind(object).ends_with(" ValidatingAdmissionPolicy")));
}

#[test]
fn each_overlay_is_accepted_and_changes_what_it_is_for_and_nothing_else() {
    let Some(_space) = Space::new("overlays") else { return };
    let known = known_kinds();
    let mut base = built(&deploy());
    check("deploy", &base);
    let base_daemon_set = take_daemon_set(&mut base);
    assert_paths_agree("deploy", &base_daemon_set);

    let expected = overlays();
    let names: BTreeSet<_> = fs::read_dir(deploy().join("overlays"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !WITHOUT_AGENTS.contains(&&**name))
        .collect();
    assert_eq!(names, expected.iter().map(|(name, ..)| (*name).to_owned()).collect());
    for (name, changes, unknown) in expected {
        let objects = built(&directory(name));
        let (mut objects, left): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| known.contains(&kind(object)));
        assert_eq!(
            left.iter().map(kind).collect::<Vec<_>>(),
            unknown,
            "{name}: kinds that aren't Kubernetes' own"
        );
        check(name, &objects);

        let daemon_set = take_daemon_set(&mut objects);
        assert_paths_agree(name, &daemon_set);
        let mut found = Vec::new();
        differences(&base_daemon_set, &daemon_set, "", &mut found);
        let changes: Vec<_> = changes.iter().map(|(at, to)| ((*at).to_owned(), (*to).to_owned())).collect();
        assert_eq!(found, changes, "{name}: its DaemonSet");
        let (more, objects): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| !base.iter().any(|other| is_same(object, other)));
        assert_eq!(more.iter().map(kind).collect::<Vec<_>>(), more_of(name), "{name}");
        // An overlay may have an order of its own.
        let sorted = |objects: &[Value]| {
            let mut objects = objects.to_vec();
            objects.sort_by_key(kind);
            json!(objects)
        };
        let mut found = Vec::new();
        differences(&sorted(&base), &sorted(&objects), "", &mut found);
        // Which object it is, is left out.
        let found: Vec<_> =
            found.iter().map(|(at, to)| (&at[1..][at[1..].find('/').unwrap_or(0)..], &**to)).collect();
        assert_eq!(found, rights_of(name), "{name}: the other objects");
    }
}
