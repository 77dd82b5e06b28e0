use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper::Response;
use kube::client::Body;
use tower::service_fn;

use super::trial::User;
use super::*;

const ACCELERATION: &str = include_str!("../../../../deploy/components/acceleration/fence.yaml");
const CONTROLLER: &str = include_str!("../../../../deploy/components/controller/fence.yaml");
const OWN: &str = r#"{"status": {"userInfo": {"username": "system:serviceaccount:platform:agents", "extra": {
    "authentication.kubernetes.io/node-name": ["n1"],
    "authentication.kubernetes.io/pod-name": ["agent-x"],
    "authentication.kubernetes.io/pod-uid": ["6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"]}}}}"#;
const FENCED: &str = "pods \"agent-x\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'a' denied request: reloadlet may \
                      not change generateName";
const UNASKED: &str = "deployments.apps \"rolls\" is forbidden: ValidatingAdmissionPolicy 'c' with binding 'c' denied request: \
                       reloadlet-controller may not change a workload that doesn't ask to be rolled";
const UNGRANTED: &str = "pods \"agent-x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: \
                         reloadlet-controller may not change a pod that doesn't ask to be restarted in place";
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
    open: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Working {
    fn start(needed: bool, answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::trying(Trial::Nudge, needed, answers)
    }

    fn trying(trial: Trial, needed: bool, answers: impl IntoIterator<Item = Answer>) -> Self {
        let (client, requests) = server(answers);
        let open = Arc::new(AtomicBool::new(false));
        let found = open.clone();
        let found = move |open| found.store(open, Ordering::Relaxed);
        let (gate, prover) = channel(Cluster::with_client(client), trial, needed, found);
        tokio::spawn(prover.run());
        Self { gate, open, requests }
    }

    /// What nudges get, and whether the fence was found open, once so much time has gone by.
    async fn after(&self, time: Duration) -> (Option<NudgeAnswer>, bool) {
        tokio::time::sleep(time).await;
        (self.gate.answer(), self.open.load(Ordering::Relaxed))
    }

    /// The last change that was tried.
    fn change(&self) -> (String, Value) {
        let last = self.requests.lock().unwrap().len() - 1;
        self.patch(last)
    }

    /// The request with this number.
    fn patch(&self, index: usize) -> (String, Value) {
        let requests = self.requests.lock().unwrap();
        let (head, body) = requests[index].split_once(" {").unwrap();
        (head.to_owned(), serde_json::from_str(&format!("{{{body}")).unwrap())
    }
}

const SOON: Duration = Duration::from_millis(1);
const WITHHELD: Option<NudgeAnswer> = Some(NudgeAnswer::Withheld);
const REFUSED: Option<NudgeAnswer> = Some(NudgeAnswer::Refused);

fn roll() -> Trial {
    Trial::Roll { deployment: "rolls".to_owned() }
}

