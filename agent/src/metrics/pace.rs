//! When the gauges are computed: soon after something happened but not in the middle of it, not all the time, and never
//! without what happened last.

use std::time::Duration;

use reloadlet_core::Time;

/// How long after something happened: most reloads are over by then.
const AFTER: Duration = Duration::from_millis(100);
/// How often at most.
const EVERY: Duration = Duration::from_millis(250);
/// How long a loop that always has something else to do puts it off.
const PUT_OFF: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Pace {
    due: Option<Time>,
    last: Option<Time>,
}

impl Pace {
    /// Something happened that may show in the gauges.
    pub(crate) fn changed(&mut self, now: Time) {
        let soon = now + AFTER;
        self.due.get_or_insert_with(|| self.last.map_or(soon, |last| soon.max(last + EVERY)));
    }

    /// When the loop must turn for the gauges' sake.
    pub(crate) const fn due(&self) -> Option<Time> {
        self.due
    }

    /// Whether the gauges are to be computed now.
    pub(crate) fn take(&mut self, now: Time, idle: bool) -> bool {
        let wait = if idle { Duration::ZERO } else { PUT_OFF };
        let is_due = self.due.take_if(|due| *due + wait <= now).is_some();
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    /// With something happening that often for so long: when the gauges are computed.
    fn computed(every: u64, until: u64, idle: bool) -> Vec<u64> {
        let mut pace = Pace::default();
        let mut computed = Vec::new();
        for now in 1000..1000 + until + 2000 {
            if now < 1000 + until && (now - 1000) % every == 0 {
                pace.changed(at(now));
            }
            if pace.take(at(now), idle) {
                computed.push(now - 1000);
            }
        }
        assert_eq!(pace.due(), None, "nothing is left out");
        computed
    }

    #[test]
    fn gauges_are_computed_every_250_ms_at_most_and_after_the_last_change() {
        assert_eq!(computed(1, 1, true), [100]);
        assert_eq!(computed(1, 10, true), [100]);
        assert_eq!(computed(1, 102, true), [100, 350]);
        assert_eq!(computed(1, 1000, true), [100, 350, 600, 850, 1100]);
        assert_eq!(computed(400, 1000, true), [100, 500, 900]);
    }

    #[test]
    fn a_change_shows_within_250_ms() {
        for second in 0..1000 {
            let mut pace = Pace::default();
            pace.changed(at(1000));
            while pace.due().is_some_and(|due| due < at(1000 + second)) {
                let due = pace.due().unwrap();
                assert!(pace.take(due, true));
            }
            pace.changed(at(1000 + second));
            assert!(pace.due().unwrap() <= at(1250 + second), "{second}");
        }
    }

    #[test]
    fn a_loop_that_is_never_idle_computes_them_too() {
        assert_eq!(computed(1, 3000, false), [1100, 2350, 3600]);
    }
}
