//! Whether a workload uses an object, as Reloader sees it (`getContainerUsingResource` in `internal/pkg/handler/upgrade.go`).

use crate::model::names::Name;
use crate::model::pod::{Container, ContainerKind, PodSpec, Volume};
use crate::policy::reloader::ObjectType;

/// The container that Reloader takes for the one that uses an object: the first that mounts the first volume with it, or else the
/// first whose environment has it. For an init container, which a native sidecar is to it, the first regular one stands. `None`: the
/// workload doesn't use it. Optional objects, single keys and `subPath` are as any use; a volume that nobody mounts is none,
/// nor are ephemeral containers and what else names a Secret.
pub fn consumer<'a>(spec: &'a PodSpec, of: ObjectType, name: &str) -> Option<&'a Name> {
    let has = |volume: &&Volume| {
        let class = volume.csi.as_ref().and_then(|csi| csi.class.as_deref());
        (of == ObjectType::SecretProviderClass && class == Some(name))
            || volume
                .source
                .objects()
                .any(|(kind, source)| ObjectType::from(kind) == of && *source.name == *name)
    };
    let volume = spec.volumes.iter().find(has).map(|volume| &volume.name);
    let mounts = |container: &Container| container.mounts.iter().any(|mount| Some(&mount.volume) == volume);
    let reads = |container: &Container| {
        container
            .environment
            .iter()
            .any(|source| ObjectType::from(source.kind) == of && *source.name == *name)
    };
    first(spec, mounts).or_else(|| first(spec, reads))
}

fn first(spec: &PodSpec, uses: impl Fn(&Container) -> bool) -> Option<&Name> {
    let is_regular = |container: &&Container| container.kind == ContainerKind::Regular;
    // No template has an ephemeral one.
    let is_in_template = |container: &&Container| container.kind != ContainerKind::Ephemeral;
    let mut regular = spec.containers.iter().filter(is_regular);
    let found = regular.clone().find(|container| uses(container));
    let found = found.or_else(|| {
        spec.containers.iter().filter(is_in_template).any(uses).then(|| regular.next()).flatten()
    });
    found.map(|container| &container.name)
}
