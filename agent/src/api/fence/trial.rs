//! What is tried to find out whether the fence is there, and in which words it is said what came of that.

use std::collections::BTreeMap;

use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::http::request::Builder;
use reloadlet_core::policy::annotations::{OBSERVED, RESTART, ROLLED};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::cluster::METADATA;

/// The pod that a token is for, as the API server has it from the token.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// A change that a fence must refuse. It is a dry run, beside what the account may do, so that nothing but one rule of the fence
/// refuses it.
#[derive(Clone, Debug)]
pub(crate) enum Trial {
    /// A nudge of the agent's own pod that changes generateName as well.
    Nudge,
    /// A mark on the controller's own Deployment, which doesn't ask to be rolled; and a grant for its own pod, which asks for no restart
    /// in place.
    Roll {
        /// The Deployment's name. Its namespace is the one that the token is from.
        deployment: String,
    },
}

/// What is said of a fence.
#[derive(Debug)]
pub(super) struct Words {
    /// It refused what was tried.
    pub(super) holds: &'static str,
    /// It didn't.
    pub(super) open: &'static str,
    /// What that means while the fence is needed.
    pub(super) withheld: &'static str,
    /// And where it isn't.
    pub(super) all_the_same: &'static str,
}

const NUDGE: Words = Words {
    holds: "the fence holds: it refuses this account more than a nudge",
    open: "the fence is open: this account can change more of pods than a nudge does; apply \
           deploy/components/acceleration, whose binding must name the account",
    withheld: "no pod is nudged",
    all_the_same: "pods are nudged all the same",
};

const ROLL: Words = Words {
    holds: "the fence holds: it refuses this account more than a roll",
    open: "the fence is open: this account can change more of workloads than a roll does; apply \
           deploy/components/controller, whose bindings must name the account",
    withheld: "no workload is rolled",
    all_the_same: "workloads are rolled all the same",
};

/// A request that must be refused.
pub(super) struct Try {
    pub(super) request: Builder,
    pub(super) change: Value,
    /// How the fence refuses it. Nobody else says it, and a policy that is older than this rule doesn't either.
    pub(super) refusal: &'static str,
}

impl Try {
    fn new(path: &str, manager: &str, change: Value, refusal: &'static str) -> Self {
        let request = Request::patch(format!("{path}?dryRun=All&fieldManager={manager}"));
        let request = request.header(CONTENT_TYPE, "application/merge-patch+json").header(ACCEPT, METADATA);
        Self { request, change, refusal }
    }
}

impl Trial {
    pub(super) fn words(&self) -> &'static Words {
        match self {
            Self::Nudge => &NUDGE,
            Self::Roll { .. } => &ROLL,
        }
    }

    /// The requests, each of which must be refused; or what this account isn't, for which they can't be made.
    pub(super) fn tries(&self, user: &User) -> Result<Vec<Try>, &'static str> {
        let (namespace, name, uid) = user.pod().ok_or("has a token that is for no pod")?;
        let pod = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        match self {
            Self::Nudge => {
                let annotations = json!({OBSERVED: "fence"});
                let change = json!({"uid": uid, "generateName": "fence-", "annotations": annotations});
                let change = json!({"metadata": change});
                let refusal = "reloadlet may not change generateName";
                Ok(vec![Try::new(&format!("{pod}/status"), "reloadlet", change, refusal)])
            }
            Self::Roll { deployment } => {
                let manager = "reloadlet-controller";
                let mark = json!({"metadata": {"annotations": {ROLLED: "fence"}}});
                let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}");
                let refusal = "reloadlet-controller may not change a workload that doesn't ask to be rolled";
                let roll = Try::new(&path, manager, json!({"spec": {"template": mark}}), refusal);
                let grant = json!({"metadata": {"uid": uid, "annotations": {RESTART: "fence"}}});
                let refusal =
                    "reloadlet-controller may not change a pod that doesn't ask to be restarted in place";
                Ok(vec![roll, Try::new(&pod, manager, grant, refusal)])
            }
        }
    }
}

/// Who this account is, as far as it is of interest.
#[derive(Deserialize)]
pub(super) struct Review {
    pub(super) status: ReviewStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReviewStatus {
    pub(super) user_info: User,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The namespace of the ServiceAccount.
    fn namespace(&self) -> Option<&str> {
        let (namespace, _account) = self.username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some(namespace)
    }

    /// The pod that the token is for: its namespace, its name and its UID.
    pub(super) fn pod(&self) -> Option<(&str, &str, &str)> {
        let claim = |key| self.extra.get(key)?.first().map(String::as_str);
        Some((self.namespace()?, claim(POD_NAME)?, claim(POD_UID)?))
    }
}
