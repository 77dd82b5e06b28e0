use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reloadlet_core::model::digest::Digest;
use reloadlet_core::model::object::MOST_KEYS;

use super::*;
use crate::digest;

fn text(metadata: &str, rest: &str) -> String {
    format!(
        r#"{{"kind": "ConfigMap", "apiVersion": "v1",
             "metadata": {{"name": "config", "namespace": "shop", "uid": "u-1", "resourceVersion": "7" {metadata}}} {rest}}}"#
    )
}

fn version<const SECRET: bool>(text: &str) -> Arc<ObjectVersion> {
    match serde_json::from_str::<Object<SECRET>>(text).unwrap().0 {
        Found::Version(version) => version,
        other @ (Found::Absent | Found::TooLarge | Found::Garbage) => panic!("{other:?}"),
    }
}

fn digests<const SECRET: bool>(rest: &str) -> Vec<(String, Digest)> {
    let version = version::<SECRET>(&text("", rest));
    version.keys.iter().map(|(key, digest)| (key.to_string(), *digest)).collect()
}

/// The digests of these bytes, as those of files are made.
fn pairs(pairs: &[(&str, &[u8])]) -> Vec<(String, Digest)> {
    pairs.iter().map(|(key, content)| ((*key).to_owned(), digest::of(content).unwrap())).collect()
}

