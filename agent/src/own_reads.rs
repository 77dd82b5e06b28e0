//! The generations that the agent itself reads: what is opened meanwhile says nothing about anybody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reloadlet_core::machine::event::VolumeRef;
use reloadlet_core::model::generation::Generation;

/// Shared by the surveyor, which reads, and the loop, which sees the opens. The lock is held for a look only.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnReads(Arc<Mutex<BTreeMap<(VolumeRef, Generation), u32>>>);

impl OwnReads {
    /// To be called before the first open of a read.
    pub(crate) fn begin(&self, volume: &VolumeRef, generation: &Generation) {
        *self.all().entry((volume.clone(), generation.clone())).or_default() += 1;
    }

    /// To be called when every open of a read that has ended was taken in.
    pub(crate) fn end(&self, volume: &VolumeRef, generation: &Generation) {
        let key = (volume.clone(), generation.clone());
        let mut all = self.all();
        match all.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(all.remove(&key)),
            None => {}
        }
    }

    /// Whether an open that is seen now may be the agent's own.
    pub(crate) fn is_read(&self, volume: &VolumeRef, generation: &Generation) -> bool {
        let all = self.all();
        !all.is_empty() && all.contains_key(&(volume.clone(), generation.clone()))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<(VolumeRef, Generation), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
