//! Workloads as a watch shows them.

use std::time::Duration;

use reloadlet_core::model::names::FilePath;
use reloadlet_core::model::pod::{
    AnnotationValue, Container, EnvironmentSource, ObjectSource, PodSpec, Volume, VolumeMount, VolumeSource,
};
use reloadlet_core::policy::reloader::{Form, Resting, Update};
use reloadlet_core::rollouts::workload::{Progress, Workload};

use crate::cluster::{Deployed, Used, number};

impl Deployed {
    /// As a watch shows it: with what its status said when it was written last.
    pub(crate) fn shown(&self) -> Workload {
        let environment = self.uses.iter().map(|(kind, name, key)| EnvironmentSource {
            optional: self.is_optional,
            ..EnvironmentSource::new(*kind, name.clone(), key.clone())
        });
        let mount = |(_, name, key): &Used| VolumeMount {
            volume: name.clone(),
            sub_path: key.clone().map(FilePath::from),
        };
        let volume = |(_, name, _): &Used| Volume {
            name: name.clone(),
            source: VolumeSource::ConfigMap(ObjectSource { name: name.clone(), ..ObjectSource::default() }),
            csi: None,
        };
        let files: &[Used] = if self.has_files { &self.uses } else { &[] };
        let container = Container {
            name: "app".into(),
            environment: environment.filter(|_| !self.has_files).collect(),
            mounts: files.iter().map(mount).collect(),
            ..Container::default()
        };
        let text = |text: &str| AnnotationValue::Text(text.to_owned());
        let mut own = vec![("reloadlet.io/wave", text(&self.wave.to_string()))];
        let rollout = ("reloadlet.io/rollout".to_owned(), text(self.manner));
        let of_pods = (self.manner != "true").then_some(rollout);
        own.extend(self.asks_itself.then(|| ("reloadlet.io/rollout", text(self.manner))));
        Workload {
            uid: number(self.uid),
            version: number(self.version),
            generation: self.generation,
            form: match (self.replicas, self.is_paused) {
                _ if self.is_stateful => Form::StatefulSet(Update::Rolling),
                (0, _) => Form::Resting(Resting::Empty),
                (_, true) => Form::Resting(Resting::Paused),
                (_, false) => Form::Deployment,
            },
            own: own
                .into_iter()
                .chain(self.asks.iter().map(|(key, value)| (*key, text(value))))
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            of_template: (self.ballast > 0)
                .then(|| ("reloader.stakater.com/ballast".to_owned(), text(&"x".repeat(self.ballast))))
                .into_iter()
                .collect(),
            spec: PodSpec {
                containers: vec![container],
                annotations: of_pods.into_iter().collect(),
                volumes: files.iter().map(volume).collect(),
                ..PodSpec::default()
            },
            min_ready: Duration::ZERO,
            is_empty: self.replicas == 0,
            marker: self.template.marker.clone(),
            progress: if self.observed < self.generation { Progress::Rolling } else { self.status },
        }
    }
}
