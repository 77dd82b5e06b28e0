//! The two requests of a watch, and their answers.

use std::fmt;
use std::marker::PhantomData;

use hyper::Request;
use hyper::header::{ACCEPT, HeaderValue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::client::Body;
use kube::core::{Request as Requests, params::ListParams, params::WatchParams};
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::requests::{LIMIT, next_bytes, read, send};
use super::super::short;
use super::super::trouble::{LARGEST, Trouble};
use super::{Form, MOST_LISTED};

/// Of each object of a list its metadata alone.
const METADATA_LIST: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
/// Of each object on a watch its metadata alone.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// A page of a list.
pub(super) struct Page<K> {
    pub(super) metadata: ListMeta,
    pub(super) objects: Vec<K>,
}

/// A page on the wire, each object of which is given away as soon as it is understood.
struct Written<'a, K, F>(&'a mut F, PhantomData<K>);

/// What of a page counts.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Metadata,
    Items,
    #[serde(other)]
    Other,
}

impl<'de, K: Deserialize<'de>, F: FnMut(K)> DeserializeSeed<'de> for Written<'_, K, F> {
    type Value = ListMeta;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K: Deserialize<'de>, F: FnMut(K)> Visitor<'de> for Written<'_, K, F> {
    type Value = ListMeta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut page: A) -> Result<Self::Value, A::Error> {
        let mut metadata = ListMeta::default();
        while let Some(field) = page.next_key()? {
            match field {
                Field::Metadata => metadata = page.next_value()?,
                Field::Items => page.next_value_seed(Items(&mut *self.0, PhantomData))?,
                Field::Other => drop(page.next_value::<IgnoredAny>()?),
            }
        }
        Ok(metadata)
    }
}

/// The items of a page: the smallest take more memory than on the wire, so that their number has a bound. A list without items may have
/// none, or null.
struct Items<'a, K, F>(&'a mut F, PhantomData<K>);

impl<'de, K: Deserialize<'de>, F: FnMut(K)> DeserializeSeed<'de> for Items<'_, K, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, K: Deserialize<'de>, F: FnMut(K)> Visitor<'de> for Items<'_, K, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST_LISTED} items")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, items: D) -> Result<Self::Value, D::Error> {
        items.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut count = 0;
        while let Some(item) = items.next_element()? {
            count += 1;
            if count > MOST_LISTED {
                return Err(A::Error::invalid_length(count, &self));
            }
            (self.0)(item);
        }
        Ok(())
    }
}

/// Asks for a page.
pub(super) async fn list<K: DeserializeOwned>(
    client: Client,
    path: &str,
    form: Form,
    params: &ListParams,
) -> Result<Page<K>, Trouble> {
    let mut objects = Vec::new();
    let metadata = each(client, path, form, params, |object| objects.push(object)).await?;
    Ok(Page { metadata, objects })
}

/// Asks for a page of which each object is given away as soon as it is understood: beside the answer's text there is one of them in memory
/// at a time. Objects may have been given away where the page turns out to be no page.
pub(crate) async fn each<K: DeserializeOwned>(
    client: Client,
    path: &str,
    form: Form,
    params: &ListParams,
    mut take: impl FnMut(K),
) -> Result<ListMeta, Trouble> {
    let request = shaped(Requests::new(path).list(params), form, METADATA_LIST);
    let page = async {
        let answer = send(client, request?).await?;
        let text = read(answer.into_body(), LARGEST).await?;
        let mut text = serde_json::Deserializer::from_slice(&text);
        let metadata = Written(&mut take, PhantomData).deserialize(&mut text);
        metadata.and_then(|metadata| text.end().map(|()| metadata)).map_err(|error| Trouble::garbage(&error))
    };
    tokio::time::timeout(LIMIT, page).await.unwrap_or(Err(Trouble::Silent(LIMIT)))
}

/// Asks for all changes after a version.
pub(super) async fn watch(
    client: Client,
    path: &str,
    form: Form,
    params: &WatchParams,
    version: &str,
) -> Result<Lines, Trouble> {
    let request = shaped(Requests::new(path).watch(params, version), form, METADATA);
    let answer = tokio::time::timeout(LIMIT, async { send(client, request?).await }).await;
    Ok(Lines::new(answer.unwrap_or(Err(Trouble::Silent(LIMIT)))?.into_body()))
}

/// A request for objects in this form.
fn shaped(
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    form: Form,
    metadata: HeaderValue,
) -> Result<Request<Vec<u8>>, Trouble> {
    let mut request = request.map_err(|error| Trouble::Garbage(short(&error.to_string())))?;
    if form == Form::Metadata {
        request.headers_mut().insert(ACCEPT, metadata);
    }
    Ok(request)
}

/// The lines of an answer that goes on.
pub(super) struct Lines {
    body: Body,
    text: Vec<u8>,
    /// So much of the text has no end of a line.
    looked_at: usize,
}

impl Lines {
    const fn new(body: Body) -> Self {
        Self { body, text: Vec::new(), looked_at: 0 }
    }

    /// The next whole line. Dropping the wait for it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            let end = self.text[self.looked_at..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let rest = self.text.split_off(self.looked_at + end + 1);
                self.looked_at = 0;
                return Ok(Some(std::mem::replace(&mut self.text, rest)));
            }
            self.looked_at = self.text.len();
            match next_bytes(&mut self.body).await? {
                Some(more) if self.text.len() + more.len() > LARGEST => return Err(Trouble::TooLarge),
                Some(more) => self.text.extend_from_slice(&more),
                None => return Ok(None),
            }
        }
    }
}
