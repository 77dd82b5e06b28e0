//! Where a person holds all rolls.

use std::collections::BTreeSet;

use crate::model::names::Name;

/// The namespaces in which they are held.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    all: bool,
    namespaces: BTreeSet<Name>,
}

impl Holds {
    /// In all of them, or in these.
    pub(crate) fn new(all: bool, namespaces: impl IntoIterator<Item = Name>) -> Self {
        Self { all, namespaces: namespaces.into_iter().collect() }
    }

    /// Whether they are in a namespace.
    pub(crate) fn are_on(&self, namespace: &Name) -> bool {
        self.all || self.namespaces.contains(namespace)
    }
}
