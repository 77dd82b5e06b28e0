use std::time::Duration;

use super::*;

fn process(pid: u32, parent: u32, comm: &str, age: u64, namespaces: &[u32]) -> ProcessFacts {
    let started = Time::since_boot(Duration::from_millis(age));
    let stat = Stat { comm: comm.to_owned(), state: 'S', parent, started, threads: 1 };
    ProcessFacts { pid, stat, namespace_pids: namespaces.to_vec(), program: None }
}

fn told(leaf: &[ProcessFacts], name: Option<&str>) -> Result<Vec<u32>, NoProcess> {
    told_again(leaf, name, &[])
}

/// The same where these were told before.
fn told_again(leaf: &[ProcessFacts], name: Option<&str>, before: &[u32]) -> Result<Vec<u32>, NoProcess> {
    let was_told = |process: &ProcessFacts| before.contains(&process.pid);
    let wanted = Wanted { name, is_outside: &|pid| pid == 50, was_told: &was_told };
    choose(leaf, wanted).map(|chosen| chosen.told.iter().map(|process| process.pid).collect())
}

#[test]
fn the_first_process_is_pid_1_of_its_namespace_whatever_was_executed_into_it() {
    let leaf = [
        process(90, 10, "nginx", 5, &[90, 17]), // exec'd by the shim, and by PID reuse even older
        process(100, 10, "nginx", 100, &[100, 1]),
        process(101, 100, "nginx", 101, &[101, 7]),
    ];
    assert_eq!(told(&leaf, None), Ok(vec![100]));
    assert_eq!(told(&leaf, Some("nginx")), Ok(vec![100]), "never the exec'd one, never a worker");
}

#[test]
fn in_a_shared_namespace_the_earliest_with_its_parent_outside_is_first() {
    let leaf = [
        process(100, 10, "app", 100, &[100, 8]),
        process(101, 100, "worker", 101, &[101, 9]),
        process(102, 10, "sh", 300, &[102, 30]),
    ];
    assert_eq!(told(&leaf, None), Ok(vec![100]));
}

#[test]
fn a_namespace_inside_the_container_doesnt_make_a_first_process() {
    let leaf = [process(100, 10, "app", 100, &[100, 1]), process(90, 100, "inner", 50, &[90, 20, 1])];
    assert_eq!(told(&leaf, None), Ok(vec![100]));
}

#[test]
fn the_runtimes_own_process_is_never_told() {
    let leaf = [process(100, 10, "runc:[2:INIT]", 100, &[100, 1])];
    assert_eq!(told(&leaf, None), Err(NoProcess::Starting));
    let with_exec = [leaf[0].clone(), process(101, 10, "sh", 101, &[101, 7])];
    assert_eq!(told(&with_exec, None), Err(NoProcess::Starting));
    assert_eq!(told(&[process(7, 1, "conmon", 1, &[7])], None), Err(NoProcess::Starting));
}

#[test]
fn a_zombie_is_never_told() {
    let mut zombie = process(100, 10, "app", 100, &[100, 1]);
    zombie.stat.state = 'Z';
    assert_eq!(told(&[zombie], None), Err(NoProcess::NotRunning));
    assert_eq!(told(&[], None), Err(NoProcess::NotRunning));
}

#[test]
fn a_wrapper_is_replaced_by_the_child_that_it_started() {
    for init in [
        "tini",
        "docker-init",
        "dumb-init",
        "catatonit",
        "podman-init",
        "tini-0.19.0",
        "timeout",
        "sudo",
        "su",
    ] {
        let app = process(101, 100, "app", 101, &[101, 7]);
        let one = [process(100, 10, init, 100, &[100, 1]), app.clone()];
        assert_eq!(told(&one, None), Ok(vec![101]), "{init}");
        assert_eq!(told(&one[..1], None), Err(NoProcess::WrapperWithoutChild), "{init}");
        // A leftover of `kubectl exec`, with a PID that has come round.
        let leftover = process(90, 100, "sleep", 500, &[90, 30]);
        let two = [leftover.clone(), one[0].clone(), app.clone()];
        assert_eq!(told(&two, None), Ok(vec![101]), "{init}: the oldest is its own");
        assert_eq!(told(&two, Some("sleep")), Ok(vec![90]), "{init}");
        // The wrapper is about to end with its child.
        let mut zombie = app;
        zombie.stat.state = 'Z';
        let ending = [one[0].clone(), zombie, leftover];
        assert_eq!(told(&ending, None), Err(NoProcess::WrapperWithoutChild), "{init}: never the leftover");
    }
}

