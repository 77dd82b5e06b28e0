//! How a generation and a delivery ended: closed sets, which are also the labels of metrics.

use crate::model::closed::closed_set;

closed_set! {
    /// How one generation of one volume ended for one container. Ordered from best to worst: several processes of a
    /// container give the worst of theirs.
    pub enum Outcome {
        /// Every process was sent the signal and was there after the send.
        Delivered => "delivered",
        /// Dry run: everything but the send was done.
        DryRun => "dry_run",
        /// The files that count are the same as those that the container was told of last.
        Unchanged => "unchanged",
        /// Only objects that their owners keep from triggering have changed.
        Excluded => "excluded",
        /// The container's first process started after the settle and has read it already.
        StartedAfter => "started_after",
        /// A newer generation was folded into the same reload.
        Superseded => "superseded",
        /// No process to tell was found in the container.
        NoProcess => "no_process",
        /// The process doesn't handle the signal, or ignores it.
        Unhandled => "unhandled",
        /// The process or the pod went away.
        Gone => "gone",
        /// The kernel refused the send (EPERM).
        Denied => "denied",
        /// The send failed otherwise.
        Failed => "failed",
        /// The process ended after two deliveries in a row, or another replica's after it was told of the same: nothing is
        /// sent until that is over.
        Suspended => "held",
    }
}

impl Outcome {
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
            | Self::Suspended => false,
        }
    }
}

closed_set! {
    /// What was seen of a process by the end of the verify window after a delivery.
    pub enum Verdict {
        /// A file of the new generation was opened within the window: evidence, not proof of who read it.
        Reread => "reread",
        /// It lives; nothing else was seen.
        Alive => "alive",
        /// The signal is blocked in every thread and still waits.
        Pending => "pending",
        /// It ended, and the container has no new first process.
        Exited => "exited",
        /// It ended, and the container runs again.
        Restarted => "restarted",
    }
}

closed_set! {
    /// How a container that lives has left unread what it was told of, as far as opens of its files show that.
    pub enum Unread {
        /// It has read after earlier signals, and not after those of the last change.
        NotRead => "not_read",
        /// After three signals in a row nothing was read, nor was it ever before.
        NeverRead => "never_read",
    }
}
