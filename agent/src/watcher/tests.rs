use std::fs;

use super::*;

const NOW: Time = Time::from_nanos(7_000_000_000);

/// A watched volume, and a pod's cgroup.
struct Stage {
    root: tempfile::TempDir,
    watcher: Watcher,
    volume: VolumeRef,
}

impl Stage {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
        let volume = VolumeRef { pod, volume: "config".into() };
        let mut watcher = Watcher::new(root.path(), OwnReads::default());
        watcher.watch_pod(&volume.pod, &[("config".into(), VolumeKind::Secret)]);
        Self { root, watcher, volume }
    }

    /// The same with a directory that is watched.
    fn watched() -> Self {
        let mut stage = Self::new();
        fs::create_dir_all(stage.path()).unwrap();
        stage.watcher.place_some(NOW);
        assert_eq!(stage.sights(), ["listed"]);
        stage
    }

    fn path(&self) -> PathBuf {
        self.watcher.path(&self.volume).unwrap().to_owned()
    }

    /// Everything that was notified is lost, as when the kernel's queue is full.
    fn lose(&mut self) {
        let mut buffer = vec![0; notes::BUFFER];
        while self.watcher.inotify.as_mut().unwrap().read_events(&mut buffer).is_ok() {}
    }

    /// The volume is made anew unseen, and its directory has the device and the inode of the one before.
    fn rebuild_unseen(&mut self) {
        fs::remove_dir(self.path()).unwrap();
        fs::create_dir(self.path()).unwrap();
        self.lose();
        let same = dir_id(&self.path()).unwrap();
        match &mut self.watcher.volumes.get_mut(&self.volume).unwrap().follow {
            Follow::Watched { dir, .. } => *dir = same,
            other @ (Follow::Awaited { .. } | Follow::Polled | Follow::Unplaced) => panic!("{other:?}"),
        }
    }

    fn sights(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.watcher.poll_sight())
            .map(|sight| match sight {
                Sight::List(volume) => {
                    assert_eq!(volume, self.volume);
                    "listed"
                }
                Sight::Event(Event::TornDown(..)) => "torn down",
                Sight::Event(Event::Swapped(..)) => "swapped",
                Sight::Event(Event::CgroupChanged(_)) => "containers changed",
                Sight::Event(other) => panic!("{other:?}"),
            })
            .collect()
    }

    /// Whether the next publication is seen.
    fn sees_a_swap(&mut self) -> bool {
        let (data, new) = (self.path().join("..data"), self.path().join("..data_tmp"));
        std::os::unix::fs::symlink("..2026_11_21_05_56_44.2", &new).unwrap();
        fs::rename(new, data).unwrap();
        self.watcher.read_all(|| NOW).unwrap();
        self.sights() == ["swapped"]
    }
}

#[test]
fn a_watch_that_ended_unseen_is_replaced_although_the_directory_looks_the_same() {
    type Look = fn(&mut Stage);
    let looks: [(&str, Look); 3] = [
        ("check", |stage| stage.watcher.check(&stage.volume, NOW)),
        ("recheck", |stage| {
            stage.watcher.recheck(true);
            stage.watcher.recheck_some(NOW);
        }),
        ("confirm", |stage| {
            let dir = dir_id(&stage.path());
            assert!(!stage.watcher.confirm(&stage.volume, dir, false, NOW), "it is listed once more");
        }),
    ];
    for (name, look) in looks {
        let mut stage = Stage::watched();
        stage.rebuild_unseen();
        look(&mut stage);
        assert_eq!(stage.sights(), ["torn down", "listed"], "{name}");
        assert!(stage.sees_a_swap(), "{name}");
        assert_eq!(stage.watcher.watch_count(), 1, "{name}");
    }
}

#[test]
fn a_watch_that_is_added_again_stays_the_same_and_says_nothing() {
    let mut stage = Stage::watched();
    for all in [false, true] {
        stage.watcher.recheck(all);
        stage.watcher.recheck_some(NOW);
        assert_eq!(stage.sights(), [""; 0]);
    }
    let dir = dir_id(&stage.path());
    assert!(stage.watcher.confirm(&stage.volume, dir, true, NOW));
    assert_eq!(stage.sights(), [""; 0]);
    stage.watcher.check(&stage.volume, NOW);
    assert_eq!(stage.sights(), ["listed"]);
    assert!(stage.sees_a_swap());
}

