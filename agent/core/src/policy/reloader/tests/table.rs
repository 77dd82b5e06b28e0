//! Every row of `table.tsv`, for both.

use std::time::Duration;

use super::row::{HOME, Row, Thing};
use super::*;
use crate::model::pod::PodSpec;
use crate::policy::annotations::SIGNAL;
use crate::policy::references::{Known, References, references};

/// What happens in a row.
struct Story {
    /// What Reloader sees, in order: of which object, and what its variable says by then.
    events: Vec<(usize, Event, Variable)>,
    /// How often the workload is rolled by whoever changes its template.
    upgrades: usize,
    /// What differs then, of which objects; several times where reloadlet looks several times.
    differences: Vec<Vec<(usize, Difference<'static>)>>,
    pods: Pods,
}

const fn key(name: &'static str) -> Key<'static> {
    Key { name, is_binary: false }
}

const A: Difference<'static> = Difference::Keys(&[key("a")]);

/// What a row says that happens, and to whom.
fn story(row: &Row) -> Story {
    let mut pods = match row.kind {
        "Deployment in mid roll-out" => Pods { are_rolled: true, ..Pods::default() },
        "Deployment not available (CrashLoopBackOff)" => Pods { are_available: false, ..Pods::default() },
        // None has started.
        "Deployment, all pods pending" => Pods { are_stale: false, are_available: false, ..Pods::default() },
        "Deployment with PDB disruptionsAllowed=0" => Pods { can_be_disrupted: false, ..Pods::default() },
        // [`Row::form`] knows the others.
        _ => Pods::default(),
    };
    let new = Variable::Missing;
    let changed = vec![(0, Event::Changed, new)];
    let mut upgrades = 0;
    let (events, differences) = match row.change {
        "update data key a" | "update data key a in namespace two" => (changed, vec![vec![(0, A)]]),
        "update data"
        | "update the other ConfigMap"
        | "update the other, not excluded ConfigMap"
        | "SecretProviderClassPodStatus: a version changes" => (changed, vec![vec![(0, Difference::Any)]]),
        "update data key b (not consumed)" | "update data key b (not in items)" => {
            (changed, vec![vec![(0, Difference::Keys(const { &[key("b")] }))]])
        }
        "add data key z (not consumed)" => {
            (changed, vec![vec![(0, Difference::Keys(const { &[key("z")] }))]])
        }
        "add data key with a name that is no env name ('a b')" => {
            (changed, vec![vec![(0, Difference::Keys(const { &[key("a b")] }))]])
        }
        "update binaryData key" => {
            let binary = const { &[Key { name: "b", is_binary: true }] };
            (changed, vec![vec![(0, Difference::Keys(binary))]])
        }
        "Secret type-preserving rotation of tls.crt/tls.key (cert-manager)" => {
            let both = const { &[key("tls.crt"), key("tls.key")] };
            (changed, vec![vec![(0, Difference::Keys(both))]])
        }
        "labels or annotations of the ConfigMap only"
        | "labels only"
        | "SecretProviderClassPodStatus: labels only"
        | "the same data is written again"
        | "immutable: true is set, data unchanged" => {
            (vec![(0, Event::Written, new)], vec![vec![(0, Difference::Nothing)]])
        }
        "data A -> B -> A within 2 s" => {
            let back = (0, Event::Changed, Variable::Older);
            ([changed, vec![back]].concat(), vec![vec![(0, Difference::Nothing)]])
        }
        "delete" => (vec![(0, Event::Deleted, new)], vec![vec![(0, Difference::Gone)]]),
        "delete, create again with the same content" => {
            (vec![(0, Event::Deleted, new), (0, Event::Created, new)], vec![vec![(0, Difference::Nothing)]])
        }
        "delete, create again with other content"
        | "immutable object deleted and created again with other content" => {
            (vec![(0, Event::Deleted, new), (0, Event::Created, new)], vec![vec![(0, A)]])
        }
        "an optional object is created later" => {
            (vec![(0, Event::Created, new)], vec![vec![(0, Difference::Any)]])
        }
        "a required object is created later" => {
            // No container has started without it.
            pods.are_stale = false;
            (vec![(0, Event::Created, new)], vec![vec![(0, Difference::Any)]])
        }
        "ConfigMap and Secret of one workload change at once" => (
            [changed, vec![(1, Event::Changed, new)]].concat(),
            vec![vec![(0, Difference::Any), (1, Difference::Any)]],
        ),
        "update ConfigMap a-b, then a.b" => (
            // Both have one variable, which is that of the other content by then.
            [changed, vec![(1, Event::Changed, Variable::Older)]].concat(),
            vec![vec![(0, Difference::Any)], vec![(1, Difference::Any)]],
        ),
        "helm upgrade changes the template (checksum annotation) and the ConfigMap" => {
            (upgrades, pods.are_stale) = (1, false);
            (changed, vec![vec![(0, A)]])
        }
        "update data key a, Reloader still installed" => {
            // It has rolled the workload by then.
            pods.are_stale = false;
            (changed, vec![vec![(0, A)]])
        }
        "kubectl rollout undo after a roll" => (vec![], vec![vec![]]),
        "first installation, nothing changes" => {
            pods.have_baseline = false;
            (vec![(0, Event::Listed, new)], vec![vec![(0, Difference::Nothing)]])
        }
        "controller restarts, nothing changed" => {
            (vec![(0, Event::Listed, Variable::Current)], vec![vec![(0, Difference::Nothing)]])
        }
        "object changes while leadership moves" => {
            (vec![(0, Event::Listed, Variable::Older)], vec![vec![(0, A)]])
        }
        "annotation added to a running workload after the object changed" => {
            pods.have_baseline = false;
            (vec![], vec![vec![(0, A)]])
        }
        "reloadlet uninstalled, then installed again; content changed between" => {
            pods.have_baseline = false;
            (changed, vec![vec![(0, A)]])
        }
        other => panic!("{}: a change that no test knows: {other}", row.id),
    };
    Story { events, upgrades, differences, pods }
}

fn object<'a>(row: &Row, thing: &Thing, namespace: &'a Name) -> Object<'a> {
    Object {
        of: thing.of,
        namespace: Some(namespace),
        name: thing.name,
        marks: Marks::of(&row.marks()),
        is_immutable: thing.is_immutable,
        is_ignored: false,
        is_selected: row.is_selected(),
    }
}

