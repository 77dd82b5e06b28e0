use std::sync::Arc;

use super::*;
use crate::model::digest::Digest;
use crate::model::object::{ObjectKind, Updated};
use crate::model::pod::{
    Container, EnvironmentSource, Item, ObjectSource, PodSpec, Volume, VolumeMount, VolumeSource,
};
use crate::policy::references::Part;

mod pieces;
mod remembered;

fn of_spec(
    spec: &PodSpec,
    is_told: impl Fn(&Name) -> bool,
    is_measured: impl Fn(&ObjectRef) -> bool,
) -> Vec<Frozen> {
    of_references(references::frozen(spec), &"shop".into(), is_told, is_measured)
}

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

/// Made long ago, and changed in between by the node's clock.
fn updated_at(earliest: u64, latest: u64) -> Updated {
    Updated { written: at(earliest), between: Some((at(earliest), at(latest))), made: Some((at(0), at(0))) }
}

fn with(updated: Updated, content: u8) -> Observed {
    let Observed::Version(version) = version(None, &[("level", content)]) else { panic!() };
    Observed::Version(Arc::new(ObjectVersion { updated: Some(updated), ..(*version).clone() }))
}

fn version(updated: Option<u64>, keys: &[(&str, u8)]) -> Observed {
    Observed::Version(Arc::new(ObjectVersion {
        uid: "u".into(),
        version: "1".into(),
        immutable: false,
        ignored: false,
        updated: updated.map(|second| updated_at(second, second + 1)),
        keys: Arc::new(
            keys.iter().map(|(key, content)| ((*key).into(), Digest::new([*content; 32]))).collect(),
        ),
    }))
}

/// Since when it is known that the container holds something else.
fn certain(frozen: &Frozen) -> Option<Time> {
    frozen.difference().filter(|difference| difference.is_certain).map(|difference| difference.since)
}

/// Since when it may hold something else, where that isn't known.
fn unsure(frozen: &Frozen) -> Option<Time> {
    frozen.difference().filter(|difference| !difference.is_certain).map(|difference| difference.since)
}

fn frozen(part: Part) -> Frozen {
    let object = ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: "a".into() };
    frozen_of(Way::Environment, object, vec![Piece { part, optional: false }])
}

fn frozen_of(way: Way, object: ObjectRef, parts: Vec<Piece>) -> Frozen {
    Frozen::new(("app".into(), ContainerKind::Regular), way, object, parts)
}

#[test]
fn a_change_after_the_start_makes_it_stale_until_the_next_start_or_the_old_value() {
    let mut level = frozen(Part::Key("level".into()));
    level.observed(&version(Some(10), &[("level", 1), ("other", 1)]), at(100));
    level.started(at(50));
    assert_eq!(certain(&level), None);
    level.observed(&version(Some(110), &[("level", 1), ("other", 2)]), at(110));
    assert_eq!(certain(&level), None, "another key");
    level.observed(&version(Some(120), &[("level", 2), ("other", 2)]), at(120));
    assert_eq!(certain(&level), Some(at(120)));
    level.observed(&version(Some(130), &[("level", 1), ("other", 2)]), at(130));
    assert_eq!(certain(&level), None, "it is what it was");
    level.observed(&version(Some(140), &[("level", 3), ("other", 2)]), at(140));
    assert_eq!(certain(&level), Some(at(140)));
    level.started(at(150));
    assert_eq!(certain(&level), None, "it has started anew");
}

#[test]
fn a_watch_that_was_behind_doesnt_make_a_container_stale_that_has_the_new_value() {
    let mut level = frozen(Part::Key("level".into()));
    level.observed(&version(Some(1), &[("level", 1)]), at(5));
    level.started(at(2));
    level.started(at(12));
    level.observed(&version(Some(10), &[("level", 2)]), at(30));
    assert_eq!(certain(&level), None);
}

#[test]
fn what_changed_before_the_agent_looked_is_told_by_the_time_of_the_update() {
    let mut all = frozen(Part::Everything);
    all.observed(&version(Some(60), &[("a", 1)]), at(100));
    all.started(at(50));
    // It may have been another key's change, or one back to what there was.
    assert_eq!((certain(&all), unsure(&all)), (None, Some(at(60))));
    assert_eq!(all.take_unsaid(), None, "nothing is known to have changed since the first look");
    let mut unknown = frozen(Part::Everything);
    unknown.observed(&version(None, &[("a", 1)]), at(100));
    unknown.started(at(50));
    assert_eq!(unknown.difference(), None);
}

