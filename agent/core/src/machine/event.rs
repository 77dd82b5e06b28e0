//! What comes in and what goes out.
//!
//! An action carries all that is needed to carry it out: whoever does asks nothing back. Each is answered as this table says.
//! Answers come in any order, and other events between them. An answer says what it answers: one that comes after its pod,
//! process or generation isn't of interest any more, or what was asked of it is something else by now, changes nothing. Only a
//! survey says no more than its pod; where the pod has changed meanwhile another one is on its way, whose answer replaces it.
//!
//! | action | answered by | how often | what may be lost |
//! | --- | --- | --- | --- |
//! | [`Action::Watch`] | [`Event::Swapped`], [`Event::Removed`], [`Event::TornDown`], [`Event::CgroupChanged`] | whenever it happens, until [`Action::Unwatch`] | any; [`Event::Overflowed`] or [`Event::Dropped`] says so |
//! | [`Action::List`] | [`Event::Listed`] | once; a directory that can't be read is tried again until it can | nothing |
//! | [`Action::Survey`] | [`Event::Surveyed`] or [`Event::NotSurveyed`] | once | nothing |
//! | [`Action::Hold`] | [`Event::Held`], [`Event::NotHeld`] or [`Event::Lacked`]; after the first one [`Event::Exited`], and after that [`Event::Killed`] where the kernel tells | once each, unless it is released before | [`Event::Killed`] |
//! | [`Action::ReadGuard`] | [`Event::Guarded`] or [`Event::Lacked`] | once; of several for the same process and signal that wait, maybe only the last one | nothing |
//! | [`Action::ReadClosely`] | [`Event::Guarded`] or [`Event::Lacked`] | once; of several for the same process and signal that wait, maybe only the last one | nothing |
//! | [`Action::Send`] | [`Event::Delivered`] | once | nothing |
//! | [`Action::Stop`] | [`Event::Stopped`] | once | nothing |
//! | [`Action::Show`] | [`Event::Shown`] | once; of several for the same volume that wait, maybe only the last one | nothing |
//! | [`Action::Call`] | [`Event::Answered`] or [`Event::Delivered`] | once, unless another one to the same process follows | nothing |
//! | [`Action::Read`] | [`Event::Read`] | once; tried again while the agent lacks descriptors; of several for the same generation that wait, maybe only the last one | nothing |
//! | [`Action::Observe`] | [`Event::Observed`] | whenever something is known anew, until [`Action::Unobserve`] | what a newer one makes up for |
//! | [`Action::Nudge`] | [`Event::Nudged`] | once | nothing |
//! | [`Action::WatchOpens`] | [`Event::LookedThrough`], [`Event::Opened`], [`Event::OpensUnseen`] | once each at most, until [`Action::UnwatchOpens`] | the events |
//! | the others | | never | |

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::guard::GuardReading;
use crate::kernel::lack::Lack;
use crate::kernel::mounts::ContainerMounts;
use crate::kernel::process::{ProcessFacts, ProcessIdentity};
use crate::machine::volume::Listing;
use crate::model::digest::Contents;
use crate::model::frozen::Way;
use crate::model::generation::Generation;
use crate::model::journal::{JournalSnapshot, JournalUpdate};
use crate::model::means::{Means, Request};
use crate::model::names::{ContainerId, Name, PodUid};
use crate::model::object::{ObjectRef, Observed, Versions};
use crate::model::outcome::{Outcome, Unread, Verdict};
use crate::model::pod::{Pod, VolumeKind};
use crate::model::signal::Signal;
use crate::model::time::Time;
use crate::policy::files::FileFilter;
use crate::policy::problem::Problem;
use crate::propagation::nudge::{NudgeAnswer, NudgeResult};
use crate::propagation::strategy::Strategy;

pub use self::reports::{ReloadReport, RestartReport, Shown, Stages, StopOrder};

mod reports;

/// One volume of one pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeRef {
    /// The pod.
    pub pod: PodUid,
    /// The pod's name for the volume.
    pub volume: Name,
}

