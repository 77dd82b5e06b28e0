//! What every process of the program says of itself, whichever command it runs.

use prometheus::{Gauge, Opts, Registry, TextEncoder};

use super::common::register;
use super::contact::ContactCollector;
use super::process::ProcessCollector;
use crate::contact::Contact;

/// A registry with what every process of the program says of itself. The agent's have no label `command`.
pub(crate) fn new(command: Option<&str>) -> Result<Registry, prometheus::Error> {
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
