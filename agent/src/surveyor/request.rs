//! What the surveyor is asked for, and what comes of it.

use std::path::PathBuf;

use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::{Event, Reading, Survey, VolumeRef};
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::signal::Signal;

use super::masks::{Depth, Masks};
use super::survey::{Looking, Surveying};
use crate::gates::Gate;
use crate::home::Home;
use crate::listing::Files;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Request {
    /// Look at a pod's containers.
    Survey(Survey),
    /// List a volume.
    List(VolumeRef, PathBuf),
    /// See what a volume holds.
    Show(VolumeRef, PathBuf),
    /// Read a generation's files in this directory.
    Read(VolumeRef, Generation, PathBuf, Reading),
    /// Read the masks of a process and, where they decide about this signal, of its threads.
    Masks(ProcessIdentity, Signal, Depth),
    /// A survey whose containers are still being looked for.
    Looking(Box<Looking>),
    /// A survey that was begun.
    Surveying(Box<Surveying>),
    /// Threads' masks of which some were read.
    Reading(Box<Masks>),
    /// A generation of which some files were read.
    Files(Box<ReadingFiles>),
    /// See whether the kubelet's directory of a pod is there.
    Home(PodUid),
    /// See which of a pod's volumes of CSI drivers may be looked at.
    Gates(PodUid, Vec<Name>),
    /// A pod isn't asked for any more.
    Forget(PodUid),
}

impl Request {
    /// Whether no reload waits for it: what is only measured comes after all else.
    pub(super) fn can_wait(&self) -> bool {
        match self {
            Self::Read(_, _, _, reading) => !reading.decides,
            Self::Files(reading) => !reading.files.reading().decides,
            Self::Survey(_)
            | Self::List(..)
            | Self::Show(..)
            | Self::Masks(..)
            | Self::Looking(_)
            | Self::Surveying(_)
            | Self::Reading(_)
            | Self::Home(_)
            | Self::Gates(..)
            | Self::Forget(_) => false,
        }
    }

    /// Whose request it is.
    pub(crate) fn pod(&self) -> &PodUid {
        match self {
            Self::Survey(survey) => &survey.pod,
            Self::Looking(looking) => &looking.survey().pod,
            Self::Surveying(surveying) => &surveying.survey().pod,
            Self::List(volume, _) | Self::Show(volume, _) | Self::Read(volume, ..) => &volume.pod,
            Self::Files(reading) => &reading.volume.pod,
            Self::Masks(process, ..) => &process.pod,
            Self::Reading(masks) => &masks.process().pod,
            Self::Home(pod) | Self::Gates(pod, _) | Self::Forget(pod) => pod,
        }
    }

    /// What makes it the same as another one.
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Survey(survey) => Key::Survey(survey.pod.clone()),
            Self::Looking(looking) => Key::Survey(looking.survey().pod.clone()),
            Self::Surveying(surveying) => Key::Survey(surveying.survey().pod.clone()),
            Self::List(volume, _) => Key::List(volume.clone()),
            Self::Show(volume, _) => Key::Show(volume.clone()),
            Self::Read(volume, generation, ..) => Key::Read(volume.clone(), generation.clone()),
            Self::Files(reading) => Key::Read(reading.volume.clone(), reading.generation.clone()),
            Self::Masks(process, signal, _) => Key::Masks(process.clone(), *signal),
            Self::Reading(masks) => Key::Masks(masks.process().clone(), masks.signal()),
            Self::Home(pod) => Key::Home(pod.clone()),
            Self::Gates(pod, _) => Key::Gates(pod.clone()),
            Self::Forget(pod) => Key::Forget(pod.clone()),
        }
    }

    /// Whether it takes room as long as it isn't done.
    pub(super) const fn is_begun(&self) -> bool {
        matches!(self, Self::Looking(_) | Self::Surveying(_) | Self::Files(_) | Self::Reading(_))
    }

    /// The same request from its beginning.
    pub(super) fn anew(self) -> Self {
        match self {
            Self::Looking(looking) => Self::Survey(looking.survey().clone()),
            Self::Surveying(surveying) => Self::Survey(surveying.survey().clone()),
            Self::Files(reading) => reading.anew(),
            Self::Reading(masks) => masks.anew(),
            other @ (Self::Survey(_)
            | Self::List(..)
            | Self::Show(..)
            | Self::Read(..)
            | Self::Masks(..)
            | Self::Home(_)
            | Self::Gates(..)
            | Self::Forget(_)) => other,
        }
    }
}

/// What makes two requests the same: the one in the queue will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Survey(PodUid),
    List(VolumeRef),
    Show(VolumeRef),
    Read(VolumeRef, Generation),
    Masks(ProcessIdentity, Signal),
    Home(PodUid),
    Gates(PodUid),
    Forget(PodUid),
}

/// A read of a generation that was begun.
#[derive(Debug)]
pub(crate) struct ReadingFiles {
    pub(super) volume: VolumeRef,
    pub(super) generation: Generation,
    pub(super) files: Files,
}

impl ReadingFiles {
    /// The same read from its beginning.
    fn anew(self) -> Request {
        let (path, reading) = self.files.request();
        Request::Read(self.volume, self.generation, path, reading)
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Finding {
    /// For the machine.
    Event(Event),
    /// Where a pod's cgroup is, and where pods' cgroups appear.
    Cgroup(PodUid, Option<PathBuf>, Vec<PathBuf>),
    /// A volume that couldn't be listed.
    Unlisted(VolumeRef),
    /// A generation that couldn't be read for want of descriptors.
    Unread(VolumeRef, Generation),
    /// Whether the kubelet's directory of a pod is there.
    Home(PodUid, Home),
    /// What is known of a pod's volumes of CSI drivers.
    Gates(PodUid, Vec<(Name, Gate)>),
}

impl Finding {
    /// The pod that it concerns.
    pub(crate) const fn pod(&self) -> Option<&PodUid> {
        match self {
            Self::Event(event) => event.pod(),
            Self::Cgroup(pod, ..) | Self::Home(pod, _) | Self::Gates(pod, _) => Some(pod),
            Self::Unlisted(volume) | Self::Unread(volume, _) => Some(&volume.pod),
        }
    }
}
