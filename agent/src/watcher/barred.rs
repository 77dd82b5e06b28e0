//! Volumes that nothing touches, since it isn't known yet whether a look at them ends.

use super::*;

impl Watcher {
    /// The volumes of a pod that aren't known to be safe to look at.
    pub(crate) fn barred(&self, pod: &PodUid) -> Vec<Name> {
        let of_pod = self.volumes_of(pod).into_iter();
        let barred = of_pod.filter(|name| self.volumes.get(name).is_some_and(|volume| volume.is_barred));
        barred.map(|name| name.volume).collect()
    }

    /// The pods that have such volumes.
    pub(crate) fn pods_with_barred(&self) -> BTreeSet<PodUid> {
        let barred = self.volumes.iter().filter(|(_, volume)| volume.is_barred);
        barred.map(|(name, _)| name.pod.clone()).collect()
    }

    /// A volume is safe to look at: it is followed as soon as [`Watcher::place_some`] comes to it.
    pub(crate) fn unbar(&mut self, name: &VolumeRef) {
        if let Some(volume) = self.volumes.get_mut(name)
            && std::mem::take(&mut volume.is_barred)
        {
            self.unplaced.insert(name.clone());
        }
    }
}
