//! The rows of `table.tsv`, each cell read by one who knows every word of it.

use std::collections::BTreeSet;

use super::specs::spec;
use super::*;
use crate::model::pod::PodSpec;
use crate::policy::annotations::SIGNAL;

/// One row.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) kind: &'static str,
    pub(super) workload: Annotations,
    pub(super) template: Annotations,
    pub(super) object: &'static str,
    pub(super) marks: &'static str,
    pub(super) consumer: &'static str,
    pub(super) change: &'static str,
    pub(super) flags: &'static str,
    pub(super) reloader: &'static str,
    pub(super) ours: &'static str,
}

pub(super) fn rows() -> Vec<Row> {
    let mut lines = include_str!("../table.tsv").lines();
    let header = "id\tarea\tkind\tworkload_annotations\ttemplate_annotations\tobject\tobject_annotations\tconsumer\tchange\tflags\t\
                  reloader_1_4_21\treloadlet_proposed";
    assert_eq!(lines.next(), Some(header));
    let all = lines.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, _area, kind, workload, template, object, marks, consumer, change, flags, reloader, ours] =
            columns[..]
        else {
            panic!("{line}")
        };
        let (workload, template) = (annotations(workload), annotations(template));
        Row { id, kind, workload, template, object, marks, consumer, change, flags, reloader, ours }
    });
    all.collect()
}

/// Annotations as a cell has them.
pub(super) fn annotations(cell: &str) -> Annotations {
    if cell.is_empty() || cell == "(annotation set on running pods only)" {
        return Annotations::new();
    }
    let each = cell.split("; ").map(|one| {
        let (key, value) = one.split_once('=').unwrap_or_else(|| panic!("{cell}"));
        let value = value.replace("(empty)", "").replace("(space)", " ");
        assert!(key.trim() == key && is_relevant(key), "{key}");
        (key.to_owned(), AnnotationValue::Text(value))
    });
    each.collect()
}

/// An object of a row.
#[derive(Clone, Copy)]
pub(super) struct Thing {
    pub(super) of: ObjectType,
    pub(super) name: &'static str,
    pub(super) namespace: &'static str,
    pub(super) is_immutable: bool,
}

/// The namespace of each row's workload.
pub(super) const HOME: &str = "one";

impl Row {
    pub(super) fn form(&self) -> Form {
        match self.kind {
            "Deployment"
            | "Deployment in mid roll-out"
            | "Deployment not available (CrashLoopBackOff)"
            | "Deployment, all pods pending"
            | "Deployment with PDB disruptionsAllowed=0" => Form::Deployment,
            "StatefulSet" => Form::StatefulSet(Update::Rolling),
            "StatefulSet partition=2 replicas=3" => {
                Form::StatefulSet(Update::Partition(Partition { from: 2, first: 0, replicas: Some(3) }))
            }
            "DaemonSet" => Form::DaemonSet { on_delete: false },
            "DaemonSet updateStrategy=OnDelete" => Form::DaemonSet { on_delete: true },
            "argoproj Rollout" => Form::Rollout { has_template: true },
            "argoproj Rollout with workloadRef" => Form::Rollout { has_template: false },
            "DeploymentConfig" => Form::DeploymentConfig,
            "CronJob" => Form::CronJob,
            "Job" => Form::Job { is_complete: false },
            "Job (completed)" => Form::Job { is_complete: true },
            "Pod (bare)" => Form::Pod,
            "ReplicaSet (no Deployment)" => Form::ReplicaSet,
            other => panic!("{}: a kind that no test knows: {other}", self.id),
        }
    }

