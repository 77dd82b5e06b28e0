use std::thread;
use std::time::Instant;

use reloadlet_core::journal::JournalSnapshot;
use reloadlet_core::pod::{AnnotationValue, Pod, PodUid};

use super::*;
use crate::inbox::Inbox;
use crate::journal::JournalConfig;
use crate::own_reads::OwnReads;

const LIMIT: Duration = Duration::from_secs(30);

/// A loop without pods that is ready: nothing happens in it by itself.
struct Quiet {
    root: tempfile::TempDir,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    turning: Option<thread::JoinHandle<Result<(), LoopError>>>,
}

impl Quiet {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (inbox, receiver, wake) = Inbox::new().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let proc = ProcRoot::new("/proc".into());
        let journal =
            JournalConfig { state_dir: root.path().join("state"), boot_id: root.path().join("none") };
        let own_reads = OwnReads::default();
        let parts = Parts {
            machine: Machine::new(),
            watcher: Watcher::new(root.path(), own_reads.clone()).unwrap(),
            holder: Holder::new(proc.clone(), true),
            surveyor: Surveyor::start(proc.clone(), root.path().to_owned(), own_reads, |_| ()).unwrap(),
            proc,
            journal: JournalHandle::start(journal, |_| ()).unwrap(),
            metrics: metrics.clone(),
            inbox: receiver,
            wake,
            ready: Arc::new(AtomicBool::new(true)),
            notes: None,
            nudges: None,
            objects: None,
            pods_dir: root.path().join("pods"),
        };
        inbox.send(Inbound::Event(Event::JournalRead(JournalSnapshot::default())));
        let node_loop = NodeLoop::new(parts, None).unwrap();
        let turning = Some(thread::spawn(move || node_loop.run()));
        Self { root, inbox, metrics, turning }
    }

    fn pods(&self, count: u32) {
        let pod = |number: u32| Pod {
            uid: PodUid::parse(&format!("{number:08}")).unwrap(),
            namespace: "shop".into(),
            name: "web".into(),
            annotations: [("reloadlet.io/signal".into(), AnnotationValue::Text("SIGNONSENSE".into()))].into(),
            containers: Vec::new(),
            volumes: Vec::new(),
            status: Default::default(),
            runtime_class: None,
            terminating: false,
        };
        self.inbox.send(Inbound::Event(Event::PodsSynced((0..count).map(|n| Arc::new(pod(n))).collect())));
    }

    fn wait(&self, line: &str) {
        let begun = Instant::now();
        while !self.metrics.encode(clock::now()).unwrap().lines().any(|found| found == line) {
            assert!(begun.elapsed() < LIMIT, "{line}");
            thread::yield_now();
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.inbox.send(Inbound::Stop);
        self.turning.take().unwrap().join().unwrap().unwrap();
    }
}

#[test]
fn a_gauge_shows_the_last_change_though_nothing_follows_it() {
    let quiet = Quiet::start();
    for count in [1, 0, 2, 1, 0] {
        quiet.pods(count);
        quiet.wait(&format!("reloadlet_pods{{state=\"invalid\"}} {count}"));
    }
    let (pod, directory) = (PodUid::parse("00000001").unwrap(), quiet.root.path().to_owned());
    quiet.inbox.send(Inbound::Finding(Finding::Cgroup(pod, directory, Vec::new())));
    quiet.wait("reloadlet_inotify_watches 1");
}
