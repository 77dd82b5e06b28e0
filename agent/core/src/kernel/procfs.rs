//! The files below `/proc/<pid>` that need no capability, as far as they are read here.

use crate::model::time::Time;

/// What `stat` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The command's name, at most 15 bytes.
    pub comm: String,
    /// The state of its first thread; `Z` and `X` are dead.
    pub state: char,
    /// The parent, as the host numbers it.
    pub parent: u32,
    /// When it started, on the boot-time clock, in the kernel's ticks of 10 ms.
    pub started: Time,
    /// How many threads it has; a first one that has ended counts for as long as others live.
    pub threads: u32,
}

impl Stat {
    /// Whether the process has ended and only waits to be reaped.
    pub const fn is_dead(&self) -> bool {
        self.is_ended_thread() && !self.has_ended_first_thread()
    }

    /// Whether the first thread has ended, and others of the process live on: a process is there until its last thread ends
    /// (pthread_exit(3) in `main`).
    pub const fn has_ended_first_thread(&self) -> bool {
        self.state == 'Z' && self.threads > 1
    }

    /// The same of a thread, out of its own `stat`: whether it has ended, whatever others of its process do.
    pub const fn is_ended_thread(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// What `status` says of a process or a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The command's name.
    pub comm: String,
    /// The PID of the process that a thread belongs to, where it was said.
    pub thread_group: Option<u32>,
    /// Its PID in each PID namespace, the reader's first.
    pub namespace_pids: Vec<u32>,
    /// Its state; that of the first thread for a process.
    pub state: char,
    /// How many threads it has.
    pub threads: u32,
    /// How much memory it has mapped, in KiB.
    pub memory: u64,
    /// The most that it has had mapped since it was executed last, where that was read.
    pub most_memory: Option<u64>,
    /// Signals that wait for the whole process.
    pub pending: SignalSet,
    /// Signals that this thread blocks.
    pub blocked: SignalSet,
    /// Signals that the process ignores.
    pub ignored: SignalSet,
    /// Signals that the process catches.
    pub caught: SignalSet,
}

impl Status {
    /// Reads the text of `status`; lines that aren't known are passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let mut status = Self::default();
        let mut masks = 0;
        // A name can end with any byte, so no line is cut but at its end.
        for line in text.split('\n') {
            let Some((key, whole)) = line.split_once(':') else { continue };
            let value = whole.trim();
            let mask = match key {
                "Name" => {
                    status.comm = unescaped(whole.strip_prefix('\t').unwrap_or(whole));
                    continue;
                }
                "State" => {
                    status.state = value.chars().next().unwrap_or_default();
                    continue;
                }
                "VmSize" => {
                    status.memory = kibibytes(value).unwrap_or_default();
                    continue;
                }
                "VmPeak" => {
                    status.most_memory = kibibytes(value);
                    continue;
                }
                "Tgid" => {
                    status.thread_group = value.parse().ok();
                    continue;
                }
                "NSpid" => {
                    status.namespace_pids = pids(value);
                    continue;
                }
                "Threads" => {
                    status.threads = value.parse().ok()?;
                    continue;
                }
                "ShdPnd" => &mut status.pending,
                "SigBlk" => &mut status.blocked,
                "SigIgn" => &mut status.ignored,
                "SigCgt" => &mut status.caught,
                _ => continue,
            };
            *mask = SignalSet::parse(value)?;
            masks += 1;
        }
        (masks == 4).then_some(status)
    }
}

/// A name as `stat` has it: `status` alone writes a line's end and a backslash with a backslash (kernel `proc_task_name`).
fn unescaped(name: &str) -> String {
    let mut chars = name.chars();
    let next = || match chars.next()? {
        '\\' => Some(match chars.next()? {
            'n' => '\n',
            other => other,
        }),
        other => Some(other),
    };
    std::iter::from_fn(next).collect()
}

/// `  123456 kB`.
fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim_end().parse().ok()
}

/// The PIDs in each PID namespace, out of the `fdinfo` of a pidfd (Linux 5.5); `None` when the process is gone.
pub fn pidfd_namespace_pids(text: &str) -> Option<Vec<u32>> {
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    Some(pids(line)).filter(|pids| pids.first().is_some_and(|pid| *pid > 0))
}

/// PID namespaces can be nested 32 deep (kernel `MAX_PID_NS_LEVEL`), and the host's comes on top.
const MOST_LEVELS: usize = 33;

fn pids(text: &str) -> Vec<u32> {
    text.split_ascii_whitespace().take(MOST_LEVELS).map_while(|pid| pid.parse().ok()).collect()
}

