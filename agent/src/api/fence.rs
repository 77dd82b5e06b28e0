//! The fence: the admission policy that leaves this account one annotation of pods, in `deploy/components/acceleration`. The
//! right to patch the status of pods is far wider, and nothing shows whether the policy is there and means this account; so
//! the agent tries what the policy must refuse, as a dry run on its own pod, and nudges nobody before it was refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use kube::Client;
use reloadlet_core::policy::annotations::OBSERVED;
use reloadlet_core::propagation::nudge::NudgeAnswer;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::cluster::{Cluster, METADATA};
use crate::health::{Ailment, Health};
use crate::logs::Causes;
use crate::metrics::Metrics;

/// How often the fence is tried again while it holds: somebody may take it away later.
const EVERY: Duration = Duration::from_secs(3600);
/// After anything else; twice as long each time. The API server takes a second to know a new policy.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long the API server has for the two requests of a try.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of a refusal is said.
const SAID_CHARS: usize = 400;
/// How the fence refuses what is tried. Nobody else says it, and a policy that is older than this rule doesn't either.
const REFUSAL: &str = "reloadlet may not change generateName";
/// The pod that a token is for, as the API server has it from the token.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Lets nudges through once the fence is proved.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    standing: watch::Receiver<Standing>,
    needed: bool,
}

/// What is known of the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It wasn't proved yet.
    Unknown,
    /// It refused what it must.
    Holds,
    /// What it must refuse was taken, or refused by something else.
    Missing,
}

impl Gate {
    /// The gate for what is known, or one that is always open.
    pub(super) fn new(standing: watch::Receiver<Standing>, needed: bool) -> Self {
        Self { standing, needed }
    }

    /// What a nudge gets instead of being sent. `None`: it may be sent.
    pub(super) fn answer(&self) -> Option<NudgeAnswer> {
        if !self.needed {
            return None;
        }
        match *self.standing.borrow() {
            Standing::Holds => None,
            Standing::Unknown => Some(NudgeAnswer::Withheld),
            Standing::Missing => Some(NudgeAnswer::Refused),
        }
    }
}

/// Tries the fence.
pub(crate) struct Prover {
    cluster: Cluster,
    metrics: Arc<Metrics>,
    health: Health,
    known: Known,
}

/// The gate, and who opens it. Without need of a fence the gate is open, and the fence is tried all the same.
pub(crate) fn channel(
    cluster: Cluster,
    metrics: Arc<Metrics>,
    health: Health,
    needed: bool,
) -> (Gate, Prover) {
    let (sender, receiver) = watch::channel(Standing::Unknown);
    let known = Known { standing: sender, needed, doubted: false, said: None, pause: FIRST_PAUSE };
    (Gate::new(receiver, needed), Prover { cluster, metrics, health, known })
}

impl Prover {
    /// Tries it again and again for as long as the agent runs.
    pub(crate) async fn run(mut self) {
        loop {
            let connection = self.cluster.current();
            let proof = tokio::time::timeout(LIMIT, prove(&connection.client)).await;
            let proof = proof.unwrap_or_else(|_elapsed| {
                Proof::Unasked(format!("the API server took longer than {LIMIT:?}"))
            });
            if matches!(proof, Proof::Unasked(_)) {
                self.cluster.renew(connection.revision).await;
            }
            let pause = self.known.take(&proof, &self.metrics, &self.health);
            tokio::time::sleep(pause).await;
        }
    }
}

/// What a try came to.
#[derive(Debug)]
enum Proof {
    /// The fence refused it.
    Refused,
    /// Nothing refused it, for the account of this name.
    Taken(String),
    /// It was refused, but not by the fence; or the account can't try.
    Barred(String),
    /// The API server didn't answer, or had no time.
    Unasked(String),
}

/// What was found so far.
struct Known {
    standing: watch::Sender<Standing>,
    needed: bool,
    /// The last answer wasn't the fence's.
    doubted: bool,
    /// The sentence that was logged last.
    said: Option<&'static str>,
    pause: Duration,
}

