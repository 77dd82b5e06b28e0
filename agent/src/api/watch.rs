//! One kind of object on the API server: listed, then watched, for as long as the agent runs. Whatever the server answers,
//! it is asked again within half a minute, not much more often than it bears, and what is wrong is said once.

use std::time::Duration;

use futures_util::{Stream, stream};
use kube::core::{WatchEvent, params::ListParams, params::WatchParams};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use self::requests::{Lines, Page, list, watch};
use super::backoff::{Backoff, chances, share};
use super::cluster::Cluster;
use super::trouble::{Saying, Trouble};
use crate::clock;
use crate::contact::Resource;

pub(crate) mod requests;

/// Within which agents that start together list for the first time. A reload in the first second after a start waits for
/// nobody but the pods' list, so it is short; what is still too much for an API server it answers with 429.
const SPREAD: Duration = Duration::from_secs(1);
/// How long a watch must have lasted for its end to be an ordinary one. API servers end them after minutes.
const LIVED: Duration = Duration::from_secs(10);
/// How many objects a page has at most, whatever was asked for.
const MOST_LISTED: usize = 10_000;
/// How many tries in a row may fail to get a further page, before the list is begun anew: its token may mean nothing to the
/// server that answers by now.
const TRIES_OF_A_PAGE: usize = 5;

/// What is followed.
pub(crate) struct Followed {
    /// The API server that is asked.
    pub(crate) cluster: Cluster,
    /// Its name in the record of contact.
    pub(crate) resource: Resource,
    /// Where the objects are, as `/api/v1/pods`.
    pub(crate) path: String,
    /// How much of each is sent.
    pub(crate) form: Form,
    /// The field selector.
    pub(crate) fields: String,
    /// How many objects the API server sends at a time; fewer where they are huge.
    pub(crate) page: u32,
    /// How many objects, and how many pages, a list has at most.
    pub(crate) most: usize,
    /// How long it takes at most, from its first page to its last.
    pub(crate) longest: Duration,
}

/// How much of an object is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it.
    Whole,
    /// Its metadata, without its content.
    Metadata,
}

/// An object that is followed.
pub(crate) trait Versioned: DeserializeOwned {
    /// Its `resourceVersion`.
    fn version(&self) -> Option<&str>;
}

/// Follows it. Dropping a wait for the next event loses nothing, and the stream never ends.
pub(crate) fn follow<K>(followed: Followed) -> impl Stream<Item = Event<K>>
where
    K: Versioned,
{
    followed.cluster.contact().wanted(followed.resource, clock::now());
    stream::unfold(Follower::new(followed), |mut follower| async {
        let event = follower.next().await;
        Some((event, follower))
    })
}

/// How far it is.
enum State<K> {
    /// The next thing is a list.
    Start,
    /// A list is on its way.
    Listing(Listing<K>),
    /// Everything is known up to this version.
    Listed(String),
    /// The server tells what changes after this version.
    Watching { version: String, lines: Lines, since: Instant },
}

struct Listing<K> {
    /// What is left of the last page.
    objects: std::vec::IntoIter<K>,
    /// Where the next page begins. Without one, and with a version, that was the last page.
    token: Option<String>,
    version: Option<String>,
    listed: usize,
    pages: usize,
    /// How often in a row the next page couldn't be had.
    failed: usize,
    begun: Instant,
}

impl<K> Listing<K> {
    fn new() -> Self {
        let objects = Vec::new().into_iter();
        Self { objects, token: None, version: None, listed: 0, pages: 0, failed: 0, begun: Instant::now() }
    }

    /// Whether a further page is better asked for by another list.
    fn is_hopeless(&self, trouble: &Trouble) -> bool {
        self.token.is_some() && (trouble.is_refusal_of_the_request() || self.failed >= TRIES_OF_A_PAGE)
    }
}

