use reloadlet_core::Time;

use super::*;

fn object() -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "web".into() }
}

/// Watches of which one is wanted and nothing was asked yet.
fn watches() -> ObjectWatches {
    let (inbox, _receiver, _wake) = Inbox::new().unwrap();
    let config = Config::new("https://127.0.0.1:1".parse().unwrap());
    let (_objects, mut watches) = channel(config, false, inbox);
    watches.ledger.want(&BTreeMap::from([(object(), 1)]), clock::now());
    watches
}

fn due(watches: &ObjectWatches) -> Time {
    watches.ledger.poll_timeout().expect("something is due")
}

#[tokio::test]
async fn a_watch_that_cant_be_started_is_tried_again_after_a_pause() {
    let mut watches = watches();
    let (sender, _sightings) = mpsc::channel(1);
    watches.config.tls_server_name = Some("no name".into());
    watches.answered(ObjectKind::ConfigMap, Ok(Protocol::Http2));
    let now = clock::now();
    watches.carry_out(&sender);
    assert!(watches.running.is_empty());
    assert!(due(&watches) > now);

    watches.config.tls_server_name = None;
    watches.ledger.handle_timeout(due(&watches));
    watches.carry_out(&sender);
    assert_eq!(watches.running.len(), 1);
    assert_eq!(watches.ledger.poll_timeout(), None);
}
