use super::*;

const UID: &str = "6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

/// Lines as recorded on a node, Kubernetes 1.36 and containerd 1.6.
const CONTAINER: &str = "\
1362 1161 0:421 / / rw,relatime - overlay overlay rw,lowerdir=x
1364 1362 0:424 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
1378 1362 0:400 / /sec ro,relatime - tmpfs tmpfs rw,size=24581692k,noswap
1381 1362 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~configmap/conf/..2026_11_21_06_14_10.1488999967/nginx.conf//deleted /one.conf ro,relatime - ext4 /dev/vda rw
1382 1362 254:0 /var/lib/kubelet/pods/UID/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
1383 1364 254:0 /var/lib/kubelet/pods/UID/containers/a/5ef088ab /dev/termination-log rw,relatime - ext4 /dev/vda rw
";

fn mounts(text: &str) -> ContainerMounts {
    ContainerMounts::parse(&text.replace("UID", UID), &PodUid::parse(UID).unwrap())
}

fn on(minor: u32) -> Option<DirId> {
    Some(DirId { device: Device { major: 0, minor }, inode: 1 })
}

#[test]
fn the_recorded_container_has_its_name_its_tmpfs_and_a_frozen_file() {
    let mounts = mounts(CONTAINER);
    assert_eq!(mounts.container.as_deref(), Some("a"));
    assert_eq!(mounts.view(VolumeKind::Secret, "sec", on(400)), View::Live);
    assert_eq!(mounts.view(VolumeKind::ConfigMap, "conf", on(7)), View::Frozen);
}

#[test]
fn a_frozen_mount_shows_its_generation() {
    let text = format!(
        "{CONTAINER}1379 1362 0:401 /..2026_11_21_06_14_11.7/key /one.key ro - tmpfs tmpfs rw\n\
         1380 1362 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~configmap/other/made/here /x ro - ext4 /dev/vda rw\n"
    );
    let mounts = mounts(&text);
    let shown = |kind, volume, dir| {
        let shown = mounts.frozen(kind, volume, dir)?;
        Some(shown.into_iter().map(Generation::as_str).collect::<Vec<_>>())
    };
    let disk = on(7);
    assert_eq!(
        shown(VolumeKind::ConfigMap, "conf", disk),
        Some(vec!["..2026_11_21_06_14_10.1488999967"]),
        "though it was removed"
    );
    assert_eq!(shown(VolumeKind::Secret, "sec", on(401)), Some(vec!["..2026_11_21_06_14_11.7"]));
    assert_eq!(shown(VolumeKind::Secret, "sec", on(400)), None, "it is mounted as a directory");
    assert_eq!(shown(VolumeKind::ConfigMap, "other", disk), None, "it is in no generation");
}

#[test]
fn a_tmpfs_on_another_device_was_torn_down() {
    assert_eq!(mounts(CONTAINER).view(VolumeKind::Secret, "sec", on(777)), View::Dead);
}

#[test]
fn a_deleted_directory_on_disk_was_torn_down() {
    let text = CONTAINER.replace("/..2026_11_21_06_14_10.1488999967/nginx.conf//deleted", "//deleted");
    assert_eq!(mounts(&text).view(VolumeKind::ConfigMap, "conf", on(7)), View::Dead);
}

#[test]
fn a_directory_mount_beside_a_sub_path_is_live() {
    let text = format!(
        "{CONTAINER}1418 1402 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~configmap/conf /conf ro - ext4 /dev/vda rw\n"
    );
    assert_eq!(mounts(&text).view(VolumeKind::ConfigMap, "conf", on(7)), View::Live);
}

#[test]
fn the_hosts_own_mounts_take_nothing_away() {
    let text = "\
1087 42 0:400 / /var/lib/kubelet/pods/UID/volumes/kubernetes.io~secret/sec rw shared:3 - tmpfs tmpfs rw
1157 42 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~configmap/conf/..2026_11_21_06_14_10.1/x//deleted /var/lib/kubelet/pods/UID/volume-subpaths/conf/a/3 rw - ext4 /dev/vda rw
";
    assert_eq!(mounts(text).view(VolumeKind::Secret, "sec", on(777)), View::Live);
    assert_eq!(mounts(text).view(VolumeKind::ConfigMap, "conf", on(7)), View::Live);
}

#[test]
fn what_a_program_mounts_later_or_inside_a_volume_doesnt_name_the_container() {
    let names = |text: &str| mounts(text).container.as_deref().map(str::to_owned);
    let forged = "9 1 0:50 /x/pods/UID/containers/other/01234567 /x rw - tmpfs tmpfs rw\n";
    assert_eq!(names(&format!("{CONTAINER}{forged}")).as_deref(), Some("a"), "the first one counts");
    for inside in [
        "9 1 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~empty-dir/s/pods/UID/containers/other/01234567 /x rw - ext4 d rw\n",
        "9 1 254:0 /var/lib/kubelet/pods/UID/containers/other/notahexn /x rw - ext4 d rw\n",
        "9 1 254:0 /var/lib/kubelet/pods/UID/containers/other/0123456 /x rw - ext4 d rw\n",
        "9 1 254:0 /var/lib/kubelet/pods/UID/containers/other/01234567/more /x rw - ext4 d rw\n",
    ] {
        assert_eq!(names(inside), None, "{inside}");
    }
}

