//! The pods of a workload, with the revisions of its template that they are of, and the budgets that protect them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::params::ListParams;
use kube::core::{Selector, SelectorExt as _};
use reloadlet_core::model::names::{ContainerId, Name};
use reloadlet_core::model::pod::ContainerKind;
use reloadlet_core::model::restart::{Grant, Instance, Said};
use reloadlet_core::policy::annotations::is_in_place;
use reloadlet_core::rollouts::event::{Disruption, Listed, Obstacle, Pod, PodContainer};
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::asker::{APPS, Asker, CORE, collection, path_of};
use super::revisions::{ControllerRevision, Meta, ReplicaSet, Revision, Revisions, moment};
use super::wire::{Live, Written};
use crate::api::trouble::Trouble;
use crate::api::watch::Form;

/// How many pods the API server sends at a time. A pod has 1.5 MB at most.
const PAGE: u32 = 50;
/// The most pods of a workload, and the most revisions: of more nothing is decided.
const MOST: usize = 10_000;

/// So many Events about a pod are read, of which an agent's is one.
const MOST_EVENTS: u32 = 500;
/// How long a pod has to end where it doesn't say so, and the longest time that is waited for, in seconds.
const USUAL_GRACE: u64 = 30;
const LONGEST_GRACE: u64 = 3600;
/// The restart policy with which whatever ends is started again.
const ALWAYS: &str = "Always";

/// Lists them; `None` where there is no such workload.
pub(super) async fn listed(asker: &Asker, who: &WorkloadRef) -> Result<Option<Listed>, Trouble> {
    let Some(written) = asker.get::<Written>(&path_of(who)).await? else { return Ok(None) };
    let live = Live::read(who.kind, written.text()).map_err(|error| Trouble::Garbage(error.to_string()))?;
    let namespace = Some(&*who.namespace);
    let revisions = match who.kind {
        Kind::Deployment => {
            let path = collection(APPS, namespace, "replicasets");
            let all: Vec<ReplicaSet> = all(asker, &path, &live.selector).await?;
            all.into_iter().map(Revision::from).collect()
        }
        Kind::StatefulSet | Kind::DaemonSet => {
            let path = collection(APPS, namespace, "controllerrevisions");
            let all: Vec<ControllerRevision> = all(asker, &path, &live.selector).await?;
            all.into_iter().map(Revision::from).collect()
        }
    };
    let revisions = Revisions::of(&live, revisions);
    let path = collection(CORE, namespace, "pods");
    let pods: Vec<ApiPod> = all(asker, &path, &live.selector).await?;
    // Those that have ended for good are nobody's any more: their owner has made others.
    let counts = |pod: &ApiPod| !pod.has_ended() && revisions.own(&live, &pod.metadata);
    let pods: Vec<ApiPod> = pods.into_iter().filter(counts).collect();
    let disruption = if pods.is_empty() {
        Disruption::Allowed
    } else {
        let path = collection("/apis/policy/v1", namespace, "poddisruptionbudgets");
        let budgets: Vec<Budget> = all(asker, &path, "").await?;
        disruption(&pods, &budgets)
    };
    Ok(Some(Listed {
        mark: live.workload.marker.clone(),
        pods: pods.into_iter().map(|pod| pod.of(Some(&revisions))).collect(),
        marks: revisions.marks(),
        disruption,
    }))
}

/// All objects of a collection whose labels are selected.
async fn all<K: DeserializeOwned>(asker: &Asker, path: &str, selector: &str) -> Result<Vec<K>, Trouble> {
    let mut all: Vec<K> = Vec::new();
    let mut token = None;
    loop {
        let params = ListParams {
            label_selector: (!selector.is_empty()).then(|| selector.to_owned()),
            limit: Some(PAGE),
            continue_token: token,
            ..ListParams::default()
        };
        let page = asker.list::<K>(path, Form::Whole, &params).await?;
        all.extend(page.objects);
        token = page.metadata.continue_.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(all);
        }
        if all.len() > MOST {
            return Err(Trouble::Endless);
        }
    }
}

/// A pod by its name, if there is one, and, if it `hears` that, what its agent has said of grants.
pub(super) async fn looked(
    asker: &Asker,
    who: &WorkloadRef,
    name: &Name,
    hears: bool,
) -> Result<(Option<Pod>, Vec<Said>), Trouble> {
    let path = format!("{}/{name}", collection(CORE, Some(&who.namespace), "pods"));
    let Some(pod) = asker.get::<ApiPod>(&path).await? else { return Ok((None, Vec::new())) };
    // The API server reads all Events of the namespace for that.
    let said = match pod.grant().filter(|_| hears) {
        Some(_) => said(asker, who, &pod.metadata.uid).await?,
        None => Vec::new(),
    };
    Ok((Some(pod.of(None)), said))
}

