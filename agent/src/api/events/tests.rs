use hyper::{Request, Response};
use kube::client::Body;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::policy::problem::{Problem, ProblemKind};
use serde_json::Value;
use tower::service_fn;

use super::*;
use crate::api::testing;

fn refused(causes: &str) -> kube::Error {
    let text = format!(
        r#"{{"status": "Failure", "code": 403, "reason": "Forbidden", "details": {{"causes": {causes}}}}}"#
    );
    kube::Error::Api(Box::new(serde_json::from_str(&text).unwrap()))
}

#[test]
fn that_a_namespace_is_being_deleted_is_no_trouble_with_rights() {
    let going = r#"[{"reason": "NamespaceTerminating", "message": "it is being terminated"}]"#;
    assert!(is_going(&refused(going)));
    assert!(!is_going(&refused("[]")));
}

type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server that takes everything, but for the first few requests.
fn server(busy: usize) -> (Client, Requests) {
    let requests = Requests::default();
    let seen = requests.clone();
    let service = service_fn(move |request: Request<Body>| {
        let seen = seen.clone();
        async move {
            let method = request.method().to_string();
            let body = request.into_body().collect_bytes().await?;
            let event: Value = serde_json::from_slice(&body).unwrap();
            let count = {
                let mut seen = seen.lock().unwrap();
                seen.push((method, event));
                seen.len()
            };
            let unavailable = br#"{"kind": "Status", "status": "Failure", "code": 503}"#;
            let (status, answer) =
                if count <= busy { (503, unavailable.to_vec()) } else { (201, body.to_vec()) };
            Ok::<_, kube::Error>(Response::builder().status(status).body(Body::from(answer)).unwrap())
        }
    });
    (Client::new(service, "default"), requests)
}

fn pod(namespace: &str, n: u32) -> Arc<Pod> {
    Arc::new(testing::pod(namespace, &format!("pod-{n}"), &format!("{n:08x}")))
}

fn problem(pod: &Arc<Pod>, sentence: &str) -> Report {
    Report::Problem(pod.clone(), Problem::new(ProblemKind::BadValue, sentence))
}

fn reload(pod: &Arc<Pod>, container: &str, outcome: Outcome) -> Report {
    let now = clock::now();
    Report::Reload(Box::new(ReloadReport {
        pod: pod.clone(),
        container: container.into(),
        signal: reloadlet_core::model::signal::Signal::parse("SIGHUP").unwrap(),
        outcome,
        generations: vec![("config".into(), Generation::parse("..2026_01_01_00_00_00.1").unwrap())],
        pids: Vec::new(),
        swapped: now,
        ended: now,
        settle: Duration::ZERO,
        since_settle: Duration::ZERO,
        deliver: Duration::ZERO,
        reason: None,
        stages: None,
    }))
}

/// What was sent, by pod, once there were so many requests.
async fn sent(requests: &Requests, count: usize) -> Vec<(String, String)> {
    while requests.lock().unwrap().len() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let requests = requests.lock().unwrap();
    requests.iter().map(|(_, event)| (text(&event["regarding"]["name"]), text(&event["note"]))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_namespace_whose_problems_use_up_its_share_keeps_nobody_elses_from_being_said() {
    let (client, requests) = server(0);
    let (notes, sender) = channel(Cluster::with_client(client), "node");
    (0..2000).for_each(|n| notes.report(&problem(&pod("loud", n), "it is bad")));
    notes.report(&problem(&pod("quiet", 9000), "it is bad as well"));
    let sending = tokio::spawn(sender.run());
    let said = sent(&requests, 26).await;
    assert!(said[..2].iter().any(|(pod, _)| pod == "pod-9000"), "{said:?}");

    // The loud one's budget is used up, and hundreds wait.
    notes.report(&problem(&pod("quiet", 9001), "it is bad, too"));
    let said = sent(&requests, 27).await;
    assert_eq!(said[26], ("pod-9001".to_owned(), "it is bad, too".to_owned()));
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn what_isnt_true_any_more_isnt_said() {
    let (client, requests) = server(0);
    let (notes, sender) = channel(Cluster::with_client(client), "node");
    let pods: Vec<Arc<Pod>> = (0..5).map(|n| pod("shop", n)).collect();
    notes.report(&problem(&pods[0], "solved"));
    notes.report(&Report::Solved(pods[0].clone()));
    notes.report(&problem(&pods[1], "of a pod that is gone"));
    notes.report(&Report::Forgotten(pods[1].clone()));
    notes.report(&problem(&pods[2], "mended"));
    notes.report(&problem(&pods[2], "there still"));
    notes.report(&Report::Mended(pods[2].clone(), Problem::new(ProblemKind::BadValue, "mended")));
    notes.report(&reload(&pods[3], "app", Outcome::Failed));
    notes.report(&reload(&pods[3], "sidecar", Outcome::Failed));
    notes.report(&reload(&pods[3], "app", Outcome::Delivered));
    notes.report(&problem(&pods[4], "the last"));
    let sending = tokio::spawn(sender.run());
    let said = sent(&requests, 4).await;
    let of =
        |name: &str| said.iter().filter(|(pod, _)| pod == name).map(|(_, text)| &**text).collect::<Vec<_>>();
    assert_eq!((of("pod-0"), of("pod-1")), (vec![], vec![]));
    assert_eq!((of("pod-2"), of("pod-4")), (vec!["there still"], vec!["the last"]));
    let [failed, told] = &of("pod-3")[..] else { panic!("{said:?}") };
    assert!(failed.contains("container sidecar failed") && !failed.contains("app"), "{failed}");
    assert!(told.contains("container app"), "{told}");
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn what_an_event_says_is_never_hidden_by_an_earlier_one_of_the_same_pod_and_reason() {
    let (client, requests) = server(0);
    let reporter = Reporter { controller: "reloadlet".to_owned(), instance: None };
    let mut speaker = Speaker::new(client, reporter);
    let shop = pod("shop", 1);
    for text in ["first", "second", "second", "first"] {
        let saying = Saying { pod: (&*shop).into(), urgent: true, reason: PROBLEM, text: text.to_owned() };
        speaker.publish(&saying).await.unwrap();
    }
    let requests = requests.lock().unwrap();
    let sent: Vec<(&str, &str)> =
        requests.iter().map(|(method, event)| (&**method, event["note"].as_str().unwrap())).collect();
    assert_eq!(sent, [("POST", "first"), ("POST", "second"), ("PATCH", "second"), ("POST", "first")]);
}

#[tokio::test(start_paused = true)]
async fn a_problem_that_a_busy_api_server_doesnt_take_isnt_lost() {
    let (client, requests) = server(TRIES as usize);
    let (notes, sender) = channel(Cluster::with_client(client), "node");
    let bad = pod("shop", 1);
    notes.report(&problem(&bad, "it is bad"));
    let sending = tokio::spawn(sender.run());
    assert_eq!(sent(&requests, TRIES as usize).await.len(), 3);
    notes.report(&problem(&pod("other", 2), "another"));
    assert_eq!(sent(&requests, 4).await[3].1, "another");
    assert!(notes.0.unsaid().is_waiting());
    sending.abort();
}
