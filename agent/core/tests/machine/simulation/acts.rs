//! What happens on the node: the runtime, the life of processes, and people who write annotations.

use super::grants::TERM;
use super::*;
use crate::node::{HUP, generation, pod};
use reloadlet_core::model::pod::Replica;

const ANNOTATIONS: [&[(&str, &str)]; 7] = [
    &[],
    &[("reloadlet.io/debounce", "300ms")],
    &[("reloadlet.io/debounce", "0s"), ("reloadlet.io/min-interval", "5s")],
    &[("reloadlet.io/splay", "2s"), ("reloadlet.io/verify", "3s")],
    &[("reloadlet.io/keys", "*.conf")],
    &[("reloadlet.io/process", "worker")],
    &[("reloadlet.io/unhandled", "send"), ("reloadlet.io/verify", "1s")],
];

impl Simulation {
    pub(super) fn carry_out(&mut self, todo: Todo) {
        match todo {
            Todo::Act => self.act(),
            Todo::Unlink(volume) => self.unlink(&volume),
            Todo::Rebuild(volume) => self.rebuild(&volume),
            Todo::Expire(volume, generation) => self.expire(&volume, generation),
            Todo::Exec(pid) => self.exec(pid),
            Todo::Handle(pid) => self.handle(pid),
            Todo::BecomeInit(pid) => self.become_init(pid),
            Todo::Renew(pid) => self.renew(pid),
            Todo::Boot(pid) => {
                if self.node.identity(pid).is_some() {
                    self.node.process_mut(pid).caught = HUP;
                }
            }
            Todo::Booted(pid) => {
                self.booting.remove(&pid);
                if self.node.identity(pid).is_some() {
                    let process = self.node.process_mut(pid);
                    (process.memory, process.most_memory) = (400_000, 400_000);
                }
            }
            Todo::StartContainer(uid) => self.start_container(&uid),
            Todo::Exit(pid) => self.exit(pid, false),
            Todo::Fork(uid) => self.fork_child(&uid),
            Todo::Show(uid, id, started) => self.show(&uid, id, started),
            Todo::ShowKill(uid, id) => self.show_kill(&uid, id),
            Todo::Address(uid) => self.show_address(&uid),
            Todo::Sync(life) => {
                let listed = self.listed();
                self.agent_event(life, Event::PodsSynced(listed));
            }
            Todo::StartAgent
            | Todo::Wake
            | Todo::BeginListing(..)
            | Todo::MakeListing(..)
            | Todo::MakeSurvey(..)
            | Todo::Read(..)
            | Todo::Hold(..)
            | Todo::Open(..)
            | Todo::Connect(..)
            | Todo::Respond(_)
            | Todo::Event(..)
            | Todo::Notify(..) => self.carry_out_edge(todo),
        }
    }

    fn act(&mut self) {
        self.acts_left -= 1;
        let pods: Vec<PodUid> = self.pods.keys().cloned().collect();
        let chance = self.rng.below(100);
        if let Some(uid) = self.rng.pick(&pods).cloned() {
            match chance {
                0..49 => self.swap_some_volume(&uid),
                49..53 => self.grant(&uid),
                53 => self.lose_address(&uid),
                54 => self.lack(),
                55..67 => self.restart_container(&uid),
                67..72 => self.end_child(&uid),
                72..80 => self.overflow(),
                80..87 => self.kill_agent(),
                87..90 => self.stall(),
                90..94 => self.change_annotations(&uid),
                94..96 => self.remove_pod(&uid),
                96 => self.list_nothing(),
                97 => self.tear_down(&uid),
                _ => self.add_pod(),
            }
        } else {
            self.add_pod();
        }
        if self.acts_left > 0 {
            // Now and then a burst, now and then time for everything to end.
            let pause = match self.rng.below(10) {
                0..4 => self.micros(5_000),
                4..8 => self.micros(500_000),
                8 => self.micros(5_000_000),
                _ => self.micros(30_000_000),
            };
            self.push(pause, Todo::Act);
        }
    }

