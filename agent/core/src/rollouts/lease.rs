//! Which of several controllers works: the one that holds the Lease (coordination.k8s.io). It keeps the others from doing the same work;
//! that nothing is done twice is the [`super::ledger`]'s matter, since nobody knows for how long a process stands still.
//!
//! As client-go's leader election does it, no clock is compared with another machine's: a Lease that was seen to change isn't taken from its
//! holder before its duration has passed since then, by the own clock.

use std::time::Duration;

use crate::model::names::Name;
use crate::model::time::Time;

/// So long a Lease is its holder's after it was renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// A holder that couldn't renew it for so long works no more.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
const PAUSE: Duration = Duration::from_secs(2);

/// A Lease as it is on the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its `resourceVersion`.
    pub version: Name,
    /// Who holds it; `None` where it was given back.
    pub holder: Option<Name>,
    /// For how long it is its holder's.
    pub duration: Duration,
}

/// What is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is to be read.
    Read,
    /// It is to be made the own one, if it is still at this version; `None` where there is none.
    Take(Option<Name>),
}

/// What came of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is this; `None` if there is none.
    Is(Option<Seen>),
    /// It is the own one, at this version.
    Taken(Name),
    /// Somebody else was faster, or nobody has answered.
    Failed,
}

/// One controller's view of the Lease.
#[derive(Debug)]
pub struct Lease {
    me: Name,
    /// What was seen last, and since when it is so; nothing where it has to be read.
    seen: Option<(Option<Seen>, Time)>,
    /// Until when it is the own one.
    held: Option<Time>,
    /// When something is to be done next.
    next: Time,
    /// Since when something is under way.
    begun: Option<Time>,
}

impl Lease {
    /// That of a controller of this name, which holds nothing.
    pub const fn new(me: Name, now: Time) -> Self {
        Self { me, seen: None, held: None, next: now, begun: None }
    }

    /// Whether the controller may work.
    pub fn is_held(&self, now: Time) -> bool {
        self.held.is_some_and(|until| now < until)
    }

    /// Until when the controller may work; `None` where it may not.
    pub const fn held_until(&self) -> Option<Time> {
        self.held
    }

    /// When something is due.
    pub fn timeout(&self) -> Time {
        self.held.map_or(self.next, |held| held.min(self.next))
    }

    /// What is to be done now, if anything is; its answer comes by [`Self::answer`].
    pub fn poll(&mut self, now: Time) -> Option<Access> {
        if self.begun.is_some() || now < self.next {
            return None;
        }
        self.begun = Some(now);
        let Some((seen, since)) = &self.seen else { return Some(Access::Read) };
        let is_free = match seen {
            None => true,
            Some(Seen { holder: None, .. }) => true,
            Some(Seen { holder: Some(holder), duration, .. }) => {
                *holder == self.me || now >= *since + *duration
            }
        };
        Some(if is_free {
            Access::Take(seen.as_ref().map(|seen| seen.version.clone()))
        } else {
            Access::Read
        })
    }

