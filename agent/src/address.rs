//! Addresses that flags and the environment name.

use std::net::SocketAddr;

/// An address of a flag.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_unspecific| {
        "an IP address and a port are needed, such as [::]:9847 or 127.0.0.1:9848".to_owned()
    })
}
