//! What the metrics of both commands have in common.

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntGauge, Opts, Registry, TextEncoder};

use super::contact::ContactCollector;
use super::process::ProcessCollector;
use crate::contact::Contact;

/// A registry with what every process of the program says of itself. The agent's have no label `command`.
pub(crate) fn registry(command: Option<&str>) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let mut options = Opts::new("reloadlet_build_info", "The running version; always 1.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    if let Some(command) = command {
        options = options.const_label("command", command);
    }
    let build_info = Gauge::with_opts(options)?;
    build_info.set(1.0);
    register(&registry, build_info)?;
    register(&registry, ProcessCollector::new("/proc".into())?)?;
    Ok(registry)
}

/// Has what the API server says in the registry.
pub(crate) fn follow_contact(registry: &Registry, contact: Contact) -> Result<(), prometheus::Error> {
    register(registry, ContactCollector::new(contact)?).map(drop)
}

/// All of it in Prometheus' text format, version 0.0.4.
pub(crate) fn encode(registry: &Registry) -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// A metric that is in the registry.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// A gauge that is in the registry.
pub(crate) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    register(registry, IntGauge::new(name, help)?)
}

/// A histogram that is in the registry, with these bounds.
pub(crate) fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    bounds: &[f64],
) -> Result<Histogram, prometheus::Error> {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))?)
}

/// Sets a gauge to a count.
pub(crate) fn set(gauge: &IntGauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}
