//! The labels of objects that selectors choose by them.

use serde::de::MapAccess;

use crate::heads::{Lenient, Text, field, read_anything};

/// The most text that is kept of one object's labels, in bytes.
const MOST_OF_ONE: usize = 16 << 10;
/// The most that is kept of all objects of a text: 50,000 of them have some seven MiB.
pub(crate) const MOST_OF_ALL: usize = 16 << 20;

/// The labels of an object, in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(String);

impl Labels {
    /// Each key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.split_once('='))
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes in one. What can't be a label isn't one.
    fn add(&mut self, key: &str, value: &str) {
        let fits =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        if fits(key) && fits(value) && self.0.len() + key.len() + value.len() < MOST_OF_ONE {
            self.0.extend([key, "=", value, "\n"]);
        }
    }
}

/// An object of which only the labels count.
pub(crate) struct Labelled(pub(crate) Labels);

impl<'de> Lenient<'de> for Labelled {
    fn other() -> Self {
        Self(Labels::default())
    }

    fn object<A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Ok(Self(field::<_, Metadata>(object, "metadata")?.map(|metadata| metadata.0).unwrap_or_default()))
    }
}

struct Metadata(Labels);

impl<'de> Lenient<'de> for Metadata {
    fn other() -> Self {
        Self(Labels::default())
    }

    fn object<A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Ok(Self(field(object, "labels")?.unwrap_or_default()))
    }
}

impl<'de> Lenient<'de> for Labels {
    fn other() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut labels = Self::default();
        while let Some(Text(key)) = object.next_key()? {
            if let (Some(key), Text(Some(value))) = (key, object.next_value()?) {
                labels.add(&key, &value);
            }
        }
        Ok(labels)
    }
}

read_anything!(Labelled, Metadata, Labels);
