//! What is served at which path.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};

use super::hosts::{self, Refused};
use super::shared::Shared;
use super::{Answer, Encode, Endpoints, Readiness};
use crate::clock;

/// How old the metrics are at most, so that encoding them takes little whoever asks how often. Nobody scrapes more often
/// than that.
const METRICS_AGE: Duration = Duration::from_secs(1);
/// Encoding waits for nobody.
const METRICS_LIMIT: Duration = Duration::from_secs(5);
/// How old the news that the loop turns is at most.
const LIVE_AGE: Duration = Duration::from_millis(250);
const LIVE_LIMIT: Duration = Duration::from_secs(1);
/// Only those who ask at a time share a status: people want to see what is now.
const STATUS_AGE: Duration = Duration::ZERO;
/// How long the loop may take for a status.
pub(super) const STATUS_LIMIT: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
/// The content type of Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// What is served at a path.
#[derive(Clone, Copy, Debug)]
enum Page {
    Metrics,
    Live,
    Ready,
    Status,
}

/// The pages of one listener.
#[derive(Debug)]
pub(super) struct Site {
    pages: &'static [(&'static str, Page)],
    /// Whether it answers only to loopback host names.
    loopback_names: bool,
}

pub(super) static PUBLIC: Site = Site {
    pages: &[("/metrics", Page::Metrics), ("/livez", Page::Live), ("/readyz", Page::Ready)],
    loopback_names: false,
};
pub(super) static ADMIN: Site = Site { pages: &[("/status", Page::Status)], loopback_names: true };

/// A page's text, or one sentence why there is none.
type Text = Result<Bytes, String>;

/// The endpoints, each of which is asked once at a time. All clients get the same copy of an answer.
pub(super) struct Answers {
    metrics: Shared<Text>,
    ready: Box<dyn Fn() -> Readiness + Send + Sync>,
    live: Shared<()>,
    status: Shared<Text>,
}

impl Answers {
    pub(super) fn new(endpoints: Endpoints) -> Self {
        let Endpoints { metrics, ready, live, status } = endpoints;
        let metrics: Arc<Encode> = metrics.into();
        let encode = move || -> Answer<Text> {
            let metrics = Arc::clone(&metrics);
            Box::pin(async move { metrics(clock::now()).map(Bytes::from).map_err(|error| error.to_string()) })
        };
        let status = move || -> Answer<Text> {
            let status = status();
            Box::pin(async move { status.await.map(Bytes::from) })
        };
        Self {
            metrics: Shared::new(encode, METRICS_LIMIT, METRICS_AGE),
            ready,
            live: Shared::new(live, LIVE_LIMIT, LIVE_AGE),
            status: Shared::new(status, STATUS_LIMIT, STATUS_AGE),
        }
    }
}

/// The answer to a request, whose body isn't read.
pub(super) async fn respond<B>(
    request: &Request<B>,
    site: &Site,
    answers: &Answers,
) -> Response<Full<Bytes>> {
    if site.loopback_names
        && let Err(refused) = hosts::loopback_only(request)
    {
        return refusal(refused);
    }
    let path = request.uri().path();
    let Some((_, page)) = site.pages.iter().find(|(at, _)| *at == path) else {
        let paths: Vec<&str> = site.pages.iter().map(|(at, _)| *at).collect();
        return response(StatusCode::NOT_FOUND, TEXT, format!("not found; there is {}\n", paths.join(", ")));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, const { HeaderValue::from_static("GET, HEAD") });
        return response;
    }
    match page {
        Page::Metrics => match answers.metrics.get().await {
            Some(Ok(text)) => response(StatusCode::OK, METRICS_TEXT, text),
            Some(Err(reason)) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, reason + "\n"),
            None => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the metrics can't be encoded\n"),
        },
        Page::Live => match answers.live.get().await {
            Some(()) => response(StatusCode::OK, TEXT, "ok\n"),
            None => late(LIVE_LIMIT),
        },
        Page::Ready => match (answers.ready)() {
            Readiness::Ready => response(StatusCode::OK, TEXT, "ok\n"),
            Readiness::NotReady(reason) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason + "\n"),
        },
        Page::Status => match answers.status.get().await {
            Some(Ok(json)) => response(StatusCode::OK, JSON, json),
            Some(Err(reason)) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason + "\n"),
            None => late(STATUS_LIMIT),
        },
    }
}

fn refusal(refused: Refused) -> Response<Full<Bytes>> {
    match refused {
        Refused::Unclear => response(StatusCode::BAD_REQUEST, TEXT, "a request must name one host\n"),
        Refused::Foreign => {
            let sentence =
                "only requests for a loopback host, such as localhost or 127.0.0.1, are answered here\n";
            response(StatusCode::FORBIDDEN, TEXT, sentence)
        }
    }
}

fn late(limit: Duration) -> Response<Full<Bytes>> {
    let sentence = format!("the loop hasn't answered for {} s\n", limit.as_secs());
    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, sentence)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("no-store") });
    headers.insert(X_CONTENT_TYPE_OPTIONS, const { HeaderValue::from_static("nosniff") });
    response
}
