//! One answer for all who ask at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Answer;

/// What was answered, and until when others may have it too.
#[derive(Clone, Debug)]
struct Answered<T> {
    until: Instant,
    answer: Option<T>,
}

type Flight<T> = watch::Receiver<Option<Answered<T>>>;

/// A question that is on its way once at most, however many ask it: who asks meanwhile gets the same answer.
pub(super) struct Shared<T> {
    ask: Box<dyn Fn() -> Answer<T> + Send + Sync>,
    limit: Duration,
    reuse: Duration,
    last: Mutex<Option<Flight<T>>>,
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    /// A question that is given up after `limit`, and whose answer serves for `reuse` from when it was asked.
    pub(super) fn new(
        ask: impl Fn() -> Answer<T> + Send + Sync + 'static,
        limit: Duration,
        reuse: Duration,
    ) -> Self {
        Self { ask: Box::new(ask), limit, reuse, last: Mutex::new(None) }
    }

    /// The answer; none where it is too late.
    pub(super) async fn get(&self) -> Option<T> {
        let mut flight = self.flight();
        // An error says that the runtime ends.
        let answered = flight.wait_for(Option::is_some).await.ok()?;
        answered.as_ref()?.answer.clone()
    }

    fn flight(&self) -> Flight<T> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = last.as_ref().filter(|flight| serves(flight)) {
            return flight.clone();
        }
        let (sender, flight) = watch::channel(None);
        let (asked, limit, reuse) = (Instant::now(), self.limit, self.reuse);
        let answer = (self.ask)();
        // A task of its own: a client that leaves must not have the next one ask again.
        tokio::spawn(async move {
            let answer = timeout(limit, answer).await.ok();
            sender.send_replace(Some(Answered { until: asked + reuse, answer }));
        });
        *last = Some(flight.clone());
        flight
    }
}

fn serves<T>(flight: &Flight<T>) -> bool {
    match &*flight.borrow() {
        Some(answered) => Instant::now() < answered.until,
        // Without an answer it serves while one can come.
        None => flight.has_changed().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A question whose answer is its number and takes so long, and how often it was asked.
    fn question(takes: Duration, reuse: Duration) -> (Arc<Shared<usize>>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let ask = move || -> Answer<usize> {
            let number = count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                sleep(takes).await;
                number
            })
        };
        (Arc::new(Shared::new(ask, SECOND, reuse)), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_who_ask_at_a_time_ask_once() {
        let (shared, asked) = question(SECOND / 2, SECOND);
        let clients: Vec<_> = (0..1000)
            .map(|_| {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.get().await })
            })
            .collect();
        for client in clients {
            assert_eq!(client.await.unwrap(), Some(0));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_reused_until_it_is_too_old() {
        let (shared, _) = question(SECOND / 4, SECOND);
        assert_eq!(shared.get().await, Some(0));
        advance(SECOND * 3 / 4 - Duration::from_millis(1)).await;
        assert_eq!(shared.get().await, Some(0));
        advance(Duration::from_millis(1)).await;
        assert_eq!(shared.get().await, Some(1), "it is a second since the first one was asked");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_leave_have_nobody_ask_again() {
        let (shared, asked) = question(SECOND / 2, SECOND);
        for _ in 0..100 {
            let client = {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.get().await })
            };
            tokio::task::yield_now().await;
            client.abort();
            assert!(client.await.unwrap_err().is_cancelled());
        }
        assert_eq!((shared.get().await, asked.load(Ordering::SeqCst)), (Some(0), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_late_is_none_and_the_next_client_asks_again() {
        let (shared, asked) = question(SECOND * 2, SECOND);
        let begun = Instant::now();
        assert_eq!((shared.get().await, begun.elapsed() >= SECOND), (None, true));
        assert_eq!((shared.get().await, asked.load(Ordering::SeqCst)), (None, 2));
    }

    #[tokio::test]
    async fn a_question_that_ends_without_an_answer_is_asked_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let ask = move || -> Answer<()> {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            Box::pin(async move { assert!(!first, "the first one ends so") })
        };
        let shared = Shared::new(ask, SECOND, SECOND);
        assert_eq!(shared.get().await, None);
        assert_eq!(shared.get().await, Some(()));
    }
}
