//! The flags of `reloadlet controller`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use reloadlet_core::model::names::{is_label, is_subdomain};
use reloadlet_core::policy::duration;

use super::usage;
use crate::address::address;
use crate::logs::{LogFormat, LogLevel};
use crate::switch::yes_or_no;

/// The shortest time that pods may be given to become ready.
const SHORTEST_DEADLINE: Duration = Duration::from_secs(10);

/// What the controller is to do, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControllerConfig {
    /// The controller's own namespace, where its Lease and what it remembers are.
    pub(crate) namespace: String,
    /// What tells it from the other replicas.
    pub(crate) identity: String,
    /// The name of its own Deployment.
    pub(crate) deployment: String,
    /// The namespaces that it looks at; empty for all.
    pub(crate) namespaces: Vec<String>,
    /// Whether Secrets count.
    pub(crate) secrets: bool,
    /// Whether Reloader's annotations count.
    pub(crate) reloader_annotations: bool,
    /// So many workloads are rolled at a time.
    pub(crate) max_rollouts: usize,
    /// So many of one namespace.
    pub(crate) max_rollouts_per_namespace: usize,
    /// So long changes are gathered, where the workload doesn't say it.
    pub(crate) debounce: Duration,
    /// The shortest time from one roll of a workload to its next one.
    pub(crate) min_interval: Duration,
    /// So long a roll has until all pods are available.
    pub(crate) deadline: Duration,
    /// Whether it rolls also where the fence isn't proved.
    pub(crate) without_fence: bool,
    /// Where metrics and health are served.
    pub(crate) listen: SocketAddr,
    /// Where the status is served.
    pub(crate) admin_listen: SocketAddr,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which log lines are written.
    pub(crate) log_level: LogLevel,
}

#[derive(Debug, Args)]
pub(super) struct ControllerFlags {
    /// Namespace of the controller itself, where its Lease and what it remembers are; also read from POD_NAMESPACE
    #[arg(long, env = "RELOADLET_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    namespace: Option<String>,

    /// What tells this replica from the others; also read from POD_NAME
    #[arg(long, env = "RELOADLET_IDENTITY", value_name = "NAME", value_parser = subdomain)]
    identity: Option<String>,

    /// Name of the controller's own Deployment, on which it proves its fence [default: what the pod's name begins with, in POD_NAME or else
    /// --identity]
    #[arg(long, env = "RELOADLET_DEPLOYMENT", value_name = "NAME", value_parser = subdomain)]
    deployment: Option<String>,

    /// Look at these namespaces alone, so that Roles in them are enough [default: all]
    #[arg(long, env = "RELOADLET_NAMESPACES", value_name = "NAME", value_delimiter = ',', value_parser = namespace)]
    namespaces: Vec<String>,

    /// Roll for changes of Secrets, too. The controller needs the right to read all of them for it. Of what they hold it keeps keyed
    /// digests
    #[arg(long, env = "RELOADLET_SECRETS", value_parser = yes_or_no)]
    secrets: bool,

    /// Roll also what Reloader's annotations ask for (docs/from-reloader.md has the differences)
    #[arg(long, env = "RELOADLET_RELOADER_ANNOTATIONS", value_parser = yes_or_no)]
    reloader_annotations: bool,

    /// Roll at most so many workloads at a time, from 1 to 1000
    #[arg(long, env = "RELOADLET_MAX_ROLLOUTS", value_name = "NUMBER", value_parser = count, default_value = "10")]
    max_rollouts: usize,

    /// Roll at most so many workloads of one namespace at a time, from 1 to 1000
    #[arg(long, env = "RELOADLET_MAX_ROLLOUTS_PER_NAMESPACE", value_name = "NUMBER", value_parser = count)]
    #[arg(default_value = "3")]
    max_rollouts_per_namespace: usize,

    /// Gather changes for so long before a roll, where the workload doesn't say it (`reloadlet.io/debounce`)
    #[arg(long, env = "RELOADLET_DEBOUNCE", value_name = "DURATION", value_parser = time, default_value = "5s")]
    debounce: Duration,

    /// Let so much time pass from one roll of a workload to its next one; twice as much for each further one within an hour
    #[arg(long, env = "RELOADLET_MIN_INTERVAL", value_name = "DURATION", value_parser = time, default_value = "1m")]
    min_interval: Duration,

    /// A roll whose pods aren't all available after so long has failed, and holds the others that share its content; one of a Deployment also
    /// when its own progressDeadlineSeconds are over
    #[arg(long, env = "RELOADLET_DEADLINE", value_name = "DURATION", value_parser = deadline, default_value = "15m")]
    deadline: Duration,

