//! What must hold of requests: whom they go to, how often, what they are made for, and what is said of them.

use std::net::IpAddr;

use super::contents::Told;
use super::*;
use reloadlet_core::machine::event::{Answer, Call, ReloadReport};
use reloadlet_core::model::journal::{JournalKey, JournalUpdate};
use reloadlet_core::model::means::Means;
use reloadlet_core::model::outcome::Outcome;
use reloadlet_core::policy::problem::ProblemKind;

/// What a request tells of: by volume. A second telling tells of nothing new.
type Telling = BTreeMap<Name, Generation>;

/// So many requests may fail in a container that is known to be ready, and no other one is made sooner than this after the last.
const TRIES: u32 = 3;
const PAUSE: Duration = ms(250);

/// A request that isn't answered yet.
#[derive(Clone, Debug)]
pub(super) struct UnderWay {
    call: Call,
    telling: Telling,
    plan: u32,
    /// What another replica is kept from if this one ends of it.
    told: Option<Told>,
}

/// The requests for the same.
#[derive(Clone, Debug)]
struct Tries {
    telling: Telling,
    plan: u32,
    /// How many failed or are under way, and whether the container was known to be ready at each of them.
    made: u32,
    spared: u32,
    was_ready: bool,
    last: Time,
}

#[derive(Debug, Default)]
pub(super) struct Asking {
    under_way: BTreeMap<PodUid, UnderWay>,
    tries: BTreeMap<PodUid, Tries>,
    /// How often what the agent knows of a pod's annotations has changed.
    plans: BTreeMap<PodUid, u32>,
    addresses: BTreeMap<PodUid, Vec<IpAddr>>,
    /// Processes of which the agent of this life knows that they have ended.
    ended: BTreeSet<ProcessIdentity>,
    /// Containers that a status has shown ready at any time.
    once_ready: BTreeSet<ContainerId>,
    /// What has failed for good.
    failed: BTreeMap<JournalKey, Generation>,
    /// The answer that the agent takes in at the moment.
    answer: Option<(UnderWay, Answer)>,
    /// Pods of which it was said that their requests lack something.
    said: BTreeSet<PodUid>,
    /// How much happened.
    pub(super) delivered: u32,
    pub(super) refused: u32,
}

impl Asking {
    pub(super) fn new_life(&mut self) {
        self.under_way.clear();
        self.tries.clear();
        self.ended.clear();
        self.said.clear();
    }

    pub(super) fn lost(&mut self, update: &JournalUpdate) {
        if let JournalUpdate::Handled(key, _) = update {
            self.failed.remove(key);
        }
    }

    /// Pods that are asked at the moment.
    pub(super) fn pods(&self) -> impl Iterator<Item = &PodUid> {
        self.under_way.keys()
    }

    /// Another plan, or none, holds for a pod now.
    pub(super) fn replan(&mut self, uid: &PodUid) {
        *self.plans.entry(uid.clone()).or_default() += 1;
    }

    pub(super) fn ended(&mut self, process: &ProcessIdentity) {
        self.ended.insert(process.clone());
    }

    pub(super) fn listed(&mut self, pods: &[Arc<Pod>]) {
        self.addresses = pods.iter().map(|pod| (pod.uid.clone(), pod.addresses.clone())).collect();
        for pod in pods {
            let is_ready =
                |name: &&Name| pod.phases.get(*name).is_some_and(|phase| phase.ready == Some(true));
            let ready = pod.status.iter().filter(|(name, _)| is_ready(name)).map(|(_, id)| id.clone());
            self.once_ready.extend(ready);
        }
    }

    /// A request goes out. The one to the same process in whose place it is made.
    pub(super) fn begin(&mut self, way: UnderWay) -> Option<(ProcessIdentity, Time)> {
        let (process, plan) = (way.call.process.clone(), way.plan);
        let before = self.under_way.insert(process.pod.clone(), way)?;
        assert!(before.plan != plan, "another one goes out to {process:?} before the answer to {before:?}");
        (before.call.process == process).then_some((process, before.call.begun))
    }

    fn plan(&self, uid: &PodUid) -> u32 {
        self.plans.get(uid).copied().unwrap_or_default()
    }

