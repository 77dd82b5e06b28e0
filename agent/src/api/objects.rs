//! The ConfigMaps and Secrets that the pods of this node use, as the API server has them: a watch for each, as the kubelet
//! does it, that says when it changes, and what it holds as digests, fetched a few at a time. Reloads don't wait for any of
//! this.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reloadlet_core::model::names::Name;
use reloadlet_core::model::object::{MOST_KEYS, ObjectKind, ObjectRef};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use self::connections::{AskError, Connections, ask};
use self::errand::{Answer, Errand, Failure, Fetch, Fetched, ObjectWatch, Protocol};
use self::follow::{Sighting, follow};
use self::ledger::Ledger;
use self::outgoing::Outgoing;
use self::requests::{Trouble, fetch};
use super::backoff::{Backoff, chances, share};
use super::cluster::{Cluster, Connection};
use crate::clock;
use crate::contact::{Contact, Resource, WatchState};
use crate::inbox::{Inbox, ROOM_PAUSE};

mod connections;
mod decode;
mod errand;
mod fetches;
mod follow;
mod ledger;
mod outgoing;
mod requests;
mod skew;

/// Within which agents that start together begin to ask, so that many aren't a storm. Nothing waits for it but what is
/// measured.
const SPREAD: Duration = Duration::from_secs(3);
/// How many objects may wait for room in the loop before another one is fetched.
const WAITING: usize = 4;
/// How many sightings wait; the watches wait after that.
const SIGHTINGS: usize = 64;

/// The objects that are wanted, each with the number of the request for it.
#[derive(Debug, Default)]
struct Wanted {
    objects: BTreeMap<ObjectRef, u64>,
    requests: u64,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says which objects are wanted, without waiting.
#[derive(Clone, Debug)]
pub(crate) struct WantedObjects(Arc<Shared>);

impl WantedObjects {
    /// From now on what the API server says of this object becomes an event.
    pub(crate) fn observe(&self, object: ObjectRef) {
        let mut wanted = self.0.wanted();
        wanted.requests += 1;
        let request = wanted.requests;
        wanted.objects.insert(object, request);
        drop(wanted);
        self.0.changed.notify_one();
    }

    /// Nobody needs this object any more.
    pub(crate) fn unobserve(&self, object: &ObjectRef) {
        self.0.wanted().objects.remove(object);
        self.0.changed.notify_one();
    }
}

/// Watches what is wanted.
pub(crate) struct ObjectWatches {
    shared: Arc<Shared>,
    cluster: Cluster,
    /// What the connections are made with.
    connection: Connection,
    inbox: Inbox,
    ledger: Ledger,
    outgoing: Outgoing,
    connections: Connections,
    protocol: Protocol,
    running: BTreeMap<ObjectRef, AbortHandle>,
    /// Of all that is fetched at a time, one is large.
    large: Arc<Semaphore>,
    fetching: JoinSet<(u64, ObjectKind, Result<Fetched, Trouble>)>,
    asking: JoinSet<(ObjectKind, Result<Protocol, AskError>)>,
    renewing: JoinSet<()>,
    backoff: Backoff,
    said: Said,
}

/// What was said, so that it isn't said again and again.
#[derive(Debug, Default)]
struct Said {
    /// Something is wrong.
    troubled: bool,
    /// A watch can't be started.
    unstarted: bool,
    counted: (usize, usize, usize),
}

/// The two ends. Without `watch_secrets`, Secrets aren't measured.
pub(crate) fn channel(cluster: Cluster, watch_secrets: bool, inbox: Inbox) -> (WantedObjects, ObjectWatches) {
    let shared = Arc::new(Shared::default());
    let watches = ObjectWatches {
        shared: shared.clone(),
        connection: cluster.current(),
        connections: Connections::new(cluster.contact().clone()),
        cluster,
        inbox,
        ledger: Ledger::new(watch_secrets, clock::now() + share(SPREAD, chances())),
        outgoing: Outgoing::default(),
        protocol: Protocol::Http1,
        running: BTreeMap::new(),
        large: Arc::new(Semaphore::new(1)),
        fetching: JoinSet::new(),
        asking: JoinSet::new(),
        renewing: JoinSet::new(),
        backoff: Backoff::new(),
        said: Said::default(),
    };
    (WantedObjects(shared), watches)
}

impl ObjectWatches {
    /// Watches for as long as the agent runs.
    pub(crate) async fn run(mut self) {
        let (sender, mut sightings) = mpsc::channel(SIGHTINGS);
        let shared = self.shared.clone();
        loop {
            self.carry_out(&sender);
            self.outgoing.hand_over(&self.inbox);
            self.fetch();
            self.record();
            let due = self.ledger.poll_timeout(self.can_fetch()).map(|due| due.since(clock::now()));
            tokio::select! {
                () = shared.changed.notified() => {
                    let wanted = shared.wanted().objects.clone();
                    self.ledger.want(&wanted, clock::now());
                }
                Some((watch, sighting)) = sightings.recv() => self.take(&watch, sighting),
                Some(Ok((id, kind, fetched))) = self.fetching.join_next(), if !self.fetching.is_empty() => self.fetched(id, kind, fetched),
                Some(Ok((kind, answer))) = self.asking.join_next(), if !self.asking.is_empty() => self.answered(kind, answer),
                Some(_) = self.renewing.join_next(), if !self.renewing.is_empty() => self.reconnect(),
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.ledger.handle_timeout(clock::now()),
                () = tokio::time::sleep(ROOM_PAUSE), if !self.outgoing.is_empty() => {}
            }
        }
    }

