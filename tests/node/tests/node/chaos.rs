//! Everything at once, in an order that a seed decides: whatever happens, each container ends up with the newest
//! generation, told or read at its start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use standin::{Fault, LogRecord, Pod, PodSpec, VolumeKind, VolumeSpec, WriteOptions, payload, wait_until};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, reader};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn pause(&mut self, limit: u64) {
        std::thread::sleep(Duration::from_millis(self.below(limit)));
    }
}

/// What was published last: the content, and when.
#[derive(Default)]
struct Published {
    content: String,
    renamed_at: u64,
    changes: usize,
}

struct Chaos {
    rig: Rig,
    random: Random,
    published: BTreeMap<String, Published>,
    kills: usize,
    step: usize,
}

fn pod(n: usize, kind: VolumeKind) -> PodSpec {
    let name = format!("p{n}");
    let volume = match kind {
        VolumeKind::Secret => VolumeSpec::secret("conf"),
        VolumeKind::Projected => VolumeSpec::projected("conf"),
        VolumeKind::ConfigMap | VolumeKind::DownwardApi | VolumeKind::Csi => VolumeSpec::config_map("conf"),
    };
    let spec = PodSpec::new(&name).namespace(&name).annotation(SIGNAL, "SIGHUP");
    spec.volume(volume.key("app.conf", "one\n")).container(reader("app", &[]))
}

impl Chaos {
    fn publish(&mut self, pod: &Pod, fault: Option<Fault>) {
        let content = format!("s{}", self.step);
        let files = payload([("app.conf", &*format!("{content}\n"))]);
        let gap = Duration::from_millis(self.random.below(3));
        let written = pod.update_with("conf", &files, &WriteOptions { gap, fault }).unwrap();
        self.record(pod, content, written.renamed_at().unwrap());
    }

    fn record(&mut self, pod: &Pod, content: String, renamed_at: u64) {
        let published = self.published.entry(pod.uid().to_owned()).or_default();
        *published = Published { content, renamed_at, changes: published.changes + 1 };
    }

    fn step(&mut self, pods: &[Arc<Pod>]) {
        self.step += 1;
        let pod = &pods[usize::try_from(self.random.below(pods.len() as u64)).unwrap()];
        match self.random.below(100) {
            0..60 => self.publish(pod, None),
            60..64 => self.publish(pod, Some(Fault::DieAfterRename)),
            64..68 => self.publish(pod, Some(Fault::KeepOld)),
            68..71 => drop(pod.restart_container("app").unwrap()),
            71..78 => {
                self.kills += 1;
                self.rig.kill_and_restart();
            }
            78..84 => {
                self.rig.agent.signal(Signal::STOP).unwrap();
                self.publish(pod, None);
                self.random.pause(40);
                self.step += 1;
                self.publish(pod, None);
                self.rig.agent.signal(Signal::CONT).unwrap();
            }
            84..92 => {
                pod.set_annotation("reloadlet.io/verify", &format!("{}s", 1 + self.random.below(9)));
                self.rig.publish_pods();
            }
            92..95 => {
                pod.unmake_volume("conf").unwrap();
                self.random.pause(10);
                let content = format!("s{}", self.step);
                let files = payload([("app.conf", &*format!("{content}\n"))]);
                let renamed_at = pod.make_volume("conf", files).unwrap().renamed_at().unwrap();
                self.record(pod, content, renamed_at);
                self.random.pause(10);
                pod.restart_container("app").unwrap();
            }
            95..98 => drop(pod.exec("app", &["/workload", "--none"]).unwrap().kill().unwrap()),
            _ => self.rig.publish_pods(),
        }
        self.random.pause(100);
    }

    /// Whether further reloads of the pod are held, as when two of its restarts followed deliveries.
    fn is_held(&self, pod: &Pod) -> bool {
        let status = self.rig.agent.status().unwrap();
        let mut pods = status["pods"].as_array().unwrap().iter();
        pods.any(|found| found["uid"] == pod.uid() && found["containers"][0]["held"] == true)
    }

    /// Whether the container's process was told of the newest content, or has read it at its start.
    fn is_current(&self, pod: &Pod) -> bool {
        let Some(published) = self.published.get(pod.uid()) else { return true };
        let log = pod.log("app").unwrap();
        let is_start = |record: &LogRecord| matches!(record, LogRecord::Started { .. });
        let begin = log.iter().rposition(is_start).unwrap();
        log[begin..].iter().any(|record| match record {
            LogRecord::Started { at } => *at > published.renamed_at,
            LogRecord::Ready { .. } => false,
            LogRecord::Signal { at, read, .. } => {
                *at > published.renamed_at && read.as_deref() == Some(&*published.content)
            }
        })
    }
}

#[test]
fn whatever_happens_each_container_gets_the_newest_generation() {
    let seed = std::env::var("NODE_SUITE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed);
    let mut specs = vec![
        pod(0, VolumeKind::ConfigMap),
        pod(1, VolumeKind::ConfigMap),
        pod(2, VolumeKind::Secret),
        pod(3, VolumeKind::Projected),
        pod(4, VolumeKind::Secret).annotation("reloadlet.io/debounce", "50ms"),
        pod(5, VolumeKind::ConfigMap).annotation("reloadlet.io/keys", "app.*"),
    ];
    specs[1].share_process_namespace = true;
    let Some(rig) = Setup::new().start(specs) else { return };
    let pods = rig.node.pods();
    let mut pods: Vec<_> = pods.into_iter().collect();
    pods.sort_by(|a, b| a.name().cmp(b.name()));
    let mut chaos = Chaos { rig, random: Random(seed), published: BTreeMap::new(), kills: 0, step: 0 };
    for _ in 0..200 {
        chaos.step(&pods);
    }
    chaos.rig.agent.wait_ready(LIMIT).unwrap();
    for pod in &pods {
        let what = format!("{} with its newest generation (seed {seed})", pod.name());
        wait_until(LIMIT, &what, || chaos.is_current(pod) || chaos.is_held(pod)).unwrap_or_else(|error| {
            panic!("{error}\n{:?}\n{}", pod.log("app"), chaos.rig.agent.status().unwrap())
        });
        assert_eq!(pod.exit("app").unwrap(), None, "{} (seed {seed})", pod.name());
        let changes = chaos.published.get(pod.uid()).map_or(0, |published| published.changes);
        let signals = pod.signals("app").unwrap().len();
        assert!(signals <= changes + chaos.kills, "{signals} signals of {changes} changes (seed {seed})");
    }
    chaos.rig.end();
}
