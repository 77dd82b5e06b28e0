//! What outlives the controller: the key of its digests, and the records of workloads, in Secrets of its own namespace.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::names::Name;
use reloadlet_core::rollouts::event::Event;
use reloadlet_core::rollouts::ledger::{Access, Records, Shard};
use reloadlet_core::rollouts::record::Record;
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::asker::{Asker, CORE, collection};
use crate::api::trouble::Trouble;
use crate::clock;
use crate::digest;
use crate::logs::Causes;

/// The Secret with the key.
const KEY: &str = "reloadlet-controller-key";
/// What the names of the others begin with; the shard's number follows.
const STATE: &str = "reloadlet-controller-state";
/// The key within each of them.
const DATA: &str = "data";
/// How long the key is, in bytes: as long as a block of what it is hashed with.
const KEY_BYTES: usize = 64;
/// How many shards are written at a time.
const WRITES: usize = 2;
/// Which form the records have. Of another one nothing is known.
const FORM: u32 = 2;

/// Where it is kept.
#[derive(Clone)]
pub(super) struct State {
    asker: Asker,
    namespace: String,
    /// A shard takes a megabyte several times while it is written.
    writes: Arc<Semaphore>,
    /// What was said of it.
    pub(super) saying: Saying,
}

/// Which shards can't be read (`true`) or written (`false`), as was said, so that it isn't said again and again. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Saying(Arc<Mutex<BTreeSet<(Shard, bool)>>>);

impl Saying {
    /// A shard can't be read, or written, for this reason.
    pub(super) fn failed(&self, shard: Shard, is_read: bool, why: &str) {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((shard, is_read));
        if is_new {
            tracing::warn!(
                error = why,
                "what is remembered of workloads can't be read or written: none of them is rolled before it can"
            );
        } else {
            tracing::debug!(error = why, "what is remembered of workloads can't be read or written yet");
        }
    }

    /// It was.
    pub(super) fn answered(&self, shard: Shard, is_read: bool) {
        let was_said = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(shard, is_read));
        if was_said {
            let done = if is_read { "read" } else { "written" };
            tracing::info!("the Secret {} can be {done} again", name(shard));
        }
    }
}

/// The name of a shard's Secret.
pub(super) fn name(shard: Shard) -> String {
    format!("{STATE}-{}", shard.number())
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoKey {
    #[error("the Secret {KEY} can't be had")]
    Asked(#[from] Trouble),
    #[error(
        "the Secret {KEY} has no key of {KEY_BYTES} bytes in its `{DATA}`: delete it, and what pods hold is taken as it is"
    )]
    Unfit,
    #[error("the Secret {KEY} has another key than before: the controller has to start anew")]
    Another,
    #[error("the kernel gives no random bytes")]
    NoRandomness,
}

/// A Secret of the controller's.
#[derive(Deserialize)]
struct Secret {
    metadata: Metadata,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    data: Option<String>,
}

impl Secret {
    fn bytes(self) -> Option<Vec<u8>> {
        STANDARD.decode(self.data?.data?).ok()
    }
}

/// A shard, as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    form: u32,
    /// Which key the digests in it are made with.
    key: String,
    /// When it was written, in seconds since the epoch. By that no two are the same, and one that couldn't be written is tried in earnest:
    /// the API server takes what it has already without writing it.
    #[serde(default)]
    at: u64,
    records: Vec<Entry>,
}

/// The record of one workload, as it is written.
#[derive(Serialize, Deserialize)]
struct Entry {
    kind: String,
    namespace: Name,
    name: Name,
    record: Record,
}

impl State {
    pub(super) fn new(asker: Asker, namespace: String) -> Self {
        Self { asker, namespace, writes: Arc::new(Semaphore::new(WRITES)), saying: Saying::default() }
    }

    /// Has digests made with the key that is kept, which is made where there is none.
    pub(super) async fn take_key(&self) -> Result<(), NoKey> {
        let path = self.path(KEY);
        let found = match self.asker.get::<Secret>(&path).await? {
            Some(found) => found,
            None => {
                let mut key = [0; KEY_BYTES];
                SystemRandom::new().fill(&mut key).map_err(|_unspecified| NoKey::NoRandomness)?;
                let made = self.create::<Secret>(KEY, &key).await;
                match made {
                    // Another replica was faster.
                    Err(trouble) if trouble.status() == Some(StatusCode::CONFLICT) => {
                        self.asker.get(&path).await?.ok_or(NoKey::Unfit)?
                    }
                    made => made?,
                }
            }
        };
        let key = found.bytes().filter(|key| key.len() == KEY_BYTES).ok_or(NoKey::Unfit)?;
        if digest::use_key(&key) { Ok(()) } else { Err(NoKey::Another) }
    }

