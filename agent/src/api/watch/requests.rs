//! The two requests of a watch, and their answers.

use std::fmt;
use std::marker::PhantomData;

use hyper::Request;
use hyper::header::{ACCEPT, HeaderValue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::client::Body;
use kube::core::{Request as Requests, params::ListParams, params::WatchParams};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
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
pub(crate) struct Page<K> {
    pub(crate) metadata: ListMeta,
    pub(crate) objects: Vec<K>,
}

/// A page on the wire. A list without items may have none, or null.
#[derive(Deserialize)]
#[serde(bound = "K: DeserializeOwned")]
struct Written<K> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Option::default")]
    items: Option<Items<K>>,
}

/// The items of a page: the smallest take more memory than on the wire, so that their number has a bound.
struct Items<K>(Vec<K>);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Items<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<K>(PhantomData<K>);
        impl<'de, K: Deserialize<'de>> Visitor<'de> for Bounded<K> {
            type Value = Items<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MOST_LISTED} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    if all.len() >= MOST_LISTED {
                        return Err(A::Error::invalid_length(all.len() + 1, &self));
                    }
                    all.push(item);
                }
                Ok(Items(all))
            }
        }
        deserializer.deserialize_seq(Bounded(PhantomData))
    }
}

/// Asks for a page.
pub(crate) async fn list<K: DeserializeOwned>(
    client: Client,
    path: &str,
    form: Form,
    params: &ListParams,
) -> Result<Page<K>, Trouble> {
    let request = shaped(Requests::new(path).list(params), form, METADATA_LIST);
    let page = async {
        let answer = send(client, request?).await?;
        let text = read(answer.into_body(), LARGEST).await?;
        let page: Written<K> = serde_json::from_slice(&text).map_err(|error| Trouble::garbage(&error))?;
        Ok(Page { metadata: page.metadata, objects: page.items.map(|items| items.0).unwrap_or_default() })
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
