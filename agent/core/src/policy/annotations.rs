//! A pod's annotations, parsed once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use crate::model::mark::Mark;
use crate::model::means::Scheme;
use crate::model::names::Name;
use crate::model::pod::{AnnotationValue, Annotations, PodSpec};
use crate::model::signal::{self, SignalChoice};
use crate::policy::duration;
use crate::policy::files::Globs;
use crate::policy::problem::{Problem, ProblemKind, quoted, unquoted};
use crate::policy::request::{self, Asked};

mod means;

/// What reloadlet's keys start with.
pub const PREFIX: &str = "reloadlet.io/";
/// What the keys for one container start with; the container's name follows.
pub const CONTAINER_SIGNAL_PREFIX: &str = "signal.reloadlet.io/";
/// The signal to send, or `none`.
pub const SIGNAL: &str = "reloadlet.io/signal";
/// The container to tell.
pub const CONTAINER: &str = "reloadlet.io/container";
/// The process to tell.
pub const PROCESS: &str = "reloadlet.io/process";
/// The volumes that count.
pub const VOLUMES: &str = "reloadlet.io/volumes";
/// The files that count.
pub const KEYS: &str = "reloadlet.io/keys";
/// The quiet that a reload waits for.
pub const DEBOUNCE: &str = "reloadlet.io/debounce";
/// The least time between two reloads.
pub const MIN_INTERVAL: &str = "reloadlet.io/min-interval";
/// The range of which each pod waits its own share.
pub const SPLAY: &str = "reloadlet.io/splay";
/// The verify window.
pub const VERIFY: &str = "reloadlet.io/verify";
/// What to do about a process that doesn't handle the signal.
pub const UNHANDLED: &str = "reloadlet.io/unhandled";
/// Whether to have the kubelet publish at once.
pub const ACCELERATE: &str = "reloadlet.io/accelerate";
/// Whether a container is told once more of what it didn't read.
pub const RETELL: &str = "reloadlet.io/retell";
/// A request instead of a signal.
pub const HTTP: &str = "reloadlet.io/http";
/// How long the request may take.
pub const HTTP_TIMEOUT: &str = "reloadlet.io/http-timeout";
/// Whether it is made by TLS.
pub const HTTP_SCHEME: &str = "reloadlet.io/http-scheme";
/// Whether to roll the workload where a change can't be told in place.
pub const ROLLOUT: &str = "reloadlet.io/rollout";
/// In which order workloads that share an object are rolled: a whole number, the lowest first.
pub const WAVE: &str = "reloadlet.io/wave";
/// When a workload may be rolled.
pub const WINDOW: &str = "reloadlet.io/window";
/// Written by the controller on a workload's template: which roll was the last one.
pub const ROLLED: &str = "reloadlet.io/rolled";
/// Written by the controller on a pod: which of its containers are to be restarted in place ([`crate::model::restart::Grant`]).
pub const RESTART: &str = "reloadlet.io/restart";
/// On a ConfigMap or a Secret, not on a pod: whether it triggers nothing.
pub const IGNORE: &str = "reloadlet.io/ignore";
/// Written by the agent itself.
pub const OBSERVED: &str = "reloadlet.io/observed";
/// kubectl's key for the container that is meant when none is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Whether the annotation with this key is read; a pod is decoded without the others. What the agent and the controller write
/// themselves changes nothing of what the pod asks for: a grant is kept apart from the others.
pub fn is_relevant(key: &str) -> bool {
    (key.starts_with(PREFIX) && ![OBSERVED, ROLLED, RESTART].contains(&key))
        || key.starts_with(CONTAINER_SIGNAL_PREFIX)
        || key == DEFAULT_CONTAINER
}

/// What [`ROLLOUT`] may be.
pub(crate) const ROLLOUT_ALLOWED: &str = "\"false\", \"true\", \"in-place\" or \"in-place,rollout\"";
/// The values of [`ROLLOUT`] that let the pod's containers be restarted in place.
const IN_PLACE: [&str; 2] = ["in-place", "in-place,rollout"];

/// Whether these annotations of a pod let its containers be restarted in place.
pub fn lets_restart(annotations: &Annotations) -> bool {
    annotations.get(ROLLOUT).and_then(text_of).is_some_and(is_in_place)
}

