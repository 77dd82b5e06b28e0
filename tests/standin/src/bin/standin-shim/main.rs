//! Container shim and low-level runtime of the stand-in node.
//!
//! `standin-shim shim PLAN` stays outside the container's cgroup leaf as the parent of its first process; it starts
//! `standin-shim init PLAN` in the right PID namespace, which joins the leaf, makes the file system and becomes the
//! container's program. When the shim's standard input ends, it kills its process and cleans up.

mod init;
mod parent;
mod root;

use std::process::ExitCode;

use standin::shim::Plan;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (role, text) = (args.next(), args.next().unwrap_or_default());
    let plan: Plan = match serde_json::from_str(&text) {
        Ok(plan) => plan,
        Err(error) => {
            parent::say(&format!("failed a plan can't be understood: {error}"));
            return ExitCode::from(2);
        }
    };
    match role.as_deref() {
        Some("init") => init::run(&plan),
        _ => parent::run(&plan, &text),
    }
}