    pub(super) fn add_pod(&mut self) {
        if self.pods.len() >= 6 {
            return;
        }
        let n = self.next_pod;
        self.next_pod += 1;
        let is_replica = n.is_multiple_of(3);
        let has_more = self.rng.percent(40) && !is_replica;
        let volumes: &[&str] = if has_more { &["config", "more"] } else { &["config"] };
        let made = pod(n, &[("reloadlet.io/signal", "SIGHUP")], &[("app", volumes)], volumes);
        let uid = made.uid.clone();
        self.node.add_pod(&made, self.now);
        for volume in volumes {
            let volume = VolumeRef { pod: uid.clone(), volume: (*volume).into() };
            self.node.volume(&volume).digests.insert(generation(1), Digest::default());
            self.settled.insert((volume.clone(), generation(1)), self.now);
            self.visible.insert(volume, generation(1));
        }
        let manner = match self.rng.below(20) {
            0 => Manner::HandlesLate,
            1 => Manner::Ignores,
            2 => Manner::Quits,
            3 => Manner::Blocks,
            4 => Manner::Spawns,
            5..7 => Manner::Renews,
            7..10 => Manner::Drops,
            _ => Manner::Handles,
        };
        let mut made = made;
        // Nothing but what is bad ends a replica.
        let is_ended = matches!(manner, Manner::Quits | Manner::Renews);
        let manner = if is_replica && is_ended { Manner::Handles } else { manner };
        if is_replica {
            let (kind, name, of) = ("ReplicaSet".into(), "web".into(), "1".into());
            made.replica = Some(Replica { kind, name, uid: of, template: None });
        }
        self.add_server(&mut made);
        let manner = if manner == Manner::Renews && self.is_asked(&uid) { Manner::Handles } else { manner };
        self.manners.insert(uid.clone(), manner);
        if self.is_never_ready(&uid) {
            self.reported.insert(uid.clone());
        } else if self.rng.percent(60) {
            self.reported.insert(uid.clone());
            if !is_replica && self.rng.percent(50) {
                self.slow.insert(uid.clone());
            }
        }
        self.pods.insert(uid.clone(), made);
        let kind = self.rng.below(ANNOTATIONS.len() as u64);
        self.write_annotations(&uid, usize::try_from(kind).unwrap());
        let pause = ms(100) + self.micros(500_000);
        self.push(pause, Todo::StartContainer(uid));
        self.sync_soon();
    }

    /// A listing is empty for a moment.
    fn list_nothing(&mut self) {
        self.push(ms(0), Todo::Event(self.life, Event::PodsSynced(Vec::new())));
        self.sync_soon();
    }

    pub(super) fn sync_soon(&mut self) {
        let pause = self.micros(2_000_000);
        self.push(pause, Todo::Sync(self.life));
    }

    pub(super) fn write_annotations(&mut self, uid: &PodUid, kind: usize) {
        let (means, others) = if self.is_asked(uid) {
            (servers::REQUEST, servers::ANNOTATIONS[kind])
        } else {
            (("reloadlet.io/signal", "SIGHUP"), ANNOTATIONS[kind])
        };
        let annotations = pod(1, &[&[means], others].concat(), &[], &[]).spec.annotations;
        if annotations.contains_key("reloadlet.io/unhandled") {
            self.unhandled.insert(uid.clone());
        }
        self.pods.get_mut(uid).unwrap().spec.annotations = annotations;
    }

    fn change_annotations(&mut self, uid: &PodUid) {
        if self.rng.percent(50) {
            let broken = pod(1, &[("reloadlet.io/signal", "SIGKILL")], &[], &[]).spec.annotations;
            self.pods.get_mut(uid).unwrap().spec.annotations = broken;
            self.broken.insert(uid.clone());
        } else {
            if self.rng.percent(20) {
                self.change_means(uid);
            }
            // The names of processes stay as they are: what a container runs is fixed at its start.
            let kind = usize::try_from(self.rng.below(4)).unwrap();
            self.write_annotations(uid, kind);
            self.broken.remove(uid);
        }
        self.sync_soon();
    }

