//! The metrics. Their names are a contract; label sets are closed, except for namespaces, which come and go
//! with pods, and of which a limited number is named.

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use reloadlet_core::Time;
use reloadlet_core::machine::status::Counts;
use reloadlet_core::model::closed::closed_set;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::outcome::{Outcome, Unread, Verdict};
use reloadlet_core::model::pod::VolumeKind;
use reloadlet_core::model::restart::Finding;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::propagation::nudge::NudgeResult;

use crate::contact::Contact;

use self::common::{gauge, register, set};
use self::family::Family;

pub(crate) mod common;
mod contact;
pub(crate) mod family;
mod namespaces;

pub(crate) use namespaces::Action;
mod process;
mod propagation;
pub(crate) mod registry;
#[cfg(test)]
mod tests;

closed_set! {
    /// Why the file system was read again.
    pub(crate) enum RescanReason {
        /// The kernel dropped notifications.
        Overflow => "overflow",
    }
}

closed_set! {
    /// What is done about a pod that asked for reloads.
    enum PodState {
        /// It is watched.
        Watched => "watched",
        /// It is left alone, since what it asks for is invalid.
        Invalid => "invalid",
    }
}

/// Seconds from 50 µs to 10 s.
const STAGE_BUCKETS: [f64; 17] = [
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

/// Every metric of the agent.
pub(crate) struct Metrics {
    registry: Registry,
    pods: Family<PodState, IntGaugeVec>,
    volumes: Family<VolumeKind, IntGaugeVec>,
    inotify_watches: IntGauge,
    polled_volumes: IntGauge,
    swaps: Family<VolumeKind, IntCounterVec>,
    by_namespace: namespaces::ByNamespace,
    settle: Histogram,
    deliver: Histogram,
    propagation: propagation::Propagation,
    reread: Histogram,
    retold: IntCounter,
    restarts: Family<Finding, IntCounterVec>,
    unread: Family<Unread, IntGaugeVec>,
    overflows: IntCounter,
    rescans: Family<RescanReason, IntCounterVec>,
    settle_timeouts: IntCounter,
    problems: Family<ProblemKind, IntGaugeVec>,
    journal_in_memory: IntGauge,
    journal_held: IntGauge,
    confined: IntGauge,
    fence_open: IntGauge,
    kubelet_root_wrong: IntGauge,
    kubelet_root_closed: IntGauge,
}

impl Metrics {
    /// All metrics, with those of closed label sets at 0.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = registry::new(None)?;
        let metrics = Self {
            pods: Family::gauges(
                "reloadlet_pods",
                "Pods that asked for reloads: watched, or left alone since what they ask for is invalid.",
                "state",
            )?
            .complete(&registry)?,
            volumes: Family::gauges("reloadlet_volumes", "Volumes whose changes are followed.", "kind")?
                .complete(&registry)?,
            inotify_watches: gauge(
                &registry,
                "reloadlet_inotify_watches",
                "Inotify watches that the agent holds.",
            )?,
            polled_volumes: gauge(
                &registry,
                "reloadlet_polled_volumes",
                "Volumes that are read once a second since they can't be watched.",
            )?,
            swaps: Family::counters(
                "reloadlet_swaps_total",
                "New generations that the kubelet published in followed volumes.",
                "kind",
            )?
            .complete(&registry)?,
            by_namespace: namespaces::ByNamespace::new(&registry)?,
            settle: stage(
                &registry,
                "reloadlet_settle_seconds",
                "Seconds from the swap to a volume's new generation until it has settled.",
            )?,
            deliver: stage(
                &registry,
                "reloadlet_deliver_seconds",
                "Seconds from the swap, or from the end of the waits that the pod asked for, to the delivery.",
            )?,
            propagation: propagation::Propagation::new(&registry)?,
            reread: stage(
                &registry,
                "reloadlet_reread_seconds",
                "Seconds from a delivery until a file of the new generation was opened.",
            )?,
            retold: register(
                &registry,
                IntCounter::new(
                    "reloadlet_retold_total",
                    "Times that a container was told a second time, since it opened none of the new files.",
                )?,
            )?,
            restarts: Family::counters(
                "reloadlet_restarts_total",
                "Grants of restarts in place, by what came of them.",
                "result",
            )?
            .complete(&registry)?,
            unread: Family::gauges(
                "reloadlet_unread_containers",
                "Containers that live and have left unread what they were told of, by how.",
                "state",
            )?
            .complete(&registry)?,
            overflows: register(
                &registry,
                IntCounter::new(
                    "reloadlet_overflows_total",
                    "Times that the kernel dropped notifications since the inotify queue was full.",
                )?,
            )?,
            rescans: Family::counters(
                "reloadlet_rescans_total",
                "Times that the followed volumes were read again since a notification may be lost.",
                "reason",
            )?
            .complete(&registry)?,
            settle_timeouts: register(
                &registry,
                IntCounter::new(
                    "reloadlet_settle_timeouts_total",
                    "Generations taken as settled after 2 seconds since the one before was never removed.",
                )?,
            )?,
            problems: Family::gauges(
                "reloadlet_problems",
                "Problems with what pods ask for that stand now.",
                "kind",
            )?
            .complete(&registry)?,
            journal_in_memory: gauge(
                &registry,
                "reloadlet_journal_in_memory",
                "1 while the journal can't be written and would not survive the agent, else 0.",
            )?,
            journal_held: gauge(
                &registry,
                "reloadlet_journal_held",
                "1 while another agent on the node holds the journal, else 0.",
            )?,
            confined: gauge(
                &registry,
                "reloadlet_landlock_enforced",
                "1 when the agent has given up writing outside its state directory, 0 where the kernel lacks it or a part of it.",
            )?,
            fence_open: gauge(
                &registry,
                "reloadlet_fence_open",
                "1 when the admission policy doesn't keep the agent's account from changing more than a nudge does, else 0.",
            )?,
            kubelet_root_closed: gauge(
                &registry,
                "reloadlet_kubelet_root_closed",
                "1 while the agent isn't allowed to look into the kubelet's directory of pods, else 0.",
            )?,
            kubelet_root_wrong: gauge(
                &registry,
                "reloadlet_kubelet_root_wrong",
                "1 while pods run and the directory of none of them is below the kubelet root, else 0.",
            )?,
            registry,
        };
        Ok(metrics)
    }

    /// From now on what the API server says is in them.
    pub(crate) fn follow_contact(&self, contact: Contact) -> Result<(), prometheus::Error> {
        registry::follow_contact(&self.registry, contact)
    }

    /// A reload of one container ended.
    pub(crate) fn reload(&self, namespace: &str, action: Action, outcome: Outcome) {
        self.by_namespace.reload(namespace, action, outcome);
    }

    /// A delivery was judged.
    pub(crate) fn verdict(&self, namespace: &str, verdict: Verdict) {
        self.by_namespace.verdict(namespace, verdict);
    }

    /// A new generation was published.
    pub(crate) fn swap(&self, kind: VolumeKind) {
        self.swaps.of(kind).inc();
    }

    /// A generation settled this long after its swap.
    pub(crate) fn settle(&self, after: Duration) {
        self.settle.observe(after.as_secs_f64());
    }

    /// A delivery was made this long after its swap, or after the waits that the pod asked for.
    pub(crate) fn deliver(&self, after: Duration) {
        self.deliver.observe(after.as_secs_f64());
    }

    /// A generation brought versions that were seen this long before it.
    pub(crate) fn published(&self, delay: Duration) {
        self.propagation.published(delay);
    }

    /// A delivery was made this long after its oldest version was seen.
    pub(crate) fn propagated(&self, took: Duration) {
        self.propagation.propagated(took);
    }

    /// A nudge came to this.
    pub(crate) fn nudge(&self, result: NudgeResult) {
        self.propagation.nudge(result);
    }

    /// What is stale, by reason, and since when.
    pub(crate) fn set_stale(&self, counts: &Counts) {
        self.propagation.set_stale(counts);
    }

    /// A file of the new generation was opened this long after a delivery.
    pub(crate) fn reread(&self, after: Duration) {
        self.reread.observe(after.as_secs_f64());
    }

    /// A generation was taken as settled since waiting any longer helps nobody.
    pub(crate) fn settle_timeout(&self) {
        self.settle_timeouts.inc();
    }

    /// The kernel dropped notifications.
    pub(crate) fn overflow(&self) {
        self.overflows.inc();
    }

    /// The followed volumes are read again.
    pub(crate) fn rescan(&self, reason: RescanReason) {
        self.rescans.of(reason).inc();
    }

    /// How many pods asked for reloads, and of how many what they ask for is invalid.
    pub(crate) fn set_pods(&self, watched: usize, invalid: usize) {
        set(&self.pods.of(PodState::Watched), watched);
        set(&self.pods.of(PodState::Invalid), invalid);
    }

    /// How many volumes of a kind are followed.
    pub(crate) fn set_volumes(&self, kind: VolumeKind, count: usize) {
        set(&self.volumes.of(kind), count);
    }

    /// How many inotify watches there are.
    pub(crate) fn set_inotify_watches(&self, count: usize) {
        set(&self.inotify_watches, count);
    }

    /// How many volumes are polled.
    pub(crate) fn set_polled_volumes(&self, count: usize) {
        set(&self.polled_volumes, count);
    }

    /// A container was told a second time.
    pub(crate) fn retold(&self) {
        self.retold.inc();
    }

    /// The grant of a restart in place came to this.
    pub(crate) fn restart(&self, finding: Finding) {
        self.restarts.of(finding).inc();
    }

    /// How many containers have left unread in this way what they were told of.
    pub(crate) fn set_unread(&self, unread: Unread, count: usize) {
        set(&self.unread.of(unread), count);
    }

    /// How many problems of a kind stand.
    pub(crate) fn set_problems(&self, kind: ProblemKind, count: usize) {
        set(&self.problems.of(kind), count);
    }

    /// Whether the journal is kept in memory only.
    pub(crate) fn set_journal_in_memory(&self, in_memory: bool) {
        self.journal_in_memory.set(in_memory.into());
    }

    /// Whether another agent holds the journal.
    pub(crate) fn set_journal_held(&self, held: bool) {
        self.journal_held.set(held.into());
    }

    /// Whether writing outside the state directory was given up.
    pub(crate) fn set_confined(&self, confined: bool) {
        self.confined.set(confined.into());
    }

    /// Whether the account can change more of pods than a nudge does.
    pub(crate) fn set_fence_open(&self, open: bool) {
        self.fence_open.set(open.into());
    }

    /// Whether the kubelet root isn't the kubelet's.
    pub(crate) fn set_kubelet_root_wrong(&self, wrong: bool) {
        self.kubelet_root_wrong.set(wrong.into());
    }

    /// Whether the agent isn't allowed to look into the kubelet root.
    pub(crate) fn set_kubelet_root_closed(&self, closed: bool) {
        self.kubelet_root_closed.set(closed.into());
    }

    /// Which namespaces have pods here now.
    pub(crate) fn set_namespaces(&self, live: &BTreeSet<Name>, requesting: &BTreeSet<Name>, now: Time) {
        self.by_namespace.update(live, requesting, now);
    }

    /// All of it in Prometheus' text format, version 0.0.4.
    pub(crate) fn encode(&self, now: Time) -> Result<String, prometheus::Error> {
        self.propagation.refresh(now);
        registry::encode(&self.registry)
    }
}

fn stage(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    common::histogram(registry, name, help, &STAGE_BUCKETS)
}
