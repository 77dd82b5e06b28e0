//! The fence: the admission policy that leaves this account one annotation. The agent's, in `deploy/components/acceleration`,
//! is one of pods; the controller's, in `deploy/components/controller`, is one of workloads' templates. The right to patch the
//! status of pods, or workloads, is far wider, and nothing shows whether the policy is there and means this account; so what it
//! must refuse is tried, as a dry run, and nobody is nudged or rolled before it was refused.

use std::time::Duration;

use hyper::Request;
use hyper::header::CONTENT_TYPE;
use kube::Client;
use reloadlet_core::propagation::nudge::NudgeAnswer;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::cluster::Cluster;
use crate::logs::Causes;
use trial::{Review, Try, Words};

pub(crate) use trial::Trial;

mod trial;

/// How often the fence is tried again while it holds: somebody may take it away later.
const EVERY: Duration = Duration::from_secs(3600);
/// After anything else; twice as long each time. The API server takes a second to know a new policy.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long the API server has for the requests of a try.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of a refusal is said.
const SAID_CHARS: usize = 400;

/// Lets nudges, or rolls, through once the fence is proved.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    standing: watch::Receiver<Standing>,
    needed: bool,
}

/// What is known of the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
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

    /// Whether what the fence is for may be done now.
    pub(crate) fn allows(&self) -> bool {
        !self.needed || *self.standing.borrow() == Standing::Holds
    }

    /// What is known of the fence, for who waits until it changes.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
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
pub(crate) struct Prover<F> {
    cluster: Cluster,
    trial: Trial,
    known: Known,
    found: F,
}

/// The gate, and who opens it. Without need of a fence the gate is open, and the fence is tried all the same. `found` is called
/// after each try that was answered, with whether the fence is known to be open.
pub(crate) fn channel<F: FnMut(bool)>(
    cluster: Cluster,
    trial: Trial,
    needed: bool,
    found: F,
) -> (Gate, Prover<F>) {
    let (sender, receiver) = watch::channel(Standing::Unknown);
    let words = trial.words();
    let known = Known { standing: sender, words, needed, doubted: false, said: None, pause: FIRST_PAUSE };
    (Gate::new(receiver, needed), Prover { cluster, trial, known, found })
}

impl<F: FnMut(bool)> Prover<F> {
    /// Tries it again and again for as long as this process runs.
    pub(crate) async fn run(mut self) {
        loop {
            let connection = self.cluster.current();
            let proof = tokio::time::timeout(LIMIT, prove(&connection.client, &self.trial)).await;
            let proof = proof.unwrap_or_else(|_elapsed| {
                Proof::Unasked(format!("the API server took longer than {LIMIT:?}"))
            });
            if matches!(proof, Proof::Unasked(_)) {
                self.cluster.renew(connection.revision).await;
            }
            let pause = self.known.take(&proof, &mut self.found);
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
    words: &'static Words,
    needed: bool,
    /// The last answer wasn't the fence's.
    doubted: bool,
    /// The sentence that was logged last.
    said: Option<&'static str>,
    pause: Duration,
}

impl Known {
    /// Takes in a try. Gives back how long to wait before the next one.
    fn take(&mut self, proof: &Proof, found: impl FnOnce(bool)) -> Duration {
        let doubted = std::mem::replace(&mut self.doubted, !matches!(proof, Proof::Refused));
        let standing = match proof {
            Proof::Refused => Standing::Holds,
            // Not by one answer: the API server may not know the policy, or the right, for a second after they are made.
            Proof::Taken(_) | Proof::Barred(_) if doubted => Standing::Missing,
            Proof::Taken(_) | Proof::Barred(_) => Standing::Unknown,
            // What was found before holds: what the fence is for doesn't arrive now either.
            Proof::Unasked(_) => {
                self.doubted = doubted;
                *self.standing.borrow()
            }
        };
        self.standing.send_replace(standing);
        if !matches!(proof, Proof::Unasked(_)) {
            found(standing == Standing::Missing && matches!(proof, Proof::Taken(_)));
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
            (Proof::Refused, _) => self.words.holds,
            (Proof::Taken(_), Standing::Missing) => self.words.open,
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
        let follows = if self.needed { self.words.withheld } else { self.words.all_the_same };
        match proof {
            Proof::Refused => tracing::info!("{sentence}"),
            Proof::Taken(account) => tracing::warn!(account, "{sentence}: {follows}"),
            Proof::Barred(error) | Proof::Unasked(error) => tracing::warn!(error, "{sentence}: {follows}"),
        }
    }
}

async fn prove(client: &Client, trial: &Trial) -> Proof {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let reviews = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews");
    let user = match ask::<Review>(client, reviews.header(CONTENT_TYPE, "application/json"), &review).await {
        Ok(review) => review.status.user_info,
        Err(error) => return failed(&error),
    };
    let tries = match trial.tries(&user) {
        Ok(tries) => tries,
        Err(lack) => return Proof::Barred(format!("{} {lack}", user.username)),
    };
    for Try { request, change, refusal } in tries {
        match ask::<IgnoredAny>(client, request, &change).await {
            Ok(_changed) => return Proof::Taken(user.username),
            Err(kube::Error::Api(status)) if status.message.ends_with(refusal) => {}
            Err(error) => return failed(&error),
        }
    }
    Proof::Refused
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
