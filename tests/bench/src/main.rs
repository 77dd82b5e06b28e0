//! The bench: how long a change takes from the kubelet's last step to the process's handler, for reloadlet, for a floor
//! that nothing can beat, and for the shell loop that people put into sidecars.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for people to look at")]

mod busy;
mod contender;
mod fleet;
mod floor;
mod limits;
mod plan;
mod rounds;
mod run;
mod samples;
mod shell;
mod table;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use rustix::mount::MountPropagationFlags;
use standin::{Hierarchy, Interrupt, require_root};

use crate::plan::Plan;

/// Measures reloadlet on a stand-in node and holds it to its limits.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Flags {
    /// A smaller run, which leaves out what takes long
    #[arg(long)]
    quick: bool,

    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// The floor: a loop of inotify and kill, without any check
    #[command(hide = true)]
    Floor {
        /// Lines of a directory, a tab and a PID
        targets: PathBuf,
    },
    /// One of the loops of a busy node
    #[command(hide = true)]
    Burn,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match flags.mode {
        Some(Mode::Floor { targets }) => return exit(floor::serve(&targets).map(|()| true)),
        Some(Mode::Burn) => return exit(busy::burn().map(|()| true)),
        None => {}
    }
    if let Err(skip) = require_root(Hierarchy::Unified, &[]) {
        let program = std::env::current_exe().map_or("bench".to_owned(), |path| path.display().to_string());
        eprintln!("The bench {}, since it makes cgroups, mounts and namespaces: sudo {program}", skip.0);
        return ExitCode::from(2);
    }
    exit(bench(&if flags.quick { Plan::quick() } else { Plan::full() }))
}

/// Leaves the machine's mount namespace: the agent wakes up for each mount, and what others mount meanwhile is not its
/// idle time.
fn leave_mount_namespace() -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).context("can't unshare the mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).context("can't make the mounts private")
}

/// Whether every limit was kept.
fn bench(plan: &Plan) -> Result<bool> {
    let stop = Interrupt::on_signals().context("can't catch signals")?;
    leave_mount_namespace()?;
    table::machine()?;
    let results = run::all(plan, &stop)?;
    table::print(&results);
    Ok(limits::print(&limits::judge(&results)))
}

fn exit(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
