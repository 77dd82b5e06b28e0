//! What several tests of what is told need.

use std::collections::BTreeMap;

use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::pod::{Pod, PodSpec};

/// A pod that has nothing but names.
pub(crate) fn pod(namespace: &str, name: &str, uid: &str) -> Pod {
    Pod {
        uid: PodUid::parse(uid).unwrap(),
        namespace: namespace.into(),
        name: name.into(),
        spec: PodSpec::default(),
        status: BTreeMap::default(),
        phases: BTreeMap::default(),
        addresses: Vec::new(),
        replica: None,
        given: None,
        unrolled: false,
        terminating: false,
    }
}
