//! How large a pod may be: whoever writes pods doesn't decide how much memory the agent takes, and how long others wait.

use crate::model::excess::{Excess, Part};
use crate::model::pod::{Container, Pod, PodSpec, ProjectedSource, Volume, VolumeSource};
use crate::policy::annotations::KEYS;
use crate::policy::problem::{Problem, ProblemKind};

impl Excess {
    /// The problem that people are told.
    pub fn problem(self) -> Problem {
        let kind = match self {
            Self::Many(_) | Self::Bytes => ProblemKind::TooLarge,
            Self::Node => ProblemKind::NoRoom,
        };
        Problem::new(kind, self.to_string())
    }

    /// What is too many of a pod's parts.
    pub fn of(containers: &[Container], volumes: &[Volume]) -> Option<Self> {
        let mounts = containers.iter().map(|container| container.mounts.len()).sum();
        let environment = containers.iter().map(|container| container.environment.len()).sum();
        let found = [
            (Part::Containers, containers.len()),
            (Part::Volumes, volumes.len()),
            (Part::Mounts, mounts),
            (Part::Environment, environment),
            (Part::Items, volumes.iter().map(items).sum()),
        ];
        found.into_iter().find(|(part, found)| *found > part.most()).map(|(part, _)| Self::Many(part))
    }
}

/// How many sources and items a volume has.
fn items(volume: &Volume) -> usize {
    match &volume.source {
        VolumeSource::ConfigMap(source) | VolumeSource::Secret(source) => source.items.len(),
        VolumeSource::Projected(sources) => {
            let items = sources.iter().map(|source| match source {
                ProjectedSource::ConfigMap(source) | ProjectedSource::Secret(source) => source.items.len(),
                ProjectedSource::Rotating { paths } => paths.len(),
            });
            sources.len() + items.sum::<usize>()
        }
        VolumeSource::DownwardApi | VolumeSource::Other => 0,
    }
}

impl Pod {
    /// What is kept of a pod that isn't followed.
    pub fn left_out(&self, excess: Excess) -> Self {
        Self {
            uid: self.uid.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            spec: PodSpec::left_out(excess),
            status: Default::default(),
            phases: Default::default(),
            addresses: Vec::new(),
            replica: None,
            given: None,
            unrolled: false,
            terminating: self.terminating,
        }
    }
}

impl PodSpec {
    /// What is kept of the spec of a pod that isn't followed.
    pub fn left_out(excess: Excess) -> Self {
        Self { excess: Some(excess), ..Self::default() }
    }

    /// About how much memory a pod with this spec takes, with all that is kept for it while it is followed, in bytes:
    /// what was measured, rounded up.
    pub fn cost(&self) -> usize {
        const POD: usize = 1024;
        const ASKS: usize = 4096;
        const VOLUME: usize = 4096;
        const CONTAINER: usize = 512;
        const MOUNT: usize = 512;
        const REFERENCE: usize = 512;
        const PORT: usize = 96;
        const WORD: usize = 48;
        const ITEM: usize = 256;
        // A table is made of globs.
        const GLOBS: usize = 48;
        let text = self.annotations.iter().map(|(key, value)| {
            let times = if key == KEYS { GLOBS } else { 1 };
            96 + key.len() + times * value.len()
        });
        let text: usize = text.sum();
        let containers = self.containers.iter().map(|container| {
            let paths = container.mounts.iter().filter_map(|mount| mount.sub_path.as_ref());
            let ports = container.ports.iter().filter_map(|port| Some(port.name.as_ref()?.len()));
            let mounted = container.mounts.iter().map(|mount| mount.volume.len());
            let names = container
                .environment
                .iter()
                .chain(&container.arguments)
                .flat_map(|source| [Some(&source.name), source.key.as_ref(), source.prefix.as_ref()])
                .flatten()
                .map(|name| name.len());
            let words = container.variables.iter().chain(&container.command);
            let words = words.map(|word| WORD + word.len()).sum::<usize>();
            let text =
                paths.map(|path| path.as_str().len()).chain(names).chain(ports).chain(mounted).sum::<usize>();
            let parts = container.mounts.len() * MOUNT
                + (container.environment.len() + container.arguments.len()) * REFERENCE;
            CONTAINER + parts + container.ports.len() * PORT + words + text
        });
        let volumes = self.volumes.iter().map(|volume| VOLUME + items(volume) * ITEM + text_of(volume));
        let asks = if self.containers.is_empty() { 0 } else { ASKS };
        let runtime = self.runtime_class.as_ref().map_or(0, |class| class.len());
        POD + asks + text + runtime + containers.sum::<usize>() + volumes.sum::<usize>()
    }
}

