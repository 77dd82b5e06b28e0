//! One watch of one object.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use reloadlet_core::Time;
use reloadlet_core::object::Observed;
use tokio::sync::{Semaphore, mpsc};

use super::connections::is_forbidden;
use super::decode::Object;
use super::step::Watch;
use crate::clock;

/// What a watch has to say.
#[derive(Debug)]
pub(super) enum Sighting {
    Seen(Observed, Time),
    /// The API server says that the right is missing. It tries again.
    Refused(Box<watcher::Error>),
    /// Something else went wrong. It tries again.
    Failed(Box<watcher::Error>),
}

/// Follows an object until nobody listens.
pub(super) async fn follow<const SECRET: bool>(
    client: Client,
    watch: Watch,
    lists: Arc<Semaphore>,
    sightings: mpsc::Sender<(Watch, Sighting)>,
) {
    // From the API server's memory, as the kubelet lists it.
    let config =
        watcher::Config::default().any_semantic().fields(&format!("metadata.name={}", watch.object.name));
    let api = Api::<Object<SECRET>>::namespaced(client, &watch.object.namespace);
    let mut stream = pin!(watcher(api, config).default_backoff());
    let mut listed = Observed::Absent;
    let mut turn = None;
    while let Some(event) = stream.next().await {
        let now = clock::now();
        let sighting = match event {
            Ok(watcher::Event::Init) => {
                // The list is asked for when the stream is polled next.
                listed = Observed::Absent;
                turn = lists.clone().acquire_owned().await.ok();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = object.observed();
                continue;
            }
            Ok(watcher::Event::InitDone) => Sighting::Seen(listed.clone(), now),
            Ok(watcher::Event::Apply(object)) => Sighting::Seen(object.observed(), now),
            Ok(watcher::Event::Delete(_)) => Sighting::Seen(Observed::Absent, now),
            Err(error) if refused(&error) => Sighting::Refused(Box::new(error)),
            Err(error) => Sighting::Failed(Box::new(error)),
        };
        drop(turn.take());
        if sightings.send((watch.clone(), sighting)).await.is_err() {
            return;
        }
    }
}

fn refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => is_forbidden(error),
        watcher::Error::WatchError(status) => status.is_forbidden(),
        watcher::Error::NoResourceVersion => false,
    }
}
