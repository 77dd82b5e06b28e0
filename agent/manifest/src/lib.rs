//! Pods out of manifests: Pod, PodList and List objects, as JSON or YAML.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use reloadlet_core::model::pod::Pod;

pub use claims::{Claimed, sort_out};
pub use wire::Object;

use self::room::Many;
use self::wire::Items;

mod annotations;
mod claims;
mod room;
#[cfg(test)]
mod tests;
mod wire;

/// The most text that is taken, in bytes: a node's pods as `kubectl get -o yaml` writes them come to a few MiB, and forty
/// tenants can make pods of 1.5 MB. It is read piece by piece, so this bounds time, not memory.
pub const SIZE_LIMIT: usize = 64 << 20;

/// Why a text names no pods.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// There is no document in it.
    #[error("there is nothing in it: a Pod, a PodList or a List is needed, if only an empty one")]
    Empty,
    /// It is larger than any node's pods.
    #[error("it has {bytes} bytes, more than the {SIZE_LIMIT} that are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It has more objects than any node has pods.
    #[error("it has more than {} objects", wire::MOST_OBJECTS)]
    TooMany,
    /// It is half written, neither JSON nor YAML, or a field is of another type.
    #[error("it is half written or malformed: {0}")]
    Malformed(String),
    /// It is deeper, or has more anchors and aliases, than any text that people write.
    #[error("it has deeper nesting, or more anchors and aliases, than are read")]
    TooInvolved,
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

/// The most characters of what is wrong with a text: it may quote any of it.
const LONGEST_MISTAKE: usize = 512;

impl ManifestError {
    fn malformed(error: &dyn fmt::Display) -> Self {
        let text = error.to_string();
        // The crate's own words name its fields.
        if text.contains("budget breached") {
            return Self::TooInvolved;
        }
        match text.char_indices().nth(LONGEST_MISTAKE) {
            Some((end, _)) => Self::Malformed(format!("{}…", text.get(..end).unwrap_or_default())),
            None => Self::Malformed(text),
        }
    }
}

/// The kind of an object, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind(Option<String>);

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
pub struct Place {
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

/// The pods that a text names, in its order. It is read piece by piece, and only what counts of it is kept.
pub fn decode(text: impl Read) -> Result<Vec<Arc<Pod>>, ManifestError> {
    let mut text = BufReader::new(text);
    let is_json = is_json(&mut text).map_err(|error| ManifestError::malformed(&error))?;
    let room = Many::begin();
    let objects = if is_json { parse_json(text)? } else { parse_yaml(text)? };
    if objects.is_empty() {
        return Err(ManifestError::Empty);
    }
    let several = objects.len() > 1;
    let mut pods = Pods::new(&room);
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
                    None if is_json => Items::default(),
                    None => return Err(ManifestError::NoItems { at }),
                };
                if items.too_many {
                    return Err(ManifestError::TooMany);
                }
                for (index, item) in items.objects.into_iter().enumerate() {
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

/// Whether a text begins as JSON; what stands before that is skipped.
fn is_json(text: &mut impl BufRead) -> io::Result<bool> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if text.fill_buf()?.starts_with(MARK) {
        text.consume(MARK.len());
    }
    loop {
        let read = text.fill_buf()?;
        match read.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => return Ok(read.get(at) == Some(&b'{')),
            None if read.is_empty() => return Ok(false),
            // The places in messages count from here on.
            None => {
                let blank = read.len();
                text.consume(blank);
            }
        }
    }
}

/// One object, or several one after the other.
fn parse_json(text: impl BufRead) -> Result<Vec<Object>, ManifestError> {
    bounded(serde_json::Deserializer::from_reader(text).into_iter())
}

fn parse_yaml(mut text: impl BufRead) -> Result<Vec<Object>, ManifestError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // The size was checked, and nothing is kept of most parts. A thousand pods have more than is allowed by default.
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            // What an anchor names is kept, in 100 bytes for each part.
            max_anchors: 1000,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000 },
        // Others are strings: what YAML 1.1 took `on` for is no help here.
        strict_booleans: true,
        with_snippet: false,
    };
    bounded(serde_saphyr::read_with_options(&mut text, options))
}

/// The objects of a text, or why there are none.
fn bounded<E: fmt::Display>(
    objects: impl Iterator<Item = Result<Object, E>>,
) -> Result<Vec<Object>, ManifestError> {
    let mut all = Vec::new();
    for object in objects {
        all.push(object.map_err(|error| ManifestError::malformed(&error))?);
        if all.len() > wire::MOST_OBJECTS {
            return Err(ManifestError::TooMany);
        }
    }
    Ok(all)
}

/// The pods so far.
struct Pods<'a> {
    room: &'a Many,
    pods: Vec<Arc<Pod>>,
}

impl<'a> Pods<'a> {
    fn new(room: &'a Many) -> Self {
        Self { room, pods: Vec::new() }
    }

    fn add(&mut self, pod: Object, at: Place) -> Result<(), ManifestError> {
        self.pods.extend(pod.into_pod(&at, self.room)?);
        Ok(())
    }
}
