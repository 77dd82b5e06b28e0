//! Requests of the controller: a few at a time, and on another connection once one has died.

use std::sync::Arc;

use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::core::params::ListParams;
use reloadlet_core::model::object::{ObjectKind, ObjectRef};
use reloadlet_core::rollouts::workload::{Kind, WorkloadRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::api::cluster::Cluster;
use crate::api::requests::{JSON, MERGE_PATCH, ask, carrying, plain};
use crate::api::trouble::Trouble;
use crate::api::watch::Form;
use crate::api::watch::requests::each;

/// How many requests are made at a time. Lists of pods may be large.
const AT_A_TIME: usize = 8;
/// Who has changed what, in the metadata of objects.
pub(super) const MANAGER: &str = "reloadlet-controller";

/// Asks the API server. Clones share the turns.
#[derive(Clone)]
pub(super) struct Asker {
    cluster: Cluster,
    turns: Arc<Semaphore>,
}

impl Asker {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, turns: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// What is at this path; `None` where nothing is.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Trouble> {
        match self.ask(plain(Request::get(path))).await {
            Err(trouble) if trouble.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            answered => answered.map(Some),
        }
    }

    /// Makes an object in the collection at this path.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.ask(carrying(managed(Request::post, path), JSON, object)).await
    }

    /// Writes the object at this path.
    pub(super) async fn replace<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.ask(carrying(managed(Request::put, path), JSON, object)).await
    }

    /// Changes the object at this path.
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        change: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.ask(carrying(managed(Request::patch, path), MERGE_PATCH, change)).await
    }

    /// One page of a list, of which each object is given away as soon as it is understood.
    pub(super) async fn each<K: DeserializeOwned>(
        &self,
        path: &str,
        params: &ListParams,
        take: impl FnMut(K),
    ) -> Result<ListMeta, Trouble> {
        let Ok(_turn) = self.turns.acquire().await else { return Err(Trouble::Ended) };
        self.renewing(async |client| each(client, path, Form::Whole, params, take).await).await
    }

    /// Asks with the turn of whoever can't wait for others.
    pub(super) async fn at_once<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, Trouble>,
    ) -> Result<T, Trouble> {
        self.renewing(async |client| ask(client, request).await).await
    }

    /// Asks on the connection that there is, which is made anew where nobody answers on it.
    async fn renewing<T>(&self, ask: impl AsyncFnOnce(Client) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let connection = self.cluster.current();
        let answered = ask(connection.client).await;
        if answered.as_ref().is_err_and(Trouble::may_be_the_configuration) {
            self.cluster.renew(connection.revision).await;
        }
        answered
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, Trouble>,
    ) -> Result<T, Trouble> {
        let Ok(_turn) = self.turns.acquire().await else { return Err(Trouble::Ended) };
        self.at_once(request).await
    }

    /// The API server.
    pub(super) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// A request that says who changes something.
pub(super) fn managed(method: fn(String) -> Builder, path: &str) -> Builder {
    method(format!("{path}?fieldManager={MANAGER}"))
}

/// Where the objects of this kind are, of one namespace or of all.
pub(super) fn collection(api: &str, namespace: Option<&str>, plural: &str) -> String {
    match namespace {
        Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}"),
        None => format!("{api}/{plural}"),
    }
}

/// How the API server calls the workloads of a kind.
pub(super) const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment => "deployments",
        Kind::StatefulSet => "statefulsets",
        Kind::DaemonSet => "daemonsets",
    }
}

/// The API of the workloads.
pub(super) const APPS: &str = "/apis/apps/v1";
/// The API of pods, ConfigMaps and Secrets.
pub(super) const CORE: &str = "/api/v1";

/// Where a workload is.
pub(super) fn path_of(who: &WorkloadRef) -> String {
    format!("{}/{}", collection(APPS, Some(&who.namespace), plural(who.kind)), who.name)
}

/// Where an object is.
pub(super) fn path_of_object(object: &ObjectRef) -> String {
    let plural = match object.kind {
        ObjectKind::ConfigMap => "configmaps",
        ObjectKind::Secret => "secrets",
    };
    format!("{}/{}", collection(CORE, Some(&object.namespace), plural), object.name)
}