#[test]
fn inits_in_a_row_are_passed_over_and_not_without_end() {
    let row = |inits: u32| -> Vec<ProcessFacts> {
        let init = |n: u32| {
            let parent = if n == 0 { 10 } else { 99 + n };
            process(100 + n, parent, "dumb-init", (100 + n).into(), &[100 + n, 1 + n])
        };
        let app = process(100 + inits, 99 + inits, "app", 200, &[100 + inits, 1 + inits]);
        (0..inits).map(init).chain([app]).collect()
    };
    assert_eq!(told(&row(2), None), Ok(vec![102]));
    assert_eq!(told(&row(7), None), Ok(vec![107]));
    assert_eq!(told(&row(9), None), Err(NoProcess::WrapperWithoutChild));
}

#[test]
fn a_supervisor_that_an_interpreter_runs_is_one_unless_it_is_named() {
    let runs = |program: Option<&str>| {
        let first = process(100, 10, "python3.11", 100, &[100, 1]);
        let first = ProcessFacts { program: program.map(str::to_owned), ..first };
        [first, process(101, 100, "app", 101, &[101, 7])]
    };
    assert_eq!(told(&runs(None), None), Ok(vec![100]));
    let Err(NoProcess::Supervised(supervisor)) = told(&runs(Some("supervisord")), None) else { panic!() };
    assert_eq!((&*supervisor.name, supervisor.pid), ("supervisord", 100));
    assert_eq!(told(&runs(Some("supervisord")), Some("app")), Ok(vec![101]));
}

#[test]
fn a_supervisor_is_told_only_by_name_and_so_are_its_programs() {
    let supervisors =
        ["s6-svscan", "runsvdir", "supervisord", "systemd", "init", "PM2 v5.3.0: God", "circusd"];
    for name in supervisors {
        let first = process(100, 10, name, 100, &[100, 1]);
        let leaf = [first.clone(), process(101, 100, "app", 101, &[101, 7])];
        let started = first.stat.started;
        let supervisor = Supervisor { name: name.into(), pid: 100, started, others: "\"app\"".into() };
        let missing = NoProcess::Supervised(supervisor);
        assert_eq!(told(&leaf, None), Err(missing.clone()));
        let sentence = missing.sentence();
        assert!(
            sentence.contains(name)
                && sentence.contains("100")
                && sentence.contains("reloadlet.io/process: beside it there are \"app\""),
            "{sentence}"
        );
        assert_eq!(told(&leaf, Some("app")), Ok(vec![101]));
        assert_eq!(told(&leaf, Some(name)), Ok(vec![100]), "whoever names it means it");
        let behind = [
            process(90, 10, "tini", 90, &[90, 1]),
            process(100, 90, name, 100, &[100, 2]),
            process(101, 100, "app", 101, &[101, 7]),
        ];
        assert!(matches!(told(&behind, None), Err(NoProcess::Supervised(_))), "{name} behind an init");
    }
}

#[test]
fn a_titles_first_word_is_a_name_too() {
    let leaf = [
        process(100, 10, "gunicorn: maste", 100, &[100, 1]),
        process(101, 100, "gunicorn: worke", 101, &[101, 7]),
        process(102, 10, "gunicorn: maste", 102, &[102, 8]),
    ];
    assert_eq!(told(&leaf, Some("gunicorn")), Ok(vec![100]), "never a worker, never an exec'd one");
    assert_eq!(told(&leaf, Some("gunicorn: maste")), Ok(vec![100]));
    assert!(told(&leaf, Some("gunicor")).is_err() && told(&leaf, Some("maste")).is_err());
}

#[test]
fn one_that_was_told_stays_the_same_whatever_it_calls_itself() {
    let leaf = [
        process(100, 10, "sh", 100, &[100, 1]),
        process(101, 100, "ruby3.1", 101, &[101, 7]),
        process(102, 101, "ruby3.1", 102, &[102, 8]),
    ];
    assert!(matches!(told(&leaf, Some("puma")), Err(NoProcess::NoneNamed(_))));
    assert_eq!(told_again(&leaf, Some("puma"), &[101, 102]), Ok(vec![101]), "the topmost");
    let mut init = leaf.clone();
    init[1].stat.comm = "dumb-init".to_owned();
    assert_eq!(
        told_again(&init, Some("puma"), &[101, 102]),
        Ok(vec![102]),
        "it hands on what its child may not handle"
    );
}

