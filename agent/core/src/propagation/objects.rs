//! The objects that the node's pods are made of, each watched once for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use crate::model::digest::Files;
use crate::model::names::PodUid;
use crate::model::object::{MOST_KEYS, ObjectRef, ObjectVersion, Observed};
use crate::model::time::Time;
use crate::propagation::kept::{self, Kept};

/// Who needs which object, and what was last said of it.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    known: BTreeMap<ObjectRef, Known>,
    of_pods: BTreeMap<PodUid, BTreeSet<ObjectRef>>,
    kept: Kept<ObjectRef>,
}

#[derive(Debug, Default)]
struct Known {
    pods: BTreeSet<PodUid>,
    latest: Option<(Observed, Time)>,
    /// What was told of it and may be kept by somebody, and how much each takes.
    told: Vec<(Weak<Files>, usize)>,
}

impl Known {
    /// How much of what was told is still kept.
    fn cost(&mut self) -> usize {
        self.told.retain(|(files, _)| files.strong_count() > 0);
        self.told.iter().map(|(_, cost)| cost).sum()
    }

    fn keep(&mut self, version: &ObjectVersion, cost: usize) {
        self.told.push((Arc::downgrade(&version.keys), cost));
    }
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
                self.kept.set(&object.namespace, object, 0);
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

    /// The API server said something; gives back what is to be told, and to whom. What there is no room for isn't measured.
    pub(crate) fn observed(
        &mut self,
        object: &ObjectRef,
        observed: Observed,
        at: Time,
    ) -> (Observed, Vec<PodUid>) {
        let Some(known) = self.known.get_mut(object) else { return (observed, Vec::new()) };
        let observed = match observed {
            Observed::Version(version) => {
                let cost = kept::cost(&version.keys);
                let all = known.cost() + cost;
                if version.keys.len() > MOST_KEYS || !self.kept.has_room(&object.namespace, object, all) {
                    Observed::Unmeasured
                } else {
                    known.keep(&version, cost);
                    Observed::Version(version)
                }
            }
            Observed::Absent | Observed::Unmeasured => observed,
        };
        known.latest = Some((observed.clone(), at));
        (observed, known.pods.iter().cloned().collect())
    }

    /// Everybody has taken in what was said, and dropped what came before as they see fit.
    pub(crate) fn taken_in(&mut self, object: &ObjectRef) {
        if let Some(known) = self.known.get_mut(object) {
            self.kept.set(&object.namespace, object, known.cost());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;
    use crate::model::object::ObjectKind;

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
        assert_eq!(objects.observed(&object("b"), Observed::Absent, Time::default()).1, [pod(2)]);
        assert_eq!(set(&mut objects, 2, &[]), (vec![], vec![object("b")]));
        assert_eq!(set(&mut objects, 1, &[]), (vec![], vec![object("c")]));
        assert!(objects.known.is_empty() && objects.of_pods.is_empty());
    }

    #[test]
    fn a_pod_that_comes_later_is_told_what_is_known() {
        let mut objects = Objects::default();
        objects.set(&pod(1), [object("a")].into());
        objects.observed(&object("a"), Observed::Absent, Time::from_nanos(7));
        let changed = objects.set(&pod(2), [object("a")].into());
        assert_eq!(changed.known, [(object("a"), Observed::Absent, Time::from_nanos(7))]);
    }

    fn large(name: &str, version: u32, keys: usize) -> (ObjectRef, Observed) {
        let keys =
            (0..keys).map(|key| (format!("key-{version}-{key}").into(), Digest::new([0; 32]))).collect();
        let version = ObjectVersion {
            uid: "u".into(),
            version: version.to_string().into(),
            immutable: false,
            ignored: false,
            updated: None,
            keys: Arc::new(keys),
        };
        (object(name), Observed::Version(Arc::new(version)))
    }

    #[test]
    fn what_is_kept_of_all_objects_is_bounded_and_small_ones_of_others_are_measured_all_the_same() {
        let mut objects = Objects::default();
        let names: Vec<String> = (0..100).map(|name| format!("{name:03}")).collect();
        objects.set(&pod(1), names.iter().map(|name| object(name)).collect());
        let mut measured = 0;
        for name in &names {
            let (object, observed) = large(name, 1, MOST_KEYS);
            let (told, _) = objects.observed(&object, observed, Time::default());
            objects.taken_in(&object);
            measured += usize::from(told != Observed::Unmeasured);
        }
        assert!((5..10).contains(&measured), "{measured} of 100 with half a megabyte each");
        let other = ObjectRef { namespace: "other".into(), ..object("small") };
        objects.set(&pod(2), [other.clone()].into());
        assert_ne!(objects.observed(&other, large("", 1, 20).1, Time::default()).0, Observed::Unmeasured);
        assert_eq!(
            objects.observed(&other, large("", 1, MOST_KEYS + 1).1, Time::default()).0,
            Observed::Unmeasured
        );
        objects.set(&pod(1), BTreeSet::new());
        objects.set(&pod(2), BTreeSet::new());
        assert!(objects.kept.has_room(&"shop".into(), &object("any"), 4 << 20), "nothing is left of them");
    }

    #[test]
    fn contents_that_somebody_still_keeps_count_and_those_that_nobody_keeps_do_not() {
        let mut objects = Objects::default();
        objects.set(&pod(1), [object("a")].into());
        let mut kept = Vec::new();
        let mut told = Observed::Absent;
        for version in 0..100 {
            let (object, observed) = large("a", version, MOST_KEYS);
            told = objects.observed(&object, observed.clone(), Time::default()).0;
            kept.push(observed);
            objects.taken_in(&object);
        }
        assert_eq!(told, Observed::Unmeasured);
        kept.clear();
        for version in 100..200 {
            let (object, observed) = large("a", version, MOST_KEYS);
            assert_ne!(objects.observed(&object, observed, Time::default()).0, Observed::Unmeasured);
            objects.taken_in(&object);
        }
    }
}
