//! What is wrong with manifests, in sentences.

use std::fmt;

use crate::room::SIZE_LIMIT;

/// Why a text, or an object in it, can't be used.
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
    /// It has more objects than are read: of pods more than any node has.
    #[error("it has more than {most} objects")]
    TooMany {
        /// So many are read.
        most: usize,
    },
    /// It is half written, neither JSON nor YAML, or a field is of another type.
    #[error("it is half written or malformed: {0}")]
    Malformed(String),
    /// It is deeper, or has more anchors and aliases, than any text that people write.
    #[error("it has deeper nesting, or more anchors and aliases, than are read")]
    TooInvolved,
    /// Something else than a pod.
    #[error("{at} is {kind}, and a Pod, a PodList or a List is needed")]
    Kind {
        /// The place in the text.
        at: Place,
        /// What it is.
        kind: Kind,
    },
    /// A list that isn't one.
    #[error("{at} is a list without items: an empty one has `items: []`")]
    NoItems {
        /// The place in the text.
        at: Place,
    },
    /// A pod that Kubernetes wouldn't take; what is cut short looks like that.
    #[error("{at} is a pod without containers")]
    NoContainers {
        /// The place in the text.
        at: Place,
    },
    /// A pod without a name, or with one that Kubernetes doesn't allow.
    #[error("{field} of {at} is {}, and a Kubernetes name is needed", Value(.value))]
    Name {
        /// The place in the text.
        at: Place,
        /// Which field.
        field: &'static str,
        /// What was found there.
        value: Option<String>,
    },
    /// Something else than an object.
    #[error("{at} is no object")]
    NotAnObject {
        /// The place in the text.
        at: Place,
    },
    /// An object that doesn't say what it is.
    #[error("{at} has no kind")]
    NoKind {
        /// The place in the text.
        at: Place,
    },
    /// There is no room for it.
    #[error("{at} isn't read: what was read before it takes all the memory there is for manifests")]
    NoRoom {
        /// The place in the text.
        at: Place,
    },
    /// It is no text.
    #[error("it is not UTF-8")]
    NotText,
    /// A pod without a UID, or with one that no directory has.
    #[error("metadata.uid of {at} is {}, and the pod's UID is needed to find its volumes", Value(.value))]
    Uid {
        /// The place in the text.
        at: Place,
        /// What was found there.
        value: Option<String>,
    },
}

/// The most characters of what is wrong with a text: it may quote any of it.
const LONGEST_MISTAKE: usize = 512;

impl ManifestError {
    pub(crate) fn malformed(error: &dyn fmt::Display) -> Self {
        let text = error.to_string();
        // The crate's own words name its fields.
        if text.contains("budget breached") || text.contains("alias replay limit") {
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
pub struct Kind(pub(crate) Option<String>);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(kind) => write!(f, "a {kind:?}"),
            None => f.write_str("an object without a kind"),
        }
    }
}

/// Where in a text something is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which document, from 1; only where there are several.
    pub(crate) document: Option<usize>,
    /// Which item of a list, from 1.
    pub(crate) item: Option<usize>,
    /// Whether it is the template of a pod there.
    pub(crate) template: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.template {
            f.write_str("the pod template of ")?;
        }
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
