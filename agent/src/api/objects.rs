//! The ConfigMaps and Secrets that the pods of this node use, as the API server has them: a watch for each, as the kubelet
//! does it, and what it holds as digests. Reloads don't wait for any of this.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Config;
use kube::runtime::watcher::DefaultBackoff;
use reloadlet_core::object::{ObjectKind, ObjectRef};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use self::connections::{AskError, Connections, ask};
use self::follow::{Sighting, follow};
use self::ledger::Ledger;
use self::outgoing::Outgoing;
use self::step::{Answer, Protocol, Step, Watch};
use crate::clock;
use crate::inbox::Inbox;

mod connections;
mod decode;
mod follow;
mod ledger;
mod outgoing;
mod step;

/// How many objects are listed at once, so that many agents that start together aren't a storm.
const LISTS: usize = 20;
/// How many sightings wait; the watches wait after that.
const SIGHTINGS: usize = 64;
/// How long something waits that the loop had no room for.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

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
pub(crate) struct Objects(Arc<Shared>);

impl Objects {
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
    config: Config,
    inbox: Inbox,
    ledger: Ledger,
    outgoing: Outgoing,
    connections: Connections,
    protocol: Protocol,
    running: BTreeMap<ObjectRef, AbortHandle>,
    lists: Arc<Semaphore>,
    asking: JoinSet<(ObjectKind, Result<Protocol, AskError>)>,
    backoff: DefaultBackoff,
    /// It was said that something is wrong.
    troubled: bool,
    /// It was said that a watch can't be started.
    unstarted: bool,
    counted: (usize, usize, usize),
}

/// The two ends. Without `watch_secrets`, Secrets aren't measured.
pub(crate) fn channel(config: Config, watch_secrets: bool, inbox: Inbox) -> (Objects, ObjectWatches) {
    let shared = Arc::new(Shared::default());
    let watches = ObjectWatches {
        shared: shared.clone(),
        config,
        inbox,
        ledger: Ledger::new(watch_secrets),
        outgoing: Outgoing::default(),
        connections: Connections::default(),
        protocol: Protocol::Http1,
        running: BTreeMap::new(),
        lists: Arc::new(Semaphore::new(LISTS)),
        asking: JoinSet::new(),
        backoff: DefaultBackoff::default(),
        troubled: false,
        unstarted: false,
        counted: (0, 0, 0),
    };
    (Objects(shared), watches)
}

impl ObjectWatches {
    /// Watches for as long as the agent runs.
    pub(crate) async fn run(mut self) {
        let (sender, mut sightings) = mpsc::channel(SIGHTINGS);
        let shared = self.shared.clone();
        loop {
            self.carry_out(&sender);
            self.outgoing.hand_over(&self.inbox);
            let due = self.ledger.poll_timeout().map(|due| due.since(clock::now()));
            tokio::select! {
                () = shared.changed.notified() => {
                    let wanted = shared.wanted().objects.clone();
                    self.ledger.want(&wanted, clock::now());
                }
                Some((watch, sighting)) = sightings.recv() => self.take(&watch, sighting),
                Some(Ok((kind, answer))) = self.asking.join_next(), if !self.asking.is_empty() => self.answered(kind, answer),
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.ledger.handle_timeout(clock::now()),
                () = tokio::time::sleep(ROOM_PAUSE), if !self.outgoing.is_empty() => {}
            }
        }
    }

    fn carry_out(&mut self, sender: &mpsc::Sender<(Watch, Sighting)>) {
        while let Some(step) = self.ledger.poll_step() {
            match step {
                Step::Ask(object) => {
                    let config = self.config.clone();
                    self.asking.spawn(async move { (object.kind, ask(&config, &object).await) });
                }
                Step::Start(watch) => self.start(watch, sender.clone()),
                Step::Stop(object) => {
                    if let Some(running) = self.running.remove(&object) {
                        running.abort();
                    }
                }
                Step::Close(connection) => self.connections.close(connection),
                Step::Tell(object, observed, at) => self.outgoing.put(object, observed, at),
                Step::Forget(object) => self.outgoing.forget(&object),
            }
        }
        self.say_counts();
    }

    fn start(&mut self, watch: Watch, sender: mpsc::Sender<(Watch, Sighting)>) {
        let client = match self.connections.get(watch.connection, self.protocol, &self.config) {
            Ok(client) => client,
            Err(error) => {
                if !std::mem::replace(&mut self.unstarted, true) {
                    tracing::warn!("{} can't be watched, which is tried again: {error:#}", watch.object);
                }
                self.ledger.not_started(&watch, clock::now());
                return;
            }
        };
        self.unstarted = false;
        let (object, lists) = (watch.object.clone(), self.lists.clone());
        let task = match object.kind {
            ObjectKind::ConfigMap => tokio::spawn(follow::<false>(client, watch, lists, sender)),
            ObjectKind::Secret => tokio::spawn(follow::<true>(client, watch, lists, sender)),
        };
        self.running.insert(object, task.abort_handle());
    }

    fn take(&mut self, watch: &Watch, sighting: Sighting) {
        match sighting {
            Sighting::Seen(observed, at) => self.ledger.saw(watch, observed, at),
            Sighting::Refused(error) => {
                tracing::debug!(error = &*error as &dyn Error, "a watch of {} was refused", watch.object);
                self.ledger.refused(watch, clock::now());
            }
            Sighting::Failed(error) => {
                tracing::debug!(error = &*error as &dyn Error, "a watch of {} failed", watch.object);
                self.ledger.failed(watch, clock::now());
            }
        }
    }

    fn answered(&mut self, kind: ObjectKind, asked: Result<Protocol, AskError>) {
        let answer = match &asked {
            Ok(protocol) => {
                self.protocol = *protocol;
                self.backoff = DefaultBackoff::default();
                Answer::Yes(*protocol)
            }
            Err(error) if error.is_forbidden() => Answer::Forbidden,
            Err(_) => Answer::Fails(self.backoff.next().unwrap_or(ROOM_PAUSE)),
        };
        let was_missing = self.ledger.is_missing(kind);
        self.ledger.answered(kind, answer, clock::now());
        let plural = plural(kind);
        match (asked, answer) {
            (Ok(_), _) if std::mem::take(&mut self.troubled) || was_missing => {
                tracing::info!("{plural} are watched again: propagation is measured");
            }
            (Err(error), Answer::Forbidden) if !was_missing && self.ledger.is_missing(kind) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "the right to list and watch {plural} is missing: their propagation isn't measured, reloads go on"
                )
            }
            (Err(error), Answer::Fails(_)) if !std::mem::replace(&mut self.troubled, true) => tracing::warn!(
                error = &error as &dyn Error,
                "the API server doesn't tell of {plural}: what is known of them stays, and reloads go on"
            ),
            (_, _) => {}
        }
    }

    fn say_counts(&mut self) {
        let counted = self.ledger.counts();
        let before = std::mem::replace(&mut self.counted, counted);
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

#[cfg(test)]
mod tests;
