//! The pods of a workload, with the revisions of its template that they are of, and the budgets that protect them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::params::ListParams;
use kube::core::{Selector, SelectorExt as _};
use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::ContainerKind;
use reloadlet_core::rollouts::event::{Disruption, Listed, Pod};
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::asker::{APPS, Asker, CORE, collection, path_of};
use super::revisions::{ControllerRevision, Meta, ReplicaSet, Revision, Revisions, moment};
use super::wire::{Live, Written};
use crate::api::trouble::Trouble;
use crate::api::watch::Form;

/// How many pods the API server sends at a time. A pod has 1.5 MB at most.
const PAGE: u32 = 50;
/// The most pods of a workload, and the most revisions: of more nothing is decided.
const MOST: usize = 10_000;

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
    let pods: Vec<ApiPod> = pods.into_iter().filter(|pod| revisions.own(&live, &pod.metadata)).collect();
    let disruption = if pods.is_empty() {
        Disruption::Allowed
    } else {
        let path = collection("/apis/policy/v1", namespace, "poddisruptionbudgets");
        let budgets: Vec<Budget> = all(asker, &path, "").await?;
        disruption(&pods, &budgets)
    };
    Ok(Some(Listed {
        pods: pods.into_iter().map(|pod| pod.of(&revisions)).collect(),
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
    init_containers: Option<Vec<Container>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    state: State,
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
    fn of(self, revisions: &Revisions) -> Pod {
        let (revision, is_current) = revisions.of_pod(&self.metadata);
        Pod {
            // One of which nobody knows when it was made is older than everything.
            created: self.metadata.made().unwrap_or_default(),
            revision,
            is_current,
            is_terminating: self.metadata.deletion_timestamp.is_some(),
            ordinal: self.metadata.ordinal(),
            containers: self.containers(),
        }
    }

    fn containers(&self) -> Vec<(Name, ContainerKind, Option<Time>)> {
        let is_sidecar = |name: &str| {
            let mut all = self.spec.init_containers.iter().flatten();
            all.any(|container| {
                container.name == name && container.restart_policy.as_deref() == Some("Always")
            })
        };
        let since = |state: &Option<Running>| moment(state.as_ref()?.started_at.as_deref()?);
        let init = self.status.init_container_statuses.iter().flatten().map(|status| {
            let kind = if is_sidecar(&status.name) { ContainerKind::Sidecar } else { ContainerKind::Init };
            // One that is done has started, too.
            let ended = (kind == ContainerKind::Init).then(|| since(&status.state.terminated)).flatten();
            (status.name.as_str().into(), kind, since(&status.state.running).or(ended))
        });
        let regular = self.status.container_statuses.iter().flatten().map(|status| {
            (status.name.as_str().into(), ContainerKind::Regular, since(&status.state.running))
        });
        init.chain(regular).collect()
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
    use std::time::Duration;

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
        assert_eq!(pod(&json!({})).containers(), expected);
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