#[test]
fn a_time_of_the_api_server_alone_makes_stale_only_beyond_any_doubt_about_the_clocks() {
    // The process started at 50; the change was at 48, by a clock that is 5 s ahead.
    let ahead = Updated { written: at(53), ..updated_at(47, 50) };
    let unknown = Updated { between: None, ..updated_at(53, 54) };
    let truly = updated_at(51, 54);
    for (updated, since) in [(ahead, None), (unknown, None), (truly, Some(at(51)))] {
        let mut level = frozen(Part::Everything);
        level.observed(&with(updated, 1), at(100));
        level.started(at(50));
        assert_eq!((certain(&level), unsure(&level)), (None, since), "{updated:?}");
    }
}

#[test]
fn what_the_agent_saw_itself_goes_by_its_own_clock() {
    // The API server's clock is behind: 30 s by what it writes, which the answer's date takes away.
    for updated in [
        Updated { written: at(30), ..updated_at(60, 61) },
        Updated { written: at(30), between: None, made: None },
    ] {
        let mut level = frozen(Part::Everything);
        level.observed(&with(updated_at(1, 2), 1), at(10));
        level.started(at(50));
        level.observed(&with(updated, 2), at(60));
        assert_eq!(certain(&level), Some(at(60)), "{updated:?}");
    }
}

#[test]
fn a_change_makes_a_container_stale_that_started_just_when_the_object_was_made() {
    // Both were made together, and which was first can't be told.
    let made = Updated { written: at(50), between: Some((at(48), at(53))), made: Some((at(48), at(53))) };
    let mut level = frozen(Part::Everything);
    level.observed(&with(made, 1), at(51));
    level.started(at(51));
    assert_eq!(certain(&level), None);
    level.observed(&with(updated_at(60, 63), 2), at(61));
    assert_eq!(certain(&level), Some(at(61)));
    level.observed(&with(updated_at(70, 73), 1), at(71));
    assert_eq!(certain(&level), None, "it is what it was, as far as is known");
}

#[test]
fn what_is_gone_makes_nothing_stale_before_and_after_a_restart_of_the_agent() {
    let mut level = frozen(Part::Everything);
    level.observed(&with(updated_at(1, 2), 1), at(10));
    level.started(at(50));
    let mut restarted = frozen(Part::Everything);
    for frozen in [&mut level, &mut restarted] {
        frozen.observed(&Observed::Absent, at(60));
        frozen.started(at(50));
        assert_eq!((certain(frozen), frozen.is_absent()), (None, true));
    }
}

#[test]
fn an_object_made_anew_with_the_same_content_makes_nothing_stale_before_and_after_a_restart_of_the_agent() {
    let anew = Updated { made: Some((at(70), at(71))), ..updated_at(70, 71) };
    let mut level = frozen(Part::Everything);
    level.observed(&with(updated_at(1, 2), 1), at(10));
    level.started(at(50));
    level.observed(&Observed::Absent, at(60));
    level.observed(&with(anew, 1), at(70));
    level.started(at(50));
    assert_eq!((certain(&level), level.is_absent()), (None, false));
    let mut restarted = frozen(Part::Everything);
    restarted.observed(&with(anew, 1), at(80));
    restarted.started(at(50));
    assert_eq!(certain(&restarted), None);
    // It was gone when the agent looked first.
    let mut absent = frozen(Part::Everything);
    absent.observed(&Observed::Absent, at(60));
    absent.started(at(50));
    absent.observed(&with(anew, 1), at(70));
    assert_eq!(certain(&absent), None);
    level.observed(&with(updated_at(90, 91), 2), at(90));
    assert_eq!(certain(&level), Some(at(90)), "another content");
}

