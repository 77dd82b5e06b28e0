//! What is measured of a volume: which versions the API server shows, and which of them are on disk. Nothing here holds up a
//! reload.

use std::sync::Arc;
use std::time::Duration;

use crate::machine::watched::Watched;
use crate::model::digest::Contents;
use crate::model::generation::Generation;
use crate::model::names::Name;
use crate::model::object::{MOST_KEYS, ObjectRef, ObjectVersion, Observed};
use crate::model::time::Time;
use crate::propagation::kept;
use crate::propagation::volume::{Ignored, OnDisk, Publication, Standing};

/// How long a change of a volume with ignored objects waits to be matched with what the API server shows: a watch that is
/// behind must not make a change that counts an ignored one.
pub(crate) const IGNORED_WAITS: Duration = Duration::from_secs(1);
/// How many publications of a volume are remembered for the deliveries that are still to come.
const PUBLICATIONS: usize = 4;

/// What follows from something that was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// A generation is known to have brought versions.
    pub(crate) publication: Option<Publication>,
    /// Objects of which the disk may show more than the watch.
    pub(crate) doubted: Vec<ObjectRef>,
    /// What counts is something else by now: this generation is to be read once more.
    pub(crate) reread: Option<Generation>,
}

impl Watched {
    /// Whether anything is measured.
    pub(crate) fn is_measured(&self) -> bool {
        self.propagation.is_measured()
    }

    /// The objects to watch for it.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.propagation.objects()
    }

    /// The API server said something of one of its objects.
    pub(crate) fn observed(&mut self, object: &ObjectRef, observed: &Observed, at: Time) -> Measured {
        let publication = self.propagation.observed(object, observed, at);
        let doubted = self.propagation.take_doubted();
        let ignored = self.propagation.ignored();
        let reread = if ignored == self.ignored {
            None
        } else {
            self.ignored = ignored;
            self.forget_digest()
        };
        Measured { publication: self.remember(publication), doubted, reread }
    }

    /// What a generation holds was read; `None` if it couldn't be. Whether that says anything, and what.
    pub(crate) fn measure(
        &mut self,
        generation: &Generation,
        contents: Option<&Contents>,
        now: Time,
    ) -> Option<Measured> {
        if !self.is_measured() || !self.is_current(generation) {
            return None;
        }
        let (swapped, changed) = self.state.swapped_at()?;
        let Some(contents) = contents.filter(|contents| contents.files.len() <= MOST_KEYS) else {
            self.propagation.unreadable();
            return None;
        };
        let files = contents.files.clone();
        let disk = OnDisk { generation: generation.clone(), swapped, files, read: now };
        let publication = self.propagation.read(disk, changed);
        let doubted = self.propagation.take_doubted();
        Some(Measured { publication: self.remember(publication), doubted, reread: None })
    }

    fn remember(&mut self, publication: Option<Publication>) -> Option<Publication> {
        if let Some(publication) = &publication {
            self.publications.push_back(publication.clone());
            if self.publications.len() > PUBLICATIONS {
                self.publications.pop_front();
            }
        }
        publication
    }

    /// What a generation brought.
    pub(crate) fn publication(&self, generation: &Generation) -> Option<&Publication> {
        self.publications.iter().find(|known| known.generation == *generation)
    }

    /// Whether it is known what a generation brought, or never will be.
    pub(crate) fn is_decided(&self, generation: &Generation) -> bool {
        !self.is_measured() || !self.is_current(generation) || self.propagation.is_decided(generation)
    }

    /// Whether it is still to be seen if what is ignored is all that a settled generation brought.
    pub(crate) fn may_be_ignored(&self, generation: &Generation) -> bool {
        self.ignored != Ignored::Nothing && !self.propagation.is_decided(generation)
    }

    /// The newest object that lags behind, and since when it was seen.
    pub(crate) fn newest_lagging(&self) -> Option<(&ObjectRef, Time)> {
        self.propagation.newest_lagging(self.state.generation()?)
    }

    /// How the disk stands to what the API server shows; of what has settled that isn't known until it was read.
    pub(crate) fn standing(&self) -> Standing {
        let settled = self.state.settled().map(|settled| &settled.generation);
        if settled.is_some_and(|settled| !self.propagation.has_read(settled)) {
            return Standing::Unknown;
        }
        self.propagation.standing()
    }

    /// How much is kept of its files.
    pub(crate) fn cost(&self) -> usize {
        let ignored = match &self.ignored {
            Ignored::Paths(paths) => paths.iter().map(|path| path.len() + kept::EACH).sum(),
            Ignored::Nothing | Ignored::Everything => 0,
        };
        self.propagation.cost() + ignored
    }

    /// There is no room for what is to be kept of it. What is ignored of it stays ignored.
    pub(crate) fn leave_unmeasured(&mut self) {
        self.propagation.give_up();
    }

    /// The versions of its objects that a generation brought, as far as they are known.
    pub(crate) fn versions_of(&self, generation: &Generation) -> Vec<(ObjectRef, Option<Name>)> {
        if self.is_current(generation) && self.propagation.has_read(generation) {
            return named(self.propagation.on_disk());
        }
        self.publication(generation).map_or_else(Vec::new, |known| {
            named(known.versions.iter().map(|(object, version)| (object, version.as_ref())))
        })
    }

    /// The newest versions of its objects that the API server has shown.
    pub(crate) fn versions_wanted(&self) -> Vec<(ObjectRef, Option<Name>)> {
        named(self.propagation.wanted())
    }
}

fn named<'a>(
    versions: impl Iterator<Item = (&'a ObjectRef, Option<&'a Arc<ObjectVersion>>)>,
) -> Vec<(ObjectRef, Option<Name>)> {
    let named = |version: &Arc<ObjectVersion>| version.version.clone();
    versions.map(|(object, version)| (object.clone(), version.map(named))).collect()
}
