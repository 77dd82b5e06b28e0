//! Which lines are written. Whoever makes much to say takes nothing from what is said of others: the lines about pods
//! and workloads are shared by namespace, all others by the place in the code that has them. What is left out is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::Name;
use reloadlet_core::policy::allowance::Allowance;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock;

/// How many lines there may be at once, and how soon one more.
#[derive(Clone, Copy, Debug)]
struct Limit {
    most: u32,
    each: Duration,
}

/// Lines about pods. One namespace alone has a thousand at once, which is nine for each of 110 pods, and then twenty a second:
/// with 400 bytes a line that is 29 MB an hour. What there is at once, of the agent itself too, fits into the queue of the log's
/// thread.
const OF_PODS: Limit = Limit { most: 4000, each: Duration::from_millis(50) };
/// Lines of the agent itself. One place alone has 250 at once and then two a second: what it says again and again is known.
const OF_AGENT: Limit = Limit { most: 1000, each: Duration::from_millis(500) };
/// The same for each of both below the level info. They have a limit of their own: whoever asks for them misses no warning by it.
const BELOW_INFO: Limit = Limit { most: 4000, each: Duration::from_millis(50) };

/// Half of what there is at once is left to those who have had few lines lately.
const FEW: u32 = 8;

/// How many namespaces, or places, are counted by themselves, and how many of them are named in a minute.
const COUNTED: usize = 1024;
const NAMED: usize = 32;

/// The fields by which a line is about a namespace: about a pod in it, or about a workload.
const NAMESPACES: [&str; 2] = ["namespace", "workload_namespace"];

/// Lines of one sort.
#[derive(Debug)]
struct Lines {
    limit: Limit,
    allowance: Allowance,
    below_info: Allowance,
    left_out: BTreeMap<Name, u64>,
    /// Those of whom no more is known.
    others: u64,
}

/// What was left out since it was last asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct LeftOut {
    /// Of whom most.
    named: Vec<(Name, u64)>,
    /// Of all others.
    others: u64,
}

impl Lines {
    const fn new(limit: Limit, now: Time) -> Self {
        Self {
            limit,
            allowance: Allowance::new(limit.most, limit.each, now),
            below_info: Allowance::new(BELOW_INFO.most, BELOW_INFO.each, now),
            left_out: BTreeMap::new(),
            others: 0,
        }
    }

    /// Whether a line is written; one that isn't is counted.
    fn take(&mut self, whose: &Name, level: Level, now: Time) -> bool {
        let written = if level <= Level::INFO {
            self.allowance.take_leaving(whose, self.limit.most / 2, FEW, now)
        } else {
            self.below_info.take_leaving(whose, BELOW_INFO.most / 2, FEW, now)
        };
        if !written {
            self.count(whose);
        }
        written
    }

    fn count(&mut self, whose: &Name) {
        if let Some(count) = self.left_out.get_mut(whose) {
            *count += 1;
        } else if self.left_out.len() < COUNTED {
            self.left_out.insert(whose.clone(), 1);
        } else {
            self.others += 1;
        }
    }

    fn take_left_out(&mut self) -> LeftOut {
        let mut named: Vec<(Name, u64)> = std::mem::take(&mut self.left_out).into_iter().collect();
        named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest = named.split_off(named.len().min(NAMED));
        let others = std::mem::take(&mut self.others) + rest.iter().map(|(_, count)| count).sum::<u64>();
        LeftOut { named, others }
    }
}

#[derive(Debug)]
struct State {
    of_pods: Lines,
    of_agent: Lines,
}

/// The shares. Clones are the same ones.
#[derive(Clone, Debug)]
pub(super) struct Shares(Arc<Mutex<State>>);

