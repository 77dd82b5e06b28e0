//! A text of manifests that somebody wrote: the workloads in it, and the names of everything else.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use reloadlet_core::model::names::Name;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::careful::carefully;
use crate::documents::{self, Document, Format};
use crate::error::{ManifestError, Place, Whose, with_lines_before};
use crate::heads::{self, Head, ItemHeads, ObjectHead, Text};
use crate::labels::{self, Labelled, Labels};
use crate::room::{Room, SIZE_LIMIT};
use crate::wire::WrittenWorkload;
use crate::workload::{Found, Keys, OtherObject, Workload, WorkloadKind};

/// The most objects of a text: those of a large cluster.
pub(crate) const MOST_FOUND: usize = 50_000;
/// The most memory that the workloads of a text may take, in bytes, by what each is reckoned to take: 8,000 usual ones, which take
/// a fifth of it in truth.
const MOST_KEPT: usize = 128 << 20;

/// Why a document can't be read, or something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which document, from 1, of those that hold anything.
    pub document: usize,
    /// The line of the text, from 1, on which the document begins.
    pub line: usize,
    /// What is wrong.
    pub error: ManifestError,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}, from line {} on: {}", self.document, self.line, self.error)?;
        if matches!(self.error, ManifestError::Malformed(_) | ManifestError::TooInvolved) {
            f.write_str("; the document isn't read")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unreadable {}

/// What a text holds, in its order. What can't be read is one error for each document or object, and the rest is read all
/// the same. What is lost with what is broken is the rest of its document, and what follows a JSON object that has no end.
pub fn read(text: &[u8], format: Format) -> Vec<Result<Found, Unreadable>> {
    let mut reading = Reading {
        found: Vec::new(),
        kept: 0,
        left_for_labels: labels::MOST_OF_ALL,
        document: 1,
        line: 1,
        before: 0,
        items: None,
    };
    let rest = text.get(SIZE_LIMIT..).unwrap_or_default();
    let mut documents = documents::of(text.get(..SIZE_LIMIT).unwrap_or(text), format).enumerate().peekable();
    let is_nothing = documents.peek().is_none();
    while let Some((index, document)) = documents.next() {
        (reading.document, reading.line, reading.items) = (index + 1, document.line, None);
        reading.before = document.before;
        // Nobody knows how much of the last one is there.
        if !rest.is_empty() && documents.peek().is_none() {
            reading.add(Err(ManifestError::Beyond));
            break;
        }
        if let Err(error) = reading.take(&document) {
            reading.add(Err(error));
        }
        // One that holds nothing takes time, too.
        if index >= MOST_FOUND {
            reading.add(Err(ManifestError::TooMany { most: MOST_FOUND }));
            break;
        }
        if reading.found.len() > MOST_FOUND {
            break;
        }
    }
    if is_nothing && !rest.is_empty() {
        reading.add(Err(ManifestError::Beyond));
    }
    reading.found
}

/// A workload of this kind as the API server writes it, in JSON.
///
/// # Errors
/// Where it can't be understood, or has more than there is room for.
pub fn workload(kind: WorkloadKind, json: &str) -> Result<Workload, ManifestError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let written = WrittenWorkload::read(kind, &mut deserializer)
        .map_err(|error| ManifestError::malformed(&error.to_string()))?;
    written.into_workload(&Place::default(), 1)
}

/// What was read so far.
struct Reading {
    /// One more than [`MOST_FOUND`] at most, which says that there are too many.
    found: Vec<Result<Found, Unreadable>>,
    /// How much memory the workloads take, in bytes.
    kept: usize,
    /// How much there may still be of labels, in bytes.
    left_for_labels: usize,
    document: usize,
    line: usize,
    /// How many lines stand before the document.
    before: usize,
    /// How many items the document's lists had so far, lists in lists not counted themselves; `None` outside of lists.
    items: Option<usize>,
}

