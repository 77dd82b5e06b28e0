//! What reloadlet is to do with a workload when objects change that it uses or names: containers that can be told are told, and for
//! what a container takes at its start the workload is rolled, if it asks for that. It starts from what differs, not from what happened:
//! what changes and changes back in the meantime is nothing, and several changes are one roll.

use std::fmt;
use std::time::Duration;

use crate::model::closed::closed_set;
use crate::model::names::is_variable;
use crate::model::pod::ContainerKind;
use crate::policy::references::{self, Effect, Reference, Way, Why};
use crate::policy::reloader::duration::go_duration;
use crate::policy::reloader::situation::{
    Candidate, Form, Object, Partition, Resting, Scope, Update, are_apart,
};
use crate::policy::reloader::{Decision, ObjectType, PAUSE_PERIOD, Rules, text};

/// What of an object isn't what it was when the workload's pods were last known to hold all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// Nothing.
    Nothing,
    /// These keys.
    Keys(&'a [Key<'a>]),
    /// Any key may be another one, or the object is new.
    Any,
    /// The object is gone.
    Gone,
}

/// A key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is one of a ConfigMap's `binaryData`, which no environment has.
    pub is_binary: bool,
}

/// How the workload's pods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Whether it is known what they held once. Else what there is now is what is compared with from now on.
    pub have_baseline: bool,
    /// Whether any has a container that started before the change. What isn't there yet, or is newer, reads what there is now;
    /// a container whose object is missing doesn't start, unless it is optional.
    pub are_stale: bool,
    /// Whether a roll is under way.
    pub are_rolled: bool,
    /// Whether as many are available as there should be.
    pub are_available: bool,
    /// Whether one may be taken away, as a PodDisruptionBudget says.
    pub can_be_disrupted: bool,
}

impl Default for Pods {
    /// They run, and all of them started before the change.
    fn default() -> Self {
        Self {
            have_baseline: true,
            are_stale: true,
            are_rolled: false,
            are_available: true,
            can_be_disrupted: true,
        }
    }
}

/// How reloadlet runs.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Whether Reloader's annotations count.
    pub annotations: bool,
    /// Whether Rollouts are looked at.
    pub rollouts: bool,
    /// Whether kubelets take any printable name for a variable, as they do by default from Kubernetes 1.32 on.
    pub relaxed_names: bool,
    /// Which objects are looked at.
    pub scope: &'a Scope,
}

closed_set! {
    /// Why a workload isn't rolled.
    pub enum Idle {
        /// What there is is what the pods hold.
        Same => "as the content is what its pods hold",
        /// Nothing asks for it.
        Unasked => "as nothing asks for it",
        /// The object, or the workload, says that it is no reason.
        Refused => "as annotations say so",
        /// Options leave the object out.
        OutOfScope => "as the object is left out",
        /// Each object counts in its own namespace.
        Apart => "as the object is in another namespace",
        /// SecretProviderClasses are no reason.
        Class => "as a SecretProviderClass isn't supported",
        /// No container has anything of it.
        Unused => "as no container uses it",
        /// None has any of the keys that differ.
        OtherKeys => "as no container uses the keys that differ",
        /// All that use it are told.
        Told => "as all are told",
        /// A CronJob's are left to run as they began.
        NextRun => "as its next run reads the new content",
        /// The same of one that runs once.
        RunsOnce => "as a Job runs once, with what it has read at its start",
        /// Pods read what there is when they start.
        NoPods => "as it has no pods, which read the new content when they start",
        /// There is nobody that rolls such a workload.
        Kind => "as it doesn't look at workloads of this kind",
        /// There is nothing to compare with.
        Baseline => "as it isn't known what its pods held before",
        /// All pods have started since, or none has.
        Fresh => "as no pod is older than the change",
    }
}

