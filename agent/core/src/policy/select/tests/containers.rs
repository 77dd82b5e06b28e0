//! Which containers are told.

use super::*;

#[test]
fn the_only_container_that_mounts_a_triggering_volume_is_told() {
    let containers = vec![
        container("setup", ContainerKind::Init, &["config"]),
        container("proxy", ContainerKind::Sidecar, &["config"]),
        regular("logs", &["scratch", "kube-api-access-x"]),
        regular("frozen", &["config/"]),
        regular("app", &["config"]),
    ];
    let volumes = vec![config_map("config"), volume("scratch", VolumeSource::Other), kube_api_access()];
    assert_eq!(targets(&pod(&[(SIGNAL, "hup")], containers, volumes)), ["app SIGHUP config"]);
}

fn two(annotations: &[(&str, &str)]) -> PodSpec {
    let containers = vec![regular("app", &["config"]), regular("mesh", &["mesh"])];
    pod(annotations, containers, vec![config_map("config"), config_map("mesh")])
}

#[test]
fn several_candidates_and_nobody_chosen_is_a_problem() {
    assert_eq!(
        problem(&two(&[(SIGNAL, "hup")])),
        is(
            ProblemKind::Ambiguous,
            "reloadlet.io/signal could mean \"app\" and \"mesh\": name one of them with reloadlet.io/container"
        )
    );
}

#[test]
fn of_several_candidates_the_one_that_kubectl_takes_is_told() {
    assert_eq!(targets(&two(&[(SIGNAL, "hup"), (DEFAULT_CONTAINER, "app")])), ["app SIGHUP config"]);
    assert_eq!(watched(&two(&[(SIGNAL, "hup"), (DEFAULT_CONTAINER, "app")])), ["config"]);
}

#[test]
fn a_default_container_that_is_no_candidate_does_not_choose() {
    assert_eq!(
        problem(&two(&[(SIGNAL, "hup"), (DEFAULT_CONTAINER, "other")])),
        is(
            ProblemKind::Ambiguous,
            "reloadlet.io/signal could mean \"app\" and \"mesh\": name one of them with reloadlet.io/container \
             (kubectl.kubernetes.io/default-container names \"other\", none of them)"
        )
    );
    // With one candidate there is nothing to choose.
    assert_eq!(targets(&simple(&[(SIGNAL, "hup"), (DEFAULT_CONTAINER, "other")])), ["app SIGHUP config"]);
}

#[test]
fn a_container_with_its_own_signal_leaves_the_choice_of_the_other_open() {
    let (kind, _) = problem(&two(&[(SIGNAL, "hup"), ("signal.reloadlet.io/app", "usr1")]));
    assert_eq!(kind, ProblemKind::Ambiguous, "nobody chose mesh");
}

#[test]
fn the_named_container_is_told() {
    assert_eq!(targets(&two(&[(SIGNAL, "hup"), (CONTAINER, "mesh")])), ["mesh SIGHUP mesh"]);
    let over = two(&[(SIGNAL, "hup"), (CONTAINER, "mesh"), (DEFAULT_CONTAINER, "app")]);
    assert_eq!(targets(&over), ["mesh SIGHUP mesh"]);
}

#[test]
fn a_native_sidecar_is_told_only_by_name() {
    let sidecar = |annotations| {
        pod(
            annotations,
            vec![container("proxy", ContainerKind::Sidecar, &["config"])],
            vec![config_map("config")],
        )
    };
    assert_eq!(targets(&sidecar(&[(SIGNAL, "hup"), (CONTAINER, "proxy")])), ["proxy SIGHUP config"]);
    assert_eq!(targets(&sidecar(&[("signal.reloadlet.io/proxy", "hup")])), ["proxy SIGHUP config"]);
    for annotations in [&[(SIGNAL, "hup")][..], &[(SIGNAL, "hup"), (DEFAULT_CONTAINER, "proxy")]] {
        assert_eq!(
            problem(&sidecar(annotations)),
            is(
                ProblemKind::Container,
                "reloadlet.io/signal finds no container: no regular one mounts \"config\" as a directory; native \
                 sidecars are told only by name, with reloadlet.io/container: \"proxy\""
            )
        );
    }
}

