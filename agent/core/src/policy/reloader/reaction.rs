//! What Reloader v1.4.21 does with a workload when something happens to an object: `internal/pkg/controller/controller.go` and
//! `internal/pkg/handler/upgrade.go`, `pause_deployment.go` of commit 655a2b3. How far the workload's pods are plays no part.

use std::fmt;

use crate::model::closed::closed_set;
use crate::model::shown::quoted;
use crate::policy::reloader::duration::go_duration;
use crate::policy::reloader::situation::{
    Candidate, Form, Installation, Object, Partition, Resting, Strategy, Update, are_apart,
};
use crate::policy::reloader::{Decision, ObjectType, PAUSE_PERIOD, ROLLOUT_STRATEGY, Rules, consumer, text};

/// What Reloader sees of an object. Of a change while it is down, or while another replica begins to lead, it sees [`Self::Listed`]
/// only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its content is another one: a key of `data` or `binaryData`, or a version that a CSI driver has mounted.
    Changed,
    /// It was written, and its content is the same: labels, annotations, `immutable`, or nothing at all.
    Written,
    /// It is new.
    Created,
    /// It is gone.
    Deleted,
    /// It was there when Reloader started, or began to lead.
    Listed,
}

/// What Reloader's variable in the template says of an object, with [`Strategy::Variables`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variable {
    /// There is none: it has never rolled the workload for this object.
    #[default]
    Missing,
    /// It has the hash of an earlier content.
    Older,
    /// It has the hash of this content.
    Current,
}

closed_set! {
    /// Why Reloader does nothing.
    pub enum Silence {
        /// It is told of contents only.
        Written => "as the content is the same",
        /// It has been told not to look.
        NotOnCreate => "as it runs without --reload-on-create",
        /// The same of what was there before it.
        NotAfterRestart => "as it runs without --sync-after-restart and --reload-on-create",
        /// The same of what is gone.
        NotOnDelete => "as it runs without --reload-on-delete",
        /// The same of SecretProviderClasses.
        NoClasses => "as it runs without --enable-csi-integration",
        /// Its flags leave out the object, or its namespace.
        OutOfScope => "as its flags leave the object out",
        /// It tells somebody else instead.
        Webhook => "as it makes a request to its --webhook-url instead",
        /// Each object counts in its own namespace.
        Apart => "as the object is in another namespace",
        /// It has been told not to look at Rollouts.
        NoRollouts => "as it runs without --is-Argo-Rollouts",
        /// It reads the template in the Rollout, and there is none.
        NoTemplate => "as the Rollout's template is another workload's (workloadRef)",
        /// It doesn't look at this kind of workload.
        Kind => "as it doesn't look at workloads of this kind",
        /// It has been told not to look at this kind.
        IgnoredKind => "as --ignored-workload-types leaves this kind out",
        /// The object, or the workload, says that it is no reason.
        Refused => "as annotations say so",
        /// Nothing asks for it.
        Unasked => "as nothing asks for it",
        /// The workload asks for what it uses, and this isn't used.
        Unused => "as it finds no container that uses the object",
        /// What it would write is there.
        Current => "as its variable in the template has this content",
        /// What it would take away isn't there.
        NoVariable => "as its variable isn't in the template",
    }
}

