//! A simulated node: volumes as the kubelet leaves them on disk, containers and processes as the kernel shows them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::kernel::guard::GuardReading;
use reloadlet_core::kernel::mounts::{ContainerMounts, Device, DirId};
use reloadlet_core::kernel::process::{ProcessFacts, ProcessIdentity};
use reloadlet_core::kernel::procfs::{SignalSet, Stat};
use reloadlet_core::kernel::program::Nature;
use reloadlet_core::machine::event::{ContainerFacts, VolumeRef};
use reloadlet_core::machine::volume::Listing;
use reloadlet_core::model::digest::{Contents, Digest};
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::{ContainerId, Name, PodUid};
use reloadlet_core::model::pod::{
    AnnotationValue, Container, ContainerKind, ObjectSource, Pod, PodSpec, Volume, VolumeKind, VolumeMount,
    VolumeSource,
};

use crate::simulation::rng::Rng;

/// The bit of SIGHUP in a mask.
pub(crate) const HUP: u64 = 1;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn at(millis: u64) -> Time {
    Time::since_boot(ms(millis))
}

pub(crate) fn generation(n: u32) -> Generation {
    Generation::parse(&format!("..2026_11_21_05_56_44.{n}")).unwrap()
}

pub(crate) fn uid(n: u32) -> PodUid {
    PodUid::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap()
}

