//! What decides how a workload's pods are replaced. Other kinds have other things in these places: whatever they are, the rest of the
//! workload is read.

use reloadlet_core::policy::reloader::{Partition, Update};
use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use crate::heads::{Lenient, Number, Text, field, read_anything};

/// `spec.updateStrategy`.
#[derive(Default)]
pub(super) struct Strategy {
    pub(super) on_delete: bool,
    partition: u32,
}

/// `spec.ordinals`, or another object of which one number counts, and which it is.
#[derive(Default)]
pub(super) struct Ordinals {
    start: u32,
}

/// `status`, as a Job has it.
#[derive(Default)]
pub(super) struct Status {
    is_complete: bool,
    succeeded: u32,
}

impl Strategy {
    /// Which pods of a StatefulSet are replaced.
    pub(super) fn update(&self, ordinals: &Ordinals, replicas: Option<u32>) -> Update {
        match self {
            Self { on_delete: true, .. } => Update::OnDelete,
            Self { partition, .. } if *partition <= ordinals.start => Update::Rolling,
            Self { partition, .. } => {
                Update::Partition(Partition { from: *partition, first: ordinals.start, replicas })
            }
        }
    }
}

impl Status {
    /// Whether a Job's work is done, which has to succeed so many times.
    pub(super) fn is_complete(&self, completions: Option<u32>) -> bool {
        self.is_complete || self.succeeded >= completions.unwrap_or(1).max(1)
    }
}

impl<'de> Lenient<'de> for Strategy {
    fn other() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut strategy = Self::default();
        while let Some(Text(key)) = object.next_key()? {
            match key.as_deref() {
                Some("type") => {
                    strategy.on_delete = object.next_value::<Text>()?.0.as_deref() == Some("OnDelete")
                }
                Some("rollingUpdate") => strategy.partition = object.next_value::<RollingUpdate>()?.0,
                Some(_) | None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(strategy)
    }
}

/// Its `partition`.
struct RollingUpdate(u32);

impl<'de> Lenient<'de> for RollingUpdate {
    fn other() -> Self {
        Self(0)
    }

    fn object<A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Ok(Self(number(object, "partition")?))
    }
}

impl<'de> Lenient<'de> for Ordinals {
    fn other() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Ok(Self { start: number(object, "start")? })
    }
}

/// The number with this key; zero where there is none.
fn number<'de, A: MapAccess<'de>>(object: A, wanted: &str) -> Result<u32, A::Error> {
    Ok(field::<_, Number>(object, wanted)?.and_then(|number| number.0).unwrap_or_default())
}

impl<'de> Lenient<'de> for Status {
    fn other() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut status = Self::default();
        while let Some(Text(key)) = object.next_key()? {
            match key.as_deref() {
                Some("succeeded") => status.succeeded = object.next_value::<Number>()?.0.unwrap_or_default(),
                Some("conditions") => status.is_complete = object.next_value::<Conditions>()?.0,
                Some(_) | None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(status)
    }
}

/// Whether one of them is that the work is done.
struct Conditions(bool);

impl<'de> Lenient<'de> for Conditions {
    fn other() -> Self {
        Self(false)
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut is_complete = false;
        while let Some(Condition(complete)) = list.next_element()? {
            is_complete |= complete;
        }
        Ok(Self(is_complete))
    }
}

/// Whether this one is.
struct Condition(bool);

impl<'de> Lenient<'de> for Condition {
    fn other() -> Self {
        Self(false)
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let (mut is_about_it, mut is_so) = (false, false);
        while let Some(Text(key)) = object.next_key()? {
            let value = object.next_value::<Text>()?.0;
            match key.as_deref() {
                Some("type") => is_about_it = value.as_deref() == Some("Complete"),
                Some("status") => is_so = value.as_deref() == Some("True"),
                Some(_) | None => {}
            }
        }
        Ok(Self(is_about_it && is_so))
    }
}

read_anything!(Strategy, RollingUpdate, Ordinals, Status, Conditions, Condition);
