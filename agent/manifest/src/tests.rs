use reloadlet_core::model::excess::{Excess, Part};
use reloadlet_core::model::names::{ContainerId, Name, PodUid};
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{
    AnnotationValue, Container, ContainerKind, EnvironmentSource, Item, ObjectSource, ProjectedSource,
    VolumeKind, VolumeMount, VolumeSource,
};

use super::*;

/// The pods of a text that is in memory.
fn decode(text: &str) -> Result<Vec<Arc<Pod>>, ManifestError> {
    super::decode(text.as_bytes())
}

const UID: &str = "3f0c2b1a-7d52-4c63-9d4e-5a6b7c8d9e0f";
const OTHER_UID: &str = "4f0c2b1a-7d52-4c63-9d4e-5a6b7c8d9e0f";

/// A pod with one container, as short as can be.
fn pod(name: &str, uid: &str) -> String {
    format!(
        "kind: Pod\nmetadata: {{name: {name}, namespace: web, uid: {uid}}}\nspec: {{containers: [{{name: app}}]}}\n"
    )
}

fn annotated(annotations: &str) -> String {
    pod("a", UID).replace("namespace: web", &format!("namespace: web, annotations: {{{annotations}}}"))
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().map(|pod| &*pod.name).collect()
}

fn error(text: &str) -> String {
    decode(text).unwrap_err().to_string()
}