impl Known {
    /// Takes in a try. Gives back how long to wait before the next one.
    fn take(&mut self, proof: &Proof, metrics: &Metrics, health: &Health) -> Duration {
        let doubted = std::mem::replace(&mut self.doubted, !matches!(proof, Proof::Refused));
        let standing = match proof {
            Proof::Refused => Standing::Holds,
            // Not by one answer: the API server may not know the policy, or the right, for a second after they are made.
            Proof::Taken(_) | Proof::Barred(_) if doubted => Standing::Missing,
            Proof::Taken(_) | Proof::Barred(_) => Standing::Unknown,
            // What was found before holds: nudges don't arrive now either.
            Proof::Unasked(_) => {
                self.doubted = doubted;
                *self.standing.borrow()
            }
        };
        self.standing.send_replace(standing);
        if !matches!(proof, Proof::Unasked(_)) {
            let open = standing == Standing::Missing && matches!(proof, Proof::Taken(_));
            metrics.set_fence_open(open);
            health.set(Ailment::Fence, open);
        }
        self.say(proof, standing);
        if matches!(proof, Proof::Refused) {
            self.pause = FIRST_PAUSE;
            return EVERY;
        }
        let longer = (2 * self.pause).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.pause, longer)
    }

    /// Says it once, until there is something else to say.
    fn say(&mut self, proof: &Proof, standing: Standing) {
        let sentence = match (proof, standing) {
            (Proof::Refused, _) => "the fence holds: it refuses this account more than a nudge",
            (Proof::Taken(_), Standing::Missing) => {
                "the fence is open: this account can change more of pods than a nudge does; apply \
                 deploy/components/acceleration, whose binding must name the account"
            }
            (Proof::Barred(_), Standing::Missing) => {
                "that the fence holds can't be proved: what it must refuse is refused by something else"
            }
            (Proof::Unasked(_), Standing::Unknown) => {
                "that the fence holds isn't proved yet: the API server can't be asked"
            }
            (Proof::Taken(_) | Proof::Barred(_), Standing::Unknown | Standing::Holds)
            | (Proof::Unasked(_), Standing::Holds | Standing::Missing) => return,
        };
        if self.said.replace(sentence) == Some(sentence) {
            return;
        }
        let nudged = if self.needed { "no pod is nudged" } else { "pods are nudged all the same" };
        match proof {
            Proof::Refused => tracing::info!("{sentence}"),
            Proof::Taken(account) => tracing::warn!(account, "{sentence}: {nudged}"),
            Proof::Barred(error) | Proof::Unasked(error) => tracing::warn!(error, "{sentence}: {nudged}"),
        }
    }
}

/// Who this account is, as far as it is of interest.
#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewStatus {
    user_info: User,
}

#[derive(Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The pod that the token is for: its namespace, its name and its UID.
    fn pod(&self) -> Option<(&str, &str, &str)> {
        let (namespace, _account) = self.username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let claim = |key| self.extra.get(key)?.first().map(String::as_str);
        Some((namespace, claim(POD_NAME)?, claim(POD_UID)?))
    }
}

async fn prove(client: &Client) -> Proof {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let reviews = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews");
    let user = match ask::<Review>(client, reviews.header(CONTENT_TYPE, "application/json"), &review).await {
        Ok(review) => review.status.user_info,
        Err(error) => return failed(&error),
    };
    let Some((namespace, name, uid)) = user.pod() else {
        return Proof::Barred(format!("{} has a token that is for no pod", user.username));
    };
    // Beside a nudge, so that nothing but the one rule refuses it.
    let change =
        json!({"metadata": {"uid": uid, "generateName": "fence-", "annotations": {OBSERVED: "fence"}}});
    let pod = Request::patch(format!(
        "/api/v1/namespaces/{namespace}/pods/{name}/status?dryRun=All&fieldManager=reloadlet"
    ));
    let pod = pod.header(CONTENT_TYPE, "application/merge-patch+json").header(ACCEPT, METADATA);
    match ask::<IgnoredAny>(client, pod, &change).await {
        Ok(_pod) => Proof::Taken(user.username),
        Err(kube::Error::Api(status)) if status.message.ends_with(REFUSAL) => Proof::Refused,
        Err(error) => failed(&error),
    }
}

async fn ask<T: DeserializeOwned>(
    client: &Client,
    request: hyper::http::request::Builder,
    body: &Value,
) -> Result<T, kube::Error> {
    let request = request.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// What an error of a request is: a refusal, or a failure that may pass by itself.
fn failed(error: &kube::Error) -> Proof {
    let text: String = Causes(error).to_string().chars().take(SAID_CHARS).collect();
    let refused = matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 422));
    if refused { Proof::Barred(text) } else { Proof::Unasked(text) }
}

#[cfg(test)]
mod tests;
