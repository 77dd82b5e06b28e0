//! An overlay in the place of what is installed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::agent;
use crate::space::{kubectl, kubectl_command, output};

/// What is installed without it: as `install-agent` did.
fn installed() -> PathBuf {
    match std::env::var("OVERLAY") {
        Ok(name) if !name.is_empty() => directory(&name),
        _ => deploy(),
    }
}

/// The manifests.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../deploy")
}

/// Those of an overlay.
pub fn directory(name: &str) -> PathBuf {
    deploy().join("overlays").join(name)
}

/// An overlay that is applied as long as this lives. It takes the agent anew, so the test must be alone.
pub struct Overlay {
    /// Objects that only the overlay has.
    own: &'static [&'static str],
}

impl Overlay {
    /// Applies it, and waits until the agent runs with it.
    pub fn apply(name: &str, own: &'static [&'static str]) -> Self {
        let applied = Self { own };
        apply(&directory(name));
        agent::wait_rolled_out();
        agent::pod();
        applied
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The agent of the overlay ends here, and its log with it.
            eprintln!("the agent with the overlay:\n{}", agent::log());
        }
        apply(&installed());
        for object in self.own {
            if let Err(error) = output(kubectl_command(["delete", object])) {
                eprintln!("{error}");
            }
        }
        agent::wait_rolled_out();
    }
}

/// Applies manifests with the image that is installed. Nobody here has the time that `minReadySeconds` is there for.
fn apply(directory: &Path) {
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = kubectl(["-n", "reloadlet", "get", "daemonset", "reloadlet", "-o", image]);
    let built = kubectl(["kustomize".as_ref(), directory.as_os_str()]);
    let with = |line: &str, key: &str, value: &str| {
        line.split_once(key).map(|(before, _)| format!("{before}{}{value}\n", key.split(' ').next().unwrap()))
    };
    let lines = built.lines().map(|line| {
        with(line, "image: set-your-image.invalid/reloadlet:", &format!(" {image}"))
            .or_else(|| with(line, "minReadySeconds: ", " 0"))
            .unwrap_or_else(|| format!("{line}\n"))
    });
    let mut child = kubectl_command(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kubectl starts");
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(lines.collect::<String>().as_bytes()).expect("kubectl reads");
    drop(input);
    assert!(child.wait().expect("kubectl ends").success(), "kubectl can't apply {}", directory.display());
}
