//! The flags of `reloadlet agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use reloadlet_core::policy::plan::Allowed;

use super::usage;
use super::values::{kubelet_address, node_name, spread};
use crate::address::address;
use crate::logs::{LogFormat, LogLevel};
use crate::switch::yes_or_no;

/// What the agent is to do, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentConfig {
    /// Where the node's pods are told.
    pub(crate) pods: PodSource,
    /// The node's name, where it is known: with a pods file it needn't be.
    pub(crate) node: Option<String>,
    /// The kubelet's directory.
    pub(crate) kubelet_root: PathBuf,
    /// Where cgroups are mounted.
    pub(crate) cgroup_root: PathBuf,
    /// Where the host's processes are seen.
    pub(crate) proc_root: PathBuf,
    /// Where the journal lives.
    pub(crate) state_dir: PathBuf,
    /// Where metrics and health are served.
    pub(crate) listen: SocketAddr,
    /// Where the status is served.
    pub(crate) admin_listen: SocketAddr,
    /// Whether signals are held back.
    pub(crate) dry_run: bool,
    /// Where the kubelet may be nudged: the range of which each node waits its share.
    pub(crate) accelerate: Option<Duration>,
    /// Whether it is nudged also where the fence isn't proved.
    pub(crate) without_fence: bool,
    /// Where the kubelet says whether nudges can help.
    pub(crate) kubelet: Option<SocketAddr>,
    /// Whether Secrets are watched on the API server.
    pub(crate) watch_secrets: bool,
    /// What pods may ask for here.
    pub(crate) allowed: Allowed,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which log lines are written.
    pub(crate) log_level: LogLevel,
}

/// Where the node's pods are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodSource {
    /// The pods are read from this file.
    File(PathBuf),
    /// The API server, for the node of this name.
    Node(String),
}

#[derive(Debug, Args)]
pub(super) struct AgentFlags {
    /// Name of the node that the agent runs on; also read from NODE_NAME
    #[arg(long, env = "RELOADLET_NODE_NAME", value_name = "NAME", value_parser = node_name)]
    node_name: Option<String>,

    /// Directory of the kubelet, with the pods' volumes in its `pods`
    #[arg(long, env = "RELOADLET_KUBELET_ROOT", value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[arg(default_value = "/var/lib/kubelet")]
    kubelet_root: PathBuf,

    /// Directory where cgroups (v1 or v2) are mounted
    #[arg(long, env = "RELOADLET_CGROUP_ROOT", value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[arg(default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,

    /// Directory where the proc file system of the host's PID namespace is mounted
    #[arg(long, env = "RELOADLET_PROC_ROOT", value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[arg(default_value = "/proc")]
    proc_root: PathBuf,

    /// Directory of the journal; it is created if it is missing, and must outlive the agent
    #[arg(long, env = "RELOADLET_STATE_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[arg(default_value = "/var/lib/reloadlet")]
    state_dir: PathBuf,

    /// Address of /metrics, /livez and /readyz; the default serves IPv4 too, port 0 takes a free one
    #[arg(long, env = "RELOADLET_LISTEN", value_name = "IP:PORT", value_parser = address)]
    #[arg(default_value = "[::]:9847")]
    listen: SocketAddr,

    /// Address of /status, which shows the pods of every tenant: keep it on a loopback address
    #[arg(long, env = "RELOADLET_ADMIN_LISTEN", value_name = "IP:PORT", value_parser = address)]
    #[arg(default_value = "127.0.0.1:9848")]
    admin_listen: SocketAddr,

    /// File that names the node's pods (Pod, PodList or List; JSON or YAML), instead of the API server; its changes are
    /// followed
    #[arg(long, env = "RELOADLET_PODS_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pods_file: Option<PathBuf>,

    /// Do everything but send signals and make requests
    #[arg(long, env = "RELOADLET_DRY_RUN", value_parser = yes_or_no)]
    dry_run: bool,

    /// Have the kubelet publish changes at once for pods that ask for it (`reloadlet.io/accelerate`). The agent needs the
    /// right to patch pods/status for it
    #[arg(long, env = "RELOADLET_ACCELERATE", value_parser = yes_or_no)]
    accelerate: bool,

    /// Each node waits its own fixed share of this before it has the kubelet publish a change, so that not all load it at
    /// once; at most 10m [default: 0s]
    #[arg(long, env = "RELOADLET_ACCELERATE_SPREAD", value_name = "DURATION", value_parser = spread)]
    accelerate_spread: Option<Duration>,

    /// Nudge also where it isn't proved that an admission policy fences the agent in, the right to patch pods/status being
    /// wider than what it is for
    #[arg(long, env = "RELOADLET_WITHOUT_FENCE", value_parser = yes_or_no)]
    without_fence: bool,

