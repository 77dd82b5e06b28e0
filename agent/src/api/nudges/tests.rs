use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use kube::Client;
use tokio::sync::watch;
use tower::service_fn;

use super::super::fence::Standing;
use super::*;
use crate::api::testing;
use crate::inbox::Inbound;

const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

fn pod() -> Arc<Pod> {
    pod_of("shop", UID)
}

fn pod_of(namespace: &str, uid: &str) -> Arc<Pod> {
    Arc::new(testing::pod(namespace, "web", uid))
}

/// A gate that is always open.
fn no_fence() -> Gate {
    Gate::new(watch::channel(Standing::Unknown).1, false)
}

/// The API server's answers, in order; `None` never comes.
fn server(
    answers: impl IntoIterator<Item = Option<(u16, &'static str)>>,
) -> (Client, Arc<Mutex<Vec<String>>>) {
    let answers = Arc::new(Mutex::new(answers.into_iter().collect::<std::collections::VecDeque<_>>()));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let service = service_fn(move |request: Request<Body>| {
        let (answers, seen) = (answers.clone(), seen.clone());
        async move {
            let head =
                format!("{} {} {:?}", request.method(), request.uri(), request.headers().get(CONTENT_TYPE));
            let body = request.into_body().collect_bytes().await?;
            seen.lock().unwrap().push(format!("{head} {}", String::from_utf8_lossy(&body)));
            let answer = answers.lock().unwrap().pop_front().flatten();
            let Some((status, body)) = answer else { return std::future::pending().await };
            let retry_after = (status == 429).then_some(("Retry-After", "7"));
            let mut response = Response::builder().status(status);
            if let Some((name, value)) = retry_after {
                response = response.header(name, value);
            }
            Ok::<_, kube::Error>(response.body(Body::from(body.as_bytes().to_vec())).unwrap())
        }
    });
    (Client::new(service, "default"), requests)
}

/// A cluster that is reached by this client.
fn next(receiver: &Receiver<Inbound>) -> Option<NudgeAnswer> {
    match receiver.try_recv() {
        Ok(Inbound::Event(Event::Nudged(uid, answer))) => {
            assert_eq!(uid.to_string(), UID);
            Some(answer)
        }
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

/// Waits without a limit: what is late fails by the test's own.
async fn answer(receiver: &Receiver<Inbound>) -> NudgeAnswer {
    loop {
        if let Some(answer) = next(receiver) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn said(status: u16, retry_after: Option<u64>, other_uid: bool) -> NudgeAnswer {
    let status = StatusCode::from_u16(status).unwrap();
    let retry_after = retry_after.map(Duration::from_secs);
    Said { status, retry_after, message: String::new(), other_uid }.answer()
}

#[test]
fn each_status_has_its_meaning() {
    for (status, meant) in [
        (200, NudgeAnswer::Accepted),
        (201, NudgeAnswer::Accepted),
        (400, NudgeAnswer::Refused),
        (401, NudgeAnswer::Failed),
        (403, NudgeAnswer::Refused),
        (404, NudgeAnswer::Gone),
        (409, NudgeAnswer::Failed),
        (422, NudgeAnswer::Refused),
        (429, NudgeAnswer::Throttled(Duration::from_secs(1))),
        (500, NudgeAnswer::Failed),
        (503, NudgeAnswer::Failed),
    ] {
        assert_eq!(said(status, None, false), meant, "{status}");
    }
    assert_eq!(said(422, None, true), NudgeAnswer::Gone);
    assert_eq!(said(429, Some(30), false), NudgeAnswer::Throttled(Duration::from_secs(30)));
    assert_eq!(said(429, Some(u64::MAX), false), NudgeAnswer::Throttled(LONGEST));
}

#[tokio::test(start_paused = true)]
async fn a_nudge_changes_one_annotation_of_the_pod_that_was_meant_each_time_to_another_text() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let (client, requests) = server([Some((200, "{}")), Some((200, "{}"))]);
    let (mut nudges, sender) = channel(Cluster::with_client(client), inbox, no_fence());
    tokio::spawn(sender.run());
    for _ in 0..2 {
        assert_eq!(nudges.send(pod(), clock::now()), None);
        assert_eq!(answer(&receiver).await, NudgeAnswer::Accepted);
    }
    let requests = requests.lock().unwrap();
    let nonces = requests.iter().map(|request| {
        let (head, body) = request.split_once(" {").unwrap();
        assert_eq!(
            head,
            "PATCH /api/v1/namespaces/shop/pods/web/status?fieldManager=reloadlet \
             Some(\"application/merge-patch+json\")"
        );
        let body: serde_json::Value = serde_json::from_str(&format!("{{{body}")).unwrap();
        let nonce = body["metadata"]["annotations"]["reloadlet.io/observed"].as_str().unwrap().to_owned();
        assert_eq!(body, json!({"metadata": {"uid": UID, "annotations": {"reloadlet.io/observed": nonce}}}));
        assert!((1..=64).contains(&nonce.len()), "what the fence allows");
        nonce
    });
    assert_eq!(nonces.collect::<BTreeSet<_>>().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_says_of_the_pod_is_understood() {
    let other = r#"{"details": {"causes": [{"field": "metadata.uid", "reason": "FieldValueInvalid"}]}}"#;
    let policy = r#"{"message": "denied by a policy", "details": {"causes": [{"message": "denied"}]}}"#;
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let (client, _) = server([
        Some((422, other)),
        Some((422, policy)),
        Some((403, "no JSON")),
        Some((503, "")),
        Some((404, "")),
        None,
    ]);
    let (mut nudges, sender) = channel(Cluster::with_client(client), inbox, no_fence());
    tokio::spawn(sender.run());
    let begun = tokio::time::Instant::now();
    for meant in [
        NudgeAnswer::Gone,
        NudgeAnswer::Refused,
        NudgeAnswer::Refused,
        NudgeAnswer::Failed,
        NudgeAnswer::Gone,
    ] {
        assert_eq!(nudges.send(pod(), clock::now()), None);
        assert_eq!(answer(&receiver).await, meant);
    }
    assert!(begun.elapsed() < LIMIT);
    assert_eq!(nudges.send(pod(), clock::now()), None);
    assert_eq!(answer(&receiver).await, NudgeAnswer::Failed, "no answer");
    assert!((LIMIT..LIMIT * 2).contains(&begun.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_asked_too_much_is_left_alone() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let (client, requests) = server([Some((429, "")), Some((200, "{}"))]);
    let (mut nudges, sender) = channel(Cluster::with_client(client), inbox, no_fence());
    tokio::spawn(sender.run());
    let now = clock::now();
    assert_eq!(nudges.send(pod(), now), None);
    assert_eq!(answer(&receiver).await, NudgeAnswer::Throttled(Duration::from_secs(7)));
    let later = clock::now() + Duration::from_secs(1);
    let Some(NudgeAnswer::Throttled(left)) = nudges.send(pod(), later) else { panic!("sent") };
    assert!(left <= Duration::from_secs(6));
    assert_eq!(nudges.send(pod(), now + Duration::from_secs(60)), None);
    // It is sent by now's clock, where the time isn't over.
    let NudgeAnswer::Throttled(_) = answer(&receiver).await else { panic!("sent") };
    assert_eq!(requests.lock().unwrap().len(), 1);
}

/// kube's client does so unless it is told not to, and would keep the nudge until its time is over.
#[tokio::test]
async fn the_client_doesnt_try_again_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let _request = connection.read(&mut [0; 4096]).unwrap();
        let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        connection.write_all(answer.as_bytes()).unwrap();
    });
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let config = crate::api::bounded(kube::Config::new(url.parse().unwrap()));
    let (mut nudges, sender) =
        channel(Cluster::with_client(Client::try_from(config).unwrap()), inbox, no_fence());
    tokio::spawn(sender.run());
    assert_eq!(nudges.send(pod(), clock::now()), None);
    assert_eq!(answer(&receiver).await, NudgeAnswer::Throttled(Duration::from_secs(7)));
}

/// How many of 500 further pods of a namespace may be nudged now.
fn sent(nudges: &mut NudgeQueue, namespace: &str, now: Time) -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let uid = || format!("{:012x}", NEXT.fetch_add(1, Ordering::Relaxed));
    (0..500).filter(|_| nudges.send(pod_of(namespace, &uid()), now).is_none()).count()
}

/// How many requests there were for a namespace's pods.
fn requests_of(requests: &Mutex<Vec<String>>, namespace: &str) -> usize {
    let path = format!("/namespaces/{namespace}/");
    requests.lock().unwrap().iter().filter(|request| request.contains(&path)).count()
}

#[tokio::test(start_paused = true)]
async fn a_node_has_a_budget_and_few_requests_at_once() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let (client, requests) = server([]);
    let (mut nudges, sender) = channel(Cluster::with_client(client), inbox, no_fence());
    let now = clock::now();
    assert_eq!(sent(&mut nudges, "shop", now), 110);
    assert_eq!(nudges.send(pod(), now), Some(NudgeAnswer::OverBudget));
    assert_eq!(sent(&mut nudges, "shop", now + Duration::from_secs(1)), 20);

    let sending = tokio::spawn(sender.run());
    tokio::time::sleep(LIMIT / 2).await;
    assert_eq!(requests.lock().unwrap().len(), 8);
    assert!(receiver.try_recv().is_err());
    tokio::time::sleep(LIMIT).await;
    assert_eq!(requests.lock().unwrap().len(), 16);
    assert_eq!((0..9).map_while(|_| receiver.try_recv().ok()).count(), 8);
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn another_namespace_has_its_share_and_its_turn_whatever_one_sends() {
    let (inbox, _receiver, _wake) = Inbox::new().unwrap();
    let (client, requests) = server([]);
    let (mut nudges, sender) = channel(Cluster::with_client(client), inbox, no_fence());
    let now = clock::now();
    let mut loud = 0;
    for millis in (0..10_000).step_by(50) {
        loud += sent(&mut nudges, "loud", now + Duration::from_millis(millis));
    }
    assert!((305..=311).contains(&loud), "all that nobody else wants: {loud}");
    let sending = tokio::spawn(sender.run());
    tokio::time::sleep(LIMIT / 2).await;
    assert_eq!((requests_of(&requests, "loud"), requests_of(&requests, "quiet")), (8, 0));

    // The loud one's are slow, and hundreds wait.
    assert!(sent(&mut nudges, "quiet", now + Duration::from_secs(10)) >= 50);
    tokio::time::sleep(LIMIT / 4).await;
    assert_eq!((requests_of(&requests, "loud"), requests_of(&requests, "quiet")), (8, 4));
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_nudge_is_given_up_for_anothers_is_told_so() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let (client, _) = server([]);
    let (mut nudges, sender) = channel(Cluster::with_client(client), inbox, no_fence());
    let now = clock::now();
    let mut waiting = 0;
    for second in 0..10 {
        waiting += sent(&mut nudges, "loud", now + Duration::from_secs(second));
    }
    assert!(waiting > WAITING, "the oldest are given up for its own: {waiting}");
    let quiet = sent(&mut nudges, "quiet", now + Duration::from_secs(10));
    let sending = tokio::spawn(sender.run());
    tokio::time::sleep(LIMIT / 2).await;
    let mut given_up = 0;
    while let Ok(Inbound::Event(Event::Nudged(_, answer))) = receiver.try_recv() {
        assert_eq!(answer, NudgeAnswer::OverBudget);
        given_up += 1;
    }
    assert_eq!(given_up, waiting + quiet - WAITING);
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_fence_is_proved() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let (client, requests) = server([Some((200, "{}"))]);
    let (standing, known) = watch::channel(Standing::Unknown);
    let (mut nudges, sender) = channel(Cluster::with_client(client), inbox, Gate::new(known, true));
    assert_eq!(nudges.send(pod(), clock::now()), Some(NudgeAnswer::Withheld));
    standing.send_replace(Standing::Missing);
    assert_eq!(nudges.send(pod(), clock::now()), Some(NudgeAnswer::Refused));
    standing.send_replace(Standing::Holds);
    assert_eq!(nudges.send(pod(), clock::now()), None);
    // It waits, and the fence falls.
    standing.send_replace(Standing::Missing);
    tokio::spawn(sender.run());
    assert_eq!(answer(&receiver).await, NudgeAnswer::Refused);
    assert!(requests.lock().unwrap().is_empty());
    standing.send_replace(Standing::Holds);
    assert_eq!(nudges.send(pod(), clock::now()), None);
    assert_eq!(answer(&receiver).await, NudgeAnswer::Accepted);
}
