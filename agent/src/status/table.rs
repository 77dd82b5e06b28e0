//! The status as a table: what the agent itself lacks, then one line for each volume of each pod, and one for whatever else
//! is stale.

use std::fmt::Write as _;
use std::time::Duration;

use reloadlet_core::machine::status::{
    AbsentStatus, ContainerStatus, PodStatus, StaleReason, StaleStatus, VersionStatus, VolumeStatus,
};
use reloadlet_core::model::closed::Word;
use reloadlet_core::model::outcome::Unread;

use super::document::{Agent, Document};
use crate::contact::Resource;

const HEAD: [&str; 7] = ["NAMESPACE", "POD", "VOLUME", "WANTED", "ON DISK", "DELIVERED", "STATE"];

/// The agent's lines and the table, with a line's end after each line.
pub(super) fn table(document: &Document) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for pod in &document.pods {
        rows.extend(rows_of(pod));
    }
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = agent(&document.agent);
    text.push('\n');
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string doesn't fail.
            let _infallible = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What the agent lacks, one line each; without anything, one line that says so.
fn agent(agent: &Agent) -> String {
    if agent.lacks.is_empty() {
        let watches: Vec<&str> = agent.watches.iter().map(|watch| watched(&watch.resource)).collect();
        return match watches.as_slice() {
            [] => "AGENT  lacks nothing\n".to_owned(),
            watches => format!("AGENT  lacks nothing, and watches {}\n", watches.join(", ")),
        };
    }
    agent.lacks.iter().map(|lack| format!("AGENT  {}\n", lack.sentence)).collect()
}

/// A resource as people write it.
fn watched(resource: &Word<Resource>) -> &str {
    match resource {
        Word::Known(Resource::Pods) => "pods",
        Word::Known(Resource::ConfigMaps) => "ConfigMaps",
        Word::Known(Resource::Secrets) => "Secrets",
        Word::Other(word) => word,
    }
}

fn rows_of(pod: &PodStatus) -> Vec<[String; HEAD.len()]> {
    let row = |volume: &str, versions: [String; 3], state: String| {
        let [wanted, on_disk, delivered] = versions;
        [
            pod.namespace.to_string(),
            pod.name.to_string(),
            volume.to_owned(),
            wanted,
            on_disk,
            delivered,
            state,
        ]
    };
    let nothing = || [none(), none(), none()];
    let mut rows = Vec::new();
    for problem in &pod.problems {
        rows.push(row("-", nothing(), format!("problem: {}", problem.sentence)));
    }
    for volume in &pod.volumes {
        let stale = pod.stale.iter().find(|stale| stale.volume.as_ref() == Some(&volume.name));
        let state = match stale {
            Some(stale) => stale_text(stale, pod),
            None => {
                let unread = pod.containers.iter().filter_map(|container| unread(container, volume)).next();
                unread.or_else(|| gone(volume)).unwrap_or_else(|| up_to_date(volume, pod))
            }
        };
        let delivered: Vec<String> =
            pod.containers.iter().filter_map(|container| delivered(container, volume)).collect();
        let delivered = if delivered.is_empty() { none() } else { delivered.join(" ") };
        let versions =
            [written(&volume.wanted, None), written(&volume.on_disk, volume.generation.as_deref())];
        let [wanted, on_disk] = versions;
        rows.push(row(&volume.name, [wanted, on_disk, delivered], state));
    }
    for AbsentStatus { container, object } in &pod.absent {
        let state = format!(
            "gone: {} {} isn't there, and container {container} keeps what it took at its start",
            object.kind, object.name
        );
        rows.push(row("-", [format!("no {}", object.name), none(), none()], state));
    }
    for stale in pod.stale.iter().filter(|stale| stale.volume.is_none()) {
        let object = stale.object.as_ref().map_or_else(none, |object| object.name.to_string());
        rows.push(row("-", [object, none(), none()], stale_text(stale, pod)));
    }
    rows
}

