//! The status as a table: what the agent itself lacks, then one line for each volume of each pod, and one for whatever else
//! is stale.

use std::time::Duration;

use reloadlet_core::machine::status::{
    AbsentStatus, ContainerStatus, PodStatus, RestartStatus, StaleReason, StaleStatus, ToldStatus,
    VersionStatus, VolumeStatus,
};
use reloadlet_core::model::closed::Word;
use reloadlet_core::model::outcome::Unread;

use super::columns;
use super::document::{Agent, Document};
use super::watches::WatchStatus;

const HEAD: [&str; 7] = ["NAMESPACE", "POD", "VOLUME", "WANTED", "ON DISK", "DELIVERED", "STATE"];

/// The agent's lines and the table, with a line's end after each line.
pub(super) fn table(document: &Document) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for pod in &document.pods {
        rows.extend(rows_of(pod));
    }
    let mut text = agent(&document.agent);
    text.push('\n');
    columns::write(&mut text, &rows);
    text
}

/// What the agent lacks, one line each; without anything, one line that says so.
fn agent(agent: &Agent) -> String {
    if agent.lacks.is_empty() {
        let watches: Vec<&str> = agent.watches.iter().map(WatchStatus::written).collect();
        return match watches.as_slice() {
            [] => "AGENT  lacks nothing\n".to_owned(),
            watches => format!("AGENT  lacks nothing, and watches {}\n", watches.join(", ")),
        };
    }
    agent.lacks.iter().map(|lack| format!("AGENT  {}\n", lack.sentence)).collect()
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
    rows.extend(pod.restart.as_ref().map(|restart| row("-", nothing(), restart_text(restart))));
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

/// How far a restart in place is, or how it ended.
fn restart_text(restart: &RestartStatus) -> String {
    let names: Vec<&str> = restart.containers.iter().map(|name| &**name).collect();
    let (names, since) = (names.join(", "), seconds(restart.seconds_ago.0));
    match (&restart.waits_for, &restart.finding) {
        (Some(waits_for), _) => format!("restarts container {names} for {since}: waits for {waits_for}"),
        (None, Some(finding)) => format!("restart of container {names} {since} ago: {finding}"),
        (None, None) => format!("restart of container {names}"),
    }
}

/// What a container holds of a volume: `app:web@12`.
fn delivered(container: &ContainerStatus, volume: &VolumeStatus) -> Option<String> {
    let told = told(container, volume)?;
    Some(format!("{}:{}", container.name, written(&told.delivered, told.holds.as_deref())))
}

fn up_to_date(volume: &VolumeStatus, pod: &PodStatus) -> String {
    if volume.no_layout {
        return "not watched: nothing is seen in it that its CSI driver publishes as the kubelet does (..data)".to_owned();
    }
    let state = match (volume.wanted.is_empty(), volume.on_disk.is_empty()) {
        (true, _) => "not measured",
        // It wasn't read yet, or is a version that nobody has shown yet.
        (false, true) => "not known",
        (false, false) => "up to date",
    };
    let told = pod.containers.iter().filter(|container| told(container, volume).is_some());
    let missing = told.clone().filter_map(|container| {
        Some(format!("container {}: {}", container.name, container.missing.as_deref()?))
    });
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        return format!("{state}, and nobody to tell: {}", missing.join("; "));
    }
    let again: Vec<&str> =
        told.filter(|container| container.told_again).map(|container| &*container.name).collect();
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
    let told = told(container, volume)?;
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

fn told<'a>(container: &'a ContainerStatus, volume: &VolumeStatus) -> Option<&'a ToldStatus> {
    container.volumes.iter().find(|told| told.name == volume.name)
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
    let code = stale.code.as_ref().map_or_else(String::new, |code| format!(" [{code}]"));
    let since = format!("{} for {}{code}", stale.reason, seconds(stale.seconds.0));
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
        StaleReason::Undelivered => undelivered(container, stale.volume.as_deref(), pod),
        StaleReason::Suspended => {
            format!("it is kept from container {container}, as a problem of the pod says")
        }
        StaleReason::Files => {
            format!(
                "container {container} was started before, mounts it, and isn't told of changes: restart it"
            )
        }
        StaleReason::SubPath => format!("container {container} mounts it by subPath: restart it"),
        StaleReason::Unsure => format!(
            "container {container} took something of it at its start, and it was written since: whether the container holds something old \
             isn't known"
        ),
        StaleReason::Init => {
            format!("init container {container} took it, and isn't run again for a change: make the pod anew")
        }
        StaleReason::Environment => format!("container {container} has it in its environment: restart it"),
        StaleReason::Immutable => {
            "the object was immutable and made anew: the kubelet doesn't look at it".to_owned()
        }
        StaleReason::Orphaned => format!("container {container} sees the volume of before: restart it"),
    }
}

/// What is known of why a container wasn't told of a volume: nobody is there to be told, or how that ended.
fn undelivered(container: &str, volume: Option<&str>, pod: &PodStatus) -> String {
    let known = pod.containers.iter().find(|known| *known.name == *container);
    let told = known.and_then(|known| known.volumes.iter().find(|told| Some(&*told.name) == volume));
    let waits = told.is_some_and(|told| told.waiting.is_some());
    let ended = told.and_then(|told| told.outcome.as_ref()).filter(|_| !waits);
    // Early agents say only how the last reload of the container ended.
    let ended = ended.or_else(|| known?.last_outcome.as_ref().filter(|_| !waits));
    let answer = known.and_then(|known| known.last_answer.as_deref()).filter(|_| waits);
    let missing = known.and_then(|known| known.missing.as_deref());
    let why = missing.or(answer).or_else(|| ended.map(Word::as_str));
    let sentence = if waits { "hasn't been told yet" } else { "wasn't told" };
    why.map_or_else(
        || format!("container {container} {sentence}"),
        |why| format!("container {container} {sentence} ({why})"),
    )
}

fn seconds(age: Duration) -> String {
    let seconds = age.as_secs_f64();
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests;