#[test]
fn a_directory_that_went_and_came_while_notifications_were_lost_is_found_from_its_ancestor() {
    let mut stage = Stage::new();
    let pod = stage.root.path().join("pods").join(stage.volume.pod.as_str());
    fs::create_dir_all(&pod).unwrap();
    stage.watcher.place_some(NOW);
    assert_eq!(stage.sights(), ["listed"]);
    // The watched ancestor is another directory by now.
    fs::remove_dir(&pod).unwrap();
    fs::create_dir(&pod).unwrap();
    stage.lose();
    stage.watcher.recheck(true);
    stage.watcher.recheck_some(NOW);
    assert_eq!(stage.sights(), ["listed"]);
    fs::create_dir_all(stage.path()).unwrap();
    stage.watcher.read_all(|| NOW).unwrap();
    while stage.watcher.has_unplaced() {
        stage.watcher.place_some(NOW);
    }
    stage.sights();
    assert!(stage.sees_a_swap());
}

#[test]
fn the_cgroup_of_a_pod_that_was_let_go_isnt_watched() {
    let mut stage = Stage::watched();
    let cgroup = stage.root.path().join("kubepods");
    fs::create_dir_all(&cgroup).unwrap();
    stage.watcher.unwatch_pod(&stage.volume.pod);
    stage.watcher.watch_cgroup(&stage.volume.pod, Some(&cgroup), &[]);
    fs::create_dir(cgroup.join("a-container")).unwrap();
    stage.watcher.read_all(|| NOW).unwrap();
    assert!(stage.sights().is_empty() && stage.watcher.watches.is_empty());
}

#[test]
fn a_cgroup_that_was_made_anew_unseen_is_watched_again() {
    let mut stage = Stage::watched();
    let parent = stage.root.path().join("kubepods");
    let cgroup = parent.join(format!("pod{}", stage.volume.pod));
    for (made, lost) in [(cgroup.clone(), &cgroup), (cgroup.clone(), &parent)] {
        fs::create_dir_all(&made).unwrap();
        let parents = [parent.clone()];
        stage.watcher.watch_cgroup(&stage.volume.pod, Some(&made), &parents);
        fs::remove_dir_all(lost).unwrap();
        fs::create_dir_all(&made).unwrap();
        stage.lose();
        stage.watcher.watch_cgroup(&stage.volume.pod, Some(&made), &parents);
        fs::create_dir(made.join("a-container")).unwrap();
        stage.watcher.read_all(|| NOW).unwrap();
        assert_eq!(stage.sights(), ["containers changed"], "{}", lost.display());
        fs::remove_dir_all(&made).unwrap();
        stage.watcher.read_all(|| NOW).unwrap();
        assert!(stage.sights().contains(&"containers changed"));
        assert!(stage.watcher.watch_count() <= 2, "the volume and the parent");
    }
}

#[test]
fn all_that_is_in_the_queue_is_read_at_once() {
    for (count, length) in [(5_000, 70), (3_000, 255)] {
        let mut stage = Stage::watched();
        for n in 0..count {
            fs::write(stage.path().join(format!("{n:0>length$}")), "").unwrap();
        }
        assert!(stage.sees_a_swap());
    }
}

#[test]
fn a_read_that_has_emptied_the_queue_is_the_last() {
    let mut stage = Stage::watched();
    fs::write(stage.path().join("a"), "").unwrap();
    assert!(!stage.watcher.read(|| NOW).unwrap(), "there is nothing more to be read");
    for n in 0..300 {
        fs::write(stage.path().join(format!("{n:0>255}")), "").unwrap();
    }
    assert!(stage.watcher.read(|| NOW).unwrap());
    assert!(!stage.watcher.read(|| NOW).unwrap());
}

#[test]
fn a_drivers_volume_isnt_touched_before_it_is_known_to_be_safe() {
    let mut stage = Stage::new();
    let volumes = [("config".into(), VolumeKind::Csi)];
    stage.watcher.unwatch_pod(&stage.volume.pod);
    stage.watcher.watch_pod(&stage.volume.pod, &volumes);
    assert!(stage.path().ends_with("volumes/kubernetes.io~csi/config/mount"));
    fs::create_dir_all(stage.path()).unwrap();
    let look = |stage: &mut Stage| {
        stage.watcher.place_some(NOW);
        stage.watcher.check(&stage.volume.clone(), NOW);
        stage.watcher.retry_polled();
        stage.watcher.recheck(true);
        stage.watcher.recheck_some(NOW);
        stage.watcher.place_some(NOW);
        (stage.sights(), stage.watcher.watch_count())
    };
    assert_eq!(look(&mut stage), (vec![], 0));
    assert_eq!(stage.watcher.barred(&stage.volume.pod), ["config".into()]);
    assert_eq!(stage.watcher.pods_with_barred(), [stage.volume.pod.clone()].into());
    stage.watcher.unbar(&stage.volume.clone());
    let (sights, watches) = look(&mut stage);
    assert!(sights.contains(&"listed") && watches == 1, "{sights:?} {watches}");
    assert!(stage.watcher.barred(&stage.volume.pod).is_empty());
}
