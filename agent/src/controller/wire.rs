//! Objects as the API server writes them, as far as rolls depend on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::{AnnotationValue, Annotations};
use reloadlet_core::policy::annotations::{IGNORE, ROLLED};
use reloadlet_core::policy::reloader::{self, Form, Marks, Update};
use reloadlet_core::rollouts::content::Seen;
use reloadlet_core::rollouts::workload::{Counts, Kind, Progress, Workload, WorkloadRef};
use reloadlet_manifest::{self as manifest, WorkloadKind};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::api::watch::Versioned;

/// The longest selector that a request has, in bytes. It is part of the request's first line, where each byte may take three, and of which
/// proxies take 8 KiB.
const LONGEST_SELECTOR: usize = 2_000;

/// An object, not yet understood.
#[derive(Clone, Debug)]
pub(super) struct Written {
    version: Option<String>,
    text: Box<RawValue>,
}

/// What every object has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: Option<String>,
    generation: u64,
    annotations: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<IgnoredAny>,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let head: Head = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { version: head.metadata.resource_version, text })
    }
}

impl Versioned for Written {
    fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// An object of which only the metadata counts.
pub(super) struct Marked {
    pub(super) namespace: Name,
    pub(super) name: Name,
    pub(super) seen: Seen,
}

impl Written {
    /// Its text.
    pub(super) fn text(&self) -> &str {
        self.text.get()
    }

    /// Its namespace and its name.
    pub(super) fn names(&self) -> Result<(Name, Name), serde_json::Error> {
        let Head { metadata } = serde_json::from_str(self.text())?;
        Ok((metadata.namespace.into(), metadata.name.into()))
    }

    /// What it says of itself.
    pub(super) fn marked(&self) -> Result<Marked, serde_json::Error> {
        let Head { metadata } = serde_json::from_str(self.text())?;
        let all = metadata.annotations.unwrap_or_default().into_iter();
        let counts = all.filter(|(key, _)| reloader::is_relevant(key) || key == IGNORE);
        let annotations: Annotations =
            counts.map(|(key, value)| (key, AnnotationValue::Text(value))).collect();
        let seen = Seen {
            version: metadata.resource_version.unwrap_or_default().into(),
            marks: Marks::of(&annotations),
            is_ignored: annotations.get(IGNORE) == Some(&AnnotationValue::Text("true".to_owned())),
        };
        Ok(Marked { namespace: metadata.namespace.into(), name: metadata.name.into(), seen })
    }
}

/// A workload, with what is needed to find its pods.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// Which one it is.
    pub(super) who: WorkloadRef,
    /// What it is like.
    pub(super) workload: Arc<Workload>,
    /// Which labels its pods have, as a request writes it.
    pub(super) selector: String,
    /// Of a StatefulSet: the name of its newest revision.
    pub(super) newest: Option<String>,
    /// Whether it is being deleted.
    pub(super) is_terminating: bool,
}

/// Why a workload can't be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Manifest(#[from] manifest::ManifestError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Shape {
    metadata: Meta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    replicas: Option<u64>,
    #[serde(default)]
    min_ready_seconds: u64,
    #[serde(default)]
    selector: LabelSelector,
    #[serde(default)]
    template: Head,
}

/// The status of a Deployment or of a StatefulSet; the second half is a DaemonSet's.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: u64,
    replicas: u64,
    updated_replicas: u64,
    available_replicas: u64,
    update_revision: Option<String>,
    conditions: Option<Vec<Condition>>,
    desired_number_scheduled: u64,
    updated_number_scheduled: u64,
    number_available: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    reason: Option<String>,
}

impl Condition {
    /// Whether it says that the deadline is over (`progressDeadlineSeconds`; Deployment controller, `util/deployment_util.go`).
    fn is_late(&self) -> bool {
        self.kind == "Progressing" && self.reason.as_deref() == Some("ProgressDeadlineExceeded")
    }
}

