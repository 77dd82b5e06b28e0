//! The way from the API server to the process, where it is measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Registry};
use reloadlet_core::Time;
use reloadlet_core::machine::status::{Counts, StaleReason};
use reloadlet_core::propagation::nudge::NudgeResult;

use super::common::{register, set};
use super::family::Family;

/// Seconds from 50 ms to 5 minutes: the kubelet takes up to 90 s by itself.
const BUCKETS: [f64; 15] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, 300.0];

/// The metrics of the way from the API server to the process.
pub(super) struct Propagation {
    publish: Histogram,
    propagation: Histogram,
    nudges: Family<NudgeResult, IntCounterVec>,
    stale: Family<StaleReason, IntGaugeVec>,
    oldest: Family<StaleReason, GaugeVec>,
    /// Since when the oldest of each reason is stale, in nanoseconds since the boot; 0 for nothing.
    oldest_since: [AtomicU64; StaleReason::ALL.len()],
}

impl Propagation {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |name, help| {
            register(
                registry,
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()))?,
            )
        };
        Ok(Self {
            publish: histogram(
                "reloadlet_publish_seconds",
                "Seconds from when the API server showed the oldest version that a swap brought until the swap.",
            )?,
            propagation: histogram(
                "reloadlet_propagation_seconds",
                "Seconds from when the API server showed the oldest version of a reload until it was delivered.",
            )?,
            nudges: Family::counters(
                "reloadlet_nudges_total",
                "Requests to have the kubelet look at a pod at once, by what became of them.",
                "result",
            )?
            .complete(registry)?,
            stale: Family::gauges(
                "reloadlet_stale_volumes",
                "What running containers hold that isn't as the API server shows it, by where it is stuck.",
                "reason",
            )?
            .complete(registry)?,
            oldest: Family::gauges(
                "reloadlet_oldest_stale_seconds",
                "Seconds since the oldest of what is stale for this reason became so; 0 if nothing is.",
                "reason",
            )?
            .complete(registry)?,
            oldest_since: Default::default(),
        })
    }

    pub(super) fn published(&self, delay: Duration) {
        self.publish.observe(delay.as_secs_f64());
    }

    pub(super) fn propagated(&self, took: Duration) {
        self.propagation.observe(took.as_secs_f64());
    }

    pub(super) fn nudge(&self, result: NudgeResult) {
        self.nudges.of(result).inc();
    }

    pub(super) fn set_stale(&self, counts: &Counts) {
        for (reason, count) in StaleReason::ALL.into_iter().zip(counts.stale) {
            set(&self.stale.of(reason), count);
        }
        for (kept, oldest) in self.oldest_since.iter().zip(counts.oldest_stale) {
            let since = oldest.map_or(0, |since| {
                u64::try_from(since.elapsed_since_boot().as_nanos()).unwrap_or(u64::MAX).max(1)
            });
            kept.store(since, Ordering::Relaxed);
        }
    }

    /// Sets what depends on the time.
    pub(super) fn refresh(&self, now: Time) {
        for (reason, since) in StaleReason::ALL.into_iter().zip(&self.oldest_since) {
            let since = since.load(Ordering::Relaxed);
            let age = if since == 0 { Duration::ZERO } else { now.since(Time::from_nanos(since)) };
            self.oldest.of(reason).set(age.as_secs_f64());
        }
    }
}
