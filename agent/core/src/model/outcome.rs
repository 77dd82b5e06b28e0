//! How a generation and a delivery ended: closed sets, which are also the labels of metrics.

/// How one generation of one volume ended for one container. Ordered from best to worst: several processes of a
/// container give the worst of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every process was sent the signal and was there after the send.
    Delivered,
    /// Dry run: everything but the send was done.
    DryRun,
    /// The files that count are the same as those that the container was told of last.
    Unchanged,
    /// Only objects that their owners keep from triggering have changed.
    Excluded,
    /// The container's first process started after the settle and has read it already.
    StartedAfter,
    /// A newer generation was folded into the same reload.
    Superseded,
    /// No process to tell was found in the container.
    NoProcess,
    /// The process doesn't handle the signal, or ignores it.
    Unhandled,
    /// The process or the pod went away.
    Gone,
    /// The kernel refused the send (EPERM).
    Denied,
    /// The send failed otherwise.
    Failed,
    /// Two deliveries in a row ended the process: nothing is sent until the pod's annotations change.
    Held,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 12] = [
        Self::Delivered,
        Self::DryRun,
        Self::Unchanged,
        Self::Excluded,
        Self::StartedAfter,
        Self::Superseded,
        Self::NoProcess,
        Self::Unhandled,
        Self::Gone,
        Self::Denied,
        Self::Failed,
        Self::Held,
    ];

    /// The word for it in logs, metrics and the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::DryRun => "dry_run",
            Self::Unchanged => "unchanged",
            Self::Excluded => "excluded",
            Self::StartedAfter => "started_after",
            Self::Superseded => "superseded",
            Self::NoProcess => "no_process",
            Self::Unhandled => "unhandled",
            Self::Gone => "gone",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }

    /// Whether the container is taken to hold the generation after this: it was told, or had no need to be.
    pub const fn reached(self) -> bool {
        match self {
            Self::Delivered | Self::Unchanged | Self::Excluded | Self::StartedAfter | Self::DryRun => true,
            Self::Superseded
            | Self::NoProcess
            | Self::Unhandled
            | Self::Gone
            | Self::Denied
            | Self::Failed
            | Self::Held => false,
        }
    }

    /// The outcome that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What was seen of a process by the end of the verify window after a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A file of the new generation was opened within 2 s of the delivery: evidence, not proof of who read it.
    Reread,
    /// It lives; nothing else was seen.
    Alive,
    /// The signal is blocked in every thread and still waits.
    Pending,
    /// It ended, and the container has no new first process.
    Exited,
    /// It ended, and the container runs again.
    Restarted,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 5] = [Self::Reread, Self::Alive, Self::Pending, Self::Exited, Self::Restarted];

    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reread => "reread",
            Self::Alive => "alive",
            Self::Pending => "pending",
            Self::Exited => "exited",
            Self::Restarted => "restarted",
        }
    }
}
