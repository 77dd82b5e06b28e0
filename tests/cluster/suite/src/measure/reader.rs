//! A thread that reads notifications of the directories that the agent watches, and nothing else. One is what the agent
//! is held against. The kernel doesn't say when something happened, so another one is the clock.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::time::ClockId;
use nix::unistd::gettid;

use crate::space::output;

/// How the thread gets a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Priority {
    /// As the agent does.
    Usual,
    /// Before everything else: what it sees has just happened.
    First,
}

/// The thread.
pub(crate) struct Reader {
    inotify: Arc<Inotify>,
    watches: Vec<WatchDescriptor>,
    thread: JoinHandle<Vec<(u64, Vec<InotifyEvent>)>>,
}

/// One publication, in nanoseconds since boot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Publication {
    /// When the new generation was seen to be in place.
    pub(crate) swapped: u64,
    /// When the old one was seen to be gone.
    pub(crate) settled: u64,
    /// The old one.
    pub(crate) before: String,
}

impl Reader {
    /// Reads from now on.
    pub(crate) fn start<P: AsRef<Path>>(priority: Priority, volumes: impl IntoIterator<Item = P>) -> Self {
        let inotify = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC).unwrap());
        let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        let watches =
            volumes.into_iter().map(|volume| inotify.add_watch(volume.as_ref(), flags).unwrap()).collect();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn({
            let inotify = Arc::clone(&inotify);
            move || {
                if let Priority::First = priority {
                    become_first();
                }
                ready.send(()).unwrap();
                read(&inotify)
            }
        });
        is_ready.recv().unwrap();
        Self { inotify, watches, thread }
    }

    /// What it has seen of each volume.
    pub(crate) fn stop(self) -> Vec<Vec<Publication>> {
        self.inotify.rm_watch(self.watches[0]).unwrap();
        let events = self.thread.join().unwrap();
        let of = |watch: &WatchDescriptor| {
            let own = events.iter().flat_map(|(at, events)| events.iter().map(move |event| (*at, event)));
            publications(own.filter(|(_, event)| event.wd == *watch))
        };
        self.watches.iter().map(of).collect()
    }
}

/// Nanoseconds since boot.
pub(crate) fn boot_time() -> u64 {
    let now = Duration::from(ClockId::CLOCK_BOOTTIME.now().unwrap());
    u64::try_from(now.as_nanos()).unwrap()
}

/// Has this thread run before everything else.
pub(super) fn become_first() {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "1", &gettid().to_string()]);
    output(command).unwrap_or_else(|error| panic!("{error}"));
}

/// Ends with the first watch.
fn read(inotify: &Inotify) -> Vec<(u64, Vec<InotifyEvent>)> {
    let mut all = Vec::with_capacity(1 << 16);
    loop {
        let events = inotify.read_events().unwrap();
        let at = boot_time();
        let ends = events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED));
        all.push((at, events));
        if ends {
            return all;
        }
    }
}

/// The kubelet renames `..data_tmp` to `..data`, and then removes the directory that `..data` named before.
fn publications<'a>(events: impl Iterator<Item = (u64, &'a InotifyEvent)>) -> Vec<Publication> {
    let (mut found, mut swapped) = (Vec::new(), None);
    for (at, event) in events {
        let Some(name) = event.name.as_ref().and_then(|name| name.to_str()) else { continue };
        if event.mask.contains(AddWatchFlags::IN_MOVED_TO) && name == "..data" {
            assert_eq!(swapped.replace(at), None, "a generation stayed");
        } else if event.mask.contains(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ISDIR) {
            let swapped = swapped.take().expect("a swap comes before a settle");
            found.push(Publication { swapped, settled: at, before: name.to_owned() });
        }
    }
    assert_eq!(swapped, None, "the last generation didn't settle");
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_publication_settles_when_the_directory_is_gone_that_was_named_before() {
        let volume = std::env::temp_dir().join(format!("reader-{}", std::process::id()));
        fs::create_dir_all(volume.join("..1")).unwrap();
        symlink("..1", volume.join("..data")).unwrap();
        let reader = Reader::start(Priority::Usual, [&volume]);
        for (before, next) in [("..1", "..2"), ("..2", "..3")] {
            fs::create_dir(volume.join(next)).unwrap();
            symlink(next, volume.join("..data_tmp")).unwrap();
            fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
            symlink("..data/key", volume.join(format!("key{next}"))).unwrap();
            fs::remove_file(volume.join(format!("key{next}"))).unwrap();
            fs::remove_dir(volume.join(before)).unwrap();
        }
        let found = reader.stop().remove(0);
        fs::remove_dir_all(&volume).unwrap();
        let names: Vec<_> = found.iter().map(|publication| publication.before.as_str()).collect();
        assert_eq!(names, ["..1", "..2"]);
        assert!(found.is_sorted_by_key(|publication| publication.settled));
        assert!(found.iter().all(|publication| publication.swapped <= publication.settled));
    }
}