struct Follower<K> {
    followed: Followed,
    state: State<K>,
    page: u32,
    /// Of what was asked with last.
    revision: u64,
    /// Between requests that fail.
    requests: Backoff,
    /// Between watches, and lists, that are needed since the last watch ended.
    ends: Backoff,
    saying: Saying,
    started: bool,
}

/// Nobody wants to hear of it any more.
impl<K> Drop for Follower<K> {
    fn drop(&mut self) {
        self.followed.cluster.contact().unused(self.followed.resource);
    }
}

impl<K> Follower<K>
where
    K: Versioned,
{
    fn new(followed: Followed) -> Self {
        let page = followed.page;
        Self {
            followed,
            state: State::Start,
            page,
            revision: 0,
            requests: Backoff::new(),
            ends: Backoff::new(),
            saying: Saying::default(),
            started: false,
        }
    }

    async fn next(&mut self) -> Event<K> {
        if !std::mem::replace(&mut self.started, true) {
            tokio::time::sleep(share(SPREAD, chances())).await;
        }
        loop {
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(trouble) => self.wait(trouble).await,
            }
        }
    }

    /// One step: maybe there is an event afterwards. After an error the state is the one to go on from.
    async fn step(&mut self) -> Result<Option<Event<K>>, Trouble> {
        match std::mem::replace(&mut self.state, State::Start) {
            State::Start => {
                self.state = State::Listing(Listing::new());
                Ok(Some(Event::Init))
            }
            State::Listing(mut listing) => {
                if let Some(object) = listing.objects.next() {
                    self.state = State::Listing(listing);
                    return Ok(Some(Event::InitApply(object)));
                }
                match (&listing.token, listing.version.take()) {
                    (None, Some(version)) => {
                        self.state = State::Listed(version);
                        Ok(Some(Event::InitDone))
                    }
                    (_, _) => self.list(listing).await.map(|()| None),
                }
            }
            State::Listed(version) => self.watch(version).await.map(|()| None),
            State::Watching { version, mut lines, since } => {
                match tokio::time::timeout(super::SILENCE, lines.next()).await {
                    Ok(Ok(Some(line))) => self.take(&line, version, lines, since),
                    Ok(Ok(None)) => Err(self.ended(version, since, Trouble::Ended)),
                    Ok(Err(trouble)) => Err(self.ended(version, since, trouble)),
                    Err(_elapsed) => Err(self.ended(version, since, Trouble::Silent(super::SILENCE))),
                }
            }
        }
    }

    /// Fetches the next page.
    async fn list(&mut self, mut listing: Listing<K>) -> Result<(), Trouble> {
        let params = ListParams {
            field_selector: Some(self.followed.fields.clone()),
            limit: Some(self.page),
            continue_token: listing.token.clone(),
            ..ListParams::default()
        };
        let page = match self.list_page(&params).await {
            Ok(page) => page,
            Err(Trouble::TooLarge) if self.page > 1 => {
                self.page /= 2;
                self.state = State::Listing(listing);
                return Ok(());
            }
            Err(trouble) => {
                listing.failed += 1;
                // The pages that were to come are gone, or the token isn't known any more.
                if !trouble.is_gone() && !listing.is_hopeless(&trouble) {
                    self.state = State::Listing(listing);
                }
                return Err(trouble);
            }
        };
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        listing.version = page.metadata.resource_version.filter(|version| !version.is_empty());
        listing.pages += 1;
        listing.failed = 0;
        listing.listed += page.objects.len();
        if token.is_none() && listing.version.is_none() {
            return Err(Trouble::Garbage("it is no list with a version".to_owned()));
        }
        let stuck = token.is_some() && token == listing.token;
        let long = listing.begun.elapsed() > self.followed.longest;
        if stuck || long || listing.listed.max(listing.pages) > self.followed.most {
            return Err(Trouble::Endless);
        }
        self.requests.succeeded();
        // What was heard of the resource is a list as a whole: pages alone can go on for ever.
        if token.is_none() {
            self.heard();
            self.saying.answered(self.followed.resource);
        }
        listing.token = token;
        listing.objects = page.objects.into_iter();
        self.state = State::Listing(listing);
        Ok(())
    }

    async fn list_page(&mut self, params: &ListParams) -> Result<Page<K>, Trouble> {
        let client = self.client();
        list(client, &self.followed.path, self.followed.form, params).await
    }

    /// Begins to watch.
    async fn watch(&mut self, version: String) -> Result<(), Trouble> {
        let params = WatchParams::default().fields(&self.followed.fields);
        let client = self.client();
        let watched = watch(client, &self.followed.path, self.followed.form, &params, &version).await;
        self.state = match watched {
            Ok(lines) => {
                self.requests.succeeded();
                self.followed.cluster.contact().up(self.followed.resource, clock::now());
                State::Watching { version, lines, since: Instant::now() }
            }
            // A server that doesn't know the version, or never knew it, is listed.
            Err(trouble) if trouble.is_gone() || trouble.is_about_the_request() => return Err(trouble),
            Err(trouble) => {
                self.state = State::Listed(version);
                return Err(trouble);
            }
        };
        Ok(())
    }

    /// Takes what the server says on a watch.
    fn take(
        &mut self,
        line: &[u8],
        version: String,
        lines: Lines,
        since: Instant,
    ) -> Result<Option<Event<K>>, Trouble> {
        let said: WatchEvent<K> = match serde_json::from_slice(line) {
            Ok(said) => said,
            Err(error) => return Err(self.ended(version, since, Trouble::garbage(&error))),
        };
        let (event, newer) = match said {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let newer = object.version().map(str::to_owned);
                (Some(Event::Apply(object)), newer)
            }
            WatchEvent::Deleted(object) => {
                let newer = object.version().map(str::to_owned);
                (Some(Event::Delete(object)), newer)
            }
            WatchEvent::Bookmark(bookmark) => (None, Some(bookmark.metadata.resource_version)),
            WatchEvent::Error(status) => return Err(self.ended(version, since, Trouble::from(*status))),
        };
        self.heard();
        if since.elapsed() >= LIVED {
            self.saying.answered(self.followed.resource);
        }
        // Without one the watch goes on all the same, and the next one begins a little earlier.
        let version = newer.filter(|newer| !newer.is_empty()).unwrap_or(version);
        self.state = State::Watching { version, lines, since };
        Ok(event)
    }

    /// A watch is over: the next one goes on from its version, or the server is listed.
    fn ended(&mut self, version: String, since: Instant, trouble: Trouble) -> Trouble {
        let lasted = since.elapsed();
        if lasted >= LIVED {
            self.ends.succeeded();
        }
        if !trouble.is_gone() && !trouble.is_about_the_request() {
            self.state = State::Listed(version);
        }
        Trouble::Watch { lasted, trouble: Box::new(trouble) }
    }

    /// After a failure: says what is to be said, and waits.
    async fn wait(&mut self, trouble: Trouble) {
        let retry_after = trouble.retry_after();
        let backoff = if trouble.needs_another_list() || trouble.is_of_a_watch() {
            &mut self.ends
        } else {
            &mut self.requests
        };
        let pause = backoff.failed(retry_after, chances());
        if trouble.is_ordinary_end(LIVED) {
            tracing::trace!(
                resource = self.followed.resource.as_str(),
                "a watch ended, and another one begins"
            );
        } else {
            self.followed.cluster.contact().down(self.followed.resource);
            self.saying.failed(self.followed.resource, &trouble, Instant::now());
        }
        if trouble.may_be_the_configuration() {
            self.followed.cluster.renew(self.revision).await;
        }
        tokio::time::sleep(pause).await;
    }

    /// The server has given a real answer.
    fn heard(&mut self) {
        self.requests.succeeded();
        self.followed.cluster.contact().heard(self.followed.resource, clock::now());
    }

    fn client(&mut self) -> kube::Client {
        let connection = self.followed.cluster.current();
        self.revision = connection.revision;
        connection.client
    }
}

#[cfg(test)]
mod tests;