impl Shares {
    /// Nothing was written yet.
    pub(super) fn new(now: Time) -> Self {
        let state = State { of_pods: Lines::new(OF_PODS, now), of_agent: Lines::new(OF_AGENT, now) };
        Self(Arc::new(Mutex::new(state)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, event: &Event<'_>, now: Time) -> bool {
        let of = event.metadata();
        if is_own(of) {
            return true;
        }
        let mut found = Namespace(None);
        if NAMESPACES.iter().any(|name| of.fields().field(name).is_some()) {
            event.record(&mut found);
        }
        self.with(|state| match found.0 {
            Some(namespace) => state.of_pods.take(&namespace, *of.level(), now),
            None => state.of_agent.take(&place(of).into(), *of.level(), now),
        })
    }

    /// Says what was left out since the last time.
    pub(super) fn say_left_out(&self) {
        let (of_pods, of_agent) =
            self.with(|state| (state.of_pods.take_left_out(), state.of_agent.take_left_out()));
        for (namespace, lines) in of_pods.named {
            tracing::warn!(%namespace, lines, "lines about this namespace were left out: there were too many");
        }
        if of_pods.others > 0 {
            tracing::warn!(lines = of_pods.others, "lines about other namespaces were left out as well");
        }
        for (place, lines) in of_agent.named {
            tracing::warn!(%place, lines, "lines of one place in the agent's code were left out: there were too many");
        }
        if of_agent.others > 0 {
            tracing::warn!(lines = of_agent.others, "lines of other places were left out as well");
        }
    }
}

impl<S: Subscriber> Layer<S> for Shares {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.take(event, clock::now())
    }
}

/// Whether a line says what was left out.
fn is_own(of: &Metadata<'_>) -> bool {
    of.module_path() == Some(module_path!())
}

/// Where in the code a line is: `agent/src/holder.rs:198`.
fn place(of: &Metadata<'static>) -> &'static str {
    of.name().strip_prefix("event ").unwrap_or(of.name())
}

/// The namespace that a line is about.
struct Namespace(Option<Name>);

impl Visit for Namespace {
    fn record_str(&mut self, field: &Field, value: &str) {
        if NAMESPACES.contains(&field.name()) {
            self.0 = Some(value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if NAMESPACES.contains(&field.name()) {
            self.0 = Some(format!("{value:?}").into());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    /// What is written.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(crate) fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    impl Write for Page {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Everything that is written while something is done, line by line; afterwards what was left out is said.
    fn written(act: impl FnOnce()) -> Vec<String> {
        let (page, shares) = (Page::default(), Shares::new(clock::now()));
        let writer = page.clone();
        let lines = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(lines.with(shares.clone()), || {
            act();
            shares.say_left_out();
            shares.say_left_out();
        });
        page.lines()
    }

    fn count(lines: &[String], part: &str) -> usize {
        lines.iter().filter(|line| line.contains(part)).count()
    }

    /// The number of a line that says so.
    fn said(lines: &[String], part: &str) -> usize {
        let line = lines.iter().find(|line| line.contains(part) && line.contains("were left out"));
        let number = line.unwrap().split("lines=").nth(1).unwrap().split(' ').next().unwrap();
        number.parse().unwrap()
    }

    #[test]
    fn a_namespace_takes_no_line_of_another_and_what_is_left_out_is_said_once() {
        let lines = written(|| {
            for n in 0..10_000 {
                tracing::warn!(namespace = %"loud", n, "problem");
                if n % 1000 == 0 {
                    tracing::info!(namespace = "quiet", "told");
                }
            }
        });
        let loud = count(&lines, " problem ");
        assert!((1000..9000).contains(&loud), "{loud}");
        assert_eq!(count(&lines, " told "), 10);
        assert_eq!(count(&lines, "were left out"), 1, "{:?}", lines.last());
        assert_eq!(loud + said(&lines, "namespace=loud"), 10_000);
    }

    #[test]
    fn lines_about_workloads_are_shared_by_the_workloads_namespace() {
        let lines = written(|| {
            for n in 0..10_000 {
                tracing::warn!(workload_namespace = %"loud", n, "flaps");
                if n % 1000 == 0 {
                    tracing::info!(workload_namespace = %"quiet", "rolled");
                }
            }
        });
        assert_eq!(count(&lines, " rolled "), 10);
        assert_eq!(count(&lines, " flaps ") + said(&lines, "namespace=loud"), 10_000);
    }

    #[test]
    fn a_place_in_the_code_takes_no_line_of_another() {
        let lines = written(|| {
            for pid in 0..10_000 {
                tracing::error!(pid, "refused");
            }
            tracing::warn!("something else");
            tracing::warn!(namespace = "quiet", "told");
        });
        let refused = count(&lines, " refused ");
        assert!((250..5000).contains(&refused), "{refused}");
        assert_eq!((count(&lines, "something else"), count(&lines, " told ")), (1, 1));
        assert_eq!(refused + said(&lines, "shares.rs:"), 10_000);
    }

    #[test]
    fn what_is_said_for_someone_who_looks_for_a_fault_costs_no_warning() {
        let lines = written(|| {
            for n in 0..10_000 {
                tracing::debug!(namespace = "shop", n, "published");
            }
            for n in 0..100 {
                tracing::warn!(namespace = "shop", n, "problem");
            }
        });
        assert!((1000..9000).contains(&count(&lines, "published")));
        assert_eq!(count(&lines, "problem"), 100);
    }

    #[test]
    fn many_loud_namespaces_keep_no_line_of_a_quiet_one() {
        let mut lines = Lines::new(OF_PODS, at(0));
        let mut refused = 0;
        for second in 0..600 {
            for n in 0..110 {
                let loud = Name::from(format!("loud-{n}"));
                for _ in 0..20 {
                    lines.take(&loud, Level::WARN, at(second));
                }
            }
            let due = second % 10 == 0;
            refused += usize::from(due && !lines.take(&"quiet".into(), Level::INFO, at(second)));
        }
        assert_eq!(refused, 0);
    }

    #[test]
    fn what_is_counted_and_named_is_bounded_and_nothing_of_it_is_lost() {
        let mut lines = Lines::new(OF_PODS, at(0));
        let mut written = 0;
        for n in 0..3000 {
            for _ in 0..=n % 10 {
                written += u64::from(lines.take(&format!("n{n}").into(), Level::WARN, at(0)));
            }
        }
        assert!(lines.left_out.len() <= COUNTED);
        let LeftOut { named, others } = lines.take_left_out();
        assert_eq!(named.len(), NAMED);
        assert!(named.iter().all(|(_, count)| *count == 10), "those with the most");
        assert_eq!(written + others + 10 * NAMED as u64, 16_500);
        assert_eq!(lines.take_left_out(), LeftOut::default());
    }
}