    fn remove_pod(&mut self, uid: &PodUid) {
        let pids = self.pids(uid);
        pids.into_iter().for_each(|pid| self.exit(pid, true));
        for volume in std::mem::take(&mut self.swapping) {
            if volume.pod != *uid {
                self.swapping.insert(volume);
            } else if let Some((generation, swapped)) = self.node.volume(&volume).current.clone() {
                // Nobody sees the end of this swap: it times out.
                self.settled.insert((volume, generation), swapped + ms(2_000));
            }
        }
        self.pods.remove(uid);
        self.node.pods.remove(uid);
        self.broken.remove(uid);
        self.visible.retain(|volume, _| volume.pod != *uid);
        self.sync_soon();
    }

    pub(super) fn start_container(&mut self, uid: &PodUid) {
        if !self.pods.contains_key(uid) || !self.node.pod(uid).containers.is_empty() {
            return;
        }
        // Start times have a resolution of 10 ms.
        let ticks = self.now.elapsed_since_boot().as_millis() / 10 * 10;
        self.first_started.entry(uid.clone()).or_insert(self.now);
        let pid = self.node.start(uid, "app", at(u64::try_from(ticks).unwrap()));
        let process = self.node.process_mut(pid);
        process.comm = "runc:[2:INIT]".into();
        process.caught = u64::MAX;
        let id = self.node.identity(pid).unwrap().container;
        let starts_for = if self.slow.contains(uid) { ms(2_000) + self.micros(40_000_000) } else { ms(30) };
        self.starts.insert(id.clone(), self.now + starts_for);
        if self.reported.contains(uid) {
            let late = [ms(200) + self.micros(2_500_000), self.micros(3_000_000)];
            if self.slow.contains(uid) {
                self.push(late[0].min(starts_for), Todo::Show(uid.clone(), id.clone(), false));
            }
            self.push(starts_for + late[1], Todo::Show(uid.clone(), id, true));
        }
        self.notify(Event::CgroupChanged(uid.clone()));
        self.push(ms(30), Todo::Exec(pid));
    }

    fn exec(&mut self, pid: u32) {
        let Some(identity) = self.node.identity(pid) else { return };
        let uid = identity.pod;
        let by_name = self.pods[&uid].spec.annotations.contains_key("reloadlet.io/process");
        let chance = if by_name { 99 } else { self.rng.below(100) };
        let process = self.node.process_mut(pid);
        process.caught = 0;
        match chance {
            0..20 => {
                process.comm = "tini".into();
                process.caught = TERM;
                self.fork_child(&uid);
            }
            20..27 => {
                process.comm = "sh".into();
                let pause = self.micros(9_000_000);
                self.push(pause, Todo::BecomeInit(pid));
            }
            27..33 => {
                process.comm = "s6-svscan".into();
                process.caught = u64::MAX;
                self.fork_child(&uid);
            }
            _ => {
                process.comm = "worker".into();
                self.begin_program(pid);
            }
        }
    }

    fn become_init(&mut self, pid: u32) {
        let Some(identity) = self.node.identity(pid) else { return };
        self.node.exec(pid, "dumb-init", 10_000);
        self.node.process_mut(pid).caught = u64::MAX;
        self.fork_child(&identity.pod);
    }

    fn handle(&mut self, pid: u32) {
        let Some(identity) = self.node.identity(pid) else { return };
        let blocks = self.manners[&identity.pod] == Manner::Blocks;
        let process = self.node.process_mut(pid);
        (process.memory, process.most_memory) = (400_000, 400_000);
        if blocks {
            process.blocked = HUP;
        } else {
            process.caught = HUP | TERM;
        }
    }

    fn renew(&mut self, pid: u32) {
        let Some(identity) = self.node.identity(pid) else { return };
        self.node.exec(pid, "worker", 60_000);
        self.booting.insert(pid);
        self.lost_handlers.insert(pid, (self.now, self.life));
        let seen = self.seen(&identity.pod);
        self.loaded.insert(pid, seen);
        let (boot, booted) = (self.micros(20_000), ms(20) + self.micros(1_500_000));
        self.push(boot, Todo::Boot(pid));
        self.push(booted, Todo::Booted(pid));
    }

