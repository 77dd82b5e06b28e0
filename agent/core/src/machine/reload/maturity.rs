//! Whether a container has its start behind it: before that it isn't told of changes, and its end says nothing about a signal.
//! Programs end on a signal before they have installed their handlers, and some while they load.

use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::machine::reload::Site;
use crate::machine::reload::process::{Process, YOUNG};
use crate::machine::reload::processes::Chosen;
use crate::model::names::{ContainerId, Name};
use crate::model::pod::Phase;
use crate::model::time::Time;

/// A container that hasn't been ready yet is waited for until it is this old.
pub(super) const READINESS: Duration = Duration::from_secs(60);

/// A container that hasn't started by its status is waited for until it is this old: that status may be the last one that
/// came.
const START: Duration = Duration::from_hours(1);

/// Where no status says whether a process was ready, its end counts if it was this old when it was told.
const MATURE: Duration = Duration::from_secs(15);

/// One that ends younger than this is taken to have been starting still, whether its end counts or not.
const STARTING: Duration = Duration::from_secs(30);

/// What is known of a container's start.
#[derive(Clone, Debug, Default)]
pub(super) struct Maturity {
    /// The container that a status showed ready, and when the first one did.
    ready: Option<(ContainerId, Time)>,
    /// How old a process must be where no status is known, since one that was told younger has ended.
    lesson: Option<Duration>,
    /// The container that was ready once, which says nothing of its processes: a request isn't made to one that starts still.
    once: Option<ContainerId>,
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No status of it is known, or its processes are younger than what is known of it.
    Unknown,
    /// It hasn't passed its startup probe.
    Starting,
    /// It has, and hasn't been ready since its start.
    Unready,
    /// It was ready once since its start.
    Ready,
}

impl Maturity {
    /// The container was ready once, as an agent before has seen.
    pub(super) fn was_ready(&mut self, container: &ContainerId) {
        self.once = Some(container.clone());
    }

    /// What is known of the same container under another plan.
    pub(super) fn kept(self) -> Self {
        Self { once: self.ready.map(|(container, _)| container).or(self.once), ..Self::default() }
    }

    /// Whether this container was ready once, whoever has seen it.
    pub(super) fn was_once_ready(&self, container: &ContainerId) -> bool {
        let seen = self.ready.as_ref().map(|(container, _)| container);
        [seen, self.once.as_ref()].contains(&Some(container))
    }

    /// A status came, with the container of this name.
    pub(super) fn observe(&mut self, site: &Site, name: &Name, now: Time) {
        let is_ready = site.pod.phases.get(name).is_some_and(|phase| phase.ready == Some(true));
        let Some(id) = site.pod.status.get(name).filter(|_| is_ready) else { return };
        if self.ready.as_ref().is_none_or(|(known, _)| known != id) {
            self.ready = Some((id.clone(), now));
        }
    }

    /// How far the container of this name is, whose processes these are.
    pub(super) fn standing(&self, site: &Site, name: &Name, chosen: &Chosen) -> Standing {
        let container = &chosen.first().container;
        let was_ready = self.ready.as_ref().is_some_and(|(id, seen)| {
            id == container && chosen.told().iter().all(|process| process.identity().started <= *seen)
        });
        if was_ready {
            return Standing::Ready;
        }
        let is_known = site.pod.status.get(name) == Some(container);
        match site.pod.phases.get(name).filter(|_| is_known) {
            Some(Phase { started: Some(false), .. }) => Standing::Starting,
            Some(Phase { ready: Some(false), .. }) => Standing::Unready,
            Some(Phase { ready: Some(true) | None, .. }) | None => Standing::Unknown,
        }
    }

    /// Until when these processes are waited for, unless a status changes where they are.
    pub(super) fn ripe(
        &self,
        standing: Standing,
        first: &ProcessIdentity,
        told: &[&Process],
        now: Time,
    ) -> Time {
        let age = match standing {
            Standing::Unknown => self.lesson.unwrap_or(YOUNG),
            Standing::Starting | Standing::Unready | Standing::Ready => YOUNG,
        };
        // A supervisor starts its program anew in a container that is old.
        let youngest = told.iter().map(|process| process.identity().started).chain([first.started]).max();
        let grown = told.iter().map(|process| process.grown(age)).max().unwrap_or(now);
        match standing {
            Standing::Starting => grown.max(first.started + START),
            Standing::Unready => grown.max(youngest.unwrap_or(first.started) + READINESS),
            Standing::Unknown | Standing::Ready => grown,
        }
    }

    /// Whether the end of these processes, told now, would say something about the signal.
    pub(super) fn is_over(standing: Standing, chosen: &Chosen, now: Time) -> bool {
        match standing {
            Standing::Ready => true,
            Standing::Unknown => chosen.told().iter().all(|told| now >= told.identity().started + MATURE),
            Standing::Starting | Standing::Unready => false,
        }
    }

    /// A process that was told then, without being known to be ready, has ended: the next one is left to grow twice as old.
    pub(super) fn ended(&mut self, process: &ProcessIdentity, told: Time, at: Time) {
        if told.since(process.started) < STARTING {
            self.lesson = Some((at.since(process.started) * 2).clamp(YOUNG, READINESS));
        }
    }

    /// A process that was told lived on.
    pub(super) const fn lived(&mut self) {
        self.lesson = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::reload::testing::identity;

    #[test]
    fn one_that_ends_soon_after_its_start_is_a_lesson_until_one_lives() {
        let at = |millis| Time::since_boot(Duration::from_millis(millis));
        let process = identity(7);
        let mut maturity = Maturity::default();
        maturity.ended(&process, at(30_000), at(31_000));
        assert_eq!(maturity.lesson, None, "it had its start behind it");
        for (told, ended, lesson) in [(29_999, 31_000, 60_000), (4_000, 5_000, 10_000), (1_000, 1_001, 3_000)]
        {
            maturity.ended(&process, at(told), at(ended));
            assert_eq!(maturity.lesson, Some(Duration::from_millis(lesson)));
        }
        maturity.lived();
        assert_eq!(maturity.lesson, None);
    }
}