#[test]
fn a_configmaps_digests_are_those_of_the_files() {
    let rest = r#", "data": {"one": "1", "empty": "", "escaped": "gr\u00fc\u00df\n\"dich\""},
                    "binaryData": {"binary": "AP8=", "null": null}"#;
    let expected: [(&str, &[u8]); 5] = [
        ("binary", b"\x00\xff"),
        ("empty", b""),
        ("escaped", "gr\u{fc}\u{df}\n\"dich\"".as_bytes()),
        ("null", b""),
        ("one", b"1"),
    ];
    assert_eq!(digests::<false>(rest), pairs(&expected));
    assert_eq!(digests::<false>(""), []);
    assert_eq!(digests::<false>(r#", "data": null, "binaryData": null"#), []);
}

#[test]
fn a_secrets_digests_are_those_of_the_decoded_bytes() {
    let long = STANDARD.encode("a".repeat(10_000));
    let rest = format!(
        r#", "type": "Opaque", "data": {{"binary": "AP8=", "long": "{long}", "one": "MQ==", "slash": "M\u0051=="}}"#
    );
    assert_eq!(
        digests::<true>(&rest),
        pairs(&[("binary", b"\x00\xff"), ("long", &[b'a'; 10_000]), ("one", b"1"), ("slash", b"1")])
    );
}

#[test]
fn what_else_counts_of_an_object_is_read() {
    let plain = version::<false>(&text("", ""));
    assert_eq!((&*plain.uid, &*plain.version), ("u-1", "7"));
    assert!(!plain.ignored && !plain.immutable && plain.updated.is_none());
    let marked = r#", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\": {}}", "reloadlet.io/ignore": "true"}"#;
    let marked = version::<false>(&text(marked, r#", "immutable": true"#));
    assert!(marked.ignored && marked.immutable);
    assert!(!version::<true>(&text(r#", "annotations": {"reloadlet.io/ignore": "false"}"#, "")).ignored);
}

#[test]
fn the_time_is_the_newest_of_those_who_changed_data() {
    let now = Timestamp::now().as_second();
    let entry = |ago: i64, fields: &str| {
        let time = Timestamp::from_second(now - ago).unwrap();
        format!(r#"{{"manager": "m", "operation": "Update", "time": "{time}", "fieldsV1": {{{fields}}}}}"#)
    };
    let updated = |entries: &[&str]| {
        let text = text(&format!(r#", "managedFields": [{}]"#, entries.join(",")), "");
        version::<false>(&text).updated
    };
    let data = entry(20, r#""f:data": {".": {}, "f:key": {}}"#);
    let binary = entry(10, r#""f:binaryData": {"f:key": {}}"#);
    let labels = entry(0, r#""f:metadata": {"f:labels": {"f:data": {}}}"#);
    let timeless = r#"{"manager": "m", "fieldsV1": {"f:data": {}}}"#;
    assert_eq!(updated(&[&labels]), None);
    assert_eq!(updated(&[timeless]), None);

    let near = |updated: Option<Updated>, ago: i64| {
        let (time, expected) = (updated.unwrap().written, clock::from_wall_second(now - ago));
        assert!(time.since(expected).max(expected.since(time)).as_secs() < 5, "{time:?} isn't {expected:?}");
    };
    near(updated(&[&labels, &data, timeless]), 20);
    near(updated(&[&binary, &data, &labels]), 10);
}

fn listed(kind: ObjectKind, items: &str) -> Found {
    let text = format!(r#"{{"metadata": {{"resourceVersion": "9"}}, "items": {items}}}"#);
    let fetched = list(kind, text.as_bytes()).unwrap();
    assert_eq!(&*fetched.version, "9");
    fetched.found
}

#[test]
fn a_broken_value_is_not_guessed() {
    for data in [
        r#""key": "not base64", "one": "MQ==""#,
        r#""key": 5, "two": [1, {"x": 2.5}], "three": true"#,
        r#""key": "MQ==MQ==""#,
    ] {
        let items = format!(r#"[{{"metadata": {{"resourceVersion": "1"}}, "data": {{{data}}}}}]"#);
        assert_eq!(listed(ObjectKind::Secret, &items), Found::Garbage, "{data}");
    }
    let whole = r#"[{"metadata": {"name": "d", "resourceVersion": "4"}, "data": {"key": "MQ=="}}]"#;
    assert!(matches!(listed(ObjectKind::Secret, whole), Found::Version(_)));
}

#[test]
fn a_list_without_the_object_has_a_version_and_what_has_none_is_no_list() {
    assert_eq!(listed(ObjectKind::ConfigMap, "[]"), Found::Absent);
    assert_eq!(listed(ObjectKind::ConfigMap, "null"), Found::Absent);
    for text in ["{}", r#"{"metadata": {"resourceVersion": ""}, "items": []}"#, "[]", "<html>"] {
        assert!(list(ObjectKind::ConfigMap, text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn more_keys_than_are_kept_are_too_many_wherever_they_are() {
    let keys = |from: usize, to: usize| {
        let keys: Vec<String> = (from..to).map(|n| format!(r#""{n}": """#)).collect();
        format!("{{{}}}", keys.join(","))
    };
    let found = |data: &str, binary: &str| {
        let object = format!(r#""data": {data}, "binaryData": {binary}"#);
        listed(ObjectKind::ConfigMap, &format!(r#"[{{"metadata": {{"resourceVersion": "1"}}, {object}}}]"#))
    };
    assert!(matches!(found(&keys(0, MOST_KEYS), "{}"), Found::Version(_)));
    assert_eq!(found(&keys(0, MOST_KEYS + 1), "{}"), Found::TooLarge);
    assert_eq!(found(&keys(0, 10_000), "{}"), Found::TooLarge);
    assert_eq!(found(&keys(0, MOST_KEYS), &keys(MOST_KEYS, MOST_KEYS + 1)), Found::TooLarge);
}

#[test]
fn nothing_of_a_value_is_in_an_error_or_in_what_is_printed() {
    for data in [r#""swordfish""#, r#"["swordfish"]"#, r#"{"key": "swordfish", "other": ["swordfish"]}"#] {
        let items = format!(r#"[{}]"#, text("", &format!(r#", "data": {data}"#)));
        let text = format!(r#"{{"metadata": {{"resourceVersion": "9"}}, "items": {items}}}"#);
        let printed = format!("{:?}", list(ObjectKind::Secret, text.as_bytes()));
        assert!(!printed.contains("swordfish"), "{printed}");
    }
}
