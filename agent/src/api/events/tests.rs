use std::borrow::Cow;

use hyper::{Request, Response};
use kube::client::Body;
use reloadlet_core::machine::event::{ReloadReport, Stages};
use reloadlet_core::model::frozen::Way;
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::object::{ObjectKind, ObjectRef, ObjectVersion};
use reloadlet_core::model::outcome::{Outcome, Unread};
use reloadlet_core::model::pod::Pod;
use reloadlet_core::policy::problem::{Problem, ProblemKind};
use serde_json::Value;
use tower::service_fn;

use super::words::note;
use super::*;
use crate::api::testing;

mod going;
mod grants;
mod needs;

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
        means: reloadlet_core::model::signal::Signal::HUP.into(),
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
    let (notes, sender) = channel(Cluster::with_client(client), Speaks::of_node("node"));
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
    let (notes, sender) = channel(Cluster::with_client(client), Speaks::of_node("node"));
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
    assert!(failed.contains("container sidecar wasn't told") && !failed.contains("app"), "{failed}");
    assert!(told.contains("container app"), "{told}");
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn what_an_event_says_is_never_hidden_by_an_earlier_one_of_the_same_pod_and_reason() {
    let (client, requests) = server(0);
    let mut speaker = Speaker::new(client, Speaks::of_node(&"n".repeat(200)));
    let shop = pod("shop", 1);
    for text in ["first", "second", "second", "first"] {
        let saying = Saying {
            about: (&*shop).into(),
            urgent: true,
            reason: "ReloadProblem",
            text: text.to_owned(),
            once: None,
        };
        speaker.publish(&saying).await.unwrap();
    }
    let requests = requests.lock().unwrap();
    let sent: Vec<(&str, &str)> =
        requests.iter().map(|(method, event)| (&**method, event["note"].as_str().unwrap())).collect();
    assert_eq!(sent, [("POST", "first"), ("POST", "second"), ("PATCH", "second"), ("POST", "first")]);
    assert_eq!((&requests[2].1["series"]["count"], &requests[1].1["series"]), (&2.into(), &Value::Null));
    assert_eq!(requests[2].1["metadata"]["name"], requests[1].1["metadata"]["name"]);
    assert_eq!(requests[0].1["reportingInstance"], "n".repeat(128), "there is no room for more");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_controller_is_on_the_workload_and_says_who_rolls_it() {
    let (client, requests) = server(0);
    let mut speaker = Speaker::new(client, Speaks::of_controller("replica-1"));
    let about = About {
        kind: "Deployment",
        api_version: "apps/v1",
        uid: "u".into(),
        namespace: "shop".into(),
        name: "web".into(),
    };
    let text = "A roll has begun.".to_owned();
    let saying = Saying { about, urgent: false, reason: "RollStarted", text, once: None };
    speaker.publish(&saying).await.unwrap();
    let (_, event) = &requests.lock().unwrap()[0];
    let regarding = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "u"
    });
    assert_eq!(event["regarding"], regarding);
    assert_eq!((&event["action"], &event["reason"]), (&"Roll".into(), &"RollStarted".into()));
    assert_eq!((&event["reportingInstance"], &event["type"]), (&"replica-1".into(), &"Normal".into()));
    assert_eq!(event["metadata"]["namespace"], "shop");
}

#[tokio::test(start_paused = true)]
async fn a_problem_that_a_busy_api_server_doesnt_take_isnt_lost() {
    let (client, requests) = server(TRIES as usize);
    let (notes, sender) = channel(Cluster::with_client(client), Speaks::of_node("node"));
    let bad = pod("shop", 1);
    notes.report(&problem(&bad, "it is bad"));
    let sending = tokio::spawn(sender.run());
    assert_eq!(sent(&requests, TRIES as usize).await.len(), 3);
    notes.report(&problem(&pod("other", 2), "another"));
    assert_eq!(sent(&requests, 4).await[3].1, "another");
    assert!(notes.0.unsaid().is_waiting());
    sending.abort();
}

