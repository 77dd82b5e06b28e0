//! What is said of namespaces that take no Events, as those that are being deleted.

use super::*;

/// The names of the objects of which each namespace's Events were sent, in their order.
type Sent = Arc<Mutex<Vec<(String, String)>>>;

/// An API server that refuses Events in namespaces whose names begin with `going`, as one that is being deleted does, and of those that
/// begin with `gone`, as one that isn't there any more does, or with `denied`, as where the right to make them is gone. All others are taken.
fn server() -> (Client, Sent) {
    let sent = Sent::default();
    let seen = sent.clone();
    let service = service_fn(move |request: Request<Body>| {
        let seen = seen.clone();
        async move {
            let namespace = request.uri().path().split('/').nth(5).unwrap_or_default().to_owned();
            let body = request.into_body().collect_bytes().await?.to_vec();
            let event: Value = serde_json::from_slice(&body).unwrap();
            let name = event["regarding"]["name"].as_str().unwrap().to_owned();
            seen.lock().unwrap().push((namespace.clone(), name));
            let (status, answer) = if namespace.starts_with("going") {
                (403, forbidden(&namespace))
            } else if namespace.starts_with("gone") {
                (404, no_namespace(&namespace))
            } else if namespace.starts_with("denied") {
                (403, status(403, "Forbidden", "events is forbidden", &Value::Null))
            } else {
                (201, body)
            };
            Ok::<_, kube::Error>(Response::builder().status(status).body(Body::from(answer)).unwrap())
        }
    });
    (Client::new(service, "default"), sent)
}

fn forbidden(namespace: &str) -> Vec<u8> {
    let message =
        format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = serde_json::json!({"reason": "NamespaceTerminating", "message": "it is being terminated"});
    let details = serde_json::json!({"kind": "events", "group": "events.k8s.io", "causes": [cause]});
    status(403, "Forbidden", &message, &details)
}

fn no_namespace(namespace: &str) -> Vec<u8> {
    let details = serde_json::json!({"kind": "namespaces", "name": namespace});
    status(404, "NotFound", &format!("namespaces \"{namespace}\" not found"), &details)
}

fn status(code: u16, reason: &str, message: &str, details: &Value) -> Vec<u8> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message, "details": details,
    });
    status.to_string().into_bytes()
}

/// Waits until this was sent, and how often each namespace's Events were sent by then.
async fn counts(sent: &Sent, pod: &str) -> BTreeMap<String, usize> {
    for _ in 0..10_000 {
        if sent.lock().unwrap().iter().any(|(_, name)| name == pod) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let sent = sent.lock().unwrap();
    assert!(sent.iter().any(|(_, name)| name == pod), "nothing was said of {pod}: {sent:?}");
    let mut counts = BTreeMap::new();
    for (namespace, _) in sent.iter() {
        *counts.entry(namespace.clone()).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_take_no_events_use_up_nobody_elses_events() {
    let (client, sent) = server();
    let (notes, sender) = channel(Cluster::with_client(client), Speaks::of_controller("replica"));
    let going = ["going-1", "going-2", "gone-1", "gone-2", "denied-1", "denied-2"];
    for (n, namespace) in (0..).zip(going) {
        (0..40).for_each(|pod_of| notes.report(&problem(&pod(namespace, 100 * n + pod_of), "it is gone")));
    }
    notes.report(&problem(&pod("last", 1000), "it is bad"));
    let sending = tokio::spawn(sender.run());
    counts(&sent, "pod-1000").await;
    // What nobody must act on needs more of what is left than what somebody must.
    notes.report(&reload(&pod("shop", 2000), "app", Outcome::Delivered));
    let counts = counts(&sent, "pod-2000").await;
    for namespace in going {
        assert_eq!(counts[namespace], 1, "{namespace}: {counts:?}");
    }
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_namespace_doesnt_take_for_now_waits_and_of_one_that_goes_nothing_does() {
    for (namespace, waits) in [("denied", true), ("going", false), ("gone", false)] {
        let (client, sent) = server();
        let (notes, sender) = channel(Cluster::with_client(client), Speaks::of_node("node"));
        notes.report(&problem(&pod(namespace, 1), "it is bad"));
        let sending = tokio::spawn(sender.run());
        counts(&sent, "pod-1").await;
        notes.report(&problem(&pod("shop", 2), "it is bad"));
        assert_eq!(counts(&sent, "pod-2").await[namespace], 1, "nobody else waits for it");
        assert_eq!(notes.is_waiting(), waits, "{namespace}");
        sending.abort();
    }
}
