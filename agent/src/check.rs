//! `reloadlet check`: what a change of each ConfigMap and each Secret that manifests name will do. It needs no cluster and no rights.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum, ValueHint};
use reloadlet_core::policy::plan::Allowed;

use codes::Code;
use finding::Level;
use flags::Flags;
use report::{Installed, Report};

mod absent;
mod codes;
mod content;
mod finding;
mod findings;
mod flags;
mod github;
mod in_place;
mod json;
mod near;
mod objects;
mod programs;
mod reloader;
mod report;
mod selector;
mod sources;
mod table;

/// What is to be checked.
#[derive(Clone, Debug, Args, PartialEq, Eq)]
pub(crate) struct CheckFlags {
    /// File with manifests (YAML or JSON), directory of which all *.yaml, *.yml and *.json are read, or - for standard input; can be
    /// given several times
    #[arg(long = "file", short, required = true, value_name = "FILE|DIR|-", value_hint = ValueHint::AnyPath)]
    files: Vec<PathBuf>,

    /// How it is written
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value = "table")]
    output: Output,

    /// Exit with 1 where something will never reach its program, or is wrong
    #[arg(long)]
    strict: bool,

    /// Leave out what has this code; can be given several times, or as a comma list
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = codes::code)]
    ignore: Vec<Code>,

    /// Judge as agents do that make requests also to pods with hostNetwork (their flag of this name)
    #[arg(long)]
    allow_host_network_http: bool,

    /// Judge as agents do that watch Secrets (their flag of this name): they obey reloadlet.io/ignore on them
    #[arg(long)]
    watch_secrets: bool,

    /// The flags that Reloader's own Deployment has, where its annotations are used, such as "--auto-reload-all=true
    /// --is-Argo-Rollouts=true"
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true, value_parser = flags::parse)]
    reloader_flags: Option<Flags>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Table,
    /// A document for programs.
    Json,
    /// Annotations for the lines of a pull request, as workflows of GitHub print them.
    Github,
}

/// Checks and prints. A document that can't be read, or with `--strict` something that will never reach its program, makes the exit
/// status 1.
pub(crate) fn check(flags: &CheckFlags) -> Result<ExitCode> {
    let ignored: BTreeSet<Code> = flags.ignore.iter().copied().collect();
    let installed = Installed {
        allowed: Allowed { host_network_http: flags.allow_host_network_http },
        watch_secrets: flags.watch_secrets,
        reloader: flags.reloader_flags.clone().unwrap_or_default(),
    };
    let report = Report::of(sources::read(&flags.files), &ignored, installed);
    let text = match flags.output {
        Output::Table => table::table(&report),
        Output::Json => json::document(&report).context("can't write the report as JSON")?,
        Output::Github => github::annotations(&report),
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("can't write the report")?,
    }
    let is_wrong = !report.unreadable.is_empty() || (flags.strict && report.worst() >= Some(Level::Warning));
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests;
