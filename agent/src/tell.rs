//! Reports become log lines and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::event::{ReloadReport, Report, Versions};
use reloadlet_core::outcome::{Outcome, Verdict};
use reloadlet_core::pod::{Name, VolumeKind};
use reloadlet_core::problem::ProblemKind;
use reloadlet_core::status::Counts;

use crate::clock;
use crate::metrics::Metrics;

/// Writes one report.
pub(crate) fn tell(report: &Report, metrics: &Metrics) {
    match report {
        Report::Swapped(kind) => metrics.swap(*kind),
        Report::Settled(took) => metrics.settle(*took),
        Report::SettleTimedOut(volume) => {
            metrics.settle_timeout();
            tracing::warn!(
                pod_uid = %volume.pod,
                volume = %volume.volume,
                "the kubelet didn't remove the generation before within 2 s: the new one is taken as complete"
            );
        }
        Report::Rescan => {
            tracing::warn!("notifications were lost: every volume and container is looked at again")
        }
        Report::Reload(reload) => tell_reload(reload, metrics),
        Report::Published { pod, volume, generation, delay, versions, collapsed } => {
            metrics.published(*delay);
            tracing::debug!(
                namespace = %pod.namespace, pod = %pod.name, volume = %volume, generation = %generation,
                versions = written(versions), publish_us = micros(*delay), collapsed, "published"
            );
        }
        Report::Reread { after, .. } => metrics.reread(*after),
        Report::Verdict { pod, container, verdict, reread } => {
            metrics.verdict(&pod.namespace, *verdict);
            let reread_us = reread.map(micros);
            match verdict {
                Verdict::Reread | Verdict::Alive => tracing::debug!(
                    namespace = %pod.namespace, pod = %pod.name, container = %container,
                    verdict = verdict.as_str(), reread_us, "verify window ended"
                ),
                Verdict::Pending | Verdict::Exited | Verdict::Restarted => tracing::warn!(
                    namespace = %pod.namespace, pod = %pod.name, container = %container,
                    verdict = verdict.as_str(), reread_us, "verify window ended"
                ),
            }
        }
        Report::Nudged(pod, result) => {
            metrics.nudge(*result);
            tracing::debug!(
                namespace = %pod.namespace, pod = %pod.name, result = result.as_str(), "nudged the kubelet"
            );
        }
        Report::Problem(pod, problem) => tracing::warn!(
            namespace = %pod.namespace, pod = %pod.name, kind = problem.kind.as_str(), "{problem}"
        ),
        Report::Solved(pod) => {
            tracing::info!(namespace = %pod.namespace, pod = %pod.name, "the pod's problem is solved");
        }
        Report::Mended(..) | Report::Forgotten(_) => {}
    }
}

fn tell_reload(reload: &ReloadReport, metrics: &Metrics) {
    metrics.reload(&reload.pod.namespace, reload.outcome);
    if reload.outcome == Outcome::Delivered {
        metrics.deliver(reload.deliver);
        if let Some(stages) = &reload.stages {
            metrics.propagated(stages.propagation);
        }
    }
    let stages = reload.stages.as_ref();
    let generations: Vec<String> =
        reload.generations.iter().map(|(volume, generation)| format!("{volume}={generation}")).collect();
    let pids: Vec<String> = reload.pids.iter().map(u32::to_string).collect();
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                namespace = %reload.pod.namespace,
                pod = %reload.pod.name,
                container = %reload.container,
                signal = %reload.signal,
                outcome = reload.outcome.as_str(),
                generations = generations.join(","),
                pids = pids.join(","),
                settle_us = micros(reload.settle),
                since_settle_us = micros(reload.since_settle),
                deliver_us = micros(reload.deliver),
                versions = stages.map(|stages| written(&stages.versions)),
                updated = stages.and_then(|stages| updated(&stages.versions)),
                observed = stages.map(|stages| clock::rfc3339(stages.observed)),
                publish_us = stages.map(|stages| micros(stages.publish)),
                propagation_us = stages.map(|stages| micros(stages.propagation)),
                reason = reload.reason,
                "reload"
            )
        };
    }
    match reload.outcome {
        Outcome::Delivered | Outcome::DryRun => line!(info),
        Outcome::Unchanged
        | Outcome::Excluded
        | Outcome::StartedAfter
        | Outcome::Superseded
        | Outcome::Gone => line!(debug),
        Outcome::NoProcess | Outcome::Unhandled | Outcome::Denied | Outcome::Failed | Outcome::Held => {
            line!(warn)
        }
    }
}

/// The versions as people know them: `configmap shop/web@1234`.
fn written(versions: &Versions) -> String {
    let each = versions.iter().map(|(object, version)| match version {
        Some(version) => format!("{object}@{}", version.version),
        None => format!("no {object}"),
    });
    each.collect::<Vec<_>>().join(",")
}

