//! What a program is, by the name that its process has at the moment: whether a signal to it reaches the application, and what
//! it does there.

use crate::kernel::procfs::{SignalSet, Status};
use crate::model::signal::Signal;

/// What a signal to a program means to the application in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program that runs one other as its child and ends with it: an init, or one that stands before a command. The other one
    /// is meant.
    Wrapper,
    /// A program that runs others and keeps signals for itself.
    Supervisor,
    /// Any other one.
    Other,
}

/// Inits that run one program. `podman-init` is catatonit.
const INITS: [&str; 6] = ["tini", "docker-init", "dumb-init", "catatonit", "podman-init", "pid1"];

/// What the names of inits end with where they are installed as they are published: `tini-static-amd64`,
/// `dumb-init_1.2.5_x86_64`, `catatonit.aarch64`.
const VARIANTS: [&str; 17] = [
    "static", "muslc", "musl", "amd64", "x86", "i386", "i686", "arm", "arm64", "armhf", "armel", "armv7",
    "aarch64", "ppc64", "ppc64el", "ppc64le", "s390x",
];

/// Commands that stay there as long as the program that they have started. `timeout` hands on HUP, INT, QUIT and TERM, whatever the
/// program makes of them; the others hand on some, or none. `env`, `nice`, `nohup`, `setpriv`, `gosu`, `su-exec`, `chpst` and
/// `stdbuf` become the program.
const COMMANDS: [&str; 14] = [
    "timeout", "sudo", "su", "runuser", "doas", "sg", "setsid", "flock", "unshare", "nsenter", "bwrap",
    "script", "strace", "ltrace",
];

/// Programs that run others and take signals as orders to themselves, by what they make of them:
///
/// - s6: `s6-svscan` looks at its directory anew at HUP and ends what isn't there any more, `s6-supervise` closes its standard
///   input; their services hear nothing of it.
/// - runit and daemontools: `runsvdir` ends all of its services at HUP, `runsv`, `svscan` and `supervise` have no handler.
/// - `supervisord` stops and starts all of its programs at HUP; `circusd` restarts its watchers.
/// - Inits of whole systems take HUP as "read your own configuration", and USR1, USR2 and INT as orders to halt, to power off
///   or to restart: systemd, `init` (of sysvinit and busybox, and the script that s6-overlay begins with), OpenRC, dinit,
///   finit, GNU Shepherd, nosh, and `my_init`, which runs runit.
/// - Programs that run the lines of a Procfile end all of them at most signals, or hand on only those that end them.
/// - perp, immortal, horust, multirun, forever, god: likewise.
///
/// `monit`, `crond` and `inetd` run programs too, but at HUP they read their own configuration anew, and that is what a volume
/// of theirs holds: they aren't here.
const SUPERVISORS: [&str; 41] = [
    "s6-svscan",
    "s6-supervise",
    "s6-linux-init",
    "runsvdir",
    "runsv",
    "runit",
    "runit-init",
    "svscan",
    "svscanboot",
    "supervise",
    "supervisord",
    "circusd",
    "systemd",
    "init",
    "openrc-init",
    "supervise-daemo",
    "my_init",
    "dinit",
    "finit",
    "shepherd",
    "service-manager",
    "system-manager",
    "perpboot",
    "perpd",
    "immortal",
    "immortaldir",
    "horust",
    "multirun",
    "chaperone",
    "pies",
    "honcho",
    "foreman",
    "forego",
    "goreman",
    "hivemind",
    "overmind",
    "process-compose",
    "forever",
    "god",
    "pm2",
    "pm2-runtime",
];

/// The title that pm2 gives itself: `PM2 v5.3.0: God Daemon (/root/.pm2)`.
const PM2: &str = "PM2 v";

impl Kind {
    /// What a process of this name is.
    pub fn of(comm: &str) -> Self {
        if is_init(comm) || COMMANDS.contains(&comm) {
            Self::Wrapper
        } else if SUPERVISORS.contains(&first_word(comm)) || comm.starts_with(PM2) {
            Self::Supervisor
        } else {
            Self::Other
        }
    }
}

/// Interpreters: what they run may have no other trace than their arguments. A version can follow.
const INTERPRETERS: [&str; 5] = ["python", "ruby", "perl", "node", "nodejs"];

/// The supervisors that interpreters run, as their scripts and modules are called. None of these names is one that programs have.
const INTERPRETED: [&str; 6] = ["supervisord", "circusd", "honcho", "foreman", "my_init", "pm2-runtime"];

/// Their options that take the next argument.
const WITH_ARGUMENT: [&[u8]; 7] = [b"-W", b"-X", b"-I", b"-r", b"--require", b"--import", b"--loader"];

