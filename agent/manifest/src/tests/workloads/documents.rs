use super::*;
use crate::read::MOST_FOUND;

const GOOD: &str = "kind: ConfigMap\nmetadata: {name: app}\n";

#[test]
fn a_broken_document_is_named_with_its_line_and_the_others_are_read() {
    let deployment = each_kind().remove(2).1.replace('\n', "");
    for (broken, line, place) in [
        ("kind: Deployment\nmetadata: {name: [a\n", 6, "line 7"),
        ("kind: Deployment\nmetadata:\n\tname: a\n", 6, "line 8"),
        ("apiVersion: apps/v1\nkind: Deployment\nspec:\n  template: 7\n", 6, "line 9"),
        ("kind: \"Deployment\n", 6, ""),
        ("a: *unknown\n", 6, "line 6"),
        ("# nothing\n\nkind: Pod\nspec: {containers: {}}\n", 8, "line 9"),
    ] {
        let text = format!("# first\n{GOOD}---\n# second\n{broken}---\n{deployment}\n");
        let found = said(&text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!((&*found[0], &*found[2]), ("-  ConfigMap /app", "Deployment shop/web"), "{found:?}");
        let begin = format!("! document 2, from line {line} on: it is half written or malformed: ");
        assert!(found[1].starts_with(&begin) && found[1].contains(place), "{broken} {found:?}");
    }
}

#[test]
fn what_follows_a_broken_json_object_cant_be_told_from_it() {
    let text = format!(
        "{}\n\n{{\"kind\": \"Pod\",\n \"metadata\": [}}\n{}",
        each_kind().remove(7).1,
        each_kind().remove(0).1
    );
    let found = said(&text);
    assert_eq!((found.len(), &*found[0]), (2, "Job shop/web"), "{found:?}");
    let begin = "! document 2, from line 6 on: it is half written or malformed: ";
    assert!(
        found[1].starts_with(begin) && found[1].ends_with("at line 7 column 15; the document isn't read"),
        "{found:?}"
    );
    // What is whole but of another type takes nothing from what follows.
    let text = format!("{{\"kind\": \"Pod\",\n \"metadata\": 7}} {}", each_kind().remove(0).1);
    let found = said(&text);
    assert_eq!((found.len(), &*found[1]), (2, "Pod shop/web"), "{found:?}");
    assert!(
        found[0].starts_with("! document 1, from line 1 on: ") && found[0].contains("line 2"),
        "{found:?}"
    );
}

#[test]
fn documents_end_where_yaml_says_so_and_empty_ones_arent_counted() {
    let text = "\u{feff}%YAML 1.2\n---\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n     ---\n---\n---\n# only this\n--- # and this\n\
        ...\n%YAML 1.2\n---\r\nkind: ConfigMap\r\nmetadata: {name: b}\r\n...\r\nkind: ConfigMap\nmetadata: {name: c}\n\
        ---\tkind: x\n--- {kind: ConfigMap, metadata: {name: d}}\n---x: y\nkind: 7\n--- ~\n---\nkind: ConfigMap\nmetadata: {name: e}";
    let found = said(text);
    assert_eq!(found.len(), 6, "{found:?}");
    let good = ["-  ConfigMap /a", "-  ConfigMap /b", "-  ConfigMap /c"];
    assert_eq!(found[..3], good, "{found:?}");
    assert_eq!(found[5], "-  ConfigMap /e", "{found:?}");
}

#[test]
fn whether_a_document_is_json_is_decided_for_each_of_them() {
    let pod = "kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: app}]}\n";
    for (first, said_of_it) in [
        ("{{- if .Values.x }}\n", "! document 1, from line 1 on: "),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: app}}\n", "-  ConfigMap /app"),
        ("{\"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"app\"}}\n", "-  ConfigMap /app"),
        ("{\"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"app\"}} # one\n", "-  ConfigMap /app"),
        ("--- {\"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"app\"}}\n", "-  ConfigMap /app"),
        ("{\"kind\": \n", "! document 1, from line 1 on: "),
    ] {
        let found = said(&format!("{first}---\n{pod}"));
        assert_eq!((found.len(), &*found[1]), (2, "Pod /web"), "{first} {found:?}");
        assert!(found[0].starts_with(said_of_it), "{first} {found:?}");
    }
    let stream = "# two\n{\"kind\": \"A\"}\n\n{\"kind\": 7}\n---\n{\"kind\": \"B\"}";
    let end = "from line 4 on: the object has no kind";
    assert_eq!(said(stream), ["-  A /", &format!("! document 2, {end}"), "-  B /"]);
    assert_eq!(said("{kind: ConfigMap, metadata: {name: app}}"), ["-  ConfigMap /app"]);
}

#[test]
fn a_text_without_anything_holds_nothing() {
    for empty in ["", "\n \n", "# nothing\n", "---\n---\n", "\u{feff}", "...\n"] {
        assert_eq!(read(empty), [], "{empty:?}");
    }
}

#[test]
fn bytes_that_are_no_text_break_their_own_document_only() {
    let text = [GOOD.as_bytes(), b"---\nkind: \xff\n---\n", GOOD.as_bytes()].concat();
    let found = super::super::super::read(&text, Format::Yaml);
    let errors: Vec<_> = found.iter().map(|found| found.as_ref().err().map(ToString::to_string)).collect();
    assert_eq!(errors, [None, Some("document 2, from line 4 on: it is not UTF-8".to_owned()), None]);
}