closed_set! {
    /// Why it is said that pods are stale, and nothing else is done about it.
    pub enum Telling {
        /// There is no template that could be changed.
        NoTemplate => "as nothing replaces its pods",
        /// Argo's Rollouts are told of only.
        Rollout => "as Rollouts are left alone",
        /// A person has stopped all that would replace them.
        Paused => "as it is paused",
        /// A person decides when.
        OnDelete => "as it waits for somebody to delete them (OnDelete)",
        /// No pod of the StatefulSet has so high an ordinal.
        Partition => "as its partition keeps all of them",
        /// New pods couldn't start without the object.
        Gone => "as the object is gone",
        /// A kubelet keeps the old content as long as any pod of its node has it: new pods may get that, too.
        Immutable => "as kubelets keep the old content of an immutable object where a pod has it",
        /// They may be older, and nothing says since when.
        Baseline => "as it isn't known what they held before",
        /// The pods ask to be told of changes, and nobody asks for a roll.
        Frozen => "as nothing asks for a roll",
    }
}

closed_set! {
    /// What a roll waits for.
    pub enum Hold {
        /// The roll that is under way.
        Rolling => "wait for the roll that is under way",
        /// Its pods: more of those that don't work would be none the better.
        Unavailable => "wait until it is available",
        /// Its budget.
        Budget => "wait until its PodDisruptionBudget allows a disruption",
    }
}

/// What is done beside telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Nothing(Idle),
    /// It is said that pods are stale.
    Tell(Telling),
    /// The workload is rolled later, if that is still needed then.
    Hold(Hold),
    /// The workload is rolled, once.
    Roll {
        /// So long changes are gathered; `None` for the usual time.
        debounce: Option<Duration>,
        /// Pods below it stay as they are, and it is said that they are stale.
        partition: Option<Partition>,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Whether containers are told of the change in place, or watch their files themselves.
    pub tells: bool,
    /// What is done for the others.
    pub rest: Rest,
}

/// What a change of one object asks for, before the workload and its pods are looked at; what counts more comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Nothing(Idle),
    Tell(Telling),
    Roll,
}

/// What is to be done about these differences together. `references` are those of the workload's spec.
pub fn course(
    candidate: &Candidate<'_>,
    references: &[Reference],
    differences: &[(Object<'_>, Difference<'_>)],
    pods: Pods,
    options: &Options<'_>,
) -> Course {
    let mut all = Course { tells: false, rest: Rest::Nothing(Idle::Same) };
    let mut most: Option<Wish> = None;
    for (object, difference) in differences {
        let uses = Uses::of(references, object, *difference, options.relaxed_names);
        all.tells |= uses.are_live;
        most = most.max(Some(wish(candidate, object, *difference, uses, options)));
    }
    all.rest = match most {
        None => all.rest,
        Some(Wish::Nothing(idle)) => Rest::Nothing(idle),
        Some(Wish::Tell(telling)) => Rest::Tell(telling),
        // Whatever else has changed.
        Some(Wish::Roll) if is_missing(references, differences) => Rest::Tell(Telling::Gone),
        Some(Wish::Roll) => roll(candidate, pods, options),
    };
    all
}

/// Whether an object is gone without which new pods don't start.
fn is_missing(references: &[Reference], differences: &[(Object<'_>, Difference<'_>)]) -> bool {
    let gone = differences.iter().filter(|(_, difference)| *difference == Difference::Gone);
    let mut gone = gone.map(|(object, _)| object);
    gone.any(|object| {
        references.iter().any(|reference| {
            is_of(reference, object) && reference.is_certain && !reference.optional && !is_added(reference)
        })
    })
}

/// How the containers use what differs of an object.
#[derive(Clone, Copy)]
struct Uses {
    /// Some use the object at all.
    any: bool,
    /// Some aren't told of the object, whatever of it differs.
    any_frozen: bool,
    /// Some are told of what differs.
    are_live: bool,
    /// Some aren't, and have what differs.
    are_frozen: bool,
}

