//! What `/status` serves and `reloadlet status` reads.

use std::collections::BTreeMap;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::machine::status::PodStatus;
use reloadlet_core::model::closed::Word;
use serde::{Deserialize, Serialize};

use super::watches::{LackStatus, WatchStatus};
use crate::clock;
use crate::contact::{Code, Contact, Resource};
use crate::health::Health;

/// What kind of document it is. Something is only added as long as this stays.
pub(super) const API_VERSION: &str = "status.reloadlet.io/v1";

/// The whole document: what is known, and who knew it when.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    api_version: String,
    /// The node's name, where the agent was told it.
    #[serde(default)]
    pub(super) node: Option<String>,
    /// When that was, as RFC 3339 has it; early agents don't say it.
    #[serde(default)]
    pub(super) time: Option<String>,
    pub(super) agent: Agent,
    pub(super) pods: Vec<PodStatus>,
}

/// The agent itself.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Agent {
    pub(super) version: String,
    /// What it lacks now, the worst first.
    pub(super) lacks: Vec<LackStatus>,
    /// What it watches on the API server.
    pub(super) watches: Vec<WatchStatus>,
    /// Its requests to the API server, by the code of the answer.
    pub(super) requests: BTreeMap<Word<Code>, u64>,
}

impl Document {
    /// What is known, at this time.
    pub(crate) fn new(
        node: Option<&str>,
        pods: Vec<PodStatus>,
        health: &Health,
        contact: &Contact,
        now: Time,
    ) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            node: node.map(str::to_owned),
            time: Some(clock::rfc3339(now)),
            agent: Agent::new(health, contact, now),
            pods,
        }
    }
}

impl Agent {
    fn new(health: &Health, contact: &Contact, now: Time) -> Self {
        let down = LackStatus::of_watches(contact, now, not_told);
        let lacks =
            health.lacks().map(|(lack, sentence)| LackStatus { what: lack.as_str().to_owned(), sentence });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lacks: down.chain(lacks).collect(),
            watches: WatchStatus::all(contact, now),
            requests: contact.requests().map(|(code, count)| (code.into(), count)).collect(),
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
        Resource::ConfigMaps
        | Resource::Secrets
        | Resource::Deployments
        | Resource::StatefulSets
        | Resource::DaemonSets
        | Resource::Holds => format!(
            "The API server hasn't told of {} for {seconds} s: how far their changes got isn't known, reloads go on.",
            resource.written()
        ),
    }
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
        let document =
            serde_json::to_value(Document::new(Some("node-1"), Vec::new(), &health, &contact, at(322)))
                .unwrap();
        assert_eq!(
            (&document["apiVersion"], &document["node"]),
            (&"status.reloadlet.io/v1".into(), &"node-1".into())
        );
        assert_eq!(document["agent"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(document["time"], clock::rfc3339(at(322)));
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

    /// A pod with one of everything, as it is written.
    const POD: &str = r#"{"namespace":"shop","name":"web","uid":"u","problems":[{"kind":"held","sentence":"So it is."}],"volumes":[{"name":"config","kind":"projected","generation":"..2","settledSecondsAgo":1.5,"noLayout":false,"wanted":[{"kind":"configmap","name":"web","version":"12"}],"onDisk":[{"kind":"secret","name":"tls","version":null}]}],"containers":[{"name":"app","signal":"SIGRTMIN+3","lastAnswer":"503","pids":[7,8],"missing":"the container has no running process","held":true,"lastOutcome":"started_after","lastSecondsAgo":0.0625,"unread":{"state":"never_read","deliveries":3},"toldAgain":true,"volumes":[{"name":"config","handled":"..1","outcome":"denied","waiting":"..2","holds":"..0","delivered":[],"unread":true}]}],"stale":[{"reason":"subpath","code":"frozen-subpath","seconds":600.0,"volume":null,"container":"app","object":{"kind":"configmap","name":"levels"}}],"notNudged":"why not","absent":[{"container":"app","object":{"kind":"secret","name":"keys"}}],"restart":{"containers":["app"],"waitsFor":"its end","finding":"current","secondsAgo":2.5}}"#;

    #[test]
    fn a_document_is_written_as_it_was_read() {
        let agent = r#"{"version":"1","lacks":[{"what":"watch_pods","sentence":"No word."}],"watches":[{"resource":"configmaps","up":false,"lastContactSecondsAgo":312.25}],"requests":{"1xx":0,"200":3,"2xx":0,"6xx":1,"error":1}}"#;
        let text = format!(
            r#"{{"apiVersion":"status.reloadlet.io/v1","node":"node-1","time":"2026-11-21T05:56:44.000Z","agent":{agent},"pods":[{POD}]}}"#
        );
        let document: Document = serde_json::from_str(&text).unwrap();
        assert_eq!(document.api_version, API_VERSION);
        assert_eq!(serde_json::to_string(&document).unwrap(), text);
        // As agents wrote it that didn't say who they were.
        let earlier = text.replace(r#""node":"node-1","time":"2026-11-21T05:56:44.000Z","#, "");
        let document: Document = serde_json::from_str(&earlier).unwrap();
        assert_eq!((document.node, document.time), (None, None));
    }
}
