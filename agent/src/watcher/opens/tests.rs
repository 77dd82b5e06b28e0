use std::cell::Cell;
use std::fs;

use reloadlet_core::machine::event::Reading;
use reloadlet_core::policy::files::FileFilter;

use super::*;
use crate::listing;

/// A watched volume with the generation `..1` that holds `app.conf` and `tls/key`, in time that stands still.
struct Stage {
    _root: tempfile::TempDir,
    directory: PathBuf,
    volume: VolumeRef,
    generation: Generation,
    own_reads: OwnReads,
    watcher: Watcher,
    now: Cell<Time>,
    watches_before: usize,
    /// What was told besides opens.
    told: Vec<Event>,
}

fn stage() -> Stage {
    let root = tempfile::tempdir().unwrap();
    let volume = VolumeRef {
        pod: PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap(),
        volume: "conf".into(),
    };
    let generation = Generation::parse("..2026_11_21_05_56_44.1").unwrap();
    let kind = VolumeKind::ConfigMap;
    let path = root.path().join("pods").join(volume.pod.as_str()).join("volumes");
    let path = path.join(kind.directory()).join("conf");
    let directory = path.join(generation.as_str());
    fs::create_dir_all(directory.join("tls")).unwrap();
    fs::write(directory.join("app.conf"), "one").unwrap();
    fs::write(directory.join("tls/key"), "one").unwrap();
    let own_reads = OwnReads::default();
    let mut watcher = Watcher::new(root.path(), own_reads.clone());
    watcher.watch_pod(&volume.pod, &[("conf".into(), kind)]);
    watcher.place_some(Time::default());
    assert!(matches!(watcher.poll_sight(), Some(Sight::List(_))) && watcher.poll_sight().is_none());
    let watches_before = watcher.watch_count();
    let mut stage = Stage {
        _root: root,
        directory,
        volume,
        generation,
        own_reads,
        watcher,
        now: Cell::new(Time::since_boot(Duration::from_secs(100))),
        watches_before,
        told: Vec::new(),
    };
    stage.watch();
    stage
}

impl Stage {
    fn watch(&mut self) {
        let below = ["tls".into(), "of-an-optional-key".into()];
        self.watcher.watch_opens(&self.volume, &self.generation, &below);
    }

    fn open(&self, file: &str) {
        fs::File::open(self.directory.join(file)).unwrap();
    }

    /// As the kubelet does on each sync of the pod.
    fn sync(&self) {
        assert_eq!(fs::read_dir(&self.directory).unwrap().count(), 2);
        assert_eq!(fs::read_dir(self.directory.join("tls")).unwrap().count(), 1);
        self.open("app.conf");
        self.open("tls/key");
    }

    /// How many opens counted, now that the queue was read.
    fn seen(&mut self) -> usize {
        let now = self.now.get();
        while self.watcher.read(|| now).unwrap() {}
        self.count()
    }

    /// The same when the loop takes in that an own read has ended.
    fn end_own_read(&mut self) -> usize {
        let now = self.now.get();
        self.watcher.end_own_read(&self.volume, &self.generation, || now).unwrap();
        self.count()
    }

    fn count(&mut self) -> usize {
        let sights: Vec<_> = std::iter::from_fn(|| self.watcher.poll_sight()).collect();
        let events = sights.into_iter().map(|sight| match sight {
            Sight::Event(event) => event,
            Sight::List(volume) => panic!("{volume:?} is to be listed"),
        });
        let (volume, generation) = (self.volume.clone(), self.generation.clone());
        let wanted = Event::Opened(volume.clone(), generation.clone(), self.now.get());
        let others = [
            Event::LookedThrough(volume.clone(), generation.clone()),
            Event::OpensUnseen(volume, generation),
        ];
        let (opens, told): (Vec<Event>, Vec<Event>) = events.partition(|event| *event == wanted);
        assert!(told.iter().all(|event| others.contains(event)), "{told:?}");
        self.told.extend(told);
        opens.len()
    }

