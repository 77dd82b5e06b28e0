//! A queue that is fair: each namespace has a turn after the other, and who queues much gives up its own.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use reloadlet_core::model::names::Name;

/// What is to be done with what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It is next.
    Take,
    /// It waits on.
    Leave,
    /// Nothing becomes of it.
    Drop,
}

/// What waits, by namespace and in order. Each key of a namespace waits once.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    most: usize,
    /// None of them is empty.
    lines: BTreeMap<Name, VecDeque<(K, T)>>,
    /// Whose turn was last.
    last: Option<Name>,
}

impl<K: Eq, T> FairQueue<K, T> {
    /// A queue for so many.
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, lines: BTreeMap::new(), last: None }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lines.values().map(VecDeque::len).sum()
    }

    /// What waits under a key.
    pub(crate) fn get_mut(&mut self, namespace: &Name, key: &K) -> Option<&mut T> {
        let line = self.lines.get_mut(namespace)?;
        line.iter_mut().find(|(known, _)| known == key).map(|(_, item)| item)
    }

    /// Queues something, in the place of what waits under its key. If there are too many then, the namespace that has most
    /// gives up its oldest, which comes back; among equals it is the one that wants more.
    pub(crate) fn push(&mut self, namespace: &Name, key: K, item: T) -> Option<(K, T)> {
        if let Some(before) = self.get_mut(namespace, &key) {
            *before = item;
            return None;
        }
        self.lines.entry(namespace.clone()).or_default().push_back((key, item));
        if self.len() <= self.most {
            return None;
        }
        let most = self.lines.iter().max_by_key(|(name, line)| (line.len(), *name == namespace));
        let most = most.map(|(name, _)| name.clone())?;
        let oldest = self.lines.get_mut(&most)?.pop_front();
        self.forget_if_empty(&most);
        oldest
    }

    /// The next one that is chosen: namespaces are asked in turn, and what waits in each from the oldest on.
    pub(crate) fn take(&mut self, mut choose: impl FnMut(&Name, &K, &T) -> Choice) -> Option<(Name, K, T)> {
        let mut turn = self.last.clone();
        for _ in 0..self.lines.len() {
            let name = self.after(turn.as_ref())?;
            if let Some((key, item)) = self.take_from(&name, &mut choose) {
                self.last = Some(name.clone());
                return Some((name, key, item));
            }
            turn = Some(name);
        }
        None
    }

    /// Keeps only some of what waits in a namespace.
    pub(crate) fn retain(&mut self, namespace: &Name, mut keep: impl FnMut(&K, &mut T) -> bool) {
        if let Some(line) = self.lines.get_mut(namespace) {
            line.retain_mut(|(key, item)| keep(key, item));
        }
        self.forget_if_empty(namespace);
    }

    /// The namespace whose turn it is after another's.
    fn after(&self, last: Option<&Name>) -> Option<Name> {
        let later = last.and_then(|last| {
            let range = (Bound::Excluded(last.clone()), Bound::Unbounded);
            self.lines.range::<Name, _>(range).next()
        });
        later.or_else(|| self.lines.first_key_value()).map(|(name, _)| name.clone())
    }

    fn take_from(
        &mut self,
        namespace: &Name,
        choose: &mut impl FnMut(&Name, &K, &T) -> Choice,
    ) -> Option<(K, T)> {
        let line = self.lines.get_mut(namespace)?;
        let mut taken = None;
        let mut place = 0;
        while let Some((key, item)) = line.get(place) {
            match choose(namespace, key, item) {
                Choice::Leave => place += 1,
                Choice::Drop => drop(line.remove(place)),
                Choice::Take => {
                    taken = line.remove(place);
                    break;
                }
            }
        }
        self.forget_if_empty(namespace);
        taken
    }

    fn forget_if_empty(&mut self, namespace: &Name) {
        if self.lines.get(namespace).is_some_and(VecDeque::is_empty) {
            self.lines.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(most: usize, items: &[(&str, u32)]) -> FairQueue<u32, u32> {
        let mut waiting = FairQueue::new(most);
        for (namespace, n) in items {
            waiting.push(&Name::from(*namespace), *n, *n);
        }
        waiting
    }

    fn all(waiting: &mut FairQueue<u32, u32>) -> Vec<(String, u32)> {
        std::iter::from_fn(|| waiting.take(|_, _, _| Choice::Take))
            .map(|(namespace, _, item)| (namespace.to_string(), item))
            .collect()
    }

    #[test]
    fn namespaces_have_their_turns_and_each_keeps_its_order() {
        let mut waiting = with(10, &[("b", 1), ("b", 2), ("b", 3), ("c", 4), ("a", 5)]);
        let order: Vec<u32> = all(&mut waiting).into_iter().map(|(_, n)| n).collect();
        assert_eq!(order, [5, 1, 4, 2, 3]);
        assert!(waiting.lines.is_empty());
    }

    #[test]
    fn who_comes_last_is_next_whatever_others_have_queued() {
        let mut waiting = with(1000, &[]);
        for n in 0..500 {
            waiting.push(&"loud".into(), n, n);
        }
        waiting.take(|_, _, _| Choice::Take);
        waiting.push(&"quiet".into(), 1000, 1000);
        assert_eq!(all(&mut waiting)[0], ("quiet".to_owned(), 1000));
    }

    #[test]
    fn who_has_most_gives_up_its_oldest_for_another_and_for_itself() {
        let mut waiting = with(4, &[("loud", 1), ("loud", 2), ("loud", 3), ("quiet", 4)]);
        assert_eq!(waiting.push(&"third".into(), 5, 5), Some((1, 1)));
        assert_eq!(waiting.push(&"loud".into(), 6, 6), Some((2, 2)));
        assert_eq!(waiting.push(&"quiet".into(), 7, 7), Some((4, 4)), "both have two: who wants more gives");
        assert_eq!(waiting.len(), 4);
        let mut full = with(2, &[("a", 1), ("b", 2)]);
        assert_eq!(full.push(&"c".into(), 3, 3), Some((3, 3)), "nobody has more than the one who comes");
    }

    #[test]
    fn a_key_waits_once_with_the_newest_in_its_old_place() {
        let mut waiting = with(10, &[("a", 1), ("a", 2)]);
        assert_eq!(waiting.push(&"a".into(), 1, 10), None);
        *waiting.get_mut(&"a".into(), &2).unwrap() += 18;
        assert_eq!(all(&mut waiting), [("a".to_owned(), 10), ("a".to_owned(), 20)]);
    }

    #[test]
    fn what_is_left_waits_on_and_keeps_nobody_else() {
        let mut waiting = with(10, &[("a", 1), ("a", 2), ("a", 3), ("b", 4)]);
        let choose = |_: &Name, _: &u32, n: &u32| match n {
            1 => Choice::Leave,
            2 => Choice::Drop,
            _ => Choice::Take,
        };
        assert_eq!(waiting.take(choose).map(|(_, _, n)| n), Some(3));
        assert_eq!(waiting.take(choose).map(|(_, _, n)| n), Some(4));
        assert_eq!(waiting.take(choose), None);
        assert_eq!(all(&mut waiting), [("a".to_owned(), 1)]);
    }
}
