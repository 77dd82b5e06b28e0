//! What the API server says, as metrics: read from the record at each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};

use crate::clock;
use crate::contact::{Contact, Resource, WatchState};

/// These metrics. A resource of which nothing is wanted has no series.
#[derive(Clone)]
pub(super) struct ContactCollector {
    contact: Contact,
    up: IntGaugeVec,
    last: GaugeVec,
    requests: IntCounterVec,
}

impl ContactCollector {
    pub(super) fn new(contact: Contact) -> Result<Self, prometheus::Error> {
        Ok(Self {
            contact,
            up: IntGaugeVec::new(
                Opts::new(
                    "reloadlet_watch_up",
                    "1 while the API server answers the watch of a resource, else 0.",
                ),
                &["resource"],
            )?,
            last: GaugeVec::new(
                Opts::new(
                    "reloadlet_last_contact_seconds",
                    "Seconds since the API server last said something of a resource that is watched.",
                ),
                &["resource"],
            )?,
            requests: IntCounterVec::new(
                Opts::new(
                    "reloadlet_api_requests_total",
                    "Requests to the API server, by the code of the answer.",
                ),
                &["code"],
            )?,
        })
    }

    fn refresh(&self) {
        for resource in Resource::ALL {
            let (watch, name) = (self.contact.watch(resource), resource.as_str());
            let up = match watch.state {
                WatchState::Unused => {
                    // An error says that there was no such series.
                    drop(self.up.remove_label_values(&[name]));
                    drop(self.last.remove_label_values(&[name]));
                    continue;
                }
                WatchState::Down => 0,
                WatchState::Up => 1,
            };
            self.up.with_label_values(&[name]).set(up);
            self.last.with_label_values(&[name]).set(clock::now().since(watch.last).as_secs_f64());
        }
        for (code, count) in self.contact.requests() {
            let counter = self.requests.with_label_values(&[&*code]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    fn metrics(&self) -> [&dyn Collector; 3] {
        [&self.up, &self.last, &self.requests]
    }
}

impl Collector for ContactCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}