#[test]
fn mounts_that_name_another_pod_say_nothing() {
    let other = "7f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    assert_eq!(mounts(&CONTAINER.replace("UID", other)).container, None);
}

#[test]
fn what_is_kept_has_a_bound_and_what_is_beyond_it_is_live() {
    let mut text = CONTAINER.to_owned();
    for n in 0..8000 {
        text += &format!("{n} 1 0:{} / /m{n} rw - tmpfs tmpfs rw\n", 1000 + n);
        text +=
            &format!("{n} 1 254:0 /k/pods/UID/volumes/kubernetes.io~configmap/v{n}/x /n{n} rw - ext4 d rw\n");
    }
    let mounts = mounts(&text);
    assert_eq!((mounts.disk.len(), mounts.tmpfs.len()), (MOST_KEPT, MOST_KEPT));
    assert_eq!(mounts.view(VolumeKind::ConfigMap, "conf", on(7)), View::Frozen, "it came first");
    assert_eq!(mounts.view(VolumeKind::Secret, "other", on(99)), View::Live, "it may be beyond");
    assert_eq!(mounts.view(VolumeKind::ConfigMap, "v7999", on(7)), View::Live);
}

#[test]
fn a_mount_that_gets_none_from_elsewhere_is_blind_unless_it_is_the_hosts_own() {
    let own = "20 1 254:0 / / rw - overlay o rw\n21 20 254:0 /k /k/pods rw master:3 - ext4 d rw\n";
    let sees = |own: &str, host: &str| sees_later_mounts(own, host, "/k/pods");
    assert!(sees(own, ""));
    assert!(sees(&own.replace("master:3", "shared:3"), ""));
    let private = own.replace(" master:3", "");
    assert!(!sees(&private, "20 1 254:0 / / rw - ext4 d rw\n"));
    assert!(sees(&private, "21 20 254:0 /k /k/pods rw - ext4 d rw\n"));
    let above = format!("{private}22 20 254:0 /k /k/pods rw shared:3 - ext4 d rw\n");
    assert!(sees(&above, ""), "the last one is on top");
    assert!(sees(&format!("{own}22 20 0:9 / /k/pod rw - tmpfs t rw\n"), ""), "another directory");
    assert!(sees("x\n", ""), "what isn't known isn't said");
}

#[test]
fn broken_lines_are_passed_over() {
    assert_eq!(mounts("x\n1 2\n1 2 3 4 5\n\n"), ContainerMounts::default());
}

#[test]
fn of_several_file_systems_at_one_place_the_one_on_top_counts() {
    let text = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /a/b rw shared:1 - tmpfs t rw\n\
                3 1 0:6 / /a/bc rw - nfs4 s:/ rw\n4 2 0:7 / /a/b ro - fuse.s3 s ro\n5 1 0:8 / /none\n";
    let device = |minor| Device { major: 0, minor };
    assert_eq!(mounted_at(text, "/a/b"), Some((device(7), "fuse.s3")));
    assert_eq!(mounted_at(text, "/a/bc"), Some((device(6), "nfs4")));
    assert_eq!(mounted_at(text, "/a"), None);
    assert_eq!(mounted_at(text, "/none"), None);
    assert_eq!(device_of(text, "/a/b/c"), Some(device(7)));
    assert_eq!(device_of(text, "/a/bcd"), Some(Device { major: 8, minor: 1 }));
    assert_eq!(device_of("", "/a"), None);
}

#[test]
fn a_volume_of_a_driver_is_live_unless_its_end_is_known() {
    let pod = below_pod(&PodUid::parse(UID).unwrap());
    let below = |rest: &str| {
        format!("9 1 8:1 /kubelet{pod}volumes/kubernetes.io~csi/s/mount{rest} /s ro - ext4 d rw\n")
    };
    let view =
        |more: &str, device| mounts(&format!("{CONTAINER}{more}")).view(VolumeKind::Csi, "s", on(device));
    assert_eq!(view("", 777), View::Live, "a part of a disk of the driver's");
    assert_eq!(view(&below(""), 1), View::Live);
    assert_eq!(view(&below("/..2026_11_21_05_56_44.1/a"), 1), View::Frozen);
    assert_eq!(view(&below("//deleted"), 1), View::Dead);
    assert_eq!(view("9 1 0:777 /vol-1 /s ro - tmpfs t rw\n", 777), View::Live, "a part of its tmpfs");
    assert_eq!(view("9 1 0:777 //deleted /s ro - tmpfs t rw\n", 777), View::Dead);
}