    fn pass(&mut self, time: Duration) {
        self.now.set(self.now.get() + time);
        if self.watcher.rearm_at().is_some_and(|due| due <= self.now.get()) {
            self.watcher.rearm(self.now.get());
        }
    }
}

#[test]
fn the_first_open_counts_and_then_nothing_is_watched() {
    for file in ["app.conf", "tls/key", "tls"] {
        let mut stage = stage();
        assert_eq!(stage.watcher.watch_count(), stage.watches_before + 2);
        assert_eq!(stage.seen(), 0);
        for _ in 0..100 {
            stage.open(file);
            stage.open("tls/key");
        }
        assert_eq!((stage.seen(), stage.watcher.watch_count()), (1, stage.watches_before), "{file}");
        stage.open(file);
        assert_eq!((stage.seen(), stage.watcher.rearm_at()), (0, None));
    }
}

#[test]
fn a_sync_of_the_kubelet_does_not_count_and_a_reader_after_it_does() {
    let mut stage = stage();
    for _ in 0..3 {
        stage.sync();
        assert_eq!(stage.seen(), 0);
        stage.pass(Duration::from_micros(4_999));
        stage.open("app.conf");
        stage.open("tls/key");
        assert_eq!(stage.seen(), 0, "within 5 ms");
        stage.pass(Duration::from_micros(1));
    }
    stage.open("tls/key");
    assert_eq!(stage.seen(), 1);
    assert_eq!(stage.told, [Event::LookedThrough(stage.volume, stage.generation)], "once");
}

#[test]
fn a_reader_just_before_the_kubelets_sync_counts_also_when_the_loop_is_late() {
    for file in ["app.conf", "tls/key"] {
        let mut stage = stage();
        stage.open(file);
        stage.sync();
        stage.pass(Duration::from_secs(1));
        assert_eq!(stage.seen(), 1, "{file}");
    }
}

#[test]
fn own_reads_do_not_count_however_long_they_take_and_however_late_they_are_seen() {
    let mut stage = stage();
    // It began before the watch, so that the directory's open isn't seen.
    stage.own_reads.begin(&stage.volume, &stage.generation);
    stage.own_reads.begin(&stage.volume, &stage.generation);
    for _ in 0..50 {
        stage.open("app.conf");
        assert_eq!(stage.seen(), 0);
        stage.pass(BURST);
    }
    stage.watcher.end_own_read(&stage.volume, &stage.generation, Time::default).unwrap();
    while stage.watcher.poll_sight().is_some() {}
    stage.open("tls/key");
    assert_eq!(stage.end_own_read(), 0, "there was another one");
    stage.open("tls/key");
    assert_eq!(stage.seen(), 1);
    assert_eq!(stage.told, [], "who asked for the reads knows of them");
}

#[test]
fn an_own_read_that_has_ended_before_its_opens_are_seen_does_not_count() {
    let mut stage = stage();
    let reading = Reading { filter: FileFilter::new(None, []), each: true, decides: false };
    for listed in [false, true] {
        stage.own_reads.begin(&stage.volume, &stage.generation);
        if listed {
            let mut files = listing::Files::begin(stage.directory.clone(), reading.clone()).unwrap().unwrap();
            assert!(!files.go_on(&|| false).unwrap() && files.end().1.is_some());
        } else {
            stage.open("app.conf");
            stage.open("tls/key");
        }
        assert_eq!((stage.end_own_read(), stage.seen()), (0, 0));
    }
    stage.open("app.conf");
    assert_eq!((stage.seen(), &*stage.told), (1, &[][..]), "what opens after it is seen");
}

#[test]
fn reads_of_other_generations_hide_nothing() {
    let mut stage = stage();
    let other = Generation::parse("..2026_11_21_05_56_44.2").unwrap();
    stage.own_reads.begin(&stage.volume, &other);
    stage.open("app.conf");
    assert_eq!(stage.seen(), 1);
}

