//! The pods file: read at the start and after each change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::generation::DATA_LINK;
use reloadlet_core::model::pod::Pod;

use crate::clock;
use crate::digest::Hasher;
use reloadlet_manifest::{self as manifest, Decoded, ManifestError};

#[cfg(test)]
mod tests;

/// How often the file is looked at without a notification: it may be reached by links that lead elsewhere, and its
/// directory may not exist yet.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a file has to stay as it is before it counts as whole, where no notification says that it is.
const PATIENCE: Duration = Duration::from_millis(250);

/// So many sentences are said about the pods of a file that aren't served.
const MOST_SAID: usize = 16;

/// What the file says now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PodsFileEvent {
    /// All pods of the node. Comes at the start, after each change of the content, and when a broken file is whole
    /// again.
    Pods(Vec<Arc<Pod>>),
    /// So many of its pods aren't served: one sentence about them. Comes before the pods.
    LeftAlone(String, usize),
    /// The file can't be used: one sentence that names it. Comes once for each broken content; what was read before
    /// stays true.
    Broken(String),
}

/// Why the file can't be followed.
#[derive(Debug, thiserror::Error)]
#[error("can't {op} to follow the pods file {}", .path.display())]
pub(crate) struct PodsFileError {
    op: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Why the file's content can't be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
enum ContentError {
    // The cause is part of the text: this becomes one sentence.
    #[error("it can't be read: {0}")]
    Unreadable(String),
    #[error("it is no regular file")]
    NotAFile,
    #[error("it is not UTF-8 from byte {0} on")]
    NotText(usize),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The thread that follows the file. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct PodsFile {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl PodsFile {
    /// Follows the file, also one that doesn't exist yet. The callback runs on the thread that this starts.
    pub(crate) fn follow(
        path: &Path,
        on_event: impl FnMut(PodsFileEvent) + Send + 'static,
    ) -> Result<Self, PodsFileError> {
        Self::follow_with(path, CHECK_INTERVAL, on_event)
    }

    fn follow_with(
        path: &Path,
        check_interval: Duration,
        on_event: impl FnMut(PodsFileEvent) + Send + 'static,
    ) -> Result<Self, PodsFileError> {
        let failed =
            |op| move |errno: Errno| PodsFileError { op, path: path.to_owned(), source: errno.into() };
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let stop = Arc::new(stop.map_err(failed("make an eventfd"))?);
        let follower = Follower {
            path: path.to_owned(),
            check_interval,
            stop: Arc::clone(&stop),
            inotify: None,
            watch: None,
            seen: None,
            unsettled: false,
            reported: None,
            broken: None,
            on_event,
        };
        let thread = thread::Builder::new()
            .name("pods-file".to_owned())
            .spawn(move || follower.run())
            .map_err(|source| PodsFileError { op: "start a thread", path: path.to_owned(), source })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Has the thread end, and doesn't wait for it: what it decodes can be large, and the agent's end can't wait.
    pub(crate) fn stop(mut self) {
        drop(self.thread.take());
    }
}

impl Drop for PodsFile {
    fn drop(&mut self) {
        // An eventfd takes eight bytes unless its count is at the limit, and then it is readable all the same.
        if let Err(errno) = self.stop.write(1) {
            tracing::debug!(errno = %io::Error::from(errno), "can't add to an eventfd");
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the pods file panicked");
        }
    }
}

/// What tells one state of the file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Whether it was written within the last moments. A time to come is somebody's choice and says nothing.
fn is_young(metadata: &fs::Metadata) -> bool {
    metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < PATIENCE))
}

/// What was last reported: the content by its digest, or why there was none.
#[derive(Debug, PartialEq, Eq)]
enum Reported {
    Content(Option<Digest>),
    Nothing(ContentError),
}

/// Content that can't be used, not yet reported.
struct Broken {
    reported: Reported,
    sentence: String,
    at: Instant,
}

struct Follower<F> {
    path: PathBuf,
    check_interval: Duration,
    stop: Arc<EventFd>,
    /// `None` while the kernel gives none: then the file is looked at each second.
    inotify: Option<Inotify>,
    /// The watch on the file's directory, which sees the file replaced, and a ConfigMap's `..data` too.
    watch: Option<WatchDescriptor>,
    /// The state that was read last; `None` inside when there was no file.
    seen: Option<Option<Stamp>>,
    /// Whether the file changed so lately that it may be half written.
    unsettled: bool,
    reported: Option<Reported>,
    broken: Option<Broken>,
    on_event: F,
}

impl<F: FnMut(PodsFileEvent)> Follower<F> {
    fn run(mut self) {
        loop {
            // First the watch: what changes after it is notified, what changed before it is read.
            self.watch_directory();
            self.check();
            let wait = match &self.broken {
                _ if self.unsettled => PATIENCE,
                Some(broken) => (broken.at + PATIENCE).saturating_duration_since(Instant::now()),
                None => self.check_interval,
            };
            let fds = [Some(self.stop.as_fd()), self.inotify.as_ref().map(AsFd::as_fd)];
            let mut fds: Vec<_> =
                fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut fds, clock::wait_of(wait)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    // Only a lack of kernel memory is left; the next round comes after the pause that poll didn't make.
                    tracing::debug!(errno = %io::Error::from(errno), "can't poll");
                    thread::park_timeout(self.check_interval);
                }
            }
            let mut ready = fds.iter().map(|fd| fd.any() != Some(false));
            let (stop, notified) = (ready.next(), ready.next());
            if stop == Some(true) {
                return;
            }
            if notified == Some(true) && self.says_whole() {
                // Read whatever it looks like: two states within one tick of the clock look the same.
                self.seen = None;
            }
        }
    }

