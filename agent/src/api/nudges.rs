//! NudgeQueue: an annotation that changes on a pod makes the kubelet sync it at once, and publish what it knows by then. They
//! go through the pod's status, since who may patch that can't change its spec; the fence in `deploy/overlays/acceleration`
//! leaves this annotation of that.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Request, Response, StatusCode};
use kube::client::Body;
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::pod::Pod;
use reloadlet_core::policy::allowance::Allowance;
use reloadlet_core::policy::annotations::OBSERVED;
use reloadlet_core::propagation::nudge::NudgeAnswer;
use reloadlet_core::{Event, Time};
use serde_json::json;
use tokio::sync::Notify;

use super::backoff::{self, LONGEST};
use super::cluster::{Cluster, METADATA};
use super::fence::Gate;
use crate::clock;
use crate::fair::{Choice, FairQueue};
use crate::inbox::Inbox;

/// The most nudges at once. Half of them are one namespace's: a change of what every pod of a full node (110 by default)
/// uses.
const BURST: u32 = 220;
/// Then twenty a second: the kubelet's own requests are limited to fifty, and each sync of a pod costs some.
const REFILL: Duration = Duration::from_millis(50);
/// How many wait for the API server. Of more, the namespace that has most is over the budget with its oldest.
const WAITING: usize = BURST as usize;
/// How many are on their way at once: the API server takes each in some milliseconds. A namespace has half of what the
/// others leave, so that those which take long keep nobody else's waiting.
const IN_FLIGHT: usize = 16;
/// How many pods may be to be told that theirs isn't sent.
const UNSENT: usize = 256;
/// How long the API server has for one. What takes longer would come after the next one is due.
const LIMIT: Duration = Duration::from_secs(3);
/// How long the API server is left alone if it says that it is asked too much and not for how long.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// How much of an answer is read.
const ANSWER_BYTES: usize = 512 << 10;

/// Hands nudges to the sender, within the budget.
#[derive(Debug)]
pub(crate) struct NudgeQueue {
    shared: Arc<Shared>,
    allowance: Allowance,
    quiet: Arc<Quiet>,
    gate: Gate,
}

/// The other end.
pub(crate) struct NudgeSender {
    shared: Arc<Shared>,
    edge: Arc<Edge>,
}

/// What both ends know.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do.
    more: Notify,
}

#[derive(Debug)]
struct Queue {
    waiting: FairQueue<PodUid, Arc<Pod>>,
    /// Pods whose nudge was given up for another's, and who don't know yet.
    unsent: BTreeSet<PodUid>,
    /// How many are on their way, by namespace.
    in_flight: BTreeMap<Name, usize>,
}

/// What the sender does next.
enum Next {
    Send(Arc<Pod>),
    Unsent(PodUid),
}

struct Edge {
    cluster: Cluster,
    inbox: Inbox,
    quiet: Arc<Quiet>,
    gate: Gate,
    /// That nudges are refused was said.
    refused: AtomicBool,
}

/// The two ends.
pub(crate) fn channel(cluster: Cluster, inbox: Inbox, gate: Gate) -> (NudgeQueue, NudgeSender) {
    let queue =
        Queue { waiting: FairQueue::new(WAITING), unsent: BTreeSet::new(), in_flight: BTreeMap::new() };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), more: Notify::new() });
    let quiet = Arc::new(Quiet::default());
    let nudges = NudgeQueue {
        shared: shared.clone(),
        allowance: Allowance::new(BURST, REFILL, clock::now()),
        quiet: quiet.clone(),
        gate: gate.clone(),
    };
    let edge = Edge { cluster, inbox, quiet, gate, refused: AtomicBool::new(false) };
    (nudges, NudgeSender { shared, edge: Arc::new(edge) })
}

impl NudgeQueue {
    /// Has a nudge sent, and doesn't wait. What is known of it at once comes back.
    pub(crate) fn send(&mut self, pod: Arc<Pod>, now: Time) -> Option<NudgeAnswer> {
        if let Some(answer) = self.gate.answer() {
            return Some(answer);
        }
        if let Some(left) = self.quiet.left(now) {
            return Some(NudgeAnswer::Throttled(left));
        }
        let sent = self.allowance.take(&pod.namespace, 0, now) && self.shared.queue().push(pod);
        self.shared.more.notify_one();
        (!sent).then_some(NudgeAnswer::OverBudget)
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Whether the nudge waits now.
    fn push(&mut self, pod: Arc<Pod>) -> bool {
        if self.unsent.len() >= UNSENT {
            return false;
        }
        let (namespace, uid) = (pod.namespace.clone(), pod.uid.clone());
        match self.waiting.push(&namespace, uid.clone(), pod) {
            Some((own, _)) if own == uid => false,
            Some((other, _)) => {
                self.unsent.insert(other);
                true
            }
            None => true,
        }
    }

    /// What is next, if there is a place for it.
    fn next(&mut self) -> Option<Next> {
        if let Some(uid) = self.unsent.pop_first() {
            return Some(Next::Unsent(uid));
        }
        let in_flight = &self.in_flight;
        let free = IN_FLIGHT.saturating_sub(in_flight.values().sum());
        let (namespace, _, pod) = self.waiting.take(|namespace, _, _| {
            let own = in_flight.get(namespace).copied().unwrap_or_default();
            if free > own { Choice::Take } else { Choice::Leave }
        })?;
        *self.in_flight.entry(namespace).or_default() += 1;
        Some(Next::Send(pod))
    }

    /// One of a namespace's isn't on its way any more.
    fn answered(&mut self, namespace: &Name) {
        if let Some(count) = self.in_flight.get_mut(namespace) {
            *count = count.saturating_sub(1);
        }
        self.in_flight.retain(|_, count| *count > 0);
    }
}

impl NudgeSender {
    /// Sends what there is for as long as the agent runs.
    pub(crate) async fn run(self) {
        loop {
            let next = self.shared.queue().next();
            match next {
                Some(Next::Send(pod)) => {
                    let (shared, edge) = (self.shared.clone(), self.edge.clone());
                    tokio::spawn(async move {
                        let answer = edge.nudge(&pod).await;
                        shared.queue().answered(&pod.namespace);
                        shared.more.notify_one();
                        edge.answer(&pod.uid, answer).await;
                    });
                }
                Some(Next::Unsent(uid)) => self.edge.answer(&uid, NudgeAnswer::OverBudget).await,
                None => self.shared.more.notified().await,
            }
        }
    }
}

impl Edge {
    async fn nudge(&self, pod: &Pod) -> NudgeAnswer {
        // It may have waited.
        if let Some(answer) = self.gate.answer() {
            return answer;
        }
        if let Some(left) = self.quiet.left(clock::now()) {
            return NudgeAnswer::Throttled(left);
        }
        let said = match tokio::time::timeout(LIMIT, self.patch(pod)).await {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => {
                tracing::debug!(error = &*error as &dyn std::error::Error, "a nudge failed");
                return NudgeAnswer::Failed;
            }
            Err(_elapsed) => {
                tracing::debug!("a nudge failed: the API server took longer than {LIMIT:?}");
                return NudgeAnswer::Failed;
            }
        };
        let answer = said.answer();
        self.note(answer, &said);
        answer
    }

