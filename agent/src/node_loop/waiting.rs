//! What waits for its namespace's turn: notifications, findings, and what the machine wants done that takes time. What isn't
//! wanted any more when its turn comes is known from the actions that came meanwhile.

use std::collections::{HashMap, HashSet};

use reloadlet_core::kernel::process::ProcessIdentity;
use reloadlet_core::machine::event::{Action, Event};
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::model::signal::Signal;

use super::{LoopError, NodeLoop, TURN};
use crate::clock;
use crate::surveyor::Finding;
use crate::turns::Turns;

/// How many notifications wait, as many as fit into the kernel's queue. A namespace may have as many as are left: alone half of
/// all. Further ones are dropped, and their pods are looked at again: the kernel's queue, which is everybody's, is read on
/// whoever fills it.
const MOST_WAITING: usize = 16 << 10;

/// Something that waits for its namespace's turn.
#[derive(Debug)]
pub(super) enum Deferred {
    /// A notification, or what another thread tells of pods or objects.
    Event(Event),
    /// What the surveyor found.
    Finding(Finding),
    /// A process that is to be held.
    Hold(ProcessIdentity),
    /// A process whose masks are to be read.
    ReadGuard(ProcessIdentity, Signal),
}

/// All that waits, by namespace.
#[derive(Debug, Default)]
pub(super) struct TurnQueue {
    turns: Turns<Deferred>,
    /// The namespaces of the pods that are watched.
    namespaces: HashMap<PodUid, Name>,
    /// The processes that wait to be held, and whether each still is to be.
    holds: HashMap<ProcessIdentity, bool>,
    /// The processes whose masks wait to be read, and with regard to which signal: a reload and a restart may ask for two.
    guards: HashSet<(ProcessIdentity, Signal)>,
    /// The pods whose notifications were dropped.
    dropped: HashSet<PodUid>,
}

impl TurnQueue {
    /// A pod is watched: what concerns it waits with what concerns its namespace.
    pub(super) fn watch(&mut self, pod: PodUid, namespace: Name) {
        self.namespaces.insert(pod, namespace);
    }

    /// A pod isn't watched any more.
    pub(super) fn unwatch(&mut self, pod: &PodUid) {
        self.namespaces.remove(pod);
    }

    /// The namespace of a pod that is watched.
    pub(super) fn watched(&self, pod: &PodUid) -> Option<&Name> {
        self.namespaces.get(pod)
    }

    /// Where what concerns a pod waits: that of pods that aren't watched isn't told apart.
    pub(super) fn namespace(&self, pod: &PodUid) -> Name {
        self.watched(pod).cloned().unwrap_or_else(|| "".into())
    }

    /// An event that concerns one namespace waits. All others come back: they wait for nobody.
    fn add(&mut self, event: Event) -> Option<Event> {
        let namespace = match (event.pod(), &event) {
            (Some(pod), _) => self.namespace(pod),
            (None, Event::Observed(object, ..)) => object.namespace.clone(),
            (None, _) => return Some(event),
        };
        self.turns.add(&namespace, Deferred::Event(event));
        None
    }

    /// A notification waits. Where too many do, its pod is to be looked at again instead.
    fn add_notification(&mut self, event: Event) -> Option<Event> {
        let Some(pod) = event.pod() else { return Some(event) };
        if self.dropped.contains(pod) {
            return None;
        }
        let namespace = self.namespace(pod);
        let event = if self.turns.new_of(&namespace) < MOST_WAITING.saturating_sub(self.turns.len()) {
            event
        } else {
            self.dropped.insert(pod.clone());
            Event::Dropped(pod.clone())
        };
        self.turns.add(&namespace, Deferred::Event(event));
        None
    }

    /// What was found waits.
    pub(super) fn add_finding(&mut self, finding: Finding) {
        let namespace = finding.pod().map_or_else(|| "".into(), |pod| self.namespace(pod));
        self.turns.add(&namespace, Deferred::Finding(finding));
    }

