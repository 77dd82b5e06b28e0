//! By what a container is told of a change.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::closed::closed_set;
use crate::model::names::Name;
use crate::model::signal::Signal;

/// How much of a path sentences show, in bytes.
const SHOWN: usize = 128;

/// By what a container is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// Its processes are sent a signal.
    Signal(Signal),
    /// A request is made to its pod.
    Http(Arc<Request>),
}

closed_set! {
    /// The methods that a request can have: those of which servers expect that something is done.
    pub enum Method {
        /// `GET`.
        Get => "GET",
        /// `PATCH`.
        Patch => "PATCH",
        /// `POST`.
        Post => "POST",
        /// `PUT`.
        Put => "PUT",
    }
}

closed_set! {
    /// How a request is made.
    pub enum Scheme {
        /// In plain text.
        Http => "http",
        /// By TLS, whatever certificate the server has: its identity is the pod's address, as for the kubelet's probes.
        Https => "https",
    }
}

/// A request to a pod's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// How it is made.
    pub scheme: Scheme,
    /// A port that the container declares.
    pub port: u16,
    /// The path, with the query if there is one: ASCII that a request line can hold.
    pub path: Name,
    /// How long connecting and answering may take together.
    pub timeout: Duration,
}

impl Means {
    /// The signal, if it is one.
    pub const fn signal(&self) -> Option<Signal> {
        match self {
            Self::Signal(signal) => Some(*signal),
            Self::Http(_) => None,
        }
    }

    /// The request, if it is one.
    pub const fn request(&self) -> Option<&Arc<Request>> {
        match self {
            Self::Signal(_) => None,
            Self::Http(request) => Some(request),
        }
    }
}

impl From<Signal> for Means {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Http(request) => request.fmt(f),
        }
    }
}

impl fmt::Display for Request {
    /// As in the annotation: `POST :9090/-/reload`; a long path is cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} :{}", self.method.as_str(), self.port)?;
        match self.path.get(..SHOWN) {
            Some(begin) if self.path.len() > SHOWN => write!(f, "{begin}…")?,
            Some(_) | None => f.write_str(&self.path)?,
        }
        match self.scheme {
            Scheme::Http => Ok(()),
            Scheme::Https => f.write_str(" (https, any certificate)"),
        }
    }
}