/// Whether this value of [`ROLLOUT`] lets a pod's containers be restarted in place.
pub fn is_in_place(text: &str) -> bool {
    IN_PLACE.contains(&text)
}

/// Whether these annotations of a pod say that what changes is to reach it, whatever that takes.
pub(crate) fn wants_all(annotations: &Annotations) -> bool {
    annotations.get(ROLLOUT).and_then(text_of).is_some_and(|text| text == "true" || is_in_place(text))
}

/// Whether the annotation with this key asks for something: a pod without any such is left alone.
pub fn asks(key: &str) -> bool {
    is_relevant(key) && key != DEFAULT_CONTAINER
}

impl PodSpec {
    /// Whether it asks for anything: nothing needs to be known of the others.
    pub fn asks(&self) -> bool {
        self.excess.is_some() || self.annotations.keys().any(|key| asks(key))
    }

    /// What stands in the journal for the annotations that ask for something.
    pub fn mark(&self) -> Mark {
        Mark::of(&self.annotations, asks)
    }

    /// Whether this mark stands for its annotations.
    pub fn is_marked(&self, mark: Mark) -> bool {
        mark.is_of(&self.annotations, asks)
    }
}

/// What a pod's annotations ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPolicy {
    /// `reloadlet.io/signal`.
    pub signal: Option<SignalChoice>,
    /// `reloadlet.io/container`.
    pub container: Option<Name>,
    /// `signal.reloadlet.io/<container>`, by container.
    pub per_container: BTreeMap<Name, SignalChoice>,
    /// `kubectl.kubernetes.io/default-container`.
    pub default_container: Option<Name>,
    /// `reloadlet.io/process`.
    pub process: Option<Name>,
    /// `reloadlet.io/volumes`; never empty.
    pub volumes: Option<Vec<Name>>,
    /// `reloadlet.io/keys`.
    pub keys: Option<Globs>,
    /// `reloadlet.io/debounce`; its default depends on the volumes.
    pub debounce: Option<Duration>,
    /// `reloadlet.io/min-interval`.
    pub min_interval: Duration,
    /// `reloadlet.io/splay`.
    pub splay: Duration,
    /// `reloadlet.io/verify`.
    pub verify: Duration,
    /// `reloadlet.io/unhandled` is `send`.
    pub send_unhandled: bool,
    /// `reloadlet.io/accelerate` is `true`.
    pub accelerate: bool,
    /// `reloadlet.io/retell` isn't `false`.
    pub retell: bool,
    /// `reloadlet.io/http`.
    pub http: Option<Asked>,
    /// `reloadlet.io/http-timeout`.
    pub http_timeout: Duration,
    /// `reloadlet.io/http-scheme`.
    pub http_scheme: Scheme,
}

impl Default for PodPolicy {
    fn default() -> Self {
        Self {
            signal: None,
            container: None,
            per_container: BTreeMap::new(),
            default_container: None,
            process: None,
            volumes: None,
            keys: None,
            debounce: None,
            min_interval: Duration::ZERO,
            splay: Duration::ZERO,
            verify: Duration::from_secs(10),
            send_unhandled: false,
            accelerate: false,
            retell: true,
            http: None,
            http_timeout: request::TIMEOUT,
            http_scheme: Scheme::Http,
        }
    }
}

/// The keys that this version acts on.
const KNOWN: [&str; 18] = [
    SIGNAL,
    CONTAINER,
    PROCESS,
    VOLUMES,
    KEYS,
    DEBOUNCE,
    MIN_INTERVAL,
    SPLAY,
    VERIFY,
    UNHANDLED,
    ACCELERATE,
    RETELL,
    HTTP,
    HTTP_TIMEOUT,
    HTTP_SCHEME,
    ROLLOUT,
    WAVE,
    WINDOW,
];

/// The most volumes that a pod may name: what is looked up for each of them stays bounded.
pub const MOST_VOLUMES: usize = 256;
/// The longest name of a process.
pub const LONGEST_PROCESS: usize = 255;