#[test]
fn an_object_that_wasnt_there_at_the_start_and_comes_makes_stale() {
    let mut level = frozen(Part::Everything);
    level.observed(&Observed::Absent, at(10));
    level.started(at(50));
    level.observed(&with(Updated { made: Some((at(60), at(61))), ..updated_at(60, 61) }, 1), at(60));
    assert_eq!(certain(&level), Some(at(60)));
    let said = level.take_unsaid().map(|unsaid| (unsaid.version, unsaid.is_certain));
    assert_eq!((said, level.take_unsaid()), (Some(("1".into(), true)), None), "it is said once");
    level.started(at(70));
    assert_eq!(level.take_unsaid(), None);
}

fn item((key, path): &(&str, &str)) -> Item {
    Item { key: (*key).into(), path: (*path).into() }
}

#[test]
fn of_a_volume_it_is_the_file_at_the_path_or_those_below() {
    let items: Vec<Item> = [("k", "conf/app"), ("l", "other")].iter().map(item).collect();
    let source = ObjectSource { name: "a".into(), items, optional: false };
    let volumes = vec![Volume { name: "v".into(), source: VolumeSource::ConfigMap(source), csi: None }];
    for (path, key, stale) in [
        ("conf", "k", true),
        ("conf/app", "k", true),
        ("conf", "l", false),
        ("other", "k", false),
        ("$(X)", "l", true),
    ] {
        let containers = vec![container("app", &[path], 0)];
        let spec = PodSpec { containers, volumes: volumes.clone(), ..PodSpec::default() };
        let [mut mount] = told(&spec).try_into().unwrap();
        mount.observed(&version(Some(1), &[("k", 1), ("l", 1)]), at(10));
        mount.started(at(5));
        let keys = [("k", 1 + u8::from(key == "k")), ("l", 1 + u8::from(key == "l"))];
        mount.observed(&version(Some(20), &keys), at(20));
        assert_eq!(certain(&mount).is_some(), stale, "{path} {key}");
    }
}

#[test]
fn a_key_that_the_containers_own_variable_hides_makes_nothing_stale() {
    let hidden: Arc<[Name]> = ["APP_LEVEL".into(), "OTHER".into()].into();
    let mut all = frozen(Part::Variables { prefix: Some("APP_".into()), hidden });
    all.observed(&version(Some(1), &[("LEVEL", 1), ("OTHER", 1)]), at(10));
    all.started(at(5));
    all.observed(&version(Some(20), &[("LEVEL", 2), ("OTHER", 1)]), at(20));
    assert_eq!(certain(&all), None);
    all.observed(&version(Some(30), &[("LEVEL", 2), ("OTHER", 2)]), at(30));
    assert_eq!(certain(&all), Some(at(30)), "its variable is APP_OTHER");
}

#[test]
fn an_init_container_is_stale_only_by_what_changed_after_another_one_had_started() {
    let change = |second: u64| {
        let mut setup = frozen(Part::Everything);
        setup.observed(&version(Some(1), &[("a", 1)]), at(5));
        setup.started_between(at(10), at(50));
        setup.observed(&version(Some(second), &[("a", 2)]), at(second));
        certain(&setup)
    };
    assert_eq!(change(30), None, "it may have run after that");
    assert_eq!(change(60), Some(at(60)));
    // What it took isn't known where the object changed between the two.
    let mut setup = frozen(Part::Everything);
    setup.observed(&version(Some(20), &[("a", 2)]), at(55));
    setup.started_between(at(10), at(50));
    assert_eq!(certain(&setup), None);
    assert_eq!(setup.taken, Some((at(50), Taken::Unknown)));
}

fn pod(containers: Vec<Container>, items: usize) -> PodSpec {
    let item = |n| Item { key: format!("k{n}").into(), path: format!("d/./f{n}").as_str().into() };
    let source = ObjectSource { name: "a".into(), items: (0..items).map(item).collect(), optional: false };
    PodSpec {
        containers,
        volumes: vec![Volume { name: "v".into(), source: VolumeSource::ConfigMap(source), csi: None }],
        ..PodSpec::default()
    }
}

fn container(name: &str, paths: &[&str], environment: usize) -> Container {
    let mount = |path: &&str| VolumeMount { volume: "v".into(), sub_path: Some((*path).into()) };
    let source = |n| EnvironmentSource::new(ObjectKind::Secret, format!("s{n}").into(), None);
    Container {
        name: name.into(),
        mounts: paths.iter().map(mount).collect(),
        environment: (0..environment).map(source).collect(),
        ..Container::default()
    }
}

