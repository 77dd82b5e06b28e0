//! Families of metrics by one label, whose values are a closed set: no other value can be given to them.

use std::marker::PhantomData;

use prometheus::core::{Atomic, GenericCounterVec, GenericGaugeVec, MetricVec, MetricVecBuilder};
use prometheus::{Opts, Registry};
use reloadlet_core::model::closed::Closed;

use super::common::register;

/// A family. It begins with no series.
#[derive(Clone)]
pub(crate) struct Family<C, V> {
    metrics: V,
    values: PhantomData<fn(C)>,
}

impl<C: Closed, P: Atomic> Family<C, GenericGaugeVec<P>> {
    /// Gauges by this label.
    pub(crate) fn gauges(name: &str, help: &str, label: &str) -> Result<Self, prometheus::Error> {
        let metrics = GenericGaugeVec::new(Opts::new(name, help), &[label])?;
        Ok(Self { metrics, values: PhantomData })
    }
}

impl<C: Closed, P: Atomic> Family<C, GenericCounterVec<P>> {
    /// Counters by this label.
    pub(crate) fn counters(name: &str, help: &str, label: &str) -> Result<Self, prometheus::Error> {
        let metrics = GenericCounterVec::new(Opts::new(name, help), &[label])?;
        Ok(Self { metrics, values: PhantomData })
    }
}

impl<C: Closed, B: MetricVecBuilder + 'static> Family<C, MetricVec<B>> {
    /// The same with a series for each value from the start, in the registry.
    pub(crate) fn complete(self, registry: &Registry) -> Result<Self, prometheus::Error> {
        for value in C::all() {
            self.metrics.get_metric_with_label_values(&[value.word()])?;
        }
        register(registry, self.metrics.clone())?;
        Ok(self)
    }

    /// The metric of a value, whose series begins with that.
    pub(crate) fn of(&self, value: C) -> B::M {
        self.metrics.with_label_values(&[value.word()])
    }

    /// The value has no series any more.
    pub(crate) fn end(&self, value: C) {
        // An error says that there was no such series.
        drop(self.metrics.remove_label_values(&[value.word()]));
    }

    /// All of its metrics.
    pub(crate) const fn metrics(&self) -> &MetricVec<B> {
        &self.metrics
    }
}