    /// Something came of it.
    pub fn answer(&mut self, answer: Answer, now: Time) {
        let Some(begun) = self.begun.take() else { return };
        self.next = now + PAUSE;
        match answer {
            Answer::Is(seen) => {
                let is_same = self.seen.as_ref().is_some_and(|(known, _)| *known == seen);
                let is_mine = seen.as_ref().is_some_and(|seen| seen.holder.as_ref() == Some(&self.me));
                if !is_mine {
                    self.held = None;
                }
                // What may be taken is taken at once.
                let is_free = is_mine || seen.as_ref().is_none_or(|seen| seen.holder.is_none());
                if is_free {
                    self.next = now;
                }
                if !is_same {
                    self.seen = Some((seen, now));
                }
            }
            Answer::Taken(version) => {
                // It counts from when it was asked for.
                self.held = Some(begun + DEADLINE);
                let seen = Seen { version, holder: Some(self.me.clone()), duration: DURATION };
                self.seen = Some((Some(seen), now));
            }
            Answer::Failed => {
                // Of somebody else's Lease it isn't forgotten since when it is so.
                let me = &self.me;
                self.seen.take_if(|(seen, since)| {
                    let holder = seen.as_ref().and_then(|seen| Some((seen.holder.as_ref()?, seen.duration)));
                    holder.is_none_or(|(holder, duration)| holder == me || now >= *since + duration)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(1_000 + seconds))
    }

    fn of(holder: &str, version: &str) -> Answer {
        Answer::Is(Some(Seen { version: version.into(), holder: Some(holder.into()), duration: DURATION }))
    }

    fn held() -> Lease {
        let mut lease = Lease::new("me".into(), at(0));
        assert_eq!(lease.poll(at(0)), Some(Access::Read));
        lease.answer(Answer::Is(None), at(0));
        assert_eq!(lease.poll(at(0)), Some(Access::Take(None)));
        lease.answer(Answer::Taken("1".into()), at(1));
        lease
    }

    #[test]
    fn a_lease_that_is_nobodys_is_taken_at_once_and_renewed() {
        let mut lease = held();
        assert!(lease.is_held(at(9)) && !lease.is_held(at(10)), "it counts from when it was asked for");
        assert_eq!((lease.poll(at(2)), lease.timeout()), (None, at(3)));
        assert_eq!(lease.poll(at(3)), Some(Access::Take(Some("1".into()))));
        assert_eq!(lease.poll(at(4)), None, "it is under way");
        lease.answer(Answer::Taken("2".into()), at(4));
        assert!(lease.is_held(at(12)));
    }

    #[test]
    fn somebody_elses_lease_is_taken_once_it_hasnt_changed_for_its_duration() {
        let mut lease = Lease::new("me".into(), at(0));
        let mut look = |now: u64, version: &str| {
            assert_eq!(lease.poll(at(now)), Some(Access::Read), "{now}");
            lease.answer(of("other", version), at(now));
            assert!(!lease.is_held(at(now)));
        };
        for now in (0..40).step_by(2) {
            look(now, &now.to_string());
        }
        for now in (40..54).step_by(2) {
            look(now, "38");
        }
        assert_eq!(lease.poll(at(54)), Some(Access::Take(Some("38".into()))), "38 was seen at 38");
        lease.answer(Answer::Failed, at(54));
        assert_eq!(lease.poll(at(56)), Some(Access::Read), "somebody was faster");
        lease.answer(of("third", "39"), at(56));
        assert_eq!(lease.poll(at(58)), Some(Access::Read));
    }

    #[test]
    fn who_cant_renew_works_no_more_before_anybody_else_does() {
        let mut lease = held();
        let mut now = 3;
        while lease.is_held(at(now)) {
            if lease.poll(at(now)).is_some() {
                lease.answer(Answer::Failed, at(now));
            }
            now += 1;
        }
        assert!(Duration::from_secs(now) < DURATION, "{now}");
        // It is taken again as soon as somebody answers.
        while lease.poll(at(now)).is_none() {
            now += 1;
        }
        lease.answer(of("me", "1"), at(now));
        assert_eq!(lease.poll(at(now)), Some(Access::Take(Some("1".into()))));
    }

    #[test]
    fn a_lease_that_was_given_back_and_that_somebody_else_has_taken_is_read_again() {
        let mut lease = Lease::new("me".into(), at(0));
        assert_eq!(lease.poll(at(0)), Some(Access::Read));
        let free = Seen { version: "1".into(), holder: None, duration: DURATION };
        lease.answer(Answer::Is(Some(free)), at(0));
        assert_eq!(lease.poll(at(0)), Some(Access::Take(Some("1".into()))));
        lease.answer(Answer::Failed, at(0));
        assert_eq!(lease.poll(at(2)), Some(Access::Read));
    }

    #[test]
    fn who_sees_that_it_is_somebody_elses_works_no_more_at_once() {
        let mut lease = held();
        assert!(lease.poll(at(3)).is_some());
        lease.answer(Answer::Failed, at(3));
        assert_eq!(lease.poll(at(5)), Some(Access::Read));
        lease.answer(of("other", "7"), at(5));
        assert!(!lease.is_held(at(5)));
    }
}