    fn carry_out(&mut self, sender: &mpsc::Sender<(ObjectWatch, Sighting)>) {
        while let Some(errand) = self.ledger.poll_errand() {
            match errand {
                Errand::Ask(object) => {
                    let (to, contact) = (self.connection.clone(), self.cluster.contact().clone());
                    self.asking.spawn(async move { (object.kind, ask(&to, &object, &contact).await) });
                }
                Errand::Start(watch, version) => self.start(watch, version, sender.clone()),
                Errand::Stop(object) => {
                    if let Some(running) = self.running.remove(&object) {
                        running.abort();
                    }
                }
                Errand::Close(connection) => self.connections.close(connection),
                Errand::Observed(object, observed, at) => self.outgoing.put(object, observed, at),
                Errand::Forget(object) => self.outgoing.forget(&object),
                Errand::SayTooLarge(object) => Self::say_too_large(&object),
                Errand::SayFewer(watches) => tracing::warn!(
                    "the API server takes {watches} requests at a time on a connection: ConfigMaps and Secrets are watched on more connections"
                ),
            }
        }
        self.say_counts();
    }

    fn start(&mut self, watch: ObjectWatch, version: Name, sender: mpsc::Sender<(ObjectWatch, Sighting)>) {
        let client = match self.connections.get(watch.connection, self.protocol, &self.connection) {
            Ok(client) => client,
            Err(error) => {
                if !std::mem::replace(&mut self.said.unstarted, true) {
                    tracing::warn!("{} can't be watched, which is tried again: {error:#}", watch.object);
                }
                self.ledger.not_started(&watch, clock::now());
                return;
            }
        };
        self.said.unstarted = false;
        let object = watch.object.clone();
        let task = tokio::spawn(follow(client, watch, version, sender));
        self.running.insert(object, task.abort_handle());
    }

    /// What the loop has no room for isn't fetched.
    fn can_fetch(&self) -> bool {
        self.outgoing.len() < WAITING
    }

    /// Fetches what is due.
    fn fetch(&mut self) {
        while self.can_fetch() {
            let Some(Fetch { object, id, freshness }) = self.ledger.poll_fetch(clock::now()) else { return };
            let client = match self.connections.fetching(self.protocol, &self.connection) {
                Ok(client) => client,
                Err(error) => {
                    tracing::debug!("{object} can't be fetched: {error:#}");
                    self.ledger.not_fetched(id, Failure::Other(None), clock::now(), chances());
                    continue;
                }
            };
            let large = self.large.clone();
            self.fetching
                .spawn(async move { (id, object.kind, fetch(client, &object, &freshness, &large).await) });
        }
    }

    fn fetched(&mut self, id: u64, kind: ObjectKind, fetched: Result<Fetched, Trouble>) {
        match fetched {
            Ok(fetched) => {
                self.cluster.contact().heard(resource(kind), clock::now());
                self.ledger.fetched(id, fetched, clock::now());
            }
            Err(trouble) => {
                tracing::debug!(
                    error = &trouble as &dyn Error,
                    "one of the {} can't be fetched",
                    plural(kind)
                );
                self.ledger.not_fetched(id, trouble.failure(), clock::now(), chances());
                self.renew(trouble.may_be_the_configuration());
            }
        }
    }

