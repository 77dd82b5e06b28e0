//! The command line: flags as they were typed become a configuration that is known to make sense.

use std::ffi::OsString;

use crate::check::CheckFlags;
use crate::status::command::StatusFlags;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

mod agent;
mod controller;
mod source;
mod values;

use agent::AgentFlags;
pub(crate) use agent::{AgentConfig, PodSource};
pub(crate) use controller::ControllerConfig;
use controller::ControllerFlags;

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run the agent.
    Agent(Box<AgentConfig>),
    /// Run the controller.
    Controller(Box<ControllerConfig>),
    /// Print what the agent on this node sees.
    Status(StatusFlags),
    /// Say what changes will do to the workloads of manifests.
    Check(CheckFlags),
}

/// The command that these arguments (the program's name first) and the environment ask for. The error prints itself,
/// help and version included, and knows its exit status (2 for wrong usage): [`clap::Error::exit`].
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = Cli::try_parse_from(&arguments).and_then(|cli| match cli.command {
        Commands::Agent(flags) => flags.validate().map(Box::new).map(Command::Agent),
        Commands::Controller(flags) => flags.validate().map(Box::new).map(Command::Controller),
        Commands::Status(flags) => Ok(Command::Status(flags)),
        Commands::Check(flags) => Ok(Command::Check(flags)),
    });
    parsed.map_err(|error| {
        let mut error = surplus(&error, &arguments).unwrap_or(error);
        if let Some(variable) = source::variable(&error, &arguments, |name| std::env::var_os(name)) {
            let said = format!("the value is that of the environment variable {variable}");
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![said.into()]));
        }
        error
    })
}

/// Tells running processes to load the configuration that the kubelet has just published.
#[derive(Debug, Parser)]
#[command(name = "reloadlet", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Runs the agent on this node until it is told to stop (SIGTERM or SIGINT).
    Agent(Box<AgentFlags>),
    /// Rolls workloads, once and in order, for what a change can't reach in place, until it is told to stop (SIGTERM or SIGINT).
    Controller(Box<ControllerFlags>),
    /// Shows where each change is: the versions wanted, on disk and delivered, and what keeps them apart.
    Status(StatusFlags),
    /// Reads manifests and says what a change of each ConfigMap and each Secret in them will do, without a cluster.
    Check(CheckFlags),
}

/// What is said of a value for a flag that takes none, as of any other wrong value.
fn surplus(error: &clap::Error, arguments: &[OsString]) -> Option<clap::Error> {
    let (ErrorKind::TooManyValues, Some(ContextValue::String(flag)), Some(ContextValue::String(value))) =
        (error.kind(), error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    let command = arguments.get(1)?.to_str()?;
    let program = Cli::command();
    let mut flags = program.find_subcommand(command)?.get_arguments();
    let variable = flags.find(|known| known.get_long() == flag.strip_prefix("--"))?.get_env();
    let variable = variable.map(|name| format!(", and {}=false says that it isn't", name.display()));
    let variable = variable.unwrap_or_default();
    let sentence =
        format!("invalid value '{value}' for '{flag}': it is asked for by its name alone{variable}");
    Some(usage(command, sentence))
}

fn usage(command: &str, sentence: impl std::fmt::Display) -> clap::Error {
    let mut program = Cli::command();
    program.build();
    // The usage line is the subcommand's.
    let mut command = match program.find_subcommand(command) {
        Some(command) => command.clone(),
        None => program,
    };
    command.error(ErrorKind::MissingRequiredArgument, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_needed() {
        assert_eq!(parse(["reloadlet".into()]).unwrap_err().exit_code(), 2);
        assert_eq!(parse(["reloadlet".into(), "--version".into()]).unwrap_err().exit_code(), 0);
    }

    /// The environment of a process is shared by its tests; so this reads the definition.
    #[test]
    fn each_flag_is_also_an_environment_variable_and_says_what_it_does() {
        let command = Cli::command();
        let each = command
            .get_subcommands()
            .flat_map(|command| command.get_arguments().map(move |flag| (command, flag)));
        for (command, flag) in each.filter(|(_, flag)| flag.get_id() != "help") {
            let long = flag.get_long().unwrap();
            assert!(flag.get_help().is_some(), "{long}");
            // People and pipelines call it with what they mean.
            if command.get_name() == "check" {
                continue;
            }
            let variable = format!("RELOADLET_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(flag.get_env().unwrap(), &*variable);
        }
        Cli::command().debug_assert();
    }
}
