//! What a manifest's command line runs, as far as its words tell.

use crate::kernel::program::{Kind, LONGEST_NAME, Nature, is_init, is_interpreter, supervisor_in};

/// So many words are looked at.
const MOST_WORDS: usize = 16;

/// The supervisor that a command line runs: its program, what an init before it runs, or what an interpreter does. The name is cut as the
/// kernel cuts it.
pub fn supervisor_of<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let words: Vec<&str> = words.take(MOST_WORDS).collect();
    let (name, rest) = program_of(&words)?;
    if is_interpreter(name) {
        return supervisor_in(rest.join("\0").as_bytes());
    }
    (Kind::of(name) == Kind::Supervisor).then_some(name)
}

/// The program that a command line runs, if what runs it takes signals for itself: Node.js, a Java virtual machine or the like.
pub fn runtime_of<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let words: Vec<&str> = words.take(MOST_WORDS).collect();
    let (name, _) = program_of(&words)?;
    (Nature::of_thread(name) != Nature::Other).then_some(name)
}

/// The program that a command line runs, or that an init before it does, with the words from it on.
fn program_of<'a, 'w>(words: &'w [&'a str]) -> Option<(&'a str, &'w [&'a str])> {
    let mut rest = words;
    loop {
        let (program, arguments) = rest.split_first()?;
        let name = comm(program);
        if !is_init(name) {
            return Some((name, rest));
        }
        // What follows an option may be its own: then nothing is known.
        let options = arguments.iter().take_while(|word| word.starts_with('-')).count();
        rest = arguments.get(options..)?;
    }
}

/// The name that the kernel gives to a process of this program.
fn comm(program: &str) -> &str {
    let name = program.rsplit('/').next().unwrap_or_default();
    let end = (0..=LONGEST_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    name.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_takes_signals_for_itself_is_found() {
        for (line, expected) in [
            ("/usr/local/bin/node server.js", Some("node")),
            ("tini -- java -jar app.jar", Some("java")),
            ("python3 /app/server.py", None),
            ("sh -c node", None),
        ] {
            assert_eq!(runtime_of(line.split(' ')), expected, "{line}");
        }
    }

    #[test]
    fn a_supervisor_is_found_where_the_agent_would_find_it() {
        for (line, expected) in [
            ("/usr/bin/supervisord -n", Some("supervisord")),
            ("supervise-daemon web", Some("supervise-daemo")),
            ("/init", Some("init")),
            ("/usr/bin/tini -g -- /usr/bin/supervisord", Some("supervisord")),
            ("dumb-init tini -- runsvdir /etc/service", Some("runsvdir")),
            ("python3 -u /usr/bin/supervisord", Some("supervisord")),
            ("tini -- python3 -m supervisor.supervisord", Some("supervisord")),
            ("tini -p SIGTERM -- supervisord", None),
            ("/bin/app supervisord", None),
            ("sh -c supervisord", None),
            ("python3 /app/server.py", None),
            ("nginx", None),
            ("tini", None),
            ("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}", None),
            ("", None),
        ] {
            assert_eq!(supervisor_of(line.split(' ')), expected, "{line}");
        }
        assert_eq!(supervisor_of(std::iter::repeat_n("tini", 100)), None);
    }
}