/// Whether a process of this name runs a program that only its arguments name, as far as names tell.
pub fn is_interpreter(comm: &str) -> bool {
    INTERPRETERS.iter().any(|interpreter| {
        let rest = comm.strip_prefix(interpreter);
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    })
}

/// The supervisor that an interpreter with this `cmdline` runs: its script, or a part of its module's name.
pub fn supervisor_in(cmdline: &[u8]) -> Option<&'static str> {
    let mut arguments = cmdline.split(|byte| *byte == 0).skip(1);
    let known = |name: &[u8]| INTERPRETED.into_iter().find(|supervisor| supervisor.as_bytes() == name);
    loop {
        match arguments.next()? {
            b"-c" | b"-e" | b"--eval" => return None,
            b"-m" => return arguments.next()?.split(|byte| *byte == b'.').find_map(known),
            option if WITH_ARGUMENT.contains(&option) => drop(arguments.next()),
            option if option.starts_with(b"-") => {}
            script => return script.rsplit(|byte| *byte == b'/').next().and_then(known),
        }
    }
}

/// Whether a name is that of an init, which runs one program.
pub(super) fn is_init(comm: &str) -> bool {
    INITS.iter().any(|init| is_variant(comm, init))
}

/// Whether a name is this program's, with a version or an architecture behind it or without, and maybe cut.
fn is_variant(comm: &str, program: &str) -> bool {
    let Some(rest) = comm.strip_prefix(program) else { return false };
    let mut parts = rest.split(['-', '_', '.']).peekable();
    if parts.next() != Some("") {
        return false;
    }
    while let Some(part) = parts.next() {
        let is_cut = parts.peek().is_none() && comm.len() == LONGEST_NAME;
        let number = part.strip_prefix('v').unwrap_or(part);
        let is_version = number.starts_with(|first: char| first.is_ascii_digit());
        if !(is_version
            || VARIANTS.contains(&part)
            || (is_cut && VARIANTS.iter().any(|known| known.starts_with(part))))
        {
            return false;
        }
    }
    true
}

/// The kernel keeps so many bytes of a name.
pub(super) const LONGEST_NAME: usize = 15;

/// Shells: one that stands before the program runs it as a child, and hands no signal on.
const SHELLS: [&str; 10] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "busybox", "csh"];

/// Programs that start another one and wait for it. What they hand on differs.
const LAUNCHERS: [&str; 8] =
    ["npm", "npx", "yarn", "pnpm", "make", "apachectl", "apache2ctl", "start-stop-daem"];

/// Whether a process of this name only stands before the program that is meant, as far as names tell.
pub fn stands_before(comm: &str) -> bool {
    let name = first_word(comm);
    SHELLS.contains(&name) || LAUNCHERS.contains(&name)
}

/// What runs a program, as far as it has handlers of its own: the masks don't tell those from the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Node.js.
    Node,
    /// Erlang's virtual machine, which runs Elixir too.
    Erlang,
    /// HotSpot, the usual Java virtual machine.
    Jvm,
    /// Anything else.
    Other,
}

/// What a signal does to a program that has no handler for it, though what runs it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Harm {
    /// What runs the program.
    pub runtime: &'static str,
    /// What that does at the signal.
    pub does: &'static str,
}

/// The signals that what runs a program takes for itself, so that they aren't sent unless that is asked for.
const HARMS: [(Nature, Signal, Harm); 5] = [
    (Nature::Node, Signal::USR1, Harm { runtime: "Node.js", does: "opens its debugger" }),
    (Nature::Erlang, Signal::USR1, Harm { runtime: ERLANG, does: "writes a crash dump and ends" }),
    (Nature::Erlang, Signal::QUIT, Harm { runtime: ERLANG, does: "ends" }),
    (
        Nature::Jvm,
        Signal::USR2,
        Harm { runtime: JVM, does: "crashes, since it stops its own threads with it," },
    ),
    (Nature::Jvm, Signal::QUIT, Harm { runtime: JVM, does: "only prints what its threads do" }),
];

const ERLANG: &str = "Erlang's virtual machine";
const JVM: &str = "a Java virtual machine";

/// Whether there is anything that takes this signal for itself: only then it matters what runs a program.
pub fn may_harm(signal: Signal) -> bool {
    HARMS.iter().any(|(_, harmful, _)| *harmful == signal)
}