    /// The objects of the row, in the order in which they change.
    pub(super) fn things(&self) -> Vec<Thing> {
        let is_other =
            matches!(self.change, "update the other ConfigMap" | "update the other, not excluded ConfigMap");
        let each = self.object.split(" + ").map(|one| {
            let (one, namespace) = match one.strip_suffix(" in another namespace") {
                Some(one) => (one, "two"),
                None => (one, HOME),
            };
            let (one, is_immutable) = match one.strip_suffix(" immutable") {
                Some(one) => (one, true),
                None => (one, false),
            };
            let (of, name) = match one.split_once('/').unwrap_or_else(|| panic!("{one}")) {
                ("ConfigMap", _) if is_other => (ObjectType::ConfigMap, "other"),
                ("ConfigMap", name) => (ObjectType::ConfigMap, name),
                ("Secret", name) => (ObjectType::Secret, name),
                ("SecretProviderClass", name) => (ObjectType::SecretProviderClass, name),
                (other, _) => panic!("{}: a type that no test knows: {other}", self.id),
            };
            assert!(is_subdomain(name), "{}: {name}", self.id);
            Thing { of, name, namespace, is_immutable }
        });
        each.collect()
    }

    pub(super) fn marks(&self) -> Annotations {
        match self.marks {
            "(label reload=yes)" => Annotations::new(),
            cell => annotations(cell),
        }
    }

    /// Whether the selectors take the object.
    pub(super) fn is_selected(&self) -> bool {
        match self.flags {
            "--resource-label-selector=reload=yes" => self.marks == "(label reload=yes)",
            "--namespace-selector=env=prod, namespace not labelled" => false,
            _ => true,
        }
    }

    /// The pods, which don't exist of a Rollout without a template.
    pub(super) fn spec(&self) -> PodSpec {
        if self.form() == (Form::Rollout { has_template: false }) {
            return PodSpec::default();
        }
        let thing = self.things().remove(0);
        let kind = match thing.of {
            ObjectType::ConfigMap | ObjectType::SecretProviderClass => ObjectKind::ConfigMap,
            ObjectType::Secret => ObjectKind::Secret,
        };
        let mut spec = spec(self.consumer, kind, thing.name);
        let is_told = matches!(
            self.consumer,
            "volume configMap, directory mount; template reloadlet.io/signal=HUP"
                | "container 1 directory mount + signal; container 2 envFrom"
        );
        if is_told {
            spec.annotations.insert(SIGNAL.to_owned(), AnnotationValue::Text("HUP".to_owned()));
        }
        spec
    }

    pub(super) fn installation(&self) -> Installation {
        let default = Installation::default();
        let namespaces = |name: &str| BTreeSet::from([Name::from(name)]);
        match self.flags {
            // These say something of the selected labels, of what happens, or of reloadlet.
            ""
            | "--namespace-selector=env=prod, namespace labelled so"
            | "--namespace-selector=env=prod, namespace not labelled"
            | "--resource-label-selector=reload=yes"
            | "--enable-ha=true"
            | "reloadlet without --reloader-annotations"
            | "reloadlet only" => default,
            "--is-Argo-Rollouts=true" => Installation { rollouts: true, ..default },
            "--ignored-workload-types=cronjobs" => Installation { without_cron_jobs: true, ..default },
            "--ignored-workload-types=jobs" => Installation { without_jobs: true, ..default },
            "--enable-csi-integration" => Installation { classes: true, ..default },
            "--auto-reload-all=true" => Installation { auto_reload_all: true, ..default },
            "--reload-on-create=true" => Installation { on_create: true, ..default },
            "--reload-on-delete=true --reload-strategy=annotations" => {
                Installation { on_delete: true, strategy: Strategy::Annotations, ..default }
            }
            "--reload-on-create --sync-after-restart" => {
                Installation { on_create: true, sync_after_restart: true, ..default }
            }
            "--resources-to-ignore=secrets" => {
                let without = BTreeSet::from([ObjectType::Secret]);
                Installation { scope: Scope { without, ..Scope::default() }, ..default }
            }
            "--namespaces-to-ignore=<its namespace>" => {
                let without_namespaces = namespaces(HOME);
                Installation { scope: Scope { without_namespaces, ..Scope::default() }, ..default }
            }
            "--namespaces=<its namespace>" => {
                let namespaces = namespaces(HOME);
                Installation { scope: Scope { namespaces, ..Scope::default() }, ..default }
            }
            "--namespaces=<another namespace>" => {
                let namespaces = namespaces("two");
                Installation { scope: Scope { namespaces, ..Scope::default() }, ..default }
            }
            other => panic!("{}: flags that no test knows: {other}", self.id),
        }
    }
}
