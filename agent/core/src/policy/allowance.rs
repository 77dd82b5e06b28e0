//! Something that a node may do only so often, shared by namespace: who does much leaves room to whoever does little.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::names::Name;
use crate::model::time::Time;

/// How many namespaces are remembered. One that is forgotten has taken nothing for as much as is known.
const REMEMBERED: usize = 1024;

/// What may be done now. A namespace may go on while more is left than it owes: alone it gets half of all at once, a second
/// one half of what is left then. What comes back is taken evenly off what each owes, so each gets an equal part in the
/// long run, and all of it where nobody else wants any.
#[derive(Clone, Debug)]
pub struct Allowance {
    most: u32,
    each: Duration,
    /// What is left, in the time that it takes to come back.
    left: Duration,
    /// What each namespace has taken and not given back, in the same unit.
    owed: BTreeMap<Name, Duration>,
    refilled: Time,
}

impl Allowance {
    /// All that there may be; one comes back after each such while.
    pub const fn new(most: u32, each: Duration, now: Time) -> Self {
        Self { most, each, left: each.saturating_mul(most), owed: BTreeMap::new(), refilled: now }
    }

    /// Takes one for a namespace, if its share allows that while so many are kept for others.
    pub fn take(&mut self, namespace: &Name, kept: u32, now: Time) -> bool {
        self.refill(now);
        let owed = self.owed.get(namespace).copied().unwrap_or_default();
        let left = self.left.saturating_sub(self.each.saturating_mul(kept));
        if left < self.each || left <= owed {
            return false;
        }
        self.left = self.left.saturating_sub(self.each);
        if self.owed.len() >= REMEMBERED && !self.owed.contains_key(namespace) {
            self.forget();
        }
        self.owed.insert(namespace.clone(), owed + self.each);
        true
    }

    /// The same where so many are left to those who owe less than so few: however many take all they can, whoever does little
    /// goes on.
    pub fn take_leaving(&mut self, namespace: &Name, left: u32, few: u32, now: Time) -> bool {
        self.refill(now);
        let few = self.each.saturating_mul(few);
        let owes_little = self.owed.get(namespace).is_none_or(|owed| *owed < few);
        self.take(namespace, if owes_little { 0 } else { left }, now)
    }

    /// Gives back one that a namespace has taken and that came to nothing, or what it still owes of that.
    pub fn give_back(&mut self, namespace: &Name) {
        let Some(owed) = self.owed.get_mut(namespace) else { return };
        let given = self.each.min(*owed);
        *owed = owed.saturating_sub(given);
        if owed.is_zero() {
            self.owed.remove(namespace);
        }
        self.left = self.left.saturating_add(given).min(self.each.saturating_mul(self.most));
    }

    fn refill(&mut self, now: Time) {
        let passed = now.since(self.refilled);
        if passed.is_zero() {
            return;
        }
        self.refilled = self.refilled.max(now);
        self.left = self.left.saturating_add(passed).min(self.each.saturating_mul(self.most));
        if self.left >= self.each.saturating_mul(self.most) {
            self.owed.clear();
        }
        let Ok(owing) = u32::try_from(self.owed.len()) else { return };
        let part = passed.checked_div(owing).unwrap_or_default();
        self.owed.retain(|_, owed| {
            *owed = owed.saturating_sub(part);
            !owed.is_zero()
        });
    }

