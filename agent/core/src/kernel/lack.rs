//! What the agent itself lacks: never the pod's fault, and no reason to end a reload.

/// Why the agent can't look at a container or hold its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// It has no file descriptors left.
    Descriptors,
    /// The pod's namespace has its share of the agent's file descriptors.
    Share,
    /// The kernel has no memory for a connection (ENOMEM, ENOBUFS).
    Memory,
    /// The kernel refuses a read (EACCES, EPERM).
    Refused,
    /// A read fails otherwise.
    Unreadable,
}

impl Lack {
    /// The reason, for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Descriptors => {
                "the agent has no file descriptors left (RLIMIT_NOFILE): the change waits until it has"
            }
            Self::Share => {
                "the agent's file descriptors are scarce (RLIMIT_NOFILE), and the processes of this namespace hold \
                 their share of them: the change waits until there are more"
            }
            Self::Memory => {
                "the kernel has no memory for the agent's connection (ENOMEM or ENOBUFS; the agent's limit of memory counts, too): \
                 the change waits until it has"
            }
            Self::Refused => {
                "the agent isn't allowed to look at the container (SELinux, AppArmor or file permissions; its log \
                 names the file): the change waits until it is"
            }
            Self::Unreadable => {
                "the agent can't look at the container (its log names the file and the error): the change waits until \
                 it can"
            }
        }
    }
}