/// A set of signals, as the kernel prints it: bit 0 is signal 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set of the signal of this number.
    pub const fn of(number: i32) -> Self {
        Self(if number >= 1 && number <= 64 { 1 << (number - 1) } else { 0 })
    }

    /// Reads the kernel's 16 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }

    /// Whether the signal of this number is in the set.
    pub const fn contains(self, number: i32) -> bool {
        number >= 1 && number <= 64 && self.0 & (1 << (number - 1)) != 0
    }

    /// The signals of this set that aren't in the other one.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The signals that `stat` shows: the first 31.
    #[must_use]
    pub const fn in_stat(self) -> Self {
        Self(self.0 & 0x7fff_ffff)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Whether the first string of `cmdline` has this name: its last path element, or that of its first word, up to a colon or a
/// blank, where it is a title such as `puma 5.6.5 (tcp://0.0.0.0:9292) [app]`.
pub fn is_called(cmdline: &[u8], name: &str) -> bool {
    let last = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes());
    let Some(first) = cmdline.split(|byte| *byte == 0).next() else { return false };
    let word = first.split(|byte| matches!(byte, b':' | b' ' | b'\t')).next();
    !name.is_empty() && (last(first) || word.is_some_and(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_status_gives_the_masks() {
        let text = "Name:\tsh\nState:\tD (disk sleep)\nPPid:\t8423\nVmPeak:\t    2584 kB\nVmSize:\t    2580 kB\nNSpid:\t8505\t1\nThreads:\t1\nSigPnd:\t0000000000000000\n\
                    ShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000004\n\
                    SigCgt:\t0000000000010003\n";
        let status = Status::parse(text).unwrap();
        assert_eq!(status.namespace_pids, [8505, 1]);
        assert_eq!((status.state, status.memory, status.most_memory), ('D', 2580, Some(2584)));
        assert!(status.caught.contains(1) && status.caught.contains(2) && status.caught.contains(17));
        assert!(status.ignored.contains(3) && !status.ignored.contains(1));
        assert!(!status.caught.contains(0) && !status.caught.contains(65));
    }

    #[test]
    fn a_name_is_what_it_is_in_stat() {
        for (written, name) in
            [("a b ", "a b "), (" \\n", " \n"), ("a\\\\n", "a\\n"), ("\r", "\r"), ("\\", "")]
        {
            let masks = "ShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n";
            let status = Status::parse(&format!("Name:\t{written}\n{masks}")).unwrap();
            assert_eq!(status.comm, name, "{written:?}");
        }
    }

    #[test]
    fn a_process_lives_until_its_last_thread_has_ended() {
        let stat = |state, threads| Stat {
            comm: "app".to_owned(),
            state,
            parent: 1,
            started: Time::default(),
            threads,
        };
        for (state, threads, is_dead, has_ended) in [
            ('S', 1, false, false),
            ('S', 2, false, false),
            ('Z', 1, true, false),
            ('Z', 0, true, false),
            ('Z', 2, false, true),
            ('X', 2, true, false),
        ] {
            let stat = stat(state, threads);
            assert_eq!((stat.is_dead(), stat.has_ended_first_thread()), (is_dead, has_ended), "{stat:?}");
        }
    }

    #[test]
    fn the_pidfd_of_a_process_that_is_gone_has_no_pids() {
        let info = "pos:\t0\nflags:\t02\nPid:\t8505\nNSpid:\t8505\t1\n";
        assert_eq!(pidfd_namespace_pids(info), Some(vec![8505, 1]));
        assert_eq!(pidfd_namespace_pids("Pid:\t-1\nNSpid:\t-1\n"), None);
        assert_eq!(pidfd_namespace_pids("Pid:\t0\nNSpid:\t0\n"), None, "in another PID namespace");
    }

    #[test]
    fn a_status_without_its_masks_is_none() {
        assert_eq!(Status::parse("Name:\tsh\nSigBlk:\t0000000000000000\n"), None);
        assert_eq!(Status::parse("Name:\tsh\nShdPnd:\t0\nSigBlk:\tx\nSigIgn:\t0\nSigCgt:\t0\n"), None);
    }

    #[test]
    fn a_program_is_called_by_the_last_element_of_its_first_argument_or_of_that_ones_first_word() {
        assert!(is_called(b"/usr/sbin/nginx\0-g\0daemon off;\0", "nginx"));
        assert!(is_called(b"nginx: master process\0", "nginx: master process"));
        assert!(is_called(b"nginx: master process /usr/sbin/nginx\0", "nginx"));
        assert!(is_called(b"puma 5.6.5 (tcp://0.0.0.0:9292) [app]\0", "puma"));
        assert!(is_called(b"/opt/my app/bin/server\0", "server"));
        for (cmdline, name) in [
            (&b"\0"[..], ""),
            (b"", ""),
            (b"sh\0nginx\0", "nginx"),
            (b"[nginx]\0", "nginx"),
            (b"nginx-x y\0", "nginx"),
        ] {
            assert!(!is_called(cmdline, name), "{name}");
        }
    }
}