#[test]
fn where_nobody_has_the_name_the_names_that_are_there_are_listed_and_bounded() {
    let first = process(100, 10, "sh\n\u{202e}", 100, &[100, 1]);
    let mut leaf = vec![first, process(101, 100, "app", 101, &[101, 7])];
    let Err(why) = told(&leaf, Some("absent")) else { panic!("found") };
    let sentence = why.sentence();
    assert!(sentence.ends_with("there are \"app\" and \"sh\\n\\u{202e}\""), "{sentence}");
    leaf.extend((200..4000).map(|pid| process(pid, 100, &format!("\u{1b}{pid}"), 101, &[pid, pid])));
    let Err(why) = told(&leaf, Some("absent")) else { panic!("found") };
    assert!(why.sentence().len() < 700, "{}", why.sentence());
}

#[test]
fn a_name_means_the_topmost_matches_each_of_them() {
    let leaf = [
        process(100, 10, "sh", 100, &[100, 1]),
        process(101, 100, "app", 101, &[101, 7]),
        process(102, 101, "app", 102, &[102, 8]),
        process(103, 100, "app", 103, &[103, 9]),
    ];
    assert_eq!(told(&leaf, Some("app")), Ok(vec![101, 103]));
    assert_eq!(told(&leaf, Some("other")), Err(NoProcess::NoneNamed("\"app\" and \"sh\"".into())));
}

#[test]
fn a_name_also_means_the_program_of_the_first_argument() {
    let mut python = process(100, 10, "python3", 100, &[100, 1]);
    python.program = Some("gunicorn".to_owned());
    assert_eq!(told(&[python], Some("gunicorn")), Ok(vec![100]));
}

#[test]
fn an_orphan_that_pause_adopted_is_still_the_containers() {
    let leaf = [
        process(100, 10, "sh", 100, &[100, 8]),
        process(101, 50, "daemon", 101, &[101, 9]),
        process(102, 10, "daemon", 102, &[102, 10]),
    ];
    assert_eq!(told(&leaf, Some("daemon")), Ok(vec![101]), "adopted by pause, not executed by the shim");
}

#[test]
fn whoever_starts_processes_decides_neither_how_many_are_held_nor_how_long_the_choice_takes() {
    let family = |named: u32| -> Vec<ProcessFacts> {
        let child =
            |pid| process(pid, 100, if pid <= 100 + named { "app" } else { "other" }, 101, &[pid, pid]);
        let first = process(100, 10, "sh", 100, &[100, 1]);
        // So many that a look at all of them for each of them takes half a minute.
        std::iter::once(first).chain((101..100_000).map(child)).collect()
    };
    assert_eq!(told(&family(256), Some("app")).unwrap().len(), MOST_TOLD);
    assert_eq!(told(&family(257), Some("app")), Err(NoProcess::TooManyNamed));
}

#[test]
fn a_process_is_the_first_of_its_namespace_only_where_there_is_one_of_its_own() {
    for (namespaces, is_first) in
        [(&[100, 1][..], true), (&[100, 7], false), (&[1], false), (&[100, 20, 1], true)]
    {
        let process = process(namespaces[0], 10, "app", 100, namespaces);
        assert_eq!(process.is_first_in_namespace(), is_first, "{namespaces:?}");
    }
    // With the host's namespace, its PID 1 is a process like others.
    let leaf = [process(1, 10, "systemd", 200, &[1]), process(90, 10, "app", 100, &[90])];
    assert_eq!(told(&leaf, None), Ok(vec![90]));
}

#[test]
fn an_identity_says_in_logs_which_process_it_is() {
    let (pod, container) = ("0000000a-0000-0000-0000-000000000000", "c".repeat(64));
    let identity = ProcessIdentity {
        pid: 7,
        started: Time::default(),
        pod: PodUid::parse(pod).unwrap(),
        container: ContainerId::parse(&container).unwrap(),
    };
    let text = format!("{identity:?}");
    assert!(text.starts_with("7@") && text.contains(pod) && text.contains(&container[..12]), "{text}");
}
