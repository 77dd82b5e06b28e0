//! Restarts in place: what a pod's annotation, spec and status let be done to its containers.

use std::time::Duration;

use crate::model::granted::{Given, Granted, Obstacle, Stop, Stopping};
use crate::model::pod::{Annotations, Container, ContainerKind, PodSpec, Restarts};
use crate::model::restart::Grant;
use crate::model::signal::Signal;
use crate::policy::annotations::lets_restart;

/// How long a container has to end where its pod doesn't say it (`terminationGracePeriodSeconds`).
const USUAL_GRACE: Duration = Duration::from_secs(30);
/// The shortest time that is waited for the end, and the longest.
const SHORTEST_GRACE: Duration = Duration::from_secs(1);
const LONGEST_GRACE: Duration = Duration::from_secs(60 * 60);

impl Given {
    /// What the text of the annotation comes to on a pod with these annotations and this spec. `stops` is what its status says of the
    /// containers' stop signals.
    pub fn of(
        text: &str,
        annotations: &Annotations,
        spec: &PodSpec,
        stops: impl Fn(&str) -> Option<Stop>,
    ) -> Self {
        if !lets_restart(annotations) {
            return Self::Ignored(
                "the pod's own reloadlet.io/rollout is neither in-place nor in-place,rollout",
            );
        }
        match Grant::parse(text) {
            Some(grant) => Self::Granted(Granted::new(grant, spec, stops)),
            None => Self::Ignored("it is no grant"),
        }
    }
}

impl Granted {
    /// A grant to a pod with this spec. `stops` is what its status says of the containers' stop signals.
    pub fn new(grant: Grant, spec: &PodSpec, stops: impl Fn(&str) -> Option<Stop>) -> Self {
        let grace = spec.grace.unwrap_or(USUAL_GRACE).clamp(SHORTEST_GRACE, LONGEST_GRACE);
        let each = grant.containers.iter().map(|(name, instance)| {
            let container = spec.containers.iter().find(|container| container.name == *name);
            let stop = match container {
                Some(container) => stop_of(container, spec.restarts, stops(name)),
                None => Err(Obstacle::NoContainer),
            };
            Stopping { name: name.clone(), instance: instance.clone(), stop }
        });
        Self { containers: each.collect(), grace, grant }
    }
}

/// What stands against ending a container with this spec, so that the kubelet starts it again. `of_pod` is the policy of its pod.
pub fn against(container: &Container, of_pod: Restarts) -> Option<Obstacle> {
    stop_of(container, of_pod, None).err()
}

