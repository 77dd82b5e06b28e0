//! A request as an annotation writes it: to which port of its own pod, and for what.

use std::time::Duration;

use crate::model::closed::Closed as _;
use crate::model::means::{Method, Request, Scheme};
use crate::model::names::Name;
use crate::model::pod::{Container, Port};
use crate::model::shown::{listed, quoted};

/// What may be written, for sentences about values that are not.
pub const ALLOWED: &str = "[METHOD ]:PORT/PATH, as POST :9090/-/reload: a METHOD out of GET, PATCH, POST and PUT (POST without one), \
                           a PORT by its number or by its name in the container, and a PATH of at most 1024 characters, those \
                           that a URL can't hold percent-encoded";

/// The longest path, in bytes.
const LONGEST_PATH: usize = 1024;
/// The longest name of a port (Kubernetes `IsValidPortName`).
const LONGEST_NAME: usize = 15;
/// How long a request may take if the pod doesn't say.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a pod may let it take.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A request that a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    method: Method,
    port: Which,
    path: Name,
}

/// The port that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Number(u16),
    Named(Name),
}

impl Asked {
    /// Reads `:9090/-/reload`, `PUT :admin/reload` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let (method, place) = match text.split_once(' ') {
            Some((method, place)) => (Method::parse(&method.to_ascii_uppercase())?, place),
            None => (Method::Post, text),
        };
        let place = place.strip_prefix(':')?;
        let (port, path) = place.split_at_checked(place.find('/')?)?;
        (path.len() <= LONGEST_PATH && path.bytes().all(is_in_path)).then_some(())?;
        Some(Self { method, port: Which::parse(port)?, path: path.into() })
    }

    /// The request to a container, which must declare the port: whoever writes an annotation may not have anybody else's server
    /// asked that shares the pod's address. Else a sentence about that, without its subject.
    pub fn to(&self, container: &Container, scheme: Scheme, timeout: Duration) -> Result<Request, String> {
        let Some(port) = container.ports.iter().find(|port| self.port.is(port)) else {
            let asked = match &self.port {
                Which::Number(number) => number.to_string(),
                Which::Named(name) => quoted(name),
            };
            let ports: Vec<String> = container.ports.iter().map(Port::written).collect();
            let declared = match &*ports {
                [] => String::from("it declares no TCP port"),
                ports => format!("it declares {}", listed(ports.iter().map(|port| &**port))),
            };
            let name = quoted(&container.name);
            return Err(format!(
                "port {asked}, which container {name} doesn't declare in its ports: {declared}"
            ));
        };
        let Self { method, path, .. } = self;
        Ok(Request { method: *method, scheme, port: port.number, path: path.clone(), timeout })
    }
}

impl Which {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit())
        {
            let number = text.parse().ok().filter(|number| *number > 0);
            return number.filter(|_| !text.starts_with('0')).map(Self::Number);
        }
        let is_name = (1..=LONGEST_NAME).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && text.bytes().any(|b| b.is_ascii_lowercase());
        is_name.then(|| Self::Named(text.into()))
    }

    fn is(&self, port: &Port) -> bool {
        match self {
            Self::Number(number) => port.number == *number,
            Self::Named(name) => port.name.as_ref() == Some(name),
        }
    }
}

/// Whether a URL can hold it in its path or query (RFC 3986, appendix A).
fn is_in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn container(ports: &[(&str, u16)]) -> Container {
        let port = |(name, number): &(&str, u16)| Port {
            name: (!name.is_empty()).then(|| (*name).into()),
            number: *number,
        };
        Container { name: "app".into(), ports: ports.iter().map(port).collect(), ..Container::default() }
    }

    fn to(text: &str, container: &Container) -> Result<String, String> {
        let asked = Asked::parse(text).unwrap();
        asked.to(container, Scheme::Http, TIMEOUT).map(|request| request.to_string())
    }

    #[test]
    fn requests_are_read() {
        let app = container(&[("", 9090), ("admin", 9901)]);
        for (text, request) in [
            (":9090/-/reload", "POST :9090/-/reload"),
            ("PUT :admin/reload?now=1", "PUT :9901/reload?now=1"),
            ("get :9901//a%20b", "GET :9901//a%20b"),
            ("PATCH :9090/", "PATCH :9090/"),
        ] {
            assert_eq!(to(text, &app).as_deref(), Ok(request));
        }
        for text in [
            "",
            "/",
            "9090/-/reload",
            ":9090",
            ":/-/reload",
            ":0/",
            ":09090/",
            ":65536/",
            ":-1/",
            ":Admin/",
            ":a-name-too-long-for-a-port/",
            ":10.0.0.1:9090/",
            "http://10.0.0.1:9090/",
            "10.0.0.1:9090/",
            ":9090@10.0.0.1/",
            "DELETE :9090/",
            "CONNECT :9090/",
            "POST  :9090/",
            "POST:9090/",
            " :9090/",
            ":9090/a b",
            ":9090/a\r\nHost: b",
            ":9090/a#b",
            ":9090/ü",
            ":9090/\0",
        ] {
            assert_eq!(Asked::parse(text), None, "{text:?}");
        }
        assert!(Asked::parse(&format!(":9090/{}", "a".repeat(1023))).is_some());
        assert_eq!(Asked::parse(&format!(":9090/{}", "a".repeat(1024))), None);
    }

    #[test]
    fn a_port_that_the_container_doesnt_declare_isnt_asked() {
        let sentence = |text: &str, ports: &[(&str, u16)]| to(text, &container(ports)).unwrap_err();
        assert_eq!(
            sentence(":15000/quitquitquit", &[("web", 8080), ("", 9090)]),
            "port 15000, which container \"app\" doesn't declare in its ports: it declares \"8080 (web)\" and \"9090\""
        );
        assert_eq!(
            sentence(":admin/", &[]),
            "port \"admin\", which container \"app\" doesn't declare in its ports: it declares no TCP port"
        );
        assert!(to(":8080/", &container(&[("", 8080), ("again", 8080)])).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_written_a_request_line_can_hold_it(text in "\\PC{0,40}|(POST )?:[0-9]{1,6}/[ -~]{0,30}") {
            if let Some(asked) = Asked::parse(&text) {
                prop_assert!(asked.path.starts_with('/') && asked.path.bytes().all(|b| b.is_ascii_graphic() && b != b'#'));
            }
        }
    }
}
