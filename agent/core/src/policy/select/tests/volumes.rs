//! Which volumes trigger, and which of their files count.

use super::*;
use crate::model::pod::Csi;

#[test]
fn config_map_secret_and_projected_volumes_trigger_and_no_others() {
    let volumes = vec![
        volume("scratch", VolumeSource::Other),
        secret("tls"),
        volume("labels", VolumeSource::DownwardApi),
        config_map("config"),
        volume("all", VolumeSource::Projected(vec![projected_secret()])),
        volume("none", VolumeSource::Projected(vec![])),
        volume("ca", VolumeSource::ConfigMap(named_object("kube-root-ca.crt"))),
        volume("openshift", VolumeSource::ConfigMap(named_object("openshift-service-ca.crt"))),
        kube_api_access(),
    ];
    let mounts: Vec<&str> = volumes.iter().map(|volume| &*volume.name).collect();
    let all = pod(&[(SIGNAL, "hup")], vec![regular("app", &mounts)], volumes.clone());
    assert_eq!(watched(&all), ["tls", "config", "all"]);
    assert_eq!(targets(&all), ["app SIGHUP tls,config,all"]);
    assert!(planned(&all).volumes.iter().all(|volume| volume.files.everything()));
}

#[test]
fn tokens_pod_fields_and_cluster_certificates_do_not_count() {
    let sources = vec![
        rotating(&["token", "./labels//of/pod"]),
        projected_config_map("kube-root-ca.crt", &[]),
        projected_config_map("openshift-service-ca.crt", &["openshift/ca.crt"]),
        projected_config_map("settings", &["app.conf"]),
        projected_secret(),
    ];
    let mixed = volume("mixed", VolumeSource::Projected(sources));
    let paths =
        ["token", "labels/of/pod", "ca.crt", "openshift/ca.crt", "service-ca.crt", "app.conf", "password"];
    let containers = vec![regular("app", &["mixed"])];
    let plain = pod(&[(SIGNAL, "hup")], containers.clone(), vec![mixed.clone()]);
    assert_eq!(counting(&plain, &paths), ["service-ca.crt", "app.conf", "password"]);
    assert!(!planned(&plain).volumes[0].files.everything());

    let named = pod(&[(SIGNAL, "hup"), (VOLUMES, "mixed")], containers.clone(), vec![mixed.clone()]);
    assert!(planned(&named).volumes[0].files.everything());

    let with_keys = pod(&[(SIGNAL, "hup"), ("reloadlet.io/keys", "*.crt,*.conf")], containers, vec![mixed]);
    assert_eq!(counting(&with_keys, &paths), ["service-ca.crt", "app.conf"]);
}

#[test]
fn the_certificate_of_openshift_has_its_own_key() {
    let sources = vec![projected_config_map("openshift-service-ca.crt", &[]), projected_secret()];
    let volumes = vec![volume("mixed", VolumeSource::Projected(sources))];
    let pod = pod(&[(SIGNAL, "hup")], vec![regular("app", &["mixed"])], volumes);
    assert_eq!(counting(&pod, &["service-ca.crt", "ca.crt"]), ["ca.crt"]);
}

#[test]
fn a_path_of_two_sources_is_the_later_ones() {
    let ours = projected_config_map("settings", &["./ca.crt"]);
    let clusters = projected_config_map("kube-root-ca.crt", &[]);
    for (sources, counts) in [([clusters.clone(), ours.clone()], true), ([ours, clusters], false)] {
        let volumes = vec![volume("mixed", VolumeSource::Projected(sources.to_vec()))];
        let pod = pod(&[(SIGNAL, "hup")], vec![regular("app", &["mixed"])], volumes);
        assert_eq!(counting(&pod, &["ca.crt"]).is_empty(), !counts);
    }
}

#[test]
fn a_named_volume_triggers_even_if_it_would_not_by_itself() {
    let volumes = vec![
        config_map("config"),
        volume("ca", VolumeSource::ConfigMap(named_object("kube-root-ca.crt"))),
        kube_api_access(),
    ];
    let containers = vec![regular("app", &["config", "ca", "kube-api-access-x"])];
    let named = pod(&[(SIGNAL, "hup"), (VOLUMES, "kube-api-access-x,ca")], containers, volumes);
    assert_eq!(watched(&named), ["ca", "kube-api-access-x"]);
    assert!(planned(&named).volumes.iter().all(|volume| volume.files.everything()));
}