    /// Watches the file's directory, which may have been replaced; the same watch where it is the same.
    fn watch_directory(&mut self) {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        };
        // Not each write: a file that is written in place is read when the writer closes it.
        let wanted = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::ONLYDIR;
        if self.inotify.is_none() {
            self.inotify = Inotify::init().ok();
        }
        let Some(mut watches) = self.inotify.as_ref().map(Inotify::watches) else { return };
        let watch = match watches.add(directory, wanted) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::trace!(directory = %directory.display(), %error, "can't watch; checking once a second");
                None
            }
        };
        if let Some(old) = std::mem::replace(&mut self.watch, watch)
            && self.watch.as_ref() != Some(&old)
            && let Err(error) = watches.remove(old)
        {
            tracing::trace!(%error, "the watch went with its directory");
        }
    }

    /// Whether the notifications say that the file is new and whole: closed by its writer, put in place or gone. That
    /// it was created says neither, and what happens to its neighbours says nothing.
    fn says_whole(&mut self) -> bool {
        let whole = EventMask::CLOSE_WRITE | EventMask::MOVED_TO | EventMask::MOVED_FROM | EventMask::DELETE;
        let mut buffer = [0; 4096];
        let Some(inotify) = &mut self.inotify else { return false };
        let mut says = false;
        while let Ok(events) = inotify.read_events(&mut buffer) {
            for event in events {
                let is_meant = event.name.is_some_and(|name| {
                    self.path.file_name().is_some_and(|file| file == name) || name == DATA_LINK
                });
                says |= is_meant && event.mask.intersects(whole);
            }
        }
        says
    }

    /// Reads the file if it isn't what it was, and tells what is new.
    fn check(&mut self) {
        let metadata = fs::metadata(&self.path).ok();
        let stamp = metadata.as_ref().map(Stamp::of);
        let changed = self.seen.is_none_or(|seen| seen != stamp);
        // Half of a list can be a list: pods would come and go.
        self.unsettled = changed && self.seen.is_some() && metadata.as_ref().is_some_and(is_young);
        if changed && !self.unsettled {
            self.seen = Some(stamp);
            self.read();
        }
        if !self.unsettled
            && let Some(broken) = self.broken.take_if(|broken| broken.at.elapsed() >= PATIENCE)
        {
            self.reported = Some(broken.reported);
            (self.on_event)(PodsFileEvent::Broken(broken.sentence));
        }
    }

    fn read(&mut self) {
        self.broken = None;
        let (reported, decoded) = match Content::of(&self.path) {
            Ok(mut content) => {
                let reported = Reported::Content(content.digest);
                if self.reported.as_ref() == Some(&reported) {
                    return;
                }
                let decoded = content.decode();
                if !content.is_unchanged() {
                    // It is another one now, or half of it was: it is read once more.
                    self.seen = Some(None);
                    self.unsettled = true;
                    return;
                }
                (reported, decoded)
            }
            Err(error) => (Reported::Nothing(error.clone()), Err(error)),
        };
        if self.reported.as_ref() == Some(&reported) {
            return;
        }
        match decoded {
            Ok(Decoded { pods, left_out }) => {
                self.reported = Some(reported);
                let (pods, claimed) = manifest::sort_out(pods);
                let left_out = left_out.into_iter().map(|why| (format!("a pod is left alone: {why}"), 1));
                let claimed = claimed.into_iter().map(|claimed| (claimed.to_string(), claimed.count()));
                self.leave_alone(left_out.chain(claimed));
                (self.on_event)(PodsFileEvent::Pods(pods));
            }
            Err(error) => {
                let sentence = format!("the pods file {} can't be used: {error}", self.path.display());
                self.broken = Some(Broken { reported, sentence, at: Instant::now() });
            }
        }
    }
}