/// When the API server took the newest of the versions: whole seconds.
fn updated(versions: &Versions) -> Option<String> {
    let updated = versions.iter().filter_map(|(_, version)| version.as_ref()?.updated).max();
    updated.map(clock::rfc3339)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether the gauges are to be set anew after a report.
pub(crate) const fn changes_gauges(report: &Report) -> bool {
    match report {
        Report::Problem(..)
        | Report::Mended(..)
        | Report::Solved(_)
        | Report::Forgotten(_)
        | Report::Published { .. }
        | Report::Swapped(_)
        | Report::Settled(_)
        | Report::Reload(_) => true,
        Report::SettleTimedOut(_)
        | Report::Rescan
        | Report::Nudged(..)
        | Report::Reread { .. }
        | Report::Verdict { .. } => false,
    }
}

/// How long the series of a namespace outlive its last pod here, so that the last values are still scraped.
const NAMESPACE_KEPT: Duration = Duration::from_secs(3600);

/// The namespaces that have series, and since when those without pods have none.
#[derive(Debug, Default)]
pub(crate) struct Namespaces(BTreeMap<Name, Option<Time>>);

/// Which series come and go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Turnover {
    begun: Vec<Name>,
    over: Vec<Name>,
}

impl Namespaces {
    /// Takes in which namespaces have pods now.
    fn update(&mut self, live: &BTreeSet<Name>, now: Time) -> Turnover {
        for (name, gone) in &mut self.0 {
            *gone = if live.contains(name) { None } else { gone.or(Some(now)) };
        }
        let begun: Vec<Name> = live.iter().filter(|name| !self.0.contains_key(*name)).cloned().collect();
        self.0.extend(begun.iter().map(|name| (name.clone(), None)));
        let is_over = |gone: &Option<Time>| gone.is_some_and(|gone| now.since(gone) >= NAMESPACE_KEPT);
        let over: Vec<Name> =
            self.0.iter().filter(|(_, gone)| is_over(gone)).map(|(name, _)| name.clone()).collect();
        self.0.retain(|_, gone| !is_over(gone));
        Turnover { begun, over }
    }
}

/// Sets the gauges.
pub(crate) fn set_gauges(metrics: &Metrics, counts: &Counts, namespaces: &mut Namespaces, now: Time) {
    metrics.set_pods(counts.watched, counts.invalid);
    for (kind, count) in VolumeKind::ALL.into_iter().zip(counts.volumes) {
        metrics.set_volumes(kind, count);
    }
    for (kind, count) in ProblemKind::ALL.into_iter().zip(counts.problems) {
        metrics.set_problems(kind, count);
    }
    metrics.set_stale(counts);
    let Turnover { begun, over } = namespaces.update(&counts.namespaces, now);
    for namespace in begun {
        metrics.begin_namespace(&namespace);
    }
    for namespace in over {
        metrics.forget_namespace(&namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn a_namespaces_series_outlive_its_last_pod_by_an_hour() {
        let name = Name::from("shop");
        let (none, shop) = (BTreeSet::new(), BTreeSet::from([name.clone()]));
        let (nothing, begun) = (Turnover::default, || Turnover { begun: vec![name.clone()], over: vec![] });
        let mut namespaces = Namespaces::default();
        assert_eq!(namespaces.update(&shop, at(0)), begun());
        assert_eq!(namespaces.update(&none, at(10)), nothing());
        assert_eq!(namespaces.update(&none, at(3609)), nothing());
        assert_eq!(namespaces.update(&shop, at(3700)), nothing(), "it came back");
        assert_eq!(namespaces.update(&none, at(3800)), nothing());
        assert_eq!(namespaces.update(&none, at(7400)), Turnover { begun: vec![], over: vec![name.clone()] });
        assert_eq!(namespaces.update(&none, at(9000)), nothing());
        assert_eq!(namespaces.update(&shop, at(9001)), begun());
    }

    #[test]
    fn the_first_event_of_a_namespace_is_an_increase() {
        let metrics = Metrics::new().unwrap();
        let mut namespaces = Namespaces::default();
        let counts = Counts { namespaces: BTreeSet::from([Name::from("shop")]), ..Counts::default() };
        set_gauges(&metrics, &counts, &mut namespaces, at(0));
        let value = |outcome: Outcome| {
            let series = format!(
                "reloadlet_reloads_total{{action=\"signal\",outcome=\"{}\",pod_namespace=\"shop\"}} ",
                outcome.as_str()
            );
            let text = metrics.encode(at(0)).unwrap();
            text.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
        };
        for outcome in Outcome::ALL {
            assert_eq!(value(outcome).as_deref(), Some("0"), "{outcome:?}");
        }
        metrics.reload("shop", Outcome::Denied);
        set_gauges(&metrics, &counts, &mut namespaces, at(1));
        assert_eq!(value(Outcome::Denied).as_deref(), Some("1"));
    }
}
