//! What waits for the loop, by namespace: each is served one thing, then the next one is. Within a namespace everything
//! comes in the order in which it was added, so nothing overtakes what was seen before it of the same pod.

use std::collections::{HashMap, VecDeque};

use reloadlet_core::model::names::Name;

/// What waits, by namespace.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    /// The namespaces for which something waits, the next one first.
    order: VecDeque<Name>,
    waiting: HashMap<Name, OfNamespace<T>>,
    count: usize,
}

#[derive(Debug)]
struct OfNamespace<T> {
    begun: VecDeque<T>,
    new: VecDeque<T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), waiting: HashMap::new(), count: 0 }
    }
}

impl<T> Turns<T> {
    /// Something new, which comes after all else of the namespace.
    pub(crate) fn add(&mut self, namespace: &Name, what: T) {
        self.of(namespace).new.push_back(what);
    }

    /// What is left of something that was begun, which comes before what is new to the namespace.
    pub(crate) fn add_rest(&mut self, namespace: &Name, what: T) {
        self.of(namespace).begun.push_back(what);
    }

    fn of(&mut self, namespace: &Name) -> &mut OfNamespace<T> {
        self.count += 1;
        if !self.waiting.contains_key(namespace) {
            self.order.push_back(namespace.clone());
        }
        self.waiting
            .entry(namespace.clone())
            .or_insert_with(|| OfNamespace { begun: VecDeque::new(), new: VecDeque::new() })
    }

    /// The next thing, of the namespace whose turn it is.
    pub(crate) fn take(&mut self) -> Option<T> {
        let namespace = self.order.pop_front()?;
        let waiting = self.waiting.get_mut(&namespace)?;
        let next = waiting.begun.pop_front().or_else(|| waiting.new.pop_front());
        if waiting.begun.is_empty() && waiting.new.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.order.push_back(namespace);
        }
        self.count -= usize::from(next.is_some());
        next
    }

    /// Whether something that was begun for the namespace waits.
    pub(crate) fn has_begun(&self, namespace: &Name) -> bool {
        self.waiting.get(namespace).is_some_and(|waiting| !waiting.begun.is_empty())
    }

    /// How many new things wait for a namespace.
    pub(crate) fn new_of(&self, namespace: &Name) -> usize {
        self.waiting.get(namespace).map_or(0, |waiting| waiting.new.len())
    }

    /// How much waits.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(turns: &mut Turns<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.take()).collect()
    }

    #[test]
    fn namespaces_take_turns_however_much_waits_for_one_and_each_keeps_its_order() {
        let (loud, quiet) = (Name::from("loud"), Name::from("quiet"));
        let mut turns = Turns::default();
        (0..1000).for_each(|n| turns.add(&loud, n));
        assert_eq!((turns.take(), turns.take()), (Some(0), Some(1)));
        turns.add(&quiet, 5000);
        turns.add(&quiet, 5001);
        let rest = all(&mut turns);
        assert_eq!(rest[..5], [2, 5000, 3, 5001, 4]);
        assert!(rest[4..].iter().copied().eq(4..1000), "{rest:?}");
        assert_eq!(turns.len(), 0);
        assert!(turns.is_empty() && turns.waiting.is_empty() && turns.order.is_empty());
    }

    #[test]
    fn what_was_begun_comes_before_what_is_new_to_the_same_namespace() {
        let name = Name::from("shop");
        let mut turns = Turns::default();
        turns.add(&name, 3);
        turns.add_rest(&name, 1);
        turns.add_rest(&name, 2);
        assert!(turns.has_begun(&name) && !turns.has_begun(&"other".into()));
        assert_eq!(turns.new_of(&name), 1);
        assert_eq!(all(&mut turns), [1, 2, 3]);
    }
}
