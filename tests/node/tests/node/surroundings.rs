//! Surroundings that aren't as the agent needs them: it says what it lacks, and loses no change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use standin::{AgentOptions, Node, Pod, PodSpec, boottime_ns, wait_until};

use crate::support::{LIMIT, Rig, Setup, app, change, end_doubt};

/// Only the capability that the agent has on a cluster: without others, files can be closed to root.
const ONLY_KILL: [&str; 6] =
    ["setpriv", "--bounding-set", "-all,+kill", "--inh-caps", "-all", "--no-new-privs"];

/// Runs a program under a seccomp filter that answers `pidfd_send_signal` (424 on every architecture) with an error.
const WITHOUT_SEND: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 1, 424), (0x06, 0, 0, 0x00050000 | int(sys.argv[1])), (0x06, 0, 0, 0x7fff0000)])
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(4, code))) == 0
os.execv(sys.argv[2], sys.argv[2:])
"#;

fn apps(count: usize) -> Vec<PodSpec> {
    (0..count).map(|n| app(&format!("a{n}"))).collect()
}

/// Longer than a reload waits for a process that isn't there.
fn wait_out_patience() {
    let end = boottime_ns() + 12_000_000_000;
    wait_until(LIMIT, "more than ten seconds", || boottime_ns() > end).unwrap();
}

/// Why a pod's container can't be told, by `/status`.
fn missing(rig: &Rig, pod: &Pod) -> Option<String> {
    let status = rig.agent.status().ok()?;
    let found = status["pods"].as_array()?.iter().find(|found| found["uid"] == pod.uid())?.clone();
    found["containers"][0]["missing"].as_str().map(str::to_owned)
}

fn ended_so(rig: &Rig, outcome: &str) -> usize {
    let is_it = |line: &Value| line["message"] == "reload" && line["outcome"] == outcome;
    rig.log().iter().filter(|line| is_it(line)).count()
}

/// A directory that nobody may read who lacks the capability to, until this is dropped.
struct Closed<'a>(&'a Path);

impl<'a> Closed<'a> {
    fn new(path: &'a Path) -> Self {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        Self(path)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if let Err(error) = fs::set_permissions(self.0, fs::Permissions::from_mode(0o755)) {
            eprintln!("{} stays closed: {error}", self.0.display());
        }
    }
}

#[test]
fn without_pidfd_send_signal_the_agent_ends_with_one_sentence() {
    for errno in ["38", "1"] {
        let wrapper = move |_: &Node, options: AgentOptions| {
            options.wrapper(&["/usr/bin/python3", "-c", WITHOUT_SEND, errno])
        };
        let setup = Setup::new().light().programs(&["python3"]).agent(wrapper);
        let Some(stage) = setup.stage(apps(1)) else { return };
        let mut rig = stage.start();
        let ended = wait_until(LIMIT, "the end of the agent", || rig.agent.try_wait().unwrap()).unwrap();
        assert_eq!(ended.code(), Some(1), "{}", rig.tail());
        let errors = rig.messages("ERROR");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("pidfd_send_signal") && errors[0].contains("seccomp"), "{errors:?}");
    }
}

#[test]
fn without_the_hosts_processes_the_agent_ends_with_one_sentence() {
    let apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let wrapper = move |_: &Node, options: AgentOptions| options.wrapper(&apart);
    let setup = Setup::new().light().programs(&["unshare"]).agent(wrapper);
    let Some(stage) = setup.stage(apps(1)) else { return };
    let mut rig = stage.start();
    let ended = wait_until(LIMIT, "the end of the agent", || rig.agent.try_wait().unwrap()).unwrap();
    assert_eq!(ended.code(), Some(1), "{}", rig.tail());
    let errors = rig.messages("ERROR");
    assert!(errors.len() == 1 && errors[0].contains("hostPID: true"), "{errors:?}");
}

#[test]
fn a_mount_of_the_kubelet_root_that_gets_no_later_mounts_is_said() {
    for (propagation, is_blind) in [("private", true), ("slave", false)] {
        let apart = ["unshare", "--mount", "--propagation", propagation];
        let wrapper = move |_: &Node, options: AgentOptions| options.wrapper(&apart);
        let setup = Setup::new().light().programs(&["unshare"]).agent(wrapper);
        let Some(rig) = setup.start(apps(1)) else { return };
        assert_eq!(lacks(&rig, "mount_propagation"), is_blind, "{propagation}");
        if is_blind {
            rig.wait_warning("mountPropagation: HostToContainer");
        }
        rig.end();
    }
}

