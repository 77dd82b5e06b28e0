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
    assert_eq!(said(&format!("--- # as YAML\n{outer}")), expected);
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
