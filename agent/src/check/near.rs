//! Names that are almost the same as one that isn't there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::ObjectKind;

/// Names that differ in more letters than these aren't taken for the same one misspelled.
const MOST_LETTERS: usize = 3;
/// So many names are compared at most for each one that is missing.
const MOST_COMPARED: usize = 2_000;
/// So many pairs of letters are compared in all, which takes about a second; from then on no name is near.
const MOST_PAIRS: usize = 100_000_000;
/// So many answers are remembered.
const MOST_REMEMBERED: usize = 10_000;
/// What a comparison takes beside its letters, in pairs of them.
const COMPARISON: usize = 16;

/// What was looked for so far, and how much may still be.
#[derive(Debug)]
pub(super) struct Near {
    known: RefCell<BTreeMap<(ObjectKind, Name), Option<Name>>>,
    left: Cell<usize>,
}

impl Default for Near {
    fn default() -> Self {
        Self { known: RefCell::default(), left: Cell::new(MOST_PAIRS) }
    }
}

impl Near {
    /// Takes so many pairs of letters; `false` if there aren't so many left, and there are none from then on.
    pub(super) fn take(&self, pairs: usize) -> bool {
        let left = self.left.get().checked_sub(pairs);
        self.left.set(left.unwrap_or_default());
        left.is_some()
    }

    /// What is found for this name, looked for once.
    pub(super) fn remembered(
        &self,
        kind: ObjectKind,
        name: &Name,
        find: impl FnOnce(&Self) -> Option<Name>,
    ) -> Option<Name> {
        let place = (kind, name.clone());
        if let Some(known) = self.known.borrow().get(&place) {
            return known.clone();
        }
        let found = find(self);
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(place, found.clone());
        found
    }

    /// The one of these names that is almost the same as another one.
    pub(super) fn of<'a>(&self, names: impl Iterator<Item = &'a Name>, name: &str) -> Option<&'a Name> {
        let mut nearest = None;
        for known in names.take(MOST_COMPARED) {
            if known.len().abs_diff(name.len()) > 4 * MOST_LETTERS {
                continue;
            }
            let (one, other) = without_common(known, name);
            // Letters are at most four bytes, and what is longer by more of them differs in more.
            if one.len().abs_diff(other.len()) > 4 * MOST_LETTERS {
                continue;
            }
            if !self.take(COMPARISON + one.len() * other.len()) {
                return None;
            }
            let letters = strsim::osa_distance(one, other);
            if letters <= MOST_LETTERS && letters < name.len() {
                nearest = nearest.into_iter().chain([(letters, known)]).min();
            }
        }
        nearest.map(|(_, known)| known)
    }
}

/// Two texts without what both begin and both end with, which changes nothing in how far they are from each other.
fn without_common<'a>(one: &'a str, other: &'a str) -> (&'a str, &'a str) {
    let begin = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let begin = one.floor_char_boundary(begin).min(other.floor_char_boundary(begin));
    let (one, other) = (one.get(begin..).unwrap_or(one), other.get(begin..).unwrap_or(other));
    let end = one.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
    let cut = |text: &'a str| text.get(..text.ceil_char_boundary(text.len() - end));
    match (cut(one), cut(other)) {
        (Some(one), Some(other)) => (one, other),
        _ => (one, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_near_that_differs_in_a_few_letters() {
        let names = ["app-config", "web-config", "ünï"].map(Name::from);
        let near = |name: &str| Near::default().of(names.iter(), name).map(|found| found.to_string());
        assert_eq!(near("app-confg").as_deref(), Some("app-config"));
        assert_eq!(near("pap-config").as_deref(), Some("app-config"));
        assert_eq!(near("app-configuration"), None);
        assert_eq!(near("üni").as_deref(), Some("ünï"));
        assert_eq!(near("other"), None);
    }

    #[test]
    fn what_is_compared_has_a_bound_in_all_and_nothing_is_looked_for_twice() {
        let near = Near::default();
        let names: Vec<Name> = (0..MOST_COMPARED).map(|n| Name::from(format!("{n:0200}"))).collect();
        let mut count = 0;
        while near.of(names.iter(), &format!("{}{count:0100}", "x".repeat(100))).is_none() && near.take(1) {
            count += 1;
            assert!(count < 1000);
        }
        assert_eq!(near.of(names.iter(), &names[0]), None, "nothing is left");
        let near = Near::default();
        let name = Name::from("a");
        assert_eq!(near.remembered(ObjectKind::Secret, &name, |_| Some("b".into())), Some("b".into()));
        assert_eq!(near.remembered(ObjectKind::Secret, &name, |_| None), Some("b".into()));
    }
}
