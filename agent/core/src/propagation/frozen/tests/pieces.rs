//! What is remembered is of the pieces that were followed: of other ones of the same object nothing is known.

use super::*;

fn numbered(number: u64, keys: &[(&str, u8)]) -> Observed {
    let Observed::Version(shown) = version(Some(if number == 1 { 10 } else { 120 }), keys) else { panic!() };
    let number = number.to_string();
    Observed::Version(Arc::new(ObjectVersion { version: number.as_str().into(), ..(*shown).clone() }))
}

fn files_of(items: &[&str], optional: bool) -> Piece {
    let items = items.iter().map(|key| item(&(*key, *key))).collect();
    Piece { part: Part::Files { items, path: None }, optional }
}

/// A container that has files of these keys, each of a volume of its own.
fn files(keys: &[&str]) -> Frozen {
    let parts = keys.iter().map(|key| files_of(&[*key], false)).collect();
    frozen_of(Way::Files, frozen(Part::Everything).object, parts)
}

/// The same container under another plan, which has begun with what was known of it.
fn followed_by(before: &Frozen, keys: &[&str], shown: &Observed) -> Frozen {
    let mut next = files(keys);
    next.restore(before.remembered().unwrap());
    next.observed(shown, at(130));
    next.started(at(50));
    next
}

#[test]
fn that_one_piece_has_changed_is_known_of_no_other_one() {
    let mut both = files(&["a", "b"]);
    both.observed(&numbered(1, &[("a", 1), ("b", 1)]), at(100));
    both.started(at(50));
    let newer = numbered(2, &[("a", 2), ("b", 1)]);
    both.observed(&newer, at(120));
    assert_eq!(certain(&both), Some(at(120)));
    let mut one = followed_by(&both, &["b"], &newer);
    assert_eq!((certain(&one), unsure(&one)), (None, Some(at(120))));
    assert_eq!(one.take_unsaid(), None);
    // Of the same ones it is known, in whatever order they come.
    assert_eq!(certain(&followed_by(&both, &["b", "a"], &newer)), Some(at(120)));
}

#[test]
fn that_one_piece_is_the_same_is_known_of_no_further_one() {
    let mut one = files(&["b"]);
    one.observed(&numbered(1, &[("a", 1), ("b", 1)]), at(100));
    one.started(at(50));
    let newer = numbered(2, &[("a", 2), ("b", 1)]);
    one.observed(&newer, at(120));
    assert_eq!(one.difference(), None);
    assert_eq!(unsure(&followed_by(&one, &["a", "b"], &newer)), Some(at(120)), "the first one has changed");
    assert_eq!(followed_by(&one, &["b"], &newer).difference(), None);
}

#[test]
fn that_there_was_nothing_of_one_piece_is_known_of_no_other_one() {
    let mut one = files(&["b"]);
    one.observed(&numbered(1, &[("a", 1)]), at(20));
    one.started(at(50));
    assert_eq!(one.remembered().unwrap().holds, Holds::Nothing);
    let other = followed_by(&one, &["a"], &numbered(2, &[("a", 1), ("b", 1)]));
    assert_eq!((certain(&other), unsure(&other)), (None, Some(at(120))));
}

#[test]
fn the_mark_of_pieces_stays_the_same_between_versions_of_the_agent() {
    let hidden: Arc<[Name]> = ["APP_LEVEL".into(), "OTHER".into()].into();
    let all = [
        Piece { part: Part::Variables { prefix: Some("APP_".into()), hidden }, optional: true },
        Piece { part: Part::Key("level".into()), optional: false },
        files_of(&["b", "a"], false),
        files_of(&["a"], true),
    ];
    assert_eq!(piece::mark_of(&all), PiecesMark::recorded(1, 0x0185_6dab_1ea7_85bb));
    assert_eq!(piece::mark_of(&[]), PiecesMark::recorded(1, 0x4f43_b61e_f14c_89b9));
}

#[test]
fn other_pieces_have_another_mark_and_what_comes_to_the_same_has_the_same() {
    let part = |part| Piece { part, optional: false };
    let hidden = |names: &[&str]| Part::Variables {
        prefix: None,
        hidden: names.iter().map(|name| Name::from(*name)).collect(),
    };
    let path = |path: Option<&str>| Part::Files { items: Vec::new(), path: path.map(Into::into) };
    let key = |key: &str| part(Part::Key(key.into()));
    let one_file = |key: &str, path: &str| Part::Files { items: vec![item(&(key, path))], path: None };
    let others = [
        vec![],
        vec![part(Part::Everything)],
        vec![part(hidden(&["a"]))],
        vec![part(hidden(&["a", "b"]))],
        vec![part(hidden(&["ab"]))],
        vec![key("a")],
        vec![key("a"), key("b")],
        vec![key("ab")],
        vec![files_of(&["a"], false)],
        vec![files_of(&["a"], true)],
        vec![files_of(&["a", "b"], false)],
        vec![files_of(&["a"], false), files_of(&["b"], false)],
        vec![part(one_file("a", "b"))],
        vec![part(one_file("b", "a"))],
    ];
    for (n, one) in others.iter().enumerate() {
        for (m, other) in others.iter().enumerate() {
            assert_eq!(piece::mark_of(one) == piece::mark_of(other), n == m, "{one:?} {other:?}");
        }
    }
    for (one, other) in [
        (vec![key("a"), key("b")], vec![key("b"), key("a"), key("b")]),
        (vec![key("a")], vec![Piece { optional: true, ..key("a") }]),
        (vec![key("a")], vec![part(path(Some("a")))]),
        (vec![part(Part::Everything)], vec![part(path(None))]),
        (vec![files_of(&["a", "b"], false)], vec![files_of(&["b", "a"], false)]),
    ] {
        assert_eq!(piece::mark_of(&one), piece::mark_of(&other), "{one:?} {other:?}");
    }
}
