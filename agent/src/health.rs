//! What the agent itself lacks: never a pod's fault, and the first thing that `/status` and `reloadlet status` say. What
//! it lacks of the API server is in [`crate::contact`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reloadlet_core::model::closed::{Closed as _, closed_set};

closed_set! {
    /// Something that the agent may lack, the worst first. To have another one said, add it here with its word, give it a
    /// sentence, and call [`Health::set`] (or [`Health::count`], where the number matters) whenever it is known whether it
    /// is so.
    pub(crate) enum Ailment {
        /// Another agent holds the journal.
        JournalHeld => "journal_held",
        /// The agent isn't allowed to look into the kubelet's directory of pods.
        KubeletRootClosed => "kubelet_root_closed",
        /// The kubelet's directory of pods isn't there, or isn't the kubelet's.
        KubeletRoot => "kubelet_root",
        /// The pods file can't be used.
        PodsFile => "pods_file",
        /// Some pods of the pods file can't be used: how many.
        PodsLeftAlone => "pods_left_alone",
        /// Changes of some pods wait for something that is said with each of them: of how many pods.
        Looks => "looks",
        /// The journal can't be written.
        Journal => "journal",
        /// Writing outside the state directory wasn't given up.
        Confinement => "confinement",
        /// The admission policy doesn't refuse what it must.
        Fence => "fence",
        /// What the kubelet mounts isn't seen by the agent.
        MountPropagation => "mount_propagation",
        /// Changes of mounts can't be seen.
        MountTable => "mount_table",
        /// Some volumes can't be watched: how many.
        Watches => "watches",
    }
}

impl Ailment {
    /// What it means, in one sentence.
    fn sentence(self, count: u64) -> String {
        match self {
            Self::JournalHeld => {
                "Another agent on this node holds the journal: one of the two must end (the log says which process it is).".to_owned()
            }
            Self::KubeletRootClosed => {
                "The agent isn't allowed to look into the kubelet's directory of pods: changes aren't seen until it is (the log has the error).".to_owned()
            }
            Self::KubeletRoot => {
                "The kubelet's directory of pods isn't there, or isn't the one that the kubelet uses: check --kubelet-root and the mount of it.".to_owned()
            }
            Self::PodsFile => {
                "The pods file can't be used, and the pods of its last good content are served, if there was one: the log says why.".to_owned()
            }
            Self::PodsLeftAlone if count == 1 => {
                "One pod of the pods file is left alone: the log says which and why.".to_owned()
            }
            Self::PodsLeftAlone => {
                format!("{count} pods of the pods file are left alone: the log says which and why.")
            }
            Self::Looks if count == 1 => {
                "Changes of one pod wait for something that the agent lacks: the pod's problem says what.".to_owned()
            }
            Self::Looks => format!(
                "Changes of {count} pods wait for something that the agent lacks: the pods' problems say what."
            ),
            Self::Journal => {
                "The journal can't be written, and what was done is forgotten when the agent ends.".to_owned()
            }
            Self::Confinement => {
                "Writing files outside the state directory wasn't given up: the kernel's Landlock is missing or incomplete."
                    .to_owned()
            }
            Self::Fence => {
                "The admission policy doesn't fence this account in: it could change more of pods than a nudge does.".to_owned()
            }
            Self::MountPropagation => {
                "What the kubelet mounts after the agent's start isn't seen: the mount of its directory of pods needs mountPropagation: HostToContainer.".to_owned()
            }
            Self::MountTable => {
                "Changes of mounts can't be seen, and volumes are looked at each second.".to_owned()
            }
            Self::Watches if count == 1 => {
                "One volume can't be watched, and is read once a second.".to_owned()
            }
            Self::Watches => format!("{count} volumes can't be watched, and are read once a second."),
        }
    }
}

/// What is lacking now. Clones share it; writing never waits.
#[derive(Clone, Debug)]
pub(crate) struct Health(Arc<[AtomicU64; Ailment::ALL.len()]>);

impl Health {
    /// Nothing is known to be lacking.
    pub(crate) fn new() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; Ailment::ALL.len()]))
    }

    /// Whether it is lacking from now on.
    pub(crate) fn set(&self, lack: Ailment, lacking: bool) {
        self.count(lack, usize::from(lacking));
    }

    /// How many of it are lacking from now on.
    pub(crate) fn count(&self, lack: Ailment, count: usize) {
        self.0[lack.index()].store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What is lacking now, the worst first, each with its sentence.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = (Ailment, String)> {
        Ailment::ALL.into_iter().filter_map(|lack| {
            let count = self.0[lack.index()].load(Ordering::Relaxed);
            (count > 0).then(|| (lack, lack.sentence(count)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_lacking_is_said_the_worst_first() {
        let health = Health::new();
        assert_eq!(health.lacks().count(), 0);
        health.count(Ailment::Watches, 3);
        health.clone().set(Ailment::Journal, true);
        let said: Vec<(Ailment, String)> = health.lacks().collect();
        assert_eq!(said[0].0, Ailment::Journal);
        assert_eq!(
            said[1],
            (Ailment::Watches, "3 volumes can't be watched, and are read once a second.".to_owned())
        );
        health.set(Ailment::Journal, false);
        health.count(Ailment::Watches, 0);
        assert_eq!(health.lacks().count(), 0);
    }

    #[test]
    fn each_lack_has_its_own_place_word_and_sentence() {
        for (index, lack) in Ailment::ALL.into_iter().enumerate() {
            assert_eq!(lack.index(), index);
            let same =
                |other: &&Ailment| other.as_str() == lack.as_str() || other.sentence(2) == lack.sentence(2);
            assert_eq!(Ailment::ALL.iter().filter(same).count(), 1, "{lack:?}");
            assert!(lack.sentence(1).ends_with('.'));
        }
    }
}