    /// Roll also where it isn't proved that an admission policy fences the controller in, the right to patch workloads being wider than
    /// what it is for
    #[arg(long, env = "RELOADLET_WITHOUT_FENCE", value_parser = yes_or_no)]
    without_fence: bool,

    /// Address of /metrics, /livez and /readyz; the default serves IPv4 too, port 0 takes a free one
    #[arg(long, env = "RELOADLET_LISTEN", value_name = "IP:PORT", value_parser = address)]
    #[arg(default_value = "[::]:9847")]
    listen: SocketAddr,

    /// Address of /status, which shows the workloads of every tenant: keep it on a loopback address
    #[arg(long, env = "RELOADLET_ADMIN_LISTEN", value_name = "IP:PORT", value_parser = address)]
    #[arg(default_value = "127.0.0.1:9848")]
    admin_listen: SocketAddr,

    /// How log lines are written (to standard error)
    #[arg(long, env = "RELOADLET_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// The least severe log lines that are written
    #[arg(long, env = "RELOADLET_LOG_LEVEL", value_name = "LEVEL", value_enum, default_value = "info")]
    log_level: LogLevel,
}

impl ControllerFlags {
    pub(super) fn validate(self) -> Result<ControllerConfig, clap::Error> {
        let namespace = given(self.namespace, "--namespace", "POD_NAMESPACE", namespace)?;
        let identity = given(self.identity, "--identity", "POD_NAME", subdomain)?;
        let pod = std::env::var("POD_NAME").ok().filter(|name| is_subdomain(name));
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            let both = self.listen;
            return Err(usage(
                "controller",
                format!("--listen and --admin-listen need different addresses, but both are {both}"),
            ));
        }
        Ok(ControllerConfig {
            namespace,
            deployment: self.deployment.unwrap_or_else(|| deployment_of(pod.as_deref().unwrap_or(&identity))),
            identity,
            namespaces: once(self.namespaces),
            secrets: self.secrets,
            reloader_annotations: self.reloader_annotations,
            max_rollouts: self.max_rollouts,
            max_rollouts_per_namespace: self.max_rollouts_per_namespace,
            debounce: self.debounce,
            min_interval: self.min_interval,
            deadline: self.deadline,
            without_fence: self.without_fence,
            listen: self.listen,
            admin_listen: self.admin_listen,
            log_format: self.log_format,
            log_level: self.log_level,
        })
    }
}

