//! Pods out of manifests: Pod, PodList and List objects, as JSON or YAML.

use std::collections::HashSet;
use std::fmt;

use reloadlet_core::pod::{Name, Pod};

pub(crate) use claims::{Claimed, sort_out};
pub(crate) use wire::Object;

mod annotations;
mod claims;
#[cfg(test)]
mod tests;
mod wire;

/// The most text that is taken: a node's pods as `kubectl get -o yaml` writes them come to a few MiB.
pub(crate) const SIZE_LIMIT: usize = 64 << 20;

/// Why a text names no pods.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ManifestError {
    /// There is no document in it.
    #[error("there is nothing in it: a Pod, a PodList or a List is needed, if only an empty one")]
    Empty,
    /// It is larger than any node's pods.
    #[error("it has {bytes} bytes, more than the {SIZE_LIMIT} that are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It is half written, neither JSON nor YAML, or a field is of another type.
    #[error("it is half written or malformed: {0}")]
    Malformed(String),
    /// Something else than a pod.
    #[error("{at} is {kind}, and a Pod, a PodList or a List is needed")]
    Kind {
        /// Where.
        at: Place,
        /// What it is.
        kind: Kind,
    },
    /// A list that isn't one.
    #[error("{at} is a list without items: an empty one has `items: []`")]
    NoItems {
        /// Where.
        at: Place,
    },
    /// A pod that Kubernetes wouldn't take; what is cut short looks like that.
    #[error("{at} is a pod without containers")]
    NoContainers {
        /// Where.
        at: Place,
    },
    /// A pod without a name, or with one that Kubernetes doesn't allow.
    #[error("{field} of {at} is {}, and a Kubernetes name is needed", Value(.value))]
    Name {
        /// Where.
        at: Place,
        /// Which field.
        field: &'static str,
        /// What was found there.
        value: Option<String>,
    },
    /// A pod without a UID, or with one that no directory has.
    #[error("metadata.uid of {at} is {}, and the pod's UID is needed to find its volumes", Value(.value))]
    Uid {
        /// Where.
        at: Place,
        /// What was found there.
        value: Option<String>,
    },
}

/// The kind of an object, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind(Option<String>);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(kind) => write!(f, "a {kind:?}"),
            None => f.write_str("an object without a kind"),
        }
    }
}

/// Where in a text something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which document, from 1; only where there are several.
    document: Option<usize>,
    /// Which item of a list, from 1.
    item: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.item, self.document) {
            (Some(item), Some(document)) => write!(f, "item {item} of document {document}"),
            (Some(item), None) => write!(f, "item {item}"),
            (None, Some(document)) => write!(f, "document {document}"),
            (None, None) => f.write_str("the object"),
        }
    }
}

struct Value<'a>(&'a Option<String>);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:?}"),
            None => f.write_str("missing"),
        }
    }
}

/// The pods that a text names, in its order.
pub(crate) fn decode(text: &str) -> Result<Vec<Pod>, ManifestError> {
    if text.len() > SIZE_LIMIT {
        return Err(ManifestError::TooLarge { bytes: text.len() as u64 });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = text.trim_start().starts_with('{');
    let objects = if is_json { parse_json(text)? } else { parse_yaml(text)? };
    if objects.is_empty() {
        return Err(ManifestError::Empty);
    }
    let several = objects.len() > 1;
    let mut pods = Pods::default();
    for (index, object) in objects.into_iter().enumerate() {
        let at = Place { document: several.then_some(index + 1), item: None };
        match object.kind.as_deref() {
            Some("Pod") => pods.add(object, at)?,
            Some(list @ ("PodList" | "List")) => {
                // The API server leaves the kind out in typed lists.
                let default_kind = (list == "PodList").then_some("Pod");
                let items = match object.items {
                    Some(items) => items,
                    // Go writes an empty list as null. YAML that ends before or after `items:` is half written.
                    None if is_json => Vec::new(),
                    None => return Err(ManifestError::NoItems { at }),
                };
                for (index, item) in items.into_iter().enumerate() {
                    let at = Place { item: Some(index + 1), ..at.clone() };
                    match item.kind.as_deref().or(default_kind) {
                        Some("Pod") => pods.add(item, at)?,
                        Some(_) | None => return Err(ManifestError::Kind { at, kind: Kind(item.kind) }),
                    }
                }
            }
            Some(_) | None => return Err(ManifestError::Kind { at, kind: Kind(object.kind) }),
        }
    }
    Ok(pods.pods)
}

/// One object, or several one after the other.
fn parse_json(text: &str) -> Result<Vec<Object>, ManifestError> {
    let objects = serde_json::Deserializer::from_str(text).into_iter();
    objects.collect::<Result<_, _>>().map_err(|error| ManifestError::Malformed(error.to_string()))
}

fn parse_yaml(text: &str) -> Result<Vec<Object>, ManifestError> {
    let options = serde_saphyr::options! {
        // The size was checked. A thousand pods have more parts than the limits that are set by default.
        budget: serde_saphyr::budget! {
            max_events: SIZE_LIMIT,
            max_nodes: SIZE_LIMIT,
            max_documents: SIZE_LIMIT,
            max_total_scalar_bytes: SIZE_LIMIT,
        },
        // Others are strings: what YAML 1.1 took `on` for is no help here.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ManifestError::Malformed(error.to_string()))
}

/// The pods so far, with the names that they share.
#[derive(Default)]
struct Pods {
    pods: Vec<Pod>,
    names: HashSet<Name>,
}

impl Pods {
    fn add(&mut self, pod: Object, at: Place) -> Result<(), ManifestError> {
        self.pods.push(pod.into_pod(&at, &mut self.names)?);
        Ok(())
    }
}