#[test]
fn who_lists_the_directory_all_the_time_is_looked_at_a_few_times_only() {
    let mut stage = stage();
    let mut rounds = 0;
    while stage.watcher.watch_count() > stage.watches_before {
        stage.sync();
        assert_eq!(stage.seen(), 0);
        stage.pass(BURST);
        rounds += 1;
        assert!(rounds <= u32::from(MOST_REARMS) + 1);
    }
    assert_eq!(rounds, 17);
    assert_eq!(stage.seen(), 0);
    let unseen = Event::OpensUnseen(stage.volume.clone(), stage.generation.clone());
    assert!(stage.told.contains(&unseen), "{:?}", stage.told);
}

#[test]
fn the_kubelets_syncs_of_an_hour_end_no_watch() {
    let mut stage = stage();
    for _ in 0..60 {
        stage.sync();
        assert_eq!(stage.seen(), 0);
        stage.pass(Duration::from_secs(60));
    }
    stage.open("app.conf");
    assert_eq!(stage.seen(), 1);
}

#[test]
fn a_watch_that_ends_leaves_nothing_behind() {
    let mut stage = stage();
    stage.watcher.unwatch_opens(&stage.volume, &stage.generation);
    stage.open("app.conf");
    assert_eq!((stage.seen(), stage.watcher.watch_count()), (0, stage.watches_before));

    stage.watch();
    stage.open("app.conf");
    stage.watcher.unwatch_opens(&stage.volume, &stage.generation);
    assert_eq!(stage.seen(), 0, "it went off before and wasn't read");

    stage.watch();
    stage.watch();
    stage.watcher.unwatch_pod(&stage.volume.pod);
    stage.open("app.conf");
    assert_eq!((stage.seen(), stage.watcher.watch_count(), stage.watcher.opens.len()), (0, 0, 0));
}

#[test]
fn a_generation_that_is_removed_is_not_watched_any_more() {
    let mut stage = stage();
    for file in ["tls/key", "app.conf"] {
        fs::remove_file(stage.directory.join(file)).unwrap();
    }
    fs::remove_dir(stage.directory.join("tls")).unwrap();
    fs::remove_dir(&stage.directory).unwrap();
    let removed = Event::Removed(stage.volume.clone(), stage.generation.clone(), stage.now.get());
    while stage.watcher.read(|| stage.now.get()).unwrap() {}
    while let Some(sight) = stage.watcher.poll_sight() {
        assert!(matches!(sight, Sight::Event(event) if event == removed));
    }
    assert_eq!((stage.watcher.watch_count(), stage.watcher.rearm_at()), (stage.watches_before, None));
    stage.watch();
    assert_eq!(stage.watcher.watch_count(), stage.watches_before);
}

#[test]
fn so_many_directories_are_watched_of_one_pod_and_their_places_are_given_back() {
    let mut stage = stage();
    stage.watcher.unwatch_opens(&stage.volume, &stage.generation);
    let below: Vec<Name> = (0..MOST_OF_POD).map(|n| format!("d{n}").into()).collect();
    let watch = |stage: &mut Stage, count: usize| {
        stage.watcher.watch_opens(&stage.volume, &stage.generation, &below[..count])
    };
    assert!(!watch(&mut stage, MOST_OF_POD));
    for _ in 0..3 {
        assert!(watch(&mut stage, MOST_OF_POD - 1));
        let other = Generation::parse("..2026_11_21_05_56_44.3").unwrap();
        assert!(!stage.watcher.watch_opens(&stage.volume, &other, &[]), "there is no room for another one");
        stage.watcher.unwatch_opens(&stage.volume, &stage.generation);
    }
    assert_eq!((stage.watcher.opened_directories, stage.watcher.watch_count()), (0, stage.watches_before));
}

#[test]
fn what_is_opened_after_an_own_read_that_began_within_a_pause_counts_at_once() {
    let mut stage = stage();
    stage.sync();
    assert_eq!(stage.seen(), 0);
    stage.own_reads.begin(&stage.volume, &stage.generation);
    for _ in 0..10 {
        stage.pass(BURST);
    }
    assert_eq!(stage.end_own_read(), 0);
    stage.open("app.conf");
    assert_eq!(stage.seen(), 1);
}
