//! The shim: the parent outside.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::sched::CloneFlags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use standin::shim::{Plan, kill_tree, remove_tree};

/// Sends a line to the node. The node may be gone; its end of the other pipe then ends this process.
pub(crate) fn say(line: &str) {
    let line = format!("{}\n", line.replace('\n', " "));
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(io::stdout(), rest) {
            Ok(count) => rest = &rest[count..],
            Err(_) => return,
        }
    }
}

pub(crate) fn run(plan: &Plan, text: &str) -> ExitCode {
    match supervise(plan, text) {
        Ok(status) => {
            clean_up(plan);
            match (status.code(), status.signal()) {
                (Some(code), _) => say(&format!("exited {code}")),
                (None, signal) => say(&format!("signaled {}", signal.unwrap_or(0))),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            clean_up(plan);
            say(&format!("failed {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What the runtime does when a container has ended.
fn clean_up(plan: &Plan) {
    if plan.sweep {
        for dir in &plan.cgroups {
            report(kill_tree(dir));
        }
    }
    for dir in &plan.remove {
        report(remove_tree(dir));
    }
}

fn report(result: Result<(), standin::Error>) {
    if let Err(error) = result {
        #[allow(clippy::print_stderr, reason = "the node takes away what the shim could not")]
        {
            eprintln!("standin-shim: {error}");
        }
    }
}

fn supervise(plan: &Plan, text: &str) -> io::Result<ExitStatus> {
    let exe = std::env::current_exe()?;
    let output = File::options().create(true).append(true).open(&plan.output)?;
    let (status, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    match plan.join_pid_ns {
        Some(pid) => {
            let namespace = File::open(format!("/proc/{pid}/ns/pid"))?;
            nix::sched::setns(namespace.as_fd(), CloneFlags::CLONE_NEWPID)?;
        }
        None => nix::sched::unshare(CloneFlags::CLONE_NEWPID)?,
    }
    // Its standard input is the pipe on which it reports a failure; the program's becomes /dev/null.
    let mut child = Command::new(exe)
        .args(["init", text])
        .stdin(Stdio::from(write))
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(output))
        .spawn()?;
    say(&format!("pid {}", child.id()));
    follow(&mut child, File::from(status))
}

/// Waits for the program's start, the end of the process, or the end of the node.
fn follow(child: &mut Child, mut status: File) -> io::Result<ExitStatus> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    let exit = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let stdin = io::stdin();
    let (mut node_is_there, mut starting, mut failure) = (true, true, Vec::new());
    loop {
        let (ended, told, gone) = {
            let mut fds = vec![PollFd::new(&exit, PollFlags::IN)];
            if starting {
                fds.push(PollFd::new(&status, PollFlags::IN));
            }
            if node_is_there {
                fds.push(PollFd::new(&stdin, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            (ready[0], starting && ready[1], node_is_there && ready[ready.len() - 1])
        };
        if told {
            let mut chunk = [0; 512];
            match status.read(&mut chunk)? {
                0 => {
                    starting = false;
                    if failure == b"\n" {
                        say("started");
                        failure.clear();
                    }
                }
                count => failure.extend_from_slice(&chunk[..count]),
            }
            continue;
        }
        if ended {
            let status = child.wait()?;
            if !failure.is_empty() {
                return Err(io::Error::other(String::from_utf8_lossy(&failure).trim().to_owned()));
            }
            return Ok(status);
        }
        if gone {
            node_is_there = false;
            child.kill()?;
        }
    }
}
