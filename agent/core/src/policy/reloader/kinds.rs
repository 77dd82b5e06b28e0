//! The types of objects that Reloader looks at, and the keys for each.

use crate::model::closed::closed_set;
use crate::model::object::ObjectKind;

closed_set! {
    /// A type of objects.
    pub enum ObjectType {
        /// ConfigMaps.
        ConfigMap => "configmap",
        /// Secrets.
        Secret => "secret",
        /// SecretProviderClasses, whose contents a CSI driver mounts.
        SecretProviderClass => "secretproviderclass",
    }
}

impl From<ObjectKind> for ObjectType {
    fn from(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::ConfigMap => Self::ConfigMap,
            ObjectKind::Secret => Self::Secret,
        }
    }
}

impl ObjectType {
    /// The key of the list of names, each an expression, whose change rolls the workload.
    pub const fn reload_key(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap.reloader.stakater.com/reload",
            Self::Secret => "secret.reloader.stakater.com/reload",
            Self::SecretProviderClass => "secretproviderclass.reloader.stakater.com/reload",
        }
    }

    /// The key of what [`super::AUTO`] is for all types.
    pub const fn auto_key(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap.reloader.stakater.com/auto",
            Self::Secret => "secret.reloader.stakater.com/auto",
            Self::SecretProviderClass => "secretproviderclass.reloader.stakater.com/auto",
        }
    }

    /// The key of the list of names that are no reason.
    pub const fn exclude_key(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps.exclude.reloader.stakater.com/reload",
            Self::Secret => "secrets.exclude.reloader.stakater.com/reload",
            Self::SecretProviderClass => "secretproviderclasses.exclude.reloader.stakater.com/reload",
        }
    }
}
