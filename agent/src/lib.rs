//! reloadlet tells running processes to load the configuration that the kubelet has just published.

mod address;
mod api;
mod calls;
mod cgroups;
mod check;
mod cli;
mod clock;
mod cmdline;
mod contact;
mod controller;
mod digest;
mod dumps;
mod fair;
mod gates;
mod health;
mod holder;
mod home;
mod http;
mod inbox;
mod journal;
mod kubelet_root;
mod lack;
mod landlock;
mod listing;
mod logs;
mod metrics;
mod node_loop;
mod own_reads;
mod pods_file;
mod proc;
#[cfg(test)]
mod raw_allocations;
mod raw_ending;
mod raw_signal;
mod raw_slice;
mod reports;
mod run;
mod status;
mod surveyor;
mod switch;
mod turns;
mod watcher;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use logs::{LogFormat, LogLevel, Missing};

/// Does what the arguments, the program's name first, and the environment ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = cli::parse(arguments).unwrap_or_else(|error| error.exit());
    match command {
        cli::Command::Agent(config) => agent(&config),
        cli::Command::Controller(config) => controller(&config),
        cli::Command::Check(flags) => check::check(&flags).unwrap_or_else(|error| {
            drop(writeln!(std::io::stderr(), "reloadlet check: {error:#}"));
            ExitCode::FAILURE
        }),
        cli::Command::Status(flags) => match status::command::print(&flags) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nobody is left to tell if this can't be written.
                drop(writeln!(std::io::stderr(), "reloadlet status: {error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn controller(config: &cli::ControllerConfig) -> ExitCode {
    // Before any thread starts: threads inherit it.
    let undumped = dumps::forbid();
    logged("controller", undumped, (config.log_format, config.log_level), |missing| {
        controller::run(config, missing)
    })
}

fn agent(config: &cli::AgentConfig) -> ExitCode {
    // Before any thread starts: threads inherit it.
    let undumped = dumps::forbid();
    let confined = landlock::confine(&config.state_dir);
    logged("agent", undumped, (config.log_format, config.log_level), |missing| {
        run::agent(config, confined, missing)
    })
}

/// Runs a program with its log.
fn logged(
    name: &str,
    undumped: std::io::Result<()>,
    (format, level): (LogFormat, LogLevel),
    run: impl FnOnce(Missing) -> anyhow::Result<()>,
) -> ExitCode {
    let log = match logs::start(format, level) {
        Ok(log) => log,
        Err(error) => {
            let mut stderr = std::io::stderr();
            drop(writeln!(stderr, "reloadlet {name}: can't start a thread for the log: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = undumped {
        tracing::warn!(%error, "core files of the {name} can't be forbidden: they would hold what it knows of Secrets");
    }
    match run(log.missing()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
