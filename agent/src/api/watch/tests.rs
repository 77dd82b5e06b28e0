//! Against a server that answers what a test has it answer, under paused time.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;

use super::*;
use crate::contact::{Contact, WatchState};

mod rotation;
mod server;

use server::{Answer, Asked, End, Server, bookmark, expired, line, list, object};

/// The log lines that are written while it exists.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_there_is_is_listed_page_by_page_and_then_what_changes_is_told() {
    let server = Server::start(|asked| match asked.len() {
        1 => list(&["a", "b"], "more"),
        2 => list(&["c"], ""),
        3 => Answer::Tells(
            vec![
                (1, line("MODIFIED", &object("a", "6"))),
                (1, line("DELETED", &object("b", "7"))),
                (60, bookmark(9)),
            ],
            End::Ends,
        ),
        _ => Answer::Tells(vec![], End::Hangs),
    })
    .await;
    let told = server.follow(70).await;
    assert_eq!(told, ["init", "listed a", "listed b", "listed c", "done", "changed a", "deleted b"]);
    let uris: Vec<String> = server.asked().into_iter().map(|asked| asked.uri).collect();
    assert_eq!(uris.len(), 4, "{uris:?}");
    assert!(uris[0].contains("fieldSelector=spec.nodeName%3Dn1") && uris[0].contains("limit=4"), "{uris:?}");
    assert!(uris[1].contains("continue=more"), "{uris:?}");
    assert!(
        uris[2].contains("resourceVersion=5") && uris[2].contains("allowWatchBookmarks=true"),
        "{uris:?}"
    );
    assert!(uris[3].contains("resourceVersion=9"), "it goes on from the bookmark: {uris:?}");
    assert_eq!(server.state(), WatchState::Up, "a watch that ends as watches do is no failure");
}

#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_is_no_reason_to_be_blind_for_a_day() {
    let server = Server::start(|asked| match asked.len() {
        1 => Answer::Busy("100000"),
        2 => list(&["a"], ""),
        3 => Answer::Busy("99999999999"),
        _ => Answer::Tells(vec![], End::Hangs),
    })
    .await;
    let told = server.follow(80).await;
    assert_eq!(told, ["init", "listed a", "done"]);
    assert_eq!(server.asked().len(), 4);
    assert!(server.longest_pause() <= 30.1, "{:?}", server.asked());
    assert_eq!(server.state(), WatchState::Up);
}