impl Live {
    /// The workload of this kind that a text in JSON is.
    pub(super) fn read(kind: Kind, text: &str) -> Result<Self, Unreadable> {
        let of = match kind {
            Kind::Deployment => WorkloadKind::Deployment,
            Kind::StatefulSet => WorkloadKind::StatefulSet,
            Kind::DaemonSet => WorkloadKind::DaemonSet,
        };
        let manifest::Workload { form, name, annotations, others, template_others, spec, .. } =
            manifest::workload(of, text)?;
        let Shape { metadata, spec: written, status } = serde_json::from_str(text)?;
        let mut marks = written.template.metadata.annotations.unwrap_or_default();
        let counts = counts(kind, &metadata, written.replicas, &status, form);
        let selector: Result<Selector, _> = written.selector.try_into();
        let mut own = annotations;
        own.extend(others);
        let is_terminating = metadata.deletion_timestamp.is_some();
        let workload = Workload {
            uid: metadata.uid.into(),
            version: metadata.resource_version.unwrap_or_default().into(),
            generation: metadata.generation,
            form,
            own,
            of_template: template_others,
            spec,
            marker: marks.remove(ROLLED).map(Name::from),
            progress: Progress::of(counts),
            min_ready: Duration::from_secs(written.min_ready_seconds),
            is_empty: counts.wanted == 0,
        };
        Ok(Self {
            who: WorkloadRef { kind, namespace: metadata.namespace.into(), name },
            workload: Arc::new(workload),
            // By one that can't be written, or not in a request, all pods of the namespace are listed: those of others are known by their
            // owners.
            selector: selector
                .map(|selector| selector.to_string())
                .ok()
                .filter(|selector| selector.len() <= LONGEST_SELECTOR)
                .unwrap_or_default(),
            newest: status.update_revision,
            is_terminating,
        })
    }
}

