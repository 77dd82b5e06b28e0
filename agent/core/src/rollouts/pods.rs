//! The pods of a workload, as they were listed, and whether they are older than a change.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::names::Name;
use crate::model::pod::ContainerKind;
use crate::model::time::Time;
use crate::rollouts::event::{Listed, Pod, PodContainer};
use crate::rollouts::record::{Prints, seconds};

/// A container that was started again after a change has the new content, by clocks that may be this far apart.
const SKEW: Duration = Duration::from_secs(10);

/// Its pods.
#[derive(Debug)]
pub(crate) enum Listing {
    Unknown,
    /// They were asked for then, of the workload of this edition.
    Asked(Time, u64),
    /// They were these: whatever the workload's status says since, it says of others.
    Known(Known),
}

/// They, as they were when they were asked for, of the workload of an edition: each time that it says something else it has another one.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) asked: Time,
    pub(crate) came: Time,
    pub(crate) took: Duration,
    pub(crate) edition: u64,
    pub(crate) listed: Listed,
    /// With which contents its roll was found to be wanted by them, and waits.
    pub(crate) waits_for: Option<Prints>,
}

/// Where nobody answers, it is asked again after so long, and then after twice as long each time.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// So often pods are listed at once where nothing comes of it, as the workload says something else each time; and the longest pause then.
const AT_ONCE: u32 = 3;
const LONGEST_QUIET: Duration = Duration::from_secs(30);

/// Until when pods aren't listed again that were listed so often and last then, without anything that came of it.
pub(crate) fn quiet(count: u32, last: Time) -> Option<Time> {
    let pause = pause(count.checked_sub(AT_ONCE)?);
    Some(last + pause.min(LONGEST_QUIET))
}

/// How long to wait where nobody has answered, after that has been so this often before.
pub(crate) fn pause(before: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(before.min(16))).min(LONGEST_PAUSE)
}

/// That its pods couldn't be listed.
#[derive(Debug)]
pub(crate) struct Unlisted {
    /// How often in a row.
    count: u32,
    /// They aren't asked for before that.
    pub(crate) until: Time,
    /// Why, when it was tried last.
    pub(crate) why: String,
}

impl Unlisted {
    /// They couldn't be, for this, after this had been so before.
    pub(crate) fn again(before: Option<&Self>, why: String, now: Time) -> Self {
        let count = before.map_or(0, |before| before.count.saturating_add(1));
        Self { count, until: now + pause(count), why }
    }
}

impl Listing {
    /// By these pods a roll for these contents is wanted, and waits. They decide nothing more: many may wait for long.
    pub(crate) fn wait_for(&mut self, wanted: Prints) {
        if let Self::Known(known) = self {
            known.waits_for = Some(wanted);
            (known.asked, known.listed.pods) = (Time::default(), Vec::new());
        }
    }
}

/// A change, as pods may be older than it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// When it was, by the API server's clock.
    pub(crate) at: Time,
    /// Whether it made an object without which no container starts that uses it.
    pub(crate) is_beginning: bool,
}

