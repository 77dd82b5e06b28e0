use std::time::Duration;

use super::*;

fn process(pid: u32, parent: u32, comm: &str, age: u64, namespaces: &[u32]) -> ProcessFacts {
    let started = Time::since_boot(Duration::from_millis(age));
    let stat = Stat { comm: comm.to_owned(), state: 'S', parent, started, threads: 1 };
    ProcessFacts { pid, stat, namespace_pids: namespaces.to_vec(), program: None }
}

fn told(leaf: &[ProcessFacts], name: Option<&str>) -> Result<Vec<u32>, NoProcess> {
    choose(leaf, &|pid| pid == 50, name).map(|chosen| chosen.told.iter().map(|process| process.pid).collect())
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
    let leaf = [process(100, 10, "systemd", 100, &[100, 1]), process(90, 100, "inner", 50, &[90, 20, 1])];
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
fn a_forwarding_init_is_replaced_by_its_only_child() {
    for init in ["tini", "docker-init", "dumb-init", "catatonit"] {
        let one = [process(100, 10, init, 100, &[100, 1]), process(101, 100, "app", 101, &[101, 7])];
        assert_eq!(told(&one, None), Ok(vec![101]), "{init}");
        assert_eq!(told(&one[..1], None), Err(NoProcess::InitWithoutChild), "{init}");
        let two = [one[0].clone(), one[1].clone(), process(102, 100, "b", 102, &[102, 8])];
        assert_eq!(told(&two, None), Err(NoProcess::InitWithChildren), "{init}");
        assert_eq!(told(&two, Some("b")), Ok(vec![102]), "{init}");
    }
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
    assert_eq!(told(&leaf, Some("other")), Err(NoProcess::NoneNamed));
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