    async fn patch(&self, pod: &Pod) -> Result<Said, BoxError> {
        let connection = self.cluster.current();
        match connection.client.send(request(pod)?).await {
            Ok(response) => Said::read(response).await,
            Err(error) => {
                self.cluster.renew(connection.revision).await;
                Err(error.into())
            }
        }
    }

    fn note(&self, answer: NudgeAnswer, said: &Said) {
        match answer {
            NudgeAnswer::Throttled(time) => self.quiet.begin(clock::now() + time),
            NudgeAnswer::Refused if !self.refused.swap(true, Ordering::Relaxed) => tracing::warn!(
                status = said.status.as_u16(),
                error = said.message,
                "the kubelet can't be nudged: changes arrive when it looks by itself"
            ),
            NudgeAnswer::Accepted if self.refused.swap(false, Ordering::Relaxed) => {
                tracing::info!("the kubelet can be nudged again");
            }
            NudgeAnswer::Failed => {
                tracing::debug!(status = said.status.as_u16(), error = said.message, "a nudge failed");
            }
            NudgeAnswer::Refused
            | NudgeAnswer::Accepted
            | NudgeAnswer::Gone
            | NudgeAnswer::OverBudget
            | NudgeAnswer::Withheld => {}
        }
    }

    /// Tells the loop, which waits for it before it asks again.
    async fn answer(&self, uid: &PodUid, answer: NudgeAnswer) {
        self.inbox.put(Event::Nudged(uid.clone(), answer)).await;
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A patch of this pod, and of no other one that has its name by now.
fn request(pod: &Pod) -> Result<Request<Body>, BoxError> {
    let body = json!({"metadata": {"uid": pod.uid.to_string(), "annotations": {OBSERVED: nonce()}}});
    let (namespace, name) = (&pod.namespace, &pod.name);
    let request =
        Request::patch(format!("/api/v1/namespaces/{namespace}/pods/{name}/status?fieldManager=reloadlet"))
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .header(ACCEPT, METADATA)
            .body(Body::from(body.to_string().into_bytes()))?;
    Ok(request)
}

/// Another text each time: the same one wouldn't be a change.
fn nonce() -> String {
    format!("{:016x}", RandomState::new().hash_one(()))
}

/// What the API server said.
#[derive(Debug)]
struct Said {
    status: StatusCode,
    retry_after: Option<Duration>,
    /// Where it isn't content.
    message: String,
    /// The pod of this name is another one.
    other_uid: bool,
}

impl Said {
    async fn read(response: Response<Body>) -> Result<Self, BoxError> {
        let status = response.status();
        let retry_after = backoff::retry_after(response.headers());
        // All of it, or the connection can't be used again.
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await?.to_bytes();
        if status.is_success() {
            return Ok(Self { status, retry_after, message: String::new(), other_uid: false });
        }
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let causes = answer["details"]["causes"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(Self {
            status,
            retry_after,
            message: answer["message"].as_str().unwrap_or_default().to_owned(),
            other_uid: causes.iter().any(|cause| cause["field"] == "metadata.uid"),
        })
    }

    fn answer(&self) -> NudgeAnswer {
        match self.status {
            status if status.is_success() => NudgeAnswer::Accepted,
            StatusCode::NOT_FOUND => NudgeAnswer::Gone,
            StatusCode::UNPROCESSABLE_ENTITY if self.other_uid => NudgeAnswer::Gone,
            // Rights, or a policy: which status a policy refuses with is its author's choice.
            StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => {
                NudgeAnswer::Refused
            }
            StatusCode::TOO_MANY_REQUESTS => {
                NudgeAnswer::Throttled(self.retry_after.unwrap_or(LEFT_ALONE).min(LONGEST))
            }
            // Also a conflict, after others have changed the pod again and again.
            _ => NudgeAnswer::Failed,
        }
    }
}

/// Until when the API server is to be left alone, in nanoseconds of the boot-time clock.
#[derive(Debug, Default)]
struct Quiet(AtomicU64);

impl Quiet {
    fn begin(&self, until: Time) {
        let nanos = u64::try_from(until.elapsed_since_boot().as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }

    fn left(&self, now: Time) -> Option<Duration> {
        let left = Time::from_nanos(self.0.load(Ordering::Relaxed)).since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests;