/// What is said of a report, and for which reason.
fn said(report: &Report) -> (bool, &'static str, String) {
    let note = note(report).unwrap();
    (note.urgent, note.reason, note.text.text)
}

/// A reload that brought a version, 41.2 s after the API server showed it.
fn measured(outcome: Outcome, reason: Option<&'static str>) -> ReloadReport {
    let Report::Reload(report) = reload(&pod("shop", 1), "app", outcome) else { panic!() };
    let object = ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "web".into() };
    let version = ObjectVersion {
        uid: "u".into(),
        version: "12".into(),
        immutable: false,
        ignored: false,
        updated: None,
        keys: Arc::default(),
    };
    let stages = Stages {
        observed: clock::now(),
        publish: Duration::ZERO,
        propagation: Duration::from_millis(41_200),
        versions: vec![(object, Some(Arc::new(version)))],
    };
    ReloadReport { reason: reason.map(Cow::Borrowed), stages: Some(stages), ..*report }
}

#[test]
fn a_delivery_is_a_signal_that_was_sent_with_what_it_told_of_and_never_a_reload() {
    let sent = said(&Report::Reload(Box::new(measured(Outcome::Delivered, None))));
    let text = "Sent SIGHUP to container app for configmap shop/web@12, 41 s after the API server showed it.";
    assert_eq!(sent, (false, "SignalSent", text.to_owned()));
    let unmeasured = said(&reload(&pod("shop", 1), "app", Outcome::Delivered));
    assert_eq!(unmeasured.2, "Sent SIGHUP to container app for config.");
    let again = said(&Report::Retold(Box::new(measured(Outcome::Delivered, None))));
    assert!(!again.0 && again.2.contains("a second time for configmap shop/web@12"), "{again:?}");
}