/// What was said of a pod's grants, the newest last. Whoever may write Events in its namespace may have said it.
async fn said(asker: &Asker, who: &WorkloadRef, uid: &str) -> Result<Vec<Said>, Trouble> {
    let params = ListParams {
        field_selector: Some(format!("regarding.kind=Pod,regarding.uid={uid}")),
        limit: Some(MOST_EVENTS),
        ..ListParams::default()
    };
    let path = collection("/apis/events.k8s.io/v1", Some(&who.namespace), "events");
    let mut events = asker.list::<ApiEvent>(&path, Form::Whole, &params).await?.objects;
    events.sort_by_key(|event| event.metadata.made());
    let said = |event: &ApiEvent| Said::parse(event.metadata.annotations.as_ref()?.restart.as_ref()?);
    Ok(events.iter().filter_map(said).collect())
}

#[derive(Deserialize)]
struct ApiEvent {
    metadata: Meta,
}

#[derive(Deserialize)]
struct ApiPod {
    metadata: Meta,
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
    fn of(self, revisions: Option<&Revisions>) -> Pod {
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
    fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Failed" | "Succeeded"))
    }

    /// Whether it asks to be restarted in place: nobody may grant it that otherwise.
    fn asks(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.and_then(|all| all.rollout.as_deref()).is_some_and(is_in_place)
    }

    fn grant(&self) -> Option<Grant> {
        Grant::parse(self.metadata.annotations.as_ref()?.restart.as_ref()?)
    }

    fn containers(&self) -> Vec<PodContainer> {
        let inits = || self.spec.init_containers.iter().flatten();
        let spec = |name: &str| self.spec.containers.iter().chain(inits()).find(|spec| spec.name == name);
        let is_sidecar = |name: &str| {
            inits().any(|init| init.name == name && init.restart_policy.as_deref() == Some(ALWAYS))
        };
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
            obstacle: spec(&status.name)
                .and_then(|spec| spec.obstacle(self.spec.restart_policy.as_deref(), is_sidecar(&status.name)))
                .or_else(|| (!self.asks()).then_some(Obstacle::Unasked)),
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

/// A PodDisruptionBudget.
#[derive(Deserialize)]
struct Budget {
    #[serde(default)]
    spec: BudgetSpec,
    #[serde(default)]
    status: BudgetStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BudgetSpec {
    selector: Option<LabelSelector>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BudgetStatus {
    disruptions_allowed: i64,
}

fn disruption(pods: &[ApiPod], budgets: &[Budget]) -> Disruption {
    let forbids = |budget: &Budget| {
        let Some(selector) = budget.spec.selector.clone() else { return false };
        let Ok(selector) = Selector::try_from(selector) else { return false };
        let none = BTreeMap::new();
        let covers = |pod: &ApiPod| selector.matches(pod.metadata.labels.as_ref().unwrap_or(&none));
        budget.status.disruptions_allowed <= 0 && pods.iter().any(covers)
    };
    if budgets.iter().any(forbids) { Disruption::Forbidden } else { Disruption::Allowed }
}

#[cfg(test)]
mod tests {
    use reloadlet_core::Time;
    use serde_json::{Value, json};

    use super::*;

    fn pod(labels: &Value) -> ApiPod {
        let pod = json!({
            "metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": labels},
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
        let containers = pod(&json!({})).containers();
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
    fn a_budget_that_allows_nothing_forbids_what_it_covers() {
        let budget = |selector: &Value, allowed: i64| -> Budget {
            let budget = json!({"spec": {"selector": selector}, "status": {"disruptionsAllowed": allowed}});
            serde_json::from_value(budget).unwrap()
        };
        let pods = [pod(&json!({"app": "web"}))];
        let of = |budgets: &[Budget]| disruption(&pods, budgets);
        let (mine, others) = (json!({"matchLabels": {"app": "web"}}), json!({"matchLabels": {"app": "db"}}));
        assert_eq!(of(&[budget(&others, 0), budget(&mine, 1)]), Disruption::Allowed);
        assert_eq!(of(&[budget(&mine, 1), budget(&mine, 0)]), Disruption::Forbidden);
        // An empty selector covers all pods, none covers none (policy/v1).
        assert_eq!(of(&[budget(&json!({}), 0)]), Disruption::Forbidden);
        assert_eq!(of(&[budget(&Value::Null, 0)]), Disruption::Allowed);
    }
}