#[tokio::test(start_paused = true)]
async fn a_modest_retry_after_is_obeyed() {
    let server = Server::start(|asked| match asked.len() {
        1 => Answer::Busy("20"),
        2 => list(&[], ""),
        _ => Answer::Tells(vec![], End::Hangs),
    })
    .await;
    server.follow(40).await;
    let asked = server.asked();
    assert!((20.0..=21.0).contains(&(asked[1].at - asked[0].at)), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_first_list_fails_there_are_few_tries_and_one_line() {
    let (log, _logging) = Log::start();
    let server = Server::start(|_| Answer::Fails).await;
    assert_eq!(server.follow(15).await, ["init"]);
    let tries = server.asked().len();
    assert!((4..=7).contains(&tries), "{:?}", server.asked());
    let lines = log.lines();
    assert!(
        lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains("can't be reached"),
        "{lines:#?}"
    );
    assert_eq!(server.state(), WatchState::Down);
    assert!(*server.reads.lock().unwrap() > 1, "the configuration is read again");
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_at_least_every_half_minute_however_long_it_was_away() {
    let server = Server::start(|_| Answer::Fails).await;
    server.follow(3600).await;
    assert!(server.longest_pause() <= 30.1);
    let tries = server.asked().len();
    assert!((3600 / 30..3600 / 15 + 10).contains(&tries), "{tries} tries");
}

#[tokio::test(start_paused = true)]
async fn that_it_answers_again_is_said_after_a_real_answer() {
    let (log, _logging) = Log::start();
    let server = Server::start(|asked| match asked.len() {
        1..=3 => Answer::Says(403, r#"{"kind": "Status", "message": "you may not"}"#.to_owned()),
        4 => list(&[], ""),
        _ => Answer::Tells(vec![], End::Hangs),
    })
    .await;
    server.follow(30).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("403 Forbidden: you may not"), "{lines:#?}");
    assert!(lines[1].contains("again"), "{lines:#?}");
    assert_eq!(*server.reads.lock().unwrap(), 1, "another configuration wouldn't help");
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_down_when_it_fails_and_up_when_the_next_one_is_accepted() {
    let server = Server::start(|asked| match asked.len() {
        1 => list(&[], ""),
        2 => Answer::Tells(vec![(20, bookmark(6))], End::Ends),
        3..=6 => Answer::Fails,
        _ => Answer::Tells(vec![], End::Hangs),
    })
    .await;
    let mut states = vec![server.contact()];
    let mut stream = pin!(follow::<ConfigMap>(server.followed()));
    // The first list may be there within the first tenth of a second.
    states.push(server.contact());
    let following = async { while stream.next().await.is_some() {} };
    let mut following = pin!(following);
    for _ in 0..400 {
        assert!(tokio::time::timeout(Duration::from_millis(100), following.as_mut()).await.is_err());
        states.push(server.contact());
    }
    states.dedup();
    let expected = [WatchState::Unused, WatchState::Down, WatchState::Up, WatchState::Down, WatchState::Up];
    assert_eq!(states, expected);
}

#[tokio::test(start_paused = true)]
async fn versions_that_are_gone_again_and_again_are_no_storm_of_lists() {
    let server = Server::start(|asked| match asked.last().map(Asked::is_watch) {
        Some(true) => Answer::Tells(vec![(0, expired())], End::Ends),
        Some(false) | None => list(&["a"], ""),
    })
    .await;
    let told = server.follow(600).await;
    let lists = told.iter().filter(|told| **told == "done").count();
    assert!((600 / 30..60).contains(&lists), "{lists} lists");
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_no_storm_of_watches() {
    let server = Server::start(|asked| match asked.last().map(Asked::is_watch) {
        Some(true) => Answer::Tells(vec![], End::Ends),
        Some(false) | None => list(&["a"], ""),
    })
    .await;
    let told = server.follow(600).await;
    assert_eq!(told, ["init", "listed a", "done"], "they go on from where they were");
    assert!((600 / 30..60).contains(&server.asked().len()), "{}", server.asked().len());
    assert_eq!(server.state(), WatchState::Down);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_gone_begins_the_list_anew_and_another_failure_goes_on_with_it() {
    let server = Server::start(|asked| match asked.len() {
        1 => list(&["a"], "first"),
        2 => Answer::Says(410, String::new()),
        3 => list(&["a"], "second"),
        4 => Answer::Says(503, String::new()),
        5 => list(&["b"], ""),
        _ => Answer::Tells(vec![], End::Hangs),
    })
    .await;
    let told = server.follow(30).await;
    assert_eq!(told, ["init", "listed a", "init", "listed a", "listed b", "done"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_token_isnt_known_any_more_begins_anew() {
    for status in [400, 500] {
        let server = Server::start(move |asked| {
            let last = asked.last().unwrap();
            if last.uri.contains("continue=lost") {
                Answer::Says(status, "continue key is not valid".to_owned())
            } else if last.is_watch() {
                Answer::Tells(vec![], End::Hangs)
            } else {
                list(&["a"], if asked.len() == 1 { "lost" } else { "" })
            }
        })
        .await;
        let told = server.follow(90).await;
        assert_eq!(told, ["init", "listed a", "init", "listed a", "done"], "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_without_an_end_are_no_contact_and_given_up_in_time() {
    let (log, _logging) = Log::start();
    let server = Server::start(|asked| {
        let token = asked.len();
        let page =
            format!(r#"{{"metadata": {{"resourceVersion": "5", "continue": "{token}"}}, "items": []}}"#);
        Answer::Tells(vec![(1, page)], End::Ends)
    })
    .await;
    server.follow(300).await;
    assert_eq!(server.state(), WatchState::Down);
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("its list doesn't end")), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_page_has_a_bounded_number_of_items() {
    let items = vec!["{}"; MOST_LISTED + 1].join(",");
    let page = format!(r#"{{"metadata": {{"resourceVersion": "5"}}, "items": [{items}]}}"#);
    let (log, _logging) = Log::start();
    let server = Server::start(move |_| Answer::Says(200, page.clone())).await;
    assert!(!server.follow(5).await.contains(&"done".to_owned()));
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("at most 10000 items")), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_doesnt_know_the_version_is_listed() {
    let server = Server::start(|asked| match asked.len() {
        1 | 3 => list(&[], ""),
        2 => Answer::Says(504, r#"{"message": "Too large resource version"}"#.to_owned()),
        _ => Answer::Tells(vec![], End::Hangs),
    })
    .await;
    assert_eq!(server.follow(30).await, ["init", "done", "init", "done"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_ends_is_given_up() {
    let (log, _logging) = Log::start();
    for (server, most) in [
        (Server::start(|_| list(&["a"], "same")).await, 2 * 60),
        (Server::start(|asked| list(&[], &asked.len().to_string())).await, 30 * MOST_LISTED),
        (Server::start(|_| Answer::Says(200, "{}".to_owned())).await, 60),
    ] {
        let told = server.follow(60).await;
        assert!(!told.contains(&"done".to_owned()));
        assert!(server.asked().len() < most, "{} requests", server.asked().len());
    }
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("its list doesn't end")), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    for status in [200, 502] {
        let server = Server::start(move |_| match status {
            200 => Answer::Floods,
            other => Answer::Says(other, "x".repeat(100 << 20)),
        })
        .await;
        assert_eq!(server.follow(3).await, ["init"]);
        assert!(server.asked().len() < 8, "{:?}", server.asked());
    }
    let server = Server::start(|asked| if asked.len() == 1 { list(&[], "") } else { Answer::Floods }).await;
    server.follow(3).await;
    assert!(server.asked().iter().any(Asked::is_watch));
    assert_eq!(server.state(), WatchState::Down);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let server = Server::start(|asked| {
        let uri = &asked.last().unwrap().uri;
        if uri.contains("watch=true") {
            return Answer::Tells(vec![], End::Hangs);
        }
        if uri.contains("limit=1") { list(&["huge"], "") } else { Answer::Floods }
    })
    .await;
    assert_eq!(server.follow(5).await, ["init", "listed huge", "done"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_is_replaced() {
    let server = Server::start(|asked| match asked.len() {
        1 => list(&[], ""),
        2 => Answer::Tells(vec![(50, bookmark(6)), (50, bookmark(7))], End::Hangs),
        _ => Answer::Tells(vec![(1, line("ADDED", &object("b", "8")))], End::Hangs),
    })
    .await;
    assert_eq!(server.follow(195).await, ["init", "done", "changed b"]);
    assert!(server.asked()[2].uri.contains("resourceVersion=7"));
}

#[tokio::test(start_paused = true)]
async fn agents_that_start_together_dont_list_together() {
    let mut starts = Vec::new();
    for _ in 0..50 {
        let server = Server::start(|_| Answer::Tells(vec![], End::Hangs)).await;
        server.follow(2).await;
        starts.push(server.asked()[0].at);
    }
    starts.sort_by(f64::total_cmp);
    assert!(starts[0] < 0.5 && starts[49] > 0.5 && starts[49] <= 1.01, "{starts:?}");
}
