//! How much is read and kept, whoever writes it.

use reloadlet_core::model::excess::{Excess, Part};
use reloadlet_core::model::names::Name;
use reloadlet_core::model::pod::VolumeKind;

use super::*;

fn excess(text: &str) -> Option<Excess> {
    let pods = decode(text).unwrap();
    assert_eq!(names(&pods), ["a"]);
    assert!(
        pods[0].spec.excess.is_none()
            || pods[0].spec.volumes.is_empty() && pods[0].spec.containers.is_empty()
    );
    pods[0].spec.excess
}

#[test]
fn a_pod_that_is_too_large_is_known_by_its_name_and_says_what_is_too_much() {
    let volume = r#"{"name": "v", "configMap": {"name": "c"}}"#;
    let volumes = |times| asking(&format!(r#", "volumes": [{}]"#, repeated(volume, times)));
    let containers = |inner: &str, times| {
        asking(&format!(
            r#", "initContainers": [{{"name": "b", {inner}}}{}]"#,
            r#",{"name": "c"}"#.repeat(times)
        ))
    };
    let mounts =
        |times| containers(&format!(r#""volumeMounts": [{}]"#, repeated(r#"{"name": "v"}"#, times)), 0);
    let variables = |times: usize| {
        let variable = |n| format!(r#"{{"valueFrom": {{"secretKeyRef": {{"name": "s{n}", "key": "k"}}}}}}"#);
        containers(&format!(r#""env": [{}]"#, (0..times).map(variable).collect::<Vec<_>>().join(",")), 0)
    };
    let items = |times| {
        let items = repeated(r#"{"key": "k", "path": "p"}"#, times);
        asking(&format!(r#", "volumes": [{{"name": "v", "secret": {{"items": [{items}]}}}}]"#))
    };
    let sources = |times| {
        asking(&format!(
            r#", "volumes": [{{"name": "v", "projected": {{"sources": [{}]}}}}]"#,
            repeated("{}", times)
        ))
    };
    let long = |bytes: usize| {
        asking(&format!(
            r#", "volumes": [{{"name": "v", "secret": {{"secretName": "{}"}}}}]"#,
            "s".repeat(bytes)
        ))
    };
    for fits in [
        volumes(256),
        containers(r#""env": []"#, 126),
        mounts(1024),
        variables(1024),
        items(2048),
        long(300_000),
    ] {
        assert_eq!(excess(&fits), None);
    }
    for (text, part) in [
        (volumes(257), Part::Volumes),
        (volumes(10_000), Part::Volumes),
        (containers(r#""env": []"#, 127), Part::Containers),
        (mounts(1025), Part::Mounts),
        (variables(1025), Part::Environment),
        (items(2049), Part::Items),
    ] {
        assert_eq!(excess(&text), Some(Excess::Many(part)));
    }
    for text in [long(600_000), sources(500_000), mounts(100_000), items(60_000), variables(40_000)] {
        assert_eq!(excess(&text), Some(Excess::Bytes));
    }
}

#[test]
fn annotations_have_a_number_and_a_length() {
    let with = |annotations: &str| {
        asking("").replace(r#"{"reloadlet.io/signal": "HUP"}"#, &format!("{{{annotations}}}"))
    };
    let many = |times: usize| {
        with(&(0..times).map(|n| format!(r#""reloadlet.io/a{n}": """#)).collect::<Vec<_>>().join(","))
    };
    assert_eq!(excess(&many(148)), None);
    assert_eq!(excess(&many(149)), Some(Excess::Many(Part::Annotations)));
    assert_eq!(excess(&many(8000)), Some(Excess::Many(Part::Annotations)));
    let long = format!(r#""reloadlet.io/signal": "{}""#, "H".repeat(600_000));
    assert_eq!(excess(&with(&long)), Some(Excess::Bytes));
    let others = format!(r#""reloadlet.io/signal": "HUP", "other": "{}""#, "x".repeat(2_000_000));
    assert_eq!(excess(&with(&others)), None, "others aren't kept");
}

#[test]
fn what_doesnt_count_takes_no_room() {
    let variables = repeated(&format!(r#"{{"name": "A", "value": "{}"}}"#, "x".repeat(1000)), 1400);
    let text = asking("").replace(
        r#"{"name": "app"}"#,
        &format!(r#"{{"name": "app", "env": [{variables}], "command": ["{}"]}}"#, "y".repeat(1_000_000)),
    );
    assert_eq!(excess(&text), None);
}

#[test]
fn whatever_a_pod_writes_at_length_counts_where_it_is_kept() {
    let long = "x".repeat(30_000);
    let csi = |rest: &str| asking(&format!(r#", "volumes": [{{"name": "v", "csi": {{{rest}}}}}]"#));
    let container = |rest: &str| asking(&format!(r#", "initContainers": [{{"name": "b", {rest}}}]"#));
    for text in [
        csi(&format!(r#""volumeAttributes": {{"secretProviderClass": "{long}"}}"#)),
        csi(&format!(r#""driver": "{long}""#)),
        container(&format!(r#""ports": [{{"name": "{long}", "containerPort": 80}}]"#)),
        container(&format!(r#""volumeMounts": [{{"name": "{long}"}}]"#)),
        container(&format!(r#""envFrom": [{{"secretRef": {{"name": "{long}"}}}}]"#)),
        asking(&format!(r#", "runtimeClassName": "{long}""#)),
    ] {
        let pods = decode(&text).unwrap();
        let kept = format!("{:?}", pods[0].spec).len();
        assert!(kept <= pods[0].spec.cost(), "{kept} of {}", text.replace(&long, "…"));
    }
}

#[test]
fn nothing_is_kept_of_the_spec_of_a_pod_that_asks_for_nothing() {
    let volumes = repeated(r#"{"name": "v", "configMap": {"name": "c"}}"#, 10_000);
    let first = asking(&format!(r#", "volumes": [{volumes}]"#)).replace("reloadlet.io/signal", "other");
    let pods = decode(&first).unwrap();
    assert!(pods[0].spec.volumes.is_empty() && pods[0].spec.containers.is_empty() && !pods[0].spec.asks());
    // The metadata may come last.
    let last = format!(
        r#"{{"spec": {{"containers": [{{"name": "app"}}], "volumes": [{volumes}]}}, {}"#,
        &pod_json()[1..]
    );
    let pods = decode(&last).unwrap();
    assert!(pods[0].spec.volumes.is_empty() && pods[0].spec.excess.is_none() && !pods[0].spec.asks());
}

#[test]
fn pods_that_dont_fit_together_are_left_out_by_namespace() {
    let volumes = repeated(r#"{"name": "v", "configMap": {"name": "c"}}"#, 256);
    let pod = |n: usize, namespace: &str| {
        asking(&format!(r#", "volumes": [{volumes}]"#))
            .replace(UID, &format!("00000000-0000-4000-8000-{n:012}"))
            .replace("web", namespace)
    };
    let mut texts: Vec<String> = (0..200).map(|n| pod(n, "large")).collect();
    texts.push(pod(300, "small"));
    let list = format!(r#"{{"kind": "List", "items": [{}]}}"#, texts.join(","));
    for text in [list, texts.join("\n")] {
        let pods = decode(&text).unwrap();
        let followed = |namespace: &str| {
            pods.iter().filter(|pod| &*pod.namespace == namespace && pod.spec.excess.is_none()).count()
        };
        assert_eq!((pods.len(), followed("small")), (201, 1));
        assert!((5..100).contains(&followed("large")), "{}", followed("large"));
        let kept: usize = pods.iter().map(|pod| pod.spec.cost()).sum();
        assert!(kept <= reloadlet_core::policy::crowd::MOST_BYTES);
    }
}

#[test]
fn a_text_with_more_objects_than_any_node_has_pods_is_refused() {
    let items = repeated("{}", 10_001);
    assert_eq!(
        decode(&format!(r#"{{"kind": "List", "items": [{items}]}}"#)),
        Err(ManifestError::TooMany { most: 10_000 })
    );
    assert_eq!(decode(&"{}\n".repeat(10_001)), Err(ManifestError::TooMany { most: 10_000 }));
}

#[test]
fn aliases_and_nesting_have_an_end() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let before = format!("*a{}", n - 1);
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![before; 9].join(", ")));
    }
    let deep = format!("kind: Pod\nspec: {}", "[".repeat(100_000));
    let deep_json = format!(r#"{{"kind": "Pod", "spec": {}"#, "[".repeat(100_000));
    let anchors = format!("kind: Pod\nx: &x [{}]\n", repeated("y", 30_000));
    for text in [laughs, deep, deep_json, anchors] {
        let error = error(&text);
        let is_said = error.starts_with("it is half written or malformed")
            || error == "it has deeper nesting, or more anchors and aliases, than are read";
        assert!(is_said && error.len() < 1000 && !error.contains("budget"), "{error}");
    }
}

#[test]
fn names_that_are_too_long_to_be_any_are_cut_where_they_are_shown() {
    let text = pod_json().replace(r#""a""#, &format!("\"{}\"", "a".repeat(1 << 20)));
    let error = error(&text);
    assert!(error.starts_with("metadata.name of the object is \"aaa") && error.len() < 1000, "{error}");
}

#[test]
fn a_thousand_pods_as_kubectl_writes_them_fit_the_limits() {
    let mut text = String::from("apiVersion: v1\nkind: List\nitems:\n");
    for number in 0..1000 {
        let uid = format!("00000000-0000-4000-8000-{number:012}");
        text.push_str(&format!("- {}", pod(&format!("p{number}"), &uid).replace('\n', "\n  ")));
        text.push_str("status:\n    conditions:\n");
        for _ in 0..60 {
            text.push_str("    - {type: Ready, status: \"True\"}\n");
        }
    }
    let pods = decode(&text).unwrap();
    assert_eq!(pods.len(), 1000);
    assert!(Name::ptr_eq(&pods[0].namespace, &pods[999].namespace), "names are shared");
    assert_eq!(pods[0].spec.volumes.first().and_then(|volume| volume.kind()), None::<VolumeKind>);
}

#[test]
fn what_is_malformed_quotes_a_bounded_part_of_it() {
    let error = error(&format!("{{\"kind\": \"Pod\", \"metadata\": \"{}\"}}", "ü".repeat(10_000)));
    assert!(error.chars().count() < 600 && error.ends_with('…'), "{error}");
}
