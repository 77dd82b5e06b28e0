//! What the agent asks of the API server.

use std::thread;
use std::time::Duration;

use cluster_suite::audit;
use cluster_suite::space::{SIGNAL, Space, app, config_map, wait_until};

/// Longer than the verify window, which is the last thing that a change leads to.
const QUIET: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(60);

#[test]
fn an_idle_agent_keeps_a_watch_and_asks_for_nothing_more_than_once_a_minute() {
    let Some(space) = Space::alone("idle") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")])]);
    // What is asked for is in the log.
    let mark = audit::mark();
    space.change("two");
    wait_until("the API server has logged the agent's Event", || {
        audit::since(mark).others.contains_key("create events")
    });

    audit::wait_quiet(QUIET);
    let mark = audit::mark();
    thread::sleep(IDLE);
    let seen = audit::since(mark);
    assert!(seen.others() <= 1, "{seen:?}");
    let all = audit::since(audit::BEGINNING);
    assert!(all.watches_started > all.watches_ended, "no watch is open: {all:?}");
    space.change("three");
    space.wait_told("app", "app", &["hup two", "hup three"]);
}
