//! What is known: the document at `/status`, and the command that shows it.

use reloadlet_core::Time;
use reloadlet_core::machine::status::PodStatus;

use crate::contact::Contact;
use crate::health::Health;

mod columns;
pub(crate) mod command;
pub(crate) mod controller;
mod document;
mod table;
mod watches;

/// The document as JSON: of the node with this name, if it has one.
pub(crate) fn document(
    node: Option<&str>,
    pods: Vec<PodStatus>,
    health: &Health,
    contact: &Contact,
    now: Time,
) -> Result<String, serde_json::Error> {
    serde_json::to_string(&document::Document::new(node, pods, health, contact, now))
}
