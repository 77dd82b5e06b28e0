//! Against a service that answers what a test has it answer.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use kube::client::ClientBuilder;
use tower::service_fn;

use super::*;
use crate::api::objects::errand::Found;

fn object() -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "web".into() }
}

/// A client whose server answers these parts, and the requests that it gets.
fn client(status: u16, parts: Vec<Vec<u8>>) -> (Client, Arc<Mutex<Vec<Request<()>>>>) {
    let asked = Arc::<Mutex<Vec<Request<()>>>>::default();
    let seen = asked.clone();
    let service = service_fn(move |request: Request<Body>| {
        seen.lock().unwrap().push(request.map(drop));
        let parts =
            stream::iter(parts.clone()).map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
        let mut response = Response::new(StreamBody::new(parts));
        *response.status_mut() = status.try_into().unwrap();
        response.headers_mut().insert("Retry-After", HeaderValue::from_static("7"));
        async { Ok::<_, Infallible>(response) }
    });
    (ClientBuilder::new(service, "default").build(), asked)
}

fn line(kind: &str, version: &str) -> Vec<u8> {
    format!("{{\"type\": \"{kind}\", \"object\": {{\"kind\": \"Table\", \"metadata\": {{\"resourceVersion\": \"{version}\"}}}}}}\n")
        .into_bytes()
}

#[tokio::test]
async fn a_watch_asks_for_nothing_of_what_an_object_holds_and_bears_whatever_comes() {
    let mut long =
        format!(r#"{{"type": "MODIFIED", "object": {{"x": "{}"}}}}"#, "x".repeat(4 << 20)).into_bytes();
    long.push(b'\n');
    let both = [line("ADDED", "5"), line("BOOKMARK", "6")].concat();
    let (first, rest) = both.split_at(10);
    let parts = vec![first.to_vec(), rest.to_vec(), long, line("DELETED", "8")];
    let (client, asked) = client(200, parts);
    let mut changes = watch(client, &object(), "4").await.unwrap();
    for expected in [
        Said::Shown(Shown::Version("5".into())),
        Said::Nothing,
        Said::Shown(Shown::Unclear),
        Said::Shown(Shown::Deleted),
    ] {
        assert_eq!(changes.next().await.unwrap(), expected);
    }
    assert_eq!(changes.next().await.unwrap_err().failure(), Failure::Ended);
    let asked = asked.lock().unwrap();
    let uri = asked[0].uri().to_string();
    assert!(uri.starts_with("/api/v1/namespaces/shop/configmaps?&watch=true"), "{uri}");
    assert!(uri.contains("fieldSelector=metadata.name%3Dweb") && uri.contains("resourceVersion=4"), "{uri}");
    assert_eq!(asked[0].headers()[ACCEPT], AS_TABLE);
}

#[tokio::test]
async fn what_is_refused_says_why_and_when_to_ask_again() {
    let status = br#"{"kind": "Status", "message": "configmaps is forbidden", "code": 403}"#.to_vec();
    for (code, failure) in [
        (403, Failure::Forbidden),
        (410, Failure::Ended),
        (429, Failure::Other(Some(Duration::from_secs(7)))),
        (500, Failure::Other(Some(Duration::from_secs(7)))),
    ] {
        let (client, _) = client(code, vec![status.clone(), vec![b'x'; 1 << 20]]);
        let trouble = watch(client, &object(), "4").await.err().unwrap();
        assert_eq!(trouble.failure(), failure, "{trouble}");
    }
    let gone = br#"{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}"#;
    let (client, _) = client(200, vec![[gone.as_slice(), b"\n"].concat()]);
    let trouble = watch(client, &object(), "4").await.unwrap().next().await.unwrap_err();
    assert_eq!(trouble.failure(), Failure::Ended, "{trouble}");
}

#[tokio::test]
async fn how_new_an_answer_must_be_is_asked_for() {
    let list = br#"{"metadata": {"resourceVersion": "9"}, "items": []}"#.to_vec();
    let (client, asked) = client(200, vec![list]);
    for (freshness, expected) in [
        (Freshness::Any, "&resourceVersion=0&resourceVersionMatch=NotOlderThan"),
        (Freshness::NotOlderThan("7".into()), "&resourceVersion=7&resourceVersionMatch=NotOlderThan"),
        (Freshness::Newest, ""),
    ] {
        let found = fetch(client.clone(), &object(), &freshness, &Semaphore::new(1)).await.unwrap();
        assert_eq!(found, Fetched { version: "9".into(), found: Found::Absent });
        let uri = asked.lock().unwrap().pop().unwrap().uri().to_string();
        assert_eq!(
            uri,
            format!("/api/v1/namespaces/shop/configmaps?&fieldSelector=metadata.name%3Dweb{expected}")
        );
    }
}

#[tokio::test]
async fn when_an_object_was_changed_is_told_by_the_nodes_clock_where_the_answer_has_a_date() {
    let stamp = |second| Timestamp::from_second(second).unwrap();
    let second = Timestamp::now().as_second();
    for ahead in [30, -30] {
        let list = format!(
            r#"{{"metadata": {{"resourceVersion": "9"}}, "items": [{{"metadata": {{"resourceVersion": "7",
                "managedFields": [{{"time": "{}", "fieldsV1": {{"f:data": {{}}}}}}]}}}}]}}"#,
            stamp(second + ahead)
        );
        let service = service_fn(move |_: Request<Body>| {
            let date = stamp(Timestamp::now().as_second() + ahead);
            let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
            let mut response = Response::new(Body::from(list.clone().into_bytes()));
            response.headers_mut().insert("Date", date.try_into().unwrap());
            async { Ok::<_, Infallible>(response) }
        });
        let client = ClientBuilder::new(service, "default").build();
        let found = fetch(client, &object(), &Freshness::Any, &Semaphore::new(1)).await.unwrap().found;
        let Found::Version(version) = found else { panic!() };
        let updated = version.updated.unwrap();
        let (earliest, latest) = updated.between.unwrap();
        let (from, to) = (clock::from_wall_second(second), clock::from_wall_second(second + 1));
        assert!(earliest <= from && to <= latest, "{ahead} s ahead: {updated:?}");
        let is_shifted = if ahead > 0 { latest < updated.written } else { updated.written < earliest };
        assert!(is_shifted, "{ahead} s ahead: {updated:?}");
    }
}

#[tokio::test]
async fn of_all_that_are_fetched_at_a_time_one_is_large_and_none_is_larger_than_what_is_read() {
    const PART: usize = 32 << 10;
    let (open, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let highest = most.clone();
    let service = service_fn(move |_: Request<Body>| {
        let (open, most) = (open.clone(), most.clone());
        // Without an end: it is given up at some time.
        let parts = stream::unfold((0, open), move |(sent, open)| {
            let most = most.clone();
            async move {
                tokio::task::yield_now().await;
                if sent == SMALL + PART {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                } else if sent == LARGEST - PART {
                    open.fetch_sub(1, Ordering::SeqCst);
                }
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; PART]))), (sent + PART, open)))
            }
        });
        async { Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(parts)))) }
    });
    let (client, large) = (ClientBuilder::new(service, "default").build(), Semaphore::new(1));
    let (object, freshness) = (object(), Freshness::Any);
    let all = join_all((0..4).map(|_| fetch(client.clone(), &object, &freshness, &large))).await;
    assert!(all.into_iter().all(|fetched| fetched.unwrap().found == Found::TooLarge));
    assert_eq!(highest.load(Ordering::SeqCst), 1);
}
