//! Why nothing is sent to a process, and what helps: a sentence for people.

use crate::kernel::guard::Handling;
use crate::kernel::process::ProcessIdentity;
use crate::kernel::program::{Harm, Kind, stands_before};
use crate::machine::reload::process::Process;
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::sending::Sending;
use crate::machine::reload::{Target, Terms};
use crate::model::names::Name;
use crate::model::signal::Signal;
use crate::policy::problem::quoted;

/// How many processes a sentence names.
const NAMED: usize = 3;

impl Target {
    /// The processes of these that are told, as sentences name them, and how many more there are.
    pub(super) fn named(&self, is_it: impl Fn(&ProcessIdentity) -> bool) -> String {
        let told = self.processes.chosen().map(Chosen::told).unwrap_or_default();
        let mut named = told.iter().filter(|process| is_it(process.identity()));
        let first: Vec<String> = named
            .by_ref()
            .take(NAMED)
            .map(|process| format!("{} (PID {})", quoted(process.name()), process.identity().pid))
            .collect();
        match named.count() {
            0 => first.join(", "),
            more => format!("{} and {more} more", first.join(", ")),
        }
    }

    /// Why the outcome of a send is `unhandled`, with the processes that have to do with it.
    pub(super) fn why_unhandled(&self, sending: &Sending, reason: Option<&str>) -> String {
        match reason {
            Some(reason) => format!("{}: {reason}", self.named(|process| sending.is_to(process))),
            None => {
                let others = self.named(|process| !sending.is_to(process));
                format!("{others} didn't handle it within 10 s, and the others did")
            }
        }
    }
}

/// What is said of a process that does this with the signal.
pub(super) fn sentence(
    container: &Name,
    signal: Signal,
    process: &Process,
    handling: Handling,
    terms: &Terms,
) -> String {
    let who = format!("{} (PID {}) in container {container}", quoted(process.name()), process.identity().pid);
    match process.other_kind() {
        Some(Kind::Wrapper) => {
            return format!(
                "{who} changes its name all the time, and runs another program under the one that it has now: nothing is sent"
            );
        }
        Some(Kind::Supervisor) => {
            return format!(
                "{who} supervises other programs: nothing is sent to it; name the program in reloadlet.io/process"
            );
        }
        Some(Kind::Other) | None => {}
    }
    match handling {
        Handling::Default | Handling::Handled => unhandled(&who, signal, process),
        Handling::Fleeting => format!(
            "{who} had no handler for {signal}, and has one now, maybe for a moment: nothing is sent until it has had it for \
             long enough to be known to keep it, since {signal} would end a program that handles it only now and then; \
             choose a signal that it handles all the time in reloadlet.io/signal"
        ),
        Handling::Ignored => format!(
            "{who} ignores {signal}: nothing is sent until it handles it; choose another signal in reloadlet.io/signal, or \
             start the program without nohup and the like"
        ),
        Handling::Blocked | Handling::Spawning => format!(
            "{who} blocks {signal} and has no handler for it: nothing is sent until it has blocked it for long enough to be \
             known to take it by signalfd or sigwait, since programs that start others block all signals for a moment; if it \
             takes it so, set reloadlet.io/unhandled to send"
        ),
        Handling::Harmful(Harm { runtime, does }) => format!(
            "{who} is {runtime}, which {does} at {signal} unless the program has taken that signal for itself, and that can't \
             be seen from outside: nothing is sent; choose another signal in reloadlet.io/signal, or set \
             reloadlet.io/unhandled to send if the program has taken it"
        ),
        Handling::Starting => format!(
            "{who} isn't as far yet as to take {signal}: it is being started, or executes itself anew; it is told once it \
             handles the signal{}",
            if terms.send_unhandled { ", whatever reloadlet.io/unhandled says" } else { "" }
        ),
        Handling::Unknown => format!(
            "whether {who} handles {signal} isn't known, since it has too many threads or its threads take too long to look \
             at: nothing is sent until that is known"
        ),
    }
}

/// The advice fits what stands there: `send` only where somebody could take the signal.
fn unhandled(who: &str, signal: Signal, process: &Process) -> String {
    let face = process.face();
    if stands_before(process.name()) {
        let others =
            face.others.as_ref().map_or(String::new(), |others| format!(" (beside it there are {others})"));
        return format!(
            "{who} doesn't handle {signal} and only starts the program: nothing is sent; name the program in \
             reloadlet.io/process{others}, or have it started by exec"
        );
    }
    let otherwise = match (face.is_first, &face.wrapper) {
        (_, _) if signal.is_harmless() => format!("nothing comes of {signal} without a handler"),
        (true, _) => {
            format!("the kernel drops {signal} for the first process of a container that has no handler")
        }
        (false, Some(wrapper)) => {
            format!("{signal} would end it, and with it {} and the container", quoted(wrapper))
        }
        (false, None) => format!("{signal} would end it"),
    };
    format!(
        "{who} doesn't handle {signal}: nothing is sent until it does, since {otherwise}; choose a signal that it handles in \
         reloadlet.io/signal, name another process in reloadlet.io/process, or, only if it waits for the signal in sigwait, \
         which can't be seen, set reloadlet.io/unhandled to send"
    )
}
