//! Volumes of CSI drivers: those that publish as the kubelet does, and those whose file system never answers.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;
use standin::{ContainerSpec, Pod, PodSpec, VolumeSpec, payload, wait_until};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, app, change};

/// A pod with a driver's volume, which it names.
fn driven(name: &str) -> PodSpec {
    PodSpec::new(name)
        .namespace(name)
        .annotation(SIGNAL, "SIGHUP")
        .annotation("reloadlet.io/volumes", "conf")
        .volume(VolumeSpec::csi("conf").key("app.conf", "one\n"))
        .container(ContainerSpec::workload("app", &["--read", "/conf/app.conf"]).mount("conf", "/conf"))
}

/// Where the driver mounts it.
fn place(rig_dir: &Path, pod: &Pod) -> PathBuf {
    rig_dir.join("pods").join(pod.uid()).join("volumes/kubernetes.io~csi/conf/mount")
}

/// A file system in user space whose server never answers: whoever touches it waits until it is gone.
struct Silent {
    server: Option<OwnedFd>,
    at: PathBuf,
}

impl Silent {
    /// Nothing where the kernel has no file systems in user space.
    fn mount(at: &Path) -> Option<Self> {
        let server = match rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(server) => server,
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => {
                eprintln!("left out: there is no /dev/fuse");
                return None;
            }
            Err(error) => panic!("/dev/fuse: {error}"),
        };
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        mount("silent", at, "fuse", MountFlags::empty(), Some(CString::new(options).unwrap().as_c_str()))
            .unwrap();
        Some(Self { server: Some(server), at: at.to_owned() })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Without a server whoever waits gets an error.
        drop(self.server.take());
        let unmounted = unmount(&self.at, UnmountFlags::DETACH);
        // The node may have taken it away.
        assert!(thread::panicking() || unmounted.is_ok(), "{unmounted:?}");
    }
}

fn problems(rig: &Rig, pod: &Pod) -> Vec<String> {
    let status = rig.agent.status().unwrap();
    let of_pod = status["pods"].as_array().unwrap().iter().find(|found| found["uid"] == pod.uid());
    let problems = of_pod.and_then(|pod| pod["problems"].as_array().cloned()).unwrap_or_default();
    problems.iter().map(|problem: &Value| problem["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_drivers_volume_is_told_of_and_is_taken_away_with_its_pod() {
    let Some(rig) = Setup::new().start(vec![driven("web"), driven("gone")]) else { return };
    let (web, gone) = (rig.pod("web"), rig.pod("gone"));
    for pod in [&web, &gone] {
        rig.wait_known(pod);
        change(pod, "two");
        rig.wait_told(pod, "app", "two");
    }
    // Nothing of the agent's keeps the driver from unmounting it.
    gone.remove().unwrap();
    change(&web, "three");
    rig.wait_told(&web, "app", "three");
    rig.signals(&web, "app", 2);
    rig.end();
}

#[test]
fn a_drivers_file_system_that_never_answers_holds_nobody_up_and_is_looked_at_once_it_is_another_one() {
    let Some(stage) = Setup::new().stage(vec![driven("stuck"), app("web")]) else { return };
    let stuck = stage.pod("stuck");
    let at = place(stage.node.kubelet_root(), &stuck);
    stuck.unmake_volume("conf").unwrap();
    fs::create_dir_all(&at).unwrap();
    let Some(silent) = Silent::mount(&at) else { return };
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    let web = rig.pod("web");
    change(&web, "two");
    rig.wait_told(&web, "app", "two");
    wait_until(LIMIT, "that nothing is seen in it is said", || {
        (problems(&rig, &stuck) == ["layout"]).then_some(())
    })
    .unwrap();
    drop(silent);
    stuck.make_volume("conf", payload([("app.conf", "two\n")])).unwrap();
    stuck.restart_container("app").unwrap();
    rig.publish_pods();
    rig.wait_known(&stuck);
    wait_until(LIMIT, "the problem is over", || problems(&rig, &stuck).is_empty().then_some(())).unwrap();
    change(&stuck, "three");
    rig.wait_told(&stuck, "app", "three");
    rig.signals(&web, "app", 1);
    rig.end();
}