/// What a container holds of a volume: `app:web@12`.
fn delivered(container: &ContainerStatus, volume: &VolumeStatus) -> Option<String> {
    let told = container.volumes.iter().find(|told| told.name == volume.name)?;
    Some(format!("{}:{}", container.name, written(&told.delivered, told.holds.as_deref())))
}

fn up_to_date(volume: &VolumeStatus, pod: &PodStatus) -> String {
    let state = if volume.wanted.is_empty() { "not measured" } else { "up to date" };
    let again = pod.containers.iter().filter(|container| container.told_again && tells(container, volume));
    let again: Vec<&str> = again.map(|container| &*container.name).collect();
    if again.is_empty() {
        state.to_owned()
    } else {
        format!("{state}: container {} was told twice", again.join(", "))
    }
}

/// That an object of a volume isn't there any more, which leaves the volume as it is.
fn gone(volume: &VolumeStatus) -> Option<String> {
    let is_on_disk = |wanted: &&VersionStatus| {
        volume.on_disk.iter().any(|there| {
            (&there.kind, &there.name) == (&wanted.kind, &wanted.name) && there.version.is_none()
        })
    };
    let missing = volume.wanted.iter().filter(|wanted| wanted.version.is_none());
    let missing =
        missing.filter(|wanted| !is_on_disk(wanted)).map(|wanted| format!("{} {}", wanted.kind, wanted.name));
    let missing: Vec<String> = missing.collect();
    let sentence =
        format!("gone: {} isn't there, and the kubelet leaves the volume as it is", missing.join(", "));
    (!missing.is_empty()).then_some(sentence)
}

/// That a container has left unread what it was told of a volume.
fn unread(container: &ContainerStatus, volume: &VolumeStatus) -> Option<String> {
    let told = container.volumes.iter().find(|told| told.name == volume.name)?;
    // Where it isn't known which volume it was, it may have been any.
    let is_known = container.volumes.iter().any(|told| told.unread);
    let unread = container.unread.as_ref().filter(|_| told.unread || !is_known)?;
    let name = &container.name;
    Some(match &unread.state {
        Word::Known(Unread::NotRead) if container.told_again => {
            format!("told, not read: container {name} was told twice and opened none of the new files")
        }
        Word::Known(Unread::NotRead) => {
            format!("told, not read: container {name} opened none of the new files")
        }
        Word::Known(Unread::NeverRead) => {
            format!(
                "told {} times, never read: container {name} was never seen to open a new file",
                unread.deliveries
            )
        }
        // An agent of another version knows what it means.
        Word::Other(word) => format!("{word}: container {name}"),
    })
}

fn tells(container: &ContainerStatus, volume: &VolumeStatus) -> bool {
    container.volumes.iter().any(|told| told.name == volume.name)
}

/// The versions, or what else tells one content from another.
fn written(versions: &[VersionStatus], otherwise: Option<&str>) -> String {
    if versions.is_empty() {
        return otherwise.map_or_else(none, str::to_owned);
    }
    let each = versions.iter().map(|version| match &version.version {
        Some(number) => format!("{}@{number}", version.name),
        None => format!("no {}", version.name),
    });
    each.collect::<Vec<_>>().join(",")
}

fn stale_text(stale: &StaleStatus, pod: &PodStatus) -> String {
    let since = format!("{} for {}", stale.reason, seconds(stale.seconds.0));
    match &stale.reason {
        Word::Known(reason) => format!("{since}: {}", why(*reason, stale, pod)),
        // An agent of another version knows what it means.
        Word::Other(_) => since,
    }
}

