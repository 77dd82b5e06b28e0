//! Where a value comes from that is wrong: the line that says so names the flag alone, also where nobody has typed it.

use std::ffi::{OsStr, OsString};

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;

/// The environment variable that the wrong value is from, if it is from one.
pub(super) fn variable(
    error: &clap::Error,
    arguments: &[OsString],
    get: impl Fn(&str) -> Option<OsString>,
) -> Option<String> {
    let wrong = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => Some(text.split(' ').next()?.trim_start_matches('-').to_owned()),
        _ => None,
    };
    let program = Cli::command();
    let mut flags = program.get_subcommands().flat_map(clap::Command::get_arguments);
    flags.find_map(|flag| {
        let variable = flag.get_env()?.to_str()?;
        let value = get(variable)?;
        let is_it = match &wrong {
            Some(wrong) => flag.get_long() == Some(wrong) && !is_typed(wrong, arguments),
            // An argument that isn't text would be named by itself.
            None => error.kind() == ErrorKind::InvalidUtf8 && value.to_str().is_none(),
        };
        is_it.then(|| variable.to_owned())
    })
}

fn is_typed(long: &str, arguments: &[OsString]) -> bool {
    let typed = |argument: &OsString| {
        let text = argument.as_os_str().as_encoded_bytes();
        let name = text.strip_prefix(b"--").map(|rest| rest.split(|byte| *byte == b'=').next());
        name.flatten() == Some(OsStr::new(long).as_encoded_bytes())
    };
    arguments.iter().any(typed)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn found(arguments: &[&str], (name, value): (&str, &str)) -> Option<String> {
        let error = Cli::try_parse_from(arguments).unwrap_err();
        let typed: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        variable(&error, &typed, |asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn a_value_that_nobody_has_typed_is_from_the_environment() {
        let wrong = ["reloadlet", "agent", "--listen=here"];
        assert_eq!(found(&wrong, ("RELOADLET_LISTEN", "here")), None, "typed");
        let error = Cli::try_parse_from(wrong).unwrap_err();
        let asked = |name: &str| (name == "RELOADLET_LISTEN").then(|| "here".into());
        assert_eq!(variable(&error, &[], asked), Some("RELOADLET_LISTEN".to_owned()));
        assert_eq!(variable(&error, &[], |_| None), None);
        assert_eq!(found(&["reloadlet", "agent", "--nosuch"], ("RELOADLET_LISTEN", "x")), None);
    }
}
