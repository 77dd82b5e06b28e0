//! What must outlive the agent: the last handled generation of each volume and container, what is held, and what may still come of
//! the last delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::frozen::Remembered;
use crate::model::generation::Generation;
use crate::model::mark::Mark;
use crate::model::names::{ContainerId, Name, PodUid};
use crate::model::outcome::Outcome;
use crate::model::pod::Pod;
use crate::model::restart::{Finding, Grant};
use crate::model::time::Time;

/// Whose record it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalKey {
    /// The pod.
    pub pod: PodUid,
    /// The container.
    pub container: Name,
    /// The volume.
    pub volume: Name,
}

/// The last generation of a volume that is done with for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    /// The generation.
    pub generation: Generation,
    /// How it ended; `None` for a baseline: what was there when the volume was first seen.
    pub outcome: Option<Outcome>,
    /// What the container holds for certain; early agents don't say it.
    pub held: Option<Held>,
    /// Whether the last signal that the container left unread told of the volume.
    pub unread: bool,
}

impl Handled {
    /// A generation that ended so, where nothing else is known.
    pub const fn new(generation: Generation, outcome: Option<Outcome>) -> Self {
        Self { generation, outcome, held: None, unread: false }
    }
}

/// What a container holds of a volume: it was told of that, or it was there when the container started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The generation.
    pub generation: Generation,
    /// When the container's first process had started: of another one it isn't true.
    pub started: Time,
}

/// That deliveries ended the process of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endings {
    /// How many deliveries in a row ended the process, as far as a signal can explain that. With none of them, what was to be
    /// told last has ended the process of another replica.
    pub in_a_row: u8,
    /// Which annotations they were made under; under other ones the count starts anew.
    pub mark: Mark,
}

/// What was seen of whether a container reads what it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rereads {
    /// Whether it was ever seen to read after a signal.
    pub has_reread: bool,
    /// After so many signals in a row it wasn't.
    pub unread: u8,
    /// Whether it was told a second time of the generations that it was told of last.
    pub again: Again,
    /// When the youngest of the processes that were told had started: of others only the first of these is true.
    pub started: Time,
    /// Which annotations the signals were sent under; under other ones nothing of it is known.
    pub mark: Mark,
}

/// A process of a container: its PID on the host, and when it started.
pub type Pid = (u32, Time);

/// The last delivery to a container: what comes of it is known only later, maybe to another agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastDelivery {
    /// When it was made.
    pub at: Time,
    /// Until when an ending is a consequence of it.
    pub until: Time,
    /// Whether that time isn't over yet, as far as the agent has seen.
    pub is_open: bool,
    /// The container.
    pub container: ContainerId,
    /// The container's first process.
    pub first: Pid,
    /// The processes that were told.
    pub told: Vec<Pid>,
    /// What it told of, by volume.
    pub generations: BTreeMap<Name, Generation>,
    /// Whether the processes were known to be ready.
    pub was_ready: bool,
    /// Whether an ending says something about the signal.
    pub counts: bool,
    /// The process whose end is taken for its consequence, and when it was seen.
    pub ended: Option<(Pid, Time)>,
    /// Which annotations it was made under; under other ones nothing comes of it.
    pub mark: Mark,
}

/// What was done for the grant of a restart in place: no container is told twice for it, and nothing is said twice of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedOut {
    /// What was granted.
    pub grant: Grant,
    /// When the signals were sent, or else when it was said that they aren't.
    pub at: Time,
    /// The containers that were sent theirs, by their names.
    pub told: BTreeSet<Name>,
    /// What was said of it, if anything was.
    pub said: Option<Finding>,
}

impl CarriedOut {
    /// Whether a container was sent its stop signal.
    pub fn has_told(&self, container: &ContainerId) -> bool {
        let mut all = self.grant.containers.iter();
        all.any(|(name, instance)| self.told.contains(name) && instance.is(container))
    }
}

/// A second telling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// There is none.
    #[default]
    No,
    /// It is due: an agent that ends before it is made doesn't make it any more, since it may have been made.
    Due,
    /// It was made.
    Made,
}

/// One change of the journal. Changes of one key replace each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalUpdate {
    /// A generation is done with.
    Handled(JournalKey, Handled),
    /// The count of endings of a container changed; `None` removes it.
    Endings(PodUid, Name, Option<Endings>),
    /// What was seen of whether a container reads what it is told of; `None` removes it.
    Rereads(PodUid, Name, Option<Rereads>),
    /// The last delivery to a container, or what is known of it; `None` removes it.
    LastDelivery(PodUid, Name, Option<Arc<LastDelivery>>),
    /// What was done for the last grant of a pod.
    CarriedOut(PodUid, Arc<CarriedOut>),
    /// What is known of what a pod's containers took of objects at their start.
    Frozen(PodUid, Arc<Vec<Remembered>>),
    /// A pod as it was last seen: what is needed to act while nobody tells the node's pods.
    Pod(Arc<Pod>),
    /// A pod is gone: all of its records go.
    Forget(PodUid),
}

/// What the journal held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalSnapshot {
    /// Whether a journal existed before: without one every volume is taken as it is.
    pub existed: bool,
    /// The handled generations. Empty after a boot: no process is older than the boot.
    pub handled: BTreeMap<JournalKey, Handled>,
    /// The pods that were watched.
    pub pods: Vec<Arc<Pod>>,
    /// The containers whose deliveries ended them.
    pub endings: BTreeMap<(PodUid, Name), Endings>,
    /// The containers of which it was seen whether they read what they are told of.
    pub rereads: BTreeMap<(PodUid, Name), Rereads>,
    /// The last deliveries to containers.
    pub deliveries: BTreeMap<(PodUid, Name), Arc<LastDelivery>>,
    /// What was done for the last grant of each pod.
    pub carried: BTreeMap<PodUid, Arc<CarriedOut>>,
    /// What is known of what each pod's containers took of objects at their start.
    pub frozen: BTreeMap<PodUid, Arc<Vec<Remembered>>>,
    /// Whether the last delivery to each container is among them, as far as it was recorded: earlier agents didn't record them.
    pub shows_deliveries: bool,
    /// Whether the agent before had recorded everything when it ended: nobody was told of anything that isn't here.
    pub is_whole: bool,
}
