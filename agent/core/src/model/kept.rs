//! How memory is shared by namespaces: each may take half of what the others have left, so that there is always something left
//! for one more.

use std::collections::BTreeMap;

use crate::model::names::Name;

/// What is kept, by what it is kept for: of all namespaces together at most `MOST` bytes.
#[derive(Debug)]
pub(crate) struct Kept<K, const MOST: usize> {
    costs: BTreeMap<K, (Name, usize)>,
    namespaces: BTreeMap<Name, usize>,
    total: usize,
}

impl<K, const MOST: usize> Default for Kept<K, MOST> {
    fn default() -> Self {
        Self { costs: BTreeMap::new(), namespaces: BTreeMap::new(), total: 0 }
    }
}

impl<K: Clone + Ord, const MOST: usize> Kept<K, MOST> {
    /// Whether there is room for this of a namespace, in place of what was kept for the same before.
    pub(crate) fn has_room(&self, namespace: &Name, key: &K, cost: usize) -> bool {
        let before = self.costs.get(key).map_or(0, |(_, cost)| *cost);
        let of_namespace = self.namespaces.get(namespace).copied().unwrap_or_default();
        let left = MOST.saturating_sub(self.total - of_namespace) / 2;
        of_namespace - before + cost <= left
    }

    /// So much is kept for it now.
    pub(crate) fn set(&mut self, namespace: &Name, key: &K, cost: usize) {
        let before = match cost {
            0 => self.costs.remove(key),
            _ => self.costs.insert(key.clone(), (namespace.clone(), cost)),
        };
        let before = before.map_or(0, |(_, cost)| cost);
        self.total = self.total - before + cost;
        let of_namespace = self.namespaces.entry(namespace.clone()).or_default();
        *of_namespace = *of_namespace - before + cost;
        if *of_namespace == 0 {
            self.namespaces.remove(namespace);
        }
    }

    /// Nothing is kept any more for those keys.
    pub(crate) fn forget(&mut self, keys: impl Fn(&K) -> bool) {
        let gone: Vec<(K, Name)> = self
            .costs
            .iter()
            .filter(|(key, _)| keys(key))
            .map(|(key, (namespace, _))| (key.clone(), namespace.clone()))
            .collect();
        for (key, namespace) in gone {
            self.set(&namespace, &key, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 8 << 20;

    #[test]
    fn a_namespace_may_take_half_of_what_the_others_leave_and_some_is_always_left() {
        let mut kept = Kept::<_, MOST>::default();
        for namespace in 0..12 {
            let name = Name::from(format!("hostile-{namespace}"));
            let mut key = 0;
            while kept.has_room(&name, &(namespace, key), 1000) {
                kept.set(&name, &(namespace, key), 1000);
                key += 1;
            }
        }
        assert!(kept.total < MOST);
        let first = kept.namespaces[&Name::from("hostile-0")];
        assert!((MOST / 2 - 1000..=MOST / 2).contains(&first), "{first}");
        assert!(kept.has_room(&"shop".into(), &(99, 0), 600), "{} are left", MOST - kept.total);
    }

    #[test]
    fn what_takes_the_place_of_something_counts_without_it_and_what_is_forgotten_not_at_all() {
        let mut kept = Kept::<_, MOST>::default();
        let shop = Name::from("shop");
        kept.set(&shop, &"a", MOST / 2);
        assert!(!kept.has_room(&shop, &"b", 1));
        assert!(kept.has_room(&shop, &"a", MOST / 2) && !kept.has_room(&shop, &"a", MOST / 2 + 1));
        kept.set(&shop, &"a", 10);
        kept.set(&shop, &"b", 20);
        assert_eq!((kept.total, kept.namespaces[&shop]), (30, 30));
        kept.forget(|key| *key == "a");
        kept.set(&shop, &"b", 0);
        assert!(kept.costs.is_empty() && kept.namespaces.is_empty() && kept.total == 0);
    }
}
