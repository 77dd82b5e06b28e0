//! A pod, as the API server writes it, and as rolls depend on it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use reloadlet_core::model::names::ContainerId;
use reloadlet_core::model::pod::ContainerKind;
use reloadlet_core::model::restart::{Grant, Instance};
use reloadlet_core::policy::annotations::is_in_place;
use reloadlet_core::rollouts::event::{Obstacle, Pod, PodContainer};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::meta::{Meta, moment};
use super::revisions::Revisions;

/// How long a pod has to end where it doesn't say so, and the longest time that is waited for, in seconds.
const USUAL_GRACE: u64 = 30;
const LONGEST_GRACE: u64 = 3600;
/// The restart policy with which whatever ends is started again.
const ALWAYS: &str = "Always";

/// A pod, as the API server writes it.
#[derive(Deserialize)]
pub(super) struct ApiPod {
    pub(super) metadata: Meta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    init_containers: Option<Vec<Container>>,
    restart_policy: Option<String>,
    termination_grace_period_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    restart_policy: Option<String>,
    restart_policy_rules: Option<Vec<IgnoredAny>>,
    lifecycle: Option<Lifecycle>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Lifecycle {
    pre_stop: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: Option<String>,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    state: State,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    restart_count: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    running: Option<Running>,
    terminated: Option<Running>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Running {
    started_at: Option<String>,
}

impl ApiPod {
    /// As it is; of one that is alone nobody asks for its revision.
    pub(super) fn of(self, revisions: Option<&Revisions>) -> Pod {
        let (revision, is_current) =
            revisions.map(|revisions| revisions.of_pod(&self.metadata)).unwrap_or_default();
        let is_ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        Pod {
            name: self.metadata.name.as_str().into(),
            uid: self.metadata.uid.as_str().into(),
            version: self.metadata.resource_version.as_deref().unwrap_or_default().into(),
            // One of which nobody knows when it was made is older than everything.
            created: self.metadata.made().unwrap_or_default(),
            revision,
            is_current,
            is_terminating: self.metadata.deletion_timestamp.is_some(),
            is_ready: self.status.conditions.iter().flatten().any(is_ready),
            ordinal: self.metadata.ordinal(),
            grant: self.grant(),
            grace: Duration::from_secs(
                self.spec.termination_grace_period_seconds.unwrap_or(USUAL_GRACE).min(LONGEST_GRACE),
            ),
            containers: self.containers(),
        }
    }

    /// Whether none of its containers is started again.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Failed" | "Succeeded"))
    }

    /// Whether it asks to be restarted in place: nobody may grant it that otherwise.
    fn asks(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.and_then(|all| all.rollout.as_deref()).is_some_and(is_in_place)
    }

    /// What it was granted last.
    pub(super) fn grant(&self) -> Option<Grant> {
        Grant::parse(self.metadata.annotations.as_ref()?.restart.as_ref()?)
    }

    /// How many containers it has.
    pub(super) fn count(&self) -> usize {
        let statuses = [&self.status.container_statuses, &self.status.init_container_statuses];
        statuses.into_iter().flatten().map(Vec::len).sum()
    }

    fn containers(&self) -> Vec<PodContainer> {
        let inits = || self.spec.init_containers.iter().flatten();
        // Of two of a name it is the first one that counts.
        let all = self.spec.containers.iter().chain(inits());
        let specs: HashMap<&str, &Container> = all.rev().map(|spec| (spec.name.as_str(), spec)).collect();
        let sidecars = inits().filter(|init| init.restart_policy.as_deref() == Some(ALWAYS));
        let sidecars: HashSet<&str> = sidecars.map(|init| init.name.as_str()).collect();
        let is_sidecar = |name: &str| sidecars.contains(name);
        let asks = self.asks();
        let since = |state: &Option<Running>| moment(state.as_ref()?.started_at.as_deref()?);
        let container = |status: &ContainerStatus, kind, since| PodContainer {
            name: status.name.as_str().into(),
            kind,
            since,
            instance: status
                .container_id
                .as_deref()
                .and_then(ContainerId::from_status)
                .map(|id| Instance::of(&id)),
            restarts: status.restart_count,
            obstacle: specs
                .get(status.name.as_str())
                .and_then(|spec| spec.obstacle(self.spec.restart_policy.as_deref(), is_sidecar(&status.name)))
                .or_else(|| (!asks).then_some(Obstacle::Unasked)),
        };
        let init = self.status.init_container_statuses.iter().flatten().map(|status| {
            let kind = if is_sidecar(&status.name) { ContainerKind::Sidecar } else { ContainerKind::Init };
            // One that is done has started, too.
            let ended = (kind == ContainerKind::Init).then(|| since(&status.state.terminated)).flatten();
            container(status, kind, since(&status.state.running).or(ended))
        });
        let regular = self.status.container_statuses.iter().flatten();
        init.chain(
            regular.map(|status| container(status, ContainerKind::Regular, since(&status.state.running))),
        )
        .collect()
    }
}

impl Container {
    /// What is against ending it, so that the kubelet starts it again. `of_pod` is the policy of its pod, which counts, too, for one that is no
    /// sidecar: an older kubelet knows no other.
    fn obstacle(&self, of_pod: Option<&str>, is_sidecar: bool) -> Option<Obstacle> {
        if self.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some()) {
            return Some(Obstacle::PreStop);
        }
        let has_rules = self.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty());
        // Without a policy it is the API server's default.
        let policies = [self.restart_policy.as_deref(), of_pod.filter(|_| !is_sidecar)];
        let is_always = policies.into_iter().flatten().all(|policy| policy == ALWAYS);
        (has_rules || !is_always).then_some(Obstacle::NoRestart)
    }
}

