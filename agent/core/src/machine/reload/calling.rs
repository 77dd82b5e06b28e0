//! The means of a reload: a request to the pod. When it can go out, what its answer comes to, and when it is made again. It hurts no
//! process that starts still, so it doesn't wait for that: where nobody answers, it is made again.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::{Answer, Call, Delivery};
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::progress::Pending;
use crate::machine::reload::sending::{Ended, Sending};
use crate::machine::reload::step::Step;
use crate::machine::reload::waiting::Waiting;
use crate::machine::reload::{Site, Target};
use crate::model::means::{Request, Scheme};
use crate::model::names::Name;
use crate::model::outcome::Outcome;
use crate::model::shown;
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};

/// A container of this age isn't taken to be starting any more.
const START: Duration = Duration::from_hours(1);

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// The server has taken the request.
    Taken,
    /// It never will.
    Refused,
    /// It may take another one.
    Failed,
    /// Nobody is there any more.
    Gone,
    /// It isn't known: the agent lacks something.
    Lacking,
}

fn judge(answer: &Answer) -> Judged {
    match answer {
        Answer::Status(200..=299, _) => Judged::Taken,
        Answer::Status(500..=599, _)
        | Answer::Refused
        | Answer::Reset
        | Answer::Closed
        | Answer::Unreachable(_)
        | Answer::NotConnected
        | Answer::Silent
        | Answer::NoTls(_)
        | Answer::Garbage(_) => Judged::Failed,
        Answer::Status(..) => Judged::Refused,
        Answer::Gone => Judged::Gone,
        Answer::Lacked(_) => Judged::Lacking,
    }
}

/// Whether the server may have had the request.
const fn had_request(answer: &Answer) -> bool {
    match answer {
        Answer::Status(..) | Answer::Reset | Answer::Closed | Answer::Silent | Answer::Garbage(_) => true,
        Answer::Refused
        | Answer::Unreachable(_)
        | Answer::NotConnected
        | Answer::NoTls(_)
        | Answer::Gone
        | Answer::Lacked(_) => false,
    }
}

impl Target {
    /// What the request waits for, or to whom it goes.
    pub(super) fn calling(&self, chosen: &Chosen, waiting: &Waiting, site: &Site, now: Time) -> Step {
        if !chosen.is_told_held() {
            return Step::Await;
        }
        let tries = waiting.tries();
        let lack = tries.lack_due();
        if lack.is_some_and(|due| now >= due) {
            return Step::Lacking;
        }
        // What is newer than what was tried waits for none of its pauses.
        let next = if self.is_untried() { Time::default() } else { tries.next() };
        let due = self.objection.turn.unwrap_or_default().max(next);
        if now < due {
            return Step::Until(lack.map_or(due, |lack| due.min(lack)));
        }
        if addresses(site).is_empty() {
            return waiting.tries().unaddressed_until(now).map_or(Step::Unaddressed, Step::Until);
        }
        Step::Send(vec![chosen.first().clone()], Outcome::Delivered)
    }

    /// Whether anything waits of which no request told that has failed.
    pub(super) fn is_untried(&self) -> bool {
        self.pending().any(|(_, pending)| !pending.tried)
    }

    /// The request that is on its way by now.
    pub(crate) fn call(&self, site: &Site, process: ProcessIdentity, request: Arc<Request>) -> Call {
        let begun = self.sending.as_ref().map_or_else(Time::default, |sending| sending.begun());
        Call { process, begun, addresses: addresses(site), request }
    }

    /// The pod's status names no address. What people are told of that.
    pub(crate) fn unaddressed(&mut self, now: Time) -> Option<Problem> {
        let say = !self.is_of_last_time && self.waiting.as_mut()?.tries_mut().unaddressed(now);
        say.then(|| {
            let (container, means) = (&self.plan.container, &self.plan.means);
            let sentence = format!(
                "container {container} isn't told of a change yet: {means} needs the pod's IP address, and its status names none that \
                 is its own"
            );
            Problem::new(ProblemKind::NoAddress, sentence)
        })
    }