#[test]
fn without_an_inotify_instance_volumes_are_polled_until_one_can_be_had() {
    // A limit of a user namespace's own: nobody else on this machine is hurt.
    let set = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$@\"";
    let wrapper = move |_: &Node, options: AgentOptions| {
        options.wrapper(&["unshare", "--user", "--map-root-user", "sh", "-c", set, "sh"])
    };
    let setup = Setup::new().light().programs(&["unshare", "nsenter"]).agent(wrapper);
    let Some(rig) = setup.start(apps(3)) else { return };
    rig.wait_metric("reloadlet_polled_volumes", &[], 3.0);
    rig.wait_warning("fs.inotify.max_user_instances");
    let said = rig.messages("WARN").iter().filter(|text| text.contains("max_user_instances")).count();
    assert_eq!(said, 1);
    for content in ["two", "three"] {
        rig.node.pods().iter().for_each(|pod| drop(change(pod, content)));
        for pod in rig.node.pods() {
            rig.wait_told(&pod, "app", content);
        }
    }
    let late = rig.add_pod(app("late"));
    change(&late, "two");
    rig.wait_told(&late, "app", "two");

    let pid = rig.agent.pid().to_string();
    let mut raise = Command::new("nsenter");
    raise.args(["--user", "--preserve-credentials", "--target", &pid]);
    raise.args(["sh", "-c", "echo 128 >/proc/sys/user/max_inotify_instances"]);
    assert!(raise.status().unwrap().success());
    rig.wait_metric("reloadlet_polled_volumes", &[], 0.0);
    assert!(rig.metric("reloadlet_inotify_watches", &[]) >= 4.0);
    for pod in rig.node.pods() {
        change(&pod, "four");
        rig.wait_told(&pod, "app", "four");
    }
    rig.end();
}

#[test]
fn a_kubelet_root_that_isnt_the_kubelets_is_said_and_the_agent_isnt_ready() {
    let elsewhere = |node: &Node, options: AgentOptions| {
        let kubelet_root = node.dir().join("elsewhere");
        fs::create_dir_all(kubelet_root.join("pods")).unwrap();
        AgentOptions { kubelet_root, ..options }
    };
    let Some(stage) = Setup::new().agent(elsewhere).stage(apps(2)) else { return };
    let rig = stage.start();
    rig.wait_metric("reloadlet_kubelet_root_wrong", &[], 1.0);
    let in_use = rig.options.kubelet_root.display().to_string();
    let right = rig.node.kubelet_root().display().to_string();
    rig.wait_warning(&in_use);
    let said =
        rig.messages("WARN").into_iter().filter(|text| text.contains(&format!("show \"{right}\""))).count();
    // The warning, and the problem of each of the two pods.
    assert_eq!(said, 3, "{}", rig.tail());
    rig.wait_metric("reloadlet_problems", &[("kind", "kubelet_root")], 2.0);
    assert!(!rig.agent.is_ready());
}

#[test]
fn no_change_is_lost_for_want_of_descriptors() {
    let wrapper = |_: &Node, options: AgentOptions| options.wrapper(&["prlimit", "--nofile=64:64"]);
    let setup = Setup::new().light().programs(&["prlimit"]).agent(wrapper);
    let Some(rig) = setup.start(apps(80)) else { return };
    let pods = rig.node.pods();
    end_doubt();
    pods.iter().for_each(|pod| drop(change(pod, "two")));
    wait_out_patience();
    let delivered = || ended_so(&rig, "delivered");
    wait_until(LIMIT, "the deliveries that can be made", || delivered() >= 20).unwrap();
    assert_eq!(ended_so(&rig, "no_process"), 0, "{}", rig.tail());
    assert!(delivered() < 80);
    let is_told = |pod: &&std::sync::Arc<Pod>| !pod.signals("app").unwrap().is_empty();
    let waiting = pods.iter().find(|pod| !is_told(pod)).unwrap();
    let reason = wait_until(LIMIT, "a reason", || missing(&rig, waiting)).unwrap();
    assert!(reason.contains("no file descriptors left"), "{reason}");
    let problems =
        |metrics: &standin::Metrics| metrics.value("reloadlet_problems", &[("kind", "agent")]) > 0.0;
    rig.agent.wait_metrics(LIMIT, "a problem of the agent's own", problems).unwrap();
    let lacks = rig.agent.status().unwrap()["agent"]["lacks"].clone();
    assert!(lacks.as_array().unwrap().iter().any(|lack| lack["what"] == "looks"), "{lacks}");
    rig.wait_warning("RLIMIT_NOFILE");
    // Whoever was told goes, until everybody was.
    let mut left = pods.clone();
    let all_told = || {
        let (told, waiting): (Vec<_>, Vec<_>) = left.drain(..).partition(|pod| is_told(&pod));
        for pod in &told {
            pod.remove().unwrap();
        }
        if !told.is_empty() {
            rig.publish_pods();
        }
        left = waiting;
        left.is_empty()
    };
    wait_until(LIMIT, "a signal for each pod", all_told)
        .unwrap_or_else(|error| panic!("{error}\n{}", rig.tail()));
    assert_eq!(ended_so(&rig, "no_process"), 0);
    rig.end();
}

