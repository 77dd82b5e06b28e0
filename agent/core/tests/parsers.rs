//! Whatever text comes from `/proc`, from a volume's directory or from a cgroup's path: it is read or refused.

use proptest::prelude::*;
use reloadlet_core::kernel::cgroup::{Hierarchy, Place, path_in};
use reloadlet_core::kernel::mounts::{ContainerMounts, Device, DirId};
use reloadlet_core::kernel::procfs::{SignalSet, Status, is_called};
use reloadlet_core::model::generation::Generation;
use reloadlet_core::model::names::PodUid;
use reloadlet_core::model::pod::VolumeKind;

const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

/// Pieces of cgroup paths and whatever else, in any order.
const PATH: &str = "(/|\\.\\.|kubepods|pod|-pod|6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0|_|\\.slice|\\.scope|crio-|[0-9a-f]{64}|.){0,12}";

proptest! {
    #[test]
    fn no_cgroup_path_makes_it_panic(path in PATH, lines in "([0-9]?:?[a-z=,]{0,8}:?.{0,8}\n?){0,6}") {
        let place = Place::of(&path);
        prop_assert!(place.container.is_none() || place.pod.is_some() || path.contains(".."));
        for hierarchy in [Hierarchy::Unified, Hierarchy::Systemd, Hierarchy::Pids] {
            prop_assert!(path_in(&lines, hierarchy).is_none_or(|path| lines.contains(path)));
        }
    }

    #[test]
    fn no_status_makes_it_panic(
        text in "((Name|NSpid|Threads|ShdPnd|SigBlk|SigIgn|SigCgt|.{0,4}):?\t?([0-9a-f]{0,18}|.{0,6})\n?){0,8}",
        signal in any::<i32>(),
    ) {
        if let Some(status) = Status::parse(&text) {
            prop_assert!(!status.caught.contains(signal) || (1..=64).contains(&signal));
        }
        if let Some(set) = SignalSet::parse(&text) {
            prop_assert_eq!(set.and(set), set);
        }
    }

    #[test]
    fn no_mountinfo_makes_it_panic(
        lines in proptest::collection::vec(
            "[0-9]{0,4} ?[0-9]{0,4} [0-9]{0,12}:?[0-9]{0,3} (/var/lib/kubelet/pods/UID/(volumes|containers|x)/.{0,20})?/? \
             ?/.{0,6} rw( - (tmpfs|ext4) .{0,4})?|.{0,40}",
            0..6,
        ),
    ) {
        let text = lines.join("\n").replace("UID", UID);
        let mounts = ContainerMounts::parse(&text, &PodUid::parse(UID).unwrap());
        let dir = DirId { device: Device { major: 0, minor: 1 }, inode: 1 };
        for kind in VolumeKind::ALL {
            mounts.view(kind, "config", None);
            mounts.view(kind, "config", Some(dir));
        }
    }

    #[test]
    fn a_generation_is_one_element_of_a_path(name in "(\\.\\.)?([0-9]{4}(_[0-9]{2}){5}\\.)?([0-9]{0,22}|.{0,12})") {
        if let Some(generation) = Generation::parse(&name) {
            prop_assert_eq!(generation.as_str(), &name);
            prop_assert!(name.starts_with("..") && !name.contains('/') && name.is_ascii());
        }
    }

    #[test]
    fn no_command_line_makes_it_panic_or_has_a_name_that_isnt_in_it(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        name in "[a-z:/ ]{0,4}",
    ) {
        if is_called(&bytes, &name) {
            prop_assert!(!name.is_empty() && !name.contains('/'));
            prop_assert!(bytes.windows(name.len()).any(|piece| piece == name.as_bytes()));
        }
    }
}
