//! Which objects are measured.

use crate::model::object::ObjectKind;
use crate::propagation::nudge::Accelerate;

/// Which objects are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measuring {
    /// Secrets as well as ConfigMaps.
    pub secrets: bool,
    /// What is done about volumes that lag behind, where their pods ask for it.
    pub accelerate: Option<Accelerate>,
}

impl Measuring {
    /// Whether objects of this kind are watched.
    pub const fn covers(self, kind: ObjectKind) -> bool {
        match kind {
            ObjectKind::ConfigMap => true,
            ObjectKind::Secret => self.secrets,
        }
    }
}
