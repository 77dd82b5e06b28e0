//! Cgroup paths: which pod and which container a path belongs to, whatever the driver, the runtime and the prefix.

use crate::model::names::{ContainerId, PodUid};

/// What a cgroup path says about the process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The outermost `pod<uid>` part: what lies deeper was made in that pod.
    pub pod: Option<PodUid>,
    /// The first container ID below it; anything deeper belongs to that container (crun, systemd inside).
    pub container: Option<ContainerId>,
    /// Whether the container lies right beside the agent's own, in the agent's own pod: the path leaves the agent's
    /// cgroup namespace then and shows no pod part.
    beside: bool,
}

impl Place {
    /// Reads a path as `/proc/<pid>/cgroup` or a walk of the hierarchy gives it.
    pub fn of(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        let mut leaves = false;
        while parts.next_if_eq(&"..").is_some() {
            leaves = true;
        }
        if leaves && let Some(container) = parts.peek().and_then(|part| container_part(part)) {
            return Self { pod: None, container: Some(container), beside: true };
        }
        while let Some(part) = parts.next() {
            if let Some((pod, container)) = joint_part(part) {
                return Self { pod: Some(pod), container: Some(container), beside: false };
            }
            if let Some(pod) = pod_part(part) {
                return Self { pod: Some(pod), container: parts.find_map(container_part), beside: false };
            }
        }
        Self { pod: None, container: None, beside: false }
    }

    /// Whether a process in this place is in that container of that pod.
    pub fn is_in(&self, pod: &PodUid, container: &ContainerId) -> bool {
        let pod_fits = self.pod.as_ref().map_or(self.beside, |found| found == pod);
        pod_fits && self.container.as_ref() == Some(container)
    }

    /// Whether a process in this place is in another pod, or in another container.
    fn is_elsewhere(&self, pod: &PodUid, container: &ContainerId) -> bool {
        self.pod.as_ref().is_some_and(|found| found != pod)
            || self.container.as_ref().is_some_and(|found| found != container)
    }
}

/// Whether a process with this text of `/proc/<pid>/cgroup` is in that container of that pod: one hierarchy puts it
/// there, and none puts it elsewhere.
pub fn is_in_container(text: &str, pod: &PodUid, container: &ContainerId) -> bool {
    let hierarchies = [Hierarchy::Unified, Hierarchy::Systemd, Hierarchy::Pids];
    let places = hierarchies.into_iter().filter_map(|hierarchy| path_in(text, hierarchy)).map(Place::of);
    let mut is_there = false;
    for place in places {
        if place.is_elsewhere(pod, container) {
            return false;
        }
        is_there |= place.is_in(pod, container);
    }
    is_there
}

/// The pod that one path element stands for, written as the kubelet writes it and in no other way: `pod<uid>` (cgroupfs
/// driver) or `…-pod<uid with underscores>.slice` (systemd driver, kubelet `ToSystemd`).
pub fn pod_part(part: &str) -> Option<PodUid> {
    let Some(stem) = part.strip_suffix(".slice") else {
        return PodUid::parse(part.strip_prefix("pod")?);
    };
    let (_, uid) = stem.rsplit_once("-pod")?;
    if uid.contains('-') { None } else { PodUid::parse(&uid.replace('_', "-")) }
}

