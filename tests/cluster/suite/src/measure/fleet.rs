//! Pods of one Deployment, which all have the ConfigMap `config` and write down when they are told of it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::space::{SIGNAL, Space, app, config_map, deployment, wait_until};

/// The agent waits until a container is 3 s old.
const OLD_ENOUGH: Duration = Duration::from_secs(5);
const START_LIMIT: &str = "--timeout=600s";

/// The pods.
pub struct Fleet {
    space: Space,
    members: Vec<Member>,
    changes: usize,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Its directory on the node, as this machine sees it.
    directory: PathBuf,
    /// How many changes there were in its time.
    pub(crate) changes: usize,
}

impl Member {
    /// The ConfigMap's directory.
    pub(crate) fn volume(&self) -> PathBuf {
        self.directory.join("volumes/kubernetes.io~configmap/config")
    }

    /// The name of what the kubelet has published last.
    pub(crate) fn generation(&self) -> String {
        fs::read_link(self.volume().join("..data")).unwrap().into_os_string().into_string().unwrap()
    }

    fn stamps_file(&self) -> PathBuf {
        self.directory.join("volumes/kubernetes.io~empty-dir/stamps/stamps")
    }

    /// When it was told, in nanoseconds since boot.
    pub(crate) fn stamps(&self) -> Vec<u64> {
        let bytes = fs::read(self.stamps_file()).unwrap();
        bytes.as_chunks().0.iter().map(|stamp| u64::from_le_bytes(*stamp)).collect()
    }

    /// How often it was told.
    pub(crate) fn told(&self) -> usize {
        usize::try_from(fs::metadata(self.stamps_file()).unwrap().len()).unwrap() / size_of::<u64>()
    }

    /// The file is made when the program starts.
    fn is_old_enough(&self) -> bool {
        fs::metadata(self.stamps_file())
            .and_then(|file| file.created())
            .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > OLD_ENOUGH))
    }
}

impl Fleet {
    /// Starts so many, with the agent's annotation and these, or gives `None` without a cluster.
    pub fn start(pods: usize, annotations: &[(&str, &str)]) -> Option<Self> {
        let space = Space::alone("bench")?;
        space.create(&[config_map("0"), deployment(&stamper("bench", "config", annotations), pods)]);
        let mut fleet = Self { space, members: Vec::new(), changes: 0 };
        fleet.wait_started(pods);
        Some(fleet)
    }

    /// Starts more, up to so many.
    pub fn grow(&mut self, pods: usize) {
        self.space.kubectl(&["scale", "deployment/bench", &format!("--replicas={pods}")]);
        self.wait_started(pods);
    }

    fn wait_started(&mut self, pods: usize) {
        self.space.kubectl(&["rollout", "status", "deployment/bench", START_LIMIT]);
        for found in members(&self.space) {
            if self.members.iter().all(|member| member.name != found.name) {
                self.members.push(found);
            }
        }
        assert_eq!(self.members.len(), pods, "pods");
        wait_old_enough(&self.members);
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.space.name()
    }

    /// All of them, in an order that stays.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Changes the ConfigMap, and waits until each has been told.
    pub fn change(&mut self) {
        self.changes += 1;
        for member in &mut self.members {
            member.changes += 1;
        }
        self.space.change(&self.changes.to_string());
        wait_until("all are told", || self.members.iter().all(|member| member.told() >= member.changes));
    }
}

/// A pod that writes down when it is told, with a ConfigMap in its volume `config`.
pub(super) fn stamper(name: &str, config_map: &str, annotations: &[(&str, &str)]) -> Value {
    let mut pod = app(name, &[&[(SIGNAL, "SIGHUP")], annotations].concat());
    pod["spec"] = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "app",
            "image": "localhost/stamper:test",
            "args": ["/stamps/stamps"],
            "volumeMounts": [
                {"name": "config", "mountPath": "/config"},
                {"name": "stamps", "mountPath": "/stamps"},
            ],
        }],
        "volumes": [
            {"name": "config", "configMap": {"name": config_map}},
            {"name": "stamps", "emptyDir": {}},
        ],
    });
    pod
}

/// The namespace's pods.
pub(super) fn members(space: &Space) -> Vec<Member> {
    let cluster = PathBuf::from(std::env::var("CLUSTER").unwrap());
    let member = |pod: &Value| {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
        let directory = cluster.join("var/lib/kubelet/pods").join(text("uid"));
        Member { name: text("name"), directory, changes: 0 }
    };
    space.list("pods", &[]).iter().map(member).collect()
}

/// Waits until the agent tells them at once.
pub(super) fn wait_old_enough(members: &[Member]) {
    wait_until("the containers are some seconds old", || members.iter().all(Member::is_old_enough));
}
