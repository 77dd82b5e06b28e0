use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::rollouts::event::Report;
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};
use tokio::sync::Notify;

use super::testing::{Before, Server};
use super::*;
use crate::logs::{LogFormat, LogLevel};

pub(super) fn config() -> ControllerConfig {
    let address = "127.0.0.1:0".parse().unwrap();
    ControllerConfig {
        namespace: "reloadlet".to_owned(),
        identity: "me".to_owned(),
        deployment: "reloadlet-controller".to_owned(),
        namespaces: Vec::new(),
        secrets: true,
        reloader_annotations: false,
        max_rollouts: 10,
        max_rollouts_per_namespace: 3,
        debounce: Duration::from_secs(5),
        min_interval: Duration::from_secs(60),
        deadline: Duration::from_secs(900),
        without_fence: true,
        listen: address,
        admin_listen: address,
        log_format: LogFormat::Text,
        log_level: LogLevel::Info,
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_end_has_stopped_all_it_does_before_it_gives_the_lease_back() {
    let (server, config) = (Server::new(), config());
    let enough = Arc::new(Notify::new());
    let (seen, asked) = (AtomicUsize::new(0), enough.clone());
    server.interfere(move |method, path, _| {
        // The watches ask again and again, since nobody answers.
        if path.ends_with("/deployments") && seen.fetch_add(1, Ordering::Relaxed) == 2 {
            asked.notify_one();
        }
        Before::Waits(Duration::from_secs(if method == "PUT" { 4 } else { 0 }))
    });
    let asker = server.asker();
    let (notes, sender) = events::channel(asker.cluster().clone(), Speaks::of_controller("me"));
    let metrics = Arc::new(Metrics::new().unwrap());
    let trial = Trial::Roll { deployment: config.deployment.clone() };
    let (gate, prover) = fence::channel(asker.cluster().clone(), trial, true, |_| {});
    let mut beside = JoinSet::new();
    beside.spawn(sender.run());
    beside.spawn(prover.run());
    let (keeper, leadership) = Keeper::new(asker.clone(), config.namespace.clone(), config.identity.clone());
    let desk = Desk {
        identity: config.identity.clone(),
        contact: Contact::new(),
        metrics: metrics.clone(),
        gate: gate.clone(),
        is_open: Arc::default(),
        leadership: leadership.clone(),
        is_synced: Arc::default(),
    };
    let (_endpoints, questions) = desk::endpoints(&desk);
    let mut people = People::new(notes, metrics.clone());
    let who = WorkloadRef { kind: Kind::Deployment, namespace: "shop".into(), name: "web".into() };
    people.tell(&who, Some(&"u".into()), &Report::Failed, Time::default());
    let worker = Worker { config: &config, asker, gate, desk, people, questions, leadership };

    let leads = || metrics.encode().unwrap().lines().any(|line| line == "reloadlet_controller_leader 1");
    let led = std::cell::Cell::new(false);
    let asked_to_end = async {
        enough.notified().await;
        led.set(leads());
    };
    work_until(asked_to_end, keeper, worker, beside).await.unwrap();
    assert!(led.get() && !leads());
    assert_eq!(server.lease()["holderIdentity"], "");
    // Whatever still ran would ask again.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = server.kept(|kept| kept.asked.clone());
    for beside in
        ["POST /apis/events.k8s.io", "POST /apis/authentication.k8s.io", "GET /apis/apps/v1/deployments"]
    {
        assert!(asked.iter().any(|asked| asked.starts_with(beside)), "{beside}: {asked:?}");
    }
    let last = asked.iter().rposition(|asked| asked.starts_with("PUT ") && asked.contains("/leases/"));
    assert_eq!(last, Some(asked.len() - 1), "{asked:?}");
}
