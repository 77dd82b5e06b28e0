//! Which host a request is for. A web page can have its own name point at 127.0.0.1 and then read what a browser on this
//! machine gets from there (DNS rebinding); the name in the request is still the page's.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;

/// Why a request isn't answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It doesn't name exactly one host.
    Unclear,
    /// It names a host that isn't a loopback one.
    Foreign,
}

/// Whether a request is for a loopback host by each name that it gives: in the header `Host`, which there must be, and in
/// its target where that is a whole URL.
pub(super) fn loopback_only<B>(request: &Request<B>) -> Result<(), Refused> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Refused::Unclear) };
    let host = Authority::try_from(host.as_bytes()).map_err(|_invalid| Refused::Unclear)?;
    if is_loopback(&host) && request.uri().authority().is_none_or(is_loopback) {
        Ok(())
    } else {
        Err(Refused::Foreign)
    }
}

fn is_loopback(authority: &Authority) -> bool {
    // A user's name is no part of a host, and nobody sends one here.
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    let bracketed = || {
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        address.is_some_and(|address| address.to_canonical().is_loopback())
    };
    host.eq_ignore_ascii_case("localhost") || address() || bracketed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, hosts: &[&str]) -> Result<(), Refused> {
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        loopback_only(&request.body(()).unwrap())
    }

    #[test]
    fn loopback_names_are_answered_with_any_port() {
        for host in [
            "localhost",
            "LocalHost:9848",
            "localhost:1",
            "127.0.0.1",
            "127.0.0.1:9848",
            "127.9.8.7:80",
            "[::1]",
            "[::1]:9848",
            "[::ffff:127.0.0.1]:9848",
        ] {
            assert_eq!(asked("/status", &[host]), Ok(()), "{host}");
            assert_eq!(asked(&format!("http://{host}/status"), &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn every_other_name_is_refused() {
        for host in [
            "evil.example",
            "evil.example:9848",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.localhost",
            "10.0.0.5:9848",
            "0.0.0.0:9848",
            "[::]:9848",
            "[fd00::1]",
            "2130706433",
            "0x7f.0.0.1",
            "127.1",
            "localhost@evil.example",
            "evil@localhost",
        ] {
            assert_eq!(asked("/status", &[host]), Err(Refused::Foreign), "{host}");
            // A loopback name in one place excuses no other in the other.
            assert_eq!(
                asked(&format!("http://{host}/status"), &["localhost"]),
                Err(Refused::Foreign),
                "{host}"
            );
        }
        assert_eq!(asked("http://localhost/status", &["evil.example"]), Err(Refused::Foreign));
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        for hosts in [&[][..], &[""], &["localhost", "localhost"], &["localhost", "evil.example"], &["a b"]] {
            assert_eq!(asked("/status", hosts), Err(Refused::Unclear), "{hosts:?}");
        }
        assert_eq!(asked("http://localhost/status", &[]), Err(Refused::Unclear));
    }
}
