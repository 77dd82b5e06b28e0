//! How the kubelet learns of changes, and what a nudge can do about it.

use crate::model::closed::closed_set;

closed_set! {
    /// The kubelet's `configMapAndSecretChangeDetectionStrategy`, by the names in its configuration.
    pub enum Strategy {
        /// Watches of the API server fill a cache.
        Watch => "Watch",
        /// Entries of a cache live for a while, which a change of the pod doesn't end (since Kubernetes 1.29,
        /// `cache_based_manager.go: RegisterPod`).
        Cache => "Cache",
        /// The API server is asked whenever the kubelet looks at a pod.
        Get => "Get",
    }
}

impl Strategy {
    /// Whether a kubelet that is made to look finds what is new.
    pub const fn finds_the_new(self) -> bool {
        match self {
            Self::Watch | Self::Get => true,
            Self::Cache => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::closed::Closed as _;

    #[test]
    fn only_a_cache_that_lives_on_makes_nudges_vain() {
        for (name, finds) in [("Watch", Some(true)), ("Get", Some(true)), ("Cache", Some(false))] {
            assert_eq!(Strategy::parse(name).map(Strategy::finds_the_new), finds, "{name}");
        }
        for other in ["", "cache", "Cache ", "Informer"] {
            assert_eq!(Strategy::parse(other), None, "{other:?}");
        }
    }
}