    fn take(&mut self, watch: &ObjectWatch, sighting: Sighting) {
        let heard = |at| self.cluster.contact().heard(resource(watch.object.kind), at);
        match sighting {
            Sighting::Began(at) => {
                heard(at);
                self.ledger.began(watch, at);
            }
            Sighting::Shown(shown, at) => {
                heard(at);
                self.ledger.showed(watch, shown, at);
            }
            Sighting::Heard(at) => heard(at),
            Sighting::Ended(trouble) => {
                tracing::debug!(error = &trouble as &dyn Error, "a watch of {} has ended", watch.object);
                self.ledger.ended(watch, trouble.failure(), clock::now(), chances());
                self.renew(trouble.may_be_the_configuration());
            }
        }
    }

    fn answered(&mut self, kind: ObjectKind, asked: Result<Protocol, AskError>) {
        let answer = match &asked {
            Ok(protocol) => {
                if *protocol != self.protocol {
                    self.connections.close_all();
                }
                self.protocol = *protocol;
                self.backoff.succeeded();
                self.cluster.contact().heard(resource(kind), clock::now());
                Answer::Yes(*protocol)
            }
            Err(error) => match error.failure() {
                Failure::Forbidden => Answer::Forbidden,
                Failure::Other(retry_after) => Answer::Fails(self.backoff.failed(retry_after, chances())),
                Failure::Ended | Failure::Unanswered => Answer::Fails(self.backoff.failed(None, chances())),
            },
        };
        let was_missing = self.ledger.is_missing(kind);
        self.ledger.answered(kind, answer, clock::now());
        let plural = plural(kind);
        if let Err(error) = &asked {
            self.renew(error.may_be_the_configuration());
        }
        match (asked, answer) {
            (Ok(_), _) if std::mem::take(&mut self.said.troubled) || was_missing => {
                tracing::info!("{plural} are watched again: propagation is measured");
            }
            (Err(error), Answer::Forbidden) if !was_missing && self.ledger.is_missing(kind) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "the right to list and watch {plural} is missing: their propagation isn't measured, reloads go on"
                )
            }
            (Err(error), Answer::Fails(_)) if !std::mem::replace(&mut self.said.troubled, true) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "the API server doesn't tell of {plural}: what is known of them stays, and reloads go on"
                )
            }
            (_, _) => {}
        }
    }

    /// Has it read anew how the API server is reached, if that may help.
    fn renew(&mut self, may_help: bool) {
        if may_help && self.renewing.is_empty() {
            let (cluster, revision) = (self.cluster.clone(), self.connection.revision);
            self.renewing.spawn(async move { cluster.renew(revision).await });
        }
    }

    /// If it was read anew, everything that runs was made from the earlier one.
    fn reconnect(&mut self) {
        let connection = self.cluster.current();
        if connection.revision != self.connection.revision {
            self.connection = connection;
            self.connections.close_all();
            self.ledger.restart(clock::now());
        }
    }

    /// Records how the watches do.
    fn record(&self) {
        let contact: &Contact = self.cluster.contact();
        for kind in [ObjectKind::ConfigMap, ObjectKind::Secret] {
            let (resource, now) = (resource(kind), clock::now());
            match self.ledger.health(kind) {
                WatchState::Unused => contact.unused(resource),
                WatchState::Down => {
                    contact.wanted(resource, now);
                    contact.down(resource);
                }
                WatchState::Up => contact.up(resource, contact.watch(resource).last),
            }
        }
    }

    fn say_too_large(object: &ObjectRef) {
        tracing::warn!(
            namespace = %object.namespace,
            "{object} isn't measured: it has more than {MOST_KEYS} keys, or more bytes than are read; reloads go on"
        );
    }

    fn say_counts(&mut self) {
        let counted = self.ledger.counts();
        let before = std::mem::replace(&mut self.said.counted, counted);
        let (watched, connections, left_out) = counted;
        if counted != before {
            tracing::debug!(protocol = ?self.protocol, "watching {watched} ConfigMaps and Secrets on {connections} connections");
        }
        if left_out != before.2 && left_out > 0 {
            tracing::warn!(
                "{left_out} ConfigMaps and Secrets aren't watched, since {watched} are: their propagation isn't measured"
            );
        }
    }
}

const fn plural(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::ConfigMap => "ConfigMaps",
        ObjectKind::Secret => "Secrets",
    }
}

const fn resource(kind: ObjectKind) -> Resource {
    match kind {
        ObjectKind::ConfigMap => Resource::ConfigMaps,
        ObjectKind::Secret => Resource::Secrets,
    }
}

#[cfg(test)]
mod tests;
