//! Against an API server that answers what a test has it answer.

use futures_util::future::BoxFuture;
use reloadlet_core::Time;

use super::*;

mod server;

fn object() -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "web".into() }
}

/// Watches of which one is wanted and nothing was asked yet.
async fn watches() -> ObjectWatches {
    let (inbox, _receiver, _wake) = Inbox::new().unwrap();
    let contact = Contact::new();
    let counted = contact.clone();
    let connect = move || -> BoxFuture<'static, anyhow::Result<(kube::Config, kube::Client)>> {
        let config = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
        let client = super::super::cluster::client(config.clone(), &counted).unwrap();
        Box::pin(async { Ok((config, client)) })
    };
    let cluster = Cluster::new(Box::new(connect), contact).await.unwrap();
    let (_objects, mut watches) = channel(cluster, false, inbox);
    watches.ledger.want(&BTreeMap::from([(object(), 1)]), clock::now());
    watches
}

fn due(watches: &ObjectWatches) -> Time {
    watches.ledger.poll_timeout(true).expect("something is due")
}

/// What is to be fetched is.
fn fetched(watches: &mut ObjectWatches) {
    let fetch = watches.ledger.poll_fetch(clock::now()).unwrap();
    let fetched = Fetched { version: "5".into(), found: errand::Found::Absent };
    watches.ledger.fetched(fetch.id, fetched, clock::now());
}

#[tokio::test]
async fn a_watch_that_cant_be_started_is_tried_again_after_a_pause() {
    let mut watches = watches().await;
    let (sender, _sightings) = mpsc::channel(1);
    watches.connection.config.tls_server_name = Some("no name".into());
    watches.answered(ObjectKind::ConfigMap, Ok(Protocol::Http2));
    fetched(&mut watches);
    let now = clock::now();
    watches.carry_out(&sender);
    assert!(watches.running.is_empty());
    assert!(due(&watches) > now);

    watches.connection.config.tls_server_name = None;
    watches.ledger.handle_timeout(due(&watches));
    while watches.ledger.poll_timeout(true).is_some_and(|due| due > clock::now()) {
        tokio::task::yield_now().await;
    }
    fetched(&mut watches);
    watches.carry_out(&sender);
    assert_eq!(watches.running.len(), 1);
    assert_eq!(watches.ledger.poll_timeout(true), None);
}

#[tokio::test]
async fn how_the_watches_do_is_recorded_and_what_nobody_wants_is_not() {
    let mut watches = watches().await;
    let contact = watches.cluster.contact().clone();
    let state = |resource| contact.watch(resource).state;
    watches.record();
    assert_eq!(state(Resource::ConfigMaps), WatchState::Down);
    assert_eq!(state(Resource::Secrets), WatchState::Unused);
    watches.ledger.want(&BTreeMap::new(), clock::now());
    watches.record();
    assert_eq!(state(Resource::ConfigMaps), WatchState::Unused);
}

#[tokio::test]
async fn nothing_is_asked_in_the_first_moment_and_everything_within_the_spread() {
    let first = watches().await;
    let second = watches().await;
    assert_ne!(due(&first), due(&second));
    assert!(due(&first).since(clock::now()) <= SPREAD);
}
