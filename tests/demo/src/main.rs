//! The demo: a stand-in node, the real agent, a change each second, and what became of each.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for people to look at")]

mod actor;
mod agent_log;
mod nginx;
mod report;
mod rights;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use standin::Interrupt;

/// Changes ConfigMaps, Secrets and projected volumes on a stand-in node and shows how reloadlet delivers each change.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// How many changes to make
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,

    /// The time between two changes, e.g. 1s or 250ms
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = duration)]
    interval: Duration,
}

/// What `--interval` takes.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    match (number.parse(), unit) {
        (Ok(number), "ms") => Ok(Duration::from_millis(number)),
        (Ok(number), "s") => Ok(Duration::from_secs(number)),
        _ => Err("a number with ms or s, such as 250ms".to_owned()),
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(sentence) = rights::lacking() {
        eprintln!("{sentence}");
        return ExitCode::from(2);
    }
    let result = Interrupt::on_signals()
        .context("can't catch signals")
        .and_then(|stop| show::run(flags.changes, flags.interval, &stop));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The demo failed: {error:#}.");
            ExitCode::FAILURE
        }
    }
}