    /// Address of this node's kubelet; port 10250 if none is given. There the agent reads whether acceleration can help:
    /// not if the kubelet's configMapAndSecretChangeDetectionStrategy is Cache. It needs the right to get nodes/configz for it, and
    /// the kubelet a certificate of the cluster's authority
    #[arg(long, env = "RELOADLET_KUBELET_ADDRESS", value_name = "IP[:PORT]", value_parser = kubelet_address)]
    kubelet_address: Option<SocketAddr>,

    /// Measure the propagation of Secrets too, and obey `reloadlet.io/ignore` on them. The agent needs the right to list
    /// and watch all Secrets for it. Of what they hold it keeps keyed digests, in memory
    #[arg(long, env = "RELOADLET_WATCH_SECRETS", value_parser = yes_or_no)]
    watch_secrets: bool,

    /// Make requests (`reloadlet.io/http`) also to pods with hostNetwork. Their address is the node's: whoever may write such a
    /// pod can have the agent ask any server of the node
    #[arg(long, env = "RELOADLET_ALLOW_HOST_NETWORK_HTTP", value_parser = yes_or_no)]
    allow_host_network_http: bool,

    /// How log lines are written (to standard error)
    #[arg(long, env = "RELOADLET_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// The least severe log lines that are written
    #[arg(long, env = "RELOADLET_LOG_LEVEL", value_name = "LEVEL", value_enum, default_value = "info")]
    log_level: LogLevel,
}

