//! By what a pod is told, as its annotations say it: a signal or a request, and nothing that says nothing beside it.

use crate::model::pod::Annotations;
use crate::model::signal;
use crate::policy::annotations::{
    ACCELERATE, CONTAINER, CONTAINER_SIGNAL_PREFIX, DEBOUNCE, HTTP, HTTP_SCHEME, HTTP_TIMEOUT, KNOWN,
    PROCESS, PodPolicy, RETELL, ROLLOUT, SIGNAL, UNHANDLED, WAVE, WINDOW, lets_restart, text_of,
};
use crate::policy::problem::{Problem, ProblemKind, quoted};

/// Whether they say by what a pod is told.
pub(super) fn have_means(annotations: &Annotations) -> bool {
    let is_one = |key: &String| [SIGNAL, HTTP].contains(&&**key) || key.starts_with(CONTAINER_SIGNAL_PREFIX);
    annotations.keys().any(is_one)
}

impl PodPolicy {
    /// What can't stand beside a request, or says nothing without one.
    pub(super) fn against_http(&self, annotations: &Annotations) -> Vec<Problem> {
        let has = |key: &str| annotations.contains_key(key);
        let mut sentences = Vec::new();
        if !has(HTTP) {
            let idle: Vec<&str> = [HTTP_TIMEOUT, HTTP_SCHEME].into_iter().filter(|key| has(key)).collect();
            if !idle.is_empty() && (has(SIGNAL) || !self.per_container.is_empty()) {
                sentences.push(format!("nothing comes of {} without {HTTP}", idle.join(" and ")));
            }
        } else if has(SIGNAL) {
            sentences.push(format!(
                "{SIGNAL} and {HTTP} are both there, and a container is told by one of them: leave the other one out, or name the \
                 container that is to be sent a signal with {CONTAINER_SIGNAL_PREFIX}<container>"
            ));
        } else if self.per_container.is_empty() {
            let idle: Vec<&str> = [PROCESS, UNHANDLED].into_iter().filter(|key| has(key)).collect();
            if !idle.is_empty() {
                let keys = idle.join(" and ");
                sentences.push(format!(
                    "nothing comes of {keys} with {HTTP}: a request goes to a port, not to a process"
                ));
            }
        }
        let problem = |sentence| Problem::new(ProblemKind::NoSignal, sentence);
        sentences.into_iter().map(problem).collect()
    }

    /// The options that nothing comes of since there is neither a signal nor a request.
    pub(super) fn without_means(&self, annotations: &Annotations) -> Option<Problem> {
        // One with a bad value is one problem, not two.
        if annotations.contains_key(SIGNAL) || annotations.contains_key(HTTP) {
            return None;
        }
        if !annotations.keys().any(|key| key.starts_with(CONTAINER_SIGNAL_PREFIX)) {
            let is_rolled =
                annotations.get(ROLLOUT).and_then(text_of) == Some("true") || lets_restart(annotations);
            let says_something = |key: &str| match key {
                // The controller acts on them.
                ROLLOUT | WAVE | WINDOW => false,
                DEBOUNCE => !is_rolled,
                ACCELERATE => self.accelerate,
                RETELL => !self.retell,
                _ => true,
            };
            let asks = |key: &&str| annotations.contains_key(*key) && says_something(key);
            let options: Vec<&str> = KNOWN.into_iter().filter(asks).collect();
            return (!options.is_empty()).then(|| {
                let sentence = format!(
                    "nothing comes of {} without {SIGNAL}: it must be {}, or none to measure only; or without {HTTP}, \
                     which stands in its place",
                    options.join(", "),
                    signal::ALLOWED
                );
                Problem::new(ProblemKind::NoSignal, sentence)
            });
        }
        let container = self.container.as_ref().filter(|name| !self.per_container.contains_key(*name))?;
        let sentence = format!(
            "{CONTAINER} is {}, but there is nothing to tell it: give {SIGNAL}, {HTTP} or {CONTAINER_SIGNAL_PREFIX}<container>",
            quoted(container)
        );
        Some(Problem::new(ProblemKind::NoSignal, sentence))
    }
}
