//! The pods that ask for something, within the memory that there is for all of them. It is shared by namespace: where there
//! isn't enough, the namespace that takes the most gives up its largest pod, so that nobody's pods displace those of somebody
//! who takes less.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::excess::Excess;
use crate::model::names::Name;
use crate::model::pod::Pod;

/// How much memory there is for the pods of a node, in bytes as [`PodSpec::cost`](crate::model::pod::PodSpec::cost) counts
/// them: a third of what the agent may take. 250 pods with ten volumes each take half of it.
pub const MOST_BYTES: usize = 24 << 20;

/// The pods.
#[derive(Clone, Debug)]
pub struct Crowd<K> {
    most: usize,
    total: usize,
    pods: BTreeMap<K, (Arc<Pod>, usize)>,
    namespaces: BTreeMap<Name, usize>,
}

impl<K: Ord + Clone> Default for Crowd<K> {
    fn default() -> Self {
        Self::of(MOST_BYTES)
    }
}

impl<K: Ord + Clone> Crowd<K> {
    fn of(most: usize) -> Self {
        Self { most, total: 0, pods: BTreeMap::new(), namespaces: BTreeMap::new() }
    }

    /// The pod with this key, if it is kept.
    pub fn get(&self, key: &K) -> Option<&Arc<Pod>> {
        self.pods.get(key).map(|(pod, _)| pod)
    }

    /// All of them, in the order of their keys.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values().map(|(pod, _)| pod)
    }

    /// Takes a pod in, instead of the one with its key. Whether that changed anything.
    pub fn insert(&mut self, key: K, pod: Arc<Pod>) -> bool {
        let before = self.remove(&key);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &pod) || *before == pod) {
            self.put(key, before.unwrap_or(pod));
            return false;
        }
        let left_out = before.as_ref().and_then(|before| before.spec.excess) == Some(Excess::Node);
        let was = before.clone();
        self.put(key.clone(), pod);
        self.shed(&key);
        // One that is left out again is as it was.
        !(left_out && self.get(&key) == was.as_ref())
    }

    /// A pod is gone.
    pub fn remove(&mut self, key: &K) -> Option<Arc<Pod>> {
        let (pod, cost) = self.pods.remove(key)?;
        self.total -= cost;
        if let Some(sum) = self.namespaces.get_mut(&pod.namespace) {
            *sum -= cost;
            if *sum == 0 {
                self.namespaces.remove(&pod.namespace);
            }
        }
        Some(pod)
    }

    fn put(&mut self, key: K, pod: Arc<Pod>) {
        let cost = pod.spec.cost();
        self.total += cost;
        *self.namespaces.entry(pod.namespace.clone()).or_default() += cost;
        self.pods.insert(key, (pod, cost));
    }

    /// Leaves pods out until the others fit, of equal ones the newest; when there is nothing left to leave out of them, they
    /// are forgotten.
    fn shed(&mut self, newest: &K) {
        while self.total > self.most {
            let Some((largest, _)) = self.namespaces.iter().max_by_key(|(_, sum)| **sum) else { return };
            let theirs = self.pods.iter().filter(|(_, (pod, _))| pod.namespace == *largest);
            let Some((key, _)) = theirs.max_by_key(|(key, (_, cost))| (*cost, *key == newest)) else {
                return;
            };
            let key = key.clone();
            if let Some(pod) = self.remove(&key)
                && pod.spec.excess.is_none()
                && pod.spec.asks()
            {
                self.put(key, Arc::new(pod.left_out(Excess::Node)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::PodUid;
    use crate::model::pod::{
        AnnotationValue, Container, ContainerKind, ObjectSource, PodSpec, Volume, VolumeSource,
    };

    fn pod(namespace: &str, volumes: usize) -> Arc<Pod> {
        let volume = |n: usize| Volume {
            name: format!("v{n}").into(),
            source: VolumeSource::ConfigMap(ObjectSource::default()),
            csi: None,
        };
        let app = Container {
            name: "app".into(),
            kind: ContainerKind::Regular,
            mounts: Vec::new(),
            environment: Vec::new(),
            ..Container::default()
        };
        Arc::new(Pod {
            uid: PodUid::parse("0f3c7e52-1111-2222-3333-444455556666").unwrap(),
            namespace: namespace.into(),
            name: "web".into(),
            spec: PodSpec {
                annotations: [("reloadlet.io/signal".to_owned(), AnnotationValue::Text("HUP".to_owned()))]
                    .into(),
                containers: vec![app],
                volumes: (0..volumes).map(volume).collect(),
                ..PodSpec::default()
            },
            status: BTreeMap::new(),
            phases: BTreeMap::new(),
            addresses: Vec::new(),
            replica: None,
            given: None,
            unrolled: false,
            terminating: false,
        })
    }

    fn followed(crowd: &Crowd<usize>, namespace: &str) -> usize {
        crowd.pods().filter(|pod| &*pod.namespace == namespace && pod.spec.excess.is_none()).count()
    }

    #[test]
    fn the_largest_namespace_gives_up_its_largest_pods_and_nobody_else_any() {
        let mut crowd = Crowd::of(4 * pod("large", 100).spec.cost());
        for n in 0..3 {
            assert!(crowd.insert(n, pod("small", 10)));
        }
        for n in 10..30 {
            crowd.insert(n, pod("large", 100));
        }
        assert!(crowd.insert(40, pod("late", 10)));
        assert_eq!((followed(&crowd, "small"), followed(&crowd, "late")), (3, 1));
        assert!((1..4).contains(&followed(&crowd, "large")));
        assert!(crowd.total <= crowd.most);
        let left_out: Vec<_> = crowd.pods().filter_map(|pod| pod.spec.excess).collect();
        assert!(!left_out.is_empty() && left_out.iter().all(|excess| *excess == Excess::Node));
    }

    #[test]
    fn pods_that_are_gone_make_room_for_others() {
        let mut crowd = Crowd::of(3 * pod("a", 50).spec.cost() + 2048);
        for n in 0..4 {
            crowd.insert(n, pod("a", 50));
        }
        assert_eq!(followed(&crowd, "a"), 3);
        let out = (0..4).find(|n| crowd.get(n).is_some_and(|pod| pod.spec.excess.is_some())).unwrap();
        assert!(!crowd.insert(out, pod("a", 50)), "it is left out again, which is nothing new");
        assert_eq!(out, 3, "the newest");
        for n in (0..4).filter(|n| *n != out) {
            crowd.remove(&n);
        }
        assert!(crowd.insert(out, pod("a", 50)));
        assert_eq!((followed(&crowd, "a"), crowd.pods().count()), (1, 1));
        crowd.remove(&out);
        assert_eq!((crowd.total, crowd.namespaces.len()), (0, 0));
    }

    #[test]
    fn even_what_is_said_of_pods_that_are_left_out_has_an_end() {
        let mut crowd = Crowd::of(64 << 10);
        for n in 0..1000 {
            crowd.insert(n, pod("a", 50));
        }
        assert!(crowd.total <= 64 << 10 && crowd.pods().count() <= 64);
    }
}
