//! The objects that the node's pods are made of, each watched once for all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::object::{ObjectRef, Observed};
use crate::pod::PodUid;
use crate::time::Time;

/// Who needs which object, and what was last said of it.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    known: BTreeMap<ObjectRef, Known>,
    of_pods: BTreeMap<PodUid, BTreeSet<ObjectRef>>,
}

#[derive(Debug, Default)]
struct Known {
    pods: BTreeSet<PodUid>,
    latest: Option<(Observed, Time)>,
}

/// What follows from a pod's objects being others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// To be watched.
    pub(crate) new: Vec<ObjectRef>,
    /// Needed by nobody any more.
    pub(crate) gone: Vec<ObjectRef>,
    /// Watched already for another pod, and what was last said of it.
    pub(crate) known: Vec<(ObjectRef, Observed, Time)>,
}

impl Objects {
    /// A pod needs these objects, and no others.
    pub(crate) fn set(&mut self, pod: &PodUid, wanted: BTreeSet<ObjectRef>) -> Changed {
        let before = self.of_pods.remove(pod).unwrap_or_default();
        let mut changed = Changed::default();
        for object in wanted.difference(&before) {
            let entry = self.known.entry(object.clone()).or_default();
            if entry.pods.is_empty() {
                changed.new.push(object.clone());
            }
            entry.pods.insert(pod.clone());
        }
        for object in before.difference(&wanted) {
            let Some(entry) = self.known.get_mut(object) else { continue };
            entry.pods.remove(pod);
            if entry.pods.is_empty() {
                self.known.remove(object);
                changed.gone.push(object.clone());
            }
        }
        let known = wanted.iter().filter_map(|object| {
            let (observed, at) = self.known.get(object)?.latest.clone()?;
            Some((object.clone(), observed, at))
        });
        changed.known = known.collect();
        if !wanted.is_empty() {
            self.of_pods.insert(pod.clone(), wanted);
        }
        changed
    }

    /// The API server said something; gives back whom it concerns.
    pub(crate) fn observed(&mut self, object: &ObjectRef, observed: &Observed, at: Time) -> Vec<PodUid> {
        let Some(known) = self.known.get_mut(object) else { return Vec::new() };
        known.latest = Some((observed.clone(), at));
        known.pods.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectKind;

    fn object(name: &str) -> ObjectRef {
        ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: name.into() }
    }

    fn pod(n: u32) -> PodUid {
        PodUid::parse(&format!("{n:08x}")).unwrap()
    }

    #[test]
    fn an_object_is_watched_from_the_first_pod_that_needs_it_to_the_last() {
        let mut objects = Objects::default();
        let set = |objects: &mut Objects, n, names: &[&str]| {
            let changed = objects.set(&pod(n), names.iter().map(|name| object(name)).collect());
            (changed.new, changed.gone)
        };
        assert_eq!(set(&mut objects, 1, &["a", "b"]), (vec![object("a"), object("b")], vec![]));
        assert_eq!(set(&mut objects, 2, &["b"]), (vec![], vec![]));
        assert_eq!(set(&mut objects, 1, &["c"]), (vec![object("c")], vec![object("a")]));
        assert_eq!(objects.observed(&object("b"), &Observed::Absent, Time::default()), [pod(2)]);
        assert_eq!(set(&mut objects, 2, &[]), (vec![], vec![object("b")]));
        assert_eq!(set(&mut objects, 1, &[]), (vec![], vec![object("c")]));
        assert!(objects.known.is_empty() && objects.of_pods.is_empty());
    }

    #[test]
    fn a_pod_that_comes_later_is_told_what_is_known() {
        let mut objects = Objects::default();
        objects.set(&pod(1), [object("a")].into());
        objects.observed(&object("a"), &Observed::Absent, Time::from_nanos(7));
        let changed = objects.set(&pod(2), [object("a")].into());
        assert_eq!(changed.known, [(object("a"), Observed::Absent, Time::from_nanos(7))]);
    }
}
