//! What is counted by namespace. Whoever makes namespaces doesn't decide how much memory the agent and Prometheus take: only
//! so many have series of their own, and what happens in the others is counted together.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use reloadlet_core::Time;
use reloadlet_core::model::closed::{Closed, closed_set};
use reloadlet_core::model::names::Name;
use reloadlet_core::model::outcome::{Outcome, Verdict};

use super::common::register;

/// How many namespaces have series of their own: more than a node has pods by default (110). Each has 17 series, which take
/// 25 KB while they are scraped, and 12 more where requests are asked for.
const MOST: usize = 128;
/// Where the others are counted: no namespace can have that name.
const OTHERS: Place<'_> = Place("_other");
/// How long the series of a namespace outlive its last pod here, so that the last values are still scraped.
const KEPT: Duration = Duration::from_secs(3600);
/// For so long they do even where others could use the place: pods are replaced within that, and Prometheus comes twice.
const KEPT_AT_LEAST: Duration = Duration::from_secs(120);

closed_set! {
    /// What a reload does.
    pub(crate) enum Action {
        /// It sends a signal.
        Signal => "signal",
        /// It makes a request.
        Http => "http",
    }
}

/// A value of the label for namespaces: one that has a place, or what stands for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a>(&'a str);

/// Counters for each namespace that has a place and each value of a closed set.
struct Counters<C> {
    counters: IntCounterVec,
    /// The label between the two, where there is one.
    action: Option<Action>,
    values: PhantomData<fn(C)>,
}

impl<C: Closed> Counters<C> {
    fn at(&self, place: Place<'_>, value: C) -> IntCounter {
        self.counters.with_label_values(&self.labels(place, value))
    }

    /// Begins series at 0: Prometheus sees no increase in a series that begins with its first event.
    fn begin(&self, place: Place<'_>) {
        C::all().iter().for_each(|value| drop(self.at(place, *value)));
    }

    fn end(&self, place: Place<'_>) {
        for value in C::all() {
            // An error says that there was no such series.
            drop(self.counters.remove_label_values(&self.labels(place, *value)));
        }
    }

    fn labels<'a>(&self, place: Place<'a>, value: C) -> Vec<&'a str> {
        let action = self.action.map(Action::as_str);
        [place.0].into_iter().chain(action).chain([value.word()]).collect()
    }
}

/// The metrics that have a series for each namespace.
pub(super) struct ByNamespace {
    reloads: Counters<Outcome>,
    /// Those by requests, which have series only where any are asked for.
    requests: Counters<Outcome>,
    verdicts: Counters<Verdict>,
    places: Mutex<Places>,
}

