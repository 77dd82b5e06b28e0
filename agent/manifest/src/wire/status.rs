//! What a pod's status says of its containers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reloadlet_core::model::granted::Stop;
use reloadlet_core::model::names::{ContainerId, Name};
use reloadlet_core::model::pod::Phase;

use super::{Names, or_default};
use crate::room::{Few, Part, ShortName, Words};

/// The exit status of a process that SIGKILL ended, as runtimes write it: 128 and the signal's number.
const KILLED: i64 = 137;
const SIGKILL: i64 = 9;
/// A pod has one address of each family, and one of them is written twice.
const MOST_ADDRESSES: usize = 4;
/// The kubelet's word for a container that the kernel killed for want of memory.
const OUT_OF_MEMORY: &str = "OOMKilled";

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    #[serde(deserialize_with = "or_default")]
    container_statuses: Few<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    init_container_statuses: Few<ContainerStatus>,
    #[serde(rename = "podIP")]
    pod_ip: Option<ShortName>,
    #[serde(rename = "podIPs", deserialize_with = "or_default")]
    pod_ips: Few<Ip>,
    #[serde(rename = "hostIP")]
    host_ip: Option<ShortName>,
    #[serde(rename = "hostIPs", deserialize_with = "or_default")]
    host_ips: Few<Ip>,
}

/// An address in a list of those of a pod or its node.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Ip {
    ip: Option<ShortName>,
}

impl Part for Ip {}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: Option<Words>,
    #[serde(rename = "containerID")]
    container_id: Option<Words>,
    started: Option<bool>,
    ready: Option<bool>,
    stop_signal: Option<ShortName>,
    #[serde(deserialize_with = "or_default")]
    state: State,
    #[serde(deserialize_with = "or_default")]
    last_state: State,
}

impl Part for ContainerStatus {}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct State {
    terminated: Option<Terminated>,
}

/// How a container ended.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<ShortName>,
    exit_code: Option<i64>,
    signal: Option<i64>,
    reason: Option<ShortName>,
}

impl State {
    /// The container that SIGKILL ended, if it is one.
    fn killed(&self) -> Option<ContainerId> {
        let ended = self.terminated.as_ref()?;
        let is_killed = ended.exit_code == Some(KILLED)
            || ended.signal == Some(SIGKILL)
            || ended.reason.as_ref().is_some_and(|reason| reason.0 == OUT_OF_MEMORY);
        ContainerId::from_status(&ended.container_id.as_ref().filter(|_| is_killed)?.0)
    }
}

/// What is kept of a status, by the containers' names.
#[derive(Default)]
pub(super) struct Said {
    pub(super) ids: BTreeMap<Name, ContainerId>,
    pub(super) phases: BTreeMap<Name, Phase>,
    pub(super) addresses: Vec<IpAddr>,
    /// By what each is stopped.
    pub(super) stops: BTreeMap<Name, Stop>,
}

impl Status {
    /// The pod's own addresses, the first one first. Its node's are none of them, whatever is written, unless they share a network.
    fn addresses(&self, host_network: bool) -> Vec<IpAddr> {
        let parsed = |single: &Option<ShortName>, several: &Few<Ip>| {
            let several = several.iter().filter_map(|written| written.ip.as_ref());
            let all = single.iter().chain(several).filter_map(|text| text.0.parse::<IpAddr>().ok());
            all.take(MOST_ADDRESSES).collect::<Vec<_>>()
        };
        let hosts = parsed(&self.host_ip, &self.host_ips);
        let mut own = Vec::new();
        for address in parsed(&self.pod_ip, &self.pod_ips) {
            if !own.contains(&address) && (host_network || !hosts.contains(&address)) {
                own.push(address);
            }
        }
        own
    }

    /// What it says of a pod; `host_network` is whether that has the network of its node.
    pub(super) fn into_said(self, host_network: bool, names: &mut Names) -> Said {
        let mut said = Said { addresses: self.addresses(host_network), ..Said::default() };
        for status in self.container_statuses.into_iter().chain(self.init_container_statuses) {
            let killed = status.state.killed().or_else(|| status.last_state.killed());
            let phase = Phase { started: status.started, ready: status.ready, killed };
            // A container that waits to be created has no ID yet.
            let id = status.container_id.and_then(|id| ContainerId::from_status(&id.0));
            let Some(name) = status.name.filter(|_| id.is_some() || phase != Phase::default()) else {
                continue;
            };
            let name = names.shared(name);
            let stop = status.stop_signal.map(|text| Stop::parse(&text.0));
            said.stops.extend(stop.map(|stop| (name.clone(), stop)));
            if let Some(id) = id {
                said.ids.insert(name.clone(), id);
            }
            if phase != Phase::default() {
                said.phases.insert(name, phase);
            }
        }
        said
    }
}
