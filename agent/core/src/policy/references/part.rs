//! What is used, and which part of it.

use std::sync::Arc;

use crate::model::names::{FilePath, Name};
use crate::model::object::ObjectKind;
use crate::model::pod::Item;

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A ConfigMap or a Secret of this name.
    Object(ObjectKind, Name),
    /// What the Secrets Store driver mounts for the SecretProviderClass of this name.
    Class(Name),
    /// Whatever the CSI driver of this name mounts.
    Driver(Name),
}

impl Subject {
    /// Its kind as people write it.
    pub const fn written(&self) -> &'static str {
        match self {
            Self::Object(kind, _) => kind.written(),
            Self::Class(_) => "SecretProviderClass",
            Self::Driver(_) => "CSI driver",
        }
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        match self {
            Self::Object(_, name) | Self::Class(name) | Self::Driver(name) => name,
        }
    }
}

/// Which part of an object is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Everything,
    /// All of its keys that become variables and stay so: what stands before each in the variable's name, and the names of the
    /// variables that the container sets itself, in order, which win (kubelet `kubelet_pods.go`, `makeEnvironmentVariables`).
    Variables {
        /// What stands before each key.
        prefix: Option<Name>,
        /// The variables that hide a key.
        hidden: Arc<[Name]>,
    },
    /// One key.
    Key(Name),
    /// What becomes files.
    Files {
        /// The keys and their paths in the volume; without any each key becomes a file of its name.
        items: Vec<Item>,
        /// The path in the volume that is mounted, of a file or of a directory; `None` for all of it.
        path: Option<FilePath>,
    },
}

impl Part {
    /// The keys that are used, in order and each once; empty where that are all of them, or which they are isn't known.
    pub fn keys(&self) -> Vec<&Name> {
        let mut keys: Vec<&Name> = match self {
            Self::Everything | Self::Variables { .. } => Vec::new(),
            Self::Key(key) => vec![key],
            // Without items the first element of a path is a key.
            Self::Files { items, path: Some(path) } if items.is_empty() => {
                vec![path.as_name()].into_iter().filter(|path| !path.contains('/')).collect()
            }
            Self::Files { items, path: _ } => items.iter().map(|item| &item.key).collect(),
        };
        keys.sort();
        keys.dedup();
        keys
    }

    /// The same without one that isn't written, which no object has.
    pub fn written_keys(&self) -> Vec<&Name> {
        self.keys().into_iter().filter(|key| !key.is_empty()).collect()
    }

    /// What stands before each key in the name of its variable.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Variables { prefix, .. } => prefix.as_deref().unwrap_or_default(),
            Self::Everything | Self::Key(_) | Self::Files { .. } => "",
        }
    }

    /// Whether a key of an object that is taken as a whole becomes a variable that another one of the container hides.
    pub(crate) fn hides(&self, key: &str) -> bool {
        self.hidden_keys().any(|hidden| hidden == key)
    }

    /// The keys that the container's own variables hide, whether the object has them or not.
    pub(crate) fn hidden_keys(&self) -> impl Iterator<Item = &str> + use<'_> {
        let prefix = self.prefix();
        let hidden = match self {
            Self::Variables { hidden, .. } => &**hidden,
            Self::Everything | Self::Key(_) | Self::Files { .. } => &[],
        };
        let first = hidden.partition_point(|name| **name < *prefix);
        hidden.get(first..).unwrap_or_default().iter().map_while(move |name| name.strip_prefix(prefix))
    }

    /// It without what changes nothing: variables of which none is hidden are all keys.
    pub(crate) fn simplified(self) -> Self {
        if matches!(self, Self::Variables { .. }) && self.hidden_keys().next().is_none() {
            return Self::Everything;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, path: &str) -> Item {
        Item { key: key.into(), path: path.into() }
    }

    #[test]
    fn keys_are_told_once_and_in_order() {
        let items = vec![item("b", "x"), item("a", "y"), item("b", "z")];
        let keys = |part: Part| part.keys().into_iter().map(|key| key.to_string()).collect::<Vec<_>>();
        assert_eq!(keys(Part::Files { items, path: None }), ["a", "b"]);
        assert_eq!(keys(Part::Files { items: Vec::new(), path: Some("a.conf".into()) }), ["a.conf"]);
        assert_eq!(keys(Part::Files { items: Vec::new(), path: Some("a/b".into()) }), [""; 0]);
        assert_eq!(keys(Part::Key("a".into())), ["a"]);
        assert_eq!(keys(Part::Everything), [""; 0]);
    }

    #[test]
    fn a_variable_of_the_containers_own_hides_the_key_of_its_name() {
        let hidden: Arc<[Name]> = ["APP_LEVEL".into(), "LEVEL".into()].into();
        let plain = Part::Variables { prefix: None, hidden: hidden.clone() };
        let prefixed = Part::Variables { prefix: Some("APP_".into()), hidden };
        assert_eq!(
            (plain.hides("LEVEL"), plain.hides("LEVE"), plain.hides("APP_LEVEL")),
            (true, false, true)
        );
        assert_eq!((prefixed.hides("LEVEL"), prefixed.hides("APP_LEVEL")), (true, false));
        assert!(!Part::Everything.hides("LEVEL"));
    }
}
