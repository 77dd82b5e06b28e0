use std::collections::VecDeque;
use std::sync::Mutex;

use hyper::Response;
use kube::client::Body;
use tower::service_fn;

use super::*;
use crate::clock;

const POLICY: &str = include_str!("../../../../deploy/components/acceleration/fence.yaml");
const OWN: &str = r#"{"status": {"userInfo": {"username": "system:serviceaccount:platform:agents", "extra": {
    "authentication.kubernetes.io/node-name": ["n1"],
    "authentication.kubernetes.io/pod-name": ["agent-x"],
    "authentication.kubernetes.io/pod-uid": ["6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"]}}}}"#;
const FENCED: &str = "pods \"agent-x\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'a' denied request: reloadlet may \
                      not change generateName";
const NO_RIGHT: &str =
    "pods \"agent-x\" is forbidden: User \"system:serviceaccount:platform:agents\" cannot patch resource";

/// What the API server says to the patch; `None` never comes.
type Answer = Option<(u16, &'static str)>;

/// A server that knows who asks, and answers the patches in this order, the last one again and again.
fn server(answers: impl IntoIterator<Item = Answer>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let service = service_fn(move |request: Request<Body>| {
        let (answers, seen) = (answers.clone(), seen.clone());
        async move {
            let head = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect_bytes().await?;
            let reviews = head.starts_with("POST");
            seen.lock().unwrap().push(format!("{head} {}", String::from_utf8_lossy(&body)));
            let response = Response::builder();
            if reviews {
                return Ok::<_, kube::Error>(
                    response.status(201).body(Body::from(OWN.as_bytes().to_vec())).unwrap(),
                );
            }
            let answer = {
                let mut answers = answers.lock().unwrap();
                if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0] }
            };
            let Some((status, message)) = answer else { return std::future::pending().await };
            let body = json!({"kind": "Status", "status": "Failure", "message": message, "code": status});
            Ok(response.status(status).body(Body::from(body.to_string().into_bytes())).unwrap())
        }
    });
    (Client::new(service, "default"), requests)
}

/// A prover at work.
struct Working {
    gate: Gate,
    metrics: Arc<Metrics>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Working {
    fn start(needed: bool, answers: impl IntoIterator<Item = Answer>) -> Self {
        let (client, requests) = server(answers);
        let metrics = Arc::new(Metrics::new().unwrap());
        let (gate, prover) = channel(Cluster::with_client(client), metrics.clone(), Health::new(), needed);
        tokio::spawn(prover.run());
        Self { gate, metrics, requests }
    }

    /// What nudges get, and the gauge, once so much time has gone by.
    async fn after(&self, time: Duration) -> (Option<NudgeAnswer>, bool) {
        tokio::time::sleep(time).await;
        let text = self.metrics.encode(clock::now()).unwrap();
        (self.gate.answer(), text.contains("\nreloadlet_fence_open 1\n"))
    }
}

const SOON: Duration = Duration::from_millis(1);
const WITHHELD: Option<NudgeAnswer> = Some(NudgeAnswer::Withheld);
const REFUSED: Option<NudgeAnswer> = Some(NudgeAnswer::Refused);

#[test]
fn the_policy_refuses_in_the_words_that_the_agent_knows() {
    assert!(POLICY.contains(&format!("      message: {REFUSAL}\n")));
}

#[tokio::test(start_paused = true)]
async fn the_fence_is_tried_by_a_dry_run_on_the_agents_own_pod() {
    let working = Working::start(true, [Some((403, FENCED))]);
    assert_eq!(working.gate.answer(), WITHHELD, "before it is tried");
    assert_eq!(working.after(SOON).await, (None, false));
    let requests = working.requests.lock().unwrap();
    assert!(
        requests[0].starts_with("POST /apis/authentication.k8s.io/v1/selfsubjectreviews "),
        "{requests:?}"
    );
    let (head, body) = requests[1].split_once(" {").unwrap();
    assert_eq!(
        head,
        "PATCH /api/v1/namespaces/platform/pods/agent-x/status?dryRun=All&fieldManager=reloadlet"
    );
    let body: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
    assert_eq!(
        body["metadata"],
        json!({
            "uid": "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
            "generateName": "fence-",
            "annotations": {"reloadlet.io/observed": "fence"},
        })
    );
    assert_eq!(requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_doesnt_refuse_keeps_nudges_back() {
    let working = Working::start(true, [Some((200, ""))]);
    assert_eq!(working.after(SOON).await, (WITHHELD, false), "the API server may not know the policy yet");
    assert_eq!(working.after(FIRST_PAUSE).await, (REFUSED, true));
    assert_eq!(working.after(EVERY).await, (REFUSED, true));
    let tries = working.requests.lock().unwrap().len() / 2;
    assert!((12..=16).contains(&tries), "{tries} in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_comes_late_opens_the_gate() {
    let working = Working::start(true, [Some((200, "")), Some((200, "")), Some((403, FENCED))]);
    assert_eq!(working.after(SOON + FIRST_PAUSE).await, (REFUSED, true));
    assert_eq!(working.after(2 * FIRST_PAUSE).await, (None, false));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_taken_away_later_is_missed() {
    let working = Working::start(true, [Some((403, FENCED)), Some((200, ""))]);
    assert_eq!(working.after(SOON).await, (None, false));
    assert_eq!(working.after(EVERY).await, (WITHHELD, false));
    assert_eq!(working.after(FIRST_PAUSE).await, (REFUSED, true));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_anything_else_proves_nothing() {
    for (status, message) in [
        (403, NO_RIGHT),
        (422, "denied by a policy that forbids reloadlet to do anything"),
        // The policy before it had the rule.
        (403, "denied request: reloadlet may not change labels"),
    ] {
        let working = Working::start(true, [Some((status, message))]);
        assert_eq!(working.after(SOON).await, (WITHHELD, false), "{message}");
        assert_eq!(working.after(FIRST_PAUSE).await, (REFUSED, false), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_doesnt_answer_leaves_what_was_found() {
    for silent in [None, Some((503, "starting")), Some((429, "too many"))] {
        let working = Working::start(true, [silent]);
        assert_eq!(working.after(EVERY).await, (WITHHELD, false), "{silent:?}");
        let working = Working::start(true, [Some((403, FENCED)), silent]);
        assert_eq!(working.after(2 * EVERY).await, (None, false), "{silent:?}");
        let working = Working::start(true, [Some((200, "")), Some((200, "")), silent]);
        assert_eq!(working.after(EVERY).await, (REFUSED, true), "{silent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_need_of_a_fence_it_is_tried_all_the_same() {
    let working = Working::start(false, [Some((200, ""))]);
    assert_eq!(working.gate.answer(), None);
    assert_eq!(working.after(SOON + FIRST_PAUSE).await, (None, true));
}

#[test]
fn a_token_that_is_for_no_pod_proves_nothing() {
    for text in [
        r#"{"username": "system:serviceaccount:a:b"}"#,
        r#"{"username": "admin", "extra": {"authentication.kubernetes.io/pod-name": ["p"]}}"#,
    ] {
        let user: User = serde_json::from_str(text).unwrap();
        assert_eq!(user.pod(), None, "{text}");
    }
}