#[test]
fn a_volume_that_can_not_be_named_is_a_problem() {
    let volumes = || {
        let downward = volume("labels", VolumeSource::DownwardApi);
        vec![config_map("config"), downward, volume("data", VolumeSource::Other), secret("tls")]
    };
    for (name, sentence) in [
        (
            "confg",
            "reloadlet.io/volumes names \"confg\", which the pod doesn't have; it can name \"config\" and \"tls\"",
        ),
        (
            "labels",
            "reloadlet.io/volumes names \"labels\", a downwardAPI volume, which the kubelet rewrites when the pod's own \
             annotations change; it can name \"config\" and \"tls\"",
        ),
        (
            "data",
            "reloadlet.io/volumes names \"data\", which is no configMap, secret, projected or csi volume; it can name \
             \"config\" and \"tls\"",
        ),
        ("tls", "reloadlet.io/volumes names \"tls\", but no container that is told mounts it as a directory"),
    ] {
        let names = format!("config,{name}");
        let containers = vec![regular("app", &["config", "labels", "data", "tls/"])];
        let pod = pod(&[(SIGNAL, "hup"), (VOLUMES, &names)], containers, volumes());
        assert_eq!(problem(&pod), is(ProblemKind::Volume, sentence));
    }
}

#[test]
fn a_pod_without_a_volume_that_can_trigger_is_a_problem() {
    let sentence = "the pod has no volume that can trigger: a configMap, secret, projected or csi volume with more than \
                    tokens, pod fields and the cluster's own certificates";
    for annotations in [&[(SIGNAL, "hup")][..], &[(SIGNAL, "none")], &[("signal.reloadlet.io/app", "hup")]] {
        let pod = pod(annotations, vec![regular("app", &["kube-api-access-x"])], vec![kube_api_access()]);
        assert_eq!(problem(&pod), is(ProblemKind::Volume, sentence));
    }
}

#[test]
fn a_volume_that_is_mounted_both_ways_counts_as_a_directory() {
    let both =
        pod(&[(SIGNAL, "hup")], vec![regular("app", &["config/", "config"])], vec![config_map("config")]);
    assert_eq!(targets(&both), ["app SIGHUP config"]);
}

#[test]
fn only_volumes_that_a_told_container_mounts_are_watched() {
    let volumes = vec![config_map("config"), secret("unmounted"), secret("frozen")];
    let some = pod(&[(SIGNAL, "hup")], vec![regular("app", &["config", "frozen/"])], volumes);
    assert_eq!(
        (watched(&some), targets(&some)),
        (vec![String::from("config")], vec![String::from("app SIGHUP config")])
    );
    assert_eq!(planned(&some).debounce, Duration::ZERO, "only one of the pod's volumes can trigger a reload");
}

#[test]
fn several_volumes_wait_for_each_other_unless_the_pod_says_otherwise() {
    let several = |annotations| {
        pod(annotations, vec![regular("app", &["config", "tls"])], vec![config_map("config"), secret("tls")])
    };
    assert_eq!(planned(&several(&[(SIGNAL, "hup")])).debounce, Duration::from_millis(100));
    assert_eq!(
        planned(&several(&[(SIGNAL, "hup"), ("reloadlet.io/debounce", "0s")])).debounce,
        Duration::ZERO
    );
    assert_eq!(planned(&several(&[(SIGNAL, "hup"), (VOLUMES, "tls")])).debounce, Duration::ZERO);
}

fn csi(name: &str, read_only: bool) -> Volume {
    let csi = Some(Csi { read_only, ..Csi::default() });
    Volume { csi, ..volume(name, VolumeSource::Other) }
}

#[test]
fn a_drivers_volume_that_nobody_can_write_into_triggers_by_itself() {
    let of = |annotations: &[(&str, &str)], read_only| {
        pod(annotations, vec![regular("app", &["secrets"])], vec![csi("secrets", read_only)])
    };
    assert_eq!(targets(&of(&[(SIGNAL, "hup")], true)), ["app SIGHUP secrets"]);
    assert_eq!(targets(&of(&[(SIGNAL, "hup"), (VOLUMES, "secrets")], true)), ["app SIGHUP secrets"]);
    assert_eq!(problem(&of(&[(SIGNAL, "hup")], false)).0, ProblemKind::Volume);
    assert_eq!(
        problem(&of(&[(SIGNAL, "hup"), (VOLUMES, "secrets")], false)),
        is(
            ProblemKind::Volume,
            "reloadlet.io/volumes names \"secrets\", a csi volume without readOnly: true, into which the pod itself could write; \
             it can name none"
        )
    );
}

#[test]
fn a_drivers_volume_makes_no_candidate_beside_what_the_kubelet_publishes() {
    let containers = || vec![regular("app", &["config", "identity"]), regular("mesh", &["identity"])];
    let volumes = || vec![config_map("config"), csi("identity", true)];
    let told = pod(&[(SIGNAL, "hup")], containers(), volumes());
    assert_eq!(targets(&told), ["app SIGHUP config,identity"]);
    assert_eq!(planned(&told).debounce, Duration::ZERO, "they don't come together");
    let named = pod(&[(SIGNAL, "hup"), (VOLUMES, "identity")], containers(), volumes());
    assert_eq!(problem(&named).0, ProblemKind::Ambiguous);
    let both =
        pod(&[(SIGNAL, "hup"), (VOLUMES, "identity,config"), (CONTAINER, "app")], containers(), volumes());
    assert_eq!(planned(&both).debounce, DEBOUNCE_OF_SEVERAL);
}