/// By what a container is ended. What the status says is what the runtime sends, the image's own stop signal included.
fn stop_of(container: &Container, of_pod: Restarts, by_status: Option<Stop>) -> Result<Signal, Obstacle> {
    let starts_again = match container.kind {
        // A kubelet that is older than a container's own policy goes by its pod's.
        ContainerKind::Regular => {
            of_pod == Restarts::Always && container.restarts.is_none_or(|own| own == Restarts::Always)
        }
        ContainerKind::Sidecar => true,
        ContainerKind::Init | ContainerKind::Ephemeral => return Err(Obstacle::NotRunAgain),
    };
    if !starts_again || container.has_restart_rules {
        return Err(Obstacle::Policy);
    }
    if container.has_pre_stop {
        return Err(Obstacle::PreStop);
    }
    match by_status.or(container.stop) {
        None => Ok(Signal::TERM),
        Some(Stop::Signal(signal)) => Ok(signal),
        Some(Stop::Other) => Err(Obstacle::StopSignal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pod::AnnotationValue;
    use crate::policy::annotations::ROLLOUT;

    fn stop(container: Container, of_pod: Restarts, by_status: Option<&str>) -> Result<Signal, Obstacle> {
        let container = Container { name: "app".into(), ..container };
        let spec = PodSpec { containers: vec![container], restarts: of_pod, ..PodSpec::default() };
        let grant = Grant::parse("00ff 1800000000 app=aaaaaaaaaaaa").unwrap();
        Granted::new(grant, &spec, |_| by_status.map(Stop::parse)).containers.remove(0).stop
    }

    #[test]
    fn only_what_is_started_again_whenever_it_ends_is_ended() {
        let of = |kind, restarts, has_restart_rules| Container {
            kind,
            restarts,
            has_restart_rules,
            ..Container::default()
        };
        let (regular, always) = (ContainerKind::Regular, Some(Restarts::Always));
        let ok = Ok(Signal::TERM);
        let policy = Err(Obstacle::Policy);
        for (container, of_pod, expected) in [
            (of(regular, None, false), Restarts::Always, ok),
            (of(regular, None, false), Restarts::OnFailure, policy),
            (of(regular, None, false), Restarts::Never, policy),
            (of(regular, Some(Restarts::Never), false), Restarts::Always, policy),
            (of(regular, Some(Restarts::OnFailure), false), Restarts::Always, policy),
            (of(regular, always, false), Restarts::Always, ok),
            // An older kubelet goes by the pod's own policy alone.
            (of(regular, always, false), Restarts::Never, policy),
            (of(regular, None, true), Restarts::Always, policy),
            (of(ContainerKind::Sidecar, always, false), Restarts::Never, ok),
            (of(ContainerKind::Sidecar, always, true), Restarts::Always, policy),
            (of(ContainerKind::Init, None, false), Restarts::Always, Err(Obstacle::NotRunAgain)),
            (of(ContainerKind::Ephemeral, None, false), Restarts::Always, Err(Obstacle::NotRunAgain)),
        ] {
            assert_eq!(stop(container.clone(), of_pod, None), expected, "{container:?} {of_pod:?}");
        }
    }

    #[test]
    fn the_status_says_the_stop_signal_before_the_spec_and_nothing_is_killed() {
        let of = |text: Option<&str>| Container { stop: text.map(Stop::parse), ..Container::default() };
        let signal = |text| Ok(Signal::parse(text).unwrap());
        for (spec, status, expected) in [
            (None, None, signal("TERM")),
            (Some("SIGQUIT"), None, signal("QUIT")),
            (Some("SIGQUIT"), Some("SIGWINCH"), signal("WINCH")),
            (None, Some("SIGRTMIN+3"), signal("RTMIN+3")),
            (Some("SIGKILL"), None, Err(Obstacle::StopSignal)),
            (None, Some("SIGSTOP"), Err(Obstacle::StopSignal)),
            (None, Some("SIGPWR"), Err(Obstacle::StopSignal)),
        ] {
            assert_eq!(stop(of(spec), Restarts::Always, status), expected, "{spec:?} {status:?}");
        }
        let hooked = Container { has_pre_stop: true, ..Container::default() };
        assert_eq!(stop(hooked, Restarts::Always, None), Err(Obstacle::PreStop));
    }

    #[test]
    fn a_grant_counts_on_pods_that_let_themselves_be_restarted() {
        let given = |rollout: AnnotationValue, text: &str| {
            let annotations = [(ROLLOUT.to_owned(), rollout)].into();
            let spec = PodSpec { grace: Some(Duration::from_secs(90_000)), ..PodSpec::default() };
            Given::of(text, &annotations, &spec, |_| None)
        };
        let text = |text: &str| AnnotationValue::Text(text.to_owned());
        let grant = "00ff 1800000000 app=aaaaaaaaaaaa";
        for rollout in ["in-place", "in-place,rollout"] {
            let Given::Granted(granted) = given(text(rollout), grant) else { panic!("{rollout}") };
            assert_eq!(granted.grant.to_string(), grant);
            assert_eq!(granted.grace, Duration::from_secs(3_600), "it is bounded");
            assert_eq!(granted.containers[0].stop, Err(Obstacle::NoContainer));
            assert!(matches!(given(text(rollout), "00ff 1800000000 app"), Given::Ignored(_)));
        }
        for rollout in [text("true"), text("false"), text(""), AnnotationValue::NotText("in-place".into())] {
            assert!(matches!(given(rollout.clone(), grant), Given::Ignored(_)), "{rollout:?}");
        }
    }
}
