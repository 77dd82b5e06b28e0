//! The labels of objects that are known by their names.

use super::*;

fn labels(text: &str) -> Vec<Option<Vec<(String, String)>>> {
    let of = |found| match found {
        Ok(Found::Other(OtherObject { labels, .. })) => labels.map(|labels| {
            labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>()
        }),
        other => panic!("{other:?}"),
    };
    read(text).into_iter().map(of).collect()
}

#[test]
fn labels_are_read_of_what_is_selected_by_them_and_of_nothing_else() {
    let object = |kind: &str, labels: &str| {
        format!(
            "---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: app, labels: {labels}}}\ndata: {{labels: {{a: b}}}}\n"
        )
    };
    let known = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
    };
    let text = [
        object("ConfigMap", "{reload: \"yes\", app.kubernetes.io/name: web, empty: \"\"}"),
        object("Namespace", "{env: prod}"),
        object("Secret", "[a, b]"),
        object("ConfigMap", "{a: 1, \"b\\nc=d\": e, f: \"g=h\", i: \"j\\nk=l\", m: o}"),
        object("Service", "{env: prod}"),
    ];
    let expected = [
        known(&[("reload", "yes"), ("app.kubernetes.io/name", "web"), ("empty", "")]),
        known(&[("env", "prod")]),
        known(&[]),
        known(&[("m", "o")]),
        None,
    ];
    assert_eq!(labels(&text.concat()), expected);
}

#[test]
fn labels_take_so_much_room_and_no_more() {
    let many: Vec<String> = (0..260).map(|n| format!(r#""l{n}": "{}""#, "v".repeat(60))).collect();
    let object = format!(
        r#"{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "a", "labels": {{{}}}}}}}"#,
        many.join(", ")
    );
    let one = labels(&object)[0].clone().unwrap().len();
    assert!((200..260).contains(&one), "{one}");
    let found = labels(&vec![object; 1100].join("\n"));
    let known = found.iter().filter(|labels| labels.is_some()).count();
    assert!((1000..1100).contains(&known), "{known}: the others aren't known");
}
