//! What the controller asks the API server for, each with what comes of it.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::policy::annotations::{RESTART, ROLLED};
use reloadlet_core::rollouts::event::{Action, Answer, Event, Granted, Mark, Restart};
use reloadlet_core::rollouts::ledger::{Access, Shard};
use reloadlet_core::rollouts::workload::WorkloadRef;
use serde::de::IgnoredAny;
use serde_json::json;

use super::asker::{Asker, CORE, collection, path_of, path_of_object};
use super::content::Fetched;
use super::pods;
use super::state::{self, State};
use super::watches::asks;
use super::wire::{Live, Written};
use super::words;
use crate::api::backoff::{chances, share};
use crate::api::fence::Gate;
use crate::api::trouble::Trouble;
use crate::logs::Causes;

/// How long a shard that couldn't be had is left alone.
const PAUSE: Duration = Duration::from_secs(4);

/// Carries out what is to be done.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) asker: Asker,
    pub(super) state: State,
    /// Whether the account is fenced in.
    pub(super) gate: Gate,
    /// Whether Reloader's annotations count.
    pub(super) annotations: bool,
}

impl Executor {
    /// Does it, and gives back what came of it; nothing where nobody waits for it.
    pub(super) async fn carry_out(self, action: Action) -> Option<Event> {
        match action {
            Action::Access(shard, access) => Some(self.access(shard, access).await),
            Action::Fetch(object) => Some(self.fetch(object).await),
            Action::ListPods(who) => Some(match pods::listed(&self.asker, &who).await {
                Ok(Some(listed)) => Event::Pods(who, listed),
                Ok(None) => Event::Workload(who, None),
                // The core says it, as long as it is so once.
                Err(unlisted) => {
                    let why = words::said(&Causes(&unlisted).to_string());
                    tracing::debug!(error = why, "the pods of {who} can't be listed");
                    Event::Unlisted(who, why)
                }
            }),
            Action::Refetch(who) => self.refetch(who).await,
            Action::Roll(who, mark) => {
                let answer = self.roll(&who, &mark).await;
                Some(Event::Rolled(who, answer))
            }
            Action::Grant(who, restart) => {
                let granted = self.grant(&who, &restart).await;
                Some(Event::Granted(who, granted))
            }
            Action::LookAt(who, name, hears) => {
                Some(match pods::looked(&self.asker, &who, &name, hears).await {
                    Ok((pod, said)) => Event::Looked(who, pod, said),
                    Err(trouble) => {
                        say(&trouble, &format_args!("the pod {}/{name}", who.namespace));
                        Event::Unlooked(who)
                    }
                })
            }
            Action::Report(..) => None,
        }
    }

    async fn access(&self, shard: Shard, access: Access) -> Event {
        let is_read = access == Access::Read;
        match self.state.access(shard, access).await {
            Ok(event) => {
                self.state.saying.answered(shard, is_read);
                event
            }
            // Somebody else has written it.
            Err(trouble) if trouble.status() == Some(StatusCode::CONFLICT) => Event::Lost(shard, None),
            Err(trouble) => {
                let secret = state::name(shard);
                let done = if is_read { "read" } else { "written" };
                let why = format!("the Secret {secret} can't be {done} (API server: {})", Causes(&trouble));
                let why = words::said(&why);
                self.state.saying.failed(shard, is_read, &why);
                tokio::time::sleep(PAUSE / 2 + share(PAUSE / 2, chances())).await;
                Event::Lost(shard, Some(why))
            }
        }
    }

    async fn fetch(&self, object: ObjectRef) -> Event {
        let path = path_of_object(&object);
        let fetched = match object.kind {
            ObjectKind::ConfigMap => {
                let answered = self.asker.get(&path).await;
                answered.map(|found| found.map(|found| Fetched::ConfigMap(Box::new(found))))
            }
            ObjectKind::Secret => {
                let answered = self.asker.get(&path).await;
                answered.map(|found| found.map(|found| Fetched::Secret(Box::new(found))))
            }
        };
        match fetched.map(|found| found.map(|found| found.content(&object)).transpose()) {
            Ok(Ok(content)) => Event::Content(object, content.map(Arc::new)),
            // The workloads that use it are told.
            Ok(Err(_unfit)) => Event::Unfit(object),
            Err(trouble) => {
                let why = words::said(&format!("{object} (API server: {})", Causes(&trouble)));
                Event::Unfetched(object, why)
            }
        }
    }

    async fn refetch(&self, who: WorkloadRef) -> Option<Event> {
        let found: Option<Written> = match self.asker.get(&path_of(&who)).await {
            Ok(found) => found,
            Err(trouble) => {
                // The watch shows it as well.
                say(&trouble, &who);
                return None;
            }
        };
        let Some(written) = found else { return Some(Event::Workload(who, None)) };
        let live = Live::read(who.kind, written.text()).ok()?;
        let workload = asks(&live, self.annotations).then_some(live.workload);
        Some(Event::Workload(who, workload))
    }

    async fn roll(&self, who: &WorkloadRef, mark: &Mark) -> Answer {
        // The core waits for that; it may have become otherwise since.
        if !self.gate.allows() {
            return Answer::Conflict;
        }
        let change = json!({
            "metadata": {"uid": &*mark.uid, "resourceVersion": &*mark.version},
            "spec": {"template": {"metadata": {"annotations": {ROLLED: &*mark.marker}}}},
        });
        let written: Written = match self.asker.patch(&path_of(who), &change).await {
            Ok(written) => written,
            Err(trouble) => return refusal(who, &trouble).map_or(Answer::Conflict, Answer::Refused),
        };
        match Live::read(who.kind, written.text()) {
            Ok(live) => Answer::Taken(live.workload),
            Err(_) => Answer::Conflict,
        }
    }

    async fn grant(&self, who: &WorkloadRef, restart: &Restart) -> Granted {
        if !self.gate.allows() {
            return Granted::Conflict;
        }
        let change = json!({"metadata": {
            "uid": &*restart.uid,
            "resourceVersion": &*restart.version,
            "annotations": {RESTART: restart.grant.to_string()},
        }});
        let path = format!("{}/{}", collection(CORE, Some(&who.namespace), "pods"), restart.pod);
        match self.asker.patch::<IgnoredAny>(&path, &change).await {
            Ok(_pod) => Granted::Taken,
            Err(trouble) => refusal(who, &trouble).map_or(Granted::Conflict, Granted::Refused),
        }
    }
}

/// Why a change was refused; `None` where what was to be changed is something else by now, or nobody knows whether it was taken.
fn refusal(who: &WorkloadRef, trouble: &Trouble) -> Option<String> {
    match (trouble, trouble.status()) {
        (
            Trouble::Refused { message, .. },
            Some(StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY),
        ) => Some(message.clone()),
        (_, Some(StatusCode::CONFLICT | StatusCode::NOT_FOUND)) => None,
        _ => {
            say(trouble, who);
            None
        }
    }
}

fn say(trouble: &Trouble, what: &dyn std::fmt::Display) {
    tracing::warn!(error = %Causes(trouble), "the API server doesn't answer for {what}");
}
