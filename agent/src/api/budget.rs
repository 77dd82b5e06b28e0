//! How many Events may be sent: a small number a minute for the node, and one a while for each pod and reason.

use std::collections::BTreeMap;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::pod::PodUid;

use super::tokens::Tokens;

/// The most Events of one node at once; a token comes back each [`REFILL`].
const BURST: u32 = 25;
/// How many of them are left to what a person must act on: that a reload went well is said in the log and counted.
const RESERVED: u32 = 10;
/// So ten a minute in the long run.
const REFILL: Duration = Duration::from_secs(6);
/// The least time between two Events of one pod and reason. What comes meanwhile is counted into the next one.
const QUIET: Duration = Duration::from_secs(30);
/// How many pods and reasons are remembered.
const REMEMBERED: usize = 4096;

/// What may be sent now.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: Tokens,
    last: BTreeMap<(PodUid, &'static str), Last>,
}

#[derive(Debug)]
struct Last {
    sent: Time,
    held_back: u32,
}

impl Budget {
    /// A full budget.
    pub(crate) const fn new(now: Time) -> Self {
        Self { tokens: Tokens::new(BURST, REFILL, now), last: BTreeMap::new() }
    }

    /// Whether an Event may be sent, and how many of its kind were held back before it.
    pub(crate) fn take(
        &mut self,
        pod: &PodUid,
        reason: &'static str,
        urgent: bool,
        now: Time,
    ) -> Option<u32> {
        let any = self.tokens.left(now) > if urgent { 0 } else { RESERVED };
        let key = (pod.clone(), reason);
        if let Some(last) = self.last.get_mut(&key)
            && (!any || now.since(last.sent) < QUIET)
        {
            last.held_back += 1;
            return None;
        }
        if !any {
            return None;
        }
        if self.last.len() >= REMEMBERED {
            self.last.retain(|_, last| now.since(last.sent) < QUIET);
        }
        self.tokens.take(now);
        let before = self.last.insert(key, Last { sent: now, held_back: 0 });
        Some(before.map_or(0, |last| last.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn pod(n: u32) -> PodUid {
        PodUid::parse(&format!("{n:08x}")).unwrap()
    }

    #[test]
    fn one_pod_and_reason_has_an_event_each_half_minute_and_the_rest_is_counted() {
        let mut budget = Budget::new(at(0));
        assert_eq!(budget.take(&pod(1), "ConfigReloaded", true, at(0)), Some(0));
        assert_eq!(budget.take(&pod(1), "ConfigReloaded", true, at(1)), None);
        assert_eq!(budget.take(&pod(1), "ReloadHeld", true, at(1)), Some(0), "another reason");
        assert_eq!(budget.take(&pod(1), "ConfigReloaded", true, at(29)), None);
        assert_eq!(budget.take(&pod(1), "ConfigReloaded", true, at(30)), Some(2));
    }

    #[test]
    fn the_node_sends_a_burst_and_then_ten_a_minute() {
        let mut budget = Budget::new(at(0));
        let sent = |budget: &mut Budget, from: u32, urgent, now| {
            (from..from + 100)
                .filter(|n| budget.take(&pod(*n), "ConfigReloaded", urgent, now).is_some())
                .count()
        };
        assert_eq!(sent(&mut budget, 0, true, at(0)), 25);
        assert_eq!(sent(&mut budget, 1000, true, at(60)), 10);
        assert_eq!(sent(&mut budget, 2000, false, at(100_000)), 15, "the rest is for what must be acted on");
        assert_eq!(sent(&mut budget, 3000, true, at(100_000)), 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut budget = Budget::new(at(0));
        for n in 0..20_000 {
            budget.take(&pod(n), "ConfigReloaded", false, at(u64::from(n) * 6));
        }
        assert!(budget.last.len() <= REMEMBERED);
    }
}
