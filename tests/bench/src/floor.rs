//! The floor: what it takes at least. One inotify instance, a read, a kill; nothing is checked.

use std::io::Write as _;
use std::mem::MaybeUninit;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// Signals the PID of a directory when a generation in it is removed, until it is killed.
pub(crate) fn serve(targets: &Path) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("can't ask to die with the bench")?;
    let text = std::fs::read_to_string(targets).context("can't read the targets")?;
    let inotify = inotify::init(inotify::CreateFlags::CLOEXEC).context("can't make an inotify instance")?;
    let mut pids: Vec<Option<Pid>> = Vec::new();
    for line in text.lines() {
        let Some((dir, pid)) = line.split_once('\t') else { bail!("{line} is not a target") };
        let wd = inotify::add_watch(&inotify, dir, inotify::WatchFlags::DELETE)
            .with_context(|| format!("can't watch {dir}"))?;
        let index = usize::try_from(wd)?;
        pids.resize(pids.len().max(index + 1), None);
        pids[index] = Pid::from_raw(pid.parse()?);
    }
    let mut out = std::io::stdout();
    out.write_all(b"ready\n").and_then(|()| out.flush()).context("can't say that it is ready")?;
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    loop {
        let event = reader.next().context("can't read notifications")?;
        let is_generation = event.file_name().is_some_and(|name| name.to_bytes().starts_with(b"..2"));
        let pid = usize::try_from(event.wd()).ok().and_then(|index| pids.get(index).copied().flatten());
        if let Some(pid) = pid.filter(|_| is_generation) {
            kill_process(pid, Signal::HUP).context("can't send a signal")?;
        }
    }
}
