use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use tempfile::TempDir;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

struct Followed {
    directory: TempDir,
    path: PathBuf,
    file: Option<PodsFile>,
    events: Receiver<PodsFileEvent>,
}

impl Followed {
    /// Follows `pods.yaml` in a directory that this prepared.
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        Self::checked_each(CHECK_INTERVAL, prepare)
    }

    fn checked_each(interval: Duration, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let path = directory.path().join("pods.yaml");
        let (sender, events) = channel();
        let file =
            PodsFile::follow_with(&path, interval, move |event| sender.send(event).unwrap_or_default())
                .unwrap();
        Self { directory, path, file: Some(file), events }
    }

    fn event(&self) -> PodsFileEvent {
        self.events.recv_timeout(LIMIT).unwrap()
    }

    fn pods(&self) -> Vec<String> {
        match self.event() {
            PodsFileEvent::Pods(pods) => pods.iter().map(|pod| pod.name.to_string()).collect(),
            PodsFileEvent::LeftAlone(sentence, _) | PodsFileEvent::Broken(sentence) => panic!("{sentence}"),
        }
    }

    fn broken(&self) -> String {
        match self.event() {
            PodsFileEvent::Broken(sentence) => {
                let start = format!("the pods file {} can't be used: ", self.path.display());
                sentence.strip_prefix(&start).unwrap_or_else(|| panic!("{sentence}")).to_owned()
            }
            other @ (PodsFileEvent::Pods(_) | PodsFileEvent::LeftAlone(..)) => panic!("{other:?}"),
        }
    }

    /// All events that came until the thread had seen everything that happened before.
    fn rest(mut self) -> Vec<PodsFileEvent> {
        self.replace(&pods(&["last"]));
        let mut events = Vec::new();
        loop {
            match self.event() {
                PodsFileEvent::Pods(pods) if pods.first().is_some_and(|pod| &*pod.name == "last") => break,
                event
                @ (PodsFileEvent::Pods(_) | PodsFileEvent::LeftAlone(..) | PodsFileEvent::Broken(_)) => {
                    events.push(event)
                }
            }
        }
        drop(self.file.take());
        events.extend(self.events.try_iter());
        events
    }

    fn replace(&self, text: &str) {
        let draft = self.directory.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, &self.path).unwrap();
    }
}

fn pods(names: &[&str]) -> String {
    let mut text = String::from("kind: List\nitems:\n");
    for (number, name) in names.iter().enumerate() {
        text.push_str(&format!(
            "- {{kind: Pod, metadata: {{name: {name}, uid: 00000000-0000-4000-8000-{number:012}}}, \
             spec: {{containers: [{{name: app}}]}}}}\n"
        ));
    }
    text
}

fn put(name: &'static str, text: String) -> impl FnOnce(&Path) {
    move |directory| fs::write(directory.join(name), text).unwrap()
}

#[test]
fn the_file_is_read_at_the_start_and_after_it_was_replaced_or_written_in_place() {
    let followed = Followed::start(put("pods.yaml", pods(&["a"])));
    assert_eq!(followed.pods(), ["a"]);
    followed.replace(&pods(&["a", "b"]));
    assert_eq!(followed.pods(), ["a", "b"]);
    fs::write(&followed.path, pods(&["c"])).unwrap();
    assert_eq!(followed.pods(), ["c"]);
    fs::write(&followed.path, "kind: List\nitems: []\n").unwrap();
    assert_eq!(followed.pods(), [""; 0]);
}

#[test]
fn a_configmaps_swap_is_notified() {
    let never = Duration::from_secs(3600);
    let followed = Followed::checked_each(never, |directory| {
        for (generation, name) in [("..one", "a"), ("..two", "b")] {
            fs::create_dir(directory.join(generation)).unwrap();
            fs::write(directory.join(generation).join("pods.yaml"), pods(&[name])).unwrap();
        }
        symlink("..one", directory.join("..data")).unwrap();
        symlink("..data/pods.yaml", directory.join("pods.yaml")).unwrap();
    });
    assert_eq!(followed.pods(), ["a"]);
    symlink("..two", followed.directory.path().join("..data_tmp")).unwrap();
    fs::rename(followed.directory.path().join("..data_tmp"), followed.directory.path().join("..data"))
        .unwrap();
    assert_eq!(followed.pods(), ["b"]);
}

