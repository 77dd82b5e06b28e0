//! The pods of a text: Pod, PodList and List objects.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use reloadlet_core::model::pod::Pod;
use serde_saphyr::DuplicateKeyPolicy;

use crate::documents::{MOST_REPEATED, yaml_options};
use crate::error::{Kind, ManifestError, Place};
use crate::room::{MOST_OBJECTS, Many};
use crate::wire::{Items, Object};

/// What a text holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The pods that it names, in its order.
    pub pods: Vec<Arc<Pod>>,
    /// What is wrong with those that can't be used, in their order. They take nothing from the others.
    pub left_out: Vec<ManifestError>,
}

/// Decodes the pods of a text. It is read piece by piece, and only what counts of it is kept.
pub fn decode(text: impl Read) -> Result<Decoded, ManifestError> {
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
        let at = Place { document: several.then_some(index + 1), ..Place::default() };
        match object.kind.as_deref() {
            Some("Pod") => pods.add(object, at),
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
                    return Err(ManifestError::TooMany { most: MOST_OBJECTS });
                }
                for (index, item) in items.objects.into_iter().enumerate() {
                    let at = Place { item: Some(index + 1), ..at.clone() };
                    match item.kind.as_deref().or(default_kind) {
                        Some("Pod") => pods.add(item, at),
                        Some(_) | None => return Err(ManifestError::Kind { at, kind: Kind(item.kind) }),
                    }
                }
            }
            Some(_) | None => return Err(ManifestError::Kind { at, kind: Kind(object.kind) }),
        }
    }
    Ok(pods.decoded)
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
    bounded(serde_saphyr::read_with_options(
        &mut text,
        yaml_options(MOST_REPEATED, DuplicateKeyPolicy::Error),
    ))
}

/// The objects of a text, or why there are none.
fn bounded<E: fmt::Display>(
    objects: impl Iterator<Item = Result<Object, E>>,
) -> Result<Vec<Object>, ManifestError> {
    let mut all = Vec::new();
    for object in objects {
        all.push(object.map_err(|error| ManifestError::malformed(&error))?);
        if all.len() > MOST_OBJECTS {
            return Err(ManifestError::TooMany { most: MOST_OBJECTS });
        }
    }
    Ok(all)
}

/// The pods so far.
struct Pods<'a> {
    room: &'a Many,
    decoded: Decoded,
}

impl<'a> Pods<'a> {
    fn new(room: &'a Many) -> Self {
        Self { room, decoded: Decoded::default() }
    }

    fn add(&mut self, pod: Object, at: Place) {
        match pod.into_pod(&at, self.room) {
            Ok(pod) => self.decoded.pods.extend(pod),
            Err(error) => self.decoded.left_out.push(error),
        }
    }
}