#[test]
fn one_namespace_doesnt_use_up_the_descriptors_of_the_others() {
    let wrapper = |_: &Node, options: AgentOptions| options.wrapper(&["prlimit", "--nofile=64:64"]);
    let setup = Setup::new().light().programs(&["prlimit"]).agent(wrapper);
    let many = (0..60).map(|n| app(&format!("m{n}")).namespace("many")).collect();
    let Some(rig) = setup.start(many) else { return };
    for name in ["b", "c", "d"] {
        let pod = rig.add_pod(app(name));
        end_doubt();
        change(&pod, "two");
        rig.wait_told(&pod, "app", "two");
    }
    rig.end();
}

#[test]
fn a_volume_that_the_agent_may_not_read_is_said_and_awaited() {
    let wrapper = |_: &Node, options: AgentOptions| options.wrapper(&ONLY_KILL);
    let Some(stage) = Setup::new().light().programs(&["setpriv"]).agent(wrapper).stage(apps(1)) else {
        return;
    };
    let pod = stage.pod("a0");
    let closed = Closed::new(pod.dir());
    let mut rig = stage.start();
    rig.wait_warning("isn't allowed");
    let line = rig.wait_line("an error with its file", |line| {
        line["error"].as_str().is_some_and(|error| error.contains("ermission denied"))
    });
    assert!(line.to_string().contains(pod.uid()), "{line}");
    assert!(!rig.agent.is_ready(), "a volume isn't watched");
    drop(closed);
    rig.agent.wait_ready(LIMIT).unwrap();
    change(&pod, "two");
    rig.wait_told(&pod, "app", "two");
    rig.end();
}

#[test]
fn a_cgroup_that_the_agent_may_not_read_isnt_an_empty_one() {
    let wrapper = |_: &Node, options: AgentOptions| options.wrapper(&ONLY_KILL);
    let setup = Setup::new().light().programs(&["setpriv"]).agent(wrapper);
    let Some(stage) = setup.stage(apps(1)) else { return };
    let pod = stage.pod("a0");
    let cgroup = pod.cgroup_dir();
    let closed = Closed::new(&cgroup);
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    end_doubt();
    change(&pod, "two");
    wait_out_patience();
    assert_eq!(ended_so(&rig, "no_process"), 0, "{}", rig.tail());
    let reason = missing(&rig, &pod).unwrap_or_default();
    assert!(reason.contains("isn't allowed"), "{reason}");
    rig.wait_warning("isn't allowed");
    drop(closed);
    rig.wait_told(&pod, "app", "two");
    rig.end();
}

#[test]
fn a_threaded_cgroup_hides_no_process() {
    let Some(rig) = Setup::new().light().start(apps(1)) else { return };
    let pod = rig.pod("a0");
    let above = pod.cgroup_dir();
    let leaves = fs::read_dir(&above).unwrap().flatten().map(|entry| entry.path());
    let pids = |leaf: &Path| fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
    let leaf = leaves.filter(|path| path.is_dir()).find(|leaf| !pids(leaf).is_empty()).unwrap();
    let members = pids(&leaf);
    let put = |directory: &Path| {
        members.lines().for_each(|pid| fs::write(directory.join("cgroup.procs"), pid).unwrap())
    };
    // Only an empty one beside no other processes becomes threaded.
    put(&above);
    fs::write(leaf.join("cgroup.type"), "threaded").unwrap();
    put(&leaf);
    assert!(fs::read_to_string(leaf.join("cgroup.procs")).is_err(), "it shows threads only");
    // The agent looks at the container anew.
    let mut rig = rig;
    rig.kill_and_restart();
    rig.agent.wait_ready(LIMIT).unwrap();
    end_doubt();
    change(&pod, "two");
    rig.wait_told(&pod, "app", "two");
    rig.end();
}