/// What is to be read of a volume's generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The files that count.
    pub filter: FileFilter,
    /// Whether the digest of each file is wanted.
    pub each: bool,
    /// Whether a reload may wait for it.
    pub decides: bool,
}

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The journal was opened. Nothing is done before.
    JournalRead(JournalSnapshot),
    /// All pods of the node: replaces what was known.
    PodsSynced(Vec<Arc<Pod>>),
    /// `..data` of a volume was renamed; the generation where the notifications told it.
    Swapped(VolumeRef, Option<Generation>, Time),
    /// A generation's directory was removed.
    Removed(VolumeRef, Generation, Time),
    /// A volume's directory went away.
    TornDown(VolumeRef, Time),
    /// A volume was listed.
    Listed(VolumeRef, Listing),
    /// Notifications were lost.
    Overflowed,
    /// Notifications of one pod were dropped, since too many waited.
    Dropped(PodUid),
    /// The pod's cgroup directory changed: containers came or went.
    CgroupChanged(PodUid),
    /// The containers of a pod, as the kernel shows them.
    Surveyed(PodUid, Vec<ContainerFacts>),
    /// A pod's containers can't be looked at, since the agent itself lacks something.
    NotSurveyed(PodUid, Lack),
    /// A process is held: its identity was checked after its pidfd was opened.
    Held(ProcessIdentity),
    /// A process couldn't be held: it is gone or another one.
    NotHeld(ProcessIdentity),
    /// A process couldn't be held, or a held one's masks couldn't be read, since the agent itself lacks something. The
    /// process may well be there.
    Lacked(ProcessIdentity, Lack),
    /// A held process ended.
    Exited(ProcessIdentity, Time),
    /// A process that was held, and whose end was told before, was ended by SIGKILL: nothing that a program does about one of
    /// our signals.
    Killed(ProcessIdentity),
    /// A held process's signal masks, read with regard to this signal; `None` when it is gone.
    Guarded(ProcessIdentity, Signal, Option<GuardReading>),
    /// How a send ended.
    Delivered(ProcessIdentity, Delivery),
    /// How each process took its stop signal; `None` where it was too late to send any.
    Stopped(PodUid, Option<Vec<(ProcessIdentity, Delivery)>>),
    /// What a volume holds now; `None` where that can't be told.
    Shown(VolumeRef, Option<Shown>),
    /// How the request to a process's pod ended that was begun then.
    Answered(ProcessIdentity, Time, Answer),
    /// What was to be read of a generation, and what it holds; `None` where it couldn't be read.
    Read(VolumeRef, Generation, Reading, Option<Contents>),
    /// What the API server says of an object now, and when that was received.
    Observed(ObjectRef, Observed, Time),
    /// How the API server took a nudge.
    Nudged(PodUid, NudgeAnswer),
    /// How the kubelet learns of changes was read in its configuration, or isn't known any more.
    Strategy(Option<Strategy>),
    /// The kubelet root isn't the one that the kubelet uses: a sentence about that; `None` when it is right again.
    KubeletRoot(Option<Arc<str>>),
    /// A file of a generation was opened, and not by the kubelet or the agent as far as can be told.
    Opened(VolumeRef, Generation, Time),
    /// The directory of a generation itself was opened: by the kubelet, or by somebody whose reads can't be told from its own.
    LookedThrough(VolumeRef, Generation),
    /// It isn't seen, or not any more, whether files of a generation are opened.
    OpensUnseen(VolumeRef, Generation),
}

impl Event {
    /// The pod that it concerns, if it is one.
    pub const fn pod(&self) -> Option<&PodUid> {
        match self {
            Self::JournalRead(_)
            | Self::PodsSynced(_)
            | Self::Overflowed
            | Self::Observed(..)
            | Self::Strategy(_)
            | Self::KubeletRoot(_) => None,
            Self::Swapped(volume, ..)
            | Self::Removed(volume, ..)
            | Self::TornDown(volume, _)
            | Self::Listed(volume, _)
            | Self::Read(volume, ..)
            | Self::Shown(volume, _)
            | Self::LookedThrough(volume, _)
            | Self::OpensUnseen(volume, _)
            | Self::Opened(volume, ..) => Some(&volume.pod),
            Self::Dropped(pod)
            | Self::CgroupChanged(pod)
            | Self::Surveyed(pod, _)
            | Self::NotSurveyed(pod, _)
            | Self::Stopped(pod, _)
            | Self::Nudged(pod, _) => Some(pod),
            Self::Held(process)
            | Self::NotHeld(process)
            | Self::Lacked(process, _)
            | Self::Exited(process, _)
            | Self::Killed(process)
            | Self::Guarded(process, ..)
            | Self::Delivered(process, _)
            | Self::Answered(process, ..) => Some(&process.pod),
        }
    }
}