fn why(reason: StaleReason, stale: &StaleStatus, pod: &PodStatus) -> String {
    let container = stale.container.as_deref().unwrap_or_default();
    let volume = pod.volumes.iter().find(|volume| stale.volume.as_ref() == Some(&volume.name));
    match reason {
        StaleReason::Waiting => match &pod.not_nudged {
            Some(why) => format!("the kubelet hasn't published it yet, and isn't nudged: {why}"),
            None => "the kubelet hasn't published it yet".to_owned(),
        },
        StaleReason::Undelivered if volume.is_some_and(|volume| volume.generation.is_none()) => format!(
            "container {container} runs, as its pod's status says, and no ..data was found in the directory of the volume \
             below that of pod {}",
            pod.uid.as_str()
        ),
        StaleReason::Undelivered => match undelivered(container, pod) {
            Some(why) => format!("container {container} wasn't told ({why})"),
            None => format!("container {container} wasn't told"),
        },
        StaleReason::Suspended => {
            format!("it is kept from container {container}, as a problem of the pod says")
        }
        StaleReason::SubPath => format!("container {container} mounts it by subPath: restart it"),
        StaleReason::Environment => format!("container {container} has it in its environment: restart it"),
        StaleReason::Immutable => {
            "the object was immutable and made anew: the kubelet doesn't look at it".to_owned()
        }
        StaleReason::Orphaned => format!("container {container} sees the volume of before: restart it"),
    }
}

/// What is known of why a container wasn't told.
fn undelivered<'a>(container: &str, pod: &'a PodStatus) -> Option<&'a str> {
    let told = pod.containers.iter().find(|known| *known.name == *container)?;
    told.missing.as_deref().or_else(|| told.last_outcome.as_ref().map(Word::as_str))
}

fn seconds(age: Duration) -> String {
    let seconds = age.as_secs_f64();
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_volume_has_a_line_that_says_where_its_change_is() {
        let text = r#"{"apiVersion": "status.reloadlet.io/v1",
            "agent": {"version": "1", "lacks": [], "requests": {}, "watches": [
                {"resource": "pods", "up": true, "lastContactSecondsAgo": 1.0},
                {"resource": "configmaps", "up": true, "lastContactSecondsAgo": 1.0}
            ]}, "pods": [{
            "namespace": "shop", "name": "web", "uid": "u", "problems": [],
            "volumes": [
                {"name": "config", "kind": "configmap", "generation": "..1", "settledSecondsAgo": 1.0,
                 "wanted": [{"kind": "configmap", "name": "web", "version": "12"}],
                 "onDisk": [{"kind": "configmap", "name": "web", "version": "11"}]},
                {"name": "tls", "kind": "secret", "generation": "..2", "settledSecondsAgo": 1.0,
                 "wanted": [], "onDisk": []}
            ],
            "containers": [{
                "name": "app", "signal": "SIGHUP", "pids": [7], "missing": null, "held": false,
                "lastOutcome": null, "lastSecondsAgo": null, "volumes": [
                    {"name": "config", "handled": "..1", "holds": "..1", "waiting": null,
                     "delivered": [{"kind": "configmap", "name": "web", "version": "11"}]},
                    {"name": "tls", "handled": "..2", "holds": "..2", "waiting": null, "delivered": []}
                ]
            }],
            "stale": [
                {"reason": "waiting", "seconds": 12.3, "volume": "config", "container": null, "object": null},
                {"reason": "env", "seconds": 600.0, "volume": null, "container": "app",
                 "object": {"kind": "configmap", "name": "levels"}}
            ]
        }, {
            "namespace": "shop", "name": "slow", "uid": "w", "problems": [], "containers": [],
            "volumes": [{"name": "config", "kind": "configmap", "generation": "..1", "settledSecondsAgo": 1.0,
                 "wanted": [{"kind": "configmap", "name": "web", "version": "12"}], "onDisk": []}],
            "stale": [{"reason": "waiting", "seconds": 5.0, "volume": "config", "container": null, "object": null}],
            "notNudged": "the kubelet is like that"
        }, {
            "namespace": "shop", "name": "bad", "uid": "v", "volumes": [], "containers": [], "stale": [],
            "problems": [{"kind": "bad_value", "sentence": "reloadlet.io/signal is \"x\""}]
        }]}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        let expected = "\
AGENT  lacks nothing, and watches pods, ConfigMaps

NAMESPACE  POD   VOLUME  WANTED  ON DISK  DELIVERED   STATE
shop       web   config  web@12  web@11   app:web@11  waiting for 12 s: the kubelet hasn't published it yet
shop       web   tls     -       ..2      app:..2     not measured
shop       web   -       levels  -        -           env for 10 min: container app has it in its environment: restart it
shop       slow  config  web@12  ..1      -           waiting for 5 s: the kubelet hasn't published it yet, and isn't nudged: the kubelet is like that
shop       bad   -       -       -        -           problem: reloadlet.io/signal is \"x\"
";
        assert_eq!(table(&document), expected);
    }

    #[test]
    fn a_word_that_only_a_later_agent_knows_is_shown_as_it_is() {
        let text = r#"{"apiVersion": "status.reloadlet.io/v1", "node": "node-1", "region": {"new": true},
            "time": "2026-11-21T05:56:44.000Z",
            "agent": {"version": "2", "lacks": [], "requests": {"200": 7, "6xx": 1}, "watches": [
                {"resource": "trustbundles", "up": true, "lastContactSecondsAgo": 1.0}
            ]}, "pods": [{
            "namespace": "shop", "name": "web", "uid": "u", "notNudged": null,
            "problems": [{"kind": "bad_weather", "sentence": "It rains.", "severity": "low"}],
            "volumes": [{"name": "certs", "kind": "csi", "generation": "..1", "settledSecondsAgo": 1.0,
                "wanted": [{"kind": "trustbundle", "name": "ca", "version": "12"}], "onDisk": []}],
            "containers": [{
                "name": "app", "signal": "SIGNEW", "pids": [7], "missing": null, "held": false,
                "lastOutcome": "postponed", "lastSecondsAgo": 2.5, "volumes": [
                    {"name": "certs", "handled": "..1", "holds": "..1", "waiting": null, "delivered": []}
                ]
            }],
            "stale": [
                {"reason": "quarantined", "seconds": 12.3, "volume": "certs", "container": "app", "object": null},
                {"reason": "undelivered", "seconds": 5.0, "volume": null, "container": "app",
                 "object": {"kind": "trustbundle", "name": "ca"}}
            ]
        }]}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        let expected = "\
AGENT  lacks nothing, and watches trustbundles