/// What Reloader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction<'a> {
    /// Nothing.
    Nothing(Silence),
    /// It changes the template, and the workload's controller replaces the pods.
    Rolls,
    /// It changes the template, and pods are replaced when somebody deletes them.
    WaitsForDeletion,
    /// It changes the template, and no pod is replaced.
    Rests(Resting),
    /// It changes the template, and pods below the partition stay as they are.
    RollsPartly(Partition),
    /// It pauses the Deployment, changes the template, and ends the pause after this time: then the pods are replaced.
    Pauses(&'a str),
    /// It fails, again and again, and the workload is never rolled: this is no duration.
    Fails(&'a str),
    /// It asks Argo to start the pods anew (`spec.restartAt`), and leaves the template as it is.
    Restarts,
    /// It starts a Job of a CronJob, whenever that is due.
    StartsJob,
    /// It deletes a Job and makes it again.
    Repeats {
        /// Whether its work was done, and is done a second time.
        is_complete: bool,
    },
}

/// What Reloader does when this happens to the object. `variable` is what it has left in the template before.
pub fn reaction<'a>(
    candidate: &Candidate<'a>,
    object: &Object<'_>,
    event: Event,
    variable: Variable,
    installation: &Installation,
) -> Reaction<'a> {
    match silence(candidate, object, event, variable, installation) {
        Some(silence) => Reaction::Nothing(silence),
        None => of_form(candidate),
    }
}

/// Why nothing is done: first what the annotations and the pods' spec say, then what Reloader's flags do.
fn silence(
    candidate: &Candidate<'_>,
    object: &Object<'_>,
    event: Event,
    variable: Variable,
    installation: &Installation,
) -> Option<Silence> {
    if are_apart(candidate, object) {
        return Some(Silence::Apart);
    }
    let rules = Rules::Reloader { auto_reload_all: installation.auto_reload_all };
    let decision = candidate.asking.decide(object.of, object.name, object.marks, rules);
    let has_template = candidate.form != (Form::Rollout { has_template: false });
    match decision {
        Decision::Ignored | Decision::Excluded => return Some(Silence::Refused),
        Decision::Unasked => return Some(Silence::Unasked),
        // Of a template that is elsewhere it isn't known what its containers use.
        Decision::Named | Decision::Searched | Decision::Automatic if !has_template => {}
        Decision::Named | Decision::Searched | Decision::Automatic => {
            if !decision.rolls(consumer(candidate.spec, object.of, object.name).is_some()) {
                return Some(Silence::Unused);
            }
        }
    }
    kind(candidate.form, installation)
        .or_else(|| unseen(object, event, installation))
        .or_else(|| unneeded(event, variable, installation.strategy))
}

/// Why Reloader isn't told of what happens, or does something else about it.
fn unseen(object: &Object<'_>, event: Event, installation: &Installation) -> Option<Silence> {
    let Installation { on_create, on_delete, sync_after_restart, calls_webhook, classes, .. } = *installation;
    if object.of == ObjectType::SecretProviderClass && !classes {
        return Some(Silence::NoClasses);
    }
    if !installation.scope.takes(object) {
        return Some(Silence::OutOfScope);
    }
    match event {
        Event::Written => Some(Silence::Written),
        Event::Created if !on_create => Some(Silence::NotOnCreate),
        Event::Deleted if !on_delete => Some(Silence::NotOnDelete),
        Event::Listed if !(on_create && sync_after_restart) => Some(Silence::NotAfterRestart),
        Event::Changed | Event::Created | Event::Deleted | Event::Listed => {
            calls_webhook.then_some(Silence::Webhook)
        }
    }
}

/// Why what it would write is there already, or what it would take away isn't.
const fn unneeded(event: Event, variable: Variable, strategy: Strategy) -> Option<Silence> {
    match (strategy, event, variable) {
        (Strategy::Variables, Event::Deleted, Variable::Missing) => Some(Silence::NoVariable),
        (Strategy::Variables, Event::Deleted, Variable::Older | Variable::Current) => None,
        (Strategy::Variables, _, Variable::Current) => Some(Silence::Current),
        (Strategy::Variables, _, Variable::Missing | Variable::Older) | (Strategy::Annotations, ..) => None,
    }
}

