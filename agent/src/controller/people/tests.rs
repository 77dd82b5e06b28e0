use std::time::Duration;

use hyper::{Request, Response};
use kube::client::Body;
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::rollouts::workload::Kind;

use super::*;
use crate::api::cluster::Cluster;
use crate::api::events::{self, Speaks};
use crate::logs::Page;

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(1_000_000 + seconds))
}

fn who(name: &str) -> WorkloadRef {
    WorkloadRef { kind: Kind::Deployment, namespace: "shop".into(), name: name.into() }
}

fn people() -> (People, Arc<Metrics>) {
    let service = tower::service_fn(|_request: Request<Body>| {
        std::future::pending::<Result<Response<Body>, kube::Error>>()
    });
    let client = kube::Client::new(service, "default");
    let (notes, _sender) = events::channel(Cluster::with_client(client), Speaks::of_controller("replica"));
    let metrics = Arc::new(Metrics::new().unwrap());
    (People::new(notes, metrics.clone()), metrics)
}

fn value(metrics: &Metrics, name: &str) -> String {
    let text = metrics.encode().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().to_owned()
}

fn started() -> Report {
    Report::Started(vec![(ObjectKind::ConfigMap, "app".into())])
}

#[tokio::test(start_paused = true)]
async fn what_became_of_rolls_is_counted_and_how_long_they_took() {
    let (mut people, metrics) = people();
    people.tell(&who("web"), None, &started(), at(0));
    people.tell(&who("other"), None, &started(), at(10));
    people.tell(&who("web"), None, &Report::Failed, at(20));
    people.tell(&who("web"), None, &Report::Finished, at(42));
    people.tell(&who("other"), None, &Report::Undone, at(50));
    people.tell(&who("other"), None, &Report::Finished, at(60));
    people.tell(&who("other"), None, &Report::Refused("no".to_owned()), at(70));
    people.tell(&who("third"), None, &started(), at(70));
    people.tell(&who("third"), None, &Report::Emptied, at(80));
    for (result, count) in [
        ("started", "3"),
        ("failed", "1"),
        ("finished", "2"),
        ("emptied", "1"),
        ("undone", "1"),
        ("refused", "1"),
    ] {
        let name = format!("reloadlet_rollouts_total{{result=\"{result}\"}}");
        assert_eq!(value(&metrics, &name), count, "{result}");
    }
    assert_eq!(value(&metrics, "reloadlet_rollouts_seconds_sum"), "42");
    assert_eq!(value(&metrics, "reloadlet_rollouts_seconds_count"), "1", "nobody knows when the other began");
}

#[tokio::test(start_paused = true)]
async fn it_is_known_since_when_a_roll_waits_until_it_begins() {
    let (mut people, _) = people();
    let web = who("web");
    people.tell(&web, None, &Report::Waits(Wait::Held), at(5));
    assert_eq!(people.waits_since(&web, Wait::Held), Some(at(5)));
    assert_eq!(people.waits_since(&web, Wait::Debounce), None);
    people.tell(&web, None, &Report::Refused("no".to_owned()), at(6));
    assert_eq!(people.waits_since(&web, Wait::Refused), Some(at(6)));
    people.tell(&web, None, &started(), at(7));
    assert_eq!(people.waits_since(&web, Wait::Refused), None);
}

#[tokio::test(start_paused = true)]
async fn of_a_workload_that_is_gone_nothing_is_known_or_said_any_more() {
    let (mut people, _) = people();
    let (web, uid) = (who("web"), Name::from("u"));
    people.tell(&web, Some(&uid), &Report::Waits(Wait::Failed), at(5));
    assert!(people.notes.is_waiting());
    people.forget(&web, &uid);
    assert!(!people.notes.is_waiting());
    assert_eq!(people.waits_since(&web, Wait::Failed), None);
}

#[tokio::test(start_paused = true)]
async fn each_report_is_one_line_that_names_the_workload() {
    let page = Page::default();
    let shown = page.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || shown.clone()).finish();
    let (mut people, _) = people();
    tracing::subscriber::with_default(lines, || {
        people.tell(&who("web"), None, &started(), at(0));
        people.tell(&who("web"), None, &Report::Waits(Wait::Failed), at(0));
        people.tell(&who("web"), None, &Report::Waits(Wait::Budget), at(0));
    });
    let lines = page.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let fields = "kind=\"Deployment\" workload_namespace=shop workload=web what=\"started\"";
    let said = "A roll has begun: ConfigMap app has changed.";
    assert!(lines[0].contains(" INFO ") && lines[0].contains(fields) && lines[0].contains(said), "{lines:?}");
    assert!(lines[1].contains(" WARN ") && lines[1].contains("what=\"waits\" wait=\"failed\""), "{lines:?}");
    assert!(lines[2].contains(" INFO ") && lines[2].contains("wait=\"budget\""), "{lines:?}");
}