/// Each of them once: whoever is named twice is watched once.
fn once(mut names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The Deployment of the pod of this name, which ends in the ReplicaSet's hash and a part of its own.
fn deployment_of(pod: &str) -> String {
    let mut parts = pod.rsplitn(3, '-');
    parts.nth(2).unwrap_or(pod).to_owned()
}

/// What a flag says, or else the downward API's usual variable.
fn given(
    flag: Option<String>,
    name: &str,
    variable: &str,
    parse: fn(&str) -> Result<String, String>,
) -> Result<String, clap::Error> {
    if let Some(value) = flag {
        return Ok(value);
    }
    match std::env::var(variable).ok().filter(|value| !value.is_empty()) {
        Some(value) => parse(&value)
            .map_err(|error| usage("controller", format!("invalid value '{value}' for {variable}: {error}"))),
        None => Err(usage("controller", format!("{name} (or {variable}) is needed"))),
    }
}

fn namespace(text: &str) -> Result<String, String> {
    is_label(text).then(|| text.to_owned()).ok_or_else(|| {
        "the name of a namespace is needed, of lower-case letters, digits and -, such as shop".to_owned()
    })
}

fn subdomain(text: &str) -> Result<String, String> {
    is_subdomain(text).then(|| text.to_owned()).ok_or_else(|| {
        "the name of an object is needed, of lower-case letters, digits, - and ., such as reloadlet-controller"
            .to_owned()
    })
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or_else(|| "a whole number from 1 to 1000 is needed".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| format!("{error} is needed"))
}

/// In less time no pod becomes ready.
fn deadline(text: &str) -> Result<Duration, String> {
    let long = time(text)?;
    (long >= SHORTEST_DEADLINE).then_some(long).ok_or_else(|| "10s or more is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    const NEEDED: [&str; 2] = ["--namespace=reloadlet", "--identity=pod-1"];

    fn controller(flags: &[&str]) -> Result<ControllerConfig, clap::Error> {
        let arguments = ["reloadlet", "controller"].iter().chain(flags).map(OsString::from);
        parse(arguments).map(|command| match command {
            Command::Controller(config) => *config,
            Command::Agent(_) | Command::Status(_) | Command::Check(_) => panic!("another command"),
        })
    }

    #[test]
    fn without_flags_it_rolls_few_at_a_time_for_configmaps_alone() {
        let expected = ControllerConfig {
            namespace: "reloadlet".to_owned(),
            identity: "pod-1".to_owned(),
            deployment: "pod-1".to_owned(),
            namespaces: Vec::new(),
            secrets: false,
            reloader_annotations: false,
            max_rollouts: 10,
            max_rollouts_per_namespace: 3,
            debounce: Duration::from_secs(5),
            min_interval: Duration::from_secs(60),
            deadline: Duration::from_secs(900),
            without_fence: false,
            listen: "[::]:9847".parse().unwrap(),
            admin_listen: "127.0.0.1:9848".parse().unwrap(),
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
        };
        assert_eq!(controller(&NEEDED).unwrap(), expected);
    }

    #[test]
    fn the_deployment_is_that_of_the_pod() {
        let of = |pod: &str| {
            controller(&["--namespace=reloadlet", &format!("--identity={pod}")]).unwrap().deployment
        };
        assert_eq!(of("reloadlet-controller-5b9f8d7c6d-x2x4q"), "reloadlet-controller");
        assert_eq!(of("team-a-reloadlet-controller-5b9f8d7c6d-x2x4q"), "team-a-reloadlet-controller");
    }

    #[test]
    fn each_flag_is_taken() {
        let flags = [
            "--deployment=rolls",
            "--namespaces=shop,billing,shop",
            "--secrets",
            "--reloader-annotations",
            "--max-rollouts=1000",
            "--max-rollouts-per-namespace=1",
            "--debounce=0s",
            "--min-interval=1h",
            "--deadline=30m",
            "--without-fence",
            "--listen=127.0.0.1:0",
            "--admin-listen=[::1]:1",
            "--log-format=json",
            "--log-level=trace",
        ];
        let expected = ControllerConfig {
            namespace: "reloadlet".to_owned(),
            identity: "pod-1".to_owned(),
            deployment: "rolls".to_owned(),
            namespaces: vec!["shop".to_owned(), "billing".to_owned()],
            secrets: true,
            reloader_annotations: true,
            max_rollouts: 1000,
            max_rollouts_per_namespace: 1,
            debounce: Duration::ZERO,
            min_interval: Duration::from_secs(3600),
            deadline: Duration::from_secs(1800),
            without_fence: true,
            listen: "127.0.0.1:0".parse().unwrap(),
            admin_listen: "[::1]:1".parse().unwrap(),
            log_format: LogFormat::Json,
            log_level: LogLevel::Trace,
        };
        assert_eq!(controller(&[&NEEDED[..], &flags].concat()).unwrap(), expected);
    }

    #[test]
    fn wrong_usage_is_said_plainly_and_exits_with_2() {
        for (flags, part) in [
            (&[][..], "--namespace (or POD_NAMESPACE) is needed"),
            (&NEEDED[..1], "--identity (or POD_NAME) is needed"),
            (&["--namespace=Shop"], "the name of a namespace is needed, of lower-case letters, digits and -"),
            (&["--namespaces=shop,"], "the name of a namespace is needed"),
            (
                &["--namespaces=shop,No_Pe"],
                "invalid value 'No_Pe' for '--namespaces <NAME>': the name of a namespace is needed, of lower-case letters, digits and -, such as shop",
            ),
            (
                &[NEEDED[0], NEEDED[1], "--secrets=maybe"],
                "invalid value 'maybe' for '--secrets': it is asked for by its name alone, and RELOADLET_SECRETS=false says that it isn't",
            ),
            (
                &["--without-fence="],
                "invalid value '' for '--without-fence': it is asked for by its name alone",
            ),
            (&["--max-rollouts=0"], "a whole number from 1 to 1000 is needed"),
            (&["--max-rollouts-per-namespace=many"], "a whole number from 1 to 1000 is needed"),
            (&["--deadline=soon"], "a duration of whole numbers with the units"),
            (&["--deadline=9s"], "10s or more is needed"),
            (
                &[NEEDED[0], NEEDED[1], "--admin-listen=[::]:9847"],
                "need different addresses, but both are [::]:9847",
            ),
        ] {
            let error = controller(flags).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flags:?}");
            assert!(error.to_string().contains(part), "{flags:?}: {error}");
            // The usage line, where there is one, is the command's.
            assert!(!error.to_string().contains("Usage: reloadlet agent"), "{flags:?}: {error}");
        }
    }
}
