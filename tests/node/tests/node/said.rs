//! What `reloadlet status` says of real processes, before and after a restart of the agent.

use std::process::Command;

use standin::{sibling_binary, wait_until};

use crate::support::{LIMIT, Rig, Setup, app, change, end_doubt};

/// The lines of the table but for the agent's own, without how long ago anything was.
fn lines(rig: &Rig) -> Vec<String> {
    let mut command = Command::new(sibling_binary("reloadlet").unwrap());
    command.args(["status", "--admin-listen", &rig.agent.admin().to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let without_age = |line: &str| {
        let (before, after) = line.split_once("undelivered for ")?;
        Some(format!("{before}undelivered{}", after.split_once(':')?.1))
    };
    let lines = table.lines().skip_while(|line| !line.starts_with("NAMESPACE")).skip(1);
    lines.map(|line| without_age(line).unwrap_or_else(|| line.to_owned())).collect()
}

/// The line of a pod.
fn line(rig: &Rig, pod: &str) -> String {
    lines(rig).into_iter().find(|line| line.starts_with(pod)).unwrap()
}

#[test]
fn the_status_says_the_same_before_and_after_a_restart_of_the_agent() {
    let named = app("named").annotation("reloadlet.io/process", "other");
    let bad = app("bad").annotation("reloadlet.io/debounce", "soon");
    let Some(stage) = Setup::new().stage(vec![app("told"), named, bad, app("older"), app("as-is")]) else {
        return;
    };
    end_doubt();
    let older = change(&stage.pod("older"), "before the agent was there");
    stage.pod("as-is").restart_container("app").unwrap();
    stage.pod("as-is").wait_ready("app").unwrap();
    let mut rig = stage.start();
    rig.agent.wait_ready(LIMIT).unwrap();
    let generation = |rig: &Rig, pod: &str| rig.pod(pod).generation("conf").unwrap().unwrap();
    wait_until(LIMIT, "what was there when it started", || {
        line(&rig, "as-is").contains(&format!("app:{}", generation(&rig, "as-is")))
    })
    .unwrap_or_else(|error| panic!("{error}\n{:#?}", lines(&rig)));
    assert!(line(&rig, "older").contains("  app:-  "), "{older:?}: {}", line(&rig, "older"));
    let missing = "there are \"workload\"";
    let said = line(&rig, "named");
    assert!(
        said.contains("  not measured, and nobody to tell: container app: ") && said.contains(missing),
        "{said}"
    );

    for pod in ["told", "named"] {
        change(&rig.pod(pod), "two");
    }
    rig.wait_told(&rig.pod("told"), "app", "two");
    rig.wait_outcomes("named", "no_process", 1);
    let before = lines(&rig);
    let pods: Vec<&str> = before.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(pods, ["as-is", "bad", "named", "older", "told"]);
    assert!(before[4].contains(&format!("app:{}", generation(&rig, "told"))), "{before:#?}");
    assert!(before[2].contains("app:-") && before[2].contains("wasn't told") && before[2].contains(missing));
    rig.wait_recorded();
    rig.kill_and_restart();
    rig.agent.wait_ready(LIMIT).unwrap();
    wait_until(LIMIT, "the same lines after a restart", || lines(&rig) == before)
        .unwrap_or_else(|error| panic!("{error}\n{before:#?}\n{:#?}", lines(&rig)));
    rig.end();
}