fn counts(kind: Kind, metadata: &Meta, replicas: Option<u64>, status: &Status, form: Form) -> Counts {
    let (generation, observed) = (metadata.generation, status.observed_generation);
    match kind {
        Kind::Deployment | Kind::StatefulSet => {
            let wanted = replicas.unwrap_or(1);
            let kept = if let Form::StatefulSet(Update::Partition(partition)) = form {
                u64::from(partition.from.saturating_sub(partition.first)).min(wanted)
            } else {
                0
            };
            Counts {
                generation,
                observed,
                wanted,
                all: status.replicas,
                updated: status.updated_replicas,
                available: status.available_replicas,
                kept,
                is_late: status.conditions.iter().flatten().any(Condition::is_late),
            }
        }
        Kind::DaemonSet => Counts {
            generation,
            observed,
            wanted: status.desired_number_scheduled,
            all: status.desired_number_scheduled,
            updated: status.updated_number_scheduled,
            available: status.number_available,
            kept: 0,
            is_late: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: &str = r#"{"metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "7",
        "generation": 3, "annotations": {"reloadlet.io/rollout": "true", "reloader.stakater.com/auto": "true", "x": "y"}},
        "spec": {"replicas": 2, "minReadySeconds": 7, "selector": {"matchLabels": {"app": "web"}, "matchExpressions":
            [{"key": "tier", "operator": "In", "values": ["a", "b"]}]},
        "template": {"metadata": {"annotations": {"reloadlet.io/rolled": "00ff", "reloadlet.io/signal": "HUP"}},
        "spec": {"containers": [{"name": "app"}]}}},
        "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}}"#;

    #[test]
    fn a_workload_has_what_its_roll_depends_on() {
        let live = Live::read(Kind::Deployment, DEPLOYMENT).unwrap();
        assert_eq!(live.who.to_string(), "Deployment shop/web");
        let workload = &live.workload;
        assert_eq!((&*workload.uid, &*workload.version, workload.generation), ("u-1", "7", 3));
        assert_eq!(workload.marker.as_deref(), Some("00ff"));
        assert_eq!((workload.progress, workload.is_empty), (Progress::Unavailable, false));
        assert_eq!(workload.min_ready, Duration::from_secs(7));
        assert_eq!(
            workload.own.keys().collect::<Vec<_>>(),
            ["reloader.stakater.com/auto", "reloadlet.io/rollout"]
        );
        // The mark is the controller's, and asks the pods' agents for nothing.
        assert_eq!(workload.spec.annotations.keys().collect::<Vec<_>>(), ["reloadlet.io/signal"]);
        assert_eq!(live.selector, "app=web,tier in (a,b)");
    }

    #[test]
    fn a_selector_that_is_too_long_for_a_request_is_none() {
        let of = |count: usize| {
            let values: Vec<String> = (0..count).map(|n| format!("\"value-{n}\"")).collect();
            let text =
                DEPLOYMENT.replace(r#""values": ["a", "b"]"#, &format!("\"values\": [{}]", values.join(",")));
            Live::read(Kind::Deployment, &text).unwrap().selector
        };
        assert!(of(100).starts_with("app=web,tier in (value-0,"), "{}", of(100));
        assert_eq!(of(8_000), "");
    }

    #[test]
    fn a_status_of_each_kind_is_counted() {
        let of = |kind, spec: &str, status: &str| {
            let text = format!(
                r#"{{"metadata": {{"name": "web", "namespace": "shop", "generation": 2}}, "spec": {{{spec}
                    "selector": {{}}, "template": {{"spec": {{"containers": [{{"name": "app"}}]}}}}}},
                    "status": {{"observedGeneration": 2, {status}}}}}"#
            );
            Live::read(kind, &text).unwrap().workload
        };
        let is_empty = |kind, spec: &str, status: &str| of(kind, spec, status).is_empty;
        let of = |kind, spec: &str, status: &str| of(kind, spec, status).progress;
        for (kind, spec) in [
            (Kind::Deployment, r#""replicas": 0,"#),
            (Kind::StatefulSet, r#""replicas": 0,"#),
            (Kind::DaemonSet, ""),
        ] {
            assert!(is_empty(kind, spec, r#""desiredNumberScheduled": 0"#), "{kind:?}");
        }
        assert!(!is_empty(Kind::StatefulSet, "", r#""replicas": 0"#), "without a number there is to be one");
        let late =
            r#""replicas": 1, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]"#;
        assert_eq!(of(Kind::Deployment, "", late), Progress::Late);
        let partition = r#""replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}},"#;
        let two_kept = r#""replicas": 3, "updatedReplicas": 1, "availableReplicas": 3"#;
        assert_eq!(of(Kind::StatefulSet, partition, two_kept), Progress::Available);
        assert_eq!(of(Kind::StatefulSet, r#""replicas": 3,"#, two_kept), Progress::Rolling);
        let nodes = r#""desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3"#;
        assert_eq!(of(Kind::DaemonSet, "", nodes), Progress::Available);
        let one_old = r#""desiredNumberScheduled": 3, "updatedNumberScheduled": 2, "numberAvailable": 3"#;
        assert_eq!(of(Kind::DaemonSet, "", one_old), Progress::Rolling);
    }

    #[test]
    fn of_an_object_only_what_it_says_of_itself_counts() {
        let written = |annotations: &str| -> Written {
            let text = format!(
                r#"{{"metadata": {{"name": "config", "namespace": "shop", "resourceVersion": "9",
                    "annotations": {annotations}}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let marked = written(r#"{"reloader.stakater.com/match": "true", "reloadlet.io/ignore": "true"}"#);
        assert_eq!(marked.version(), Some("9"));
        let marked = marked.marked().unwrap();
        assert_eq!((&*marked.namespace, &*marked.name), ("shop", "config"));
        assert!(marked.seen.is_ignored && marked.seen.marks.matched && !marked.seen.marks.ignored);
        let plain = written(r#"{"reloadlet.io/ignore": "yes"}"#).marked().unwrap();
        assert!(!plain.seen.is_ignored);
    }
}
