//! What is asked of the API server, and its answers: never more of them in memory than their bounds.
//!
//! A watch shows objects as tables without rows' objects: of each change its version and a few cells, whatever the object
//! holds (`rest/table.go` of the API server; its metadata alone would name every key in `managedFields`). The object
//! itself is a list of one, fetched for itself: the right to list is enough for it, and the list has the version to watch
//! from.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::core::params::{ListParams, VersionMatch, WatchParams};
use kube::core::{Request as Requests, Status};
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::decode;
use super::errand::{Failure, Fetched, Found, Freshness, Shown};
use super::skew::Skew;
use crate::api::{backoff, short};
use crate::clock;

/// Of each object only its version and some cells.
const AS_TABLE: HeaderValue =
    HeaderValue::from_static("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
/// How large an object may be on the wire. It has 1.5 MB in etcd at most, and more on the wire only where many of its
/// characters are written as escapes.
const LARGEST: usize = 8 << 20;
/// What is larger than that is read one at a time.
const SMALL: usize = 128 << 10;
/// How much a watch says of a change.
const LONGEST_LINE: usize = 16 << 10;
/// How much of a refusal is read. It may be a proxy's page.
const REFUSAL_BYTES: usize = 16 << 10;
/// How long the API server has for an object.
const LIMIT: Duration = Duration::from_secs(30);
/// How long it has to begin with a watch, which it does at once. One that it has no stream for waits without a word.
const BEGIN: Duration = Duration::from_secs(5);
/// Bookmarks come each minute: who is silent for longer has died without a word.
const SILENCE: Duration = crate::api::SILENCE;

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// No connection, no trust, or the connection broke.
    #[error("the API server can't be reached")]
    Unreached(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing came for so long.
    #[error("the API server says nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// A watch doesn't begin.
    #[error("the API server doesn't begin with a watch within {} s", BEGIN.as_secs())]
    Unanswered,
    #[error("the API server answers {status}: {message}")]
    Refused { status: StatusCode, message: String, retry_after: Option<Duration> },
    #[error("the API server's answer can't be understood: {0}")]
    Garbage(String),
    /// A watch came to its end.
    #[error("the API server ended a watch")]
    Ended,
}

impl Trouble {
    /// What it means for what was asked.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Refused { status, .. } if *status == StatusCode::FORBIDDEN => Failure::Forbidden,
            // From that version on it can't be told any more: it is fetched anew.
            Self::Refused { status, .. } if *status == StatusCode::GONE => Failure::Ended,
            Self::Refused { retry_after, .. } => Failure::Other(*retry_after),
            Self::Ended => Failure::Ended,
            Self::Unanswered => Failure::Unanswered,
            Self::Unreached(_) | Self::Silent(_) | Self::Garbage(_) => Failure::Other(None),
        }
    }

    /// Another authority, other credentials or another address may help.
    pub(super) fn may_be_the_configuration(&self) -> bool {
        match self {
            Self::Unreached(_) | Self::Silent(_) => true,
            Self::Refused { status, .. } => *status == StatusCode::UNAUTHORIZED,
            Self::Unanswered | Self::Garbage(_) | Self::Ended => false,
        }
    }

    fn refused(status: u16, message: &str, retry_after: Option<Duration>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::Refused { status, message: short(message), retry_after }
    }
}

fn requests(object: &ObjectRef) -> (Requests, String) {
    let plural = match object.kind {
        ObjectKind::ConfigMap => "configmaps",
        ObjectKind::Secret => "secrets",
    };
    let path = format!("/api/v1/namespaces/{}/{plural}", object.namespace);
    (Requests::new(path), format!("metadata.name={}", object.name))
}

/// Fetches what an object holds. Of all that are fetched at a time, one is large.
pub(super) async fn fetch(
    client: Client,
    object: &ObjectRef,
    freshness: &Freshness,
    large: &Semaphore,
) -> Result<Fetched, Trouble> {
    let (requests, one) = requests(object);
    let params = ListParams::default().fields(&one);
    let params = match freshness {
        Freshness::Any => params.match_any(),
        Freshness::NotOlderThan(version) => params.at(version).matching(VersionMatch::NotOlderThan),
        Freshness::Newest => params,
    };
    let fetched = async {
        let asked = clock::wall();
        let answer = send(client, requests.list(&params)).await?;
        let skew = Skew::of(answer.headers(), asked, clock::wall());
        let mut body = answer.into_body();
        let mut text = Vec::new();
        let mut turn = None;
        while let Some(more) = next_bytes(&mut body).await? {
            if turn.is_none() && text.len() + more.len() > SMALL {
                turn = large.acquire().await.ok();
            }
            if text.len() + more.len() > LARGEST {
                return Ok(decode::too_large());
            }
            text.extend_from_slice(&more);
        }
        let kind = object.kind;
        let decoded = if text.len() > SMALL {
            // The runtime has one thread, and answers probes.
            tokio::task::spawn_blocking(move || decode::list(kind, &text)).await
        } else {
            Ok(decode::list(kind, &text))
        };
        let decoded = decoded.map_err(|error| Trouble::Garbage(error.to_string()))?;
        decoded.map(|fetched| dated(fetched, skew)).map_err(Trouble::Garbage)
    };
    tokio::time::timeout(LIMIT, fetched).await.unwrap_or(Err(Trouble::Silent(LIMIT)))
}

/// With its times by the node's clock, where the answer tells how far that is from the API server's.
fn dated(mut fetched: Fetched, skew: Option<Skew>) -> Fetched {
    if let (Found::Version(version), Some(skew)) = (&mut fetched.found, skew)
        && let Some(version) = Arc::get_mut(version)
    {
        version.updated = version.updated.map(|updated| skew.dated(updated));
    }
    fetched
}