/// The pod and the container that one path element stands for: `<slice of the pod>:<runtime>:<id>`. A runtime makes such a
/// directory below its own, in place of one in the pod's, where it uses the cgroupfs driver and the kubelet the systemd
/// driver, whose notation it takes for a path.
pub fn joint_part(part: &str) -> Option<(PodUid, ContainerId)> {
    let (slice, rest) = part.split_once(':')?;
    let (runtime, id) = rest.split_once(':')?;
    let pod = if slice.ends_with(".slice") { pod_part(slice)? } else { return None };
    if matches!(runtime, "cri-containerd" | "crio" | "docker") {
        Some((pod, ContainerId::parse(id)?))
    } else {
        None
    }
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
    /// The one hierarchy of cgroup v2.
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
    fn one_element_can_stand_for_the_pod_and_the_container() {
        let escaped = UID.replace('-', "_");
        let joint = format!("kubepods-burstable-pod{escaped}.slice:cri-containerd:{ID}");
        assert_eq!(joint_part(&joint), Some((uid(), id())));
        let text = format!("9:name=systemd:/system.slice/containerd.service/{joint}\n0::/\n");
        assert!(is_in_container(&text, &uid(), &id()));
        assert!(is_in_container(
            &format!("0::/system.slice/containerd.service/{joint}/init.scope\n"),
            &uid(),
            &id()
        ));
        let (other_uid, other_id) = (escaped.replace('6', "7"), "f".repeat(64));
        for other in [
            joint.replace(&escaped, &other_uid),
            joint.replace(ID, &other_id),
            joint.replace("cri-containerd", "conmon"),
            joint.replace("cri-containerd", "crio-conmon"),
            joint.replace(".slice", ""),
            joint.replace(&escaped, UID),
            format!("pod{UID}:cri-containerd:{ID}"),
            format!("x{joint}x"),
            format!("{joint}:x"),
        ] {
            assert!(!is_in_container(&format!("0::/system.slice/{other}\n"), &uid(), &id()), "{other}");
        }
        // What a program makes in its own container is that container's.
        let own = format!("0::/kubepods/pod{UID}/{other_id}/{joint}\n");
        assert!(!is_in_container(&own, &uid(), &id()));
        assert!(!is_in_container(&format!("0::/../docker-{other_id}.scope/{joint}\n"), &uid(), &id()));
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
    fn only_what_lies_right_beside_the_agent_may_show_no_pod() {
        for path in [
            format!("/../../../system.slice/docker-{ID}.scope"),
            format!("/../../../../user.slice/user-1000.slice/{ID}"),
            format!("/../cri-containerd-{}.scope/{ID}", "f".repeat(64)),
        ] {
            assert!(!Place::of(&path).is_in(&uid(), &id()), "{path}");
        }
    }

    #[test]
    fn a_pod_has_one_name_for_each_driver_and_no_other() {
        let escaped = UID.replace('-', "_");
        assert_eq!(pod_part(&format!("pod{UID}")), Some(uid()));
        assert_eq!(pod_part(&format!("kubepods-burstable-pod{escaped}.slice")), Some(uid()));
        for other in [
            format!("pod{escaped}"),
            format!("pod{UID}.slice"),
            format!("pod{escaped}.slice"),
            format!("kubepods-pod{UID}.slice"),
            format!("kubepods-pod{escaped}"),
            format!("x-pod{UID}"),
            format!("pod{}", UID.to_uppercase()),
            format!("kubepods-pod{}.slice", escaped.to_uppercase()),
        ] {
            assert_eq!(pod_part(&other), None, "{other}");
        }
    }

    #[test]
    fn a_process_that_a_second_hierarchy_puts_elsewhere_is_in_no_container() {
        let own = format!("kubepods/pod{UID}/{ID}");
        let (other_pod, other_id) = (UID.replace('6', "7"), "f".repeat(64));
        let is_in = |text: &str| is_in_container(text, &uid(), &id());
        assert!(is_in(&format!("9:name=systemd:/{own}\n8:pids:/{own}/init.scope\n0::/\n")));
        assert!(is_in(&format!("9:name=systemd:/{own}\n0::/kubepods/pod{UID}\n")));
        for elsewhere in [format!("kubepods/pod{other_pod}/{ID}"), format!("kubepods/pod{UID}/{other_id}")] {
            assert!(!is_in(&format!("9:name=systemd:/{own}\n8:pids:/{elsewhere}\n")), "{elsewhere}");
            assert!(!is_in(&format!("8:pids:/{own}\n0::/{elsewhere}\n")), "{elsewhere}");
        }
        assert!(!is_in("9:name=systemd:/\n0::/\n"));
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
