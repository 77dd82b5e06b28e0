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
    /// It begins within the text that is read, or behind it, and ends behind it.
    #[error("of a text {} MiB are read, and it goes on: this document and what follows it isn't checked", SIZE_LIMIT >> 20)]
    Beyond,
    /// It has more objects than are read: of pods more than any node has.
    #[error("it has more than {most} objects")]
    TooMany {
        /// So many are read.
        most: usize,
    },
    /// It is half written, neither JSON nor YAML, or a field is of another type.
    #[error("it is half written or malformed: {0}")]
    Malformed(String),
    /// A key stands twice in one object: which of the two counts differs between those that read it.
    #[error("key {} stands there twice at line {line}", Value(.key))]
    Twice {
        /// The key, where it is a text.
        key: Option<String>,
        /// The line of the text, from 1, on which the second one is.
        line: u64,
    },
    /// An item of a list that is whole, and of which a field is of another type or there twice.
    #[error("{at}{whose} can't be read: {what}")]
    Item {
        /// The place in the text.
        at: Place,
        /// What it is and how it is called, as far as that is known.
        whose: Whose,
        /// What is wrong.
        what: String,
    },
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
    /// Whether what can't be read may be a part of a manifest, as patches are, or none at all.
    pub const fn is_of_a_part(&self) -> bool {
        match self {
            Self::NoKind { .. } | Self::NoContainers { .. } => true,
            Self::NotAnObject { at } => at.item.is_none(),
            Self::Empty
            | Self::TooLarge { .. }
            | Self::Beyond
            | Self::TooMany { .. }
            | Self::Malformed(_)
            | Self::Twice { .. }
            | Self::Item { .. }
            | Self::TooInvolved
            | Self::Kind { .. }
            | Self::NoItems { .. }
            | Self::Name { .. }
            | Self::NoRoom { .. }
            | Self::NotText
            | Self::Uid { .. } => false,
        }
    }

    pub(crate) fn malformed(error: &dyn fmt::Display) -> Self {
        let text = error.to_string();
        // The crates' own words name their fields.
        if text.contains("budget breached") || text.contains("alias replay limit") {
            return Self::TooInvolved;
        }
        Self::Malformed(shown(&text))
    }
}

/// As much of what is wrong as is shown.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST_MISTAKE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The same sentence where so many lines stand before the text in which it has found its line.
pub(crate) fn with_lines_before(what: &str, before: usize) -> String {
    let moved = || {
        let (sentence, place) = what.rsplit_once(" at line ")?;
        let (line, column) = place.split_once(" column ")?;
        column.parse::<usize>().ok()?;
        let (line, comma) = line.strip_suffix(',').map_or((line, ""), |line| (line, ","));
        Some(format!("{sentence} at line {}{comma} column {column}", before + line.parse::<usize>().ok()?))
    };
    moved().unwrap_or_else(|| what.to_owned())
}

/// What an item is and how it is called, in parentheses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, &self.name) {
            (Some(kind), Some(name)) => write!(f, " ({} {name:?})", kind.escape_debug()),
            (Some(one), None) | (None, Some(one)) => write!(f, " ({one:?})"),
            (None, None) => Ok(()),
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
