//! Requests to the API server, and their answers: never more of them in memory than the largest that is taken.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Builder;
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::trouble::{LARGEST, Trouble};
use super::{backoff, short};

/// How much of a refusal is read. It may be a proxy's page.
const REFUSAL_BYTES: usize = 64 << 10;
/// How long the API server has for an answer, or for the begin of a watch. It gives itself a minute.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The content type of a merge patch (RFC 7386).
pub(crate) const MERGE_PATCH: HeaderValue = HeaderValue::from_static("application/merge-patch+json");
/// The content type of an object.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request without a body.
pub(crate) fn plain(request: Builder) -> Result<Request<Vec<u8>>, Trouble> {
    request.body(Vec::new()).map_err(|error| Trouble::Garbage(short(&error.to_string())))
}

/// A request that carries an object.
pub(crate) fn carrying(
    request: Builder,
    content_type: HeaderValue,
    object: &impl Serialize,
) -> Result<Request<Vec<u8>>, Trouble> {
    let body = serde_json::to_vec(object).map_err(|error| Trouble::garbage(&error))?;
    let request = request.header(CONTENT_TYPE, content_type).body(body);
    request.map_err(|error| Trouble::Garbage(short(&error.to_string())))
}

/// Asks for an object.
pub(crate) async fn ask<T: DeserializeOwned>(
    client: Client,
    request: Result<Request<Vec<u8>>, Trouble>,
) -> Result<T, Trouble> {
    let answer = async {
        let text = read(send(client, request?).await?.into_body(), LARGEST).await?;
        serde_json::from_slice(&text).map_err(|error| Trouble::garbage(&error))
    };
    tokio::time::timeout(LIMIT, answer).await.unwrap_or(Err(Trouble::Silent(LIMIT)))
}

/// Sends a request. The answer says that it was done.
pub(super) async fn send(client: Client, request: Request<Vec<u8>>) -> Result<Response<Body>, Trouble> {
    let answer =
        client.send(request.map(Body::from)).await.map_err(|error| Trouble::Unreached(error.into()))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let (status, retry_after) = (answer.status(), backoff::retry_after(answer.headers()));
    let text = read(answer.into_body(), REFUSAL_BYTES).await.unwrap_or_default();
    let said = serde_json::from_slice::<Status>(&text).map(|status| status.message);
    let message = short(&said.unwrap_or_else(|_error| String::from_utf8_lossy(&text).into_owned()));
    Err(Trouble::Refused { status, message, retry_after })
}

/// All of an answer.
pub(super) async fn read(mut body: Body, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut text = Vec::new();
    while let Some(more) = next_bytes(&mut body).await? {
        if text.len() + more.len() > most {
            return Err(Trouble::TooLarge);
        }
        text.extend_from_slice(&more);
    }
    Ok(text)
}

/// What comes next of an answer.
pub(super) async fn next_bytes(body: &mut Body) -> Result<Option<hyper::body::Bytes>, Trouble> {
    while let Some(frame) = body.frame().await {
        // What isn't data is of no interest.
        if let Ok(data) = frame.map_err(|error| Trouble::Unreached(error.into()))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
