//! `runc init`: joins the leaf, makes the file system, becomes the program.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::sched::CloneFlags;
use rustix::process::Signal;
use standin::shim::{Plan, View};

use crate::root;

const COMM: &CStr = c"runc:[2:INIT]";

pub(crate) fn run(plan: &Plan) -> ExitCode {
    // The copy closes on exec: the shim sees the end of the pipe when the program runs.
    let Ok(mut report) = io::stdin().as_fd().try_clone_to_owned().map(File::from) else {
        return ExitCode::from(126);
    };
    let Err(message) = become_program(plan, &mut report);
    if report.write_all(message.as_bytes()).is_err() {
        return ExitCode::from(126);
    }
    ExitCode::from(127)
}

fn become_program(plan: &Plan, report: &mut File) -> Result<std::convert::Infallible, String> {
    rustix::thread::set_name(COMM).map_err(|error| format!("set the name: {error}"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("set the death signal: {error}"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // A Go runtime "catches" everything, and what it catches here ends the start.
    for signal in [1, 2, 3, 10, 12, 15] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            Arc::new(AtomicBool::new(true)),
        )
        .map_err(|error| format!("catch signal {signal}: {error}"))?;
    }
    let null = File::open("/dev/null").map_err(|error| format!("open /dev/null: {error}"))?;
    for dir in &plan.cgroups {
        let procs = dir.join("cgroup.procs");
        std::fs::write(&procs, "0").map_err(|error| format!("join {}: {error}", procs.display()))?;
    }
    if plan.init_delay_ms > 0 {
        std::thread::sleep(Duration::from_millis(plan.init_delay_ms));
    }
    match &plan.view {
        View::Of(pid) => enter(*pid)?,
        View::New(new) => root::make(new)?,
    }
    let [program, args @ ..] = plan.command.as_slice() else {
        return Err("the command is empty".to_owned());
    };
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(&plan.env).stdin(null);
    if let Some(user) = plan.user {
        command.uid(user).gid(user);
    }
    if let Some(name) = &plan.arg0 {
        command.arg0(name);
    }
    // Without this byte the end of the pipe is the end of this process.
    report.write_all(b"\n").map_err(|error| format!("report: {error}"))?;
    Err(format!("exec {program}: {}", command.exec()))
}

fn enter(pid: i32) -> Result<(), String> {
    let path = format!("/proc/{pid}/ns/mnt");
    let namespace = File::open(&path).map_err(|error| format!("open {path}: {error}"))?;
    nix::sched::setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS)
        .map_err(|error| format!("setns {path}: {error}"))?;
    std::env::set_current_dir(Path::new("/")).map_err(|error| format!("chdir /: {error}"))
}
