//! What the API server refuses for a while.

use serde_json::json;

use super::{NAMESPACE, ROLLED, with_input};
use crate::space::{Space, kubectl_command, output, wait_until};

/// The API server refuses something as long as this lives.
pub struct Refusal(String);

impl Refusal {
    /// What the refusal says.
    const SENTENCE: &str = "the test refuses it";

    /// Refuses that these resources are updated, but where the expression says so. `probe` is what kubectl tries then, as a dry run.
    #[track_caller]
    pub fn begin(name: &str, resource: (&str, &str), allowed: &str, probe: &[&str]) -> Self {
        let (group, resource) = resource;
        let name = format!("{name}-{}", std::process::id());
        let api = "admissionregistration.k8s.io/v1";
        let rule = json!({
            "apiGroups": [group], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": [resource],
        });
        let policy = json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": allowed, "message": Self::SENTENCE, "reason": "Forbidden"}],
            },
        });
        let binding = json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        let refusal = Self(name);
        for object in [&policy, &binding] {
            output(with_input(&["create", "-f", "-"], object)).unwrap_or_else(|error| panic!("{error}"));
        }
        wait_until("the API server refuses it", || {
            let tried = kubectl_command(probe.iter().chain(&["--dry-run=server"]));
            output(tried).is_err_and(|error| error.contains(Self::SENTENCE))
        });
        refusal
    }

    /// Refuses the mark of a roll in the template of the Deployments with this label.
    #[track_caller]
    pub fn of_marks(space: &Space, name: &str) -> Self {
        let allowed = format!(
            "object.metadata.namespace != '{}' || object.metadata.name != '{name}' \
             || object.spec.template.?metadata.?annotations[?'{ROLLED}'] \
                == oldObject.spec.template.?metadata.?annotations[?'{ROLLED}']",
            space.name(),
        );
        let patch =
            json!({"spec": {"template": {"metadata": {"annotations": {ROLLED: "probe"}}}}}).to_string();
        let probe = ["-n", space.name(), "patch", "deployment", name, "-p", &patch];
        Self::begin(&format!("marks-{name}"), ("apps", "deployments"), &allowed, &probe)
    }

    /// Refuses whatever the controller would remember.
    #[track_caller]
    pub fn of_records() -> Self {
        // The key is there from the start, and is never written again; which shards there are hangs on the workloads' names.
        let allowed = "!object.metadata.name.startsWith('reloadlet-controller-')";
        let probe = ["-n", NAMESPACE, "label", "secret", "reloadlet-controller-key", "a=b"];
        Self::begin("records", ("", "secrets"), allowed, &probe)
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            if let Err(error) = output(kubectl_command(["delete", kind, &self.0])) {
                eprintln!("{error}");
            }
        }
    }
}