#[test]
fn a_pod_comes_with_all_that_decides_about_reloads() {
    let text = r#"
apiVersion: v1
kind: Pod
metadata:
  name: web-7d9c.a
  namespace: shop
  uid: 3f0c2b1a-7d52-4c63-9d4e-5a6b7c8d9e0f
  deletionTimestamp: "2026-11-21T05:56:44Z"
  creationTimestamp: null
  annotations:
    reloadlet.io/signal: SIGHUP
    reloadlet.io/debounce: 2s
    reloadlet.io/observed: 9f2c
    kubectl.kubernetes.io/last-applied-configuration: |
      {"kind":"Pod"}
spec:
  runtimeClassName: gvisor
  initContainers:
  - name: setup
    volumeMounts: [{name: config, mountPath: /c}]
  - name: proxy
    restartPolicy: Always
    volumeMounts: null
  containers:
  - name: app
    image: app:1
    env:
    - {name: PLAIN, value: "1"}
    - {name: LEVEL, valueFrom: {configMapKeyRef: {name: levels, key: level}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: s, key: password}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    envFrom:
    - {configMapRef: {name: whole}}
    - {secretRef: {name: t}, prefix: T_}
    volumeMounts:
    - {name: config, mountPath: /etc/app}
    - {name: config, mountPath: /etc/one, subPath: one}
    - {name: certs, mountPath: /etc/two, subPathExpr: $(POD)}
    - {name: certs, mountPath: /etc/three, subPath: ""}
  volumes:
  - name: config
    configMap: {name: app-config, items: [{key: a, path: b}], optional: true}
  - name: certs
    secret: {secretName: app-certs}
  - name: pod-info
    downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
  - name: scratch
    emptyDir: {}
  - name: kube-api-access-x
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - configMap: {name: whole}
      - secret: {name: s}
      - downwardAPI: {items: [{path: namespace}, {path: sub/labels}]}
      - clusterTrustBundle: {path: bundle.pem}
      - podCertificate: {credentialBundlePath: bundle, keyPath: key, certificateChainPath: chain}
status:
  phase: Running
  containerStatuses:
  - {name: app, containerID: "containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
  - {name: waiting, containerID: ""}
  initContainerStatuses:
  - {name: proxy, containerID: "cri-o://fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}
"#;
    let mount = |volume: &str, sub_path: Option<&str>| VolumeMount {
        volume: volume.into(),
        sub_path: sub_path.map(Name::from),
    };
    let item = |key: &str, path: &str| Item { key: key.into(), path: path.into() };
    let environment = |kind, name: &str, key: Option<&str>| EnvironmentSource {
        kind,
        name: name.into(),
        key: key.map(Name::from),
    };
    let object = |name: &str| ObjectSource { name: name.into(), ..ObjectSource::default() };
    let volume = |name: &str, source| reloadlet_core::model::pod::Volume { name: name.into(), source };
    let id = |digits: &str| ContainerId::parse(&digits.repeat(4)).unwrap();
    let rotating = |paths: &[&str]| ProjectedSource::Rotating {
        paths: paths.iter().map(|path| Name::from(*path)).collect(),
    };
    let expected = Pod {
        uid: PodUid::parse(UID).unwrap(),
        namespace: "shop".into(),
        name: "web-7d9c.a".into(),
        annotations: [("signal", "SIGHUP"), ("debounce", "2s")]
            .map(|(key, value)| (format!("reloadlet.io/{key}"), AnnotationValue::Text(value.to_owned())))
            .into(),
        containers: vec![
            Container {
                name: "app".into(),
                kind: ContainerKind::Regular,
                mounts: vec![
                    mount("config", None),
                    mount("config", Some("one")),
                    mount("certs", Some("$(POD)")),
                    mount("certs", None),
                ],
                environment: vec![
                    environment(ObjectKind::ConfigMap, "levels", Some("level")),
                    environment(ObjectKind::ConfigMap, "whole", None),
                    environment(ObjectKind::Secret, "s", Some("password")),
                    environment(ObjectKind::Secret, "t", None),
                ],
            },
            Container {
                name: "setup".into(),
                kind: ContainerKind::Init,
                mounts: vec![mount("config", None)],
                environment: Vec::new(),
            },
            Container {
                name: "proxy".into(),
                kind: ContainerKind::Sidecar,
                mounts: Vec::new(),
                environment: Vec::new(),
            },
        ],
        volumes: vec![
            volume(
                "config",
                VolumeSource::ConfigMap(ObjectSource {
                    items: vec![item("a", "b")],
                    optional: true,
                    ..object("app-config")
                }),
            ),
            volume("certs", VolumeSource::Secret(object("app-certs"))),
            volume("pod-info", VolumeSource::DownwardApi),
            volume("scratch", VolumeSource::Other),
            volume(
                "kube-api-access-x",
                VolumeSource::Projected(vec![
                    rotating(&["token"]),
                    ProjectedSource::ConfigMap(ObjectSource {
                        items: vec![item("ca.crt", "ca.crt")],
                        ..object("kube-root-ca.crt")
                    }),
                    ProjectedSource::ConfigMap(object("whole")),
                    ProjectedSource::Secret(object("s")),
                    rotating(&["namespace", "sub/labels"]),
                    rotating(&["bundle.pem"]),
                    rotating(&["bundle", "key", "chain"]),
                ]),
            ),
        ],
        status: [("app".into(), id("0123456789abcdef")), ("proxy".into(), id("fedcba9876543210"))].into(),
        runtime_class: Some("gvisor".into()),
        terminating: true,
        excess: None,
    };
    assert_eq!(decode(text).unwrap(), [Arc::new(expected)]);
}

#[test]
fn several_documents_and_lists_of_both_kinds_are_read_in_order() {
    let indented = pod("b", OTHER_UID).replace('\n', "\n  ");
    let text = format!("# two\n{}---\n---\nkind: List\nitems:\n- {indented}\n---\n", pod("a", UID));
    assert_eq!(names(&decode(&text).unwrap()), ["a", "b"]);
    let text = format!("apiVersion: v1\nkind: PodList\nitems:\n- {}", indented.replace("kind: Pod", "x: y"));
    assert_eq!(names(&decode(&text).unwrap()), ["b"]);
}

#[test]
fn json_is_read_alone_in_lists_and_one_after_the_other() {
    let json = |name: &str, uid: &str| {
        format!(
            r#"{{"kind":"Pod","metadata":{{"name":"{name}","uid":"{uid}"}},"spec":{{"containers":[{{"name":"app"}}]}}}}"#
        )
    };
    let (a, b) = (json("a", UID), json("b", OTHER_UID));
    let pods = decode(&format!("\u{feff} {a}")).unwrap();
    assert_eq!((names(&pods), &*pods[0].namespace), (vec!["a"], "default"));
    let list = format!(
        r#"{{"apiVersion":"v1","items":[{a},{b}],"kind":"List","metadata":{{"resourceVersion":""}}}}"#
    );
    assert_eq!(names(&decode(&list).unwrap()), ["a", "b"]);
    assert_eq!(names(&decode(&format!("{a}\n{b}\n")).unwrap()), ["a", "b"]);
}

#[test]
fn an_empty_list_says_that_there_are_no_pods_but_an_empty_file_says_nothing() {
    for none in
        ["kind: List\nitems: []\n", r#"{"kind":"PodList","items":[]}"#, r#"{"kind":"PodList","items":null}"#]
    {
        assert_eq!(decode(none), Ok(Vec::new()), "{none}");
    }
    for empty in ["", "\n \n", "# nothing\n", "---\n---\n", "\u{feff}"] {
        assert_eq!(decode(empty), Err(ManifestError::Empty), "{empty:?}");
    }
    for cut in ["kind: List\n", "kind: PodList\nitems:\n"] {
        assert_eq!(error(cut), "the object is a list without items: an empty one has `items: []`", "{cut}");
    }
}

#[test]
fn only_strings_are_text_in_annotations() {
    let text = annotated(
        r#"reloadlet.io/a: "1", reloadlet.io/b: 1, reloadlet.io/c: true, reloadlet.io/d: 'true',
        reloadlet.io/e: [a, b], reloadlet.io/f: {a: b}, reloadlet.io/g: 2s, reloadlet.io/h: -1.5, reloadlet.io/i: ,
        other/annotation: [1], other/second: 7"#,
    );
    let found: Vec<(String, AnnotationValue)> =
        decode(&text).unwrap()[0].annotations.clone().into_iter().collect();
    let text = |value: &str| AnnotationValue::Text(value.to_owned());
    let other = |value: &str| AnnotationValue::NotText(value.to_owned());
    let expected = [
        ("a", text("1")),
        ("b", other("1")),
        ("c", other("true")),
        ("d", text("true")),
        ("e", other("[…]")),
        ("f", other("{…}")),
        ("g", text("2s")),
        ("h", other("-1.5")),
        ("i", other("null")),
    ];
    assert_eq!(found, expected.map(|(key, value)| (format!("reloadlet.io/{key}"), value)));
}

#[test]
fn the_uid_is_the_metadatas_whatever_an_annotation_says() {
    for key in ["kubernetes.io/config.mirror", "kubernetes.io/config.hash"] {
        for value in [OTHER_UID, "5e4a0b8b1f5f0c3d2e1a9b8c7d6e5f40", "../x"] {
            let pods = decode(&annotated(&format!("{key}: {value}"))).unwrap();
            assert_eq!(pods[0].uid.as_str(), UID, "{key}: {value}");
            assert!(pods[0].annotations.is_empty(), "{key}");
        }
        let without = annotated(&format!("{key}: {OTHER_UID}")).replace("uid:", "id:");
        assert!(error(&without).starts_with("metadata.uid of the object is missing"), "{key}");
    }
}

#[test]
fn pods_that_claim_one_uid_are_left_alone_and_the_others_are_used() {
    let third = "5f0c2b1a-7d52-4c63-9d4e-5a6b7c8d9e0f";
    let text = [pod("a", UID), pod("b", OTHER_UID), pod("c", UID), pod("d", third)].join("---\n");
    let (pods, claimed) = sort_out(decode(&text).unwrap());
    assert_eq!(names(&pods), ["b", "d"]);
    let said: Vec<String> = claimed.iter().map(ToString::to_string).collect();
    let sentence = format!("web/a, web/c have the same UID {UID} and are left alone: a UID is one pod's");
    assert_eq!(said, [sentence]);
    let many: Vec<String> = (0..9).map(|number| pod(&format!("p{number}"), UID)).collect();
    let (pods, claimed) = sort_out(decode(&many.join("---\n")).unwrap());
    assert!(pods.is_empty());
    assert!(claimed[0].to_string().starts_with("web/p0, web/p1, web/p2, web/p3, web/p4 and 4 more have"));
}

#[test]
fn a_mistake_is_one_sentence_that_says_where() {
    let good = annotated("reloadlet.io/signal: HUP");
    let cases = [
        (good.replace(UID, "x/../y"), "metadata.uid of the object is \"x/../y\""),
        (good.replace("uid:", "id:"), "metadata.uid of the object is missing"),
        (good.replace("name: a,", ""), "metadata.name of the object is missing"),
        (good.replace("name: a,", "name: A,"), "metadata.name of the object is \"A\""),
        (good.replace("web", "a/b"), "metadata.namespace of the object is \"a/b\""),
        (good.replace("name: app", "name: .."), "spec.containers[].name of the object is \"..\""),
        (
            format!("{good}  volumes: [{{name: ../../x}}]\n")
                .replace("spec: {containers: [{name: app}]}", SPEC),
            "spec.volumes[].name of the object is \"../../x\"",
        ),
        (good.replace("{name: app}", ""), "the object is a pod without containers"),
        (good.replace("kind: Pod", "kind: Service"), "the object is a \"Service\", and a Pod"),
        (good.replace("kind: Pod", "x: y"), "the object is an object without a kind"),
        (format!("{good}---\nkind: ConfigMap\ndata: {{a: b}}\n"), "document 2 is a \"ConfigMap\""),
        (
            format!("{good}---\nkind: List\nitems: [{{kind: Pod}}]\n"),
            "metadata.uid of item 1 of document 2 is missing",
        ),
        ("kind: List\nitems: [{metadata: {}}]\n".to_owned(), "item 1 is an object without a kind"),
        (good.replace(UID, &UID.to_uppercase()), "metadata.uid of the object is \"3F0C2B1A"),
        ("hello".to_owned(), "it is half written or malformed"),
        ("[1, 2]".to_owned(), "it is half written or malformed"),
        ("kind: Pod\nmetadata: {name: a".to_owned(), "it is half written or malformed"),
        (r#"{"kind":"Pod","metadata":{"na"#.to_owned(), "it is half written or malformed"),
        (good.replace("[{name: app}]", "app"), "it is half written or malformed"),
    ];
    for (text, start) in cases {
        let error = error(&text);
        assert!(error.starts_with(start), "{error}\n{text}");
        assert!(!error.contains('\n'), "{error}");
    }
}

const SPEC: &str = "spec:\n  containers: [{name: app}]";

#[test]
fn a_malformed_text_is_located_by_line() {
    for text in [
        "kind: Pod\nmetadata:\n  name: [a\n",
        "{\"kind\": \"Pod\",\n\"metadata\":\n7}",
        "kind: Pod\nspec: 7\n",
    ] {
        let error = error(text);
        assert!(error.contains("line "), "{error}");
    }
}

#[test]
fn what_is_malformed_quotes_a_bounded_part_of_it() {
    let error = error(&format!("{{\"kind\": \"Pod\", \"metadata\": \"{}\"}}", "ü".repeat(10_000)));
    assert!(error.chars().count() < 600 && error.ends_with('…'), "{error}");
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
    assert_eq!(pods[0].volumes.first().and_then(|volume| volume.kind()), None::<VolumeKind>);
}

/// A pod that asks for a reload, with this in its spec beside a container.
fn asking(spec: &str) -> String {
    let metadata = format!(
        r#"{{"name": "a", "namespace": "web", "uid": "{UID}", "annotations": {{"reloadlet.io/signal": "HUP"}}}}"#
    );
    format!(
        r#"{{"kind": "Pod", "metadata": {metadata}, "spec": {{"containers": [{{"name": "app"}}]{spec}}}}}"#
    )
}

fn repeated(part: &str, times: usize) -> String {
    vec![part; times].join(",")
}

fn excess(text: &str) -> Option<Excess> {
    let pods = decode(text).unwrap();
    assert_eq!(names(&pods), ["a"]);
    assert!(pods[0].excess.is_none() || pods[0].volumes.is_empty() && pods[0].containers.is_empty());
    pods[0].excess
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
    assert_eq!(excess(&many(144)), None);
    assert_eq!(excess(&many(145)), Some(Excess::Many(Part::Annotations)));
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
fn nothing_is_kept_of_the_spec_of_a_pod_that_asks_for_nothing() {
    let volumes = repeated(r#"{"name": "v", "configMap": {"name": "c"}}"#, 10_000);
    let first = asking(&format!(r#", "volumes": [{volumes}]"#)).replace("reloadlet.io/signal", "other");
    let pods = decode(&first).unwrap();
    assert!(pods[0].volumes.is_empty() && pods[0].containers.is_empty() && !pods[0].asks());
    // The metadata may come last.
    let last = format!(
        r#"{{"spec": {{"containers": [{{"name": "app"}}], "volumes": [{volumes}]}}, {}"#,
        &pod_json()[1..]
    );
    let pods = decode(&last).unwrap();
    assert!(pods[0].volumes.is_empty() && pods[0].excess.is_none() && !pods[0].asks());
}

fn pod_json() -> String {
    format!(r#"{{"kind": "Pod", "metadata": {{"name": "a", "uid": "{UID}"}}}}"#)
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
            pods.iter().filter(|pod| &*pod.namespace == namespace && pod.excess.is_none()).count()
        };
        assert_eq!((pods.len(), followed("small")), (201, 1));
        assert!((5..100).contains(&followed("large")), "{}", followed("large"));
        let kept: usize = pods.iter().map(|pod| pod.cost()).sum();
        assert!(kept <= reloadlet_core::policy::crowd::MOST_BYTES);
    }
}

#[test]
fn a_text_with_more_objects_than_any_node_has_pods_is_refused() {
    let items = repeated("{}", 10_001);
    assert_eq!(decode(&format!(r#"{{"kind": "List", "items": [{items}]}}"#)), Err(ManifestError::TooMany));
    assert_eq!(decode(&"{}\n".repeat(10_001)), Err(ManifestError::TooMany));
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
