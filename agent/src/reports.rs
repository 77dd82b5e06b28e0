//! Reports become log lines and metrics.

use std::fmt::Display;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::machine::event::{ReloadReport, Report, RestartReport};
use reloadlet_core::machine::status::Counts;
use reloadlet_core::model::means::Means;
use reloadlet_core::model::object::Versions;
use reloadlet_core::model::outcome::{Outcome, Unread, Verdict};
use reloadlet_core::model::pod::VolumeKind;
use reloadlet_core::model::restart::Finding;
use reloadlet_core::policy::problem::ProblemKind;

use crate::clock;
use crate::metrics::{Action, Metrics};

/// How long a list in a line may become before what is left of it is only counted, in bytes: seventy PIDs, or the generations of
/// ten volumes. Each piece has a kilobyte at most, since names have 256 bytes.
const LISTED: usize = 512;

/// Writes one report.
pub(crate) fn write(report: &Report, metrics: &Metrics) {
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
        Report::Reload(reload) => write_reload(reload, metrics),
        Report::Published { pod, volume, generation, delay, versions, collapsed } => {
            metrics.published(*delay);
            tracing::debug!(
                namespace = %pod.namespace, pod = %pod.name, volume = %volume, generation = %generation,
                versions = written(versions), publish_us = micros(*delay), collapsed, "published"
            );
        }
        Report::Reread { after, .. } => metrics.reread(*after),
        Report::Retold(reload) => {
            metrics.retold();
            write_retold(reload);
        }
        Report::Unread { pod, container, means, unread, deliveries, again, window } => {
            let said = match unread {
                Unread::NotRead => {
                    "told, not read: none of the new files was opened, though they were after earlier deliveries"
                }
                Unread::NeverRead => {
                    "told again and again, never read: none of the new files was opened after any delivery"
                }
            };
            tracing::warn!(
                namespace = %pod.namespace, pod = %pod.name, container = %container,
                signal = means.signal().map(tracing::field::display), request = means.request().map(tracing::field::display),
                unread = unread.as_str(), deliveries, told_again = again, window_us = micros(*window), "{said}"
            );
        }
        Report::NeedsRestart { pod, container, object, version, way, is_certain } => tracing::info!(
            namespace = %pod.namespace, pod = %pod.name, container = %container, object = %object, version = %version,
            way = way.as_str(), certain = is_certain,
            "what the container took of this at its start {} changed: nothing else than a restart is known to bring it",
            if *is_certain { "has" } else { "may have" }
        ),
        Report::RestartNotNeeded { pod, container, object, way } => tracing::debug!(
            namespace = %pod.namespace, pod = %pod.name, container = %container, object = %object, way = way.as_str(),
            "nothing is known any more of this that the container lacks"
        ),
        Report::Restart(restart) => {
            metrics.restart(restart.finding);
            write_restart(restart);
        }
        Report::GrantIgnored(pod, why) => tracing::debug!(
            namespace = %pod.namespace, pod = %pod.name, reason = why, "reloadlet.io/restart is ignored"
        ),
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

/// What a reload does, as metrics name it.
const fn action(means: &Means) -> Action {
    match means {
        Means::Signal(_) => Action::Signal,
        Means::Http(_) => Action::Http,
    }
}

fn write_reload(reload: &ReloadReport, metrics: &Metrics) {
    metrics.reload(&reload.pod.namespace, action(&reload.means), reload.outcome);
    if reload.outcome == Outcome::Delivered {
        metrics.deliver(reload.deliver);
        if let Some(stages) = &reload.stages {
            metrics.propagated(stages.propagation);
        }
    }
    let stages = reload.stages.as_ref();
    let generations = reload.generations.iter().map(|(volume, generation)| format!("{volume}={generation}"));
    let (generations, pids) = (listed(generations), listed(&reload.pids));
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                namespace = %reload.pod.namespace,
                pod = %reload.pod.name,
                container = %reload.container,
                signal = reload.means.signal().map(tracing::field::display),
                request = reload.means.request().map(tracing::field::display),
                outcome = reload.outcome.as_str(),
                generations,
                pids,
                settle_us = micros(reload.settle),
                since_settle_us = micros(reload.since_settle),
                deliver_us = micros(reload.deliver),
                versions = stages.map(|stages| written(&stages.versions)),
                updated = stages.and_then(|stages| updated(&stages.versions)),
                observed = stages.map(|stages| clock::rfc3339(stages.observed)),
                publish_us = stages.map(|stages| micros(stages.publish)),
                propagation_us = stages.map(|stages| micros(stages.propagation)),
                reason = reload.reason.as_deref(),
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
        Outcome::NoProcess | Outcome::Unhandled | Outcome::Denied | Outcome::Failed | Outcome::Suspended => {
            line!(warn)
        }
    }
}

