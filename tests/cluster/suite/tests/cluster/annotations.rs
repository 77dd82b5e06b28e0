//! What a pod's annotations say, and that they can be changed while it runs.

use cluster_suite::space::{SIGNAL, Space, app, config_map};

#[test]
fn an_annotation_counts_as_soon_as_it_is_set_changed_or_removed() {
    let Some(space) = Space::new("annotation") else { return };
    // The one that is always told, so that it's known when the other could have been.
    space.start(&[config_map("one"), app("app", &[]), app("witness", &[(SIGNAL, "SIGHUP")])]);

    space.annotate("app", SIGNAL, Some("SIGHUP"));
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
    // The kubelet looks at this one later: a change that comes before that takes the place of the one before.
    space.wait_told("witness", "app", &["hup two"]);

    space.annotate("app", SIGNAL, Some("SIGUSR1"));
    space.change("three");
    space.wait_told("app", "app", &["hup two", "usr1 three"]);
    space.wait_told("witness", "app", &["hup two", "hup three"]);

    space.annotate("app", SIGNAL, None);
    space.change("four");
    space.wait_file("app", "/config/key", "four");
    space.wait_told("witness", "app", &["hup two", "hup three", "hup four"]);
    space.wait_told("app", "app", &["hup two", "usr1 three"]);
}

#[test]
fn a_pod_with_a_bad_annotation_has_an_event_and_no_signal() {
    let Some(space) = Space::new("problem") else { return };
    space.start(&[
        config_map("one"),
        app("bad", &[(SIGNAL, "SIGKILL")]),
        app("elsewhere", &[(SIGNAL, "SIGHUP"), ("reloadlet.io/container", "sidecar")]),
        app("witness", &[(SIGNAL, "SIGHUP")]),
    ]);
    let note = space.wait_event("bad", "ReloadProblem");
    assert!(note.contains(SIGNAL) && note.contains("SIGKILL"), "{note}");
    let note = space.wait_event("elsewhere", "ReloadProblem");
    assert!(note.contains("reloadlet.io/container") && note.contains("sidecar"), "{note}");

    space.change("two");
    space.wait_file("bad", "/config/key", "two");
    space.wait_file("elsewhere", "/config/key", "two");
    space.wait_told("witness", "app", &["hup two"]);
    space.change("three");
    space.wait_told("witness", "app", &["hup two", "hup three"]);
    for pod in ["bad", "elsewhere"] {
        space.wait_told(pod, "app", &[]);
    }
}

#[test]
fn none_is_measured_and_never_signalled() {
    let Some(space) = Space::new("none") else { return };
    space.start(&[
        config_map("one"),
        app("measured", &[(SIGNAL, "none")]),
        app("witness", &[(SIGNAL, "SIGHUP")]),
    ]);
    space.change("two");
    space.wait_file("measured", "/config/key", "two");
    space.wait_told("witness", "app", &["hup two"]);
    space.wait_told("measured", "app", &[]);
    assert_eq!(space.events("measured", "ReloadProblem"), [""; 0]);
}