/// The containers of a pod that have anything from before a change. The API server's times are whole seconds: of two in the same one the
/// order isn't known. A revision of that second is taken for newer, since objects are applied before the workloads that use them,
/// and a pod of an earlier revision for older. `restart` is the mark of a restart in place that was begun after the change.
pub(crate) fn stale<'a>(
    pod: &'a Pod,
    keepers: &BTreeSet<Name>,
    changed: Moment,
    restart: Option<&Name>,
) -> impl Iterator<Item = &'a PodContainer> {
    let Moment { at: changed, is_beginning } = changed;
    let is_newer = |at: Time| seconds(at) > seconds(changed);
    let is_new = is_newer(pod.created) || pod.revision.is_some_and(|at| seconds(at) >= seconds(changed));
    // Whoever waited for an object starts right after it is made.
    let skew = if is_beginning { Duration::ZERO } else { SKEW };
    let is_older = move |started: Time| started < changed + skew;
    let grant = restart.and_then(|marker| pod.granted(marker));
    // Whatever clocks say.
    let is_renewed = move |container: &PodContainer| {
        grant
            .and_then(|grant| grant.instance(&container.name))
            .is_some_and(|before| container.instance.as_ref() != Some(before))
    };
    let all = pod.containers.iter().filter(move |_| !is_new);
    all.filter(move |container| {
        let is_kept = match (container.kind, container.since) {
            (ContainerKind::Init, Some(started)) if is_beginning => is_older(started),
            // They aren't run again.
            (ContainerKind::Init, _) => pod.containers.iter().any(|container| container.since.is_some()),
            (ContainerKind::Regular | ContainerKind::Sidecar, started) => started.is_some_and(is_older),
            (ContainerKind::Ephemeral, _) => false,
        };
        // Nobody that uses it: it is one that is only named, and all that runs counts.
        let counts = keepers.is_empty() || keepers.contains(&container.name);
        counts && is_kept && !is_renewed(container)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::ContainerId;
    use crate::model::restart::{Grant, Instance};

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn pod(kind: ContainerKind, started: u64) -> Pod {
        let container = |name: &str, kind, started| PodContainer {
            name: name.into(),
            kind,
            since: Some(at(started)),
            instance: ContainerId::parse(&"b".repeat(64)).as_ref().map(Instance::of),
            restarts: 0,
            obstacle: None,
        };
        Pod {
            created: at(90),
            revision: Some(at(90)),
            is_current: true,
            containers: vec![
                container("mine", kind, started),
                container("other", ContainerKind::Regular, 91),
            ],
            ..Pod::default()
        }
    }

    #[test]
    fn who_was_granted_a_restart_and_is_another_one_by_now_is_as_new_whatever_clocks_say() {
        let mut pod = pod(ContainerKind::Regular, 99);
        let keepers = BTreeSet::from(["mine".into()]);
        let moment = Moment { at: at(100), is_beginning: false };
        let stale_of = |pod: &Pod, restart: Option<&str>| {
            stale(pod, &keepers, moment, restart.map(Name::from).as_ref()).count()
        };
        pod.grant = Grant::parse("00ff 200 mine=aaaaaaaaaaaa");
        assert_eq!(
            (stale_of(&pod, Some("00ff")), stale_of(&pod, Some("00fe")), stale_of(&pod, None)),
            (0, 1, 1)
        );
        pod.grant = Grant::parse("00ff 200 mine=bbbbbbbbbbbb");
        assert_eq!(stale_of(&pod, Some("00ff")), 1, "it hasn't ended");
        pod.grant = Grant::parse("00ff 200 other=aaaaaaaaaaaa");
        assert_eq!(stale_of(&pod, Some("00ff")), 1, "another one was meant");
    }

    #[test]
    fn who_waited_for_an_object_has_it_and_who_ran_before_hasnt() {
        let keepers = BTreeSet::from(["mine".into()]);
        let is_stale = |kind, started, is_beginning| {
            let pod = pod(kind, started);
            stale(&pod, &keepers, Moment { at: at(100), is_beginning }, None).count() > 0
        };
        for kind in [ContainerKind::Regular, ContainerKind::Sidecar] {
            assert!(is_stale(kind, 99, true), "{kind:?}");
            assert!(!is_stale(kind, 100, true) && !is_stale(kind, 103, true), "{kind:?}");
            // Of any other change nothing is known that holds a container up.
            assert!(is_stale(kind, 103, false) && !is_stale(kind, 110, false), "{kind:?}");
        }
        assert!(is_stale(ContainerKind::Init, 99, true) && !is_stale(ContainerKind::Init, 101, true));
        assert!(is_stale(ContainerKind::Init, 120, false), "they aren't run again");
    }
}