/// One container of a pod, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFacts {
    /// The ID in its cgroup's path.
    pub id: ContainerId,
    /// What its mounts show; `None` while nothing could be read.
    pub mounts: Option<Arc<ContainerMounts>>,
    /// Its processes.
    pub processes: Vec<ProcessFacts>,
    /// Whether these are all of them: how many are looked at, and for how long, has bounds.
    pub complete: bool,
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Sent, and the process was there after it.
    Sent,
    /// Everything but the send (dry run).
    Spared,
    /// The process was gone.
    Gone,
    /// The kernel refused (EPERM).
    Denied,
    /// The kernel gave another error: its name and what it means.
    Failed(&'static str),
}

impl Delivery {
    /// The outcome for one process.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Sent => Outcome::Delivered,
            Self::Spared => Outcome::DryRun,
            Self::Gone => Outcome::Gone,
            Self::Denied => Outcome::Denied,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server has answered with this status, and its answer begins so.
    Status(u16, Box<str>),
    /// Nobody listens at the port.
    Refused,
    /// The connection was cut off before any byte of an answer came.
    Reset,
    /// It was closed in an orderly way before an answer was there.
    Closed,
    /// No connection came about, for this reason.
    Unreachable(Box<str>),
    /// No connection came about in time.
    NotConnected,
    /// No answer came in time.
    Silent,
    /// The server doesn't speak TLS as it was asked to, for this reason.
    NoTls(Box<str>),
    /// What came is no answer, for this reason.
    Garbage(Box<str>),
    /// The process was gone before the request was written.
    Gone,
    /// The agent itself lacks something to make it.
    Lacked(Lack),
}

/// A request that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The process that it is meant for: it is made only while that is there.
    pub process: ProcessIdentity,
    /// When it was begun, which tells it from others to the same process.
    pub begun: Time,
    /// The pod's own addresses: the next one is asked where nobody listens at one.
    pub addresses: Vec<IpAddr>,
    /// What is asked for.
    pub request: Arc<Request>,
}

/// Something to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Watch a pod's volumes and cgroup, from now on. Whatever is done for it is done in the turns of this namespace.
    Watch(PodUid, Name, Vec<(Name, VolumeKind)>),
    /// Stop watching a pod.
    Unwatch(PodUid),
    /// List a volume's directory, off the loop.
    List(VolumeRef),
    /// Look at a pod's containers, off the loop.
    Survey(Survey),
    /// Open a pidfd, check the identity after that, and report its exit.
    Hold(ProcessIdentity),
    /// Close a pidfd.
    Release(ProcessIdentity),
    /// Read a held process's masks, with regard to this signal.
    ReadGuard(ProcessIdentity, Signal),
    /// The same, off the loop, with the most memory that it ever had and whether it is Node.js.
    ReadClosely(ProcessIdentity, Signal),
    /// Send a signal to a held process.
    Send(ProcessIdentity, Signal),
    /// Send stop signals to held processes, all of them or none.
    Stop(StopOrder),
    /// See what a volume holds, which needn't be a watched one, off the loop.
    Show(VolumeRef, VolumeKind),
    /// Make a request to a pod, off the loop.
    Call(Call),
    /// Read these of a generation's files, off the loop.
    Read(VolumeRef, Generation, Reading),
    /// Watch an object on the API server. One that is watched is asked about anew: what its newest version is becomes an event
    /// even if that was told before.
    Observe(ObjectRef),
    /// Nobody needs this object any more.
    Unobserve(ObjectRef),
    /// Have the kubelet look at a pod now.
    Nudge(Arc<Pod>),
    /// See whether a file of a generation is opened, in its own directory or in these below it.
    WatchOpens(VolumeRef, Generation, Arc<[Name]>),
    /// That isn't of interest any more.
    UnwatchOpens(VolumeRef, Generation),
    /// Write to the journal.
    Record(JournalUpdate),
    /// Tell people of this.
    Report(Report),
}