impl<F: FnMut(PodsFileEvent)> Follower<F> {
    /// Says which pods aren't served, and of those beyond [`MOST_SAID`] how many there are.
    fn leave_alone(&mut self, mut sentences: impl Iterator<Item = (String, usize)>) {
        let file = format!("in the pods file {}", self.path.display());
        for (sentence, pods) in sentences.by_ref().take(MOST_SAID) {
            (self.on_event)(PodsFileEvent::LeftAlone(format!("{file}: {sentence}"), pods));
        }
        let more = sentences.map(|(_, pods)| pods).sum();
        if more > 0 {
            let sentence = format!("{file}: {more} more pods are left alone");
            (self.on_event)(PodsFileEvent::LeftAlone(sentence, more));
        }
    }
}

/// How much of the file is in memory at a time, in bytes.
const PIECE: usize = 64 << 10;

/// The file as it was when its digest was made. It may be large, and is never in memory as a whole.
struct Content {
    file: File,
    stamp: Stamp,
    digest: Option<Digest>,
}

impl Content {
    fn of(path: &Path) -> Result<Self, ContentError> {
        // Opening a pipe waits for its writer otherwise.
        let nonblocking = OFlag::O_NONBLOCK.bits();
        let mut file: File =
            OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(ContentError::NotAFile);
        }
        let limit = manifest::SIZE_LIMIT as u64;
        if metadata.len() > limit {
            return Err(ManifestError::TooLarge { bytes: metadata.len() }.into());
        }
        let digest = digest_of_text((&mut file).take(limit + 1))?;
        Ok(Self { file, stamp: Stamp::of(&metadata), digest })
    }

    fn decode(&mut self) -> Result<Decoded, ContentError> {
        self.file.rewind().map_err(unreadable)?;
        Ok(manifest::decode((&mut self.file).take(manifest::SIZE_LIMIT as u64))?)
    }

    /// Whether nobody has written to it since.
    fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
    }
}

fn unreadable(error: io::Error) -> ContentError {
    ContentError::Unreadable(error.to_string())
}

/// The digest of a text, if it is one.
fn digest_of_text(mut text: impl Read) -> Result<Option<Digest>, ContentError> {
    let mut digest = Hasher::begin();
    let mut piece = vec![0; PIECE];
    let (mut before, mut kept) = (0, 0);
    loop {
        let free = piece.get_mut(kept..).unwrap_or_default();
        let read = text.read(free).map_err(unreadable)?;
        let all = piece.get(..kept + read).unwrap_or_default();
        if let Some(digest) = &mut digest {
            digest.update(all.get(kept..).unwrap_or_default());
        }
        // A character may be cut at the end of a piece.
        let whole = match str::from_utf8(all) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(error) => return Err(ContentError::NotText(before + error.valid_up_to())),
        };
        if read == 0 {
            return Ok(digest.and_then(Hasher::end));
        }
        let end = all.len();
        piece.copy_within(whole..end, 0);
        (before, kept) = (before + whole, end - whole);
    }
}