impl Nature {
    /// What a thread of this name belongs to. The title that a program gives its process is the name of its first thread alone:
    /// Node.js's others have the name of its file, or from version 22 on names of their own, as those of the others always have.
    pub fn of_thread(name: &str) -> Self {
        match name {
            "node" | "nodejs" | "V8Worker" | "SignalInspector" => Self::Node,
            "beam" | "beam.smp" | "sys_sig_dispatc" | "1_scheduler" | "erts_sched_1" => Self::Erlang,
            "java" | "VM Thread" | "Signal Dispatch" | "VM Periodic Tas" => Self::Jvm,
            _ => Self::Other,
        }
    }

    /// What a process is by its masks, as one of its threads blocks these signals. Node.js before version 22 under another name
    /// (a script's that begins with `#!`, a copy's or a link's) shows itself by nothing else: it ignores SIGPIPE and SIGXFSZ,
    /// catches SIGINT, SIGUSR1, SIGSEGV and SIGTERM, and the thread that opens the debugger blocks all signals.
    pub fn of_masks(first: &Status, blocked_in_thread: SignalSet) -> Self {
        const ALL: u64 = 0x7ffb_feff;
        const IGNORED: u64 = 0x0100_1000;
        const CAUGHT: u64 = 0x4602;
        let ignored = first.ignored.in_stat() == SignalSet::from_bits(IGNORED);
        let caught = SignalSet::from_bits(CAUGHT).without(first.caught).is_empty();
        let blocks_all = SignalSet::from_bits(ALL).without(blocked_in_thread).is_empty();
        if ignored && caught && blocks_all { Self::Node } else { Self::Other }
    }

    /// What this signal would do to a program that hasn't taken it for itself.
    pub fn harm(self, signal: Signal) -> Option<Harm> {
        let row = HARMS.iter().find(|(nature, harmful, _)| (*nature, *harmful) == (self, signal));
        row.map(|(_, _, harm)| *harm)
    }
}

