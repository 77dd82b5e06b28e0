//! What an object is called, and what is asked for in its annotations.

use std::collections::HashSet;

use reloadlet_core::model::names::{FilePath, Name, PodUid, is_label, is_subdomain};
use serde::de::IgnoredAny;

use super::owners::{Controller, Template};
use super::{Fault, or_default};
use crate::annotations::WrittenAnnotations;
use crate::room::{ShortName, Words, cut};

/// `A` is which annotations are kept.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", bound = "A: Default + serde::Deserialize<'de>")]
pub(super) struct Metadata<A = WrittenAnnotations<false>> {
    pub(super) name: Option<ShortName>,
    pub(super) generate_name: Option<ShortName>,
    pub(super) namespace: Option<ShortName>,
    pub(super) uid: Option<ShortName>,
    #[serde(deserialize_with = "or_default")]
    pub(super) annotations: A,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: Template,
    #[serde(deserialize_with = "or_default")]
    pub(super) owner_references: Controller,
    pub(super) resource_version: Option<ShortName>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
}

impl<A> Metadata<A> {
    /// The UID. Nothing else than `metadata.uid`: whoever may create a pod writes its annotations, and could name another
    /// one's UID there.
    pub(super) fn uid(&self) -> Result<PodUid, Fault> {
        let value = self.uid.as_ref().map(|uid| &uid.0);
        value.and_then(|text| PodUid::parse(text)).ok_or_else(|| Fault::Uid { value: value.cloned() })
    }

    /// The name.
    pub(super) fn name(&mut self, names: &mut Names) -> Result<Name, Fault> {
        names.checked(words(self.name.take()), is_subdomain, NAME)
    }

    /// The name, or how it begins where the API server ends it.
    pub(super) fn name_or_beginning(&mut self, names: &mut Names) -> Result<Name, Fault> {
        match (&self.name, self.generate_name.take()) {
            (None, Some(beginning)) => {
                names.checked(words(Some(beginning)), is_beginning, "metadata.generateName")
            }
            (Some(_), _) | (None, None) => self.name(names),
        }
    }

    /// The namespace, if there is one.
    pub(super) fn namespace(&mut self, names: &mut Names) -> Result<Option<Name>, Fault> {
        let written = self.namespace.take();
        written.map(|name| names.checked(words(Some(name)), is_label, "metadata.namespace")).transpose()
    }
}

const NAME: &str = "metadata.name";

fn words(name: Option<ShortName>) -> Option<Words> {
    name.map(|name| Words(name.0))
}

/// Whether a name can begin like this.
fn is_beginning(text: &str) -> bool {
    is_subdomain(&format!("{text}0"))
}

/// The names of one object, each of which is kept once.
#[derive(Default)]
pub(super) struct Names(HashSet<Name>);

impl Names {
    /// A name.
    pub(super) fn shared(&mut self, name: Words) -> Name {
        if let Some(known) = self.0.get(name.0.as_str()) {
            return Name::clone(known);
        }
        let name = Name::from(name.0);
        self.0.insert(Name::clone(&name));
        name
    }

    /// A path in a volume, as the kubelet writes it.
    pub(super) fn path(&mut self, path: Words) -> FilePath {
        let path = FilePath::from(Name::from(path.0));
        if let Some(known) = self.0.get(path.as_str()) {
            return FilePath::from(Name::clone(known));
        }
        self.0.insert(Name::clone(path.as_name()));
        path
    }

    /// A name of the form that Kubernetes allows: a container's and a volume's are also elements of paths.
    pub(super) fn checked(
        &mut self,
        name: Option<Words>,
        fits: fn(&str) -> bool,
        field: &'static str,
    ) -> Result<Name, Fault> {
        match name {
            Some(name) if fits(&name.0) => Ok(self.shared(name)),
            value => Err(Fault::Name { field, value: value.map(|value| cut(value.0)) }),
        }
    }
}
