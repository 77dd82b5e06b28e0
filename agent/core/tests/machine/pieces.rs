//! What concerns many pods, volumes or processes is done piece by piece: the edge takes in notifications in between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use reloadlet_core::machine::event::{Delivery, VolumeRef};
use reloadlet_core::model::journal::JournalSnapshot;
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::object::Observed;
use reloadlet_core::model::pod::{Pod, VolumeSource};
use reloadlet_core::propagation::measuring::Measuring;
use reloadlet_core::{Action, Event, Machine, Time};

use crate::measuring::{object, version};
use crate::node::{Node, at, generation, pod, uid};
use crate::world::{PUBLISHED, STARTED, app};

/// When everything is old enough.
const NOW: Time = at(200_000);

/// A pod with 256 volumes.
fn large(n: u32) -> Pod {
    let names: Vec<String> = (0..256).map(|n| format!("v{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    pod(n, &[("reloadlet.io/signal", "SIGHUP")], &[("app", &names)], &names)
}

/// A machine that knows these pods, on a node that answers at once.
struct Rig {
    machine: Machine,
    node: Node,
    /// What was asked for since the last piece began.
    asked: Vec<Action>,
}

impl Rig {
    fn new(machine: Machine, pods: Vec<Pod>, fill: impl FnOnce(&mut Node)) -> Self {
        let mut node = Node::default();
        for pod in &pods {
            node.add_pod(pod, PUBLISHED);
            for container in &pod.spec.containers {
                node.start(&pod.uid, &container.name, STARTED);
            }
        }
        fill(&mut node);
        let mut rig = Self { machine, node, asked: Vec::new() };
        rig.handle(Event::JournalRead(JournalSnapshot::default()));
        rig.handle(Event::PodsSynced(pods.into_iter().map(Arc::new).collect()));
        rig.pieces(at(100_000));
        rig
    }

    fn handle(&mut self, event: Event) {
        self.asked.clear();
        self.machine.handle(at(100_000), event);
        self.answer(at(100_000));
    }

    fn answer(&mut self, now: Time) {
        let mut events = VecDeque::new();
        loop {
            while let Some(action) = self.machine.poll_action() {
                events.extend(self.carry_out(&action, now));
                self.asked.push(action);
            }
            let Some(event) = events.pop_front() else { return };
            self.machine.handle(now, event);
        }
    }

    fn carry_out(&self, action: &Action, now: Time) -> Option<Event> {
        if let Action::List(volume) = action {
            Some(Event::Listed(volume.clone(), self.node.listing(volume, NOW)))
        } else if let Action::Survey(survey) = action {
            Some(Event::Surveyed(survey.pod.clone(), self.node.survey(&survey.pod)))
        } else if let Action::Hold(process) = action {
            Some(Event::Held(process.clone()))
        } else if let Action::ReadGuard(process, signal) = action {
            Some(Event::Guarded(process.clone(), *signal, self.node.guard(process, now)))
        } else if let Action::ReadClosely(process, signal) = action {
            Some(Event::Guarded(process.clone(), *signal, self.node.guard_closely(process, now)))
        } else if let Action::Send(process, _) = action {
            Some(Event::Delivered(process.clone(), Delivery::Sent))
        } else {
            None
        }
    }

    /// What is asked for in each piece of what is due.
    fn pieces(&mut self, now: Time) -> Vec<Vec<Action>> {
        let mut pieces = Vec::new();
        while self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.asked.clear();
            self.machine.handle_timeout(now);
            self.answer(now);
            pieces.push(self.asked.clone());
            assert!(pieces.len() < 10_000, "pieces without end");
        }
        pieces
    }
}

/// How many volumes of each pod are listed.
fn listed(actions: &[Action]) -> Vec<(PodUid, usize)> {
    let mut counts: BTreeMap<PodUid, usize> = BTreeMap::new();
    for action in actions {
        if let Action::List(volume) = action {
            *counts.entry(volume.pod.clone()).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}

#[test]
fn an_overflow_lists_the_volumes_of_large_pods_piece_by_piece_and_after_those_of_small_ones() {
    let mut rig = Rig::new(Machine::new(), vec![large(1), large(2), app(3, &[])], |_| {});
    rig.handle(Event::Overflowed);
    assert_eq!(listed(&rig.asked), [(uid(1), 256), (uid(3), 1)]);
    // The next overflow begins anew.
    rig.handle(Event::Overflowed);
    assert_eq!(listed(&rig.asked), [(uid(1), 256), (uid(3), 1)]);
    let pieces: Vec<_> = rig.pieces(at(100_000)).iter().map(|piece| listed(piece)).collect();
    assert_eq!(pieces, [vec![(uid(2), 256)]]);
    assert!(!rig.machine.is_busy());
}

/// The newest version that is known for the volumes of each pod.
fn wanted(machine: &Machine) -> Vec<Vec<String>> {
    let of = |volume: &reloadlet_core::machine::status::VolumeStatus| {
        let versions = volume.wanted.iter().filter_map(|wanted| wanted.version.as_ref());
        versions.map(|version| version.to_string()).collect::<String>()
    };
    let mut pods = machine.status(NOW);
    pods.sort_by_key(|status| status.uid.clone());
    let each = |status: &reloadlet_core::machine::status::PodStatus| {
        let mut versions: Vec<String> = status.volumes.iter().map(of).collect();
        versions.dedup();
        versions
    };
    pods.iter().map(each).collect()
}

#[test]
fn news_of_an_object_reaches_large_pods_piece_by_piece_in_order_and_new_ones_at_once() {
    let mut pods = vec![large(1), large(2), large(3)];
    for volume in pods.iter_mut().flat_map(|pod| &mut pod.spec.volumes) {
        if let VolumeSource::ConfigMap(source) = &mut volume.source {
            source.name = "config".into();
        }
    }
    let machine = Machine::measuring(Measuring { secrets: false, accelerate: None });
    let mut rig = Rig::new(machine, pods.clone(), |_| {});
    let show = |rig: &mut Rig, n| {
        rig.handle(Event::Observed(object("config"), Observed::Version(Arc::new(version(n, 1))), NOW));
    };
    let all = |versions: [&str; 3]| versions.map(|version| vec![version.to_owned()]);
    show(&mut rig, 1);
    assert_eq!(wanted(&rig.machine), all(["1", "", ""]));
    assert!(rig.machine.is_busy() && rig.machine.poll_timeout().is_some_and(|due| due <= NOW));
    show(&mut rig, 2);
    assert_eq!(wanted(&rig.machine), all(["1", "1", ""]), "what came first");
    // A machine that is made meanwhile knows what is newest, and isn't told of what was said before.
    pods[2]
        .spec
        .annotations
        .insert("reloadlet.io/splay".into(), reloadlet_core::model::pod::AnnotationValue::Text("1s".into()));
    rig.handle(Event::PodsSynced(pods.into_iter().map(Arc::new).collect()));
    assert_eq!(wanted(&rig.machine), all(["1", "1", "2"]));
    rig.pieces(NOW);
    assert_eq!(wanted(&rig.machine), all(["2", "2", "2"]));
    assert!(!rig.machine.is_busy());
}

#[test]
fn the_processes_of_many_containers_are_sent_to_piece_by_piece_and_each_once() {
    let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let signals: Vec<String> = names.iter().map(|name| format!("signal.reloadlet.io/{name}")).collect();
    let signals = signals.iter().map(|key| (key.as_str(), "SIGHUP"));
    let waits = [("reloadlet.io/process", "worker"), ("reloadlet.io/debounce", "100ms")];
    let annotations: Vec<_> = signals.chain(waits).collect();
    let containers: Vec<(&str, &[&str])> =
        names.iter().map(|name| (name.as_str(), &["config"][..])).collect();
    let many = pod(1, &annotations, &containers, &["config"]);
    let mut rig = Rig::new(Machine::new(), vec![many], |node| {
        for first in 1001..1011 {
            for _ in 0..20 {
                node.fork(&uid(1), first, "worker", STARTED);
            }
        }
    });
    let volume = VolumeRef { pod: uid(1), volume: "config".into() };
    rig.node.volume(&volume).current = Some((generation(2), at(100_000)));
    rig.handle(Event::Swapped(volume.clone(), Some(generation(2)), at(100_000)));
    rig.handle(Event::Removed(volume, generation(1), at(100_000)));
    let mut sent = Vec::new();
    for piece in rig.pieces(at(100_200)) {
        let before = sent.len();
        sent.extend(
            piece
                .iter()
                .filter_map(|action| if let Action::Send(to, _) = action { Some(to.pid) } else { None }),
        );
        assert!(sent.len() - before <= 40, "{} in one piece", sent.len() - before);
    }
    sent.sort_unstable();
    assert_eq!(sent, (1011..1211).collect::<Vec<u32>>());
}