impl ByNamespace {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let reloads = counters(
            "reloadlet_reloads_total",
            "Reloads of containers, by how they ended.",
            &["pod_namespace", "action", "outcome"],
        )?;
        let verdicts = counters(
            "reloadlet_verdicts_total",
            "What was seen of containers by the end of the verify window after a delivery.",
            &["pod_namespace", "verdict"],
        )?;
        Ok(Self {
            reloads: Counters {
                counters: reloads.clone(),
                action: Some(Action::Signal),
                values: PhantomData,
            },
            requests: Counters { counters: reloads, action: Some(Action::Http), values: PhantomData },
            verdicts: Counters { counters: verdicts, action: None, values: PhantomData },
            places: Mutex::default(),
        })
    }

    /// A reload of one container ended.
    pub(super) fn reload(&self, namespace: &str, action: Action, outcome: Outcome) {
        let counters = match action {
            Action::Signal => &self.reloads,
            Action::Http => &self.requests,
        };
        self.count(namespace, |place| counters.at(place, outcome).inc());
    }

    /// A delivery was judged.
    pub(super) fn verdict(&self, namespace: &str, verdict: Verdict) {
        self.count(namespace, |place| self.verdicts.at(place, verdict).inc());
    }

    /// Takes in which namespaces have pods now, and which of them ask for requests.
    pub(super) fn update(&self, live: &BTreeSet<Name>, requesting: &BTreeSet<Name>, now: Time) {
        self.with(|places| {
            let Turnover { begun, over, others } = places.update(live, now);
            for namespace in over {
                self.end(Place(&namespace));
            }
            for namespace in begun {
                self.begin(Place(&namespace));
            }
            if others {
                self.begin(OTHERS);
            }
            for namespace in requesting {
                let place = if places.0.contains_key(namespace) { Place(namespace) } else { OTHERS };
                self.requests.begin(place);
            }
        });
    }

    /// Counts where a namespace is counted.
    fn count(&self, namespace: &str, count: impl FnOnce(Place<'_>)) {
        self.with(|places| {
            let (place, is_new) = places.find(namespace);
            if is_new {
                self.begin(place);
            }
            count(place);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Places) -> T) -> T {
        act(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, place: Place<'_>) {
        self.reloads.begin(place);
        self.verdicts.begin(place);
    }

    fn end(&self, place: Place<'_>) {
        self.reloads.end(place);
        self.requests.end(place);
        self.verdicts.end(place);
    }
}

/// The namespaces that have series, and since when those without pods have none.
#[derive(Debug, Default)]
struct Places(BTreeMap<Name, Option<Time>>);

/// Which series come and go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Turnover {
    begun: Vec<Name>,
    over: Vec<Name>,
    /// Whether some namespaces with pods are counted together.
    others: bool,
}

impl Places {
    /// The place of a namespace, and whether its series are to begin.
    fn find<'a>(&mut self, namespace: &'a str) -> (Place<'a>, bool) {
        if self.0.contains_key(namespace) {
            return (Place(namespace), false);
        }
        if self.0.len() >= MOST {
            return (OTHERS, true);
        }
        self.0.insert(namespace.into(), None);
        (Place(namespace), true)
    }

    /// Takes in which namespaces have pods now. A new one has the place of whichever has had no pods for longest, and no one
    /// with pods loses its place.
    fn update(&mut self, live: &BTreeSet<Name>, now: Time) -> Turnover {
        let mut turnover = Turnover::default();
        for (name, gone) in &mut self.0 {
            *gone = if live.contains(name) { None } else { gone.or(Some(now)) };
        }
        let gone = self.0.iter().filter_map(|(name, gone)| gone.map(|gone| (gone, name.clone())));
        let mut gone: Vec<(Time, Name)> = gone.collect();
        gone.sort_unstable();
        let newcomers = live.iter().filter(|name| !self.0.contains_key(*name)).count();
        for (since, name) in gone {
            let is_full = self.0.len() + newcomers > MOST;
            let kept = if is_full { KEPT_AT_LEAST } else { KEPT };
            if now.since(since) < kept {
                break;
            }
            self.0.remove(&name);
            turnover.over.push(name);
        }
        for name in live {
            if self.0.contains_key(name) {
                continue;
            }
            if self.0.len() >= MOST {
                turnover.others = true;
                break;
            }
            self.0.insert(name.clone(), None);
            turnover.begun.push(name.clone());
        }
        turnover
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn names(prefix: &str, count: usize) -> BTreeSet<Name> {
        (0..count).map(|n| format!("{prefix}-{n:04}").into()).collect()
    }

    fn begun(name: &str) -> Turnover {
        Turnover { begun: vec![name.into()], ..Turnover::default() }
    }

    #[test]
    fn a_namespaces_series_outlive_its_last_pod_by_an_hour() {
        let (none, shop) = (BTreeSet::new(), BTreeSet::from([Name::from("shop")]));
        let mut places = Places::default();
        assert_eq!(places.update(&shop, at(0)), begun("shop"));
        assert_eq!(places.update(&none, at(10)), Turnover::default());
        assert_eq!(places.update(&none, at(3609)), Turnover::default());
        assert_eq!(places.update(&shop, at(3700)), Turnover::default(), "it came back");
        assert_eq!(places.update(&none, at(3800)), Turnover::default());
        let over = Turnover { over: vec!["shop".into()], ..Turnover::default() };
        assert_eq!(places.update(&none, at(7400)), over);
        assert_eq!(places.update(&none, at(9000)), Turnover::default());
        assert_eq!(places.update(&shop, at(9001)), begun("shop"));
    }

    #[test]
    fn whoever_is_gone_for_longest_gives_up_its_place_and_nobody_with_pods_does() {
        let mut places = Places::default();
        let mut live = names("live", MOST - 2);
        live.extend([Name::from("first"), Name::from("second")]);
        assert_eq!(places.update(&live, at(0)).begun.len(), MOST);
        live.remove("first");
        places.update(&live, at(10));
        live.remove("second");
        places.update(&live, at(20));
        live.insert("new".into());
        let waits = Turnover { others: true, ..Turnover::default() };
        assert_eq!(places.update(&live, at(129)), waits, "Prometheus may not have seen the last values");
        assert_eq!(places.find("new"), (OTHERS, true));
        let given = Turnover { begun: vec!["new".into()], over: vec!["first".into()], others: false };
        assert_eq!(places.update(&live, at(500)), given);
        assert_eq!(places.find("new"), (Place("new"), false));
        live.extend(names("newer", 300));
        let turnover = places.update(&live, at(5000));
        assert_eq!((turnover.over.as_slice(), turnover.begun.len()), ([Name::from("second")].as_slice(), 1));
        assert!(turnover.others);
        assert_eq!(places.find("live-0000"), (Place("live-0000"), false));
    }

    #[test]
    fn a_namespace_without_a_place_is_counted_with_others_and_then_by_itself_from_0_on() {
        let registry = Registry::new();
        let counted = ByNamespace::new(&registry).unwrap();
        let value = |place: Place<'_>, outcome: Outcome| counted.reloads.at(place, outcome).get();
        let mut live = names("live", MOST);
        live.insert("zoo".into());
        counted.update(&live, &BTreeSet::new(), at(0));
        counted.reload("zoo", Action::Signal, Outcome::Delivered);
        counted.reload("live-0001", Action::Signal, Outcome::Delivered);
        live.remove("live-0000");
        counted.update(&live, &BTreeSet::new(), at(10));
        counted.update(&live, &BTreeSet::new(), at(130));
        counted.reload("zoo", Action::Signal, Outcome::Delivered);
        assert_eq!(value(Place("zoo"), Outcome::Delivered), 1);
        assert_eq!(value(OTHERS, Outcome::Delivered), 1, "it never goes back");
        assert_eq!(value(Place("live-0001"), Outcome::Delivered), 1);
    }

    #[test]
    fn thousands_of_namespaces_in_an_hour_take_a_bounded_number_of_series_and_no_event_is_lost() {
        let registry = Registry::new();
        let counted = ByNamespace::new(&registry).unwrap();
        let series = || -> (usize, f64) {
            let found = registry.gather();
            let all = found.iter().flat_map(|family| family.get_metric());
            (all.clone().count(), all.map(|metric| metric.get_counter().get_value()).sum())
        };
        let (mut before, mut ended) = (0.0, 0.0);
        // Fewer of them have series of their own at a time than have had pods within two minutes.
        for round in 0..110 {
            let teams: Vec<Name> = (0..29).map(|n| format!("team-{round}-{n}").into()).collect();
            let live = teams.iter().cloned().chain([Name::from("shop")]).collect();
            counted.update(&live, &BTreeSet::new(), at(round * 32));
            let (count, kept) = series();
            assert!(count <= (MOST + 1) * (Outcome::ALL.len() + Verdict::ALL.len()), "{count}");
            ended += before - kept;
            for team in &teams {
                counted.reload(team, Action::Signal, Outcome::Delivered);
                counted.verdict("shop", Verdict::Reread);
            }
            before = series().1;
        }
        assert_eq!(before + ended, 2.0 * 3190.0);
        assert!(counted.reloads.at(OTHERS, Outcome::Delivered).get() > 100);
        assert_eq!(counted.verdicts.at(Place("shop"), Verdict::Reread).get(), 3190);
    }
}