#[test]
fn each_container_with_its_own_signal_is_told_with_it() {
    let only_its_own = two(&[("signal.reloadlet.io/mesh", "usr1")]);
    assert_eq!(targets(&only_its_own), ["mesh SIGUSR1 mesh"]);
    assert_eq!(watched(&only_its_own), ["mesh"]);
    let both = two(&[(SIGNAL, "hup"), (CONTAINER, "app"), ("signal.reloadlet.io/mesh", "usr1")]);
    assert_eq!(targets(&both), ["app SIGHUP config", "mesh SIGUSR1 mesh"]);
}

#[test]
fn a_containers_own_signal_wins() {
    assert_eq!(
        targets(&simple(&[(SIGNAL, "hup"), ("signal.reloadlet.io/app", "usr1")])),
        ["app SIGUSR1 config"]
    );
    let measured = simple(&[(SIGNAL, "hup"), ("signal.reloadlet.io/app", "none")]);
    assert_eq!((targets(&measured), watched(&measured)), (vec![], vec![String::from("config")]));
}

#[test]
fn a_measured_container_is_no_target_but_its_volumes_are_watched() {
    let measured = two(&[("signal.reloadlet.io/mesh", "none"), ("signal.reloadlet.io/app", "hup")]);
    assert_eq!((targets(&measured), watched(&measured).len()), (vec![String::from("app SIGHUP config")], 2));
    let alone = simple(&[(SIGNAL, "none")]);
    assert_eq!((targets(&alone), watched(&alone)), (vec![], vec![String::from("config")]));
}

#[test]
fn where_nothing_is_sent_nobody_has_to_choose() {
    let measured = two(&[(SIGNAL, "none")]);
    assert_eq!((targets(&measured), watched(&measured).len()), (vec![], 2));
}

#[test]
fn a_container_that_can_not_be_named_is_a_problem() {
    let containers = || {
        vec![
            regular("app", &["config"]),
            regular("frozen", &["config/", "tls/"]),
            regular("bare", &["scratch"]),
            container("setup", ContainerKind::Init, &["config"]),
            container("proxy", ContainerKind::Sidecar, &["config"]),
        ]
    };
    let volumes = || vec![config_map("config"), secret("tls"), volume("scratch", VolumeSource::Other)];
    let others = "; it can name \"app\", \"frozen\", \"bare\" and \"proxy\"";
    for (name, why) in [
        ("ap", format!("which the pod doesn't have{others}")),
        ("a\nb", format!("which the pod doesn't have{others}")),
        ("setup", format!("an init container, which ends{others}")),
        (
            "frozen",
            String::from("which mounts \"config\" and \"tls\" only by subPath, which never changes in place"),
        ),
        ("bare", String::from("which mounts none of the volumes that can trigger: \"config\" and \"tls\"")),
    ] {
        let named = pod(&[(SIGNAL, "hup"), (CONTAINER, name)], containers(), volumes());
        let sentence = format!("reloadlet.io/container names {name:?}, {why}");
        assert_eq!(problem(&named), (ProblemKind::Container, sentence));

        let key = format!("signal.reloadlet.io/{name}");
        let own = pod(&[(&key, "hup")], containers(), volumes());
        let sentence = format!("signal.reloadlet.io/{} names {name:?}, {why}", name.escape_debug());
        assert_eq!(problem(&own), (ProblemKind::Container, sentence));
    }
}

#[test]
fn where_every_mount_is_frozen_the_problem_says_so() {
    let frozen = pod(&[(SIGNAL, "hup")], vec![regular("app", &["config/"])], vec![config_map("config")]);
    assert_eq!(
        problem(&frozen),
        is(
            ProblemKind::Container,
            "reloadlet.io/signal finds no container: no regular one mounts \"config\" as a directory, only by subPath, \
             which never changes in place"
        )
    );
    let unmounted = pod(&[(SIGNAL, "hup")], vec![regular("app", &[])], vec![config_map("config")]);
    assert_eq!(
        problem(&unmounted),
        is(
            ProblemKind::Container,
            "reloadlet.io/signal finds no container: no regular one mounts \"config\" as a directory"
        )
    );
}