#[test]
fn the_kernels_error_is_in_the_event_and_not_each_refusal_is_apparmors() {
    let failed =
        said(&Report::Reload(Box::new(measured(Outcome::Failed, Some("ENOSYS: Function not implemented")))));
    assert!(failed.0 && failed.2.contains("ENOSYS: Function not implemented"), "{failed:?}");
    let denied =
        said(&Report::Reload(Box::new(measured(Outcome::Denied, Some("EPERM: Operation not permitted")))));
    assert!(
        denied.2.contains("EPERM") && denied.2.contains("lacks the capability KILL there, or"),
        "{denied:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_sent_with_what_lifts_it() {
    let (client, requests) = server(0);
    let (notes, sender) = channel(Cluster::with_client(client), Speaks::of_node("node"));
    // As the machine gives them: `REASON` of its modules `suspension` and `withholding`.
    let suspended = "its process ended after each of the last two signals; it is told once more when its \
                     process has run for ten minutes, or at once when an annotation of reloadlet.io changes on \
                     the pod, and a restart loads the change";
    let bad_content = "the process of another replica on this node ended after it was told of these files; \
                       newer ones are told, and these at once when an annotation of reloadlet.io changes on \
                       the pod";
    for (n, reason) in [(1, suspended), (2, bad_content)] {
        let report = ReloadReport { pod: pod("shop", n), ..measured(Outcome::Suspended, Some(reason)) };
        let report = Report::Reload(Box::new(report));
        let text = format!("config changed and container app wasn't told: {reason}.");
        assert_eq!(said(&report), (true, "ReloadHeld", text));
        notes.report(&report);
    }
    // And the problems beside them.
    let suspended = "container app ends 400 ms after SIGHUP, 2 times in a row: nothing more is sent to it \
                     until an annotation of reloadlet.io changes on the pod, or its process has run for ten \
                     minutes; then it is told once of the newest files, if it is older than they are; the \
                     program may catch the signal in order to end, or be unable to load the new files";
    let bad_content = "container app isn't told of the newest files: the process of another replica on this \
                       node ended after it was told of them; newer ones are told, and these at once when an \
                       annotation of reloadlet.io changes on the pod";
    let problems = [(3, ProblemKind::Suspended, suspended), (4, ProblemKind::BadContent, bad_content)];
    for (n, kind, sentence) in problems {
        let report = Report::Problem(pod("shop", n), Problem::new(kind, sentence));
        assert_eq!(said(&report), (true, "ReloadProblem", sentence.to_owned()));
        notes.report(&report);
    }
    let sending = tokio::spawn(sender.run());
    let texts: BTreeMap<String, String> = sent(&requests, 4).await.into_iter().collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    for (pod, text) in &texts {
        assert!(text.contains("an annotation of reloadlet.io changes on the pod"), "{pod}: {text}");
    }
    for pod in ["pod-1", "pod-3"] {
        assert!(texts[pod].contains("its process has run for ten minutes"), "{texts:?}");
    }
    sending.abort();
}

#[test]
fn however_many_volumes_changed_an_event_has_room_for_why_nobody_was_told() {
    let mut report = measured(Outcome::Suspended, Some("that is why"));
    let generation = report.generations[0].1.clone();
    report.generations = (0..20).map(|n| (format!("{n:063}").as_str().into(), generation.clone())).collect();
    let (_, _, text) = said(&Report::Reload(Box::new(report)));
    assert!(text.len() < 400 && text.contains("… changed and"), "{text}");
    assert!(text.ends_with("container app wasn't told: that is why."), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_unread_is_said_until_it_is_read() {
    let shop = pod("shop", 1);
    let unread = |unread| Report::Unread {
        pod: shop.clone(),
        container: "app".into(),
        means: reloadlet_core::model::signal::Signal::HUP.into(),
        unread,
        deliveries: 3,
        again: unread == Unread::NotRead,
        window: Duration::from_secs(10),
    };
    let dropped = said(&unread(Unread::NotRead));
    assert!(
        dropped.0
            && dropped.2.contains("was told by SIGHUP twice and opened none of the new files within 10 s")
    );
    let never = said(&unread(Unread::NeverRead));
    assert!(never.0 && never.2.starts_with("Told 3 times, never read: container app"), "{never:?}");
    let (notes, _sender) = channel(Cluster::with_client(server(0).0), Speaks::of_node("node"));
    notes.report(&unread(Unread::NeverRead));
    assert!(notes.0.unsaid().is_waiting());
    notes.report(&Report::Reread { pod: shop.clone(), container: "app".into(), after: Duration::ZERO });
    assert!(!notes.0.unsaid().is_waiting());
}

#[test]
fn that_only_a_restart_brings_a_change_names_the_object_its_version_and_the_way() {
    let environment = said(&needs_restart(1, "app", "12", Way::Environment));
    assert_eq!((environment.0, environment.1), (true, "ConfigNeedsRestart"));
    let text = environment.2;
    assert!(text.contains("configmap shop/web has changed to version 12") && text.contains("environment"));
    assert!(said(&needs_restart(1, "app", "12", Way::SubPath)).2.contains("subPath"));
    let init = said(&needs_restart(1, "setup", "12", Way::Init)).2;
    assert!(init.contains("since init container setup ran") && init.contains("make the pod anew"), "{init}");
}

/// An API server that keeps Events by their names.
fn keeping_server() -> (Client, Requests) {
    let requests = Requests::default();
    let seen = requests.clone();
    let service = service_fn(move |request: Request<Body>| {
        let seen = seen.clone();
        async move {
            let method = request.method().to_string();
            let body = request.into_body().collect_bytes().await?;
            let event: Value = serde_json::from_slice(&body).unwrap();
            let mut seen = seen.lock().unwrap();
            let name = &event["metadata"]["name"];
            let is_there = seen.iter().any(|(_, kept)| kept["metadata"]["name"] == *name);
            let there = br#"{"kind": "Status", "status": "Failure", "code": 409, "reason": "AlreadyExists"}"#;
            seen.push((if is_there { "again".to_owned() } else { method }, event));
            let (status, answer) = if is_there { (409, there.to_vec()) } else { (201, body.to_vec()) };
            Ok::<_, kube::Error>(Response::builder().status(status).body(Body::from(answer)).unwrap())
        }
    });
    (Client::new(service, "default"), requests)
}

fn needs_restart(n: u32, container: &str, version: &str, way: Way) -> Report {
    Report::NeedsRestart {
        pod: pod("shop", n),
        container: container.into(),
        object: ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "web".into() },
        version: version.into(),
        way,
        is_certain: true,
    }
}

#[tokio::test(start_paused = true)]
async fn that_a_container_needs_a_restart_is_said_once_also_by_the_next_agent() {
    let (client, requests) = keeping_server();
    for agent in 1..3 {
        let (notes, sender) = channel(Cluster::with_client(client.clone()), Speaks::of_node("node"));
        (1..3).for_each(|n| notes.report(&needs_restart(n, "app", "12", Way::Environment)));
        let sending = tokio::spawn(sender.run());
        sent(&requests, agent * 2).await;
        sending.abort();
    }
    let requests = requests.lock().unwrap();
    let methods: Vec<&str> = requests.iter().map(|(method, _)| &**method).collect();
    assert_eq!(methods, ["POST", "POST", "again", "again"]);
    let (_, event) = &requests[0];
    assert_eq!((&event["reason"], &event["type"]), (&"ConfigNeedsRestart".into(), &"Warning".into()));
    assert_eq!(
        (&event["reportingController"], &event["regarding"]["uid"]),
        (&"reloadlet".into(), &"00000001".into())
    );
    assert!(event["metadata"]["name"].as_str().unwrap().starts_with("pod-1."), "{event}");
}

#[test]
fn each_restart_that_is_needed_has_an_event_of_its_own() {
    let all = [
        needs_restart(1, "app", "12", Way::Environment),
        needs_restart(2, "app", "12", Way::Environment),
        needs_restart(1, "app", "12", Way::SubPath),
        needs_restart(1, "other", "12", Way::Environment),
        needs_restart(1, "app", "13", Way::Environment),
    ];
    let names: std::collections::BTreeSet<_> =
        all.iter().map(|report| note(report).unwrap().text.once.unwrap().name).collect();
    assert_eq!(names.len(), all.len());
    let (mut unsaid, now) = (Unsaid::new(clock::now()), clock::now());
    for report in [&all[0], &all[2]] {
        assert!(!unsaid.say(note(report).unwrap()), "nothing is given up");
    }
    let said = unsaid.next(now).unwrap();
    assert!(said.text.contains("environment") && !said.text.contains("subPath"), "{}", said.text);
    unsaid.ended(false);
    assert!(unsaid.next(now).is_none() && unsaid.is_waiting(), "the other one has to wait");
    assert!(unsaid.next(now + Duration::from_secs(30)).unwrap().text.contains("subPath"));
    unsaid.ended(false);
    // Of several versions that wait the newest is said.
    for version in ["13", "14", "15"] {
        unsaid.say(note(&needs_restart(1, "app", version, Way::Environment)).unwrap());
    }
    let said = unsaid.next(now + Duration::from_secs(60)).unwrap();
    assert!(said.text.contains("version 15") && !said.text.contains("more"), "{}", said.text);
    unsaid.ended(false);
    assert!(!unsaid.is_waiting());
}

#[test]
fn the_name_of_an_event_has_room_for_any_pods_name() {
    let long = name(&"a.".repeat(126), &"0".repeat(32));
    assert!(long.len() <= 253 && long.ends_with(&format!("a.{}", "0".repeat(32))), "{long}");
    assert_eq!(name("web", "12"), "web.12");
}
