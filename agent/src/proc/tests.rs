use super::*;
use reloadlet_core::model::names::ContainerId;

fn own() -> (ProcRoot, u32) {
    (ProcRoot::new("/proc".into()), std::process::id())
}

#[test]
fn this_process_can_be_read() {
    let (proc, pid) = own();
    let status = proc.status(pid).unwrap().unwrap();
    assert_eq!(status.namespace_pids.first(), Some(&pid));
    assert!(!proc.stat(pid).unwrap().unwrap().is_dead());
    assert!(proc.threads(pid).unwrap().unwrap().count() > 0);
    let thread = pid.to_string();
    for in_stat in [true, false] {
        assert!(proc.blocked_in_thread(pid, &thread, in_stat).unwrap().is_some());
    }
}

#[test]
fn stat_and_a_pidfd_say_the_same_as_status() {
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let (proc, pid) = (own().0, child.id());
    // Until it is executed it has this program's handlers, and until it sleeps it loads its libraries.
    let sleeps = |stat: Stat| stat.comm == "sleep" && stat.state == 'S';
    while !sleeps(proc.stat(pid).unwrap().unwrap()) {
        std::thread::yield_now();
    }
    let (masks, status) = (proc.leader_masks(pid).unwrap().unwrap(), proc.status(pid).unwrap().unwrap());
    let pids = proc.namespace_pids(pid).unwrap().unwrap();
    let told = proc.pidfd_info(pid);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(pids, status.namespace_pids);
    assert!(told.is_some(), "this kernel tells them of a pidfd");
    let seen = Status { namespace_pids: pids, pending: status.pending, ..masks };
    assert_eq!((&seen.comm, seen.threads, seen.state), (&status.comm, status.threads, status.state));
    assert_eq!(seen.memory, status.memory);
    assert!(status.most_memory >= Some(status.memory), "{status:?}");
    for signal in 1..32 {
        assert_eq!(seen.blocked.contains(signal), status.blocked.contains(signal), "{signal}");
        assert_eq!(seen.ignored.contains(signal), status.ignored.contains(signal), "{signal}");
        assert_eq!(seen.caught.contains(signal), status.caught.contains(signal), "{signal}");
    }
}

/// A process whose first thread and others have these flags and numbers of threads.
fn ending(first: u32, threads: u32, other: u32) -> bool {
    let stat = |flags, threads| {
        format!("7 (app) R 1 1 1 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 {threads} 0 123{}", " 0".repeat(30))
    };
    let (dir, proc) = fake("stat", &stat(first, threads));
    for thread in 7..7 + threads.max(2) {
        let flags = if thread == 7 { first } else { other };
        let task = dir.path().join("7/task").join(thread.to_string());
        std::fs::create_dir_all(&task).unwrap();
        std::fs::write(task.join("stat"), stat(flags, threads)).unwrap();
    }
    let ended = proc.has_ended(7).unwrap();
    assert_eq!(proc.stat(7).unwrap().unwrap().is_dead(), ended);
    assert_eq!(proc.leader_masks(7).unwrap().is_none(), ended);
    ended
}

#[test]
fn a_process_that_is_ending_is_dead_unless_only_its_first_thread_is() {
    let (runs, exits) = (0x40_0000, 0x40_0004);
    assert!(ending(exits, 1, exits) && ending(exits, 2, exits));
    assert!(!ending(runs, 1, runs) && !ending(runs, 2, exits), "another thread ends");
    assert!(!ending(exits, 2, runs), "its first one does");
    assert!(ending(exits, 15, exits) && !ending(exits, 17, exits), "not all of them are looked at");
}

fn fake(file: &str, text: &str) -> (tempfile::TempDir, ProcRoot) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("7")).unwrap();
    std::fs::write(dir.path().join("7").join(file), text).unwrap();
    let proc = ProcRoot::new(dir.path().into());
    (dir, proc)
}

#[test]
fn only_the_start_of_a_command_line_is_read() {
    let (_dir, proc) = fake("cmdline", &"x".repeat(1 << 20));
    assert_eq!(proc.cmdline(7).unwrap().unwrap().len() as u64, COMMAND);
}

