//! What a manifest's command line runs, as far as its words tell.

use crate::kernel::program::{Kind, LONGEST_NAME, is_init, is_interpreter, supervisor_in};

/// So many words are looked at.
const MOST_WORDS: usize = 16;

/// The supervisor that a command line runs: its program, what an init before it runs, or what an interpreter does. The name is cut as the
/// kernel cuts it.
pub fn supervisor_of<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let words: Vec<&str> = words.take(MOST_WORDS).collect();
    let mut rest = words.as_slice();
    loop {
        let (program, arguments) = rest.split_first()?;
        let name = comm(program);
        if is_init(name) {
            // What follows an option may be its own: then nothing is known.
            let options = arguments.iter().take_while(|word| word.starts_with('-')).count();
            rest = arguments.get(options..)?;
        } else if is_interpreter(name) {
            return supervisor_in(rest.join("\0").as_bytes());
        } else {
            return (Kind::of(name) == Kind::Supervisor).then_some(name);
        }
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
