//! What a program is, by the name that its process has at the moment: whether a signal to it reaches the application.

/// What a signal to a program means to the application in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An init that hands signals on to its child.
    Init,
    /// A program that runs others and keeps signals for itself.
    Supervisor,
    /// Any other one.
    Other,
}

/// Inits that hand signals on to their child. `podman-init` is catatonit.
const INITS: [&str; 6] = ["tini", "tini-static", "docker-init", "dumb-init", "catatonit", "podman-init"];

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
        if INITS.contains(&comm) {
            Self::Init
        } else if SUPERVISORS.contains(&first_word(comm)) || comm.starts_with(PM2) {
            Self::Supervisor
        } else {
            Self::Other
        }
    }
}

/// Shells: one that stands before the program runs it as a child, and hands no signal on.
const SHELLS: [&str; 10] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "busybox", "csh"];

/// Programs that start another one and wait for it. What they hand on differs.
const LAUNCHERS: [&str; 12] = [
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "su",
    "sudo",
    "runuser",
    "make",
    "timeout",
    "apachectl",
    "apache2ctl",
    "start-stop-daem",
];

/// Whether a process of this name only stands before the program that is meant, as far as names tell.
pub fn stands_before(comm: &str) -> bool {
    let name = first_word(comm);
    SHELLS.contains(&name) || LAUNCHERS.contains(&name)
}

/// Whether a thread of this name is Node.js's: its first threads have the name of the program, or from version 22 on names of
/// their own. The title that a script gives its process is the name of the main thread alone.
pub fn is_node(thread: &str) -> bool {
    matches!(thread, "node" | "nodejs" | "V8Worker" | "SignalInspector")
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
    fn no_name_is_longer_than_one_that_the_kernel_keeps() {
        let names = INITS.iter().chain(&SUPERVISORS).chain(&SHELLS).chain(&LAUNCHERS);
        assert!(names.clone().all(|name| name.len() <= 15), "TASK_COMM_LEN is 16");
    }

    #[test]
    fn supervisors_and_inits_are_known_by_their_names_and_nobody_else_is() {
        for supervisor in
            ["s6-svscan", "runsvdir", "supervisord", "systemd", "init", "PM2 v5.3.0: God", "foreman: master"]
        {
            assert_eq!(Kind::of(supervisor), Kind::Supervisor, "{supervisor}");
        }
        for init in ["tini", "docker-init", "dumb-init", "catatonit", "podman-init"] {
            assert_eq!(Kind::of(init), Kind::Init, "{init}");
        }
        for other in ["nginx", "monit", "sh", "PM2", "initd", "tini2", ""] {
            assert_eq!(Kind::of(other), Kind::Other, "{other}");
        }
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