#[test]
fn masks_behind_65536_groups_are_read() {
    let masks = "NSpid:\t7\nThreads:\t1\nShdPnd:\t0\nSigBlk:\t1\nSigIgn:\t0\nSigCgt:\t0\n";
    let text = format!("Name:\tapp\nGroups:\t{}\n{masks}", "4294967294 ".repeat(65_536));
    let (_dir, proc) = fake("status", &text);
    assert!(proc.status(7).unwrap().unwrap().blocked.contains(1));
}

#[test]
fn mounts_beyond_the_bound_are_not_read_and_take_nothing_away() {
    let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
    let own = format!("1 0 254:0 /pods/{pod}/containers/app/01234567 /dev/termination-log rw - ext4 d rw\n");
    let long = format!("1 0 0:9 /{} /x rw - tmpfs tmpfs rw\n", "\\012".repeat(2000));
    let (_dir, proc) = fake("mountinfo", &(own.clone() + &long.repeat(8000)));
    let mounts = proc.mounts(7, &pod).unwrap().unwrap();
    assert_eq!(mounts.container.as_deref(), Some("app"));
    let mut cut = ContainerMounts::parse(&(own + &long), &pod);
    assert_ne!(mounts, cut);
    cut.cut();
    assert_eq!(mounts, cut);
}

#[test]
fn a_line_that_is_too_long_is_passed_over() {
    let text = format!("a\n{}\nb\ncut", "x".repeat(LONGEST_LINE + 1));
    let mut lines = Vec::new();
    let read = each_line(text.as_bytes(), |line| lines.push(line.to_owned())).unwrap();
    assert_eq!((read, lines), (text.len() as u64, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_process_that_isnt_there_is_none_and_not_an_error() {
    let (proc, _) = own();
    assert!(proc.stat(u32::MAX).unwrap().is_none());
    assert!(proc.status(u32::MAX).unwrap().is_none());
    assert!(proc.threads(u32::MAX).unwrap().is_none());
    assert!(proc.namespace_pids(u32::MAX).unwrap().is_none());
}

#[test]
fn a_process_that_is_ending_has_no_mounts_and_that_is_no_error() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let (proc, pid) = (own().0, child.id());
    // Until it is waited for it is a zombie.
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
    let mounts = proc.mounts(pid, &pod);
    child.wait().unwrap();
    assert!(mounts.unwrap().is_none());
}

#[test]
fn a_process_outside_the_pods_cgroup_is_never_the_one_that_is_meant() {
    let (proc, pid) = own();
    let started = proc.stat(pid).unwrap().unwrap().started;
    let pod = PodUid::parse("6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap();
    let container = ContainerId::parse(&"a".repeat(64)).unwrap();
    assert!(!proc.is(&ProcessIdentity { pid, started, pod, container }).unwrap());
}

#[test]
fn a_status_that_cant_be_understood_doesnt_mean_that_the_process_is_gone() {
    let (_dir, proc) = fake("status", "Name:\tapp\n");
    assert!(proc.status(7).is_err());
}

#[test]
fn a_stat_that_cant_be_understood_doesnt_mean_that_the_process_is_gone() {
    let (dir, proc) = fake("stat", "7 (app) S 1\n");
    let error = proc.stat(7).unwrap_err();
    assert!(error.to_string().ends_with("/7/stat"), "{error}");
    assert_eq!(error.lack(), Lack::Unreadable);
    assert!(proc.leader_masks(7).is_err());
    std::fs::create_dir_all(dir.path().join("7/task/8")).unwrap();
    std::fs::write(dir.path().join("7/task/8/stat"), "8 (app) S 1\n").unwrap();
    assert!(proc.blocked_in_thread(7, "8", true).is_err());
}

#[test]
fn a_file_that_stands_in_the_way_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("7/stat")).unwrap();
    let error = ProcRoot::new(dir.path().into()).stat(7).unwrap_err();
    assert!(error.to_string().ends_with("/7/stat"), "{error}");
}