    /// What people are told of what the agent lacks to make a request, after a while.
    pub(crate) fn say_request_lack(&mut self) -> Option<Problem> {
        let lack = self.waiting.as_mut()?.tries_mut().say_lack()?;
        Some(self.lack(lack))
    }

    /// How the request that was begun then has ended. What that comes to for the process, where the reload ends with it; else the
    /// request waits to be made again.
    pub(crate) fn judge_answer(
        &mut self,
        site: &Site,
        process: &ProcessIdentity,
        begun: Time,
        answer: &Answer,
        ctx: &mut Context<'_>,
    ) -> Option<Delivery> {
        let request = self.plan.means.request()?.clone();
        let sending = self.sending.as_mut()?;
        if !sending.is_to(process) || sending.begun() != begun {
            return None;
        }
        if let Some(ended) = sending.take_ended() {
            self.count_request(site, answer, *ended, ctx);
            return Some(Delivery::Gone);
        }
        let is_again = sending.is_again();
        let judged = judge(answer);
        let tries = self.waiting.get_or_insert_default().tries_mut();
        if let Answer::Lacked(lack) = answer {
            tries.lacks(*lack, ctx.now);
        } else {
            tries.lacks_nothing();
        }
        match judged {
            Judged::Taken => return Some(Delivery::Sent),
            Judged::Gone => return Some(Delivery::Gone),
            Judged::Refused | Judged::Failed | Judged::Lacking => {}
        }
        let is_starting = self.is_starting(site, ctx.now);
        let is_newer = self.pending().any(|(_, pending)| !pending.again);
        let sentence = sentence(&request, answer, is_starting);
        let tries = self.waiting.get_or_insert_default().tries_mut();
        let is_over = match judged {
            Judged::Lacking => {
                tries.again(ctx.now);
                false
            }
            // A second telling isn't told a third time.
            _ if is_again => true,
            Judged::Failed if is_starting => {
                tries.again(ctx.now);
                false
            }
            Judged::Failed => !tries.failed(begun),
            Judged::Taken | Judged::Gone | Judged::Refused => {
                tries.failed(begun);
                true
            }
        };
        let sending = self.sending.as_mut()?;
        // What is newer has tries of its own.
        if is_over && (is_again || !is_newer) {
            sending.fail(sentence);
            return Some(Delivery::Failed("no 2xx answer"));
        }
        sending.tried();
        self.last_answer = Some(if is_starting { format!("starting: {sentence}") } else { sentence }.into());
        self.put_back(site, |_| true, ctx);
        ctx.workloads.end_turn(&self.workload, &site.pod.uid);
        None
    }

    /// The process ends while a request to it isn't answered: what that means says the answer.
    pub(super) fn note_request(&mut self, site: &Site, process: &ProcessIdentity, at: Time) {
        let Some(sending) = self.sending.as_ref().filter(|sending| sending.is_to(process)) else { return };
        let Some(standing) = sending.as_request() else { return };
        let killed = site.pod.phases.get(&self.plan.container).and_then(|phase| phase.killed.as_ref());
        // The status may have been faster.
        let record = if killed == Some(&process.container) {
            None
        } else {
            self.record_of(site, sending, vec![process.clone()], standing, sending.begun())
        };
        let process = process.clone();
        if let Some(sending) = &mut self.sending {
            sending.ended(Ended { process, at, record });
        }
    }

    /// The process has ended before it answered: as after a delivery, if it had the request.
    fn count_request(&mut self, site: &Site, answer: &Answer, ended: Ended, ctx: &mut Context<'_>) {
        let Some(standing) = self.sending.as_ref().and_then(Sending::as_request) else { return };
        let (Some(record), true) = (ended.record, had_request(answer)) else { return };
        let after = ended.at.since(record.at);
        self.suspension.delivered(standing.0);
        self.take_record(site, record, ctx);
        if self.suspension.exited(&ended.process, Some(after)) {
            self.blame(site, &ended.process, ended.at, ctx);
        } else {
            self.close_past(site, ctx);
        }
    }