/// What a survey is to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The pod.
    pub pod: PodUid,
    /// A process's name: where `comm` differs, `cmdline` is read.
    pub name: Option<Name>,
    /// Whether remembered mounts are to be read again, since a volume was made anew.
    pub fresh_mounts: bool,
}

/// Something that people want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A volume was swapped.
    Swapped(VolumeKind),
    /// A swap settled after this long.
    Settled(Duration),
    /// A settle timed out.
    SettleTimedOut(VolumeRef),
    /// Notifications were lost, and everything is looked at again.
    Rescan,
    /// A reload ended.
    Reload(Box<ReloadReport>),
    /// A generation brought versions that the API server had shown.
    Published {
        /// The pod.
        pod: Arc<Pod>,
        /// The volume.
        volume: Name,
        /// The generation.
        generation: Generation,
        /// From the receipt of the oldest of the versions to the swap.
        delay: Duration,
        /// The versions.
        versions: Versions,
        /// How many contents were never published, since a newer one came first.
        collapsed: usize,
    },
    /// What became of a nudge.
    Nudged(Arc<Pod>, NudgeResult),
    /// A file of the new generation was opened after a delivery; told once for each.
    Reread {
        /// The pod.
        pod: Arc<Pod>,
        /// The container.
        container: Name,
        /// From the delivery to the first open.
        after: Duration,
    },
    /// A container was told a second time of what it didn't read; how the first telling ended stands.
    Retold(Box<ReloadReport>),
    /// A container lives and has left unread what it was told of.
    Unread {
        /// The pod.
        pod: Arc<Pod>,
        /// The container.
        container: Name,
        /// By what it is told.
        means: Means,
        /// How it has left it unread.
        unread: Unread,
        /// After so many deliveries in a row.
        deliveries: u8,
        /// Whether the last of them was told a second time.
        again: bool,
        /// How long opens were looked for after each.
        window: Duration,
    },
    /// Something that a container took at its start has changed, and it can't get that in place.
    NeedsRestart {
        /// The pod.
        pod: Arc<Pod>,
        /// The container.
        container: Name,
        /// The object.
        object: ObjectRef,
        /// The version that it doesn't get.
        version: Name,
        /// How the container came by it.
        way: Way,
        /// Whether it is known that the container holds something else. Else the object was written since the container started,
        /// and what that took of it isn't known.
        is_certain: bool,
    },
    /// That a container needs a restart, or may need one, isn't so any more, or isn't known any more. It was said before.
    RestartNotNeeded {
        /// The pod.
        pod: Arc<Pod>,
        /// The container.
        container: Name,
        /// The object.
        object: ObjectRef,
        /// How the container came by it.
        way: Way,
    },
    /// A verify window ended.
    Verdict {
        /// The pod.
        pod: Arc<Pod>,
        /// The container.
        container: Name,
        /// What was seen.
        verdict: Verdict,
        /// From the delivery to the first open of a file of the new generation, where one was seen.
        reread: Option<Duration>,
    },
    /// A restart in place came to an end, or to nothing.
    Restart(Box<RestartReport>),
    /// Nothing comes of a grant, for this reason.
    GrantIgnored(Arc<Pod>, &'static str),
    /// A pod has a problem that it didn't have before.
    Problem(Arc<Pod>, Problem),
    /// A pod doesn't have one of its problems any more, and has others.
    Mended(Arc<Pod>, Problem),
    /// A pod has no problem any more.
    Solved(Arc<Pod>),
    /// A pod is gone, or asks for nothing any more.
    Forgotten(Arc<Pod>),
}
