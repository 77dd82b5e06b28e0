use super::*;
use reloadlet_core::machine::event::{Survey, VolumeRef};
use reloadlet_core::model::generation::Generation;

fn pod(n: u32) -> PodUid {
    PodUid::parse(&format!("{n:032x}")).unwrap()
}

fn list(n: u32, volume: &str) -> Request {
    Request::List(VolumeRef { pod: pod(n), volume: volume.into() }, std::path::PathBuf::new())
}

fn survey(n: u32, name: Option<&str>, fresh_mounts: bool) -> Survey {
    Survey { pod: pod(n), name: name.map(Into::into), fresh_mounts }
}

fn surveying(n: u32) -> Request {
    let begun = crate::surveyor::survey::Surveying::new(
        survey(n, None, false),
        crate::cgroups::PodCgroup::default(),
        Duration::ZERO,
    );
    Request::Surveying(Box::new(begun))
}

#[test]
fn who_is_new_has_a_turn_and_not_all_turns_until_it_has_used_as_much_as_others() {
    let mut queue = QueueState::default();
    let (old, new) = (Name::from("old"), Name::from("new"));
    let slice = Duration::from_millis(5);
    for _ in 0..100 {
        queue.add(&old, list(1, "conf"));
        queue.take().unwrap();
        queue.done(&old, &pod(1), slice, None);
    }
    let mut served = Vec::new();
    queue.add(&new, list(2, "conf"));
    queue.add(&old, list(1, "conf"));
    for _ in 0..20 {
        let (namespace, request) = queue.take().unwrap();
        queue.done(&namespace, &request.pod().clone(), slice, Some(request));
        served.push(namespace);
    }
    let of_old = served.iter().filter(|namespace| **namespace == old).count();
    assert!((8..=12).contains(&of_old), "{served:?}");
}

#[test]
fn a_request_takes_the_place_of_the_same_one_that_waits() {
    let shop = Name::from("shop");
    let survey = |n, name, fresh_mounts| Request::Survey(survey(n, name, fresh_mounts));
    let mut queue = QueueState::default();
    assert!(queue.add(&shop, survey(1, None, true)));
    assert!(queue.add(&shop, survey(2, None, false)));
    assert!(!queue.add(&shop, survey(1, Some("app"), false)), "it waits already");
    let Some((_, Request::Survey(first))) = queue.take() else { panic!("no survey") };
    assert_eq!((first.pod, first.name.as_deref(), first.fresh_mounts), (pod(1), Some("app"), true));
    assert!(matches!(queue.take(), Some((_, Request::Survey(second))) if second.pod == pod(2)));
    assert!(queue.take().is_none() && queue.waiting.is_empty() && queue.urgent.is_empty());
}

#[test]
fn a_read_that_a_reload_comes_to_wait_for_doesnt_come_after_all_else_any_more() {
    let shop = Name::from("shop");
    let read = |decides| {
        let volume = VolumeRef { pod: pod(1), volume: "conf".into() };
        let generation = Generation::parse("..2026_11_21_05_56_44.1").unwrap();
        let filter = reloadlet_core::policy::files::FileFilter::default();
        let reading = reloadlet_core::machine::event::Reading { filter, each: true, decides };
        Request::Read(volume, generation, std::path::PathBuf::new(), reading)
    };
    for (first, second) in [(false, false), (false, true), (true, false)] {
        let mut queue = QueueState::default();
        queue.add(&shop, read(first));
        queue.add(&shop, list(2, "v"));
        queue.add(&shop, read(second));
        let turns: Vec<_> = std::iter::from_fn(|| queue.take()).map(|(_, r)| r.pod().clone()).collect();
        let expected = if first { [pod(1), pod(2)] } else { [pod(2), pod(1)] };
        assert_eq!(turns, expected, "{first} {second}");
        assert!(queue.urgent.is_empty() && queue.later.is_empty());
    }
}

#[test]
fn a_pod_that_takes_long_doesnt_come_before_others() {
    let shop = Name::from("shop");
    let mut queue = QueueState::default();
    for n in 0..256 {
        queue.add(&shop, list(1, &format!("v{n}")));
    }
    assert_eq!(queue.take().unwrap().1.pod(), &pod(1));
    queue.done(&shop, &pod(1), Duration::from_millis(5), Some(list(1, "rest")));
    queue.add(&shop, list(2, "v"));
    queue.add(&shop, list(3, "v"));
    let turns: Vec<_> = (0..3).filter_map(|_| queue.take().map(|(_, r)| r.pod().clone())).collect();
    assert_eq!(turns, [pod(2), pod(3), pod(1)]);
}

#[test]
fn a_namespace_with_a_hundred_pods_has_no_more_turns_than_one_with_a_single_one() {
    let (loud, quiet) = (Name::from("loud"), Name::from("quiet"));
    let mut queue = QueueState::default();
    for n in 0..100 {
        queue.add(&loud, list(n, "v"));
    }
    queue.add(&quiet, list(1000, "v"));
    let mut turns = Vec::new();
    for _ in 0..20 {
        let (namespace, request) = queue.take().unwrap();
        let pod = request.pod().clone();
        turns.push(namespace.clone());
        // Each has always more to do.
        queue.done(&namespace, &pod, Duration::from_millis(5), Some(request));
    }
    assert_eq!(turns.iter().filter(|name| **name == quiet).count(), 10);
}

#[test]
fn a_namespace_with_much_that_is_half_done_gives_way_to_one_with_less() {
    let (loud, quiet) = (Name::from("loud"), Name::from("quiet"));
    let mut queue = QueueState::default();
    let begun = |queue: &QueueState, name| queue.begun.values().filter(|of| *of == name).count();
    for n in 0..20 {
        queue.done(&loud, &pod(n), Duration::ZERO, Some(surveying(n)));
    }
    assert_eq!((begun(&queue, &loud), queue.waiting.len()), (MOST_BEGUN, 20));
    for n in 100..110 {
        queue.done(&quiet, &pod(n), Duration::ZERO, Some(surveying(n)));
    }
    assert_eq!((begun(&queue, &loud), begun(&queue, &quiet)), (MOST_BEGUN / 2, MOST_BEGUN / 2));
    let kept = queue.waiting.values().filter(|waiting| waiting.request.is_begun()).count();
    assert_eq!((kept, queue.waiting.len()), (MOST_BEGUN, 30));
    let first: Vec<_> = (0..2).map(|_| queue.take().unwrap().1.is_begun()).collect();
    assert!(first.contains(&true) && first.contains(&false), "they alternate: {first:?}");
}

#[test]
fn what_a_pod_used_long_ago_and_what_a_forgotten_one_used_isnt_kept() {
    let shop = Name::from("shop");
    let mut queue = QueueState::default();
    for n in 0..1000 {
        queue.done(&shop, &pod(n), Duration::from_micros(1500), None);
    }
    queue.done(&shop, &pod(0), REMEMBERED, None);
    assert_eq!(queue.used_of_pods.len(), 1);
    queue.add(&shop, Request::Forget(pod(0)));
    assert!(queue.take().is_some() && queue.used_of_pods.is_empty() && queue.namespaces.is_empty());
}