impl AgentFlags {
    pub(super) fn validate(self) -> Result<AgentConfig, clap::Error> {
        // The downward API's usual name, for manifests that set it for more than one program.
        let node_variable = || std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
        let node =
            match (self.node_name, node_variable()) {
                (None, Some(name)) => Some(node_name(&name).map_err(|error| {
                    usage("agent", format!("invalid value '{name}' for NODE_NAME: {error}"))
                })?),
                (name, _) => name,
            };
        let pods = match (self.pods_file, node.clone()) {
            (Some(file), _) => PodSource::File(file),
            (None, Some(node)) => PodSource::Node(node),
            (None, None) => {
                return Err(usage(
                    "agent",
                    "--node-name (or NODE_NAME) is needed to ask the API server for this node's pods, or --pods-file \
                     to do without it",
                ));
            }
        };
        let accelerate = match (self.accelerate, self.accelerate_spread, &pods) {
            (false, None, _) => None,
            (false, Some(_), _) => {
                return Err(usage("agent", "--accelerate-spread says nothing without --accelerate"));
            }
            (true, _, PodSource::File(_)) => {
                return Err(usage(
                    "agent",
                    "--accelerate needs the API server, so it can't be used with --pods-file",
                ));
            }
            (true, spread, PodSource::Node(_)) => Some(spread.unwrap_or_default()),
        };
        if self.kubelet_address.is_some() && accelerate.is_none() {
            return Err(usage("agent", "--kubelet-address says nothing without --accelerate"));
        }
        if self.without_fence && accelerate.is_none() {
            return Err(usage("agent", "--without-fence says nothing without --accelerate"));
        }
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            return Err(usage(
                "agent",
                format!("--listen and --admin-listen need different addresses, but both are {}", self.listen),
            ));
        }
        Ok(AgentConfig {
            pods,
            node,
            kubelet_root: self.kubelet_root,
            cgroup_root: self.cgroup_root,
            proc_root: self.proc_root,
            state_dir: self.state_dir,
            listen: self.listen,
            admin_listen: self.admin_listen,
            dry_run: self.dry_run,
            accelerate,
            without_fence: self.without_fence,
            kubelet: self.kubelet_address,
            watch_secrets: self.watch_secrets,
            allowed: Allowed { host_network_http: self.allow_host_network_http },
            log_format: self.log_format,
            log_level: self.log_level,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    fn agent(flags: &[&str]) -> Result<AgentConfig, clap::Error> {
        let arguments = ["reloadlet", "agent"].iter().chain(flags).map(OsString::from);
        parse(arguments).map(|command| match command {
            Command::Agent(config) => *config,
            Command::Controller(_) | Command::Status(_) | Command::Check(_) => panic!("another command"),
        })
    }

    #[test]
    fn the_defaults_are_those_of_a_node() {
        let config = agent(&["--pods-file", "pods.yaml"]).unwrap();
        let expected = AgentConfig {
            kubelet_root: "/var/lib/kubelet".into(),
            cgroup_root: "/sys/fs/cgroup".into(),
            proc_root: "/proc".into(),
            state_dir: "/var/lib/reloadlet".into(),
            listen: "[::]:9847".parse().unwrap(),
            admin_listen: "127.0.0.1:9848".parse().unwrap(),
            pods: PodSource::File("pods.yaml".into()),
            node: None,
            dry_run: false,
            accelerate: None,
            without_fence: false,
            kubelet: None,
            watch_secrets: false,
            allowed: Allowed::default(),
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn each_flag_is_taken() {
        let config = agent(&[
            "--node-name=n1",
            "--kubelet-root=k",
            "--cgroup-root=c",
            "--proc-root=p",
            "--state-dir=s",
            "--listen=127.0.0.1:0",
            "--admin-listen=[::1]:1",
            "--pods-file=f",
            "--dry-run",
            "--watch-secrets",
            "--allow-host-network-http",
            "--log-format=json",
            "--log-level=trace",
        ]);
        let expected = AgentConfig {
            kubelet_root: "k".into(),
            cgroup_root: "c".into(),
            proc_root: "p".into(),
            state_dir: "s".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            admin_listen: "[::1]:1".parse().unwrap(),
            pods: PodSource::File("f".into()),
            node: Some("n1".to_owned()),
            dry_run: true,
            accelerate: None,
            without_fence: false,
            kubelet: None,
            watch_secrets: true,
            allowed: Allowed { host_network_http: true },
            log_format: LogFormat::Json,
            log_level: LogLevel::Trace,
        };
        assert_eq!(config.unwrap(), expected);
    }

    #[test]
    fn acceleration_has_a_spread() {
        let accelerate = |flags: &[&str]| agent(&[&["--node-name=n1"], flags].concat()).unwrap().accelerate;
        assert_eq!(accelerate(&[]), None);
        assert_eq!(accelerate(&["--accelerate"]), Some(Duration::ZERO));
        let spread = ["--accelerate", "--accelerate-spread=1m30s"];
        assert_eq!(accelerate(&spread), Some(Duration::from_secs(90)));
        assert_eq!(accelerate(&["--accelerate", "--accelerate-spread=10m"]), Some(Duration::from_secs(600)));
    }

    #[test]
    fn acceleration_needs_a_fence_unless_it_is_told_otherwise() {
        let without = |flags: &[&str]| agent(&[&["--node-name=n1"], flags].concat()).unwrap().without_fence;
        assert!(!without(&["--accelerate"]));
        assert!(without(&["--accelerate", "--without-fence"]));
    }

    #[test]
    fn the_kubelets_address_needs_no_port() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:10250"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("2001:db8::1", "[2001:db8::1]:10250"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            let flag = format!("--kubelet-address={text}");
            let config = agent(&["--node-name=n1", "--accelerate", &flag]).unwrap();
            assert_eq!(config.kubelet, Some(expected.parse().unwrap()), "{text}");
        }
        assert_eq!(agent(&["--node-name=n1", "--accelerate"]).unwrap().kubelet, None);
    }

    #[test]
    fn wrong_usage_is_said_plainly_and_exits_with_2() {
        let (file, node) = ("--pods-file=f", "--node-name=n1");
        for (flags, part) in [
            (&[][..], "--node-name (or NODE_NAME) is needed to ask the API server for this node's pods"),
            (&["--pods-file="], "a value is required for '--pods-file <FILE>'"),
            (&[file, "--listen=:9847"], "an IP address and a port are needed, such as [::]:9847"),
            (&[file, "--listen=localhost:1"], "an IP address and a port are needed"),
            (&[file, "--admin-listen=127.0.0.1"], "an IP address and a port are needed"),
            (&[file, "--admin-listen=[::]:9847"], "need different addresses, but both are [::]:9847"),
            (&[file, "--log-level=loud"], "[possible values: error, warn, info, debug, trace]"),
            (&[file, "--log-format=xml"], "[possible values: text, json]"),
            (&[file, "--node-name=$(NODE_NAME)"], "the name of a node is needed, of lower-case letters"),
            (&[file, "--node-name="], "the name of a node is needed"),
            (
                &[file, "--dry-run=true"],
                "invalid value 'true' for '--dry-run': it is asked for by its name alone",
            ),
            (&[file, "--rollouts"], "unexpected argument '--rollouts'"),
            (
                &[file, "--accelerate"],
                "--accelerate needs the API server, so it can't be used with --pods-file",
            ),
            (&[file, "--accelerate-spread=1s"], "--accelerate-spread says nothing without --accelerate"),
            (&[node, "--without-fence"], "--without-fence says nothing without --accelerate"),
            (&[node, "--kubelet-address=192.0.2.1"], "--kubelet-address says nothing without --accelerate"),
            (
                &[node, "--accelerate", "--kubelet-address=node-1"],
                "an IP address is needed, such as 192.0.2.1",
            ),
            (&[node, "--accelerate", "--kubelet-address="], "an IP address is needed, such as 192.0.2.1"),
            (&[node, "--accelerate", "--accelerate-spread=11m"], "it is at most 10m"),
            (
                &[node, "--accelerate", "--accelerate-spread=fast"],
                "a duration of whole numbers with the units",
            ),
        ] {
            let error = agent(flags).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flags:?}");
            assert!(error.to_string().contains(part), "{flags:?}: {error}");
            assert!(!error.to_string().contains("reloadlet <COMMAND>"), "{flags:?}: {error}");
        }
    }
}