impl Uses {
    fn of(
        references: &[Reference],
        object: &Object<'_>,
        difference: Difference<'_>,
        relaxed_names: bool,
    ) -> Self {
        let mut uses = Self { any: false, any_frozen: false, are_live: false, are_frozen: false };
        let of_object = |reference: &&Reference| {
            is_of(reference, object)
                && reference.way != Way::Unmounted
                && reference.why != Why::EmptySubPath
                && !is_added(reference)
        };
        let live = references::live_mounts(references.iter().filter(of_object));
        for reference in references.iter().filter(of_object) {
            // Of an object of which any key may differ, the container is told.
            if difference == Difference::Any && reference.is_left_out_of(&live) {
                continue;
            }
            let is_live = match reference.effect {
                Effect::Signal(_) | Effect::Http(_) | Effect::Itself => true,
                Effect::Roll | Effect::Restart | Effect::Never => false,
            };
            // The files of an object that is gone stay as they are.
            let differs = match difference {
                Difference::Nothing => false,
                Difference::Gone => !is_live,
                Difference::Any => true,
                Difference::Keys(keys) => keys.iter().any(|key| has(reference, key, relaxed_names)),
            };
            uses.any = true;
            uses.any_frozen |= !is_live;
            uses.are_live |= is_live && differs;
            uses.are_frozen |= !is_live && differs;
        }
        uses
    }
}

/// Whether it is a use of this object.
fn is_of(reference: &Reference, object: &Object<'_>) -> bool {
    let of = match &reference.subject {
        references::Subject::Object(kind, _) => ObjectType::from(*kind),
        references::Subject::Class(_) => ObjectType::SecretProviderClass,
        references::Subject::Driver(_) => return false,
    };
    of == object.of && **reference.subject.name() == *object.name
}

/// Whether somebody has added the container to a running pod: no template has it, and a roll takes it away.
fn is_added(reference: &Reference) -> bool {
    reference.role == Some(ContainerKind::Ephemeral)
}

/// Whether a container has this key by this reference.
pub(crate) fn has(reference: &Reference, key: &Key<'_>, relaxed_names: bool) -> bool {
    let keys = reference.part.keys();
    let is_named = keys.is_empty() || keys.iter().any(|known| ***known == *key.name);
    is_named
        && !reference.part.hides(key.name)
        && match reference.way {
            Way::Directory | Way::Projected | Way::Csi | Way::SubPath => true,
            Way::Variable | Way::Arguments => !key.is_binary,
            Way::Variables => {
                let variable = format!("{}{}", reference.part.prefix(), key.name);
                !key.is_binary && is_variable(&variable, relaxed_names)
            }
            Way::Unmounted => false,
        }
}

fn wish(
    candidate: &Candidate<'_>,
    object: &Object<'_>,
    difference: Difference<'_>,
    uses: Uses,
    options: &Options<'_>,
) -> Wish {
    if difference == Difference::Nothing {
        return Wish::Nothing(Idle::Same);
    }
    if are_apart(candidate, object) {
        return Wish::Nothing(Idle::Apart);
    }
    if object.is_ignored {
        return Wish::Nothing(Idle::Refused);
    }
    if !options.scope.takes(object) {
        return Wish::Nothing(Idle::OutOfScope);
    }
    let decision = match options.annotations {
        true => candidate.asking.decide(object.of, object.name, object.marks, Rules::Ours),
        false => Decision::Unasked,
    };
    let needs_roll = match decision {
        Decision::Ignored | Decision::Excluded => return Wish::Nothing(Idle::Refused),
        Decision::Unasked if candidate.rolls => uses.are_frozen,
        // Whoever has the pods told learns what can't be told to them.
        Decision::Unasked if uses.are_frozen && candidate.spec.asks() => return Wish::Tell(Telling::Frozen),
        Decision::Unasked => return Wish::Nothing(Idle::Unasked),
        Decision::Named => uses.any_frozen || !uses.any,
        Decision::Searched | Decision::Automatic => uses.are_frozen,
    };
    // Of a template that is elsewhere it isn't known what its containers use.
    if !needs_roll && candidate.form != (Form::Rollout { has_template: false }) {
        return Wish::Nothing(match uses {
            Uses { are_live: true, .. } => Idle::Told,
            Uses { any: true, .. } => Idle::OtherKeys,
            Uses { .. } => Idle::Unused,
        });
    }
    if object.of == ObjectType::SecretProviderClass {
        return Wish::Nothing(Idle::Class);
    }
    match difference {
        Difference::Gone => Wish::Tell(Telling::Gone),
        Difference::Nothing | Difference::Keys(_) | Difference::Any if object.is_immutable => {
            Wish::Tell(Telling::Immutable)
        }
        Difference::Nothing | Difference::Keys(_) | Difference::Any => Wish::Roll,
    }
}