#[test]
fn a_runtime_that_takes_the_pods_slice_for_a_part_of_a_name_hides_no_process() {
    let Some(rig) = Setup::new().light().start(apps(1)) else { return };
    let pod = rig.pod("a0");
    let own = pod.cgroup_dir();
    let is_pods =
        |path: &&Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubepods"));
    let above = own.ancestors().filter(is_pods).last().unwrap().parent().unwrap();
    let slice = format!("kubepods-burstable-pod{}.slice", pod.uid().replace('-', "_"));
    let pids = |leaf: &Path| fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
    let put = |pids: &str, leaf: &Path| {
        pids.lines().for_each(|pid| fs::write(leaf.join("cgroup.procs"), pid).unwrap());
    };
    let mut moved = Vec::new();
    for leaf in fs::read_dir(&own).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let id = leaf.file_name().unwrap().to_string_lossy().into_owned();
        let joint = above.join("containerd.service").join(format!("{slice}:cri-containerd:{id}"));
        fs::create_dir_all(&joint).unwrap();
        put(&pids(&leaf), &joint);
        moved.push((leaf, joint));
    }
    // The agent looks at the containers anew.
    let mut rig = rig;
    rig.kill_and_restart();
    rig.agent.wait_ready(LIMIT).unwrap();
    end_doubt();
    change(&pod, "two");
    let told = wait_until(LIMIT, "the signal", || pod.signals("app").is_ok_and(|all| all.len() == 1));
    for (leaf, joint) in &moved {
        put(&pids(joint), leaf);
        fs::remove_dir(joint).unwrap();
    }
    fs::remove_dir(above.join("containerd.service")).unwrap();
    told.unwrap_or_else(|error| panic!("{error}\n{}", rig.tail()));
    rig.end();
}

#[test]
fn a_limit_of_file_sizes_is_as_a_full_disk() {
    let wrapper = |_: &Node, options: AgentOptions| options.wrapper(&["prlimit", "--fsize=262144"]);
    let setup = Setup::new().light().programs(&["prlimit"]).agent(wrapper);
    let Some(rig) = setup.start(apps(1)) else { return };
    rig.wait_metric("reloadlet_journal_in_memory", &[], 1.0);
    rig.wait_line("the error", |line| {
        line["error"].as_str().is_some_and(|error| error.contains("File too large"))
    });
    let pod = rig.pod("a0");
    change(&pod, "two");
    rig.wait_told(&pod, "app", "two");
    rig.end();
}

fn lacks(rig: &Rig, what: &str) -> bool {
    let Ok(status) = rig.agent.status() else { return false };
    status["agent"]["lacks"].as_array().is_some_and(|lacks| lacks.iter().any(|lack| lack["what"] == what))
}

#[test]
fn a_kubelet_root_that_is_closed_to_the_agent_is_said_and_awaited() {
    for below in ["", "pods"] {
        let wrapper = |_: &Node, options: AgentOptions| options.wrapper(&ONLY_KILL);
        let Some(stage) = Setup::new().light().programs(&["setpriv"]).agent(wrapper).stage(apps(1)) else {
            return;
        };
        let (pod, root) = (stage.pod("a0"), stage.node.kubelet_root().join(below));
        let closed = Closed::new(&root);
        let mut rig = stage.start();
        wait_until(LIMIT, "the lack", || lacks(&rig, "kubelet_root_closed")).unwrap();
        rig.wait_metric("reloadlet_kubelet_root_closed", &[], 1.0);
        rig.wait_warning("isn't allowed to look into the kubelet's directory of pods");
        assert!(!rig.agent.is_ready(), "{}", rig.tail());
        drop(closed);
        rig.agent.wait_ready(LIMIT).unwrap();
        rig.wait_metric("reloadlet_kubelet_root_closed", &[], 0.0);
        assert!(!lacks(&rig, "kubelet_root_closed"));
        end_doubt();
        change(&pod, "two");
        rig.wait_told(&pod, "app", "two");
        if below.is_empty() {
            rig.end();
            continue;
        }
        let closed = Closed::new(&root);
        rig.wait_metric("reloadlet_kubelet_root_closed", &[], 1.0);
        drop(closed);
        rig.wait_metric("reloadlet_kubelet_root_closed", &[], 0.0);
        change(&pod, "three");
        rig.wait_told(&pod, "app", "three");
        rig.signals(&pod, "app", 2);
        rig.end();
    }
}
