//! What is seen of who opens the files of a generation, and what the agent's own reads, which hide that, wait for.

use crate::machine::reload::Target;
use crate::machine::watched::Watched;
use crate::model::generation::Generation;
use crate::model::names::Name;

/// How well it is seen whether a container opens what it was told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sight {
    /// Any open is seen.
    #[default]
    Clear,
    /// An own read has hidden others for a moment.
    Hidden,
    /// An open may well have gone unseen.
    Blind,
}

/// What the read of a generation waits for. Of several containers the one that is waited for longest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// Nothing: no container is expected to read.
    Nothing,
    /// A container that may read. Most do within some milliseconds of their signal.
    Reader,
    /// A container of which it follows from its window whether it reads: the read would hide that.
    Window,
}

impl Target {
    /// Any open may have gone unseen.
    pub(crate) fn blind(&mut self) {
        if let Some(verify) = &mut self.verify {
            verify.dim(Sight::Blind);
        }
        if let Some(sending) = &mut self.sending {
            sending.dim(Sight::Blind);
        }
    }

    /// Opens of a generation aren't seen, or weren't for a moment.
    pub(crate) fn dim(&mut self, volume: &Name, generation: &Generation, sight: Sight) {
        if let Some(verify) = self.verify.as_mut().filter(|verify| verify.tells_of(volume, generation)) {
            verify.dim(sight);
        }
        if let Some(sending) = self.sending.as_mut().filter(|sending| sending.tells_of(volume, generation)) {
            sending.dim(sight);
        }
    }

    /// The signal goes out while these generations are read: whoever reads at once isn't seen.
    pub(crate) fn dim_where(&mut self, is_read: impl Fn(&Name, &Generation) -> bool) {
        if self.sent().any(|(volume, pending)| is_read(volume, &pending.generation))
            && let Some(sending) = &mut self.sending
        {
            sending.dim(Sight::Blind);
        }
    }

    /// What the read of a generation waits for, as far as this container is concerned.
    pub(crate) fn read_waits_for(&self, volume: &Name, generation: &Generation, watched: &Watched) -> Wait {
        if let Some(sending) = self.sending.as_ref().filter(|sending| sending.tells_of(volume, generation)) {
            let decides = sending.timeout().is_some() || self.rereading.is_decided_by(false);
            return if decides { Wait::Window } else { Wait::Reader };
        }
        if let Some(verify) = self.verify.as_ref().filter(|verify| verify.awaits(volume, generation)) {
            let is_clear = verify.sight() == Sight::Clear && watched.shows_opens(generation);
            let decides = is_clear && self.rereading.is_decided_by(verify.is_looked_through());
            return if decides { Wait::Window } else { Wait::Reader };
        }
        if self.will_be_told(volume, generation, watched) { Wait::Reader } else { Wait::Nothing }
    }

    /// Whether a reload waits, or will wait, for the read of a generation, which is compared with what has ended another replica; or
    /// it may be what has ended this one, and is to be kept from the others.
    pub(crate) fn needs_read(&self, volume: &Name, generation: &Generation, watched: &Watched) -> bool {
        let is_compared = || self.waiting.is_some() && self.progress.contains_key(volume);
        let is_waited_for = || is_compared() || self.will_be_told(volume, generation, watched);
        self.wants_digest(volume, generation) || (self.objection.wary && is_waited_for())
    }

    /// Whether a generation waits, or will once it has settled.
    fn will_be_told(&self, volume: &Name, generation: &Generation, watched: &Watched) -> bool {
        let Some(progress) = self.progress.get(volume) else { return false };
        let waits = progress.pending().is_some_and(|pending| pending.generation == *generation);
        waits || (watched.state().settled().is_none() && watched.is_current(generation))
    }
}
