//! Programs that are told by a request: the edge that makes it, where it arrives, and what the server does with it.

use std::net::IpAddr;

use super::*;
use crate::node::HUP;
use reloadlet_core::kernel::lack::Lack;
use reloadlet_core::machine::event::{Answer, Call};
use reloadlet_core::model::pod::Port;

/// What a pod asks for that is told by a request, beside that.
pub(super) const ANNOTATIONS: [&[(&str, &str)]; 7] = [
    &[],
    &[("reloadlet.io/debounce", "300ms")],
    &[("reloadlet.io/debounce", "0s"), ("reloadlet.io/min-interval", "5s")],
    &[("reloadlet.io/splay", "2s"), ("reloadlet.io/verify", "3s")],
    &[("reloadlet.io/keys", "*.conf")],
    &[("reloadlet.io/http-timeout", "300ms")],
    &[("reloadlet.io/http-timeout", "30s"), ("reloadlet.io/verify", "1s")],
];

/// What is asked for.
pub(super) const REQUEST: (&str, &str) = ("reloadlet.io/http", ":8080/-/reload");

/// A request that a server has.
#[derive(Clone, Debug)]
struct Exchange {
    life: u32,
    call: Call,
    /// The process that serves it, and what it will answer.
    server: u32,
    answer: Answer,
}

/// Requests, and where they go.
#[derive(Debug, Default)]
pub(super) struct Servers {
    /// Pods that are told by requests, and those whose containers are never shown ready.
    asked: BTreeSet<PodUid>,
    unready: BTreeSet<PodUid>,
    /// Those that have been told by the other means.
    changed: BTreeSet<PodUid>,
    /// Where each pod is, whatever its status says.
    addresses: BTreeMap<PodUid, IpAddr>,
    last_address: u32,
    exchanges: BTreeMap<u64, Exchange>,
    last_exchange: u64,
    /// Requests in whose place another one was made.
    replaced: BTreeSet<(ProcessIdentity, Time)>,
    /// Until when the agent lacks something to make any.
    lacking_until: Time,
}

impl Simulation {
    /// Whether a pod is told by requests, or will be once its annotations are mended.
    pub(super) fn is_asked(&self, uid: &PodUid) -> bool {
        self.servers.asked.contains(uid)
    }

    pub(super) fn is_never_ready(&self, uid: &PodUid) -> bool {
        self.servers.unready.contains(uid)
    }

    pub(super) fn has_changed_means(&self, uid: &PodUid) -> bool {
        self.servers.changed.contains(uid)
    }

    /// A pod comes with a port; some are told by requests to it.
    pub(super) fn add_server(&mut self, pod: &mut Pod) {
        pod.spec.containers[0].ports = vec![Port { name: Some("admin".into()), number: 8080 }];
        let uid = pod.uid.clone();
        pod.addresses = vec![self.new_address(&uid)];
        if self.rng.percent(40) {
            self.servers.asked.insert(uid.clone());
            if pod.replica.is_none() && self.rng.percent(20) {
                self.servers.unready.insert(uid);
            }
        }
    }

    fn new_address(&mut self, uid: &PodUid) -> IpAddr {
        self.servers.last_address += 1;
        let [.., third, fourth] = self.servers.last_address.to_be_bytes();
        let address = IpAddr::from([10, 1, third, fourth]);
        self.servers.addresses.insert(uid.clone(), address);
        address
    }

    /// The other means, from now on.
    pub(super) fn change_means(&mut self, uid: &PodUid) {
        self.servers.changed.insert(uid.clone());
        if !self.servers.asked.remove(uid) {
            self.servers.asked.insert(uid.clone());
        }
    }

    /// The status names no address for a while, or one that isn't the pod's any more.
    pub(super) fn lose_address(&mut self, uid: &PodUid) {
        if self.rng.percent(30) {
            self.new_address(uid);
        } else {
            self.pods.get_mut(uid).unwrap().addresses.clear();
            self.sync_soon();
        }
        let pause = self.micros(40_000_000);
        self.push(pause, Todo::Address(uid.clone()));
    }

    pub(super) fn show_address(&mut self, uid: &PodUid) {
        if let (Some(pod), Some(address)) = (self.pods.get_mut(uid), self.servers.addresses.get(uid)) {
            pod.addresses = vec![*address];
            self.sync_soon();
        }
    }

    /// The agent has no descriptors for requests for a while.
    pub(super) fn lack(&mut self) {
        self.servers.lacking_until = self.now + self.micros(60_000_000);
    }

    /// A request is made, in the place of one to the same process.
    pub(super) fn make_call(&mut self, call: Call) {
        let way = self.check_call(&call);
        if let Some(before) = self.asking.begin(way) {
            let is_its =
                |exchange: &Exchange| (&exchange.call.process, exchange.call.begun) == (&before.0, before.1);
            self.servers.exchanges.retain(|_, exchange| !is_its(exchange));
            self.servers.replaced.insert(before);
        }
        // At times all places are taken.
        let is_quick = self.is_replica(&call.process.pod) || self.rng.percent(97);
        let pause = if is_quick { self.micros(2_000) } else { self.micros(4_000_000) };
        self.push(pause, Todo::Connect(self.life, call));
    }