#[test]
fn size_nesting_and_aliases_have_an_end_and_take_nothing_from_other_documents() {
    let mut laughs = String::from("kind: Deployment\nspec: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let before = format!("*a{}", n - 1);
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![before; 9].join(", ")));
    }
    let deep = format!("kind: Pod\nspec: {}", "[".repeat(100_000));
    let items = format!("kind: List\nitems: {}{}", "[".repeat(60), "]".repeat(60));
    let nested = "{kind: List, items: [".repeat(60) + &"]}".repeat(60);
    let anchors = format!("kind: Pod\nx: &x [{}]\n", repeated("y", 30_000));
    for text in [laughs, deep, items, nested, anchors] {
        let found = said(&format!("{GOOD}---\n{text}\n---\n{GOOD}"));
        assert_eq!(
            (found.len(), &*found[0], &*found[2]),
            (3, "-  ConfigMap /app", "-  ConfigMap /app"),
            "{found:?}"
        );
        assert!(found[1].starts_with("! document 2, from line 4 on: "), "{found:?}");
        assert!(found[1].len() < 1000 && !found[1].contains("budget"), "{found:?}");
    }
    let deep = r#"{"kind": "List", "items": ["#.repeat(10_000);
    assert_eq!(said(&deep).len(), 1);
}

#[test]
fn documents_that_hold_nothing_count_too() {
    let found = read(&"---\n~\n".repeat(MOST_FOUND + 2));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].as_ref().unwrap_err().error, ManifestError::TooMany { most: MOST_FOUND });
    assert!(read(&"---\n~\n".repeat(MOST_FOUND)).is_empty());
}

#[test]
fn many_small_documents_repeat_little_by_aliases() {
    let document = |times: usize, padding: usize| {
        let (anchor, aliases) = ("1,".repeat(500), "*a, ".repeat(times));
        let padding = "#".repeat(padding);
        format!(
            "kind: ConfigMap\nmetadata: {{name: c}}\ndata: {{a: &a [{anchor}], b: [{aliases}]}}\n{padding}\n"
        )
    };
    let error = |text: String| read(&text)[0].as_ref().err().map(|unreadable| unreadable.error.clone());
    assert_eq!(error(document(5, 0)), None);
    assert_eq!(error(document(40, 0)), Some(ManifestError::TooInvolved));
    assert_eq!(error(document(40, 10_000)), None, "a large document may repeat more");
}

#[test]
fn what_decides_what_an_object_is_stands_there_once() {
    for (twice, field) in [
        (r#"{"kind": "List", "items": [], "items": [{"kind": "Pod"}]}"#, "items"),
        (r#"{"kind": "Secret", "kind": "Pod", "metadata": {"name": "a"}}"#, "kind"),
        (r#"{"apiVersion": "v1", "apiVersion": "x/v1", "kind": "Pod"}"#, "apiVersion"),
        (r#"{"kind": "Pod", "metadata": {"name": "a"}, "metadata": {"name": "b"}}"#, "metadata"),
    ] {
        let found = read(twice);
        assert_eq!(found.len(), 1, "{twice}");
        let error = found[0].as_ref().unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}` stands there twice")), "{error}");
    }
}

#[test]
fn a_key_that_stands_there_twice_takes_its_document_and_of_a_list_no_other_item() {
    let twice = "kind: Pod\nmetadata:\n  name: bad\n  name: worse\nspec: {containers: [{name: app}]}\n";
    assert_eq!(said(twice), ["! document 1, from line 1 on: key \"name\" stands there twice at line 4"]);
    let item = twice.replace('\n', "\n  ");
    let text = format!("kind: List\nitems:\n- {{kind: A}}\n- {item}\n- {{kind: B}}\n---\n{GOOD}");
    assert_eq!(
        said(&text),
        [
            "! document 1, from line 1 on: key \"name\" stands there twice at line 7",
            "-  A /",
            "Pod /bad",
            "-  B /",
            "-  ConfigMap /app"
        ]
    );
}

#[test]
fn of_very_many_keys_none_is_known_and_that_isnt_too_many_objects() {
    let keys: String = (0..145_000).map(|n| format!("  key{n:0256}: x\n")).collect();
    let found = read(&format!("kind: ConfigMap\nmetadata: {{name: app}}\ndata:\n{keys}---\n{GOOD}"));
    let known = |found: &Result<Found, Unreadable>| match found {
        Ok(Found::Other(other)) => other.keys.as_ref().map(|keys| keys.all.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(found.iter().map(known).collect::<Vec<_>>(), [None, Some(0)]);
}

#[test]
fn of_a_text_that_is_too_large_the_whole_documents_are_read_that_it_begins_with() {
    let large = |text: &str| {
        let padding = format!("# {}\n", "x".repeat(1000)).repeat((SIZE_LIMIT + 1 - text.len()) / 1003 + 1);
        format!("{text}{padding}")
    };
    let beyond = |number, line| {
        let what =
            "of a text 64 MiB are read, and it goes on: this document and what follows it isn't checked";
        format!("! document {number}, from line {line} on: {what}")
    };
    let object = r#"{"kind": "A"}"#;
    assert_eq!(
        said(&large(&format!("kind: A\n---\n{GOOD}---\nkind: B\n"))),
        ["-  A /", "-  ConfigMap /app", &beyond(3, 6)]
    );
    assert_eq!(
        said(&large(&format!("{object}\n{object}\n{{\"a\": [\n"))),
        ["-  A /", "-  A /", &beyond(3, 3)]
    );
    assert_eq!(said(&large("")), [beyond(1, 1)]);
}