/// What the annotations ask for, and everything that is wrong with them; `None` where they ask for nothing.
pub fn policy(annotations: &Annotations) -> (Option<PodPolicy>, Vec<Problem>) {
    let mut policy = PodPolicy::default();
    let mut problems = Vec::new();
    let mut asked = false;
    for (key, value) in annotations.iter().filter(|(key, _)| is_relevant(key)) {
        if key == DEFAULT_CONTAINER {
            // Not one of our keys, so no value of it is a problem.
            policy.default_container = text_of(value).map(Name::from);
            continue;
        }
        match policy.read(key, value) {
            Ok(Read::Asks) => asked = true,
            Ok(Read::AsksNothing) => {}
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(policy.without_means(annotations));
    problems.extend(policy.against_http(annotations));
    // A roll's debounce asks agents for nothing.
    let some = (asked && means::have_means(annotations)) || !problems.is_empty();
    (some.then_some(policy), problems)
}

/// What an annotation without a problem comes to.
enum Read {
    /// It asks for something.
    Asks,
    /// It says what holds without it.
    AsksNothing,
}

impl PodPolicy {
    /// Takes in one annotation of ours.
    fn read(&mut self, key: &str, value: &AnnotationValue) -> Result<Read, Problem> {
        let container = key.strip_prefix(CONTAINER_SIGNAL_PREFIX);
        if container == Some("") || (container.is_none() && !KNOWN.contains(&key)) {
            return Err(unknown_key(key, value));
        }
        let text = text_of(value).ok_or_else(|| not_text(key, value))?;
        if let Some(container) = container {
            self.per_container.insert(container.into(), signal(key, text)?);
            return Ok(Read::Asks);
        }
        match key {
            SIGNAL => self.signal = Some(signal(key, text)?),
            CONTAINER if text.is_empty() => return Err(bad(key, text, "the name of one container")),
            CONTAINER => self.container = Some(text.into()),
            PROCESS => self.process = Some(process(key, text)?),
            VOLUMES => self.volumes = Some(volumes(key, text)?),
            KEYS => self.keys = Some(globs(key, text)?),
            DEBOUNCE => self.debounce = Some(duration(key, text)?),
            MIN_INTERVAL => self.min_interval = duration(key, text)?,
            SPLAY => self.splay = duration(key, text)?,
            VERIFY => self.verify = duration(key, text)?,
            UNHANDLED => self.send_unhandled = one_of(key, text, "refuse", "send")?,
            ACCELERATE => {
                self.accelerate = one_of(key, text, "false", "true")?;
                return Ok(if self.accelerate { Read::Asks } else { Read::AsksNothing });
            }
            RETELL => {
                self.retell = one_of(key, text, "false", "true")?;
                return Ok(if self.retell { Read::AsksNothing } else { Read::Asks });
            }
            HTTP => self.http = Some(Asked::parse(text).ok_or_else(|| bad(key, text, request::ALLOWED))?),
            HTTP_TIMEOUT => self.http_timeout = duration(key, text)?,
            HTTP_SCHEME => {
                let is_https = one_of(key, text, "http", "https")?;
                self.http_scheme = if is_https { Scheme::Https } else { Scheme::Http };
            }
            ROLLOUT => return rollout(text),
            // The controller's matter, which reads them on the workload as well.
            _ => return Ok(Read::AsksNothing),
        }
        if key == HTTP_TIMEOUT
            && (self.http_timeout.is_zero() || self.http_timeout > request::LONGEST_TIMEOUT)
        {
            return Err(bad(key, text, "longer than 0s and at most 60s"));
        }
        if key == VERIFY && self.verify.is_zero() {
            return Err(bad(key, text, "longer than 0s"));
        }
        Ok(Read::Asks)
    }
}

/// Whether the annotation with this key counts on a workload as well as on its template.
pub fn is_of_workloads(key: &str) -> bool {
    [ROLLOUT, WAVE, WINDOW].contains(&key)
}

/// Whether pods can have the annotation with this key.
pub fn is_of_pods(key: &str) -> bool {
    KNOWN.contains(&key) || key.starts_with(CONTAINER_SIGNAL_PREFIX)
}

fn text_of(value: &AnnotationValue) -> Option<&str> {
    match value {
        AnnotationValue::Text(text) => Some(text),
        AnnotationValue::NotText(_) => None,
    }
}

fn shown(value: &AnnotationValue) -> String {
    match value {
        AnnotationValue::Text(text) => quoted(text),
        AnnotationValue::NotText(raw) => unquoted(raw),
    }
}

fn bad(key: &str, text: &str, allowed: impl Display) -> Problem {
    let sentence = format!("{} is {}, but must be {allowed}", shown_key(key), quoted(text));
    Problem::new(ProblemKind::BadValue, sentence)
}

fn not_text(key: &str, value: &AnnotationValue) -> Problem {
    let sentence = format!("{} is {}, but must be a string: put it in quotes", shown_key(key), shown(value));
    Problem::new(ProblemKind::NotText, sentence)
}

fn unknown_key(key: &str, value: &AnnotationValue) -> Problem {
    let sentence = if key == CONTAINER_SIGNAL_PREFIX {
        format!("{key} is {}, but the key must end in the name of a container", shown(value))
    } else {
        let name = key.strip_prefix(PREFIX).unwrap_or(key);
        let names = KNOWN.map(|known| known.strip_prefix(PREFIX).unwrap_or(known));
        let nearest = names.iter().map(|known| (distance(name, known), known)).min();
        let hint = nearest
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, near)| format!(" ({near} is the nearest)"));
        format!(
            "{} is {}, but no such key exists{}: after {PREFIX} there must be one of {}",
            shown_key(key),
            shown(value),
            hint.unwrap_or_default(),
            names.join(", ")
        )
    };
    Problem::new(ProblemKind::UnknownKey, sentence)
}

