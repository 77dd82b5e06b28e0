//! What `/status` serves and `reloadlet status` reads.

use std::collections::BTreeMap;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::machine::status::{self, ContainerStatus, PodStatus, VolumeStatus};
use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectRef;
use serde::{Deserialize, Serialize};

use crate::contact::{Contact, Resource, WatchState};
use crate::health::Health;

/// What kind of document it is. Something is only added as long as this stays.
const API_VERSION: &str = "status.reloadlet.io/v1";

/// The whole document.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    api_version: String,
    pub(super) agent: Agent,
    pub(super) pods: Vec<Pod>,
}

/// The agent itself.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Agent {
    pub(super) version: String,
    /// What it lacks now, the worst first.
    pub(super) lacks: Vec<Lack>,
    /// What it watches on the API server.
    pub(super) watches: Vec<Watch>,
    /// Its requests to the API server, by the code of the answer.
    pub(super) requests: BTreeMap<String, u64>,
}

/// Something that the agent lacks.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Lack {
    pub(super) what: String,
    pub(super) sentence: String,
}

/// A resource that is watched on the API server.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Watch {
    pub(super) resource: String,
    pub(super) up: bool,
    pub(super) last_contact_seconds_ago: f64,
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
    pub(crate) fn new(pods: &[PodStatus], health: &Health, contact: &Contact, now: Time) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            agent: Agent::new(health, contact, now),
            pods: pods.iter().map(|pod| Pod::new(pod, now)).collect(),
        }
    }

    /// Whether its words mean what they mean here.
    pub(super) fn is_known(&self) -> bool {
        self.api_version == API_VERSION
    }
}

impl Agent {
    fn new(health: &Health, contact: &Contact, now: Time) -> Self {
        let wanted = || {
            let watches = Resource::ALL.into_iter().map(|resource| (resource, contact.watch(resource)));
            watches.filter(|(_, watch)| watch.state != WatchState::Unused)
        };
        let down =
            wanted().filter(|(_, watch)| watch.state == WatchState::Down).map(|(resource, watch)| Lack {
                what: format!("watch_{}", resource.as_str()),
                sentence: not_told(resource, now.since(watch.last)),
            });
        let lacks = health.lacks().map(|(lack, sentence)| Lack { what: lack.as_str().to_owned(), sentence });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lacks: down.chain(lacks).collect(),
            watches: wanted()
                .map(|(resource, watch)| Watch {
                    resource: resource.as_str().to_owned(),
                    up: watch.state == WatchState::Up,
                    last_contact_seconds_ago: now.since(watch.last).as_secs_f64(),
                })
                .collect(),
            requests: contact.requests().collect(),
        }
    }
}

/// What it means that a watch is down.
fn not_told(resource: Resource, since: Duration) -> String {
    let seconds = since.as_secs();
    match resource {
        Resource::Pods => format!(
            "The API server hasn't told of this node's pods for {seconds} s: those that were known are served."
        ),
        Resource::ConfigMaps => format!(
            "The API server hasn't told of ConfigMaps for {seconds} s: how far their changes got isn't known, reloads go on."
        ),
        Resource::Secrets => format!(
            "The API server hasn't told of Secrets for {seconds} s: how far their changes got isn't known, reloads go on."
        ),
    }
}

impl Pod {
    fn new(status: &PodStatus, now: Time) -> Self {
        let problem = |problem: &reloadlet_core::policy::problem::Problem| Problem {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Ailment;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn what_the_agent_lacks_is_in_the_document_the_api_server_first() {
        let (health, contact) = (Health::new(), Contact::new());
        health.set(Ailment::Journal, true);
        contact.wanted(Resource::Pods, at(10));
        contact.wanted(Resource::ConfigMaps, at(10));
        contact.up(Resource::ConfigMaps, at(20));
        contact.answered(None);
        let document = serde_json::to_value(Document::new(&[], &health, &contact, at(322))).unwrap();
        assert_eq!(document["apiVersion"], "status.reloadlet.io/v1");
        let lacks: Vec<(&str, &str)> = document["agent"]["lacks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lack| (lack["what"].as_str().unwrap(), lack["sentence"].as_str().unwrap()))
            .collect();
        assert_eq!(lacks.len(), 2, "{lacks:?}");
        assert_eq!(lacks[0].0, "watch_pods");
        assert!(lacks[0].1.contains("for 312 s"), "{lacks:?}");
        assert_eq!(lacks[1].0, "journal");
        let watches = document["agent"]["watches"].as_array().unwrap();
        assert_eq!(watches.len(), 2);
        assert_eq!((&watches[0]["up"], &watches[1]["up"]), (&false.into(), &true.into()));
        assert_eq!(watches[1]["lastContactSecondsAgo"], 302.0);
        assert_eq!(document["agent"]["requests"]["error"], 1);
    }
}