    /// The connection comes about, or doesn't.
    pub(super) fn connect(&mut self, life: u32, call: Call) {
        let replaced = self.servers.replaced.contains(&(call.process.clone(), call.begun));
        // An agent that was killed may have written it just before.
        if replaced || (life != self.life && self.rng.percent(50)) {
            return;
        }
        let is_chance = self.acts_left > 0;
        if self.now < self.servers.lacking_until || (is_chance && self.rng.percent(3)) {
            self.respond_soon(life, call, Answer::Lacked(Lack::Descriptors));
            return;
        }
        let uid = call.process.pod.clone();
        let is_there = self.servers.addresses.get(&uid) == call.addresses.first();
        if !is_there || !self.node.pods.contains_key(&uid) {
            if self.rng.percent(50) {
                self.respond_soon(life, call, Answer::Unreachable("no route to host".into()));
            } else {
                let timeout = call.request.timeout;
                self.answer_call(timeout, life, &call, Answer::NotConnected);
            }
            return;
        }
        let Some(server) = self.server_of(&uid) else {
            self.respond_soon(life, call, Answer::Refused);
            return;
        };
        if self.node.process(&call.process).is_none() {
            self.respond_soon(life, call, Answer::Gone);
            return;
        }
        self.serve(life, call, server);
    }

    /// The process that listens at a pod's port.
    fn server_of(&mut self, uid: &PodUid) -> Option<u32> {
        let manner = self.manners[uid];
        let process = self.node.pod(uid).containers.first()?.processes.last()?;
        let listens = (process.caught | process.blocked) & HUP != 0;
        let always = matches!(manner, Manner::Ignores | Manner::Spawns);
        (process.comm == "worker" && (listens || always)).then_some(process.pid)
    }

    /// A server has the request. Whether it takes it, and what it answers.
    fn serve(&mut self, life: u32, call: Call, server: u32) {
        let uid = call.process.pod.clone();
        let is_starting = self.slow.contains(&uid) && self.now < self.starts[&call.process.container];
        let is_chance = self.acts_left > 0;
        let always_fails = self.manners[&uid] == Manner::Ignores && (is_chance || !self.is_never_ready(&uid));
        let status = |status: u16| Answer::Status(status, "no".into());
        let (takes, answer) = match if is_chance { self.rng.below(100) } else { 0 } {
            _ if is_starting => (false, status(503)),
            _ if always_fails => (false, status(500)),
            0..68 => (true, Answer::Status(200, "".into())),
            68..77 => (false, status(500)),
            77..81 => (false, status(404)),
            81..84 => (false, Answer::Reset),
            84..87 => (true, Answer::Reset),
            87..90 => (false, Answer::Silent),
            90..94 => (true, Answer::Silent),
            94..96 => (true, Answer::Closed),
            96..98 => (false, Answer::Garbage("invalid HTTP".into())),
            _ => (true, status(500)),
        };
        if takes {
            self.take_request(&call, server);
        }
        let timeout = call.request.timeout;
        let is_slow = !self.is_replica(&uid) && self.rng.percent(15);
        let pause = if is_slow { self.micros(8_000_000) } else { self.micros(3_000) };
        let is_late = answer == Answer::Silent || pause >= timeout;
        let (pause, answer) = if is_late { (timeout, Answer::Silent) } else { (pause, answer) };
        self.servers.last_exchange += 1;
        let number = self.servers.last_exchange;
        self.servers.exchanges.insert(number, Exchange { life, call, server, answer });
        self.push(pause, Todo::Respond(number));
    }

    /// The server reads its files.
    fn take_request(&mut self, call: &Call, server: u32) {
        let uid = &call.process.pod;
        self.take_content(call);
        if self.manners[uid] == Manner::Quits || self.loads_bad(uid) {
            let after = self.micros(900_000);
            self.push(after, Todo::Exit(server));
        }
        if self.manners[uid] == Manner::Drops && !self.take_or_drop(server, uid) {
            return;
        }
        let seen = self.seen(uid);
        self.loaded.insert(server, seen);
    }

    /// A server answers, if it lives.
    pub(super) fn respond(&mut self, number: u64) {
        let Some(Exchange { life, call, answer, .. }) = self.servers.exchanges.remove(&number) else {
            return;
        };
        if !matches!(answer, Answer::Status(200..=299, _)) {
            self.forget_content(&call.process.pod);
        }
        self.respond_soon(life, call, answer);
    }

    /// A process ends, and its connections with it.
    pub(super) fn cut_off(&mut self, server: u32) {
        let own = self.servers.exchanges.extract_if(.., |_, exchange| exchange.server == server);
        let own: Vec<Exchange> = own.map(|(_, exchange)| exchange).collect();
        for Exchange { life, call, .. } in own {
            let answer = if self.rng.percent(50) { Answer::Reset } else { Answer::Closed };
            self.respond_soon(life, call, answer);
        }
    }

    fn respond_soon(&mut self, life: u32, call: Call, answer: Answer) {
        let pause = self.slow_for(&call.process.pod);
        self.answer_call(pause, life, &call, answer);
    }

    fn answer_call(&mut self, pause: Duration, life: u32, call: &Call, answer: Answer) {
        let answered = Event::Answered(call.process.clone(), call.begun, answer);
        self.push(pause, Todo::Event(life, answered));
    }
}
