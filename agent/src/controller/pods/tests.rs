use std::time::Duration;

use reloadlet_core::rollouts::event::Disruption;

use super::super::testing::{Before, Server, processor_time};
use super::*;
use crate::raw_allocations::most_during;

/// How many pages of 50 objects a collection has in these tests, and what is on each.
type Pages = (usize, fn(usize) -> Vec<String>);

const NONE: Pages = (1, |_| Vec::new());

const WEB: &str = r#"{"metadata": {"name": "web", "namespace": "shop", "uid": "u-1"}, "spec": {"selector": {},
    "template": {"spec": {"containers": [{"name": "app"}]}}}}"#;

fn who(kind: Kind) -> WorkloadRef {
    WorkloadRef { kind, namespace: "shop".into(), name: "web".into() }
}

/// A server with a workload, and with these revisions, budgets and pods.
fn server(revisions: Pages, budgets: Pages, pods: Pages) -> Server {
    let server = Server::new();
    server.serve(move |path, query| {
        let (count, page) = match path.rsplit('/').next()? {
            "web" => return Some(WEB.to_owned()),
            "replicasets" | "controllerrevisions" => revisions,
            "poddisruptionbudgets" => budgets,
            "pods" => pods,
            _ => return None,
        };
        let token = query.split('&').find_map(|part| part.strip_prefix("continue="));
        let number: usize = token.map_or(0, |token| token.parse().unwrap());
        let next = if number + 1 < count { (number + 1).to_string() } else { String::new() };
        let items = page(number).join(",");
        Some(format!(r#"{{"metadata": {{"continue": "{next}"}}, "items": [{items}]}}"#))
    });
    server
}

fn labels(count: usize, bytes: usize) -> String {
    let labels: Vec<String> = (0..count).map(|n| format!(r#""{n:0bytes$}": "v""#)).collect();
    labels.join(",")
}

fn owners(uid: &str, others: usize) -> String {
    let others = (0..others).map(|n| format!(r#"{{"uid": "other-{n:036}", "controller": false}}"#));
    let owners: Vec<String> = others.chain([format!(r#"{{"uid": "{uid}", "controller": true}}"#)]).collect();
    owners.join(",")
}

#[tokio::test]
async fn of_a_list_no_more_is_kept_than_what_counts_however_much_tenants_write() {
    // A megabyte on each page, of labels, references to owners, and pods of others.
    let pods = |page: usize| {
        let pod = |n: usize| {
            let owner = if n.is_multiple_of(2) { "u-1" } else { "foreign" };
            let (labels, owners) = (labels(200, 60), owners(owner, 100));
            format!(
                r#"{{"metadata": {{"name": "p-{n}", "labels": {{{labels}}}, "ownerReferences": [{owners}]}}}}"#
            )
        };
        (0..50).map(|n| pod(50 * page + n)).collect()
    };
    let server = server(NONE, NONE, (20, pods));
    let asker = server.asker();
    let (listed, most) = most_during(listed(&asker, &who(Kind::StatefulSet))).await;
    assert_eq!(listed.unwrap().unwrap().pods.len(), 500);
    assert!(most < 8 << 20, "{most} bytes");
}

#[tokio::test]
async fn of_revisions_no_more_is_kept_than_what_counts_either() {
    let revisions = |page: usize| {
        let revision = |n: usize| {
            let owner = if n.is_multiple_of(2) { "u-1" } else { "foreign" };
            let (labels, owners) = (labels(200, 60), owners(owner, 100));
            format!(
                r#"{{"metadata": {{"name": "r-{n}", "labels": {{{labels}}}, "ownerReferences": [{owners}]}},
                    "data": {{"spec": {{"template": {{"metadata": {{"labels": {{{labels}}},
                    "annotations": {{"reloadlet.io/rolled": "{n:01000}"}}}}}}}}}}}}"#
            )
        };
        (0..50).map(|n| revision(50 * page + n)).collect()
    };
    let server = server((20, revisions), NONE, NONE);
    let asker = server.asker();
    let (listed, most) = most_during(listed(&asker, &who(Kind::StatefulSet))).await;
    assert!(listed.unwrap().unwrap().marks.is_empty(), "they are longer than any mark");
    assert!(most < 10 << 20, "{most} bytes");
}

#[tokio::test]
async fn whose_a_pod_is_takes_no_more_time_for_more_revisions_and_owners() {
    let sets = |page: usize| {
        let set = |n: usize| {
            format!(
                r#"{{"metadata": {{"name": "r-{n}", "uid": "r-{n}", "ownerReferences": [{{"uid": "u-1", "controller": true}}]}}}}"#
            )
        };
        (0..50).map(|n| set(50 * page + n)).collect()
    };
    let pods = |_| {
        let pod = format!(r#"{{"metadata": {{"ownerReferences": [{}]}}}}"#, owners("foreign", 100));
        vec![pod; 50]
    };
    let server = server((60, sets), NONE, (60, pods));
    let before = processor_time();
    let listed = listed(&server.asker(), &who(Kind::Deployment)).await;
    let took = processor_time() - before;
    assert_eq!(listed.unwrap().unwrap().pods, []);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// A pod of the workload with so many containers.
fn pod(n: usize, containers: usize) -> String {
    let id = "a".repeat(64);
    let container = |n| format!(r#"{{"name": "container-{n}", "containerID": "containerd://{id}"}}"#);
    let containers: Vec<String> = (0..containers).map(container).collect();
    let owners = owners("u-1", 0);
    format!(
        r#"{{"metadata": {{"name": "p-{n}", "uid": "{n:036}", "labels": {{"app": "web"}}, "ownerReferences": [{owners}]}},
            "status": {{"containerStatuses": [{}]}}}}"#,
        containers.join(",")
    )
}

fn budget(allowed: usize, app: &str) -> String {
    format!(
        r#"{{"spec": {{"selector": {{"matchLabels": {{"app": "{app}"}}}}}}, "status": {{"disruptionsAllowed": {allowed}}}}}"#
    )
}

#[tokio::test]
async fn a_workload_with_more_than_is_kept_of_one_has_no_list() {
    let within: Pages = (10, |page| (0..50).map(|n| pod(50 * page + n, 40)).collect());
    let beyond: Pages = (100, |page| (0..50).map(|n| pod(50 * page + n, 400)).collect());
    let asker = server(NONE, NONE, within).asker();
    let all = listed(&asker, &who(Kind::StatefulSet)).await.unwrap().unwrap();
    let containers: Vec<&PodContainer> = all.pods.iter().flat_map(|pod| &pod.containers).collect();
    assert_eq!(containers.len(), 500 * 40);
    assert!(Name::ptr_eq(&containers[0].name, &containers[40].name), "each name is kept once");
    let asker = server(NONE, NONE, beyond).asker();
    let (unlisted, most) = most_during(listed(&asker, &who(Kind::StatefulSet))).await;
    let why = crate::logs::Causes(&unlisted.unwrap_err()).to_string();
    assert_eq!(why, "its pods take more than 24 MiB of memory, and of more nothing is decided");
    // With a page, and as long as the memory for them grows with what it had before.
    assert!(most < 3 * MOST_BYTES / 2, "{most} bytes");
    let fat: Pages = (1, |_| vec![pod(0, MOST_CONTAINERS), pod(1, MOST_CONTAINERS + 1)]);
    let unlisted = listed(&server(NONE, NONE, fat).asker(), &who(Kind::StatefulSet)).await;
    assert!(matches!(unlisted, Err(Unlisted::TooMuch(why)) if why.contains("500 containers")));
}

#[tokio::test]
async fn budgets_are_asked_for_and_bounded_where_there_are_pods() {
    let mine: Pages = (1, |_| vec![budget(1, "web"), budget(0, "web")]);
    let pods: Pages = (1, |_| vec![pod(0, 1)]);
    let ended: Pages =
        (1, |_| vec![pod(0, 1).replace(r#""status": {"#, r#""status": {"phase": "Failed", "#)]);
    let of = async |budgets: Pages, pods: Pages| {
        let asker = server(NONE, budgets, pods).asker();
        listed(&asker, &who(Kind::StatefulSet)).await.map(|all| all.unwrap().disruption)
    };
    assert_eq!(of(mine, pods).await.unwrap(), Disruption::Forbidden);
    assert_eq!(of(NONE, pods).await.unwrap(), Disruption::Allowed);
    assert_eq!(of(mine, ended).await.unwrap(), Disruption::Allowed);
    // Selectors without end, and an answer that is none.
    let many: Pages = (100, |page| (0..50).map(|n| budget(0, &format!("{:01000}", 50 * page + n))).collect());
    assert!(matches!(of(many, pods).await, Err(Unlisted::TooMuch(_))));
    assert_eq!(of(many, NONE).await.unwrap(), Disruption::Allowed);
    let garbage: Pages = (1, |_| vec!["7".to_owned()]);
    assert!(matches!(of(garbage, pods).await, Err(Unlisted::Asked(Trouble::Garbage(_)))));
    assert_eq!(of(garbage, NONE).await.unwrap(), Disruption::Allowed);
}

#[tokio::test]
async fn pods_that_fill_an_answer_are_asked_for_in_smaller_pages() {
    let server = Server::new();
    server.serve(|path, query| {
        let limit = query.split('&').find_map(|part| part.strip_prefix("limit="));
        match path.rsplit('/').next()? {
            "web" => Some(WEB.to_owned()),
            "pods" if limit != Some("12") => {
                Some(format!(r#"{{"metadata": {{}}, "items": [], "rest": "{}"}}"#, "x".repeat(17 << 20)))
            }
            "pods" => Some(format!(r#"{{"metadata": {{}}, "items": [{}]}}"#, pod(0, 1))),
            _ => Some(r#"{"metadata": {}, "items": null}"#.to_owned()),
        }
    });
    let all = listed(&server.asker(), &who(Kind::StatefulSet)).await.unwrap().unwrap();
    assert_eq!(all.pods.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_takes_too_long_is_given_up() {
    let server = server(NONE, NONE, (200, |_| Vec::new()));
    server.interfere(|_, _, _| Before::Waits(Duration::from_secs(50)));
    let begun = tokio::time::Instant::now();
    let unlisted = listed(&server.asker(), &who(Kind::StatefulSet)).await;
    assert!(matches!(unlisted, Err(Unlisted::Asked(Trouble::Endless))));
    assert_eq!(begun.elapsed(), LONGEST);
}
