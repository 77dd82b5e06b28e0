//! The controller's metrics. Their names are a contract, and all label sets are closed: none names a workload or a namespace.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use reloadlet_core::model::closed::closed_set;
use reloadlet_core::rollouts::event::Wait;

use crate::contact::Contact;
use crate::metrics::family::Family;
use crate::metrics::{common, registry};

closed_set! {
    /// What became of rolls.
    pub(crate) enum RollResult {
        /// One has begun.
        Started => "started",
        /// All pods stayed available with the new content.
        Finished => "finished",
        /// There are no pods any more.
        Emptied => "emptied",
        /// They weren't in time.
        Failed => "failed",
        /// Somebody has taken the mark out of the template.
        Undone => "undone",
        /// The API server has refused the change of a template.
        Refused => "refused",
        /// Pods can't be restarted in place.
        NotInPlace => "not-in-place",
    }
}

/// Seconds from 5 s to an hour.
const BUCKETS: [f64; 12] = [5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];

/// Every metric of the controller.
pub(crate) struct Metrics {
    registry: Registry,
    rollouts: Family<RollResult, IntCounterVec>,
    pending: Family<Wait, IntGaugeVec>,
    seconds: Histogram,
    leader: IntGauge,
    workloads: IntGauge,
    fence_open: IntGauge,
}

