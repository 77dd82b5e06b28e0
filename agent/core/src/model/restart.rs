//! Restarts in place: what the controller grants a pod, and what the agent of its node says of that.

use std::fmt;

use crate::model::closed::closed_set;
use crate::model::names::{ContainerId, Name, is_label};

/// So many digits of a container's ID stand in a grant.
const DIGITS: usize = 12;
/// The longest mark, in bytes.
const LONGEST_MARK: usize = 32;
/// The most containers that one grant names.
pub const MOST_CONTAINERS: usize = 12;
/// The longest grant, in bytes: more than any that is written.
pub const LONGEST: usize = 1024;

/// What a pod is granted, as its annotation `reloadlet.io/restart` says it: `<mark> <time> <container>=<ID>,<container>=<ID>`. Each of
/// these containers is to be ended by its stop signal if it still is the one with this ID, so that the kubelet starts it again. A
/// grant whose containers have ended grants nothing any more, and one whose time is over doesn't either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The mark of the roll that it belongs to: lower-case letters and digits, at most 32.
    pub marker: Name,
    /// Until when it can be taken up, in whole seconds since the epoch.
    pub until: u64,
    /// The containers, each with how its ID begins.
    pub containers: Vec<(Name, Instance)>,
}

/// How a container's ID begins: its first 12 digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance(Name);

impl Instance {
    /// That of a container.
    pub fn of(id: &ContainerId) -> Self {
        Self(id.as_str().get(..DIGITS).unwrap_or_default().into())
    }

    /// Whether a container is the one that is meant.
    pub fn is(&self, id: &ContainerId) -> bool {
        id.as_str().starts_with(&*self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.into()))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Grant {
    /// Reads one; `None` for a text that isn't one, or names no container, one twice, or more than [`MOST_CONTAINERS`].
    pub fn parse(text: &str) -> Option<Self> {
        let (marker, list) = Some(text).filter(|text| text.len() <= LONGEST)?.split_once(' ')?;
        let (until, list) = list.split_once(' ')?;
        is_marker(marker).then_some(())?;
        let until = seconds(until)?;
        let mut containers: Vec<(Name, Instance)> = Vec::new();
        for entry in list.split(',') {
            let (name, id) = entry.split_once('=').filter(|(name, _)| is_label(name))?;
            let is_known = containers.iter().any(|(known, _)| **known == *name);
            if is_known || containers.len() >= MOST_CONTAINERS {
                return None;
            }
            containers.push((name.into(), Instance::parse(id)?));
        }
        Some(Self { marker: marker.into(), until, containers })
    }

    /// Which container of this name is meant.
    pub fn instance(&self, container: &str) -> Option<&Instance> {
        self.containers.iter().find(|(name, _)| **name == *container).map(|(_, instance)| instance)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.marker, self.until)?;
        for (index, (name, instance)) in self.containers.iter().enumerate() {
            write!(f, "{}{name}={instance}", if index == 0 { ' ' } else { ',' })?;
        }
        Ok(())
    }
}

/// Up to 12 decimal digits.
fn seconds(text: &str) -> Option<u64> {
    let fits = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| fits)
}

fn is_marker(text: &str) -> bool {
    let fits = |b| matches!(b, b'0'..=b'9' | b'a'..=b'z');
    (1..=LONGEST_MARK).contains(&text.len()) && text.bytes().all(fits)
}

closed_set! {
    /// What an agent says of a grant.
    pub enum Finding {
        /// The containers have ended and were started again, and each `subPath` mount of theirs shows what its volume holds now.
        Current => "current",
        /// The same, but what their `subPath` mounts show couldn't be seen.
        Unproved => "unproved",
        /// The same, but a `subPath` mount shows an older generation of its volume.
        Old => "old",
        /// Refused: a container's first process doesn't handle its stop signal, which the kernel drops then.
        Unhandled => "unhandled",
        /// Refused: a container has a `preStop` hook, which only the kubelet runs.
        PreStop => "pre-stop",
        /// Refused: a container that ends isn't started again, or by rules of its own.
        NoRestart => "no-restart",
        /// Refused: no process of a container was found that it could be.
        NotFound => "not-found",
        /// Refused: the kernel denied the signal, or had another error.
        Denied => "denied",
        /// Refused: the agent runs with `--dry-run`.
        DryRun => "dry-run",
        /// A container was sent its stop signal, and still runs after its grace period. It isn't killed.
        StillRuns => "still-runs",
    }
}