/// What is followed of a pod whose containers all are told.
fn told(pod: &PodSpec) -> Vec<Frozen> {
    of_spec(pod, |_| true, |_| true)
}

fn parts(frozen: &Frozen) -> Vec<Part> {
    frozen.parts.iter().map(|piece| piece.part.clone()).collect()
}

/// How many items are followed at each mount.
fn items(pod: &PodSpec) -> Vec<usize> {
    let parts = told(pod).into_iter().flat_map(|frozen| frozen.parts).map(|piece| piece.part);
    let items = parts.filter_map(|part| match part {
        Part::Files { items, .. } => Some(items.len()),
        Part::Everything | Part::Variables { .. } | Part::Key(_) => None,
    });
    items.collect()
}

#[test]
fn a_mount_is_about_the_items_that_it_shows() {
    let paths = ["d/f1", "d", "f1", "d/f", "x$(Y)", "./d//f12"];
    assert_eq!(items(&pod(vec![container("app", &paths, 0)], 20)), [1, 20, 20, 1]);
    let any = told(&pod(vec![container("app", &["x$(Y)", "d"], 0)], 0));
    assert_eq!(parts(&any[0]), [Part::Everything], "any key may be meant");
}

#[test]
fn mounts_of_many_items_and_many_variables_have_a_bound_together() {
    let paths = vec!["d"; 1024];
    let large = pod(vec![container("app", &paths, 0)], 2048);
    assert_eq!(items(&large), [2048], "the second one finds no room");
    let many = pod((0..128).map(|n| container(&format!("c{n}"), &[], 64)).collect(), 0);
    assert_eq!(told(&many).len(), references::MOST);
}

#[test]
fn what_a_container_takes_of_one_object_is_followed_as_one() {
    let key = |key: &str| EnvironmentSource::new(ObjectKind::Secret, "s".into(), Some(key.into()));
    let app = Container { environment: vec![key("a"), key("b")], ..container("app", &[], 0) };
    let [frozen] = told(&pod(vec![app.clone()], 0)).try_into().unwrap();
    assert_eq!(parts(&frozen), [Part::Key("a".into()), Part::Key("b".into())]);
    let mut whole = app;
    whole.environment.push(EnvironmentSource::new(ObjectKind::Secret, "s".into(), None));
    let [frozen] = told(&pod(vec![whole], 0)).try_into().unwrap();
    assert_eq!(parts(&frozen), [Part::Everything]);
}

#[test]
fn what_an_init_container_takes_of_one_object_is_one_whatever_the_way() {
    let init = Container {
        environment: vec![EnvironmentSource::new(ObjectKind::ConfigMap, "a".into(), None)],
        ..Container { kind: ContainerKind::Init, ..container("setup", &["d"], 0) }
    };
    let [frozen] = told(&pod(vec![init], 2)).try_into().unwrap();
    assert_eq!((frozen.way, frozen.pieces()), (Way::Init, 1), "all keys are taken anyway");
}

#[test]
fn two_volumes_with_the_same_path_are_two_pieces() {
    let volume = |name: &str, key: &str| Volume {
        name: name.into(),
        source: VolumeSource::ConfigMap(ObjectSource {
            name: "a".into(),
            items: vec![item(&(key, "conf"))],
            optional: false,
        }),
        csi: None,
    };
    let mount = |volume: &str| VolumeMount { volume: volume.into(), sub_path: Some("conf".into()) };
    let app = Container { mounts: vec![mount("one"), mount("two")], ..container("app", &[], 0) };
    let spec = PodSpec {
        containers: vec![app],
        volumes: vec![volume("one", "k"), volume("two", "l")],
        ..PodSpec::default()
    };
    for keys in [[("k", 2), ("l", 1)], [("k", 1), ("l", 2)], [("k", 2), ("l", 2)]] {
        let [mut frozen] = told(&spec).try_into().unwrap();
        frozen.observed(&version(Some(1), &[("k", 1), ("l", 1)]), at(10));
        frozen.started(at(5));
        frozen.observed(&version(Some(20), &keys), at(20));
        assert_eq!(certain(&frozen), Some(at(20)), "{keys:?}");
    }
    let [mut swapped] = told(&spec).try_into().unwrap();
    swapped.observed(&version(Some(1), &[("k", 1), ("l", 2)]), at(10));
    swapped.started(at(5));
    swapped.observed(&version(Some(20), &[("k", 2), ("l", 1)]), at(20));
    assert!(certain(&swapped).is_some(), "each has the other one's");
}