    /// The agent takes in an answer.
    pub(super) fn answers(
        &mut self,
        process: &ProcessIdentity,
        begun: Time,
        answer: &Answer,
        telling: &Telling,
    ) {
        let is_it = |way: &UnderWay| way.call.process == *process && way.call.begun == begun;
        let uid = &process.pod;
        if self.under_way.get(uid).is_some_and(is_it)
            && let Some(way) = self.under_way.remove(uid)
        {
            let is_over = matches!(answer, Answer::Gone) || self.ended.contains(process);
            if (is_over || matches!(answer, Answer::Lacked(_)))
                && let Some(tries) = self.tries.get_mut(uid)
            {
                tries.made = tries.made.saturating_sub(1);
                if is_over {
                    tries.last = Time::default();
                }
            }
            // Nothing is given up while something newer waits, also where nothing comes of that.
            if way.telling != *telling
                && let Some(tries) = self.tries.get_mut(uid)
            {
                tries.spared += 1;
            }
            self.answer = Some((way, answer.clone()));
        }
    }

    pub(super) fn answered(&mut self) {
        self.answer = None;
    }

    /// The end of a reload, or of a second telling.
    pub(super) fn reported(
        &mut self,
        reload: &ReloadReport,
        again: bool,
        settled: &BTreeMap<(VolumeRef, Generation), Time>,
        now: Time,
    ) {
        let uid = &reload.pod.uid;
        let Means::Http(request) = &reload.means else { return };
        let outcome = reload.outcome;
        let of_signals = [Outcome::Denied, Outcome::DryRun, Outcome::Unhandled];
        assert!(!of_signals.contains(&outcome), "{uid} is told by {request}, which ended as {outcome:?}");
        if outcome == Outcome::Delivered {
            self.delivered += 1;
            self.check_delivered(reload, again, settled);
        } else if outcome == Outcome::Failed {
            self.refused += 1;
            self.check_failed(reload, again, now);
        }
        if outcome != Outcome::Superseded && !again {
            for (name, generation) in &reload.generations {
                if outcome == Outcome::Failed {
                    self.failed.insert(key(reload, name), generation.clone());
                } else {
                    self.failed.remove(&key(reload, name));
                }
            }
        }
        // What ends since nobody needs or has to be told of it changes nothing for the others.
        let needless = [
            Outcome::Superseded,
            Outcome::StartedAfter,
            Outcome::Unchanged,
            Outcome::Excluded,
            Outcome::NoProcess,
        ];
        if !needless.contains(&outcome) {
            self.tries.remove(uid);
        }
    }

    /// A server has acknowledged it, and was asked when all of it was there.
    fn check_delivered(
        &self,
        reload: &ReloadReport,
        again: bool,
        settled: &BTreeMap<(VolumeRef, Generation), Time>,
    ) {
        let uid = &reload.pod.uid;
        let Some((way, Answer::Status(200..=299, _))) = &self.answer else {
            panic!("no server has acknowledged {reload:?}: {:?}", self.answer)
        };
        assert_eq!(way.call.process.pod, *uid);
        for (name, generation) in &reload.generations {
            assert!(again || way.telling.get(name) == Some(generation), "{generation} wasn't told: {way:?}");
            let volume = VolumeRef { pod: uid.clone(), volume: name.clone() };
            assert!(settled[&(volume, generation.clone())] <= way.call.begun, "{generation} came later");
        }
    }

    /// It is given up for a reason.
    fn check_failed(&self, reload: &ReloadReport, again: bool, now: Time) {
        let uid = &reload.pod.uid;
        let Some((way, answer)) = &self.answer else { panic!("{uid} has answered nothing: {reload:?}") };
        assert_eq!(way.call.process.pod, *uid);
        let is_success = matches!(answer, Answer::Status(200..=299, _) | Answer::Gone);
        assert!(!is_success, "{answer:?} is no failure: {reload:?}");
        assert!(!matches!(answer, Answer::Lacked(_)), "nobody lacked it but the agent: {reload:?}");
        if again || matches!(answer, Answer::Status(..=499, _)) {
            return;
        }
        let made = self.tries.get(uid).map(|tries| tries.made);
        assert!(made >= Some(TRIES), "given up after {made:?}: {way:?}");
        let process = &way.call.process;
        let shown = reload.pod.status.get("app") == Some(&process.container);
        let is_unready = reload.pod.phases.get("app").is_some_and(|phase| phase.ready == Some(false));
        let is_starting = shown && is_unready && !self.once_ready.contains(&process.container);
        let is_old = now >= process.started + ms(3_600_000);
        assert!(!is_starting || is_old, "given up while it starts: {way:?}");
    }