#[test]
fn a_file_behind_a_link_to_elsewhere_is_checked_once_a_second() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real.yaml");
    fs::write(&target, pods(&["a"])).unwrap();
    let link = target.clone();
    let followed = Followed::start(move |directory| symlink(link, directory.join("pods.yaml")).unwrap());
    assert_eq!(followed.pods(), ["a"]);
    fs::write(&target, pods(&["b", "c"])).unwrap();
    assert_eq!(followed.pods(), ["b", "c"]);
}

#[test]
fn a_directory_that_comes_later_or_is_replaced_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("conf");
    let (sender, events) = channel();
    let _file = PodsFile::follow(&place.join("pods.yaml"), move |event| sender.send(event).unwrap()).unwrap();
    let PodsFileEvent::Broken(sentence) = events.recv_timeout(LIMIT).unwrap() else { panic!() };
    assert!(sentence.contains("can't be read: No such file"), "{sentence}");
    for (name, old) in [("a", "old-1"), ("b", "old-2")] {
        fs::create_dir(&place).unwrap();
        fs::write(place.join("pods.yaml"), pods(&[name])).unwrap();
        let event = loop {
            match events.recv_timeout(LIMIT).unwrap() {
                PodsFileEvent::Broken(_) | PodsFileEvent::LeftAlone(..) => {}
                PodsFileEvent::Pods(pods) => break pods,
            }
        };
        assert_eq!(&*event[0].name, name);
        fs::rename(&place, directory.path().join(old)).unwrap();
    }
}

#[test]
fn pods_that_claim_one_uid_are_said_and_the_rest_of_the_file_is_used() {
    let text = pods(&["a", "b", "c"]).replace("000000000002", "000000000000");
    let followed = Followed::start(put("pods.yaml", text));
    let PodsFileEvent::LeftAlone(sentence, 2) = followed.event() else { panic!() };
    assert!(sentence.starts_with(&format!("in the pods file {}: ", followed.path.display())), "{sentence}");
    assert!(sentence.contains("default/a, default/c have the same UID 00000000-"), "{sentence}");
    assert_eq!(followed.pods(), ["b"]);
    followed.replace(&pods(&["a", "b"]));
    assert_eq!(followed.pods(), ["a", "b"], "one of them is left");
}

#[test]
fn a_pod_that_cant_be_used_is_said_and_takes_nothing_from_the_others() {
    let whole = pods(&["a", "b", "c"]);
    for (bad, why) in [
        (whole.replace("name: b,", "name: No_Name,"), "metadata.name of item 2 is \"No_Name\""),
        (whole.replace("name: c,", "name: No_Name,"), "metadata.name of item 3 is \"No_Name\""),
        (
            whole.replace("uid: 00000000-0000-4000-8000-000000000001", "uid: .."),
            "metadata.uid of item 2 is \"..\"",
        ),
        (
            whole.replace(", uid: 00000000-0000-4000-8000-000000000002", ""),
            "metadata.uid of item 3 is missing",
        ),
    ] {
        let followed = Followed::start(put("pods.yaml", bad));
        let PodsFileEvent::LeftAlone(sentence, 1) = followed.event() else { panic!() };
        assert!(sentence.contains(": a pod is left alone: ") && sentence.contains(why), "{sentence}");
        let left = if why.contains("item 2") { "c" } else { "b" };
        assert_eq!(followed.pods(), ["a", left]);
        followed.replace(&whole);
        assert_eq!(followed.pods(), ["a", "b", "c"]);
    }
}

#[test]
fn of_many_pods_that_cant_be_used_some_are_said_and_all_are_counted() {
    let followed = Followed::start(put(
        "pods.yaml",
        pods(&["No_Name"; 100])
            + &pods(&["a"]).replace("kind: List\nitems:\n", "").replace("000000000000}", "000000000999}"),
    ));
    let mut counts = Vec::new();
    let last = loop {
        match followed.event() {
            PodsFileEvent::LeftAlone(sentence, count) => counts.push((sentence, count)),
            PodsFileEvent::Pods(pods) => break pods,
            PodsFileEvent::Broken(sentence) => panic!("{sentence}"),
        }
    };
    assert_eq!((last.len(), counts.len()), (1, MOST_SAID + 1));
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), 100);
    assert!(counts[MOST_SAID].0.ends_with(": 84 more pods are left alone"), "{counts:?}");
}