/// The key as a sentence shows it: the container's name in it comes from outside.
fn shown_key(key: &str) -> String {
    match key.split_once('/') {
        Some((prefix, name)) => format!("{prefix}/{}", unquoted(name)),
        None => unquoted(key),
    }
}

/// How many characters have to change to make one out of the other (Levenshtein).
fn distance(written: &str, known: &str) -> usize {
    if written.len() > 2 * known.len() {
        return written.len();
    }
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (i, a) in written.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(known.bytes()) {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Whether the workload is rolled, which asks the pods' agents for nothing.
fn rollout(text: &str) -> Result<Read, Problem> {
    if ["false", "true"].contains(&text) || is_in_place(text) {
        Ok(Read::AsksNothing)
    } else {
        Err(bad(ROLLOUT, text, ROLLOUT_ALLOWED))
    }
}

/// Whether the text is the second of two words.
fn one_of(key: &str, text: &str, first: &str, second: &str) -> Result<bool, Problem> {
    if text == first || text == second {
        Ok(text == second)
    } else {
        Err(bad(key, text, format_args!("\"{first}\" or \"{second}\"")))
    }
}

fn signal(key: &str, text: &str) -> Result<SignalChoice, Problem> {
    SignalChoice::parse(text)
        .map_err(|_not_allowed| bad(key, text, format_args!("{}, or none to measure only", signal::ALLOWED)))
}

fn duration(key: &str, text: &str) -> Result<Duration, Problem> {
    duration::parse(text).map_err(|allowed| bad(key, text, allowed))
}

/// The whole name is kept: the kernel's comm holds 15 bytes of it, `argv[0]` all of them.
fn process(key: &str, text: &str) -> Result<Name, Problem> {
    if text.is_empty() || text.len() > LONGEST_PROCESS || text.contains('/') {
        return Err(bad(key, text, format_args!("a process name of 1 to {LONGEST_PROCESS} bytes without /")));
    }
    Ok(text.into())
}

fn volumes(key: &str, text: &str) -> Result<Vec<Name>, Problem> {
    let allowed = "a comma list of volume names";
    let entries =
        entries(text).ok_or_else(|| bad(key, text, format_args!("{allowed}, none of them empty")))?;
    let names: BTreeSet<&str> = entries.into_iter().collect();
    if names.len() > MOST_VOLUMES {
        return Err(bad(key, text, format_args!("{allowed}, at most {MOST_VOLUMES}")));
    }
    Ok(names.into_iter().map(Name::from).collect())
}

fn globs(key: &str, text: &str) -> Result<Globs, Problem> {
    let entries =
        entries(text).ok_or_else(|| bad(key, text, "a comma list of globs on paths, none of them empty"))?;
    Globs::new(entries).map_err(|allowed| bad(key, text, allowed))
}

/// The entries of a comma list, with spaces around them; `None` if one is empty.
fn entries(text: &str) -> Option<Vec<&str>> {
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    (!entries.iter().any(|entry| entry.is_empty())).then_some(entries)
}

#[cfg(test)]
mod tests;
