//! Programs that make what the kernel says of them as long as they can, and a victim in another namespace, under the
//! memory limit of the DaemonSet.

use std::fs;
use std::time::{Duration, Instant};

use standin::{ContainerSpec, PodSpec, VolumeSpec, wait_until};

use crate::memory::{MemoryLimit, SECONDS};
use crate::support::{LIMIT, SIGNAL, Setup, app, change};

/// A pod whose container runs a program in Python that says `ready` and then waits.
fn program(name: &str, lines: &str) -> PodSpec {
    let script = format!(
        "import ctypes, os, signal, struct, sys, threading\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         def must(result):\n    assert result == 0, os.strerror(ctypes.get_errno())\n\
         {lines}\nprint('ready', flush=True)\nwhile True: signal.pause()\n"
    );
    PodSpec::new(name)
        .namespace(name)
        .annotation(SIGNAL, "SIGHUP")
        .volume(VolumeSpec::config_map("conf").key("app.conf", "one\n"))
        .container(ContainerSpec::new("app", &["python3", "-c", &script]).mount("conf", "/conf"))
}

/// A pod whose process is looked for by its name, and so anew at each change.
fn victim() -> PodSpec {
    app("victim").annotation("reloadlet.io/process", "workload")
}

/// Lets the victim be told of changes while a pod runs a program and changes too.
fn a_victim_is_told(name: &str, hostile: PodSpec) {
    let Some(limit) = MemoryLimit::new(name) else {
        eprintln!("skipped: needs a memory cgroup");
        return;
    };
    let wrapper = limit.wrapper();
    let setup = Setup::new()
        .programs(&["python3"])
        .alone()
        .agent(move |_, options| options.wrapper(&wrapper.iter().map(String::as_str).collect::<Vec<_>>()));
    let Some(stage) = setup.stage(vec![victim(), hostile]) else { return };
    let output = stage.pod(name).container("app").unwrap().output;
    let text = || fs::read_to_string(&output).unwrap_or_default();
    wait_until(LIMIT, "a program that is ready", || text().contains("ready"))
        .unwrap_or_else(|error| panic!("{error}\n{}", text()));
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    let (victim, hostile) = (rig.pod("victim"), rig.pod(name));

    // A young process waits for three seconds.
    change(&victim, "old enough");
    rig.wait_told(&victim, "app", "old enough");
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut delays = Vec::new();
    while delays.len() < 10 || Instant::now() < end {
        let content = format!("n{}", delays.len());
        change(&hostile, &content);
        let written = change(&victim, &content);
        let told = rig.wait_told(&victim, "app", &content);
        delays.push(Duration::from_nanos(told.saturating_sub(written.renamed_at().unwrap())));
        assert_eq!(rig.agent.get("/livez").unwrap().status, 200);
        assert_eq!(rig.agent.try_wait().unwrap(), None);
    }
    rig.wait_outcomes("victim", "delivered", u32::try_from(delays.len() + 1).unwrap());
    let count = delays.len();
    delays.sort();
    let (median, worst) = (delays[count / 2], delays[count - 1]);
    eprintln!("{name}: {count} changes, median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_millis(100), "{delays:?}");
    rig.end();
}

#[test]
fn a_command_line_of_400_mib_neither_ends_the_agent_nor_keeps_others_waiting() {
    // proc_pid_stat(5) has the addresses; prctl(2) PR_SET_MM takes them as `struct prctl_mm_map`.
    let lines = "import mmap\n\
        size = 400 << 20\n\
        area = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\n\
        area[:12] = b'/bin/wanted\\0'\n\
        start = ctypes.addressof(ctypes.c_char.from_buffer(area))\n\
        f = open('/proc/self/stat').read().rpartition(')')[2].split()\n\
        at = lambda field: int(f[field - 3])\n\
        libc.sbrk.restype = ctypes.c_void_p\n\
        new = struct.pack('12QIi', at(26), at(27), at(45), at(46), at(47), libc.sbrk(0), at(28), start, start + size, \
        at(50), at(51), 0, 0, -1)\n\
        must(libc.prctl(35, 14, new, len(new), 0))\n\
        signal.signal(signal.SIGHUP, lambda *_: None)";
    a_victim_is_told("command", program("command", lines).annotation("reloadlet.io/process", "wanted"));
}

#[test]
fn thousands_of_mounts_with_long_paths_neither_end_the_agent_nor_keep_others_waiting() {
    let lines = "must(libc.unshare(0x10020000))\n\
        open('/proc/self/setgroups', 'w').write('deny')\n\
        open('/proc/self/uid_map', 'w').write('0 0 1')\n\
        open('/proc/self/gid_map', 'w').write('0 0 1')\n\
        must(libc.mount(b't', b'/tmp', b'tmpfs', 0, b'size=64m'))\n\
        os.chdir('/tmp')\n\
        for _ in range(15): os.mkdir('\\n' * 250); os.chdir('\\n' * 250)\n\
        os.mkdir('d')\n\
        for _ in range(8000): must(libc.mount(b'd', b'd', None, 4096, None))\n\
        signal.signal(signal.SIGHUP, lambda *_: None)";
    a_victim_is_told("mounts", program("mounts", lines));
}

/// 65,536 groups, as many as the kernel allows.
const GROUPS: &str = "os.setgroups(range(4000000000, 4000065536))";

#[test]
fn hundreds_of_processes_with_65536_groups_dont_keep_others_waiting() {
    let lines = format!(
        "{GROUPS}\n\
         for _ in range(255):\n    \
             if os.fork() == 0:\n        \
                 must(libc.prctl(15, b'many', 0, 0, 0))\n        \
                 while True: signal.pause()"
    );
    a_victim_is_told("processes", program("processes", &lines).annotation("reloadlet.io/process", "many"));
}

#[test]
fn thousands_of_threads_with_65536_groups_that_block_the_signal_dont_keep_others_waiting() {
    let lines = format!(
        "{GROUPS}\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n\
         threading.stack_size(32768)\n\
         never = threading.Event()\n\
         for _ in range(2000): threading.Thread(target=never.wait, daemon=True).start()"
    );
    a_victim_is_told("threads", program("threads", &lines));
}