#[test]
fn the_policies_refuse_in_the_words_that_agent_and_controller_know() {
    let own: Review = serde_json::from_str(OWN).unwrap();
    for (policy, trial, count) in [(ACCELERATION, Trial::Nudge, 1), (CONTROLLER, roll(), 2)] {
        let tries = trial.tries(&own.status.user_info).unwrap();
        assert_eq!(tries.len(), count);
        for each in tries {
            assert!(policy.contains(&format!("      message: {}\n", each.refusal)), "{}", each.refusal);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_fence_is_tried_by_a_dry_run_on_the_agents_own_pod() {
    let working = Working::start(true, [Some((403, FENCED))]);
    assert_eq!(working.gate.answer(), WITHHELD, "before it is tried");
    assert_eq!(working.after(SOON).await, (None, false));
    let (head, body) = working.change();
    assert_eq!(
        head,
        "PATCH /api/v1/namespaces/platform/pods/agent-x/status?dryRun=All&fieldManager=reloadlet"
    );
    assert_eq!(
        body["metadata"],
        json!({
            "uid": "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
            "generateName": "fence-",
            "annotations": {"reloadlet.io/observed": "fence"},
        })
    );
    let requests = working.requests.lock().unwrap();
    assert!(
        requests[0].starts_with("POST /apis/authentication.k8s.io/v1/selfsubjectreviews "),
        "{requests:?}"
    );
    assert_eq!(requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_controllers_fence_is_tried_by_dry_runs_on_its_own_deployment_and_pod() {
    let working = Working::trying(roll(), true, [Some((403, UNASKED)), Some((403, UNGRANTED))]);
    assert!(!working.gate.allows(), "before it is tried");
    assert_eq!(working.after(SOON).await, (None, false));
    assert!(working.gate.allows());
    let (head, body) = working.patch(1);
    assert_eq!(
        head,
        "PATCH /apis/apps/v1/namespaces/platform/deployments/rolls?dryRun=All&fieldManager=reloadlet-controller"
    );
    let annotations = json!({"reloadlet.io/rolled": "fence"});
    assert_eq!(body, json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}));
    let (head, body) = working.patch(2);
    assert_eq!(
        head,
        "PATCH /api/v1/namespaces/platform/pods/agent-x?dryRun=All&fieldManager=reloadlet-controller"
    );
    let annotations = json!({"reloadlet.io/restart": "fence"});
    let uid = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    assert_eq!(body, json!({"metadata": {"uid": uid, "annotations": annotations}}));
    assert_eq!(working.requests.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fence_around_workloads_alone_opens_no_gate() {
    for (second, is_open) in [((200, ""), true), ((403, NO_RIGHT), false), ((403, UNASKED), false)] {
        let once = [Some((403, UNASKED)), Some(second)];
        let working = Working::trying(roll(), true, once.repeat(2));
        assert_eq!(working.after(SOON).await, (WITHHELD, false), "{second:?}");
        assert_eq!(working.after(FIRST_PAUSE).await, (REFUSED, is_open), "{second:?}");
        assert!(!working.gate.allows());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_controllers_fence_is_told_of_each_change() {
    let holds = [Some((403, UNASKED)), Some((403, UNGRANTED))];
    let answers = [Some((200, "")); 2].into_iter().chain(holds).chain([Some((200, ""))]);
    let working = Working::trying(roll(), true, answers);
    let mut standing = working.gate.standing();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        standing.changed().await.unwrap();
        seen.push((*standing.borrow_and_update(), working.gate.allows()));
    }
    assert_eq!(
        seen,
        [
            (Standing::Unknown, false),
            (Standing::Missing, false),
            (Standing::Holds, true),
            (Standing::Unknown, false),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_controllers_fence_isnt_proved_by_another_refusal() {
    let other = "reloadlet-controller may not change the spec";
    for (status, message) in [(403, FENCED), (403, NO_RIGHT), (403, other), (404, "no such deployment")] {
        let working = Working::trying(roll(), true, [Some((status, message))]);
        assert_eq!(working.after(SOON).await, (WITHHELD, false), "{message}");
        assert_eq!(working.after(FIRST_PAUSE).await, (REFUSED, false), "{message}");
        assert!(!working.gate.allows(), "{message}");
    }
    let working = Working::trying(roll(), true, [Some((200, ""))]);
    assert_eq!(working.after(SOON + FIRST_PAUSE).await, (REFUSED, true));
    let working = Working::trying(roll(), false, [Some((200, ""))]);
    assert_eq!(working.after(SOON + FIRST_PAUSE).await, (None, true), "it isn't needed");
    assert!(working.gate.allows());
}

#[test]
fn what_is_said_of_a_fence_is_of_what_it_is_for() {
    for (trial, subject, other) in [(Trial::Nudge, "nudge", "roll"), (roll(), "roll", "nudge")] {
        let words = trial.words();
        for sentence in [words.holds, words.open, words.withheld, words.all_the_same] {
            let sentence = sentence.replace("components/controller", "");
            assert!(sentence.contains(subject) && !sentence.contains(other), "{sentence}");
        }
    }
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
        assert!(Trial::Nudge.tries(&user).is_err() && roll().tries(&user).is_err(), "{text}");
    }
}
