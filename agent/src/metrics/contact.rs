//! What the API server says, as metrics: read from the record at each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::family::Family;
use crate::clock;
use crate::contact::{Code, Contact, Resource, WatchState};

/// These metrics. A resource of which nothing is wanted has no series.
#[derive(Clone)]
pub(super) struct ContactCollector {
    contact: Contact,
    up: Family<Resource, IntGaugeVec>,
    last: Family<Resource, GaugeVec>,
    requests: Family<Code, IntCounterVec>,
}

impl ContactCollector {
    pub(super) fn new(contact: Contact) -> Result<Self, prometheus::Error> {
        Ok(Self {
            contact,
            up: Family::gauges(
                "reloadlet_watch_up",
                "1 while the API server answers the watch of a resource, else 0.",
                "resource",
            )?,
            last: Family::gauges(
                "reloadlet_last_contact_seconds",
                "Seconds since the API server last said something of a resource that is watched.",
                "resource",
            )?,
            requests: Family::counters(
                "reloadlet_api_requests_total",
                "Requests to the API server, by the code of the answer.",
                "code",
            )?,
        })
    }

    fn refresh(&self) {
        for resource in Resource::ALL {
            let watch = self.contact.watch(resource);
            let up = match watch.state {
                WatchState::Unused => {
                    self.up.end(resource);
                    self.last.end(resource);
                    continue;
                }
                WatchState::Down => 0,
                WatchState::Up => 1,
            };
            self.up.of(resource).set(up);
            self.last.of(resource).set(clock::now().since(watch.last).as_secs_f64());
        }
        for (code, count) in self.contact.requests() {
            let counter = self.requests.of(code);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    fn metrics(&self) -> [&dyn Collector; 3] {
        [self.up.metrics(), self.last.metrics(), self.requests.metrics()]
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