/// A watch that runs.
pub(super) struct Changes(Lines);

/// What comes of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Shown(Shown),
    /// It is there, and nothing has changed.
    Nothing,
}

/// Asks for what comes after a version of an object.
pub(super) async fn watch(client: Client, object: &ObjectRef, version: &str) -> Result<Changes, Trouble> {
    begin(client, object, version, WatchParams::default()).await
}

/// Finds out whether objects like this one can be listed and watched.
pub(super) async fn try_both(client: Client, object: &ObjectRef) -> Result<(), Trouble> {
    let (requests, one) = requests(object);
    let mut request = built(requests.list(&ListParams::default().fields(&one).match_any()))?;
    request.headers_mut().insert(ACCEPT, AS_TABLE);
    send(client.clone(), Ok(request)).await?;
    begin(client, object, "0", WatchParams::default().timeout(1)).await.map(drop)
}

async fn begin(
    client: Client,
    object: &ObjectRef,
    version: &str,
    params: WatchParams,
) -> Result<Changes, Trouble> {
    let (requests, one) = requests(object);
    let mut request = built(requests.watch(&params.fields(&one), version))?;
    request.headers_mut().insert(ACCEPT, AS_TABLE);
    let answer = tokio::time::timeout(BEGIN, send(client, Ok(request))).await;
    Ok(Changes(Lines::new(answer.unwrap_or(Err(Trouble::Unanswered))?.into_body())))
}

impl Changes {
    /// What comes next.
    pub(super) async fn next(&mut self) -> Result<Said, Trouble> {
        let line = tokio::time::timeout(SILENCE, self.0.next()).await;
        match line.unwrap_or(Err(Trouble::Silent(SILENCE)))? {
            Some(Line::Whole(text)) => said(&text),
            Some(Line::TooLong) => Ok(Said::Shown(Shown::Unclear)),
            None => Err(Trouble::Ended),
        }
    }
}

/// What a watch says of a change: a table, or a refusal in its place.
#[derive(Deserialize)]
struct Change<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    object: Brief,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Brief {
    metadata: BriefMetadata,
    code: Option<u16>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BriefMetadata {
    resource_version: Option<String>,
}

fn said(line: &[u8]) -> Result<Said, Trouble> {
    let change: Change<'_> =
        serde_json::from_slice(line).map_err(|error| Trouble::Garbage(short(&error.to_string())))?;
    let version = change.object.metadata.resource_version.filter(|version| !version.is_empty());
    match &*change.kind {
        "BOOKMARK" => Ok(Said::Nothing),
        "DELETED" => Ok(Said::Shown(Shown::Deleted)),
        "ADDED" | "MODIFIED" => {
            Ok(Said::Shown(version.map_or(Shown::Unclear, |version| Shown::Version(version.into()))))
        }
        "ERROR" => {
            let message = change.object.message.unwrap_or_default();
            Err(Trouble::refused(change.object.code.unwrap_or_default(), &message, None))
        }
        other => Err(Trouble::Garbage(short(other))),
    }
}

fn built(request: Result<Request<Vec<u8>>, kube::core::request::Error>) -> Result<Request<Vec<u8>>, Trouble> {
    request.map_err(|error| Trouble::Garbage(short(&error.to_string())))
}

async fn send(
    client: Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Response<Body>, Trouble> {
    let request = built(request)?.map(Body::from);
    let answer = client.send(request).await.map_err(|error| Trouble::Unreached(error.into()))?;
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let (status, retry_after) = (answer.status(), backoff::retry_after(answer.headers()));
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Ok(Some(more)) = next_bytes(&mut body).await {
        text.extend_from_slice(&more);
        if text.len() > REFUSAL_BYTES {
            break;
        }
    }
    let said = serde_json::from_slice::<Status>(&text).map(|status| status.message);
    let message = said.unwrap_or_else(|_error| String::from_utf8_lossy(&text).into_owned());
    Err(Trouble::refused(status.as_u16(), &message, retry_after))
}

async fn next_bytes(body: &mut Body) -> Result<Option<Bytes>, Trouble> {
    while let Some(frame) = body.frame().await {
        // What isn't data is of no interest.
        if let Ok(data) = frame.map_err(|error| Trouble::Unreached(error.into()))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The lines of an answer that goes on.
struct Lines {
    body: Body,
    /// What has come and is not looked at yet.
    bytes: Bytes,
    line: Vec<u8>,
    /// The line is longer than what is kept of one.
    too_long: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Lines {
    const fn new(body: Body) -> Self {
        Self { body, bytes: Bytes::new(), line: Vec::new(), too_long: false }
    }

    /// The next line. Dropping the wait for it loses nothing.
    async fn next(&mut self) -> Result<Option<Line>, Trouble> {
        loop {
            let end = self.bytes.iter().position(|byte| *byte == b'\n');
            let part = self.bytes.split_to(end.unwrap_or(self.bytes.len()));
            self.too_long |= self.line.len() + part.len() > LONGEST_LINE;
            if self.too_long {
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(&part);
            }
            if end.is_some() {
                drop(self.bytes.split_to(1));
                let line = std::mem::take(&mut self.line);
                let too_long = std::mem::take(&mut self.too_long);
                return Ok(Some(if too_long { Line::TooLong } else { Line::Whole(line) }));
            }
            match next_bytes(&mut self.body).await? {
                Some(more) => self.bytes = more,
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
