//! The lists of pods that are to be made. Each may take much memory, so that few are made at a time, and namespaces take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use reloadlet_core::model::names::Name;
use reloadlet_core::rollouts::workload::WorkloadRef;

/// How many lists are made at a time, and of one namespace.
const AT_A_TIME: usize = 3;
const OF_NAMESPACE: usize = 2;

/// What waits and what is under way.
#[derive(Default)]
pub(super) struct Queue {
    /// None of the namespaces is empty.
    waiting: BTreeMap<Name, Line>,
    /// Whose turn was last.
    last: Option<Name>,
    /// How many of each namespace are under way.
    under_way: BTreeMap<Name, usize>,
}

/// The workloads of a namespace, by when they came.
#[derive(Default)]
struct Line {
    order: BTreeMap<u64, WorkloadRef>,
    known: BTreeSet<WorkloadRef>,
    next: u64,
}

impl Queue {
    /// The pods of a workload are to be listed. One that waits for that already waits on in its place.
    pub(super) fn add(&mut self, who: WorkloadRef) {
        let line = self.waiting.entry(who.namespace.clone()).or_default();
        if line.known.insert(who.clone()) {
            line.order.insert(line.next, who);
            line.next += 1;
        }
    }

    /// The workload whose turn it is. It is under way from then on.
    pub(super) fn take(&mut self) -> Option<WorkloadRef> {
        if self.under_way.values().sum::<usize>() >= AT_A_TIME {
            return None;
        }
        let after = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.waiting.range::<Name, _>((after, Bound::Unbounded));
        let mut all = later.chain(&self.waiting).map(|(namespace, _)| namespace);
        let of = |namespace: &Name| self.under_way.get(namespace).copied().unwrap_or_default();
        let namespace = all.find(|namespace| of(namespace) < OF_NAMESPACE)?.clone();
        let line = self.waiting.get_mut(&namespace)?;
        let (_, who) = line.order.pop_first()?;
        line.known.remove(&who);
        if line.order.is_empty() {
            self.waiting.remove(&namespace);
        }
        *self.under_way.entry(namespace.clone()).or_default() += 1;
        self.last = Some(namespace);
        Some(who)
    }

    /// One of a namespace has ended.
    pub(super) fn ended(&mut self, namespace: &Name) {
        if let Some(count) = self.under_way.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reloadlet_core::rollouts::workload::Kind;

    use super::*;

    fn who(namespace: &str, n: usize) -> WorkloadRef {
        let name = format!("w-{n}").as_str().into();
        WorkloadRef { kind: Kind::Deployment, namespace: namespace.into(), name }
    }

    fn all(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.take()).map(|who| format!("{}/{}", who.namespace, who.name)).collect()
    }

    #[test]
    fn few_lists_are_made_at_a_time_and_a_namespace_has_no_more_than_its_share() {
        let mut queue = Queue::default();
        (0..1_000).for_each(|n| queue.add(who("loud", n)));
        assert_eq!(all(&mut queue), ["loud/w-0", "loud/w-1"]);
        (0..2).for_each(|n| queue.add(who("quiet", n)));
        queue.add(who("third", 0));
        assert_eq!(all(&mut queue), ["quiet/w-0"], "there is one left for others");
        queue.ended(&"loud".into());
        assert_eq!(all(&mut queue), ["third/w-0"], "the turn goes around");
        queue.ended(&"third".into());
        assert_eq!(all(&mut queue), ["loud/w-2"]);
        queue.ended(&"quiet".into());
        assert_eq!(all(&mut queue), ["quiet/w-1"], "the loud one has its share");
        queue.ended(&"quiet".into());
        assert!(all(&mut queue).is_empty());
        queue.ended(&"loud".into());
        assert_eq!(all(&mut queue), ["loud/w-3"]);
    }

    #[test]
    fn a_workload_waits_once_and_again_once_it_is_under_way() {
        let mut queue = Queue::default();
        for n in [0, 1, 0, 1, 2] {
            queue.add(who("shop", n));
        }
        assert_eq!(all(&mut queue), ["shop/w-0", "shop/w-1"]);
        queue.add(who("shop", 0));
        (0..2).for_each(|_| queue.ended(&"shop".into()));
        assert_eq!(all(&mut queue), ["shop/w-2", "shop/w-0"]);
        (0..2).for_each(|_| queue.ended(&"shop".into()));
        assert!(queue.waiting.is_empty() && queue.under_way.is_empty());
    }
}