    /// An action that takes time waits where there is no time left, or others of its namespace do. All others come back.
    fn put_off(&mut self, action: Action, is_time_left: impl Fn() -> bool) -> Option<Action> {
        if let Action::Release(process) = &action
            && let Some(is_wanted) = self.holds.get_mut(process)
        {
            *is_wanted = false;
        }
        let (Action::Hold(process) | Action::ReadGuard(process, _)) = &action else { return Some(action) };
        let (process, namespace) = (process.clone(), self.namespace(&process.pod));
        if !self.turns.has_begun(&namespace) && is_time_left() {
            return Some(action);
        }
        let (is_new, waiting) = if let Action::ReadGuard(_, signal) = action {
            let is_new = self.guards.insert((process.clone(), signal));
            (is_new, Deferred::ReadGuard(process, signal))
        } else {
            (self.holds.insert(process.clone(), true).is_none(), Deferred::Hold(process))
        };
        if is_new {
            self.turns.add_rest(&namespace, waiting);
        }
        None
    }

    /// The next thing, of the namespace whose turn it is, and whether it is still wanted.
    fn take(&mut self) -> Option<(Deferred, bool)> {
        let waiting = self.turns.take()?;
        let is_wanted = match &waiting {
            Deferred::Event(event) => {
                if let Event::Dropped(pod) = event {
                    self.dropped.remove(pod);
                }
                true
            }
            Deferred::Finding(_) => true,
            Deferred::Hold(process) => self.holds.remove(process).unwrap_or_default(),
            Deferred::ReadGuard(process, signal) => self.guards.remove(&(process.clone(), *signal)),
        };
        Some((waiting, is_wanted))
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

impl NodeLoop {
    /// An event that concerns one namespace waits for its turn; all others are taken in at once.
    pub(super) fn wait_for_turn(&mut self, event: Event) {
        if let Some(event) = self.line.add(event) {
            self.handle(event);
        }
    }

    /// A notification waits for its namespace's turn.
    pub(super) fn notified(&mut self, event: Event) {
        if let Some(event) = self.line.add_notification(event) {
            self.handle(event);
        }
    }

    /// An action that takes time waits where its namespace has had its turn, or where there are others that do.
    pub(super) fn put_off(&mut self, action: Action) -> Option<Action> {
        let turn_ends = self.turn_ends;
        self.line.put_off(action, || clock::now() < turn_ends)
    }

    /// Serves what waits, the namespaces in turn.
    pub(super) fn serve(&mut self) -> Result<(), LoopError> {
        self.turn_ends = clock::now() + TURN;
        while let Some((waiting, is_wanted)) = self.line.take() {
            if is_wanted {
                self.serve_one(waiting)?;
            }
            if clock::now() >= self.turn_ends {
                break;
            }
        }
        Ok(())
    }

    fn serve_one(&mut self, waiting: Deferred) -> Result<(), LoopError> {
        let answer = match waiting {
            Deferred::Event(event) => Some(event),
            Deferred::Finding(finding) => return self.take_finding(finding),
            Deferred::Hold(process) => Some(self.hold(process)),
            Deferred::ReadGuard(process, signal) => self.read_guard(process, signal),
        };
        if let Some(answer) = answer {
            self.handle(answer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reloadlet_core::Time;
    use reloadlet_core::model::names::ContainerId;

    fn pod(n: u32) -> PodUid {
        PodUid::parse(&format!("{n:032x}")).unwrap()
    }

    fn process(pid: u32) -> ProcessIdentity {
        let container = ContainerId::parse(&"a".repeat(64)).unwrap();
        ProcessIdentity { pid, started: Time::default(), pod: pod(1), container }
    }

    fn signal(name: &str) -> Signal {
        Signal::parse(name).unwrap()
    }

    /// A line in which pod 1 is watched.
    fn line() -> TurnQueue {
        let mut line = TurnQueue::default();
        line.watch(pod(1), "shop".into());
        line
    }

    /// These wait, since there is no time left.
    fn put_off(line: &mut TurnQueue, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            let is_release = matches!(action, Action::Release(_));
            assert_eq!(line.put_off(action, || false).is_some(), is_release);
        }
    }

    /// What is done of all that waits.
    fn done(line: &mut TurnQueue) -> Vec<(u32, Option<Signal>)> {
        let all = std::iter::from_fn(|| line.take()).filter(|(_, is_wanted)| *is_wanted);
        all.map(|(waiting, _)| match waiting {
            Deferred::Hold(process) => (process.pid, None),
            Deferred::ReadGuard(process, signal) => (process.pid, Some(signal)),
            Deferred::Event(_) | Deferred::Finding(_) => panic!("{waiting:?}"),
        })
        .collect()
    }

    #[test]
    fn what_takes_time_waits_only_without_time_or_behind_others_of_its_namespace() {
        let (mut line, hold) = (line(), |pid| Action::Hold(process(pid)));
        assert_eq!(line.put_off(hold(1), || true), Some(hold(1)));
        put_off(&mut line, [hold(2)]);
        assert_eq!(line.put_off(hold(3), || true), None);
        assert_eq!(done(&mut line), [(2, None), (3, None)]);
        assert_eq!(line.put_off(hold(4), || true), Some(hold(4)));
    }

    #[test]
    fn a_process_that_is_released_before_its_turn_isnt_held() {
        let (hold, release) = (|| Action::Hold(process(1)), || Action::Release(process(1)));
        let mut line = line();
        put_off(&mut line, [hold(), release()]);
        assert_eq!(done(&mut line), []);
        put_off(&mut line, [hold(), release(), hold(), hold()]);
        assert_eq!(done(&mut line), [(1, None)]);
        put_off(&mut line, [release(), hold()]);
        assert_eq!(done(&mut line), [(1, None)]);
        assert!(line.is_empty() && line.holds.is_empty());
    }

    #[test]
    fn masks_are_read_once_for_each_signal_also_of_a_released_process() {
        let (hup, usr1) = (Signal::HUP, signal("USR1"));
        let read = |signal| Action::ReadGuard(process(1), signal);
        let mut line = line();
        put_off(&mut line, [read(hup), read(hup), Action::Release(process(1))]);
        assert_eq!(done(&mut line), [(1, Some(hup))]);
        put_off(&mut line, [read(hup), read(usr1), read(hup)]);
        assert_eq!(done(&mut line), [(1, Some(hup)), (1, Some(usr1))]);
        assert!(line.is_empty() && line.guards.is_empty());
    }

    #[test]
    fn where_too_many_notifications_wait_pods_are_to_be_looked_at_again_once_each() {
        let mut line = line();
        line.watch(pod(2), "quiet".into());
        let changed =
            |line: &mut TurnQueue, n| assert_eq!(line.add_notification(Event::CgroupChanged(pod(n))), None);
        (0..=MOST_WAITING).for_each(|_| changed(&mut line, 1));
        changed(&mut line, 2);
        let events: Vec<Event> = std::iter::from_fn(|| line.take())
            .map(|(waiting, _)| match waiting {
                Deferred::Event(event) => event,
                Deferred::Finding(_) | Deferred::Hold(_) | Deferred::ReadGuard(..) => panic!("{waiting:?}"),
            })
            .collect();
        assert_eq!(events[1], Event::CgroupChanged(pod(2)), "another namespace has its turn");
        assert_eq!(events.iter().filter(|event| **event == Event::Dropped(pod(1))).count(), 1);
        assert_eq!(events.len(), MOST_WAITING / 2 + 2);
        changed(&mut line, 1);
        assert!(matches!(line.take(), Some((Deferred::Event(Event::CgroupChanged(_)), true))));
    }

    #[test]
    fn what_concerns_no_namespace_waits_for_nobody() {
        let mut line = line();
        assert_eq!(line.add(Event::Overflowed), Some(Event::Overflowed));
        assert_eq!(line.add_notification(Event::Overflowed), Some(Event::Overflowed));
        assert_eq!(line.add(Event::CgroupChanged(pod(1))), None);
        line.unwatch(&pod(1));
        assert_eq!((line.watched(&pod(1)), &*line.namespace(&pod(1))), (None, ""));
    }
}
