//! What the flags' values mean, and what is said of one that isn't allowed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reloadlet_core::model::names::is_subdomain;
use reloadlet_core::policy::duration;

/// A name that a node can have. With another one no pod would be found, and nobody would know why.
pub(super) fn node_name(text: &str) -> Result<String, String> {
    is_subdomain(text).then(|| text.to_owned()).ok_or_else(|| {
        "the name of a node is needed, of lower-case letters, digits, - and ., such as node-1.example.com"
            .to_owned()
    })
}

/// The longest spread: nobody who asks for acceleration wants to wait longer.
const LONGEST_SPREAD: Duration = Duration::from_secs(600);

pub(super) fn spread(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(spread) if spread <= LONGEST_SPREAD => Ok(spread),
        Ok(_) => Err("it is at most 10m".to_owned()),
        Err(error) => Err(format!("{error} is needed")),
    }
}

/// Where a kubelet serves its API unless it is told otherwise.
const KUBELET_PORT: u16 = 10250;

/// An address as a pod's `status.hostIP` gives it, or with a port.
pub(super) fn kubelet_address(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, KUBELET_PORT));
    alone.or_else(|_has_port| text.parse()).map_err(|_unspecific| {
        "an IP address is needed, such as 192.0.2.1 or 2001:db8::1, or one with a port, such as [2001:db8::1]:10250"
            .to_owned()
    })
}
