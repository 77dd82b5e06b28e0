//! What can be wrong with the API server's answers, and what is said of it.

use std::error::Error;
use std::time::Duration;

use hyper::StatusCode;
use kube::core::Status;
use tokio::time::Instant;

use super::short;
use crate::contact::Resource;
use crate::logs::Causes;

/// How often the same thing is said again while it lasts.
const SAID_EVERY: Duration = Duration::from_secs(600);

/// How large a page, or what a watch says of one object, may be. An object has 1.5 MB at most in etcd, and six times that
/// where each of its characters is written as an escape.
pub(crate) const LARGEST: usize = 16 << 20;

/// Why there is no news.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// No connection, no trust, or the connection broke.
    #[error("it can't be reached")]
    Unreached(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing came for so long.
    #[error("it says nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("it answers {status}: {message}")]
    Refused { status: StatusCode, message: String, retry_after: Option<Duration> },
    #[error("an answer of it has more than {LARGEST} bytes")]
    TooLarge,
    #[error("its answer can't be understood: {0}")]
    Garbage(String),
    #[error("its list doesn't end")]
    Endless,
    /// A watch came to its end.
    #[error("it ends a watch")]
    Ended,
    /// Something that happened on a watch that had lasted so long.
    #[error("{trouble}")]
    Watch {
        lasted: Duration,
        #[source]
        trouble: Box<Trouble>,
    },
}

impl Trouble {
    pub(crate) fn garbage(error: &serde_json::Error) -> Self {
        Self::Garbage(short(&error.to_string()))
    }

    /// What was asked for, from that version or page on, isn't there any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.status() == Some(StatusCode::GONE)
    }

    /// The server doesn't like what it is asked, or can't answer it: another question may do. It isn't that it has too much to
    /// do.
    pub(crate) fn is_about_the_request(&self) -> bool {
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        match self.cause() {
            Self::Refused { status, .. } => !busy.contains(status),
            Self::Garbage(_) | Self::TooLarge => true,
            Self::Unreached(_) | Self::Silent(_) | Self::Endless | Self::Ended | Self::Watch { .. } => false,
        }
    }

    /// The server understands what it is asked and refuses it: the same question has the same answer.
    pub(crate) fn is_refusal_of_the_request(&self) -> bool {
        let about_others = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
        match self.cause() {
            Self::Refused { status, .. } => status.is_client_error() && !about_others.contains(status),
            Self::Garbage(_) => true,
            Self::Unreached(_)
            | Self::Silent(_)
            | Self::TooLarge
            | Self::Endless
            | Self::Ended
            | Self::Watch { .. } => false,
        }
    }

    /// The list begins anew, though all requests for it may have been answered.
    pub(crate) fn needs_another_list(&self) -> bool {
        self.is_gone() || matches!(self, Self::Endless)
    }

    pub(crate) const fn is_of_a_watch(&self) -> bool {
        matches!(self, Self::Watch { .. })
    }

    /// A watch ended as watches do.
    pub(crate) fn is_ordinary_end(&self, after: Duration) -> bool {
        matches!(self, Self::Watch { lasted, trouble } if *lasted >= after && matches!(**trouble, Self::Ended))
    }

    /// Another authority, other credentials or another address may help.
    pub(crate) fn may_be_the_configuration(&self) -> bool {
        matches!(self.cause(), Self::Unreached(_) | Self::Silent(_))
            || self.status() == Some(StatusCode::UNAUTHORIZED)
    }

    /// How long the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if let Self::Refused { retry_after, .. } = self.cause() { *retry_after } else { None }
    }

    /// What it answered, if it did and refused.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        if let Self::Refused { status, .. } = self.cause() { Some(*status) } else { None }
    }

    fn cause(&self) -> &Self {
        if let Self::Watch { trouble, .. } = self { trouble } else { self }
    }
}

/// What the server says instead of an event.
impl From<Status> for Trouble {
    fn from(said: Status) -> Self {
        let asked = said.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        Self::Refused {
            status: StatusCode::from_u16(said.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            message: short(&said.message),
            retry_after: (asked > 0).then(|| Duration::from_secs(asked.into())),
        }
    }
}

/// What was said of it, so that it isn't said again and again.
#[derive(Debug, Default)]
pub(crate) struct Saying {
    said: Option<(String, Instant)>,
}

impl Saying {
    /// Says what is wrong, unless that was said lately.
    pub(crate) fn failed(&mut self, resource: Resource, trouble: &Trouble, now: Instant) {
        let reason = Causes(trouble).to_string();
        if self.is_news(&reason, now) {
            tracing::warn!(
                error = reason,
                "the API server doesn't tell of {}: what is known is served on",
                resource.as_str()
            );
            self.said = Some((reason, now));
        } else {
            tracing::debug!(error = reason, "the API server doesn't tell of {} yet", resource.as_str());
        }
    }

    /// Says that it answers again, if something else was said.
    pub(crate) fn answered(&mut self, resource: Resource) {
        if self.said.take().is_some() {
            tracing::info!("the API server tells of {} again", resource.as_str());
        }
    }

    fn is_news(&self, reason: &str, now: Instant) -> bool {
        self.said.as_ref().is_none_or(|(said, at)| said != reason || now.duration_since(*at) >= SAID_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_trouble_is_said_every_ten_minutes_and_another_one_at_once() {
        let mut saying = Saying::default();
        let start = Instant::now();
        let said = |saying: &Saying, minutes: u64| {
            let Some((reason, at)) = &saying.said else { return None };
            (*at == start + Duration::from_secs(60 * minutes)).then(|| reason.clone())
        };
        for minute in 0..=10 {
            saying.failed(Resource::Pods, &Trouble::Endless, start + Duration::from_secs(60 * minute));
            let last = if minute < 10 { 0 } else { 10 };
            assert_eq!(said(&saying, last).as_deref(), Some("its list doesn't end"), "{minute}");
        }
        saying.failed(Resource::Pods, &Trouble::TooLarge, start + Duration::from_secs(660));
        assert!(said(&saying, 11).unwrap().contains("bytes"));
        saying.answered(Resource::Pods);
        assert!(saying.said.is_none());
    }
}