impl Reading {
    /// Reads a document twice: first of what kinds its objects are, then what counts of them.
    fn take(&mut self, document: &Document<'_>) -> Result<(), ManifestError> {
        let room = Room::of(heads::MOST_BYTES);
        let (mut again, mut head) = (None, document.read(PhantomData::<Head>));
        // It takes nothing from the other items of a list.
        if let Err(error @ ManifestError::Twice { .. }) = head {
            let first = again.insert(document.with_first_keys());
            head = first.read(PhantomData::<Head>);
            let is_list =
                matches!(&head, Ok(Head::Object(head)) if matches!(head.next_of(None), Next::List(..)));
            if !is_list {
                return Err(error);
            }
            self.add(Err(error));
        }
        let document = again.as_ref().unwrap_or(document);
        let head = head?;
        if room.was_exceeded() {
            return Err(ManifestError::TooMany { most: MOST_FOUND });
        }
        drop(room);
        document.read(Walk { head: &head, listed: None, reading: self })
    }

    fn add(&mut self, found: Result<Found, ManifestError>) {
        let (document, line) = (self.document, self.line);
        let error = |error| Unreadable { document, line, error };
        if self.found.len() < MOST_FOUND {
            self.found.push(found.map_err(error));
        } else if self.found.len() == MOST_FOUND {
            self.found.push(Err(error(ManifestError::TooMany { most: MOST_FOUND })));
        }
    }

    /// Gives an object its labels, if there is room for them.
    fn label(&mut self, other: &mut OtherObject, labels: Labels) {
        if let Some(left) = self.left_for_labels.checked_sub(labels.len()) {
            self.left_for_labels = left;
            other.labels = Some(labels);
        }
    }

    fn place(&self) -> Place {
        Place { item: self.items, ..Place::default() }
    }

    /// Why an item that is called so can't be read.
    fn item(&self, whose: Option<Whose>, what: String) -> ManifestError {
        let what = with_lines_before(&what, self.before);
        ManifestError::Item { at: self.place(), whose: whose.unwrap_or_default(), what }
    }

    fn add_workload(&mut self, written: WrittenWorkload) {
        let at = self.place();
        let found = written.into_workload(&at, self.line).and_then(|workload| {
            let kept = self.kept + workload.cost();
            if kept > MOST_KEPT {
                return Err(ManifestError::NoRoom { at });
            }
            self.kept = kept;
            Ok(Found::Workload(workload))
        });
        self.add(found);
    }
}

/// The kind that a typed list gives to its items, which don't say it themselves.
#[derive(Clone, Copy)]
struct Listed<'a> {
    group: Option<&'a str>,
    kind: &'a str,
}

/// What is to be done about something.
enum Next<'a> {
    Skip,
    Refuse(fn(Place) -> ManifestError),
    /// Refuse it, as it says this twice.
    Twice(&'static str),
    Name(OtherObject),
    Read(WorkloadKind),
    /// Nothing where the list has none.
    List(&'a [Head], Option<Listed<'a>>),
}

impl ObjectHead {
    fn next_of<'a>(&'a self, listed: Option<Listed<'a>>) -> Next<'a> {
        let group =
            self.api_version.as_deref().map(|version| version.split_once('/').map_or("", |(group, _)| group));
        let own = self.kind.as_deref().map(|kind| Listed { group, kind });
        let Some(Listed { group, kind }) = own.or(listed) else {
            return Next::Refuse(|at| ManifestError::NoKind { at });
        };
        if let Some(kind) = WorkloadKind::of(group, kind) {
            return Next::Read(kind);
        }
        if let Some(of) = kind.strip_suffix("List") {
            let listed = (!of.is_empty()).then_some(Listed { group, kind: of });
            match &self.items {
                ItemHeads::Some(items) => return Next::List(items, listed),
                // Go writes an empty list as null.
                ItemHeads::Null => return Next::List(&[], listed),
                ItemHeads::None if of.is_empty() || WorkloadKind::of(group, of).is_some() => {
                    return Next::Refuse(|at| ManifestError::NoItems { at });
                }
                ItemHeads::None => {}
            }
        }
        let is_content = ["ConfigMap", "Secret"].contains(&kind);
        let [name, namespace] = [&self.name, &self.namespace].map(|text| text.as_deref().map(Name::from));
        Next::Name(OtherObject {
            group: group.unwrap_or_default().to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.filter(|namespace| !namespace.is_empty()),
            name,
            annotations: self.annotations.clone(),
            labels: None,
            immutable: self.immutable,
            makes_pods: self.makes_pods,
            keys: is_content.then(|| self.keys()).flatten(),
        })
    }
}

