use std::time::Duration;

use super::measured::REMEMBERED;
use super::*;
use crate::model::digest::Digest;
use crate::model::object::{ObjectKind, Updated};
use crate::model::pod::{Item, ObjectSource};

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

fn object(name: &str) -> ObjectRef {
    ObjectRef { kind: ObjectKind::ConfigMap, namespace: "shop".into(), name: name.into() }
}

fn map(files: &[(&str, u8)]) -> Files {
    files.iter().map(|(path, content)| (Name::from(*path), Digest::new([*content; 32]))).collect()
}

fn version(number: u32, files: &[(&str, u8)]) -> ObjectVersion {
    ObjectVersion {
        uid: "u".into(),
        version: number.to_string().into(),
        immutable: false,
        ignored: false,
        updated: None,
        keys: Arc::new(map(files)),
    }
}

/// By a clock that is the node's.
fn updated_at(second: u64) -> Option<Updated> {
    Some(Updated { written: at(second), between: Some((at(second), at(second))), made: None })
}

fn one(name: &str, items: &[(&str, &str)]) -> Source {
    let item = |(key, path): &(&str, &str)| Item { key: (*key).into(), path: (*path).into() };
    let items = items.iter().map(item).collect();
    Source::Object(object(name), ObjectSource { name: name.into(), items, optional: false })
}

/// One volume with its agent: `a` is its ConfigMap, with one key.
struct Volume(Propagation);

impl Volume {
    fn simple() -> Self {
        Self(Propagation::new(&[one("a", &[])], |_| true))
    }

    /// With the content 1 in version 1 on disk, and known to be.
    fn settled() -> Self {
        let mut volume = Self::simple();
        assert_eq!(volume.disk(1, 0, false, &[("key", 1)]), None);
        assert_eq!(volume.sees(1, 1, 1), None);
        assert_eq!(volume.0.standing(), Standing::UpToDate);
        volume
    }

    fn sees(&mut self, number: u32, content: u8, second: u64) -> Option<Told> {
        self.sees_version("a", version(number, &[("key", content)]), second)
    }

    fn sees_version(&mut self, name: &str, version: ObjectVersion, second: u64) -> Option<Told> {
        let observed = Observed::Version(Arc::new(version));
        self.0.observed(&object(name), &observed, at(second)).map(told)
    }

    fn disk(&mut self, number: u32, second: u64, changed: bool, files: &[(&str, u8)]) -> Option<Told> {
        let generation = Generation::parse(&format!("..2026_11_21_05_56_44.{number}")).unwrap();
        let (swapped, files) = (at(second), Arc::new(map(files)));
        let disk = OnDisk { generation, swapped, files, read: swapped };
        self.0.read(disk, changed).map(told)
    }

    /// A swap to a generation of one file.
    fn swaps(&mut self, number: u32, content: u8, second: u64) -> Option<Told> {
        self.disk(number, second, true, &[("key", content)])
    }

    fn waits_since(&self) -> Option<u64> {
        match self.0.standing() {
            Standing::Waiting { since, .. } => Some(since.elapsed_since_boot().as_secs()),
            Standing::Unknown | Standing::UpToDate => None,
        }
    }
}

/// The generation's number, the delay in seconds, the versions, and how many were collapsed.
type Told = (String, u64, Vec<String>, usize);

fn told(publication: Publication) -> Told {
    let generation = publication.generation.as_str().rsplit('.').next().unwrap().to_owned();
    let delay = publication.delay().as_secs();
    let versions = publication.versions.into_iter().map(|(_, version)| version.unwrap().version.to_string());
    (generation, delay, versions.collect(), publication.collapsed)
}

fn published(generation: u32, delay: u64, versions: &[&str], collapsed: usize) -> Option<Told> {
    Some((generation.to_string(), delay, versions.iter().map(|v| (*v).to_owned()).collect(), collapsed))
}

#[test]
fn a_change_waits_until_the_kubelet_has_swapped_it_in() {
    let mut volume = Volume::settled();
    assert_eq!(volume.sees(2, 2, 10), None);
    assert_eq!(volume.waits_since(), Some(10));
    assert_eq!(volume.swaps(2, 2, 50), published(2, 40, &["2"], 0));
    assert_eq!(volume.0.standing(), Standing::UpToDate);
}

