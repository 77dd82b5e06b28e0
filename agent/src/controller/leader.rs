//! Which replica works: the one that holds the Lease.

use std::time::Duration;

use hyper::{Request, StatusCode};
use reloadlet_core::Time;
use reloadlet_core::rollouts::lease::{Access, Answer, DURATION, Lease, Seen};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::asker::{Asker, collection, managed};
use crate::api::requests::{JSON, carrying, plain};
use crate::api::trouble::Trouble;
use crate::clock;
use crate::logs::Causes;

/// The Lease's name.
const NAME: &str = "reloadlet-controller";
/// The API of Leases.
const COORDINATION: &str = "/apis/coordination.k8s.io/v1";
/// How long the API server has for an answer: the Lease runs out meanwhile.
const LIMIT: Duration = Duration::from_secs(5);
/// How often it is tried to give the Lease back where it was written meanwhile, as by a renewal whose answer nobody waited for.
const TRIES: usize = 3;

/// Who leads, as far as this replica knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leadership {
    /// Until when this one does, by the boot-time clock.
    until: Option<Time>,
    /// Who does, by what the Lease says; `None` where that isn't known or nobody does.
    pub(super) leader: Option<String>,
    /// Whether the API server has said anything of the Lease.
    pub(super) is_known: bool,
}

impl Leadership {
    /// For how long this replica may still work.
    pub(super) fn lasts(&self, now: Time) -> Option<Duration> {
        self.until.filter(|until| now < *until).map(|until| until.since(now))
    }
}

/// Keeps the Lease.
pub(super) struct Keeper {
    asker: Asker,
    namespace: String,
    identity: String,
    lease: Lease,
    leadership: watch::Sender<Leadership>,
    /// How often the Lease has changed hands, and since when it is its holder's, as it was read or written last.
    transitions: u64,
    acquired: Option<String>,
    is_troubled: bool,
}

#[derive(Deserialize)]
struct Written {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    lease_transitions: Option<u64>,
    acquire_time: Option<String>,
}

impl Keeper {
    pub(super) fn new(
        asker: Asker,
        namespace: String,
        identity: String,
    ) -> (Self, watch::Receiver<Leadership>) {
        let (leadership, known) = watch::channel(Leadership::default());
        let lease = Lease::new(identity.as_str().into(), clock::now());
        let keeper = Self {
            asker,
            namespace,
            identity,
            lease,
            leadership,
            transitions: 0,
            acquired: None,
            is_troubled: false,
        };
        (keeper, known)
    }

    /// Takes and renews the Lease, for as long as it isn't dropped.
    pub(super) async fn run(&mut self) {
        loop {
            let now = clock::now();
            let until = self.lease.held_until();
            self.leadership.send_if_modified(|known| std::mem::replace(&mut known.until, until) != until);
            let Some(access) = self.lease.poll(now) else {
                tokio::time::sleep(self.lease.timeout().since(now)).await;
                continue;
            };
            let answer = self.access(access).await;
            self.lease.answer(answer, clock::now());
        }
    }

    /// Gives the Lease back, so that another replica needn't wait until it has run out. From here on this one doesn't work.
    pub(super) async fn give_back(&mut self) {
        self.leadership.send_modify(|known| known.until = None);
        if !self.lease.is_held(clock::now()) {
            return;
        }
        let given = tokio::time::timeout(LIMIT, self.try_to_give_back()).await;
        if let Err(trouble) = given.unwrap_or(Err(Trouble::Silent(LIMIT))) {
            tracing::warn!(
                error = %Causes(&trouble),
                "the Lease {NAME} can't be given back: another replica works once it has run out"
            );
        }
    }

