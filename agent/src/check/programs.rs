//! What can't be right about the programs that are told.

use std::collections::BTreeSet;

use reloadlet_core::kernel::program::Nature;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::{AnnotationValue, ContainerKind, PodSpec, Restarts};
use reloadlet_core::model::shown::quoted;
use reloadlet_core::model::signal::Signal;
use reloadlet_core::policy::annotations::{self, PROCESS, UNHANDLED};
use reloadlet_core::policy::references::{Effect, Reference, Why};

use super::codes::Code;
use super::finding::{Finding, Level};

/// What is found about the programs of a workload.
pub(super) fn of(spec: &PodSpec, references: &[Reference]) -> Vec<Finding> {
    let told = references.iter().filter_map(|reference| {
        let container = reference.container.as_ref()?;
        match &reference.effect {
            Effect::Signal(signal) => Some((container, Some(*signal))),
            Effect::Http(_) => Some((container, None)),
            Effect::Itself | Effect::Roll | Effect::Restart | Effect::Never => None,
        }
    });
    let told: BTreeSet<(&Name, Option<Signal>)> = told.collect();
    let supervised = references.iter().filter(|reference| reference.why == Why::Supervisor);
    let supervised: BTreeSet<&Name> =
        supervised.filter_map(|reference| reference.container.as_ref()).collect();
    let mut findings: Vec<Finding> =
        supervised.into_iter().filter_map(|container| supervisor(spec, container)).collect();
    findings.extend((spec.is_windows && spec.asks()).then(elsewhere));
    findings.extend(spec.runtime_class.as_ref().filter(|_| !told.is_empty()).map(hidden));
    for (container, signal) in told {
        findings.extend(signal.and_then(|signal| harmful(spec, container, signal)));
        let ends = signal.filter(|signal| signal.is_to_end());
        findings.extend(ends.map(|signal| ended(spec, container, signal)));
        findings.extend(signal.and_then(|_| misnamed(spec, container)));
    }
    findings
}

/// A container in which a supervisor stands in the place of the program.
fn supervisor(spec: &PodSpec, container: &Name) -> Option<Finding> {
    let runs = spec.containers.iter().find(|known| known.name == *container)?.supervisor.as_ref()?;
    let sentence = format!(
        "container {} isn't told of changes: {} supervises other programs and takes signals as orders to itself",
        quoted(container),
        quoted(runs)
    );
    let remedy = format!("name the program that is to be told in {PROCESS}");
    Some(Finding::new(Code::Supervisor, Level::Error, sentence, Some(remedy)))
}

/// A pod on a node on which no agent runs.
fn elsewhere() -> Finding {
    let sentence =
        String::from("spec.os.name is windows, and agents run on Linux only: nothing in the pod is told");
    Finding::new(Code::Os, Level::Error, sentence, None)
}

/// A pod whose processes may be where no agent sees them.
fn hidden(class: &Name) -> Finding {
    let sentence = format!(
        "runtimeClassName is {}: of a runtime that keeps a pod's processes for itself, as gVisor and Kata Containers do, the agent sees \
         none, and nothing is told",
        quoted(class)
    );
    Finding::new(Code::RuntimeClass, Level::Hint, sentence, None)
}

/// A container whose program isn't sent the signal, as what runs it takes that for itself.
fn harmful(spec: &PodSpec, container: &Name, signal: Signal) -> Option<Finding> {
    let runtime = spec.containers.iter().find(|known| known.name == *container)?.runtime.as_deref()?;
    let harm = Nature::of_thread(runtime).harm(signal)?;
    let is_sent = annotations::policy(&spec.annotations).0.is_some_and(|policy| policy.send_unhandled);
    if is_sent || spec.annotations.contains_key(PROCESS) {
        return None;
    }
    let sentence = format!(
        "container {} runs {}, and at {signal} {} {} unless the program has taken the signal for itself: it isn't sent",
        quoted(container),
        quoted(runtime),
        harm.runtime,
        harm.does
    );
    let remedy = format!("choose another signal, or have it sent all the same by {UNHANDLED}");
    Some(Finding::new(Code::Harmful, Level::Warning, sentence, Some(remedy)))
}

/// A container whose program is told to end.
fn ended(spec: &PodSpec, container: &Name, signal: Signal) -> Finding {
    let of = spec.containers.iter().find(|known| known.name == *container);
    let restarts = of.map_or(spec.restarts, |of| match of.kind {
        ContainerKind::Sidecar => Restarts::Always,
        ContainerKind::Regular | ContainerKind::Init | ContainerKind::Ephemeral => {
            of.restarts.unwrap_or(spec.restarts)
        }
    });
    if of.is_some_and(|of| of.has_restart_rules) {
        let sentence = format!(
            "container {} is told by {signal}, which ends most programs: its restartPolicyRules decide whether it is started again",
            quoted(container)
        );
        return Finding::new(Code::EndingSignal, Level::Hint, sentence, None);
    }
    let is_spread = annotations::policy(&spec.annotations).0.is_some_and(|policy| !policy.splay.is_zero());
    let container = quoted(container);
    let (code, level, then) = match restarts {
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
            if is_spread {
                "the container is started again"
            } else {
                "the container is started again, and all replicas may end together"
            },
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
    // A shell's command may start it, a wrapper its arguments, and what a variable holds isn't known.
    if command.iter().any(|word| word.contains(process.as_str()) || word.contains("$(")) {
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
