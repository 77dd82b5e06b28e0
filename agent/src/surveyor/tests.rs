use std::fs;
use std::sync::mpsc::{Receiver, channel};

use super::*;

#[test]
fn a_read_counts_as_our_own_until_the_loop_has_taken_in_what_came_of_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("key"), "x").unwrap();
    let volume = VolumeRef { pod: PodUid::parse(&"1".repeat(32)).unwrap(), volume: "conf".into() };
    let generation = Generation::parse("..2026_11_21_05_56_44.1").unwrap();
    let reading = Reading {
        filter: reloadlet_core::policy::files::FileFilter::new(None, []),
        each: true,
        decides: false,
    };
    let (own_reads, (found, findings)) = (OwnReads::default(), channel());
    let report = move |finding| found.send(finding).unwrap();
    let root = directory.path().to_owned();
    let mut surveyor = {
        let (proc, homes) = (ProcRoot::new("/proc".into()), Homes::new(&root, "/proc".into()));
        Surveyor::start(proc, root.clone(), homes, own_reads.clone(), Default::default(), report).unwrap()
    };
    assert!(!own_reads.is_read(&volume, &generation));
    let read = Request::Read(volume.clone(), generation.clone(), root, reading);
    surveyor.request(&"shop".into(), read);
    let finding = findings.recv().unwrap();
    assert!(matches!(finding, Finding::Event(Event::Read(_, _, _, Some(_)))), "{finding:?}");
    assert!(own_reads.is_read(&volume, &generation));
    own_reads.end(&volume, &generation);
    assert!(!own_reads.is_read(&volume, &generation));
    surveyor.close();
}

/// A process of a pod, as a proc directory and a cgroup show it.
struct Fake {
    directory: tempfile::TempDir,
    surveyor: Surveyor,
    findings: Receiver<Finding>,
    pod: PodUid,
}

impl Fake {
    /// One that has run for so long.
    fn of_age(age: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
        let (proc, cgroup) = (directory.path().join("proc"), directory.path().join("cgroup"));
        let leaf = cgroup.join(format!("pod{pod}")).join("a".repeat(64));
        fs::create_dir_all(&leaf).unwrap();
        fs::create_dir_all(proc.join("7")).unwrap();
        fs::write(cgroup.join("cgroup.procs"), "").unwrap();
        fs::write(leaf.join("cgroup.procs"), "7\n").unwrap();
        let started = (clock::now() - age).elapsed_since_boot().as_millis() / 10;
        let stat = format!("7 (3) S 1 1 1 0 -1{} 1 0 {started}{}\n", " 0".repeat(11), " 0".repeat(30));
        fs::write(proc.join("7/stat"), stat).unwrap();
        let status = "Name:\t3\nNSpid:\t7\t1\nThreads:\t1\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t1\n";
        fs::write(proc.join("7/status"), status).unwrap();
        let (found, findings) = channel();
        let report = move |finding| found.send(finding).unwrap_or_default();
        let homes = Homes::new(directory.path(), proc.clone());
        let proc = ProcRoot::new(proc);
        let surveyor =
            Surveyor::start(proc, cgroup, homes, OwnReads::default(), Default::default(), report).unwrap();
        Self { directory, surveyor, findings, pod }
    }

    /// What its mounts are found to be, while it shows these.
    fn mounts(&self, volume: bool) -> ContainerMounts {
        let pod = &self.pod;
        let mut text =
            format!("1 0 254:0 /pods/{pod}/containers/app/01234567 /dev/termination-log rw - ext4 d rw\n");
        if volume {
            text += &format!(
                "2 0 254:0 /pods/{pod}/volumes/kubernetes.io~configmap/config /config ro - ext4 d rw\n"
            );
        }
        fs::write(self.directory.path().join("proc/7/mountinfo"), text).unwrap();
        let survey = Survey { pod: pod.clone(), name: None, fresh_mounts: false };
        self.surveyor.request(&"shop".into(), Request::Survey(survey));
        loop {
            match self.findings.recv().unwrap() {
                Finding::Event(Event::Surveyed(_, containers)) => {
                    let mounts = containers.first().and_then(|container| container.mounts.clone());
                    return ContainerMounts::clone(&mounts.unwrap());
                }
                Finding::Cgroup(..) => {}
                other @ (Finding::Event(_)
                | Finding::Unlisted(_)
                | Finding::Unread(..)
                | Finding::Home(..)
                | Finding::Gates(..)) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn mounts_are_remembered_of_grown_processes_only() {
    let young = Fake::of_age(Duration::ZERO);
    let before = young.mounts(false);
    assert_ne!(young.mounts(true), before, "the container was being set up");
    let grown = Fake::of_age(GROWN * 2);
    let before = grown.mounts(false);
    assert_eq!(grown.mounts(true), before);
}