/// What is said of the row by one of the two: `f` is given the workload, its objects, and what happens.
fn asked<T>(row: &Row, spec: &PodSpec, f: impl FnOnce(&Candidate<'_>, &[Object<'_>], Story) -> T) -> T {
    let home = Name::from(HOME);
    let things = row.things();
    let namespaces: Vec<Name> = things.iter().map(|thing| thing.namespace.into()).collect();
    let objects: Vec<Object<'_>> =
        things.iter().zip(&namespaces).map(|(thing, namespace)| object(row, thing, namespace)).collect();
    let asking = Asking::new(&row.workload, &row.template);
    let candidate =
        Candidate { form: row.form(), namespace: Some(&home), asking: &asking, spec, rolls: false };
    f(&candidate, &objects, story(row))
}

/// What Reloader has done at the end of a row.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    Nothing,
    /// So many times, by whomever.
    Rolled(usize),
    WaitsForDeletion,
    RolledPartly {
        from: u32,
    },
    Paused,
    Failed,
    Restarted,
    StartedJob,
    Repeated {
        is_complete: bool,
    },
}

fn done(row: &Row) -> Done {
    let installation = row.installation();
    asked(row, &row.spec(), |candidate, objects, story| {
        let each = story.events.iter().map(|(index, event, variable)| {
            reaction(candidate, &objects[*index], *event, *variable, &installation)
        });
        let mut done = if story.upgrades > 0 { Done::Rolled(story.upgrades) } else { Done::Nothing };
        for reaction in each {
            done = match (reaction, done) {
                (Reaction::Nothing(_), done) => done,
                (Reaction::Rolls, Done::Nothing) => Done::Rolled(1),
                (Reaction::Rolls, Done::Rolled(times)) => Done::Rolled(times + 1),
                (Reaction::WaitsForDeletion, Done::Nothing) => Done::WaitsForDeletion,
                (Reaction::RollsPartly(partition), Done::Nothing) => {
                    Done::RolledPartly { from: partition.from }
                }
                (Reaction::Pauses("5m"), Done::Nothing) => Done::Paused,
                (Reaction::Fails("5 minutes"), Done::Nothing) => Done::Failed,
                (Reaction::Restarts, Done::Nothing) => Done::Restarted,
                (Reaction::StartsJob, Done::Nothing) => Done::StartedJob,
                (Reaction::Repeats { is_complete }, Done::Nothing) => Done::Repeated { is_complete },
                (reaction, done) => panic!("{}: {reaction:?} after {done:?}", row.id),
            };
        }
        done
    })
}

