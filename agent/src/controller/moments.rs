//! Since when workloads are in some way, as long as this replica knows it.

use std::collections::BTreeMap;

use reloadlet_core::Time;
use reloadlet_core::rollouts::workload::WorkloadRef;

/// Of how many workloads it is known. Of more, those that began longest ago are forgotten.
const MOST: usize = 10_000;

/// In which way each workload is, and since when.
#[derive(Debug)]
pub(super) struct Moments<T>(BTreeMap<WorkloadRef, (T, Time)>);

impl<T: PartialEq> Moments<T> {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A workload is in this way from now on.
    pub(super) fn begin(&mut self, who: &WorkloadRef, way: T, now: Time) {
        self.0.insert(who.clone(), (way, now));
        if self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, (_, since))| *since).map(|(who, _)| who.clone());
            if let Some(oldest) = oldest {
                self.0.remove(&oldest);
            }
        }
    }

    /// It isn't any more; since when it was.
    pub(super) fn end(&mut self, who: &WorkloadRef) -> Option<Time> {
        self.0.remove(who).map(|(_, since)| since)
    }

    /// Since when a workload is in this way.
    pub(super) fn since(&self, who: &WorkloadRef, way: T) -> Option<Time> {
        self.0.get(who).filter(|(known, _)| *known == way).map(|(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reloadlet_core::rollouts::workload::Kind;

    use super::*;

    #[test]
    fn what_is_known_is_bounded_and_the_oldest_is_forgotten_first() {
        let at = |seconds: usize| Time::since_boot(Duration::from_secs(seconds as u64));
        let who = |n: usize| WorkloadRef {
            kind: Kind::Deployment,
            namespace: "shop".into(),
            name: format!("web-{n}").as_str().into(),
        };
        let mut moments = Moments::new();
        for n in 0..=MOST {
            moments.begin(&who(n), "rolled", at(n));
        }
        assert_eq!(moments.0.len(), MOST);
        assert_eq!((moments.since(&who(0), "rolled"), moments.since(&who(1), "rolled")), (None, Some(at(1))));
        assert_eq!(moments.since(&who(1), "held"), None, "it is another way");
        assert_eq!((moments.end(&who(1)), moments.end(&who(1))), (Some(at(1)), None));
    }
}