#[test]
fn two_versions_in_one_swap_count_from_the_older_one() {
    let mut volume = Volume::settled();
    volume.sees(2, 2, 10);
    volume.sees(3, 3, 30);
    assert_eq!(volume.waits_since(), Some(10));
    assert_eq!(volume.swaps(2, 3, 50), published(2, 40, &["3"], 1));
}

#[test]
fn a_version_that_comes_after_the_kubelet_looked_waits_for_its_next_look() {
    let mut volume = Volume::settled();
    volume.sees(2, 2, 10);
    volume.sees(3, 3, 30);
    assert_eq!(volume.swaps(2, 2, 31), published(2, 21, &["2"], 0));
    assert_eq!(volume.waits_since(), Some(30));
    assert_eq!(volume.swaps(3, 3, 70), published(3, 40, &["3"], 0));
}

#[test]
fn a_content_that_comes_back_before_the_kubelet_looked_waits_for_nothing() {
    let mut volume = Volume::settled();
    volume.sees(2, 2, 10);
    assert_eq!(volume.sees(3, 1, 20), None);
    assert_eq!(volume.0.standing(), Standing::UpToDate);
    volume.sees(4, 4, 100);
    assert_eq!(volume.swaps(2, 4, 120), published(2, 20, &["4"], 0));
}

#[test]
fn a_content_that_comes_back_while_the_swap_of_the_other_is_read_waits_again() {
    let mut volume = Volume::settled();
    volume.sees(2, 2, 10);
    volume.sees(3, 1, 20);
    assert_eq!(volume.swaps(2, 2, 19), None);
    assert_eq!(volume.waits_since(), Some(20));
    assert_eq!(volume.swaps(3, 1, 60), published(3, 40, &["3"], 0));
}

#[test]
fn a_version_that_changes_no_file_waits_for_nothing_and_is_what_is_on_disk() {
    let mut volume = Volume::settled();
    assert_eq!(volume.sees(2, 1, 10), None);
    assert_eq!(volume.0.standing(), Standing::UpToDate);
    let on_disk = volume.0.on_disk().next().unwrap().1.unwrap().version.clone();
    assert_eq!(&*on_disk, "2");
    volume.sees(3, 3, 20);
    volume.sees(4, 3, 30);
    assert_eq!(volume.swaps(2, 3, 50), published(2, 30, &["4"], 0));
}

#[test]
fn a_kubelet_that_is_faster_than_the_agents_watch_took_no_time() {
    let mut volume = Volume::settled();
    assert_eq!(volume.swaps(2, 2, 10), None);
    let generation = Generation::parse("..2026_11_21_05_56_44.2").unwrap();
    assert!(!volume.0.is_decided(&generation));
    assert_eq!(volume.sees(2, 2, 11), published(2, 0, &["2"], 0));
    assert!(volume.0.is_decided(&generation));
    assert_eq!(volume.0.standing(), Standing::UpToDate);
}

#[test]
fn what_lags_behind_at_the_start_does_so_since_its_update() {
    let mut volume = Volume::simple();
    volume.disk(1, 0, false, &[("key", 1)]);
    volume.sees_version("a", ObjectVersion { updated: updated_at(40), ..version(7, &[("key", 2)]) }, 100);
    assert_eq!(volume.waits_since(), Some(40));
    assert_eq!(volume.swaps(2, 2, 110), published(2, 10, &["7"], 0));
}

#[test]
fn a_key_that_was_removed_must_go_from_the_disk() {
    let mut volume = Volume::simple();
    volume.disk(1, 0, false, &[("key", 1), ("old", 1)]);
    volume.sees(7, 1, 5);
    assert_eq!(volume.waits_since(), Some(5));
    assert_eq!(volume.swaps(2, 1, 9), published(2, 4, &["7"], 0));
}

#[test]
fn an_object_that_cant_be_published_waits_for_nothing() {
    let mut volume = Volume::settled();
    assert_eq!(volume.0.observed(&object("a"), &Observed::Absent, at(10)), None);
    assert_eq!(volume.0.standing(), Standing::Unknown);
    volume.sees(9, 9, 20);
    assert_eq!(volume.waits_since(), Some(10), "the kubelet was to act since then");
}

#[test]
fn without_the_right_to_look_nothing_is_known() {
    let mut volume = Volume::settled();
    volume.sees(2, 2, 10);
    volume.0.observed(&object("a"), &Observed::Unmeasured, at(11));
    assert_eq!(volume.0.standing(), Standing::Unknown);
    assert_eq!(volume.swaps(2, 2, 20), None);
}