/// What the table says that Reloader has done; `None` where it isn't there.
fn expected_of_reloader(row: &Row) -> Option<Done> {
    Some(match row.reloader {
        "none"
        | "none ('a{1' and '3}' are two items)"
        | "none (env var equal)"
        | "none (missed) if the new leader lists after the change"
        | "none (no container found)"
        | "none (not seen: its pod template is not in the Rollout)"
        | "none (only the first volume is looked at)"
        | "none (support removed 2025-06)"
        | "roll back keeps; nothing more" => Done::Nothing,
        "roll"
        | "patched"
        | "patched during the running roll-out: a second roll-out starts"
        | "roll (needless)"
        | "roll (sha of nothing)"
        | "roll in spite of the PDB (rollouts do not consult it)"
        | "roll of every matched workload once"
        | "roll, env var on the first of them only"
        | "rolled at once"
        | "rolled at once, warning"
        | "template patched (more pods of a broken revision)" => Done::Rolled(1),
        "roll twice (env-vars) / twice (annotations)"
        | "roll, roll; both write STAKATER_A_B_CONFIGMAP"
        | "two rolls" => Done::Rolled(2),
        "template patched, no pod replaced" => Done::WaitsForDeletion,
        "template patched; only ordinals >= partition replaced" => Done::RolledPartly { from: 2 },
        "restartAt set, template unchanged" => Done::Restarted,
        "a Job is created at once" => Done::StartedJob,
        "Job deleted and created again: its work is run a second time" => {
            Done::Repeated { is_complete: true }
        }
        "paused first, then patched: pods are replaced when the period ends" => Done::Paused,
        "reload fails, retried 5 times, never rolled" => Done::Failed,
        "n/a" => return None,
        other => panic!("{}: an answer that no test knows: {other}", row.id),
    })
}

/// Rows whose answer of Reloader isn't what its sources say: the row names no annotation, and R127, which differs from it in nothing
/// that Reloader looks at, says that it does nothing then.
const NOT_SO: [&str; 1] = ["R197"];

#[test]
fn reloader_does_what_each_row_of_the_table_says() {
    let rows = rows();
    assert_eq!(rows.len(), 138);
    for row in &rows {
        let Some(expected) = expected_of_reloader(row) else { continue };
        let expected = if NOT_SO.contains(&row.id) { Done::Nothing } else { expected };
        assert_eq!(done(row), expected, "{}", row.id);
    }
    let without: Vec<&str> =
        rows.iter().filter(|row| expected_of_reloader(row).is_none()).map(|row| row.id).collect();
    assert_eq!(without, ["R169"], "there it is about reloadlet alone");
}

/// What a row leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum If {
    /// Nothing.
    Anyway,
    /// Kubelets take only usual names for variables.
    StrictNames,
    /// The pods ask to be told.
    Told,
    /// It isn't known that any pod is older than the change.
    StartsUnknown,
    /// Reloader's annotations count.
    Annotations,
}

/// What is to be done, each time that reloadlet looks.
fn courses(row: &Row, whether: If) -> Vec<Course> {
    let mut spec = row.spec();
    if whether == If::Told {
        spec.annotations.insert(SIGNAL.to_owned(), AnnotationValue::Text("HUP".to_owned()));
    }
    let References { all: references, .. } =
        references(&spec, &HOME.into(), Default::default(), |_, _| Known::default());
    let installation = row.installation();
    let options = Options {
        annotations: row.flags != "reloadlet without --reloader-annotations" || whether == If::Annotations,
        rollouts: installation.rollouts,
        relaxed_names: whether != If::StrictNames,
        scope: &installation.scope,
    };
    asked(row, &spec, |candidate, objects, story| {
        let are_stale = story.pods.are_stale && whether != If::StartsUnknown;
        let pods = Pods { are_stale, ..story.pods };
        let each = story.differences.iter().map(|differences| {
            let differences: Vec<_> =
                differences.iter().map(|(index, difference)| (objects[*index], *difference)).collect();
            course(candidate, &references, &differences, pods, &options)
        });
        each.collect()
    })
}