    /// Forgets the namespace that owes the least.
    fn forget(&mut self) {
        let least = self.owed.iter().min_by_key(|(_, owed)| **owed).map(|(name, _)| name.clone());
        if let Some(least) = least {
            self.owed.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::since_boot(Duration::from_millis(millis))
    }

    fn allowance(most: u32) -> Allowance {
        Allowance::new(most, Duration::from_millis(50), at(0))
    }

    fn taken(allowance: &mut Allowance, namespace: &str, now: u64) -> usize {
        let namespace = Name::from(namespace);
        (0..1000).take_while(|_| allowance.take(&namespace, 0, at(now))).count()
    }

    #[test]
    fn one_namespace_has_half_at_once_and_then_all_that_comes_back() {
        let mut allowance = allowance(100);
        assert_eq!(taken(&mut allowance, "a", 0), 50);
        let later: usize = (0..=60_000).step_by(7).map(|now| taken(&mut allowance, "a", now)).sum();
        assert_eq!(later, 1200, "20 a second");
        assert_eq!(taken(&mut allowance, "a", 1_000_000_000_000), 50);
    }

    #[test]
    fn who_comes_later_has_a_share_whatever_the_others_took() {
        let mut allowance = allowance(100);
        for now in 0..1000 {
            taken(&mut allowance, "loud", now);
        }
        assert_eq!(taken(&mut allowance, "quiet", 1000), 25);
        assert_eq!(taken(&mut allowance, "third", 1000), 13);
    }

    #[test]
    fn in_the_long_run_each_gets_an_equal_part() {
        let mut allowance = allowance(100);
        let (mut loud, mut modest) = (0, 0);
        for now in (0..600_000).step_by(10) {
            loud += taken(&mut allowance, "loud", now);
            // Half of what there is for each.
            if now % 200 == 0 {
                modest += usize::from(allowance.take(&"modest".into(), 0, at(now)));
            }
        }
        assert_eq!(modest, 3000, "all that it wanted");
        assert!((8_950..=9_100).contains(&loud), "the rest: {loud}");
    }

    #[test]
    fn what_was_given_back_is_everybodys_again() {
        let mut allowance = allowance(100);
        assert_eq!(taken(&mut allowance, "a", 0), 50);
        for _ in 0..1000 {
            allowance.give_back(&"a".into());
            assert!(allowance.take(&"a".into(), 0, at(0)));
        }
        assert_eq!(taken(&mut allowance, "a", 0), 0);
        assert_eq!(taken(&mut allowance, "b", 0), 25, "as if nothing had been given back");
        (0..1000).for_each(|_| allowance.give_back(&"a".into()));
        assert!(!allowance.owed.contains_key(&Name::from("a")));
        assert_eq!(allowance.left, Duration::from_millis(75 * 50), "it gives back what it took, and no more");
    }

    #[test]
    fn what_is_kept_is_for_others() {
        let mut allowance = allowance(100);
        let namespace = Name::from("a");
        assert_eq!((0..1000).take_while(|_| allowance.take(&namespace, 40, at(0))).count(), 30);
        assert_eq!(taken(&mut allowance, "a", 0), 20);
    }

    #[test]
    fn whoever_does_little_goes_on_however_many_take_all_they_can() {
        let mut allowance = allowance(4000);
        let mut refused = 0;
        for second in 0..100 {
            for n in 0..100 {
                let loud = Name::from(format!("loud-{n}"));
                while allowance.take_leaving(&loud, 2000, 8, at(second * 1000)) {}
            }
            // Half of its equal part.
            let due = second % 10 == 0;
            refused +=
                usize::from(due && !allowance.take_leaving(&"quiet".into(), 2000, 8, at(second * 1000)));
            assert!(!allowance.take(&"quiet".into(), 2000, at(second * 1000)), "there is nothing else");
        }
        assert_eq!(refused, 0);
    }

    #[test]
    fn what_is_left_to_others_ends_no_ones_part_in_the_long_run() {
        let mut allowance = allowance(4000);
        let mut taken =
            |now| (0..5000).take_while(|_| allowance.take_leaving(&"a".into(), 2000, 8, at(now))).count();
        assert_eq!(taken(0), 1000);
        let later: usize = (0..=60_000).step_by(7).map(&mut taken).sum();
        assert_eq!(later, 1200, "20 a second");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut allowance = allowance(10_000);
        for n in 0..5000 {
            assert!(allowance.take(&format!("n{n}").into(), 0, at(0)), "{n}");
        }
        assert_eq!(allowance.owed.len(), REMEMBERED);
    }
}
