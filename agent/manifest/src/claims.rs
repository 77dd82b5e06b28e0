//! Whose a UID is, where several pods claim it: nobody's. A pod's directory and cgroup are found by its UID, so none of
//! them may speak for what is found there.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::pod::Pod;

/// The most pods of one UID that are named.
const MOST_NAMED: usize = 5;

/// A UID that several pods claim, and that is served for none of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimed {
    /// The UID.
    pub uid: PodUid,
    /// The pods that claim it.
    by: Vec<String>,
}

impl Claimed {
    /// How many pods claim it.
    pub fn count(&self) -> usize {
        self.by.len()
    }
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.by.get(..MOST_NAMED).unwrap_or(&self.by);
        write!(f, "{}", named.join(", "))?;
        if let Some(more @ 1..) = self.by.len().checked_sub(named.len()) {
            write!(f, " and {more} more")?;
        }
        write!(f, " have the same UID {} and are left alone: a UID is one pod's", self.uid)
    }
}

/// The pods whose UID is theirs alone, in their order, and the UIDs that several claim.
pub fn sort_out<P: Borrow<Pod>>(mut pods: Vec<P>) -> (Vec<P>, Vec<Claimed>) {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<PodUid> =
        pods.iter().map(|pod| &pod.borrow().uid).filter(|uid| !seen.insert(*uid)).cloned().collect();
    if twice.is_empty() {
        return (pods, Vec::new());
    }
    let mut claims: BTreeMap<PodUid, Vec<String>> = BTreeMap::new();
    pods.retain(|pod| {
        let pod = pod.borrow();
        if twice.contains(&pod.uid) {
            claims.entry(pod.uid.clone()).or_default().push(format!("{}/{}", pod.namespace, pod.name));
        }
        !twice.contains(&pod.uid)
    });
    (pods, claims.into_iter().map(|(uid, by)| Claimed { uid, by }).collect())
}
