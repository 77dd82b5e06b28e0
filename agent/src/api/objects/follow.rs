//! One watch of one object.

use kube::Client;
use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use tokio::sync::mpsc;

use super::errand::{ObjectWatch, Shown};
use super::requests::{Said, Trouble, watch};
use crate::clock;

/// What a watch has to say.
#[derive(Debug)]
pub(super) enum Sighting {
    /// The API server has answered.
    Began(Time),
    /// Something has changed.
    Shown(Shown, Time),
    /// The API server is there.
    Heard(Time),
    /// It is over.
    Ended(Trouble),
}

/// Follows an object from a version on, until the watch ends or nobody listens.
pub(super) async fn follow(
    client: Client,
    what: ObjectWatch,
    version: Name,
    sightings: mpsc::Sender<(ObjectWatch, Sighting)>,
) {
    let ended = async {
        let mut changes = watch(client, &what.object, &version).await?;
        let mut sighting = Sighting::Began(clock::now());
        while sightings.send((what.clone(), sighting)).await.is_ok() {
            sighting = match changes.next().await? {
                Said::Shown(shown) => Sighting::Shown(shown, clock::now()),
                Said::Nothing => Sighting::Heard(clock::now()),
            };
        }
        Ok(())
    };
    if let Err(trouble) = ended.await {
        // Nobody listens any more if this can't be sent.
        drop(sightings.send((what.clone(), Sighting::Ended(trouble))).await);
    }
}
