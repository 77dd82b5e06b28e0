//! The controller's pods.

use serde_json::Value;

use crate::space::{kubectl, kubectl_command, node, output, wait_until};

/// The controller's namespace.
pub const NAMESPACE: &str = "reloadlet";
/// Its Deployment, and its Lease.
const NAME: &str = "reloadlet-controller";
/// Its pods.
const PODS: &str = "--selector=app.kubernetes.io/name=reloadlet-controller";

/// The names of the controller's pods.
pub fn pods() -> Vec<String> {
    let names = kubectl(["-n", NAMESPACE, "get", "pods", PODS, "-o", "jsonpath={.items[*].metadata.name}"]);
    names.split_whitespace().map(str::to_owned).collect()
}

/// What the controllers that run have logged.
pub fn log() -> String {
    let logs = kubectl_command(["-n", NAMESPACE, "logs", PODS, "--tail=-1", "--max-log-requests=9"]);
    output(logs).unwrap_or_default()
}

/// Who holds the Lease.
pub fn holder() -> Option<String> {
    let lease = ["-n", NAMESPACE, "get", "lease", NAME, "-o", "jsonpath={.spec.holderIdentity}"];
    output(kubectl_command(lease)).ok().filter(|holder| !holder.is_empty())
}

/// The status of the controller that leads.
#[track_caller]
pub fn status() -> Value {
    wait_until("the controller that leads says its status", || {
        let text = output(kubectl_command(status_command(&holder()?, &["--output=json"]))).ok()?;
        let status: Value = serde_json::from_str(&text).ok()?;
        (status["controller"]["leads"] == true).then_some(status)
    })
}

/// The arguments by which kubectl has a pod print its status.
pub fn status_command(pod: &str, more: &[&str]) -> Vec<String> {
    let args = ["-n", NAMESPACE, "exec", pod, "--", "/reloadlet", "status", "--controller"];
    args.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
}

/// Waits until one of the controller's pods leads and knows everything.
#[track_caller]
pub fn wait_leading() {
    kubectl(["-n", NAMESPACE, "rollout", "status", "deployment", NAME, "--timeout=240s"]);
    wait_until("a controller leads, and is ready", || {
        let ready = "jsonpath={.status.containerStatuses[0].ready}";
        let holder = holder().filter(|holder| pods().contains(holder))?;
        let is_ready = output(kubectl_command(["-n", NAMESPACE, "get", "pod", &holder, "-o", ready]));
        (is_ready.is_ok_and(|is_ready| is_ready == "true") && status()["controller"]["leads"] == true)
            .then_some(())
    });
}

/// Kills both replicas at once, so that they can't give back the Lease, and waits until another one leads.
#[track_caller]
pub fn kill() {
    let processes = node(&["pgrep", "--full", "^/reloadlet controller "]);
    node(&["kill", "-9"].into_iter().chain(processes.split_whitespace()).collect::<Vec<_>>());
    kubectl(["-n", NAMESPACE, "delete", "pods", PODS, "--grace-period=0", "--force"]);
    wait_leading();
}

/// No controller runs as long as this lives.
pub struct Away(());

impl Away {
    /// Ends both replicas.
    #[track_caller]
    pub fn begin() -> Self {
        let away = Self(());
        kubectl(["-n", NAMESPACE, "scale", "deployment", NAME, "--replicas=0"]);
        wait_until("no controller runs", || pods().is_empty());
        away
    }

    /// Starts them again.
    #[track_caller]
    pub fn end(self) {
        drop(self);
        wait_leading();
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        kubectl(["-n", NAMESPACE, "scale", "deployment", NAME, "--replicas=2"]);
    }
}