/// What the table says, of all that it leaves open.
fn expected_of_ours(row: &Row) -> Vec<(If, Vec<Course>)> {
    let only = |rest| vec![Course { tells: false, rest }];
    let roll = Rest::Roll { debounce: None, partition: None };
    let after_five = Rest::Roll { debounce: Some(Duration::from_secs(300)), partition: None };
    let partition = Some(Partition { from: 2, first: 0, replicas: Some(3) });
    let anyway = |rest| vec![(If::Anyway, only(rest))];
    let told = vec![Course { tells: true, rest: Rest::Nothing(Idle::Told) }];
    match row.ours {
        "none" | "none + annotation problem" | "none + check warning" => {
            let found = courses(row, If::Anyway);
            assert!(
                matches!(found[..], [Course { tells: false, rest: Rest::Nothing(_) }]),
                "{}: {found:?}",
                row.id
            );
            vec![]
        }
        "none (key-level)" => anyway(Rest::Nothing(Idle::OtherKeys)),
        "none (debounced: content equals the baseline)"
        | "nothing: the old ReplicaSet's pods read the new content as they start" => {
            anyway(Rest::Nothing(Idle::Same))
        }
        "none (no such switch proposed; document)" => anyway(Rest::Nothing(Idle::Unasked)),
        "none (not supported; documented)" => anyway(Rest::Nothing(Idle::Class)),
        "none more: pods are newer than the change" | "none needed: they read at start" => {
            anyway(Rest::Nothing(Idle::Fresh))
        }
        // The one roll is the upgrade's.
        "one roll (the new pods already hold it)" => anyway(Rest::Nothing(Idle::Fresh)),
        "none: the next run reads the new content" => anyway(Rest::Nothing(Idle::NextRun)),
        "none (baseline is taken; stale is reported)" => anyway(Rest::Tell(Telling::Baseline)),
        "none (annotation is not ours) unless --reloader-annotations" => {
            vec![(If::Anyway, only(Rest::Nothing(Idle::Unasked))), (If::Annotations, only(roll))]
        }
        "none for pods whose start is unknown to be older; else report" => vec![
            (If::StartsUnknown, only(Rest::Nothing(Idle::Baseline))),
            (If::Anyway, only(Rest::Tell(Telling::Baseline))),
        ],
        "none if the kubelet skips it, else roll" => {
            vec![(If::StrictNames, only(Rest::Nothing(Idle::OtherKeys))), (If::Anyway, only(roll))]
        }
        "roll"
        | "roll + annotation problem"
        | "roll + check warning"
        | "roll (env/subPath started without it)"
        | "roll (if consumed)"
        | "roll (no signal)"
        | "roll (one)"
        | "roll (whole object, every key)"
        | "one roll"
        | "annotation problem; roll with the default debounce" => anyway(roll),
        "roll, roll" => vec![(If::Anyway, [only(roll), only(roll)].concat())],
        "roll after that debounce; spec.paused is never touched"
        | "debounce applies to every kind"
        | "debounce + check warning" => anyway(after_five),
        "roll, and report the pods below the partition as stale" => {
            anyway(Rest::Roll { debounce: None, partition })
        }
        "roll or signal" => vec![(If::Anyway, only(roll)), (If::Told, told)],
        "signal, no roll" => vec![(If::Anyway, told)],
        "signal; stale env reported; no roll" => {
            vec![(If::Anyway, vec![Course { tells: true, rest: Rest::Tell(Telling::Frozen) }])]
        }
        "report" if row.change == "delete" => anyway(Rest::Tell(Telling::Gone)),
        "report" => anyway(Rest::Tell(Telling::NoTemplate)),
        "report only" => anyway(Rest::Tell(Telling::Rollout)),
        "report: waits for a person (OnDelete)" => anyway(Rest::Tell(Telling::OnDelete)),
        "report: the kubelet keeps the old content on nodes where a pod uses it (kubernetes 119733)" => {
            anyway(Rest::Tell(Telling::Immutable))
        }
        "waits for the running roll-out; then only if its pods are stale" => {
            anyway(Rest::Hold(Hold::Rolling))
        }
        "held; reported" => anyway(Rest::Hold(Hold::Unavailable)),
        "held while disruptionsAllowed=0" => anyway(Rest::Hold(Hold::Budget)),
        other => panic!("{}: an answer that no test knows: {other}", row.id),
    }
}

#[test]
fn reloadlet_is_to_do_what_each_row_of_the_table_says() {
    let rows = rows();
    assert_eq!(rows.len(), 138);
    for row in &rows {
        for (whether, expected) in expected_of_ours(row) {
            assert_eq!(courses(row, whether), expected, "{} {whether:?}", row.id);
        }
    }
}

#[test]
fn what_the_table_remarks_is_remarked_and_nothing_else() {
    // Of what these have the table says nothing where it doesn't decide.
    let besides = ["R080", "R084", "R112", "R113", "R132", "R179", "R194"];
    for row in rows() {
        let mut all = remarks(&Asking::new(&row.workload, &row.template), row.form());
        all.extend(remarks_of_object(&row.marks()));
        let is_expected = row.ours.contains("warning") || row.ours.contains("problem");
        assert_eq!(!all.is_empty(), is_expected || besides.contains(&row.id), "{}: {all:?}", row.id);
    }
}