#[test]
fn each_piece_of_an_object_takes_as_many_steps_as_it_hides_keys() {
    // A thousand prefixes, each with a variable that hides one key of a thousand.
    let mut app = container("app", &[], 0);
    let name = |n: usize| format!("P{n:04}_");
    app.environment = (0..1000)
        .map(|n| EnvironmentSource {
            prefix: Some(name(n).into()),
            ..EnvironmentSource::new(ObjectKind::ConfigMap, "a".into(), None)
        })
        .collect();
    app.variables = (0..1000).map(|n| format!("{}k{n}", name(n)).into()).collect();
    let [mut frozen] = told(&pod(vec![app], 0)).try_into().unwrap();
    assert_eq!(frozen.pieces(), 1000);
    // Looking for each of its keys in each piece would be a million steps.
    let steps: usize = frozen.parts.iter().map(|piece| piece.part.hidden_keys().count()).sum();
    assert_eq!(steps, 1000);
    let (before, after) = ([("k0", 1), ("k999", 1)], [("k0", 1), ("k999", 2)]);
    frozen.observed(&version(Some(1), &before), at(10));
    frozen.started(at(5));
    frozen.observed(&version(Some(20), &after), at(20));
    assert_eq!(certain(&frozen), Some(at(20)), "the other pieces have it");
}

#[test]
fn containers_that_nobody_asked_about_are_followed_within_a_bound_of_their_own() {
    let init = init_of(2);
    let debug = Container { kind: ContainerKind::Ephemeral, ..container("debug", &[], 2) };
    let spec = pod(vec![container("app", &[], 100), container("side", &[], 100), init, debug], 0);
    let found = of_spec(&spec, |name| **name == *"app", |_| true);
    let count = |name: &str| found.iter().filter(|frozen| *frozen.container == *name).count();
    assert_eq!((count("app"), count("side"), count("setup"), count("debug")), (100, MOST_UNTOLD, 0, 0));
    let few = pod(vec![init_of(2), container("app", &[], 1)], 0);
    assert_eq!(of_spec(&few, |_| false, |_| true).len(), 3);
    let mut side = container("side", &[], 100);
    side.environment.push(EnvironmentSource::new(ObjectKind::ConfigMap, "a".into(), None));
    let measured = of_spec(&pod(vec![side], 0), |_| false, |object| object.kind == ObjectKind::ConfigMap);
    assert_eq!(measured.len(), 1, "what isn't measured takes nobody's place");
}

#[test]
fn files_of_which_nobody_tells_a_container_are_followed_within_the_same_bound() {
    let volume = |n: usize| Volume {
        name: format!("v{n}").into(),
        source: VolumeSource::ConfigMap(ObjectSource {
            name: format!("map-{n}").into(),
            ..ObjectSource::default()
        }),
        csi: None,
    };
    let mount = |n: usize| VolumeMount { volume: format!("v{n}").into(), sub_path: None };
    // Each is mounted twice.
    let mounts = (0..6_000).map(|n| mount(n / 2)).collect();
    let debug =
        Container { kind: ContainerKind::Ephemeral, mounts: vec![mount(0)], ..container("debug", &[], 0) };
    let containers = vec![Container { mounts, ..container("app", &[], 0) }, debug];
    let spec = PodSpec { containers, volumes: (0..3_000).map(volume).collect(), ..PodSpec::default() };
    let unread = references::unread(&spec, &Plan::of_nothing());
    assert_eq!(unread.len(), 3_000);
    let followed = of_references(unread, &"shop".into(), |_| false, |_| true);
    assert_eq!(followed.len(), MOST_UNTOLD);
    assert!(followed.iter().all(|frozen| frozen.way == Way::Files && *frozen.container == *"app"));
}

fn init_of(environment: usize) -> Container {
    Container { kind: ContainerKind::Init, ..container("setup", &[], environment) }
}
