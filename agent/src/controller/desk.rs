//! What this replica tells whoever asks it: health, metrics and status.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reloadlet_core::Time;
use reloadlet_core::rollouts::controller::Controller;
use tokio::sync::{mpsc, oneshot, watch};

use super::leader::Leadership;
use super::metrics::Metrics;
use super::people::People;
use super::status::{self, Now};
use super::watches::Holds;
use crate::api::fence::{Gate, Standing};
use crate::clock;
use crate::contact::Contact;
use crate::http::{Answer, Endpoints, Readiness};
use crate::status::controller::{Fence, HoldStatus, Replica};

/// How many questions wait. The server asks once at a time.
const WAITING: usize = 8;

/// What the controller's loop is asked.
pub(super) enum Question {
    /// Whether it turns.
    Ping(oneshot::Sender<()>),
    /// The document at `/status`.
    Status(oneshot::Sender<Result<String, String>>),
}

/// What is known of this replica apart from what it works at. Clones share it.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) identity: String,
    pub(super) contact: Contact,
    pub(super) metrics: Arc<Metrics>,
    pub(super) gate: Gate,
    /// Whether what the fence must refuse was taken.
    pub(super) is_open: Arc<AtomicBool>,
    pub(super) leadership: watch::Receiver<Leadership>,
    /// Whether the replica that leads knows all that there is.
    pub(super) is_synced: Arc<AtomicBool>,
}

impl Desk {
    /// Answers a question. `work` is what this replica works at, if it leads.
    pub(super) fn answer(&self, question: Question, work: Option<(&Controller, &People, &Holds, Time)>) {
        match question {
            Question::Ping(answer) => drop(answer.send(())),
            Question::Status(answer) => {
                drop(answer.send(self.status(work).map_err(|error| error.to_string())))
            }
        }
    }

    fn status(
        &self,
        work: Option<(&Controller, &People, &Holds, Time)>,
    ) -> Result<String, serde_json::Error> {
        let leadership = self.leadership.borrow().clone();
        let boot = clock::now();
        let replica = Replica {
            name: &self.identity,
            leads: leadership.lasts(boot).is_some(),
            leader: leadership.leader.as_deref(),
            fence: self.fence(),
            contact: &self.contact,
        };
        let Some((machine, people, holds, epoch)) = work else {
            let now = Now { boot, epoch: boot };
            return status::document(replica, &[], std::iter::empty(), |_, _| None, now);
        };
        let waits_since = |who: &_, wait| people.waits_since(who, wait);
        status::document(replica, &shown(holds), machine.overview(), waits_since, Now { boot, epoch })
    }

    fn fence(&self) -> Fence {
        if *self.gate.standing().borrow() == Standing::Holds {
            Fence::Holds
        } else if self.is_open.load(Ordering::Relaxed) {
            Fence::Open
        } else {
            Fence::Unproved
        }
    }

    /// Why this replica isn't ready, if it isn't.
    fn readiness(&self) -> Readiness {
        let leadership = self.leadership.borrow();
        let reason = if !leadership.is_known {
            "the API server has said nothing of the Lease yet"
        } else if leadership.lasts(clock::now()).is_some() && !self.is_synced.load(Ordering::Relaxed) {
            "waiting until all workloads and objects are listed"
        } else {
            return Readiness::Ready;
        };
        Readiness::NotReady(reason.to_owned())
    }
}

fn shown(holds: &Holds) -> Vec<HoldStatus> {
    let reason = |reason: &String| Some(reason.clone()).filter(|reason| !reason.trim().is_empty());
    let all = holds.all.iter().map(|why| HoldStatus { namespace: None, reason: reason(why) });
    let each = holds
        .namespaces
        .iter()
        .map(|(namespace, why)| HoldStatus { namespace: Some(namespace.clone()), reason: reason(why) });
    all.chain(each).collect()
}

/// The endpoints, and the questions that they ask the loop.
pub(super) fn endpoints(desk: &Desk) -> (Endpoints, mpsc::Receiver<Question>) {
    let (ask, questions) = mpsc::channel(WAITING);
    let (pings, statuses, ready, metrics) = (ask.clone(), ask, desk.clone(), desk.metrics.clone());
    let endpoints = Endpoints {
        metrics: Box::new(move |_now| metrics.encode()),
        ready: Box::new(move || ready.readiness()),
        live: Box::new(move || {
            let pings = pings.clone();
            let turned: Answer<()> = Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                if pings.send(Question::Ping(answer)).await.is_ok() && answered.await.is_ok() {
                    return;
                }
                // The server's limit makes this an error.
                std::future::pending::<()>().await;
            });
            turned
        }),
        status: Box::new(move || {
            let statuses = statuses.clone();
            Box::pin(async move {
                let ended = || "the controller is ending".to_owned();
                let (answer, answered) = oneshot::channel();
                statuses.send(Question::Status(answer)).await.map_err(|_ended| ended())?;
                answered.await.map_err(|_ended| ended())?
            })
        }),
    };
    (endpoints, questions)
}