    pub(super) fn problem(&mut self, uid: &PodUid, kind: Option<ProblemKind>) {
        if matches!(kind, Some(ProblemKind::Agent | ProblemKind::NoAddress)) {
            self.said.insert(uid.clone());
        } else {
            self.said.remove(uid);
        }
    }

    /// Everything has calmed down.
    pub(super) fn check_at_rest(&self) {
        assert!(self.under_way.is_empty(), "{:?}", self.under_way);
        assert!(self.said.is_empty(), "what was said stands: {:?}", self.said);
    }

    /// What is told of that is under way, as far as it goes out to the process that has taken it.
    pub(super) fn told(&self, call: &Call) -> Option<Told> {
        let way = self.under_way.get(&call.process.pod)?;
        way.told.clone().filter(|_| way.call == *call)
    }
}

fn key(reload: &ReloadReport, name: &Name) -> JournalKey {
    JournalKey { pod: reload.pod.uid.clone(), container: reload.container.clone(), volume: name.clone() }
}

impl Simulation {
    /// A request is to be made.
    pub(super) fn check_call(&mut self, call: &Call) -> UnderWay {
        let (process, uid) = (&call.process, &call.process.pod);
        assert!(self.held.contains(process), "{process:?} is not held");
        assert!(!self.asking.ended.contains(process), "{process:?} is known to have ended");
        let asks =
            self.taken.get(uid).is_some_and(|annotations| annotations.contains_key("reloadlet.io/http"));
        assert!(asks, "{uid} asks for no request, as far as is known");
        assert_eq!(Some(&call.addresses), self.asking.addresses.get(uid));
        assert!(!call.addresses.is_empty(), "{call:?} has nowhere to go");
        let telling = self.telling(uid);
        for (name, generation) in &telling {
            let volume = VolumeRef { pod: uid.clone(), volume: name.clone() };
            let complete = self.settled.get(&(volume, generation.clone()));
            assert!(complete.is_some_and(|complete| *complete <= self.now), "{generation} isn't complete");
            let key = JournalKey { pod: uid.clone(), container: "app".into(), volume: name.clone() };
            assert_ne!(self.asking.failed.get(&key), Some(generation), "it has failed: {call:?}");
        }
        self.checks.sent(process, self.now);
        let told = self.check_content(process);
        let is_ready = self.shown.get(&process.container).is_some_and(|phase| phase.ready == Some(true));
        let (asking, now) = (&mut self.asking, self.now);
        let plan = asking.plan(uid);
        let new = Tries {
            telling: telling.clone(),
            plan,
            made: 0,
            spared: 0,
            was_ready: is_ready,
            last: Time::default(),
        };
        let tries = asking.tries.entry(uid.clone()).or_insert_with(|| new.clone());
        let is_known = telling.iter().all(|(name, generation)| tries.telling.get(name) == Some(generation));
        if !is_known || tries.plan != plan {
            *tries = new;
        }
        assert!(now >= tries.last + PAUSE, "{call:?} comes at once after the one at {:?}", tries.last);
        (tries.made, tries.last) = (tries.made + 1, now);
        tries.was_ready &= is_ready;
        assert!(
            !tries.was_ready || tries.made <= TRIES + tries.spared,
            "{call:?} is one too many: {tries:?}"
        );
        UnderWay { call: call.clone(), telling, plan, told }
    }

    /// What a pod's container is told of at the moment.
    pub(super) fn telling(&self, uid: &PodUid) -> Telling {
        let status = self.machine.as_ref().unwrap().status(self.now);
        let pod = status.into_iter().find(|pod| pod.uid == *uid);
        let containers = pod.into_iter().flat_map(|pod| pod.containers);
        let volumes = containers.flat_map(|container| container.volumes);
        let waiting = volumes.filter_map(|volume| Some((volume.name, volume.waiting?)));
        waiting.map(|(name, generation)| (name, Generation::parse(&generation).unwrap())).collect()
    }
}
