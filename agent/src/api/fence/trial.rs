//! What is tried to find out whether the fence is there, and in which words it is said what came of that.

use std::collections::BTreeMap;

use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::http::request::Builder;
use reloadlet_core::policy::annotations::{OBSERVED, ROLLED};
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
    /// A mark on the controller's own Deployment, which doesn't ask to be rolled.
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

impl Trial {
    /// How the fence refuses it. Nobody else says it, and a policy that is older than this rule doesn't either.
    pub(super) fn refusal(&self) -> &'static str {
        match self {
            Self::Nudge => "reloadlet may not change generateName",
            Self::Roll { .. } => {
                "reloadlet-controller may not change a workload that doesn't ask to be rolled"
            }
        }
    }

    pub(super) fn words(&self) -> &'static Words {
        match self {
            Self::Nudge => &NUDGE,
            Self::Roll { .. } => &ROLL,
        }
    }

    /// The request, and its body; or what this account isn't, for which it can't be made.
    pub(super) fn request(&self, user: &User) -> Result<(Builder, Value), &'static str> {
        let (path, manager, change) = match self {
            Self::Nudge => {
                let (namespace, name, uid) = user.pod().ok_or("has a token that is for no pod")?;
                let annotations = json!({OBSERVED: "fence"});
                let change = json!({"uid": uid, "generateName": "fence-", "annotations": annotations});
                let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
                (path, "reloadlet", json!({"metadata": change}))
            }
            Self::Roll { deployment } => {
                let namespace = user.namespace().ok_or("is no ServiceAccount")?;
                let annotations = json!({ROLLED: "fence"});
                let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}");
                let change = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
                (path, "reloadlet-controller", change)
            }
        };
        let request = Request::patch(format!("{path}?dryRun=All&fieldManager={manager}"));
        let request = request.header(CONTENT_TYPE, "application/merge-patch+json").header(ACCEPT, METADATA);
        Ok((request, change))
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