/// A second telling: at the level of deliveries, since nobody else says that there was one.
fn write_retold(reload: &ReloadReport) {
    let generations = reload.generations.iter().map(|(volume, generation)| format!("{volume}={generation}"));
    tracing::info!(
        namespace = %reload.pod.namespace,
        pod = %reload.pod.name,
        container = %reload.container,
        signal = reload.means.signal().map(tracing::field::display),
        request = reload.means.request().map(tracing::field::display),
        outcome = reload.outcome.as_str(),
        generations = listed(generations),
        pids = listed(&reload.pids),
        reason = reload.reason.as_deref(),
        "told a second time, since none of the new files was opened"
    );
}

fn write_restart(restart: &RestartReport) {
    let RestartReport { pod, grant, finding, reason, took } = restart;
    let containers = listed(grant.containers.iter().map(|(name, _)| name));
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                namespace = %pod.namespace, pod = %pod.name, containers, mark = %grant.marker,
                result = finding.as_str(), took_us = micros(*took), reason = reason.as_deref(),
                "restart in place"
            )
        };
    }
    match finding {
        Finding::Current | Finding::Unproved | Finding::DryRun => line!(info),
        Finding::Old
        | Finding::Unhandled
        | Finding::PreStop
        | Finding::NoRestart
        | Finding::NotFound
        | Finding::Denied
        | Finding::StillRuns => line!(warn),
    }
}

/// What came of a grant, in a sentence.
pub(crate) fn restart_sentence(restart: &RestartReport, reason: Option<&str>) -> String {
    let names: Vec<&str> = restart.grant.containers.iter().map(|(name, _)| &**name).collect();
    let of = format!("{} {}", if names.len() == 1 { "Container" } else { "Containers" }, names.join(", "));
    let (was, is) = if names.len() == 1 { ("was", "runs") } else { ("were", "run") };
    let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    match restart.finding {
        Finding::Current => format!("{of} {was} restarted in place, and what volumes hold now is there."),
        Finding::Unproved => format!(
            "{of} {was} restarted in place; whether what volumes hold now is there couldn't be seen{because}."
        ),
        Finding::Old => format!("{of} {was} restarted in place, and something older is there{because}."),
        Finding::StillRuns => {
            format!(
                "{of} {was} sent the stop signal, and not all has ended since{because}. Nothing is killed."
            )
        }
        Finding::DryRun => format!("{of} {was} not restarted in place: the agent runs with --dry-run."),
        Finding::Unhandled | Finding::PreStop | Finding::NoRestart | Finding::NotFound | Finding::Denied => {
            format!("{of} {was} not restarted in place and {is} on{because}.")
        }
    }
}

/// The versions as people know them: `configmap shop/web@1234`.
pub(crate) fn written(versions: &Versions) -> String {
    let each = versions.iter().map(|(object, version)| match version {
        Some(version) => format!("{object}@{}", version.version),
        None => format!("no {object}"),
    });
    listed(each)
}

/// As much of a list as a line has room for: whoever writes pods and makes processes doesn't decide how long a line is.
fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items = items.into_iter();
    let mut text = String::new();
    while let Some(item) = items.next() {
        if text.len() >= LISTED {
            text += &format!(" and {} more", items.count() + 1);
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text += &item.to_string();
    }
    text
}

