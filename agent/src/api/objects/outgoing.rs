//! What the loop is to hear of objects and had no room for yet: the newest of each.

use std::collections::BTreeMap;

use reloadlet_core::model::object::{ObjectRef, Observed};
use reloadlet_core::{Event, Time};

use crate::inbox::{Inbound, Inbox};

#[derive(Debug, Default)]
pub(super) struct Outgoing(BTreeMap<ObjectRef, (Observed, Time)>);

impl Outgoing {
    pub(super) fn put(&mut self, object: ObjectRef, observed: Observed, at: Time) {
        self.0.insert(object, (observed, at));
    }

    pub(super) fn forget(&mut self, object: &ObjectRef) {
        self.0.remove(object);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Hands over as much as the loop has room for.
    pub(super) fn hand_over(&mut self, inbox: &Inbox) {
        while let Some((object, (observed, at))) = self.0.first_key_value() {
            let event = Event::Observed(object.clone(), observed.clone(), *at);
            if !inbox.try_send(Inbound::Event(event)) {
                return;
            }
            self.0.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use reloadlet_core::model::object::ObjectKind;

    use super::*;

    fn object(name: &str) -> ObjectRef {
        ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: name.into() }
    }

    fn at(second: u64) -> Time {
        Time::from_nanos(second * 1_000_000_000)
    }

    #[test]
    fn what_a_full_inbox_refuses_is_handed_over_later_and_only_the_newest() {
        let (inbox, receiver, _wake) = Inbox::new().unwrap();
        while inbox.try_send(Inbound::JournalFlushed) {}
        let mut outgoing = Outgoing::default();
        for (name, observed, second) in [
            ("a", Observed::Absent, 1),
            ("b", Observed::Absent, 2),
            ("c", Observed::Absent, 3),
            ("a", Observed::Unmeasured, 4),
        ] {
            outgoing.put(object(name), observed, at(second));
            outgoing.hand_over(&inbox);
        }
        outgoing.forget(&object("c"));
        assert_eq!(outgoing.0.len(), 2, "nothing is lost, nothing is there twice");

        receiver.try_recv().unwrap();
        outgoing.hand_over(&inbox);
        assert!(!outgoing.is_empty(), "there was room for one");
        let events: Vec<_> = receiver
            .try_iter()
            .filter_map(|message| if let Inbound::Event(event) = message { Some(event) } else { None })
            .collect();
        assert_eq!(events, [Event::Observed(object("a"), Observed::Unmeasured, at(4))]);
        outgoing.hand_over(&inbox);
        assert!(outgoing.is_empty());
        assert!(
            matches!(receiver.try_recv(), Ok(Inbound::Event(Event::Observed(b, Observed::Absent, _))) if b == object("b"))
        );
    }
}
