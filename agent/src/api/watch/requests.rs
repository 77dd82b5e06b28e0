//! The two requests, and their answers: never more of them in memory than the largest object needs.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::client::Body;
use kube::core::{Request as Requests, Status, params::ListParams, params::WatchParams};
use kube::{Client, Resource as Kind};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::{backoff, short};
use super::MOST_LISTED;
use super::trouble::{LARGEST, Trouble};

/// How much of a refusal is read. It may be a proxy's page.
const REFUSAL_BYTES: usize = 64 << 10;
/// How long the API server has for a page, or for the begin of a watch. It gives itself a minute.
const LIMIT: Duration = Duration::from_secs(60);

/// A page of a list.
pub(super) struct Page<K> {
    pub(super) metadata: ListMeta,
    pub(super) objects: Vec<K>,
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
pub(super) async fn list<K>(client: Client, params: &ListParams) -> Result<Page<K>, Trouble>
where
    K: Kind<DynamicType = ()> + DeserializeOwned,
{
    let request = Requests::new(K::url_path(&(), None)).list(params);
    let page = async {
        let answer = send(client, request).await?;
        let text = read(answer.into_body(), LARGEST).await?;
        let page: Written<K> = serde_json::from_slice(&text).map_err(|error| Trouble::garbage(&error))?;
        Ok(Page { metadata: page.metadata, objects: page.items.map(|items| items.0).unwrap_or_default() })
    };
    tokio::time::timeout(LIMIT, page).await.unwrap_or(Err(Trouble::Silent(LIMIT)))
}

/// Asks for all changes after a version.
pub(super) async fn watch<K>(client: Client, params: &WatchParams, version: &str) -> Result<Lines, Trouble>
where
    K: Kind<DynamicType = ()>,
{
    let request = Requests::new(K::url_path(&(), None)).watch(params, version);
    let answer = tokio::time::timeout(LIMIT, send(client, request)).await;
    Ok(Lines::new(answer.unwrap_or(Err(Trouble::Silent(LIMIT)))?.into_body()))
}

async fn send(
    client: Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Response<Body>, Trouble> {
    let request = request.map_err(|error| Trouble::Garbage(short(&error.to_string())))?;
    let answer =
        client.send(request.map(Body::from)).await.map_err(|error| Trouble::Unreached(error.into()))?;
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let (status, retry_after) = (answer.status(), backoff::retry_after(answer.headers()));
    let text = read(answer.into_body(), REFUSAL_BYTES).await.unwrap_or_default();
    let said = serde_json::from_slice::<Status>(&text).map(|status| status.message);
    let message = short(&said.unwrap_or_else(|_error| String::from_utf8_lossy(&text).into_owned()));
    Err(Trouble::Refused { status, message, retry_after })
}

/// All of an answer.
async fn read(mut body: Body, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut text = Vec::new();
    while let Some(more) = next_bytes(&mut body).await? {
        if text.len() + more.len() > most {
            return Err(Trouble::TooLarge);
        }
        text.extend_from_slice(&more);
    }
    Ok(text)
}

async fn next_bytes(body: &mut Body) -> Result<Option<hyper::body::Bytes>, Trouble> {
    while let Some(frame) = body.frame().await {
        // What isn't data is of no interest.
        if let Ok(data) = frame.map_err(|error| Trouble::Unreached(error.into()))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
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
