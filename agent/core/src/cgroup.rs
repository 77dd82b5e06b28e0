//! Cgroup paths: which pod and which container a path belongs to, whatever the driver, the runtime and the prefix.

use crate::pod::{ContainerId, PodUid};

/// What a cgroup path says about the process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The outermost `pod<uid>` part.
    pub pod: Option<PodUid>,
    /// The first container ID below it; anything deeper belongs to that container (crun, systemd inside).
    pub container: Option<ContainerId>,
    /// Whether the path leaves the reader's cgroup namespace: a container beside the agent in its own pod shows no
    /// pod part then.
    relative: bool,
}

impl Place {
    /// Reads a path as `/proc/<pid>/cgroup` or a walk of the hierarchy gives it.
    pub fn of(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        let relative = parts.peek() == Some(&"..");
        let mut pod = None;
        let mut container = None;
        for part in parts {
            if pod.is_none() && container.is_none() {
                pod = pod_part(part);
                if pod.is_some() {
                    continue;
                }
            }
            if container.is_none() && (pod.is_some() || relative) {
                container = container_part(part);
            }
        }
        Self { pod, container, relative }
    }

    /// Whether a process in this place is in that container of that pod.
    pub fn is_in(&self, pod: &PodUid, container: &ContainerId) -> bool {
        let pod_fits = match &self.pod {
            Some(found) => found == pod,
            None => self.relative,
        };
        pod_fits && self.container.as_ref() == Some(container)
    }
}

/// The pod that one path element stands for: `pod<uid>` (cgroupfs driver) or `…-pod<uid with underscores>.slice`
/// (systemd driver, kubelet `ToSystemd`).
pub fn pod_part(part: &str) -> Option<PodUid> {
    let stem = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match stem.strip_prefix("pod") {
        Some(uid) => uid,
        None => stem.rsplit_once("-pod")?.1,
    };
    PodUid::parse(&uid.replace('_', "-"))
}

/// The container that one path element stands for: `<id>`, `<runtime>-<id>` or `<runtime>-<id>.scope`. CRI-O's
/// `crio-conmon-<id>` is the monitor's, not the container's.
pub fn container_part(part: &str) -> Option<ContainerId> {
    let stem = part.strip_suffix(".scope").unwrap_or(part);
    let id = ["cri-containerd-", "crio-", "docker-"]
        .iter()
        .find_map(|runtime| stem.strip_prefix(runtime))
        .unwrap_or(stem);
    ContainerId::parse(id)
}

/// The path of one hierarchy in the text of `/proc/<pid>/cgroup`.
pub fn path_in(text: &str, hierarchy: Hierarchy) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let fits = match hierarchy {
            Hierarchy::Unified => id == "0" && controllers.is_empty(),
            Hierarchy::Systemd => controllers == "name=systemd",
            Hierarchy::Pids => controllers.split(',').any(|controller| controller == "pids"),
        };
        fits.then_some(path)
    })
}

/// The hierarchies that can hold every process of a pod, in the order in which they are tried on a hybrid host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// cgroup v2.
    Unified,
    /// The named hierarchy of systemd, v1.
    Systemd,
    /// The pids controller, v1.
    Pids,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "31bdb23b55ea453c06a3bb26c39e1bf25d45e05739b1a60b5b34dd0405844668";
    const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    fn uid() -> PodUid {
        PodUid::parse(UID).unwrap()
    }

    fn id() -> ContainerId {
        ContainerId::parse(ID).unwrap()
    }

    #[test]
    fn every_driver_and_runtime_gives_the_pod_and_the_container() {
        let escaped = UID.replace('-', "_");
        let slice = format!("kubepods-burstable-pod{escaped}.slice");
        let kind = format!("kubelet-kubepods-besteffort-pod{escaped}.slice");
        for path in [
            format!("/kubepods/besteffort/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/crio-{ID}"),
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope"),
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}/crio-{ID}.scope/container"),
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}/docker-{ID}.scope"),
            format!("/kubelet.slice/kubelet-kubepods.slice/{kind}/cri-containerd-{ID}.scope/init.scope"),
            format!(
                "/../../../kubepods-besteffort.slice/kubepods-besteffort-pod{escaped}.slice/cri-containerd-{ID}.scope"
            ),
        ] {
            assert!(Place::of(&path).is_in(&uid(), &id()), "{path}");
        }
    }

    #[test]
    fn a_static_pods_uid_has_no_dashes() {
        let place = Place::of(&format!("/kubepods/pod0123456789abcdef0123456789abcdef/{ID}"));
        assert_eq!(place.pod, PodUid::parse("0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn the_outermost_pod_and_the_first_container_count() {
        let inner = "f".repeat(64);
        let path = format!("/kubepods/pod{UID}/{ID}/kubepods/podffffffff-1111/{inner}");
        assert!(Place::of(&path).is_in(&uid(), &id()));
        assert!(!Place::of(&path).is_in(&uid(), &ContainerId::parse(&inner).unwrap()));
    }

    #[test]
    fn a_container_beside_the_agent_in_its_own_pod_shows_no_pod() {
        assert!(Place::of(&format!("/../cri-containerd-{ID}.scope")).is_in(&uid(), &id()));
        assert!(!Place::of(&format!("/docker/{ID}")).is_in(&uid(), &id()));
        assert!(!Place::of(&format!("/{ID}")).is_in(&uid(), &id()));
    }

    #[test]
    fn the_monitor_of_crio_is_no_container() {
        assert_eq!(container_part(&format!("crio-conmon-{ID}.scope")), None);
        assert_eq!(pod_part("kubepods-besteffort.slice"), None);
        assert_eq!(pod_part("kubepods"), None);
    }

    #[test]
    fn the_path_is_read_from_the_hierarchy_that_was_asked_for() {
        let text = "9:name=systemd:/s\n8:cpu,pids:/p\n0::/u\n";
        assert_eq!(path_in(text, Hierarchy::Systemd), Some("/s"));
        assert_eq!(path_in(text, Hierarchy::Pids), Some("/p"));
        assert_eq!(path_in(text, Hierarchy::Unified), Some("/u"));
        assert_eq!(path_in("9:name=systemd:/s\n", Hierarchy::Unified), None);
    }
}