/// A pod with these containers, each with the volumes that it mounts, and these ConfigMap volumes.
pub(crate) fn pod(
    n: u32,
    annotations: &[(&str, &str)],
    containers: &[(&str, &[&str])],
    volumes: &[&str],
) -> Pod {
    let container = |(name, mounts): &(&str, &[&str])| Container {
        name: Name::from(*name),
        kind: ContainerKind::Regular,
        mounts: mounts
            .iter()
            .map(|volume| VolumeMount { volume: (*volume).into(), sub_path: None })
            .collect(),
        environment: Vec::new(),
        ..Container::default()
    };
    let volume = |name: &&str| Volume {
        name: (*name).into(),
        source: VolumeSource::ConfigMap(ObjectSource { name: (*name).into(), ..ObjectSource::default() }),
        csi: None,
    };
    Pod {
        uid: uid(n),
        namespace: "shop".into(),
        name: format!("web-{n}").into(),
        spec: PodSpec {
            annotations: annotations
                .iter()
                .map(|(key, text)| (String::from(*key), AnnotationValue::Text(String::from(*text))))
                .collect(),
            containers: containers.iter().map(container).collect(),
            volumes: volumes.iter().map(volume).collect(),
            ..PodSpec::default()
        },
        status: BTreeMap::new(),
        phases: BTreeMap::new(),
        addresses: Vec::new(),
        replica: None,
        given: None,
        unrolled: false,
        terminating: false,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ProcessState {
    pub(crate) pid: u32,
    pub(crate) started: Time,
    pub(crate) comm: String,
    pub(crate) state: char,
    pub(crate) threads: u32,
    pub(crate) parent: u32,
    pub(crate) namespace_pids: Vec<u32>,
    pub(crate) caught: u64,
    pub(crate) blocked: u64,
    pub(crate) ignored: u64,
    pub(crate) pending: u64,
    /// How much memory it has mapped, and the most that it has had mapped since it was executed.
    pub(crate) memory: u64,
    pub(crate) most_memory: u64,
    pub(crate) nature: Nature,
    /// In how many of a hundred readings it is seen as it starts another program and blocks everything, though it handles
    /// nothing; in as many more it waits for that program.
    pub(crate) spawns: u64,
    /// What `argv[0]` is called.
    pub(crate) program: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct ContainerState {
    pub(crate) name: Name,
    pub(crate) id: ContainerId,
    pub(crate) processes: Vec<ProcessState>,
    /// Volumes of which it holds a directory that was torn down.
    pub(crate) dead: BTreeSet<Name>,
    /// The generations of volumes that it mounts by `subPath`.
    pub(crate) frozen: BTreeMap<Name, Generation>,
    /// The tmpfs that its mounts show, by its minor number.
    pub(crate) tmpfs: Option<u32>,
    /// Whether it has more processes than are looked at.
    pub(crate) too_much: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct VolumeState {
    /// Its tmpfs, by its minor number, if it is on one.
    pub(crate) tmpfs: Option<u32>,
    pub(crate) dir: Option<u64>,
    pub(crate) current: Option<(Generation, Time)>,
    pub(crate) others: BTreeSet<Generation>,
    /// What the files that count of a generation come to.
    pub(crate) digests: BTreeMap<Generation, Digest>,
    /// What each file of a generation comes to.
    pub(crate) files: BTreeMap<Generation, BTreeMap<Name, Digest>>,
}

#[derive(Debug, Default)]
pub(crate) struct PodState {
    pub(crate) volumes: BTreeMap<Name, VolumeState>,
    pub(crate) containers: Vec<ContainerState>,
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) pods: BTreeMap<PodUid, PodState>,
    /// How many readings were made.
    readings: Cell<u64>,
    last_pid: u32,
    last_dir: u64,
}

impl Node {
    /// The pod's directories, with each volume published as generation 1 at that time.
    pub(crate) fn add_pod(&mut self, pod: &Pod, published: Time) {
        let state = self.pods.entry(pod.uid.clone()).or_default();
        for volume in &pod.spec.volumes {
            self.last_dir += 1;
            let current = Some((generation(1), published));
            let made = VolumeState { dir: Some(self.last_dir), current, ..VolumeState::default() };
            state.volumes.insert(volume.name.clone(), made);
        }
    }

    pub(crate) fn new_dir(&mut self) -> u64 {
        self.last_dir += 1;
        self.last_dir
    }

    pub(crate) fn new_pid(&mut self) -> u32 {
        self.last_pid += 1;
        1000 + self.last_pid
    }

    /// A container whose first process handles SIGHUP.
    pub(crate) fn start(&mut self, pod: &PodUid, name: &str, started: Time) -> u32 {
        let pid = self.new_pid();
        let process = ProcessState {
            pid,
            started,
            comm: "app".into(),
            state: 'S',
            threads: 1,
            parent: 1,
            namespace_pids: vec![pid, 1],
            caught: HUP,
            blocked: 0,
            ignored: 0,
            pending: 0,
            memory: 100_000,
            most_memory: 100_000,
            nature: Nature::Other,
            spawns: 0,
            program: None,
        };
        let id = ContainerId::parse(&format!("{pid:012x}{pid:052x}")).unwrap();
        let (processes, dead) = (vec![process], BTreeSet::new());
        let frozen = BTreeMap::new();
        let made =
            ContainerState { name: name.into(), id, processes, dead, frozen, tmpfs: None, too_much: false };
        self.pod(pod).containers.push(made);
        pid
    }

    /// A process that the process `parent` forked.
    pub(crate) fn fork(&mut self, pod: &PodUid, parent: u32, comm: &str, started: Time) -> u32 {
        let pid = self.new_pid();
        let containers = &mut self.pod(pod).containers;
        let leaf = containers
            .iter_mut()
            .find(|container| container.processes.iter().any(|process| process.pid == parent))
            .unwrap();
        let mut child = leaf.processes.iter().find(|process| process.pid == parent).unwrap().clone();
        child.comm = comm.into();
        (child.pid, child.parent, child.started) = (pid, parent, started);
        child.namespace_pids = vec![pid, pid - 1000 + 1];
        leaf.processes.push(child);
        pid
    }

    /// The process ends; a container without any goes too.
    pub(crate) fn kill(&mut self, pid: u32) -> Option<ProcessIdentity> {
        let identity = self.identity(pid)?;
        let containers = &mut self.pod(&identity.pod).containers;
        for container in containers.iter_mut() {
            container.processes.retain(|process| process.pid != pid);
        }
        containers.retain(|container| !container.processes.is_empty());
        Some(identity)
    }

    pub(crate) fn pod(&mut self, pod: &PodUid) -> &mut PodState {
        self.pods.get_mut(pod).unwrap()
    }

    pub(crate) fn volume(&mut self, volume: &VolumeRef) -> &mut VolumeState {
        self.pod(&volume.pod).volumes.get_mut(&volume.volume).unwrap()
    }

    pub(crate) fn process_mut(&mut self, pid: u32) -> &mut ProcessState {
        let containers = self.pods.values_mut().flat_map(|pod| &mut pod.containers);
        let mut processes = containers.flat_map(|container| &mut container.processes);
        processes.find(|process| process.pid == pid).unwrap()
    }

    pub(crate) fn identity(&self, pid: u32) -> Option<ProcessIdentity> {
        self.pods.iter().find_map(|(uid, pod)| {
            pod.containers.iter().find_map(|container| {
                let process = container.processes.iter().find(|process| process.pid == pid)?;
                Some(ProcessIdentity {
                    pid,
                    started: process.started,
                    pod: uid.clone(),
                    container: container.id.clone(),
                })
            })
        })
    }

    /// The process with this identity, if it lives.
    pub(crate) fn process(&self, identity: &ProcessIdentity) -> Option<&ProcessState> {
        let containers = &self.pods.get(&identity.pod)?.containers;
        let container = containers.iter().find(|container| container.id == identity.container)?;
        container
            .processes
            .iter()
            .find(|process| process.pid == identity.pid && process.started == identity.started)
    }

    pub(crate) fn guard(&self, identity: &ProcessIdentity, now: Time) -> Option<GuardReading> {
        self.readings.set(self.readings.get() + 1);
        self.process(identity).map(|process| GuardReading {
            comm: process.comm.clone(),
            blocked_in_all: SignalSet::from_bits(process.blocked | self.spawning(process).0),
            ignored: SignalSet::from_bits(process.ignored),
            caught: SignalSet::from_bits(process.caught),
            pending: SignalSet::from_bits(process.pending),
            complete: true,
            state: self.spawning(process).1,
            memory: process.memory,
            most_memory: None,
            begun: now,
            made: now,
            nature: None,
        })
    }

    /// What it blocks for a moment at this reading, and its state.
    fn spawning(&self, process: &ProcessState) -> (u64, char) {
        match Rng::new(self.readings.get() * 65_537 + u64::from(process.pid)).below(100) {
            chance if chance < process.spawns => (u64::MAX, 'R'),
            chance if chance < 2 * process.spawns => (u64::MAX, 'D'),
            _ => (0, process.state),
        }
    }

    /// The same, looked at closely.
    pub(crate) fn guard_closely(&self, identity: &ProcessIdentity, now: Time) -> Option<GuardReading> {
        let process = self.process(identity)?;
        let (most_memory, nature) = (Some(process.most_memory), Some(process.nature));
        self.guard(identity, now).map(|reading| GuardReading { most_memory, nature, ..reading })
    }

    /// The process executes another program, which has no handlers yet.
    pub(crate) fn exec(&mut self, pid: u32, comm: &str, memory: u64) {
        let process = self.process_mut(pid);
        process.comm = comm.into();
        (process.caught, process.memory, process.most_memory) = (0, memory, memory);
    }

    pub(crate) fn listing(&self, volume: &VolumeRef, begun: Time) -> Listing {
        let state = self.pods.get(&volume.pod).and_then(|pod| pod.volumes.get(&volume.volume));
        let Some(state) = state else { return Listing { begun, dir: None, current: None, others: vec![] } };
        let disk = Device { major: 254, minor: 0 };
        let device = state.tmpfs.map_or(disk, |minor| Device { major: 0, minor });
        Listing {
            begun,
            dir: state.dir.map(|inode| DirId { device, inode }),
            current: state.current.clone(),
            others: state.others.iter().cloned().collect(),
        }
    }

    pub(crate) fn contents(&self, volume: &VolumeRef, generation: &Generation) -> Option<Contents> {
        let state = self.pods.get(&volume.pod)?.volumes.get(&volume.volume)?;
        let is_there = state.current.as_ref().is_some_and(|(current, _)| current == generation);
        let files = state.files.get(generation).cloned();
        let counting = state.digests.get(generation).copied();
        (is_there && (files.is_some() || counting.is_some())).then(|| Contents {
            counting: counting.unwrap_or_default(),
            files: Arc::new(files.unwrap_or_default()),
        })
    }

    pub(crate) fn survey(&self, uid: &PodUid) -> Vec<ContainerFacts> {
        let containers = self.pods.get(uid).map(|pod| pod.containers.as_slice()).unwrap_or_default();
        containers.iter().map(|container| facts(uid, container)).collect()
    }
}

fn facts(uid: &PodUid, container: &ContainerState) -> ContainerFacts {
    let below = format!("254:0 /var/lib/kubelet/pods/{uid}");
    let mut mountinfo = format!(
        "1 0 {below}/containers/{}/5ef088ab /dev/termination-log rw - ext4 /dev/vda rw\n",
        container.name
    );
    // Whoever holds the pod's namespaces has no such mount.
    if *container.name == *"POD" {
        mountinfo.clear();
    }
    for volume in &container.dead {
        let plugin = VolumeKind::ConfigMap.directory();
        mountinfo +=
            &format!("2 0 {below}/volumes/{plugin}/{volume}//deleted /{volume} ro - ext4 /dev/vda rw\n");
    }
    for (volume, generation) in &container.frozen {
        let plugin = VolumeKind::ConfigMap.directory();
        mountinfo += &format!(
            "4 0 {below}/volumes/{plugin}/{volume}/{generation}/key /{volume}.key ro - ext4 /dev/vda rw\n"
        );
    }
    if let Some(minor) = container.tmpfs {
        mountinfo += &format!("3 0 0:{minor} / /sec ro - tmpfs tmpfs rw\n");
    }
    let process = |process: &ProcessState| ProcessFacts {
        pid: process.pid,
        stat: Stat {
            comm: process.comm.clone(),
            state: process.state,
            parent: process.parent,
            started: process.started,
            threads: process.threads,
        },
        namespace_pids: process.namespace_pids.clone(),
        program: process.program.clone(),
    };
    ContainerFacts {
        id: container.id.clone(),
        mounts: Some(Arc::new(ContainerMounts::parse(&mountinfo, uid))),
        processes: container.processes.iter().map(process).collect(),
        complete: !container.too_much,
    }
}