    /// The Lease is written as client-go's leader election does it (`ReleaseOnCancel`), at the version that was read: of another replica,
    /// which may have it by now, it isn't taken.
    async fn try_to_give_back(&mut self) -> Result<(), Trouble> {
        let mut tries = 1;
        loop {
            let found: Written = self.asker.at_once(plain(Request::get(self.path()))).await?;
            if holder(&found.spec) != Some(&self.identity) {
                return Ok(());
            }
            self.know(Some(&found));
            let mut lease = self.lease_of_mine(Some(&found.metadata.resource_version));
            lease["spec"]["holderIdentity"] = json!("");
            lease["spec"]["leaseDurationSeconds"] = json!(1);
            let request = carrying(managed(Request::put, &self.path()), JSON, &lease);
            match self.asker.at_once::<Written>(request).await {
                Err(trouble) if trouble.status() == Some(StatusCode::CONFLICT) && tries < TRIES => tries += 1,
                answered => return answered.map(drop),
            }
        }
    }

    /// Does what is to be done.
    async fn access(&mut self, access: Access) -> Answer {
        let asked = tokio::time::timeout(LIMIT, self.ask(access)).await;
        let answer = asked.unwrap_or(Err(Trouble::Silent(LIMIT)));
        let is_troubled = answer.is_err();
        let was_troubled = std::mem::replace(&mut self.is_troubled, is_troubled);
        answer.unwrap_or_else(|trouble| {
            let is_race = trouble.status() == Some(StatusCode::CONFLICT);
            if !is_race && !was_troubled {
                tracing::warn!(
                    error = %Causes(&trouble),
                     "the Lease {NAME} can't be had: this replica rolls nothing"
                );
            }
            Answer::Failed
        })
    }

    async fn ask(&mut self, access: Access) -> Result<Answer, Trouble> {
        match access {
            Access::Read => {
                let answered = self.asker.at_once::<Written>(plain(Request::get(self.path()))).await;
                let found = match answered {
                    Err(trouble) if trouble.status() == Some(StatusCode::NOT_FOUND) => None,
                    answered => Some(answered?),
                };
                self.know(found.as_ref());
                Ok(Answer::Is(found.map(|found| Seen {
                    version: found.metadata.resource_version.into(),
                    holder: holder(&found.spec).map(Into::into),
                    duration: found.spec.lease_duration_seconds.map_or(DURATION, Duration::from_secs),
                })))
            }
            Access::Take(version) => {
                let lease = self.lease_of_mine(version.as_deref());
                let request = match version {
                    None => {
                        let path = collection(COORDINATION, Some(&self.namespace), "leases");
                        carrying(managed(Request::post, &path), JSON, &lease)
                    }
                    Some(_) => carrying(managed(Request::put, &self.path()), JSON, &lease),
                };
                let taken: Written = self.asker.at_once(request).await?;
                self.know(Some(&taken));
                Ok(Answer::Taken(taken.metadata.resource_version.into()))
            }
        }
    }

    fn know(&mut self, found: Option<&Written>) {
        let spec = found.map(|found| &found.spec);
        self.transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        self.acquired = spec.and_then(|spec| spec.acquire_time.clone());
        let leader = spec.and_then(holder).map(str::to_owned);
        self.leadership.send_if_modified(|known| {
            let is_news = known.leader != leader || !known.is_known;
            known.leader = leader;
            known.is_known = true;
            is_news
        });
    }

    fn lease_of_mine(&self, version: Option<&str>) -> Value {
        let now = jiff::Timestamp::now();
        let now = format!("{now:.6}");
        let was_mine = self.leadership.borrow().leader.as_deref() == Some(&self.identity);
        let acquired = self.acquired.clone().filter(|_| was_mine).unwrap_or_else(|| now.clone());
        let transitions = self.transitions + u64::from(!was_mine && version.is_some());
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": DURATION.as_secs(),
                "acquireTime": acquired,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        });
        if let Some(version) = version {
            lease["metadata"]["resourceVersion"] = json!(version);
        }
        lease
    }

    fn path(&self) -> String {
        format!("{}/{NAME}", collection(COORDINATION, Some(&self.namespace), "leases"))
    }
}

/// Who holds it; nobody where it was given back.
fn holder(spec: &Spec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests;