    fn fork_child(&mut self, uid: &PodUid) {
        let Some(pod) = self.node.pods.get(uid) else { return };
        let Some(container) = pod.containers.first().filter(|container| container.processes.len() == 1)
        else {
            return;
        };
        let parent = container.processes[0].pid;
        if !matches!(container.processes[0].comm.as_str(), "tini" | "dumb-init" | "s6-svscan") {
            return;
        }
        let ticks = self.now.elapsed_since_boot().as_millis() / 10 * 10;
        let pid = self.node.fork(uid, parent, "worker", at(u64::try_from(ticks).unwrap()));
        self.node.exec(pid, "worker", 60_000);
        self.begin_program(pid);
    }

    /// The program reads its files and installs its handlers.
    fn begin_program(&mut self, pid: u32) {
        let uid = self.node.identity(pid).unwrap().pod;
        let seen = self.seen(&uid);
        self.loaded.insert(pid, seen);
        let after = match self.manners[&uid] {
            Manner::Handles | Manner::Quits | Manner::Blocks | Manner::Renews | Manner::Drops => {
                self.micros(2_500_000)
            }
            Manner::HandlesLate => ms(30_000),
            Manner::Ignores => return,
            Manner::Spawns => {
                self.node.process_mut(pid).spawns = 15;
                return;
            }
        };
        self.push(after, Todo::Handle(pid));
    }

    pub(super) fn pids(&mut self, uid: &PodUid) -> Vec<u32> {
        let containers = &self.node.pod(uid).containers;
        containers.iter().flat_map(|container| container.processes.iter().rev().map(|p| p.pid)).collect()
    }

    fn restart_container(&mut self, uid: &PodUid) {
        if self.is_new(uid) {
            return;
        }
        if let Some(pid) = self.pids(uid).last().copied() {
            self.exit(pid, true);
        }
    }

    /// The child of an init ends, and its supervisor starts another.
    fn end_child(&mut self, uid: &PodUid) {
        if let [child, _] = self.pids(uid)[..] {
            self.exit(child, true);
        }
    }

    fn show(&mut self, uid: &PodUid, id: ContainerId, started: bool) {
        let is_never_ready = self.is_never_ready(uid);
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if self.node.pod(uid).containers.iter().any(|container| container.id == id) {
            pod.status.insert("app".into(), id);
            let phase = pod.phases.entry("app".into()).or_default();
            (phase.started, phase.ready) = (Some(started), Some(started && !is_never_ready));
            let pause = self.micros(500_000);
            self.push(pause, Todo::Sync(self.life));
        }
    }

    fn show_kill(&mut self, uid: &PodUid, id: ContainerId) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.phases.entry("app".into()).or_default().killed = Some(id);
            let pause = self.micros(500_000);
            self.push(pause, Todo::Sync(self.life));
        }
    }

    /// A process ends, by SIGKILL from outside or by itself.
    pub(super) fn exit(&mut self, pid: u32, killed: bool) {
        let Some(identity) = self.node.identity(pid) else { return };
        let uid = identity.pod.clone();
        let leaf = self.node.pod(&uid).containers[0].processes.clone();
        let is_first = leaf[0].pid == pid;
        // With the first process of a PID namespace all of them end.
        let ending: Vec<u32> = if is_first { leaf.iter().rev().map(|p| p.pid).collect() } else { vec![pid] };
        for pid in ending {
            let gone = self.node.kill(pid).unwrap();
            self.loaded.remove(&pid);
            self.note_ending(&gone, killed);
            self.cut_off(pid);
            if killed && !self.held.contains(&gone) {
                self.unseen_kills.insert(uid.clone());
            }
            let by_status = is_first && self.reported.contains(&uid) && self.rng.percent(20);
            if killed && by_status {
                let pause = self.micros(5_000_000);
                self.push(pause, Todo::ShowKill(uid.clone(), gone.container.clone()));
            }
            if self.held.contains(&gone) {
                self.answer(Event::Exited(gone.clone(), self.now));
                if killed && !by_status {
                    self.answer(Event::Killed(gone));
                }
            }
        }
        let pause = match self.rng.below(10) {
            0 => self.micros(40_000_000),
            1 => self.micros(20_000),
            _ => self.micros(1_500_000),
        };
        if is_first {
            self.notify(Event::CgroupChanged(uid.clone()));
            self.push(pause, Todo::StartContainer(uid));
        } else {
            self.push(pause.min(ms(1_000)), Todo::Fork(uid));
        }
    }
}