/// What becomes of a roll that is asked for.
fn roll(candidate: &Candidate<'_>, pods: Pods, options: &Options<'_>) -> Rest {
    let partition = match candidate.form {
        Form::CronJob => return Rest::Nothing(Idle::NextRun),
        Form::Job { .. } => return Rest::Nothing(Idle::RunsOnce),
        Form::Resting(Resting::Empty) => return Rest::Nothing(Idle::NoPods),
        Form::Resting(Resting::Paused) => return Rest::Tell(Telling::Paused),
        Form::Owned | Form::PodTemplate | Form::DeploymentConfig => return Rest::Nothing(Idle::Kind),
        Form::Rollout { .. } if !options.rollouts => return Rest::Nothing(Idle::Kind),
        Form::Rollout { .. } => return Rest::Tell(Telling::Rollout),
        Form::Pod | Form::ReplicaSet | Form::ReplicationController => {
            return Rest::Tell(Telling::NoTemplate);
        }
        Form::StatefulSet(Update::OnDelete) | Form::DaemonSet { on_delete: true } => {
            return Rest::Tell(Telling::OnDelete);
        }
        Form::StatefulSet(Update::Partition(partition)) if partition.keeps_all() => {
            return Rest::Tell(Telling::Partition);
        }
        Form::StatefulSet(Update::Partition(partition)) => Some(partition),
        Form::Deployment | Form::StatefulSet(Update::Rolling) | Form::DaemonSet { on_delete: false } => None,
    };
    match pods {
        Pods { have_baseline: false, are_stale: true, .. } => Rest::Tell(Telling::Baseline),
        Pods { have_baseline: false, are_stale: false, .. } => Rest::Nothing(Idle::Baseline),
        Pods { are_stale: false, .. } => Rest::Nothing(Idle::Fresh),
        Pods { are_rolled: true, .. } => Rest::Hold(Hold::Rolling),
        Pods { are_available: false, .. } => Rest::Hold(Hold::Unavailable),
        Pods { can_be_disrupted: false, .. } => Rest::Hold(Hold::Budget),
        Pods { .. } => {
            let debounce = options.annotations.then(|| debounce(candidate)).flatten();
            Rest::Roll { debounce, partition }
        }
    }
}

/// How long changes are gathered: Reloader's pause means that, for workloads of each kind, on the workload or its template.
fn debounce(candidate: &Candidate<'_>) -> Option<Duration> {
    let [own, of_template] = [candidate.asking.workload, candidate.asking.template];
    text(own, PAUSE_PERIOD).or_else(|| text(of_template, PAUSE_PERIOD)).and_then(go_duration)
}

impl Course {
    /// Whether something asks for it, so that it is worth a sentence also where nothing is done.
    pub const fn is_worth_telling(self) -> bool {
        !matches!(
            self.rest,
            Rest::Nothing(
                Idle::Same | Idle::Unasked | Idle::Refused | Idle::OutOfScope | Idle::Apart | Idle::Unused
            ) | Rest::Tell(Telling::Frozen)
        )
    }
}

impl fmt::Display for Rest {
    /// What stands behind `reloadlet`. Whether a controller is installed isn't known: so what is more than nothing is what it would do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(idle) => write!(f, "does nothing, {idle}"),
            Self::Tell(telling @ (Telling::NoTemplate | Telling::Rollout)) => write!(
                f,
                "would leave it, {}, and with reloadlet.io/rollout on the pods its agents would say what they don't get",
                telling.as_str()
            ),
            Self::Tell(telling) => write!(f, "would say that its pods are stale, {telling}"),
            Self::Hold(hold) => write!(f, "would roll it, and {hold}"),
            Self::Roll { debounce, partition } => {
                match partition {
                    None => f.write_str("would roll it")?,
                    Some(partition) => write!(
                        f,
                        "would roll its pods from ordinal {} on, and say that the others are stale (partition)",
                        partition.from
                    )?,
                }
                match debounce {
                    None => Ok(()),
                    Some(debounce) => write!(f, " once no change has come for {}s", debounce.as_secs_f64()),
                }
            }
        }
    }
}
