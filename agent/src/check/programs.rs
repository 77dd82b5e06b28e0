//! What can't be right about the programs that are told.

use std::collections::BTreeSet;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::{AnnotationValue, PodSpec, Restarts};
use reloadlet_core::model::shown::quoted;
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::annotations::PROCESS;
use reloadlet_core::policy::references::{Effect, Reference};

use super::codes::Code;
use super::finding::{Finding, Level};

/// What is found about the programs of a workload.
pub(super) fn of(spec: &PodSpec, references: &[Reference]) -> Vec<Finding> {
    let told = references.iter().filter_map(|reference| {
        let container = reference.container.as_ref()?;
        match &reference.effect {
            Effect::Signal(signal) => Some((container, Some(*signal))),
            Effect::Http(_) => Some((container, None)),
            Effect::Itself | Effect::Roll | Effect::Never => None,
        }
    });
    let told: BTreeSet<(&Name, Option<Signal>)> = told.collect();
    let mut findings: Vec<Finding> = Vec::new();
    for (container, signal) in told {
        let ends = signal.filter(|signal| signal.is_to_end());
        findings.extend(ends.map(|signal| ended(spec, container, signal)));
        findings.extend(signal.and_then(|_| misnamed(spec, container)));
    }
    findings
}

/// A container whose program is told to end.
fn ended(spec: &PodSpec, container: &Name, signal: Signal) -> Finding {
    let container = quoted(container);
    let (code, level, then) = match spec.restarts {
        Restarts::Never => (
            Code::RestartPolicy,
            Level::Warning,
            "with restartPolicy Never the container isn't started again",
        ),
        Restarts::OnFailure => (
            Code::RestartPolicy,
            Level::Warning,
            "with restartPolicy OnFailure the container isn't started again if its program exits with 0",
        ),
        Restarts::Always => (
            Code::EndingSignal,
            Level::Hint,
            "the container is started again, and all replicas may end together",
        ),
    };
    let sentence = format!("container {container} is told by {signal}, which ends most programs: {then}");
    Finding::new(code, level, sentence, None)
}

/// A process that nothing is called which the manifest says of a container.
fn misnamed(spec: &PodSpec, container: &Name) -> Option<Finding> {
    let Some(AnnotationValue::Text(process)) = spec.annotations.get(PROCESS) else { return None };
    let command = &spec.containers.iter().find(|known| known.name == *container)?.command;
    let program = command.first()?;
    // A shell's command may start it, a wrapper its arguments.
    if command.iter().any(|word| word.contains(process.as_str())) {
        return None;
    }
    let sentence = format!(
        "{PROCESS} names {}, and nothing in the command of container {} is called so: it runs {}",
        quoted(process),
        quoted(container),
        quoted(program)
    );
    let remedy =
        String::from("name the process as the kernel does (comm), or as the last element of its argv[0]");
    Some(Finding::new(Code::ProcessName, Level::Hint, sentence, Some(remedy)))
}
