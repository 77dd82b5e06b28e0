//! Requests to pods: who makes them, how many at a time, and that the loop is told what came of each. A server that never answers
//! keeps nobody else's request waiting: a namespace has half of the places that the others leave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::{Answer, Call};
use reloadlet_core::model::names::Name;
use reloadlet_core::{Event, Time};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::fair::{Choice, FairQueue};
use crate::inbox::Inbox;
use crate::proc::ProcRoot;

mod bounded;
mod exchange;
mod tls;

use exchange::Exchanges;

/// How many are made at a time: each takes a file descriptor, and the memory for an answer's beginning.
const AT_A_TIME: usize = 128;
/// So many more where each is the only one of its namespace: whoever makes namespaces keeps few others waiting.
const ALONE: usize = 64;
/// How many wait. A container has one at a time, so there are never as many.
const WAITING: usize = 65_536;

/// The loop's side.
#[derive(Debug)]
pub(crate) struct CallQueue(Arc<Shared>);

/// The other end.
pub(crate) struct Caller {
    shared: Arc<Shared>,
    exchanges: Arc<Exchanges>,
    inbox: Inbox,
}

#[derive(Debug)]
struct Shared {
    calls: Mutex<Calls>,
    /// There is something to do.
    more: Notify,
}

#[derive(Debug)]
struct Calls {
    waiting: FairQueue<ProcessIdentity, Call>,
    /// Those that are being made or whose answer is being read, by namespace and process.
    running: BTreeMap<(Name, ProcessIdentity), Running>,
}

/// One that has a place.
#[derive(Debug)]
struct Running {
    /// Which of those to its process it is.
    begun: Time,
    /// What ends it.
    task: AbortHandle,
}

/// The two ends.
pub(crate) fn channel(proc: ProcRoot, inbox: Inbox) -> (CallQueue, Caller) {
    let calls = Calls { waiting: FairQueue::new(WAITING), running: BTreeMap::new() };
    let shared = Arc::new(Shared { calls: Mutex::new(calls), more: Notify::new() });
    (CallQueue(shared.clone()), Caller { shared, exchanges: Arc::new(Exchanges::new(proc)), inbox })
}

impl CallQueue {
    /// Has a request made in the turns of this namespace, in the place of one to the same process, and doesn't wait.
    pub(crate) fn call(&self, namespace: &Name, call: Call) {
        let mut calls = self.0.calls();
        let key = (namespace.clone(), call.process.clone());
        if let Some(before) = calls.running.remove(&key) {
            before.task.abort();
        }
        // The queue is longer than there can be containers.
        drop(calls.waiting.push(namespace, call.process.clone(), call));
        drop(calls);
        self.0.more.notify_one();
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    /// The next one, if there is a place for it.
    fn next(&mut self) -> Option<(Name, Call)> {
        let mut own: BTreeMap<&Name, usize> = BTreeMap::new();
        for (namespace, _) in self.running.keys() {
            *own.entry(namespace).or_default() += 1;
        }
        let running = self.running.len();
        let free = AT_A_TIME.saturating_sub(running);
        let taken = self.waiting.take(|namespace, _, _| {
            let own = own.get(namespace).copied().unwrap_or_default();
            let is_alone = own == 0 && running < AT_A_TIME + ALONE;
            if free > own || is_alone { Choice::Take } else { Choice::Leave }
        });
        taken.map(|(namespace, _, call)| (namespace, call))
    }

    /// Whether nobody has taken the place of the one that was begun then.
    fn has_place(&self, key: &(Name, ProcessIdentity), begun: Time) -> bool {
        self.running.get(key).is_some_and(|running| running.begun == begun)
    }

    /// Gives its place up.
    fn end(&mut self, key: &(Name, ProcessIdentity), begun: Time) {
        if self.has_place(key, begun) {
            self.running.remove(key);
        }
    }
}

impl Caller {
    /// Makes requests for as long as the agent runs.
    pub(crate) async fn run(self) {
        while self.begin_one() || {
            self.shared.more.notified().await;
            true
        } {}
    }

    /// Begins the next one, if there is one and a place for it.
    fn begin_one(&self) -> bool {
        let mut calls = self.shared.calls();
        let Some((namespace, call)) = calls.next() else { return false };
        let key = (namespace, call.process.clone());
        let (shared, exchanges, inbox) = (self.shared.clone(), self.exchanges.clone(), self.inbox.clone());
        let (its_key, begun) = (key.clone(), call.begun);
        let task = tokio::spawn(async move {
            let (answer, rest) = exchanges.make(&call).await;
            let is_awaited = shared.calls().has_place(&its_key, begun);
            if is_awaited {
                note(&call, &answer);
                inbox.put(Event::Answered(call.process, begun, answer)).await;
            }
            // The connection takes its place for as long as it is read.
            if let Some(rest) = rest {
                rest.await;
            }
            shared.calls().end(&its_key, begun);
            shared.more.notify_one();
        });
        // It can't end before it is here: that waits for this lock.
        calls.running.insert(key, Running { begun, task: task.abort_handle() });
        true
    }
}

/// What a debugging operator sees of each request; the end of a reload is said elsewhere.
fn note(call: &Call, answer: &Answer) {
    tracing::debug!(pid = call.process.pid, request = %call.request, ?answer, "a request was made");
}

#[cfg(test)]
mod tests;