    /// Reads or writes a shard.
    pub(super) async fn access(&self, shard: Shard, access: Access) -> Result<Event, Trouble> {
        let name = name(shard);
        match access {
            Access::Read => {
                let found: Option<Secret> = self.asker.get(&self.path(&name)).await?;
                let version = found.as_ref().map(|found| found.metadata.resource_version.as_str().into());
                let records = found.map(|found| records(&name, found)).unwrap_or_default();
                Ok(Event::Read(shard, version, records))
            }
            Access::Write(version, records) => {
                let Ok(_turn) = self.writes.acquire().await else { return Err(Trouble::Ended) };
                let text = written(records)?;
                let answer: Secret = match version {
                    None => self.create(&name, &text).await?,
                    Some(version) => {
                        let mut secret = self.secret(&name, &text);
                        secret["metadata"]["resourceVersion"] = json!(&*version);
                        self.asker.replace(&self.path(&name), &secret).await?
                    }
                };
                Ok(Event::Wrote(shard, answer.metadata.resource_version.into()))
            }
        }
    }

    async fn create<T: serde::de::DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, Trouble> {
        let path = collection(CORE, Some(&self.namespace), "secrets");
        self.asker.create(&path, &self.secret(name, bytes)).await
    }

    fn secret(&self, name: &str, bytes: &[u8]) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/name": "reloadlet-controller", "app.kubernetes.io/part-of": "reloadlet"},
            },
            "data": {DATA: STANDARD.encode(bytes)},
        })
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", collection(CORE, Some(&self.namespace), "secrets"))
    }
}

/// What a shard holds. What can't be used is as good as not there: then what pods hold is taken as it is, and nobody is rolled for it.
fn records(name: &str, found: Secret) -> Records {
    let Some(bytes) = found.bytes() else { return Records::new() };
    let written: Written = match serde_json::from_slice(&bytes) {
        Ok(written) => written,
        Err(error) => {
            tracing::warn!(
                secret = name,
                error = %Causes(&error),
                "what was remembered of workloads can't be read: what their pods hold is taken as it is"
            );
            return Records::new();
        }
    };
    if written.form != FORM || Some(written.key) != digest::key_id() {
        tracing::warn!(
            secret = name,
            "what was remembered of workloads is of another key or another version: what their pods hold is taken as it is"
        );
        return Records::new();
    }
    let entry = |entry: Entry| {
        let kind = Kind::parse(&entry.kind)?;
        Some((WorkloadRef { kind, namespace: entry.namespace, name: entry.name }, entry.record))
    };
    written.records.into_iter().filter_map(entry).collect()
}

fn written(records: Records) -> Result<Vec<u8>, Trouble> {
    let entry = |(who, record): (WorkloadRef, Record)| Entry {
        kind: who.kind.as_str().to_owned(),
        namespace: who.namespace,
        name: who.name,
        record,
    };
    let key = digest::key_id().unwrap_or_default();
    let at = clock::wall().as_secs();
    let written = Written { form: FORM, key, at, records: records.into_iter().map(entry).collect() };
    serde_json::to_vec(&written).map_err(|error| Trouble::garbage(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Secret {
        let secret = json!({"metadata": {"resourceVersion": "7"}, "data": {"data": STANDARD.encode(text)}});
        serde_json::from_value(secret).unwrap()
    }

    /// A shard with one record, in this form and of this key.
    fn shard(form: u32, key: &str, kind: &str) -> String {
        format!(
            r#"{{"form": {form}, "key": "{key}", "records": [{{"kind": "{kind}", "namespace": "shop", "name": "web",
                "record": {{"uid": "u-1", "base": [["ConfigMap", "app", "{:032x}"]], "step": "None", "rolled": []}}}}]}}"#,
            7
        )
    }

    #[test]
    fn what_was_written_is_read_again() {
        let key = digest::key_id().unwrap();
        let known = records("s", kept(&shard(FORM, &key, "deployment")));
        assert_eq!(known.keys().map(ToString::to_string).collect::<Vec<_>>(), ["Deployment shop/web"]);
        let again = String::from_utf8(written(known.clone()).unwrap()).unwrap();
        assert!(serde_json::from_str::<Written>(&again).unwrap().at > 0, "no two are the same");
        assert_eq!(records("s", kept(&again)), known);
    }

    #[test]
    fn what_cant_be_written_is_said_once_until_it_can_be() {
        let (saying, mut shards) = (Saying::default(), Shard::all());
        let (first, second) = (shards.next().unwrap(), shards.next().unwrap());
        let known = || saying.0.lock().unwrap().clone();
        for (shard, is_read) in [(first, false), (first, false), (second, false), (first, true)] {
            saying.failed(shard, is_read, "it answers 403");
        }
        assert_eq!(known(), BTreeSet::from([(first, false), (second, false), (first, true)]));
        saying.answered(first, true);
        assert_eq!(
            known(),
            BTreeSet::from([(first, false), (second, false)]),
            "it is read, and can't be written"
        );
        saying.answered(first, false);
        assert_eq!(known(), BTreeSet::from([(second, false)]));
        assert_eq!(name(second), "reloadlet-controller-state-1");
    }

    #[test]
    fn of_what_cant_be_used_nothing_is_known() {
        let key = digest::key_id().unwrap();
        for text in [
            String::new(),
            "{}".to_owned(),
            shard(FORM + 1, &key, "deployment"),
            shard(FORM, "0000000000000000", "deployment"),
            shard(FORM, &key, "cronjob"),
        ] {
            assert_eq!(records("s", kept(&text)), Records::new(), "{text}");
        }
        let empty = json!({"metadata": {"resourceVersion": "7"}});
        assert_eq!(records("s", serde_json::from_value(empty).unwrap()), Records::new());
    }
}