/// How long the names and paths of a volume are; some of them are kept more than once.
fn text_of(volume: &Volume) -> usize {
    let driver = volume.csi.iter().flat_map(|csi| [Some(&csi.driver), csi.class.as_ref()]);
    driver.flatten().map(|name| name.len()).sum::<usize>() + text_of_source(volume)
}

fn text_of_source(volume: &Volume) -> usize {
    let of_object = |source: &crate::model::pod::ObjectSource| {
        let items = source.items.iter().map(|item| item.key.len() + 2 * item.path.as_str().len());
        source.name.len() + items.sum::<usize>()
    };
    match &volume.source {
        VolumeSource::ConfigMap(source) | VolumeSource::Secret(source) => of_object(source),
        VolumeSource::Projected(sources) => {
            let each = sources.iter().map(|source| match source {
                ProjectedSource::ConfigMap(source) | ProjectedSource::Secret(source) => of_object(source),
                ProjectedSource::Rotating { paths } => paths.iter().map(|path| 2 * path.as_str().len()).sum(),
            });
            each.sum()
        }
        VolumeSource::DownwardApi | VolumeSource::Other => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pod::{ContainerKind, Item, ObjectSource, VolumeMount};

    fn volume(items: usize) -> Volume {
        let item = |_| Item { key: "k".into(), path: "p".into() };
        let items = (0..items).map(item).collect();
        let source = ObjectSource { name: "a".into(), items, optional: false };
        Volume { name: "v".into(), source: VolumeSource::ConfigMap(source), csi: None }
    }

    fn container(mounts: usize) -> Container {
        let mount = VolumeMount { volume: "v".into(), sub_path: None };
        let mounts = vec![mount; mounts];
        Container {
            name: "c".into(),
            kind: ContainerKind::Regular,
            mounts,
            environment: Vec::new(),
            ..Container::default()
        }
    }

    #[test]
    fn a_pod_at_each_limit_is_followed_and_one_beyond_it_says_which() {
        let containers: Vec<Container> = (0..128).map(|_| container(8)).collect();
        let volumes: Vec<Volume> = (0..256).map(|_| volume(8)).collect();
        assert_eq!(Excess::of(&containers, &volumes), None);
        for (containers, volumes, part) in [
            (vec![container(0); 129], vec![], Part::Containers),
            (vec![], vec![volume(0); 257], Part::Volumes),
            (vec![container(513), container(512)], vec![], Part::Mounts),
            (vec![], vec![volume(2049)], Part::Items),
        ] {
            assert_eq!(Excess::of(&containers, &volumes), Some(Excess::Many(part)));
        }
    }

    #[test]
    fn a_problem_says_what_and_how_much_is_allowed_and_fits_into_an_event() {
        let problem = Excess::Many(Part::Volumes).problem();
        let sentence = "the pod has more than 256 volumes, and a pod with so many isn't followed";
        assert_eq!(problem.sentence, sentence);
        assert_eq!(problem.kind, ProblemKind::TooLarge);
        assert!(Excess::Bytes.problem().sentence.contains("512 KiB"));
        assert_eq!(Excess::Node.problem().kind, ProblemKind::NoRoom);
        assert!([Excess::Bytes, Excess::Node].iter().all(|excess| excess.to_string().len() < 1024));
    }
}