/// Why it doesn't look at such a workload.
const fn kind(form: Form, installation: &Installation) -> Option<Silence> {
    match form {
        Form::Deployment | Form::Resting(_) | Form::StatefulSet(_) | Form::DaemonSet { .. } => None,
        Form::Job { .. } if installation.without_jobs => Some(Silence::IgnoredKind),
        Form::CronJob if installation.without_cron_jobs => Some(Silence::IgnoredKind),
        Form::Job { .. } | Form::CronJob => None,
        Form::Rollout { .. } if !installation.rollouts => Some(Silence::NoRollouts),
        Form::Rollout { has_template: false } => Some(Silence::NoTemplate),
        Form::Rollout { has_template: true } => None,
        Form::Owned
        | Form::Pod
        | Form::PodTemplate
        | Form::ReplicaSet
        | Form::ReplicationController
        | Form::DeploymentConfig => Some(Silence::Kind),
    }
}

/// What it does with such a workload once there is a reason.
fn of_form<'a>(candidate: &Candidate<'a>) -> Reaction<'a> {
    match candidate.form {
        Form::Deployment | Form::Resting(_) => {
            match (text(candidate.asking.workload, PAUSE_PERIOD), candidate.form) {
                (Some(period), _) if go_duration(period).is_none() => Reaction::Fails(period),
                (_, Form::Resting(resting)) => Reaction::Rests(resting),
                (Some(period), _) => Reaction::Pauses(period),
                (None, _) => Reaction::Rolls,
            }
        }
        Form::StatefulSet(Update::OnDelete) | Form::DaemonSet { on_delete: true } => {
            Reaction::WaitsForDeletion
        }
        Form::StatefulSet(Update::Partition(partition)) => Reaction::RollsPartly(partition),
        Form::Rollout { .. } if text(candidate.asking.workload, ROLLOUT_STRATEGY) == Some("restart") => {
            Reaction::Restarts
        }
        Form::CronJob => Reaction::StartsJob,
        Form::Job { is_complete } => Reaction::Repeats { is_complete },
        Form::StatefulSet(Update::Rolling) | Form::DaemonSet { on_delete: false } | Form::Rollout { .. } => {
            Reaction::Rolls
        }
        // It has looked at none of these.
        Form::Owned
        | Form::Pod
        | Form::PodTemplate
        | Form::ReplicaSet
        | Form::ReplicationController
        | Form::DeploymentConfig => Reaction::Nothing(Silence::Kind),
    }
}

impl Reaction<'_> {
    /// Whether annotations ask for something, or the object is used, so that it is worth a sentence.
    pub const fn is_worth_telling(self) -> bool {
        !matches!(
            self,
            Self::Nothing(Silence::Refused | Silence::Unasked | Silence::Unused | Silence::Written)
        )
    }
}

impl fmt::Display for Reaction<'_> {
    /// What stands behind `Reloader 1.4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(silence) => write!(f, "does nothing, {silence}"),
            Self::Rolls => f.write_str("rolls it"),
            Self::WaitsForDeletion => {
                f.write_str("patches its template, and replaces no pod before somebody deletes it (OnDelete)")
            }
            Self::Rests(resting) => {
                write!(f, "patches its template, and no pod is replaced, as {}", resting.as_str())
            }
            Self::RollsPartly(partition) if partition.keeps_all() => {
                write!(f, "patches its template, and replaces no pod (partition {})", partition.from)
            }
            Self::RollsPartly(partition) => {
                write!(f, "rolls its pods from ordinal {} on (partition)", partition.from)
            }
            Self::Pauses(period) => write!(f, "pauses it, and rolls it when {} are over", quoted(period)),
            Self::Fails(period) => {
                write!(f, "fails, as its pause-period is {}, and never rolls it", quoted(period))
            }
            Self::Restarts => f.write_str("sets its restartAt, and leaves its template as it is"),
            Self::StartsJob => f.write_str("starts a Job of it at once"),
            Self::Repeats { is_complete: true } => {
                f.write_str("deletes it and makes it again, although it is complete")
            }
            Self::Repeats { is_complete: false } => {
                f.write_str("deletes it and makes it again, also if it is complete")
            }
        }
    }
}
