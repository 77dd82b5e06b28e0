//! What the journal's thread does with what it is told.

use reloadlet_core::model::journal::{JournalSnapshot, JournalUpdate};

/// As the journal's thread writes it.
pub(crate) fn apply(journal: &mut JournalSnapshot, update: JournalUpdate) {
    journal.existed = true;
    journal.shows_deliveries = true;
    match update {
        JournalUpdate::Handled(key, handled) => {
            journal.handled.insert(key, handled);
        }
        JournalUpdate::Endings(pod, container, Some(endings)) => {
            journal.endings.insert((pod, container), endings);
        }
        JournalUpdate::Endings(pod, container, None) => {
            journal.endings.remove(&(pod, container));
        }
        JournalUpdate::Rereads(pod, container, Some(rereads)) => {
            journal.rereads.insert((pod, container), rereads);
        }
        JournalUpdate::Rereads(pod, container, None) => {
            journal.rereads.remove(&(pod, container));
        }
        JournalUpdate::LastDelivery(pod, container, Some(delivery)) => {
            journal.deliveries.insert((pod, container), delivery);
        }
        JournalUpdate::LastDelivery(pod, container, None) => {
            journal.deliveries.remove(&(pod, container));
        }
        JournalUpdate::CarriedOut(pod, carried) => {
            journal.carried.insert(pod, carried);
        }
        JournalUpdate::Frozen(pod, known) => {
            journal.frozen.insert(pod, known);
        }
        JournalUpdate::Pod(pod) => {
            journal.pods.retain(|known| known.uid != pod.uid);
            journal.pods.push(pod);
        }
        JournalUpdate::Forget(pod) => {
            journal.pods.retain(|known| known.uid != pod);
            journal.handled.retain(|key, _| key.pod != pod);
            journal.endings.retain(|(of, _), _| *of != pod);
            journal.rereads.retain(|(of, _), _| *of != pod);
            journal.deliveries.retain(|(of, _), _| *of != pod);
            journal.carried.remove(&pod);
            journal.frozen.remove(&pod);
        }
    }
}