impl Finding {
    /// Whether nothing was done to any container.
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Unhandled
            | Self::PreStop
            | Self::NoRestart
            | Self::NotFound
            | Self::Denied
            | Self::DryRun => true,
            Self::Current | Self::Unproved | Self::Old | Self::StillRuns => false,
        }
    }
}

/// What an agent says of a grant, as the annotation `reloadlet.io/restart` of its Event has it: `<mark> <time> <word>`, with the mark and the time
/// of the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The grant's mark.
    pub marker: Name,
    /// Until when it could be taken up.
    pub until: u64,
    /// What is said of it.
    pub finding: Finding,
}

impl Said {
    /// Reads it; `None` for a text that isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        let (marker, rest) = text.split_once(' ')?;
        let (until, word) = rest.split_once(' ')?;
        let until = seconds(until)?;
        let finding = Finding::ALL.into_iter().find(|finding| finding.as_str() == word)?;
        is_marker(marker).then(|| Self { marker: marker.into(), until, finding })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.marker, self.until, self.finding.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_what_was_written() {
        let id = |c: char| ContainerId::parse(&c.to_string().repeat(64)).unwrap();
        let (a, b) = (Instance::of(&id('a')), Instance::of(&id('b')));
        let grant = Grant {
            marker: "00ff".into(),
            until: 7,
            containers: vec![("app".into(), a), ("log-2".into(), b)],
        };
        let text = "00ff 7 app=aaaaaaaaaaaa,log-2=bbbbbbbbbbbb";
        assert_eq!((grant.to_string(), Grant::parse(text)), (text.to_owned(), Some(grant.clone())));
        let app = grant.instance("app").unwrap();
        assert!(app.is(&id('a')) && !app.is(&id('b')) && grant.instance("other").is_none());
    }

    #[test]
    fn what_isnt_a_grant_grants_nothing() {
        let long = format!("00ff 7 {}", "a=aaaaaaaaaaaa,".repeat(80));
        let many: Vec<String> = (0..=MOST_CONTAINERS).map(|n| format!("c{n}=aaaaaaaaaaaa")).collect();
        let many = format!("00ff 7 {}", many.join(","));
        for text in [
            "",
            "00ff",
            "00ff ",
            "00ff 7",
            "00ff 7 ",
            "00ff app=aaaaaaaaaaaa",
            "00ff +7 app=aaaaaaaaaaaa",
            "00ff 1234567890123 app=aaaaaaaaaaaa",
            " 7 app=aaaaaaaaaaaa",
            "00FF 7 app=aaaaaaaaaaaa",
            "00ff  app=aaaaaaaaaaaa",
            "00ff 7 app=aaaaaaaaaaa",
            "00ff 7 app=aaaaaaaaaaaaa",
            "00ff 7 app=AAAAAAAAAAAA",
            "00ff 7 App=aaaaaaaaaaaa",
            "00ff 7 app",
            "00ff 7 app=aaaaaaaaaaaa,",
            "00ff 7 app=aaaaaaaaaaaa,app=bbbbbbbbbbbb",
            "000000000000000000000000000000000 7 app=aaaaaaaaaaaa",
            &long,
            &many,
        ] {
            assert_eq!(Grant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_longest_grant_fits() {
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let name = |n: usize| Name::from(format!("{n:02}{}", "c".repeat(61)));
        let containers = (0..MOST_CONTAINERS).map(|n| (name(n), Instance::of(&id))).collect();
        let grant =
            Grant { marker: "0".repeat(LONGEST_MARK).as_str().into(), until: 999_999_999_999, containers };
        assert!(grant.to_string().len() <= LONGEST, "{}", grant.to_string().len());
        assert_eq!(Grant::parse(&grant.to_string()), Some(grant));
    }

    #[test]
    fn what_an_agent_says_is_one_of_the_words() {
        for finding in Finding::ALL {
            let said = Said { marker: "00ff".into(), until: 7, finding };
            assert_eq!(Said::parse(&said.to_string()), Some(said));
        }
        for text in ["", "00ff", "00ff 7", "00ff 7 done", "00ff 7 current ", " 7 current", "00ff current"] {
            assert_eq!(Said::parse(text), None, "{text}");
        }
    }
}