#[test]
fn an_immutable_object_that_was_made_anew_is_not_looked_at_by_the_kubelet() {
    let mut volume = Volume::settled();
    volume.sees_version("a", ObjectVersion { immutable: true, ..version(2, &[("key", 1)]) }, 5);
    let uid = Name::from("other");
    volume.sees_version("a", ObjectVersion { immutable: true, uid, ..version(3, &[("key", 2)]) }, 9);
    assert_eq!(volume.0.standing(), Standing::Waiting { since: at(9), immutable: true });
}

fn projected() -> Volume {
    let sources = [
        one("a", &[("x", "a.conf"), ("y", "both")]),
        one("b", &[("z", "both")]),
        Source::Other(vec!["token".into()]),
    ];
    let mut volume = Volume(Propagation::new(&sources, |_| true));
    volume.disk(1, 0, false, &[("a.conf", 1), ("both", 2), ("token", 9)]);
    volume.sees_version("a", version(1, &[("x", 1), ("y", 1)]), 1);
    volume.sees_version("b", version(2, &[("z", 2)]), 1);
    assert_eq!(volume.0.standing(), Standing::UpToDate);
    volume
}

#[test]
fn a_path_of_two_sources_is_the_later_ones() {
    let mut volume = projected();
    volume.sees_version("b", version(4, &[("z", 3)]), 20);
    assert_eq!(volume.waits_since(), Some(20));
    let told = volume.disk(2, 30, true, &[("a.conf", 1), ("both", 3), ("token", 9)]);
    assert_eq!(told, published(2, 10, &["4"], 0));
}

#[test]
fn what_only_a_later_source_shows_of_a_path_needs_no_swap() {
    let mut volume = projected();
    volume.sees_version("a", version(3, &[("x", 1), ("y", 7)]), 10);
    assert_eq!(volume.0.standing(), Standing::UpToDate, "the path's content is the other source's");
}

#[test]
fn a_token_that_rotates_publishes_nothing() {
    let mut volume = projected();
    assert_eq!(volume.disk(2, 30, true, &[("a.conf", 1), ("both", 2), ("token", 10)]), None);
    assert_eq!(volume.0.standing(), Standing::UpToDate);
}

#[test]
fn one_source_that_lags_behind_is_told_from_the_other() {
    let mut volume = projected();
    volume.sees_version("a", version(3, &[("x", 5), ("y", 1)]), 10);
    volume.sees_version("b", version(4, &[("z", 6)]), 20);
    let told = volume.disk(2, 30, true, &[("a.conf", 5), ("both", 2), ("token", 9)]);
    assert_eq!(told, published(2, 20, &["3"], 0));
    assert_eq!(volume.waits_since(), Some(20));
}