NAMESPACE  POD  VOLUME  WANTED  ON DISK  DELIVERED  STATE
shop       web  -       -       -        -          problem: It rains.
shop       web  certs   ca@12   ..1      app:..1    quarantined for 12 s
shop       web  -       ca      -        -          undelivered for 5 s: container app wasn't told (postponed)
";
        assert_eq!(table(&document), expected);
        let again: serde_json::Value = serde_json::to_value(&document).unwrap();
        for (at, word) in [
            ("/pods/0/problems/0/kind", "bad_weather"),
            ("/pods/0/volumes/0/kind", "csi"),
            ("/pods/0/containers/0/lastOutcome", "postponed"),
            ("/pods/0/stale/0/reason", "quarantined"),
        ] {
            assert_eq!(again.pointer(at), Some(&word.into()), "{at}");
        }
        assert_eq!(again["agent"]["requests"]["6xx"], 1);
    }

    #[test]
    fn only_what_is_known_to_be_unread_or_not_there_isnt_up_to_date() {
        let pod = |more: &str, app: &str, stale: &str, volume: &str| {
            format!(
                r#"{{"namespace": "shop", "name": "web", "uid": "u-1", "notNudged": null, "problems": [], {more}
                "volumes": [{{"name": "config", "kind": "configmap", "settledSecondsAgo": 1.0, {volume}}}],
                "containers": [{{"name": "app", "signal": "SIGHUP", "pids": [7], "missing": null, "held": false,
                    "lastOutcome": "failed", "lastSecondsAgo": 1.0, {app}
                    "volumes": [{{"name": "config", "handled": "..2", "holds": null, "waiting": null, "delivered": []}}]}}],
                "stale": [{stale}]}}"#
            )
        };
        let here = r#""generation": "..2", "wanted": [{"kind": "configmap", "name": "web", "version": "12"}], "onDisk": []"#;
        let gone = here.replace(r#""12""#, "null");
        let nowhere = r#""generation": null, "wanted": [], "onDisk": []"#;
        let undelivered = r#"{"reason": "undelivered", "seconds": 5.0, "volume": "config", "container": "app", "object": null}"#;
        let absent =
            r#""absent": [{"container": "app", "object": {"kind": "configmap", "name": "levels"}}],"#;
        for (pod, state) in [
            (pod("", "", "", here), "app:-      up to date\n"),
            (
                pod("", r#""unread": {"state": "not_read", "deliveries": 1}, "toldAgain": true,"#, "", here),
                "told, not read: container app was told twice and opened none of the new files\n",
            ),
            (
                pod("", r#""unread": {"state": "never_read", "deliveries": 3},"#, "", here),
                "told 3 times, never read: container app was never seen to open a new file\n",
            ),
            (pod("", r#""toldAgain": true,"#, "", here), "up to date: container app was told twice\n"),
            (
                pod("", "", "", &gone),
                "gone: configmap web isn't there, and the kubelet leaves the volume as it is\n",
            ),
            (
                pod(absent, "", "", here),
                "gone: configmap levels isn't there, and container app keeps what it took at its start\n",
            ),
            (
                pod("", "", undelivered, nowhere),
                "undelivered for 5 s: container app runs, as its pod's status says, and no ..data was found in the \
                 directory of the volume below that of pod u-1\n",
            ),
        ] {
            let text = format!(
                r#"{{"apiVersion": "status.reloadlet.io/v1", "pods": [{pod}],
                "agent": {{"version": "1", "requests": {{}}, "watches": [], "lacks": []}}}}"#
            );
            let document: Document = serde_json::from_str(&text).unwrap();
            let table = table(&document);
            assert!(table.contains(state), "{state}: {table}");
        }
    }

    #[test]
    fn a_container_whose_delivery_failed_is_shown_with_what_it_holds() {
        let app = |name: &str, told: &str| {
            format!(
                r#"{{"name": "{name}", "signal": "SIGHUP", "pids": [7], "missing": null, "held": false,
                "lastOutcome": "failed", "lastSecondsAgo": 1.0,
                "volumes": [{{"name": "config", "handled": "..2", "waiting": null, {told}}}]}}"#
            )
        };
        let web = |version| format!(r#"[{{"kind": "configmap", "name": "web", "version": "{version}"}}]"#);
        let apps = [
            app("app", &format!(r#""holds": "..1", "delivered": {}"#, web(11))),
            app("cron", r#""holds": "..1", "delivered": []"#),
            app("new", r#""holds": null, "delivered": []"#),
        ];
        let text = format!(
            r#"{{"apiVersion": "status.reloadlet.io/v1",
            "agent": {{"version": "1", "requests": {{}}, "watches": [], "lacks": []}}, "pods": [{{
            "namespace": "shop", "name": "web", "uid": "u", "problems": [], "containers": [{}],
            "volumes": [{{"name": "config", "kind": "configmap", "generation": "..2", "settledSecondsAgo": 1.0,
                "wanted": {new}, "onDisk": {new}}}],
            "stale": [{{"reason": "undelivered", "seconds": 5.0, "volume": "config", "container": "app"}}]}}]}}"#,
            apps.join(","),
            new = web(12)
        );
        let document: Document = serde_json::from_str(&text).unwrap();
        let row = "web@12  web@12   app:web@11 cron:..1 new:-  undelivered for 5 s: container app wasn't \
                   told (failed)\n";
        let table = table(&document);
        assert!(table.contains(row), "{table}");
    }

    #[test]
    fn what_the_agent_lacks_comes_first_one_line_each() {
        let text = r#"{"apiVersion": "status.reloadlet.io/v1", "pods": [],
            "agent": {"version": "1", "requests": {}, "watches": [], "lacks": [
                {"what": "watch_pods", "sentence": "No word of pods for 312 s."},
                {"what": "journal", "sentence": "No journal."}
            ]}}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        let expected = "\
AGENT  No word of pods for 312 s.
AGENT  No journal.

NAMESPACE  POD  VOLUME  WANTED  ON DISK  DELIVERED  STATE
";
        assert_eq!(table(&document), expected);
    }
}
