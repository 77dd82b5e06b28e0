use super::*;
use crate::controller::testing::{Before, Server};
use crate::logs::Page;

/// A replica that has just got the Lease.
async fn holding(server: &Server) -> Keeper {
    let (mut keeper, mut known) = Keeper::new(server.asker(), "reloadlet".to_owned(), "me".to_owned());
    tokio::select! {
        () = keeper.run() => {}
        held = known.wait_for(|known| known.lasts(clock::now()).is_some()) => drop(held.unwrap()),
    }
    server.kept(|kept| kept.asked.clear());
    keeper
}

/// Has the Lease given back. What was asked, the paths left out, and the lines of the log.
async fn given_back(server: &Server, keeper: &mut Keeper) -> (Vec<String>, Vec<String>) {
    let page = Page::default();
    let shown = page.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || shown.clone()).finish();
    let guard = tracing::subscriber::set_default(lines);
    keeper.give_back().await;
    drop(guard);
    let method = |asked: &String| asked.split(' ').next().unwrap().to_owned();
    (server.kept(|kept| kept.asked.iter().map(method).collect()), page.lines())
}

const UNSAID: [String; 0] = [];

#[tokio::test(start_paused = true)]
async fn the_lease_is_given_back_by_an_update_of_what_was_read_and_the_next_one_takes_it_at_once() {
    let server = Server::new();
    let mut keeper = holding(&server).await;
    let before = server.lease();
    assert_eq!((&before["holderIdentity"], &before["leaseTransitions"]), (&json!("me"), &json!(0)));
    let (asked, said) = given_back(&server, &mut keeper).await;
    assert_eq!((asked, said), (vec!["GET".to_owned(), "PUT".to_owned()], UNSAID.to_vec()));
    let after = server.lease();
    assert_eq!((&after["holderIdentity"], &after["leaseDurationSeconds"]), (&json!(""), &json!(1)));
    for field in ["leaseTransitions", "acquireTime"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(keeper.leadership.borrow().lasts(clock::now()), None, "it works no more");

    let (mut next, mut known) = Keeper::new(server.asker(), "reloadlet".to_owned(), "next".to_owned());
    tokio::select! {
        () = next.run() => {}
        held = known.wait_for(|known| known.lasts(clock::now()).is_some()) => drop(held.unwrap()),
    }
    let taken = server.lease();
    assert_eq!((&taken["holderIdentity"], &taken["leaseTransitions"]), (&json!("next"), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_another_ones_by_now_or_was_never_held_isnt_touched() {
    let server = Server::new();
    let mut keeper = holding(&server).await;
    server.kept(|kept| {
        kept.version += 1;
        kept.lease.as_mut().unwrap()["holderIdentity"] = json!("other");
    });
    let (asked, said) = given_back(&server, &mut keeper).await;
    assert_eq!((asked, said), (vec!["GET".to_owned()], UNSAID.to_vec()));
    assert_eq!(server.lease()["holderIdentity"], "other");

    server.kept(|kept| kept.asked.clear());
    let (mut other, _known) = Keeper::new(server.asker(), "reloadlet".to_owned(), "third".to_owned());
    assert_eq!(given_back(&server, &mut other).await, (vec![], UNSAID.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_comes_late_keeps_nobody_from_giving_it_back() {
    let server = Server::new();
    let mut keeper = holding(&server).await;
    let mut late = 1;
    server.interfere(move |method, _, kept| {
        if method == "PUT" && late > 0 {
            late -= 1;
            kept.version += 1;
        }
        Before::Waits(Duration::ZERO)
    });
    let (asked, said) = given_back(&server, &mut keeper).await;
    assert_eq!((asked, said), (["GET", "PUT", "GET", "PUT"].map(str::to_owned).to_vec(), UNSAID.to_vec()));
    assert_eq!(server.lease()["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn that_it_cant_be_given_back_is_one_line_and_takes_a_few_seconds_at_most() {
    for (refuses, why) in [(true, "403"), (false, "it says nothing for 5 s")] {
        let server = Server::new();
        let mut keeper = holding(&server).await;
        server.interfere(move |method, _, _| match method {
            "PUT" if refuses => Before::Refused(403),
            "PUT" => Before::Silent,
            _ => Before::Waits(Duration::ZERO),
        });
        let begun = tokio::time::Instant::now();
        let (asked, said) = given_back(&server, &mut keeper).await;
        assert_eq!(asked, ["GET", "PUT"], "{why}");
        assert!(begun.elapsed() <= LIMIT + Duration::from_millis(10), "{:?}", begun.elapsed());
        let [line] = &said[..] else { panic!("{said:?}") };
        let sentence =
            "the Lease reloadlet-controller can't be given back: another replica works once it has run out";
        assert!(line.contains(" WARN ") && line.contains(sentence) && line.contains(why), "{line}");
        assert_eq!(server.lease()["holderIdentity"], "me");
    }
}