#[test]
fn a_swap_is_one_sample_however_late_the_versions_that_it_brought_are_seen() {
    let mut volume = projected();
    volume.sees_version("a", version(3, &[("x", 5), ("y", 1)]), 10);
    let both = [("a.conf", 5), ("both", 6), ("token", 9)];
    assert_eq!(volume.disk(2, 30, true, &both), published(2, 20, &["3"], 0));
    assert_eq!(volume.sees_version("b", version(4, &[("z", 6)]), 31), None);
    assert_eq!(volume.0.standing(), Standing::UpToDate);

    assert_eq!(volume.disk(3, 50, true, &[("a.conf", 7), ("both", 8), ("token", 9)]), None);
    assert_eq!(volume.sees_version("b", version(5, &[("z", 8)]), 51), published(3, 0, &["5"], 0));
    // It is read once more.
    volume.0.unreadable();
    assert_eq!(volume.disk(3, 50, true, &[("a.conf", 7), ("both", 8), ("token", 9)]), None);
    assert_eq!(volume.sees_version("a", version(6, &[("x", 7), ("y", 1)]), 52), None);
    volume.sees_version("a", version(7, &[("x", 9), ("y", 1)]), 60);
    assert_eq!(
        volume.disk(4, 70, true, &[("a.conf", 9), ("both", 8), ("token", 9)]),
        published(4, 10, &["7"], 0)
    );

    // It overtakes what was seen and waited.
    volume.sees_version("a", version(8, &[("x", 11), ("y", 1)]), 80);
    assert_eq!(volume.disk(5, 140, true, &[("a.conf", 13), ("both", 14), ("token", 9)]), None);
    assert_eq!(volume.sees_version("b", version(9, &[("z", 14)]), 141), published(5, 60, &["9"], 1));
    assert_eq!(volume.sees_version("a", version(10, &[("x", 13), ("y", 1)]), 142), None);
    assert_eq!(volume.0.standing(), Standing::UpToDate);
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_time_stays() {
    let mut volume = Volume::settled();
    for n in 2..200_u8 {
        volume.sees(n.into(), n, 100 + u64::from(n));
    }
    assert_eq!(volume.0.sources[0].seen.len(), REMEMBERED);
    assert_eq!(volume.waits_since(), Some(102));
    let told = volume.swaps(2, 199, 400).unwrap();
    assert_eq!((told.1, told.2), (298, vec!["199".to_owned()]));
}

fn unmeasured_after(name: &str) -> Volume {
    let secret = ObjectRef { kind: ObjectKind::Secret, ..object("secret") };
    let secret = Source::Object(secret, ObjectSource { name: "secret".into(), ..ObjectSource::default() });
    let sources = [one(name, &[]), secret];
    Volume(Propagation::new(&sources, |object| object.kind == ObjectKind::ConfigMap))
}

#[test]
fn a_secret_that_is_not_measured_hides_no_change_of_what_stands_before_it() {
    let mut volume = unmeasured_after("a");
    volume.disk(1, 0, false, &[("key", 1), ("password", 9)]);
    volume.sees(1, 1, 1);
    assert_eq!(volume.0.standing(), Standing::UpToDate);
    volume.sees(2, 2, 10);
    assert_eq!(volume.waits_since(), Some(10));
    assert_eq!(volume.disk(2, 30, true, &[("key", 2), ("password", 9)]), published(2, 20, &["2"], 0));
}

#[test]
fn nothing_is_said_of_a_volume_before_each_of_its_objects_was_seen() {
    let mut volume = Volume(Propagation::new(&[one("a", &[]), one("b", &[])], |_| true));
    volume.disk(1, 0, false, &[("key", 1), ("other", 1)]);
    volume.sees_version("a", version(1, &[("key", 2)]), 1);
    assert_eq!(volume.0.standing(), Standing::Unknown);
    volume.sees_version("b", version(1, &[("other", 1)]), 2);
    assert_eq!(volume.waits_since(), Some(1));
    volume.0.observed(&object("b"), &Observed::Unmeasured, at(3));
    assert_eq!(volume.waits_since(), Some(1));
}

#[test]
fn what_cant_be_read_is_not_known() {
    let mut volume = Volume::settled();
    volume.sees(2, 2, 10);
    volume.0.unreadable();
    assert_eq!(volume.0.standing(), Standing::Unknown);
    assert_eq!(volume.0.newest_lagging(&Generation::parse("..2026_11_21_05_56_44.1").unwrap()), None);
}

#[test]
fn only_what_lags_behind_in_the_current_generation_lags_behind() {
    let mut volume = Volume::settled();
    volume.sees(2, 2, 10);
    let generation = |n| Generation::parse(&format!("..2026_11_21_05_56_44.{n}")).unwrap();
    assert_eq!(volume.0.newest_lagging(&generation(1)).map(|(_, seen)| seen), Some(at(10)));
    assert_eq!(volume.0.newest_lagging(&generation(2)), None, "it isn't read yet");
}

#[test]
fn an_ignored_object_takes_no_path_from_a_later_one() {
    let mut volume = Volume(Propagation::new(&[one("a", &[]), one("b", &[])], |_| true));
    let ignored = |n, files: &[(&str, u8)]| ObjectVersion { ignored: true, ..version(n, files) };
    volume.sees_version("a", ignored(1, &[("both", 1), ("own", 1)]), 1);
    volume.sees_version("b", version(1, &[("both", 2)]), 1);
    assert_eq!(volume.0.ignored(), Ignored::Paths(["own".into()].into()));
    volume.sees_version("b", ignored(2, &[("both", 2)]), 2);
    assert_eq!(volume.0.ignored(), Ignored::Everything);
    volume.sees_version("a", version(2, &[("both", 1)]), 3);
    assert_eq!(volume.0.ignored(), Ignored::Paths(["both".into()].into()));
}
