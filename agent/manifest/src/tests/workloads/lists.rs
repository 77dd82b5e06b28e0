use super::*;

fn of_kind(kind: WorkloadKind) -> String {
    each_kind().into_iter().find(|(found, _)| *found == kind).unwrap().1
}

fn list(api_version: &str, kind: &str, items: &[String]) -> String {
    format!(
        r#"{{"apiVersion": "{api_version}", "items": [{}], "kind": "{kind}", "metadata": {{}}}}"#,
        items.join(",\n")
    )
}

const CONFIG_MAP: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}}"#;

#[test]
fn lists_of_any_kind_are_read_in_order_and_lists_in_lists_too() {
    let all: Vec<String> = each_kind().into_iter().map(|(_, text)| text).collect();
    let inner = list("v1", "List", &all[..4]);
    let outer = list("v1", "List", &[CONFIG_MAP.to_owned(), inner, all[4..].join(",")]);
    let mut expected = vec!["-  ConfigMap /app".to_owned()];
    expected.extend(WorkloadKind::ALL.map(|kind| format!("{kind} shop/web")));
    assert_eq!(said(&outer), expected);
    assert_eq!(said(&format!("---\n{outer}\n# as YAML")), expected);
}

#[test]
fn a_typed_list_gives_its_kind_to_items_that_have_none() {
    let bare = |kind: WorkloadKind, api_version: &str| {
        of_kind(kind).replace(&format!(r#""apiVersion": "{api_version}", "kind": "{kind}", "#), "")
    };
    let deployments = [bare(WorkloadKind::Deployment, "apps/v1"), of_kind(WorkloadKind::DaemonSet)];
    let found = said(&list("apps/v1", "DeploymentList", &deployments));
    assert_eq!(found, ["Deployment shop/web", "DaemonSet shop/web"]);
    let jobs = [bare(WorkloadKind::CronJob, "batch/v1")];
    assert_eq!(said(&list("batch/v1", "CronJobList", &jobs)), ["CronJob shop/web"]);
    let config_maps = [r#"{"metadata": {"name": "app"}}"#.to_owned()];
    assert_eq!(said(&list("v1", "ConfigMapList", &config_maps)), ["-  ConfigMap /app"]);
    let volcano = [r#"{"metadata": {"name": "train"}}"#.to_owned()];
    assert_eq!(said(&list("batch.volcano.sh/v1", "JobList", &volcano)), ["- batch.volcano.sh Job /train"]);
}

#[test]
fn an_item_that_cant_be_used_is_named_and_the_others_are_read() {
    let nameless = of_kind(WorkloadKind::Job).replace(r#""name": "web", "#, "");
    let inner = list("v1", "List", &["7".to_owned(), r#"{"metadata": {}}"#.to_owned(), "null".to_owned()]);
    let text = list("v1", "List", &[nameless, inner, of_kind(WorkloadKind::Pod)]);
    assert_eq!(
        said(&format!("\n{text}")),
        [
            "! document 1, from line 2 on: metadata.name of item 1 is missing, and a Kubernetes name is needed",
            "! document 1, from line 2 on: item 2 is no object",
            "! document 1, from line 2 on: item 3 has no kind",
            "! document 1, from line 2 on: item 4 is no object",
            "Pod shop/web",
        ]
    );
}

#[test]
fn an_empty_list_holds_nothing_and_one_without_items_is_half_written() {
    for (text, expected) in [
        ("kind: List\nitems: []\n", &[][..]),
        (r#"{"kind": "DeploymentList", "items": null}"#, &[]),
        (
            "kind: List\n",
            &[
                "! document 1, from line 1 on: the object is a list without items: an empty one has `items: []`",
            ],
        ),
        (
            "kind: PodList\n",
            &[
                "! document 1, from line 1 on: the object is a list without items: an empty one has `items: []`",
            ],
        ),
        ("kind: PriceList\nitems: 7\n", &["-  PriceList /"]),
    ] {
        assert_eq!(said(text), expected, "{text}");
    }
}

#[test]
fn the_number_of_objects_is_bounded_however_they_are_listed() {
    let too_many = |text: &str, read_before: usize| {
        let found = read(text);
        assert_eq!(found.len(), read_before + 1);
        assert_eq!(
            found.last().unwrap().as_ref().unwrap_err().error,
            ManifestError::TooMany { most: 50_000 }
        );
    };
    let objects = |count: usize| vec![CONFIG_MAP.to_owned(); count];
    assert_eq!(read(&list("v1", "List", &objects(50_000))).len(), 50_000);
    too_many(&list("v1", "List", &objects(50_001)), 50_000);
    too_many(&objects(50_001).join("\n"), 50_000);
    // What every object says that it is has a bound of its own, before anything is read.
    too_many(&list("v1", "List", &vec!["{}".to_owned(); 500_000]), 0);
    let inner = list("v1", "List", &vec!["[]".to_owned(); 1000]);
    too_many(&list("v1", "List", &vec![inner; 500]), 0);
}

#[test]
fn an_item_with_a_field_of_another_type_takes_nothing_from_its_list() {
    let pod = |name: &str, rest: &str| {
        format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "{name}"}}, "spec": {{{rest}, "containers": [{{"name": "app"}}]}}}}"#
        )
    };
    for (bad, what) in [
        (r#""volumes": "x""#, "invalid type: string \"x\", expected a list"),
        (
            r#""volumes": [{"name": "a", "secret": {"items": [{"key": {"a": [1, {}]}, "path": "x"}, {}]}}]"#,
            "invalid type: map",
        ),
        (r#""hostNetwork": [1, [2]], "volumes": []"#, "invalid type: sequence, expected a boolean"),
        (r#""hostNetwork": true, "hostNetwork": {"a": {}}"#, "duplicate field `hostNetwork`"),
        (r#""restartPolicy": 7"#, "invalid type: integer `7`"),
    ] {
        let items =
            [pod("one", r#""a": 1"#), pod("bad", bad), CONFIG_MAP.to_owned(), pod("two", r#""a": 1"#)];
        let inner = list("v1", "List", &items);
        let outer = list("v1", "List", &[inner, pod("three", r#""a": 1"#)]);
        for text in [outer.clone(), format!("---\n{outer}\n# as YAML")] {
            // YAML says that of the whole text.
            if text.starts_with("---") && what.starts_with("duplicate") {
                continue;
            }
            let found = said(&text);
            assert_eq!(
                (found.len(), &*found[0], &found[2..]),
                (5, "Pod /one", &["-  ConfigMap /app", "Pod /two", "Pod /three"].map(str::to_owned)[..]),
                "{bad} {found:?}"
            );
            assert!(found[1].contains("item 2 (Pod \"bad\") can't be read: "), "{found:?}");
            assert!(found[1].contains(what), "{found:?}");
        }
    }
}

#[test]
fn the_line_in_what_is_wrong_with_an_item_is_one_of_the_whole_text() {
    let list = "kind: List\nitems:\n- kind: Pod\n  metadata: {name: bad}\n  spec: {volumes: x}\n";
    let yaml = said(&format!("kind: A\n---\n{list}"));
    assert!(yaml[1].contains("at line 7, column "), "{yaml:?}");
    let list = "{\"kind\": \"List\", \"items\": [\n{\"kind\": \"Pod\", \"spec\": {\"volumes\": \"x\"}}]}";
    let json = said(&format!("{{\"kind\": \"A\"}}\n{list}"));
    assert!(!json[1].contains(" at line ") || json[1].contains(" at line 3 column "), "{json:?}");
}

#[test]
fn an_item_that_says_twice_what_it_is_takes_nothing_from_its_list() {
    let twice = r#"{"kind": "Pod", "metadata": {"name": "a"}, "kind": "Secret", "spec": [[]]}"#.to_owned();
    let text = list("v1", "List", &[CONFIG_MAP.to_owned(), twice, of_kind(WorkloadKind::Pod)]);
    assert_eq!(
        said(&text),
        [
            "-  ConfigMap /app",
            "! document 1, from line 1 on: item 2 can't be read: `kind` stands there twice",
            "Pod shop/web"
        ]
    );
}

#[test]
fn however_many_keys_and_annotations_somebody_gives_to_objects_the_others_of_a_list_are_read() {
    let each = |prefix: &str, count: usize, value: &str| {
        let all = (0..count).map(|n| format!(r#""{prefix}{n:0>240}":"{value}""#));
        all.collect::<Vec<_>>().join(",")
    };
    let object = |n: usize, annotations: &str, data: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c{n}","annotations":{{{annotations}}}}},"data":{{{data}}}}}"#
        )
    };
    let (keys, marks) = (each("", 1_024, ""), each("reloadlet.io/", 16, ""));
    let mut items: Vec<String> = (0..150).map(|n| object(n, &marks, &keys)).collect();
    items.push(object(1_000, r#""reloadlet.io/ignored":"true""#, ""));
    items.push(
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}]}}"#
            .into(),
    );
    let text = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{}]}}"#, items.join(","));
    let found = read(&text);
    assert_eq!(found.len(), 152);
    assert!(found.iter().all(Result::is_ok), "{:?}", found.iter().find(|found| found.is_err()));
    assert!(matches!(&found[151], Ok(Found::Workload(_))));
}