#[test]
fn broken_content_is_told_once_and_whole_content_again() {
    let followed = Followed::start(put("pods.yaml", pods(&["a"])));
    assert_eq!(followed.pods(), ["a"]);
    followed.replace("kind: Deployment\n");
    assert!(followed.broken().starts_with("the object is a \"Deployment\""));
    // The same again, in another file.
    followed.replace("kind: Deployment\n");
    followed.replace("kind: Service\n");
    assert!(followed.broken().starts_with("the object is a \"Service\""));
    followed.replace(&pods(&["a"]));
    assert_eq!(followed.pods(), ["a"]);
    fs::remove_file(&followed.path).unwrap();
    assert!(followed.broken().starts_with("it can't be read: No such file"));
    assert_eq!(followed.rest(), []);
}

#[test]
fn the_same_content_is_not_told_again() {
    let followed = Followed::start(put("pods.yaml", pods(&["a"])));
    assert_eq!(followed.pods(), ["a"]);
    followed.replace(&pods(&["a"]));
    fs::write(&followed.path, pods(&["a"])).unwrap();
    assert_eq!(followed.rest(), []);
}

#[test]
fn a_file_that_is_being_written_is_read_when_it_is_whole() {
    let followed = Followed::start(put("pods.yaml", pods(&["a"])));
    assert_eq!(followed.pods(), ["a"]);
    for names in [["b", "c"], ["d", "e"]] {
        let mut file = File::create(&followed.path).unwrap();
        for line in pods(&names).lines() {
            writeln!(file, "{line}").unwrap();
            // A neighbour's notification makes the thread look at what is half written, and one pod is a list too.
            fs::write(followed.directory.path().join("other"), line).unwrap();
            assert_eq!(followed.events.recv_timeout(PATIENCE / 10).unwrap_err(), RecvTimeoutError::Timeout);
        }
        drop(file);
        assert_eq!(followed.pods(), names);
        // The second round begins with a file that wasn't there.
        fs::remove_file(&followed.path).unwrap();
        assert!(followed.broken().starts_with("it can't be read"));
    }
    assert_eq!(followed.rest(), []);
}

#[test]
fn what_is_no_text_file_is_named_and_does_not_block() {
    let followed = Followed::start(|directory| {
        nix::unistd::mkfifo(&directory.join("pods.yaml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    });
    assert_eq!(followed.broken(), "it is no regular file");
    fs::remove_file(&followed.path).unwrap();
    fs::write(&followed.path, b"kind: \xff\n").unwrap();
    assert_eq!(followed.broken(), "it is not UTF-8 from byte 6 on");
    let big = File::create(followed.directory.path().join("big")).unwrap();
    big.set_len(manifest::SIZE_LIMIT as u64 + 1).unwrap();
    fs::rename(followed.directory.path().join("big"), &followed.path).unwrap();
    assert!(followed.broken().starts_with("it has 67108865 bytes, more than"));
}

#[test]
fn it_stops_at_once_and_is_silent_then() {
    let mut followed = Followed::start(put("pods.yaml", pods(&["a"])));
    assert_eq!(followed.pods(), ["a"]);
    let reported = Instant::now();
    followed.file.take().unwrap().stop();
    assert!(reported.elapsed() < Duration::from_millis(100), "{:?}", reported.elapsed());
    followed.replace(&pods(&["b"]));
    assert_eq!(followed.events.recv_timeout(LIMIT).unwrap_err(), RecvTimeoutError::Disconnected);
}

#[test]
fn it_stops_at_once_whatever_its_thread_is_at() {
    let directory = tempfile::tempdir().unwrap();
    put("pods.yaml", pods(&["a"]))(directory.path());
    let ((reported, tells), (release, released)) = (channel(), channel::<()>());
    let file = PodsFile::follow(&directory.path().join("pods.yaml"), move |_| {
        reported.send(()).unwrap_or_default();
        released.recv().unwrap_or_default();
    });
    tells.recv_timeout(LIMIT).unwrap();
    file.unwrap().stop();
    drop(release);
}