impl ObjectHead {
    /// The keys of a ConfigMap or a Secret, if all of them are known.
    fn keys(&self) -> Option<Keys> {
        let keys = self.keys.0.as_ref()?;
        let all: BTreeSet<Name> = keys.keys().map(|key| Name::from(key.as_str())).collect();
        let is_binary = |key: &&Name| keys.get(key.as_ref()).is_some_and(|is_binary| *is_binary);
        let binary = all.iter().filter(is_binary).cloned().collect();
        Some(Keys { all, binary })
    }
}

impl Head {
    /// How something of this kind is called.
    fn named(&self, kind: WorkloadKind) -> Option<Whose> {
        let Self::Object(head) = self else { return None };
        Some(Whose { kind: Some(kind.to_string()), name: head.name.clone() })
    }
}

/// Reads a workload of this kind.
struct Wanted(WorkloadKind);

impl<'de> DeserializeSeed<'de> for Wanted {
    type Value = WrittenWorkload;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<WrittenWorkload, D::Error> {
        WrittenWorkload::read(self.0, deserializer)
    }
}

/// Reads something whose head is known.
struct Walk<'a> {
    head: &'a Head,
    listed: Option<Listed<'a>>,
    reading: &'a mut Reading,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { head, listed, reading } = self;
        let step = match head {
            Head::Nothing if reading.items.is_none() => Next::Skip,
            Head::Nothing | Head::NotAnObject => Next::Refuse(|at| ManifestError::NotAnObject { at }),
            Head::Twice(field) => Next::Twice(field),
            Head::Object(head) => head.next_of(listed),
        };
        if let (Some(items), false) = (&mut reading.items, matches!(step, Next::List(..))) {
            *items += 1;
        }
        match step {
            Next::Skip => {}
            Next::Refuse(error) => reading.add(Err(error(reading.place()))),
            Next::Twice(field) => {
                let what = format!("`{field}` stands there twice");
                let error = match reading.items {
                    None => ManifestError::malformed(&what),
                    Some(_) => reading.item(None, what),
                };
                reading.add(Err(error));
            }
            Next::Name(mut other) if other.is_selected_by_labels() => {
                let Labelled(labels) = Labelled::deserialize(deserializer)?;
                reading.label(&mut other, labels);
                reading.add(Ok(Found::Other(other)));
                return Ok(());
            }
            Next::Name(other) => reading.add(Ok(Found::Other(other))),
            Next::Read(kind) if reading.items.is_none() => {
                reading.add_workload(WrittenWorkload::read(kind, deserializer)?);
                return Ok(());
            }
            Next::Read(kind) => {
                match carefully(Wanted(kind), deserializer)? {
                    Ok(written) => reading.add_workload(written),
                    Err(what) => reading.add(Err(reading.item(head.named(kind), what))),
                }
                return Ok(());
            }
            Next::List(heads, listed) => {
                reading.items.get_or_insert(0);
                return deserializer.deserialize_map(ListVisitor { heads: Some(heads), listed, reading });
            }
        }
        IgnoredAny::deserialize(deserializer).map(drop)
    }
}

struct ListVisitor<'a> {
    /// Taken by the first `items`.
    heads: Option<&'a [Head]>,
    listed: Option<Listed<'a>>,
    reading: &'a mut Reading,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = list.next_key()? {
            match self.heads.take_if(|_| key.as_deref() == Some("items")) {
                Some([]) | None => drop(list.next_value::<IgnoredAny>()?),
                Some(heads) => {
                    list.next_value_seed(Items { heads, listed: self.listed, reading: self.reading })?;
                }
            }
        }
        Ok(())
    }
}

/// The items of a list, whose heads are known.
struct Items<'a> {
    heads: &'a [Head],
    listed: Option<Listed<'a>>,
    reading: &'a mut Reading,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { heads, listed, reading } = self;
        for head in heads {
            items.next_element_seed(Walk { head, listed, reading: &mut *reading })?;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