/// A title's first word, up to a colon or a blank: `gunicorn` of `gunicorn: master [web:app]`, `puma` of
/// `puma 5.6.5 (tcp://0.0.0.0:9292) [app]`.
pub fn first_word(title: &str) -> &str {
    title.split([':', ' ', '\t']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interpreter_runs_is_a_supervisor_by_its_script_or_its_module() {
        for (cmdline, expected) in [
            ("python3\0/usr/bin/supervisord\0-n", Some("supervisord")),
            ("python3\0-u\0-W\0ignore\0/usr/bin/supervisord", Some("supervisord")),
            ("python3\0-m\0supervisor.supervisord\0-c\0/etc/s.conf", Some("supervisord")),
            ("python\0-X\0dev\0-m\0circusd", Some("circusd")),
            ("python3\0-m\0honcho\0start", Some("honcho")),
            ("python3\0/sbin/my_init\0--quiet", Some("my_init")),
            ("python\0/app/init.py", None),
            ("node\0dist/init.js", None),
            ("python3\0-m\0shop.init", None),
            ("ruby\0god", None),
            ("node\0--require\0x.js\0/usr/local/bin/pm2-runtime\0app.js", Some("pm2-runtime")),
            ("ruby\0/usr/local/bin/foreman\0start", Some("foreman")),
            ("python3\0/app/server.py\0/usr/bin/supervisord", None),
            ("python3\0-W\0supervisord\0/app/server.py", None),
            ("python3\0-c\0supervisord", None),
            ("python3\0-m", None),
            ("python3\0/supervisord/app", None),
            ("python3\0supervisord2", None),
            ("supervisord", None),
            ("", None),
        ] {
            assert_eq!(supervisor_in(cmdline.as_bytes()), expected, "{cmdline:?}");
        }
    }

    #[test]
    fn interpreters_are_known_with_any_version() {
        for interpreter in ["python", "python3", "python3.11", "ruby3.1", "node", "nodejs", "perl5.36.0"] {
            assert!(is_interpreter(interpreter), "{interpreter}");
        }
        for other in ["pythonic", "python3-config", "rubyist", "nodemon", "cpython", "", "py"] {
            assert!(!is_interpreter(other), "{other}");
        }
    }

    #[test]
    fn no_name_is_longer_than_one_that_the_kernel_keeps() {
        let mut names = INITS.iter().chain(&COMMANDS).chain(&SUPERVISORS).chain(&SHELLS).chain(&LAUNCHERS);
        assert!(names.all(|name| name.len() <= LONGEST_NAME), "TASK_COMM_LEN is 16");
    }

    #[test]
    fn supervisors_and_inits_are_known_by_their_names_and_nobody_else_is() {
        for supervisor in
            ["s6-svscan", "runsvdir", "supervisord", "systemd", "init", "PM2 v5.3.0: God", "foreman: master"]
        {
            assert_eq!(Kind::of(supervisor), Kind::Supervisor, "{supervisor}");
        }
        for wrapper in [
            "tini",
            "docker-init",
            "dumb-init",
            "catatonit",
            "podman-init",
            "pid1",
            "timeout",
            "sudo",
            "su",
            "unshare",
            "script",
        ] {
            assert_eq!(Kind::of(wrapper), Kind::Wrapper, "{wrapper}");
        }
        for other in ["nginx", "monit", "sh", "PM2", "initd", "tini2", "sudoku", "env", "nohup", ""] {
            assert_eq!(Kind::of(other), Kind::Other, "{other}");
        }
    }

    #[test]
    fn an_init_is_known_with_a_version_and_an_architecture_behind_its_name_and_where_that_is_cut() {
        for name in [
            "tini-static",
            "tini-amd64",
            "tini-static-amd64",
            "tini-static-muslc-amd64",
            "tini-0.19.0",
            "tini-v0.19.0",
            "tini_0.19.0-1_arm64",
            "dumb-init_1.2.5",
            "dumb-init_1.2.5_x86_64",
            "dumb-init-1.2.5",
            "catatonit.x86_64",
            "catatonit.aarch64",
        ] {
            for bytes in [name.len(), LONGEST_NAME.min(name.len())] {
                assert_eq!(Kind::of(&name[..bytes]), Kind::Wrapper, "{}", &name[..bytes]);
            }
        }
        for name in ["tini-web", "tini-s", "tinis", "tini-", "pid1-server", "dumb-init-app", "catatonitor"] {
            assert_eq!(Kind::of(name), Kind::Other, "{name}");
        }
    }

    #[test]
    fn what_runs_a_program_is_known_by_the_names_of_its_threads_and_node_js_by_its_masks_too() {
        for (name, nature) in [
            ("node", Nature::Node),
            ("V8Worker", Nature::Node),
            ("beam.smp", Nature::Erlang),
            ("sys_sig_dispatc", Nature::Erlang),
            ("java", Nature::Jvm),
            ("VM Thread", Nature::Jvm),
            ("nodes", Nature::Other),
            ("", Nature::Other),
        ] {
            assert_eq!(Nature::of_thread(name), nature, "{name}");
        }
        // Read of Node.js 20, and of CPython with handlers of its own.
        let status = |ignored, caught| Status {
            ignored: SignalSet::from_bits(ignored),
            caught: SignalSet::from_bits(caught),
            ..Status::default()
        };
        let inspector = SignalSet::from_bits(0xffff_fffe_7ffb_feff);
        let node = status(0x0100_1000, 0x1_0000_4602);
        assert_eq!(Nature::of_masks(&node, inspector), Nature::Node);
        assert_eq!(Nature::of_masks(&node, SignalSet::from_bits(0x200)), Nature::Other, "a worker");
        for signal in [2, 10, 11, 15] {
            let other = status(0x0100_1000, 0x1_0000_4602 & !(1 << (signal - 1)));
            assert_eq!(Nature::of_masks(&other, inspector), Nature::Other, "signal {signal} isn't caught");
        }
        for ignored in [0, 0x1000, 0x0100_0000, 0x0100_1001] {
            let other = status(ignored, 0x1_0000_4602);
            assert_eq!(Nature::of_masks(&other, inspector), Nature::Other, "{ignored:x} is ignored");
        }
    }

    #[test]
    fn a_signal_does_harm_only_where_what_runs_the_program_takes_it_for_itself() {
        let does = |nature: Nature, signal| nature.harm(signal).map(|harm| harm.does);
        assert_eq!(does(Nature::Node, Signal::USR1), Some("opens its debugger"));
        assert_eq!(does(Nature::Erlang, Signal::USR1), Some("writes a crash dump and ends"));
        assert!(does(Nature::Jvm, Signal::USR2).is_some() && does(Nature::Jvm, Signal::QUIT).is_some());
        for (nature, signal) in
            [(Nature::Node, Signal::USR2), (Nature::Jvm, Signal::USR1), (Nature::Erlang, Signal::USR2)]
        {
            assert_eq!(does(nature, signal), None);
        }
        assert_eq!(does(Nature::Other, Signal::USR1), None);
        assert!(!may_harm(Signal::HUP) && may_harm(Signal::QUIT));
    }

    #[test]
    fn a_title_begins_with_the_programs_name() {
        assert_eq!(first_word("gunicorn: maste"), "gunicorn");
        assert_eq!(first_word("puma 5.6.5 (tcp://0.0.0.0:9292) [app]"), "puma");
        assert_eq!(first_word("nginx"), "nginx");
        assert_eq!(first_word(": x"), "");
        assert!(stands_before("npm run start") && stands_before("sh") && !stands_before("shop"));
    }
}