impl Metrics {
    /// All metrics, with those of closed label sets at 0.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = registry::new(Some("controller"))?;
        Ok(Self {
            rollouts: Family::counters(
                "reloadlet_rollouts_total",
                "Rolls of workloads, by what became of them.",
                "result",
            )?
            .complete(&registry)?,
            pending: Family::gauges(
                "reloadlet_rollouts_pending",
                "Workloads whose roll waits, by what it waits for.",
                "reason",
            )?
            .complete(&registry)?,
            seconds: common::histogram(
                &registry,
                "reloadlet_rollouts_seconds",
                "Seconds from the change of the template until all pods had been available for ten seconds.",
                &BUCKETS,
            )?,
            leader: common::gauge(
                &registry,
                "reloadlet_controller_leader",
                "1 on the replica that works, else 0.",
            )?,
            workloads: common::gauge(
                &registry,
                "reloadlet_controller_workloads",
                "Workloads that ask to be rolled.",
            )?,
            fence_open: common::gauge(
                &registry,
                "reloadlet_fence_open",
                "1 when the admission policy doesn't keep the controller's account from changing more than a roll does, else 0.",
            )?,
            registry,
        })
    }

    /// From now on what the API server says is in them.
    pub(crate) fn follow_contact(&self, contact: Contact) -> Result<(), prometheus::Error> {
        registry::follow_contact(&self.registry, contact)
    }

    /// A roll has come to this.
    pub(super) fn rollout(&self, result: RollResult) {
        self.rollouts.of(result).inc();
    }

    /// A roll has taken so long.
    pub(super) fn took(&self, duration: Duration) {
        self.seconds.observe(duration.as_secs_f64());
    }

    /// What all rolls wait for that wait now.
    pub(crate) fn set_waiting(&self, waits: impl IntoIterator<Item = Wait>) {
        let mut counts = Wait::ALL.map(|wait| (wait, 0));
        for wait in waits {
            for (_, count) in counts.iter_mut().filter(|(known, _)| *known == wait) {
                *count += 1;
            }
        }
        for (wait, count) in counts {
            self.pending.of(wait).set(count);
        }
    }

    /// Whether this replica works.
    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// How many workloads ask to be rolled.
    pub(crate) fn set_workloads(&self, count: usize) {
        common::set(&self.workloads, count);
    }

    /// Whether the account can change more of workloads than a roll does.
    pub(crate) fn set_fence_open(&self, open: bool) {
        self.fence_open.set(open.into());
    }

    /// All of it in Prometheus' text format, version 0.0.4.
    pub(crate) fn encode(&self) -> Result<String, prometheus::Error> {
        registry::encode(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::clock;
    use crate::contact::Resource;

    fn line<'a>(text: &'a str, start: &str) -> Option<&'a str> {
        text.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix(' '))
    }

    #[test]
    fn all_of_them_are_there_at_zero_from_the_start() {
        let text = Metrics::new().unwrap().encode().unwrap();
        let results =
            RollResult::ALL.map(|result| format!("reloadlet_rollouts_total{{result=\"{result}\"}}"));
        let waits = Wait::ALL.map(|wait| format!("reloadlet_rollouts_pending{{reason=\"{wait}\"}}"));
        let others = [
            "reloadlet_rollouts_seconds_count",
            "reloadlet_controller_leader",
            "reloadlet_controller_workloads",
            "reloadlet_fence_open",
        ];
        for name in results.iter().chain(&waits).map(String::as_str).chain(others) {
            assert_eq!(line(&text, name), Some("0"), "{name}\n{text}");
        }
        let version = env!("CARGO_PKG_VERSION");
        let build = format!("reloadlet_build_info{{command=\"controller\",version=\"{version}\"}}");
        assert_eq!(line(&text, &build), Some("1"), "{text}");
        assert!(line(&text, "process_resident_memory_bytes").is_some(), "{text}");
        for bound in ["5", "3600"] {
            assert!(
                text.contains(&format!("reloadlet_rollouts_seconds_bucket{{le=\"{bound}\"}} 0")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_docs_have_each_of_them_with_its_type_its_labels_and_their_values() {
        let page = include_str!("../../../docs/metrics.md");
        let (_, page) = page.split_once("\n## The controller\n").unwrap();
        let (metrics, contact) = (Metrics::new().unwrap(), Contact::new());
        metrics.follow_contact(contact.clone()).unwrap();
        for resource in Resource::ALL.into_iter().filter(|resource| *resource != Resource::Pods) {
            contact.wanted(resource, clock::now());
        }
        let text = metrics.encode().unwrap();
        let mut exported = BTreeMap::<&str, (&str, BTreeSet<&str>)>::new();
        for line in text.lines() {
            if let Some((name, kind)) =
                line.strip_prefix("# TYPE reloadlet_").and_then(|of| of.split_once(' '))
            {
                exported.insert(name, (kind, BTreeSet::new()));
            }
            let Some((name, labels)) = line.strip_prefix("reloadlet_").and_then(|of| of.split_once('{'))
            else {
                continue;
            };
            let labels = labels.split('}').next().unwrap().split(',');
            for (label, value) in labels.map(|label| label.split_once('=').unwrap()) {
                if label != "le" {
                    exported.get_mut(name).unwrap().1.insert(label);
                }
                // The agent's part has the codes.
                if !["le", "version", "code"].contains(&label) {
                    assert!(page.contains(&format!("`{}`", value.trim_matches('"'))), "{line}");
                }
            }
        }
        let row = |line: &'static str| {
            let (name, rest) = line.strip_prefix("| `reloadlet_")?.split_once("` | ")?;
            let (name, labels) = name.trim_end_matches('}').split_once('{').unwrap_or((name, ""));
            let labels = labels.split(',').filter(|label| !label.is_empty()).collect();
            Some((name, (rest.split(" | ").next()?, labels)))
        };
        assert_eq!(page.lines().filter_map(row).collect::<BTreeMap<_, _>>(), exported);
        assert!(page.contains(&format!("`{}`", BUCKETS.map(|bound| bound.to_string()).join(", "))));
    }

    #[test]
    fn what_waits_is_counted_anew_each_time() {
        let metrics = Metrics::new().unwrap();
        metrics.set_waiting([Wait::Held, Wait::Failed, Wait::Held]);
        metrics.set_workloads(7);
        metrics.set_leader(true);
        metrics.set_fence_open(true);
        let text = metrics.encode().unwrap();
        for (name, value) in [
            ("reloadlet_rollouts_pending{reason=\"held\"}", "2"),
            ("reloadlet_rollouts_pending{reason=\"failed\"}", "1"),
            ("reloadlet_rollouts_pending{reason=\"debounce\"}", "0"),
            ("reloadlet_controller_workloads", "7"),
            ("reloadlet_controller_leader", "1"),
            ("reloadlet_fence_open", "1"),
        ] {
            assert_eq!(line(&text, name), Some(value), "{name}\n{text}");
        }
        metrics.set_waiting([Wait::Failed]);
        metrics.set_leader(false);
        let text = metrics.encode().unwrap();
        assert_eq!(line(&text, "reloadlet_rollouts_pending{reason=\"held\"}"), Some("0"), "{text}");
        assert_eq!(line(&text, "reloadlet_controller_leader"), Some("0"), "{text}");
    }

    #[test]
    fn what_the_api_server_says_of_workloads_is_in_them() {
        let (metrics, contact) = (Metrics::new().unwrap(), Contact::new());
        metrics.follow_contact(contact.clone()).unwrap();
        contact.wanted(Resource::Deployments, clock::now());
        contact.up(Resource::DaemonSets, clock::now());
        contact.answered(None);
        let text = metrics.encode().unwrap();
        for (name, value) in [
            ("reloadlet_watch_up{resource=\"deployments\"}", Some("0")),
            ("reloadlet_watch_up{resource=\"daemonsets\"}", Some("1")),
            ("reloadlet_watch_up{resource=\"pods\"}", None),
            ("reloadlet_api_requests_total{code=\"error\"}", Some("1")),
        ] {
            assert_eq!(line(&text, name), value, "{name}\n{text}");
        }
    }
}