    /// Whether the container hasn't been ready since its start, as far as is known.
    fn is_starting(&self, site: &Site, now: Time) -> bool {
        let (is_grown, _) = self.is_grown(site, now);
        let first = self.processes.chosen().map(Chosen::first);
        let is_new = |first: &ProcessIdentity| {
            now < first.started + START && !self.maturity.was_once_ready(&first.container)
        };
        !is_grown && first.is_some_and(is_new)
    }

    /// The generation of a volume of which a request tells that isn't answered yet.
    pub(crate) fn asked_for(&self, volume: &Name) -> Option<&Pending> {
        self.plan.means.request()?;
        self.sending.as_ref()?.generation(volume)
    }

    /// What came of the last request for what waits, where it is made again.
    pub(crate) fn last_answer(&self) -> Option<&str> {
        self.last_answer.as_deref().filter(|_| self.waiting.is_some())
    }
}

/// The addresses that are asked: those of the pod's status that can't be anybody else's. Whoever may write a status doesn't have
/// the agent ask itself, the machine or the cloud's metadata server.
fn addresses(site: &Site) -> Vec<IpAddr> {
    site.pod.addresses.iter().copied().filter(|address| may_be_pods(*address)).collect()
}

fn may_be_pods(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// What came of a request, for people.
fn sentence(request: &Request, answer: &Answer, is_starting: bool) -> String {
    let port = request.port;
    let what: Cow<'_, str> = match answer {
        Answer::Status(status @ 300..=399, _) => {
            format!("was answered with {status}, a redirect, and none is followed: give the path that it leads to").into()
        }
        Answer::Status(status, body) if body.trim().is_empty() => format!("was answered with {status}").into(),
        Answer::Status(status, body) => {
            format!("was answered with {status}: {}", shown::quoted_up_to(body.trim(), ANSWER)).into()
        }
        Answer::Refused if is_starting => {
            format!("was refused: nobody listens on port {port} of the pod's address yet").into()
        }
        Answer::Refused => format!(
            "was refused: nobody listens on port {port} of the pod's address; a program that listens on localhost only has to \
             listen on that address, too"
        )
        .into(),
        Answer::Reset => format!(
            "was cut off before any byte of an answer (connection reset): a service mesh with strict mTLS does that; exclude port \
             {port} from its inbound traffic"
        )
        .into(),
        Answer::Closed => "wasn't answered: the server closed the connection".into(),
        Answer::Unreachable(why) => {
            format!("couldn't be made: {}", shown::quoted_up_to(why, ANSWER)).into()
        }
        Answer::NotConnected => format!(
            "found no connection within {:?}: a network policy may keep the node from port {port}",
            request.timeout
        )
        .into(),
        Answer::Silent => format!(
            "wasn't answered within {:?}; reloadlet.io/http-timeout can be up to 60s",
            request.timeout
        )
        .into(),
        Answer::NoTls(why) => format!("found no TLS: {}", shown::quoted_up_to(why, ANSWER)).into(),
        Answer::Garbage(why) => {
            let but = match request.scheme {
                Scheme::Http => "if the port speaks TLS, set reloadlet.io/http-scheme to https",
                Scheme::Https => "check the port",
            };
            format!("was answered with something that isn't HTTP ({}): {but}", shown::quoted_up_to(why, ANSWER)).into()
        }
        Answer::Gone => "found the process gone".into(),
        Answer::Lacked(lack) => lack.sentence().into(),
    };
    format!("{request} {what}")
}

/// How much of an answer is shown, in characters after escaping.
const ANSWER: usize = 400;
