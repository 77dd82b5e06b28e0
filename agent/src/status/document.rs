//! What `/status` serves and `reloadlet status` reads.

use reloadlet_core::Time;
use reloadlet_core::object::ObjectRef;
use reloadlet_core::pod::Name;
use reloadlet_core::status::{self, ContainerStatus, PodStatus, VolumeStatus};
use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Document {
    pub(super) pods: Vec<Pod>,
}

/// One pod.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) problems: Vec<Problem>,
    pub(super) volumes: Vec<Volume>,
    pub(super) containers: Vec<Container>,
    pub(super) stale: Vec<Stale>,
    /// Why the kubelet isn't nudged for the pod though it asks for that.
    pub(super) not_nudged: Option<String>,
}

/// A problem with what a pod asks for.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Problem {
    pub(super) kind: String,
    pub(super) sentence: String,
}

/// One volume.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) generation: Option<String>,
    pub(super) settled_seconds_ago: Option<f64>,
    /// The newest versions on the API server, where they are measured.
    pub(super) wanted: Vec<Version>,
    pub(super) on_disk: Vec<Version>,
}

/// A version of an object; without one, the object doesn't exist.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Version {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) version: Option<String>,
}

/// One container that is told.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) signal: String,
    pub(super) pids: Vec<u32>,
    pub(super) missing: Option<String>,
    pub(super) held: bool,
    pub(super) last_outcome: Option<String>,
    pub(super) last_seconds_ago: Option<f64>,
    pub(super) volumes: Vec<Told>,
}

/// What a container was told of a volume.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Told {
    pub(super) name: String,
    /// The generation that is done with.
    pub(super) handled: Option<String>,
    /// The generation that waits.
    pub(super) waiting: Option<String>,
    /// The versions that it holds, where they are known.
    pub(super) delivered: Vec<Version>,
}

/// Something that isn't as the API server shows it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Stale {
    pub(super) reason: String,
    pub(super) seconds: f64,
    pub(super) volume: Option<String>,
    pub(super) container: Option<String>,
    pub(super) object: Option<Object>,
}

/// An object by name.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
}

impl Document {
    /// What is known, at this time.
    pub(crate) fn new(pods: &[PodStatus], now: Time) -> Self {
        Self { pods: pods.iter().map(|pod| Pod::new(pod, now)).collect() }
    }
}

impl Pod {
    fn new(status: &PodStatus, now: Time) -> Self {
        let problem = |problem: &reloadlet_core::problem::Problem| Problem {
            kind: problem.kind.as_str().to_owned(),
            sentence: problem.sentence.clone(),
        };
        Self {
            namespace: status.pod.namespace.to_string(),
            name: status.pod.name.to_string(),
            uid: status.pod.uid.to_string(),
            problems: status.problems.iter().map(problem).collect(),
            volumes: status.volumes.iter().map(|volume| Volume::new(volume, now)).collect(),
            containers: status.containers.iter().map(|container| Container::new(container, now)).collect(),
            stale: status.stale.iter().map(|stale| Stale::new(stale, now)).collect(),
            not_nudged: status.not_nudged.map(|strategy| {
                format!("the kubelet's configMapAndSecretChangeDetectionStrategy is {}", strategy.as_str())
            }),
        }
    }
}

impl Volume {
    fn new(volume: &VolumeStatus, now: Time) -> Self {
        Self {
            name: volume.name.to_string(),
            kind: volume.kind.as_str().to_owned(),
            generation: volume.generation.as_ref().map(ToString::to_string),
            settled_seconds_ago: volume.settled.map(|settled| now.since(settled).as_secs_f64()),
            wanted: versions(&volume.wanted),
            on_disk: versions(&volume.on_disk),
        }
    }
}

impl Container {
    fn new(container: &ContainerStatus, now: Time) -> Self {
        let told = container.generations.iter().map(|told| Told {
            name: told.volume.to_string(),
            handled: told.handled.as_ref().map(ToString::to_string),
            waiting: told.waiting.as_ref().map(ToString::to_string),
            delivered: versions(&told.delivered),
        });
        Self {
            name: container.name.to_string(),
            signal: container.signal.to_string(),
            pids: container.pids.clone(),
            missing: container.missing.map(str::to_owned),
            held: container.held,
            last_outcome: container.last.map(|(outcome, _)| outcome.as_str().to_owned()),
            last_seconds_ago: container.last.map(|(_, at)| now.since(at).as_secs_f64()),
            volumes: told.collect(),
        }
    }
}

impl Stale {
    fn new(stale: &status::Stale, now: Time) -> Self {
        let object = |object: &ObjectRef| Object {
            kind: object.kind.as_str().to_owned(),
            name: object.name.to_string(),
        };
        Self {
            reason: stale.reason.as_str().to_owned(),
            seconds: now.since(stale.since).as_secs_f64(),
            volume: stale.volume.as_deref().map(str::to_owned),
            container: stale.container.as_deref().map(str::to_owned),
            object: stale.object.as_ref().map(object),
        }
    }
}

fn versions(versions: &[(ObjectRef, Option<Name>)]) -> Vec<Version> {
    let each = versions.iter().map(|(object, version)| Version {
        kind: object.kind.as_str().to_owned(),
        name: object.name.to_string(),
        version: version.as_deref().map(str::to_owned),
    });
    each.collect()
}
