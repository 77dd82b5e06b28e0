//! What is wrong with what a pod asks for.

use std::fmt;

use crate::model::closed::closed_set;

pub use crate::model::shown::{listed, quoted, unquoted};

closed_set! {
    /// The kind of a problem: the label of `reloadlet_problems`.
    pub enum ProblemKind {
        /// A key below `reloadlet.io/` that doesn't exist.
        UnknownKey => "unknown_key",
        /// A key whose feature this version doesn't have.
        Unsupported => "unsupported",
        /// A value that isn't allowed.
        BadValue => "bad_value",
        /// A value that isn't a string.
        NotText => "not_text",
        /// Options without a signal.
        NoSignal => "no_signal",
        /// A container that the pod doesn't have, or that can't be told.
        Container => "container",
        /// A volume that the pod doesn't have, or that can't trigger.
        Volume => "volume",
        /// Several containers could be meant and nobody chose one.
        Ambiguous => "ambiguous",
        /// A request to a port that the container doesn't declare.
        Port => "port",
        /// A request to a pod that has its node's network, which nobody has allowed.
        HostNetwork => "host_network",
        /// A request that has waited for the pod's address for longer than ten seconds.
        NoAddress => "no_address",
        /// A volume that is named, and in which its CSI driver doesn't publish as the kubelet does.
        Layout => "layout",
        /// A process that doesn't handle the signal, for longer than ten seconds.
        Unhandled => "unhandled",
        /// A supervisor in the place of the program, and nobody said which of its programs is meant.
        Supervisor => "supervisor",
        /// Reloads that are held since the process ended after the last ones.
        Suspended => "held",
        /// Files that a container isn't told of, since the process of another replica ended after it was told of them.
        BadContent => "bad_content",
        /// A pod that is larger than one that is followed may be.
        TooLarge => "too_large",
        /// A pod that is left out since the pods of the node take too much together.
        NoRoom => "no_room",
        /// The agent itself lacks something, and a change has waited for that for longer than ten seconds.
        Agent => "agent",
        /// The agent looks for volumes where the kubelet doesn't put them.
        KubeletRoot => "kubelet_root",
    }
}

/// One sentence about what is wrong: what, where, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// The sentence.
    pub sentence: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
