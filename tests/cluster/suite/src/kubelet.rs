//! The node's kubelet: how it is set, and one that is set otherwise for a while.

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;

use crate::agent;
use crate::space::{kubectl, kubectl_command, node, output, wait_until};

/// Below these the node that `tests/cluster/up` makes has its files.
const CONFIG: &str = "/run/cluster/kubelet.d/30-test.conf";
const KUBECONFIG: &str = "/run/cluster/kubeconfigs/kubelet";

/// Where the proxy serves, on the node alone.
const PROXY: &str = "127.0.0.1:16443";

/// A setting of the kubelet that runs beside the agent.
pub fn setting(name: &str) -> String {
    read(name).unwrap_or_else(|error| panic!("{error}"))
}

fn read(name: &str) -> Result<String, String> {
    let pod = agent::pod();
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let all = output(kubectl_command(["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/configz")]))?;
    let all: Value = serde_json::from_str(&all).unwrap();
    Ok(all["kubeletconfig"][name].as_str().unwrap().to_owned())
}

/// The kubelet with another setting, as long as this lives.
#[derive(Debug)]
pub struct Reset {
    setting: String,
    before: String,
    proxy: Option<Proxy>,
}

impl Reset {
    /// Starts it anew with a setting, or gives `None` if this isn't a node that can be told so.
    pub fn with(setting: &str, value: &str) -> Option<Self> {
        Self::start(setting, value, || None)
    }

    /// The same, with watches of ConfigMaps that say everything so much later, such as "700ms".
    pub fn late(setting: &str, value: &str, delay: &str) -> Option<Self> {
        Self::start(setting, value, || Some(Proxy::start(delay)))
    }

    fn start(setting: &str, value: &str, proxy: impl FnOnce() -> Option<Proxy>) -> Option<Self> {
        if node(&["sh", "-c", "ls -d /run/cluster/kubelet.d || true"]).is_empty() {
            eprintln!("skipped: this cluster's kubelet has no directory for its configuration");
            return None;
        }
        let before = self::setting(setting);
        assert_ne!(before, value, "{setting}");
        let reset = Self { setting: setting.to_owned(), before, proxy: proxy() };
        let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration";
        node(&["sh", "-c", &format!("printf '{head}\n{setting}: {value}\n' >{CONFIG}")]);
        restart(setting, value);
        Some(reset)
    }
}

impl Drop for Reset {
    fn drop(&mut self) {
        // The test may have failed already.
        let ended = catch_unwind(|| {
            node(&["rm", "-f", CONFIG]);
            if self.proxy.is_some() {
                node(&["mv", &format!("{KUBECONFIG}.kept"), KUBECONFIG]);
            }
            restart(&self.setting, &self.before);
        });
        if ended.is_err() {
            eprintln!("the kubelet may be set otherwise from here on");
        }
    }
}

/// Ends the kubelet, which is started anew then, and waits until that one is set so.
fn restart(setting: &str, value: &str) {
    let pid = node(&["pgrep", "--exact", "kubelet"]);
    node(&["kill", pid.trim()]);
    wait_until(&format!("the kubelet's {setting} is {value}"), || {
        read(setting).is_ok_and(|found| found == value)
    });
    kubectl(["wait", "--for=condition=Ready", "node", "--all", "--timeout=60s"]);
    agent::wait_rolled_out();
}

/// `tests/cluster/late`, between the kubelet and the API server.
#[derive(Debug)]
struct Proxy {
    process: Child,
    program: PathBuf,
}

impl Proxy {
    fn start(delay: &str) -> Self {
        let program = std::env::temp_dir().join(format!("late-{}", std::process::id()));
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg(".");
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../late"));
        output(build).unwrap_or_else(|error| panic!("{error}"));

        let cluster = PathBuf::from(std::env::var_os("CLUSTER").expect("CLUSTER is set"));
        let pid = std::fs::read_to_string(cluster.join("pid")).unwrap();
        // It ends with the tests, however they end.
        let mut command = Command::new("nsenter");
        command.args(["--target", pid.trim(), "--net", "setpriv", "--pdeathsig", "KILL", "--"]);
        command.arg(&program).args([PROXY, "https://10.96.0.1"]).arg(cluster.join("pki")).arg(delay);
        let proxy = Self { process: command.spawn().unwrap(), program };
        wait_until("the proxy serves", || {
            let asked = node(&["sh", "-c", &format!("curl -sk https://{PROXY}/livez || true")]);
            asked == "ok"
        });
        let point = format!("s,server: \"[^\"]*\",server: \"https://{PROXY}\",");
        node(&["cp", "-p", KUBECONFIG, &format!("{KUBECONFIG}.kept")]);
        node(&["sed", "-i", &point, KUBECONFIG]);
        assert!(node(&["cat", KUBECONFIG]).contains(PROXY), "the kubelet's kubeconfig names no server");
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended.and_then(|_status| std::fs::remove_file(&self.program)) {
            eprintln!("the proxy: {error}");
        }
    }
}
