//! The application itself.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, wait};
use standin::boottime_ns;

use crate::flags::Flags;
use crate::handlers;

pub(crate) fn run(flags: &Flags) -> Result<ExitCode, String> {
    if let Some(name) = flags.comm.as_deref().or(flags.pause.then_some("pause")) {
        let name = std::ffi::CString::new(name).map_err(|error| error.to_string())?;
        rustix::thread::set_name(&name).map_err(|error| format!("set the name: {error}"))?;
    }
    let mut out = Out::open(flags)?;
    out.line(&format!("started {}", boottime_ns()))?;
    set(&flags.block_all).thread_block().map_err(|error| error.to_string())?;
    let _children = start_children(flags)?;
    for signal in &flags.ignore {
        handlers::ignore(*signal).map_err(|error| format!("ignore {signal}: {error}"))?;
    }
    if !flags.block_leader.is_empty() {
        std::thread::Builder::new()
            .name("taker".to_owned())
            .stack_size(64 * 1024)
            .spawn(|| {
                loop {
                    std::thread::park();
                }
            })
            .map_err(|error| error.to_string())?;
        set(&flags.block_leader).thread_block().map_err(|error| error.to_string())?;
    }
    std::thread::sleep(flags.catch_after);

    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| format!("pipe: {error}"))?;
    let write = Arc::new(write);
    let pause = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD];
    let own = if flags.pause { pause.as_slice() } else { &[] };
    for signal in flags.catch.iter().chain(&flags.exit_on).chain(own) {
        handlers::catch(*signal, Arc::clone(&write)).map_err(|error| format!("catch {signal}: {error}"))?;
    }
    out.line(&format!("ready {}", boottime_ns()))?;
    serve(flags, &read, &mut out)
}

fn set(signals: &[Signal]) -> SigSet {
    signals.iter().copied().collect()
}

fn start_children(flags: &Flags) -> Result<Vec<std::process::Child>, String> {
    let exe = std::env::args_os().next().unwrap_or_default();
    let start = |args: &Vec<String>| {
        let child = Command::new(&exe).args(args).stdin(Stdio::null()).spawn();
        child.map_err(|error| format!("start a child: {error}"))
    };
    flags.children.iter().map(start).collect()
}

/// Reads what the handlers wrote until a signal ends the process.
fn serve(flags: &Flags, pipe: &OwnedFd, out: &mut Out) -> Result<ExitCode, String> {
    let mut record = [0; 16];
    let mut count = 0_u64;
    loop {
        match rustix::io::read(pipe, &mut record) {
            Ok(16) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Ok(_) | Err(_) => return Err("the pipe of the handlers broke".to_owned()),
        }
        let (words, _none) = record.as_chunks::<8>();
        let (at, number) = (u64::from_le_bytes(words[0]), i64::from_le_bytes(words[1]));
        let signal = i32::try_from(number).ok().and_then(|number| Signal::try_from(number).ok());
        let Some(signal) = signal else { continue };
        count += 1;
        if flags.pause {
            if signal != Signal::SIGCHLD {
                return Ok(ExitCode::SUCCESS);
            }
            while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
            continue;
        }
        let content = flags.read.as_deref().map(first_line);
        match content {
            Some(content) => out.line(&format!("{at} {signal} {content}"))?,
            None => out.line(&format!("{at} {signal}"))?,
        }
        out.stamp(at, number, count)?;
        if flags.exit_on.contains(&signal) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn first_line(path: &Path) -> String {
    let read = File::open(path).and_then(|file| {
        let mut line = String::new();
        BufReader::with_capacity(512, file).read_line(&mut line).map(|_| line)
    });
    match read {
        Ok(line) => line.trim_end().to_owned(),
        Err(error) => format!("!{error}"),
    }
}

/// Log and stamps, opened once.
struct Out {
    log: Option<File>,
    stamps: Option<File>,
}

impl Out {
    fn open(flags: &Flags) -> Result<Self, String> {
        let open = |path: &std::path::PathBuf| {
            let file = File::options().create(true).append(true).open(path);
            file.map_err(|error| format!("open {}: {error}", path.display()))
        };
        Ok(Self {
            log: flags.log.as_ref().map(open).transpose()?,
            stamps: flags.stamps.as_ref().map(open).transpose()?,
        })
    }

    /// One write a line, so that a reader never sees half of one.
    fn line(&mut self, line: &str) -> Result<(), String> {
        match &mut self.log {
            Some(log) => {
                log.write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("log: {error}"))
            }
            None => Ok(()),
        }
    }

    fn stamp(&mut self, at: u64, signal: i64, count: u64) -> Result<(), String> {
        let Some(stamps) = &mut self.stamps else { return Ok(()) };
        let mut record = [0; 24];
        record[..8].copy_from_slice(&at.to_le_bytes());
        record[8..16].copy_from_slice(&signal.to_le_bytes());
        record[16..].copy_from_slice(&count.to_le_bytes());
        stamps.write_all(&record).map_err(|error| format!("stamps: {error}"))
    }
}
