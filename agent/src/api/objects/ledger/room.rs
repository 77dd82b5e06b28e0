//! The connections to the API server, and how many watches each can take.

use std::time::Duration;

use reloadlet_core::Time;

use crate::api::objects::errand::Protocol;

/// How many watches share a connection: API servers take about 100 streams, and more would wait without a word. Where it
/// turns out that they take fewer, fewer do.
pub(super) const PER_CONNECTION: usize = 64;
/// How many watches and connections there are at most.
pub(super) const MOST_WATCHES: usize = 1024;
pub(super) const MOST_CONNECTIONS: usize = 32;
/// How few streams it is taken to have at least, and for how long: maybe it was late after all.
const FEWEST: usize = 8;
const FEWER_LASTS: Duration = Duration::from_secs(60 * 60);

/// Where watches have room.
#[derive(Debug)]
pub(super) struct Room {
    /// How many watches each connection has.
    connections: Vec<usize>,
    /// How many it can have.
    per_connection: usize,
    /// Since when that is fewer than usual.
    fewer_since: Option<Time>,
    /// `None` until the API server has answered.
    protocol: Option<Protocol>,
}

impl Default for Room {
    fn default() -> Self {
        Self { connections: Vec::new(), per_connection: PER_CONNECTION, fewer_since: None, protocol: None }
    }
}

impl Room {
    /// How many connections have watches.
    pub(super) fn connections(&self) -> usize {
        self.connections.iter().filter(|watches| **watches > 0).count()
    }

    /// The API server answers by this protocol. Whether it was another one before.
    pub(super) fn speak(&mut self, protocol: Protocol) -> bool {
        self.protocol.replace(protocol).is_some_and(|before| before != protocol)
    }

    /// The API server is reached by another way: how few streams a connection has isn't known any more.
    pub(super) const fn restart(&mut self) {
        self.per_connection = PER_CONNECTION;
        self.fewer_since = None;
    }

    /// Takes in that time has passed.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.fewer_since.take_if(|since| now.since(*since) >= FEWER_LASTS).is_some() {
            self.per_connection = PER_CONNECTION;
        }
    }

    /// How many watches a connection is taken to have room for.
    pub(super) const fn per_connection(&self) -> usize {
        self.per_connection
    }

    /// A connection turned out to take so many watches and no more. Whether that is fewer than it was taken for.
    pub(super) fn takes(&mut self, watches: usize, now: Time) -> bool {
        let takes = watches.max(FEWEST);
        let fewer = takes < self.per_connection;
        if fewer {
            self.per_connection = takes;
            self.fewer_since = Some(now);
        }
        fewer
    }

    /// The first connection, other than this one, that can take one more watch.
    pub(super) fn find(&self, other_than: Option<usize>) -> Option<usize> {
        let most = match self.protocol? {
            Protocol::Http1 => 1,
            Protocol::Http2 => MOST_CONNECTIONS,
        };
        if self.connections.iter().sum::<usize>() >= MOST_WATCHES && other_than.is_none() {
            return None;
        }
        let has_room = |number: &usize| {
            self.connections.get(*number).is_none_or(|watches| *watches < self.per_connection)
        };
        (0..most).filter(|number| Some(*number) != other_than).find(has_room)
    }

    /// A connection has one more watch.
    pub(super) fn take(&mut self, connection: usize) {
        if self.connections.len() <= connection {
            self.connections.resize(connection + 1, 0);
        }
        if let Some(watches) = self.connections.get_mut(connection) {
            *watches += 1;
        }
    }

    /// A connection has one watch less. Whether it has none.
    pub(super) fn leave(&mut self, connection: usize) -> bool {
        let Some(watches) = self.connections.get_mut(connection) else { return false };
        *watches -= 1;
        *watches == 0
    }
}