/// When the API server took the newest of the versions: whole seconds.
fn updated(versions: &Versions) -> Option<String> {
    let updated = versions.iter().filter_map(|(_, version)| Some(version.as_ref()?.updated?.written)).max();
    updated.map(clock::rfc3339)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Sets the gauges.
pub(crate) fn set_gauges(metrics: &Metrics, counts: &Counts, now: Time) {
    metrics.set_pods(counts.watched, counts.invalid);
    for (kind, count) in VolumeKind::ALL.into_iter().zip(counts.volumes) {
        metrics.set_volumes(kind, count);
    }
    for (kind, count) in ProblemKind::ALL.into_iter().zip(counts.problems) {
        metrics.set_problems(kind, count);
    }
    metrics.set_stale(counts);
    for (unread, count) in Unread::ALL.into_iter().zip(counts.unread) {
        metrics.set_unread(unread, count);
    }
    metrics.set_namespaces(&counts.namespaces, &counts.requesting, now);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use reloadlet_core::model::generation::Generation;
    use reloadlet_core::model::names::Name;
    use reloadlet_core::model::signal::Signal;

    use super::*;
    use crate::api::testing;
    use crate::logs::Page;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    /// The one line that a report becomes.
    fn line(report: &Report) -> String {
        let (page, metrics) = (Page::default(), Metrics::new().unwrap());
        let shown = page.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || shown.clone()).finish();
        tracing::subscriber::with_default(lines, || write(report, &metrics));
        let [line] = <[String; 1]>::try_from(page.lines()).unwrap();
        line
    }

    #[test]
    fn what_was_left_unread_is_a_warning() {
        for (unread, sentence) in [
            (Unread::NotRead, "told, not read: none of the new files was opened"),
            (Unread::NeverRead, "told again and again, never read: none of the new files was opened"),
        ] {
            let line = line(&Report::Unread {
                pod: Arc::new(testing::pod("shop", "web", "0000000a")),
                container: "app".into(),
                means: Signal::HUP.into(),
                unread,
                deliveries: 3,
                again: true,
                window: Duration::from_secs(10),
            });
            assert!(line.contains(" WARN ") && line.contains(sentence), "{line}");
            for field in ["namespace=shop", "pod=web", "container=app", "signal=SIGHUP", "told_again=true"] {
                assert!(line.contains(field), "{field}: {line}");
            }
            assert!(line.contains(&format!("unread=\"{}\"", unread.as_str())), "{line}");
        }
    }

    #[test]
    fn a_second_telling_is_said_like_a_delivery() {
        let retold = ReloadReport {
            pod: Arc::new(testing::pod("shop", "web", "0000000a")),
            container: "app".into(),
            means: Signal::HUP.into(),
            outcome: Outcome::Delivered,
            generations: vec![("config".into(), Generation::parse("..2026_01_01_00_00_00.1").unwrap())],
            pids: vec![7],
            swapped: at(1),
            ended: at(2),
            settle: Duration::ZERO,
            since_settle: Duration::ZERO,
            deliver: Duration::ZERO,
            reason: None,
            stages: None,
        };
        let line = line(&Report::Retold(Box::new(retold)));
        let sentence = "told a second time, since none of the new files was opened";
        assert!(line.contains(" INFO ") && line.contains(sentence), "{line}");
        for field in ["container=app", "outcome=\"delivered\"", "config=..2026_01_01_00_00_00.1"] {
            assert!(line.contains(field), "{field}: {line}");
        }
    }

    #[test]
    fn a_list_in_a_line_is_bounded_and_says_how_much_is_missing() {
        assert_eq!(listed([7, 8, 9]), "7,8,9");
        assert_eq!(listed::<u32>([]), "");
        let pids = listed(1_000_000..1_000_256);
        assert!(pids.starts_with("1000000,1000001,") && pids.ends_with(",1000064 and 191 more"), "{pids}");
        assert!(listed(vec!["x".repeat(1000); 300]).len() < 1100);
    }

    #[test]
    fn the_first_event_of_a_namespace_is_an_increase() {
        let metrics = Metrics::new().unwrap();
        let counts = Counts { namespaces: BTreeSet::from([Name::from("shop")]), ..Counts::default() };
        set_gauges(&metrics, &counts, at(0));
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
        metrics.reload("shop", Action::Signal, Outcome::Denied);
        set_gauges(&metrics, &counts, at(1));
        assert_eq!(value(Outcome::Denied).as_deref(), Some("1"));
    }
}