#[cfg(test)]
mod tests {
    use reloadlet_core::Time;
    use serde_json::{Value, json};

    use super::super::testing::processor_time;
    use super::*;

    fn pod() -> ApiPod {
        let pod = json!({
            "metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"initContainers": [{"name": "prepare"}, {"name": "proxy", "restartPolicy": "Always"}]},
            "status": {
                "initContainerStatuses": [
                    {"name": "prepare", "state": {"terminated": {"startedAt": "2026-01-02T03:04:06Z"}}},
                    {"name": "proxy", "state": {"running": {"startedAt": "2026-01-02T03:04:07Z"}}},
                ],
                "containerStatuses": [
                    {"name": "app", "state": {"running": {"startedAt": "2026-01-02T03:04:08Z"}}},
                    {"name": "worker", "state": {"waiting": {}}},
                ],
            },
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn of_each_container_it_is_known_since_when_it_runs() {
        let at = |second: u64| Some(Time::since_boot(Duration::from_secs(1_767_323_040 + second)));
        let expected = [
            ("prepare".into(), ContainerKind::Init, at(6)),
            ("proxy".into(), ContainerKind::Sidecar, at(7)),
            ("app".into(), ContainerKind::Regular, at(8)),
            ("worker".into(), ContainerKind::Regular, None),
        ];
        let containers = pod().containers();
        let known = containers.into_iter().map(|container| (container.name, container.kind, container.since));
        assert_eq!(known.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_pod_says_what_a_restart_in_place_depends_on() {
        let pod = json!({
            "metadata": {
                "name": "web-2", "uid": "u-1", "resourceVersion": "7",
                "labels": {"apps.kubernetes.io/pod-index": "2"},
                "annotations": {
                    "reloadlet.io/restart": "00ff 9 app=aaaaaaaaaaaa",
                    "reloadlet.io/rollout": "in-place,rollout",
                },
            },
            "spec": {"restartPolicy": "Always", "terminationGracePeriodSeconds": 90_000, "containers": [
                {"name": "app"},
                {"name": "hooked", "lifecycle": {"preStop": {"exec": {"command": ["true"]}}}},
                {"name": "started", "lifecycle": {"postStart": {"exec": {"command": ["true"]}}}},
                {"name": "never", "restartPolicy": "Never"},
                {"name": "always", "restartPolicy": "Always"},
                {"name": "ruled", "restartPolicyRules": [{"action": "Restart"}]},
            ]},
            "status": {
                "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
                "containerStatuses": [
                    {"name": "app", "containerID": format!("containerd://{}", "a".repeat(64)), "restartCount": 3},
                    {"name": "hooked"}, {"name": "started"}, {"name": "never"},
                    {"name": "always"}, {"name": "ruled"},
                ],
            },
        });
        let pod = serde_json::from_value::<ApiPod>(pod).unwrap().of(None);
        assert_eq!((&*pod.name, &*pod.uid, &*pod.version, pod.is_ready), ("web-2", "u-1", "7", true));
        assert_eq!(pod.grace, Duration::from_secs(3600));
        let app = &pod.containers[0];
        assert_eq!(pod.grant.unwrap().instance("app"), app.instance.as_ref());
        assert_eq!((app.instance.is_some(), app.restarts), (true, 3));
        let against: Vec<_> = pod.containers.iter().map(|container| container.obstacle).collect();
        let no = Some(Obstacle::NoRestart);
        assert_eq!(against, [None, Some(Obstacle::PreStop), None, no, None, no]);
        let never = json!({"metadata": {}, "spec": {"restartPolicy": "OnFailure", "containers": [
                {"name": "app"}, {"name": "own", "restartPolicy": "Always"},
            ],
            "initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}, "status": {
            "containerStatuses": [{"name": "app"}, {"name": "own"}], "initContainerStatuses": [{"name": "proxy"}]}});
        let never = serde_json::from_value::<ApiPod>(never).unwrap().of(None);
        assert_eq!((never.is_ready, never.grace), (false, Duration::from_secs(30)));
        assert_eq!(
            never.containers.iter().map(|container| container.obstacle).collect::<Vec<_>>(),
            [Some(Obstacle::Unasked), no, no]
        );
        for (phase, ended) in [("Failed", true), ("Succeeded", true), ("Running", false), ("Pending", false)]
        {
            let pod = json!({"metadata": {}, "status": {"phase": phase}});
            assert_eq!(serde_json::from_value::<ApiPod>(pod).unwrap().has_ended(), ended, "{phase}");
        }
    }

    #[test]
    fn of_a_pods_annotations_and_of_an_events_nothing_is_kept_that_doesnt_count() {
        let grant = "00ff 9 app=aaaaaaaaaaaa";
        let of = |restart: &str| -> ApiPod {
            let annotations = json!({"x": "y".repeat(200_000), "reloadlet.io/restart": restart});
            serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap()
        };
        assert!(of(grant).grant().is_some());
        let long = of(&format!("{grant}{}", " ".repeat(2_000)));
        assert!(long.metadata.annotations.unwrap().restart.is_none(), "longer than any grant");
    }

    #[test]
    fn a_pod_with_more_containers_takes_no_more_time_for_each() {
        let containers = |kind: &str| -> Vec<Value> {
            (0..20_000)
                .map(|n| json!({"name": format!("{kind}-{n:05}"), "restartPolicy": "Always"}))
                .collect()
        };
        let (regular, init) = (containers("regular"), containers("initial"));
        let pod = json!({
            "metadata": {},
            "spec": {"containers": regular, "initContainers": init},
            "status": {"containerStatuses": regular, "initContainerStatuses": init},
        });
        let pod: ApiPod = serde_json::from_value(pod).unwrap();
        let before = processor_time();
        let containers = pod.containers();
        let took = processor_time() - before;
        assert_eq!((containers.len(), pod.count()), (40_000, 40_000));
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}
