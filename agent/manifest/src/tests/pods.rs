//! The pods of a node.

use reloadlet_core::model::names::{ContainerId, FilePath, Name, PodUid};
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::{
    AnnotationValue, Container, ContainerKind, EnvironmentSource, Item, ObjectSource, Phase, PodSpec, Port,
    ProjectedSource, Replica, VolumeMount, VolumeSource,
};

use super::*;

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
  labels: {app: web, controller-revision-hash: older, pod-template-hash: 7d9c}
  ownerReferences:
  - {apiVersion: v1, kind: ConfigMap, name: other, uid: 00000000-7d52-4c63-9d4e-5a6b7c8d9e0f}
  - {apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9c, uid: UID2, controller: true}
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
    ports:
    - {name: web, containerPort: 8080}
    - {containerPort: 9090, protocol: TCP}
    - {name: dns, containerPort: 53, protocol: UDP}
    - {name: wrong, containerPort: 70000}
    - {name: none}
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
  hostIP: 192.0.2.7
  podIP: 10.1.2.3
  podIPs: [{ip: 10.1.2.3}, {ip: "fd00::3"}, {ip: 192.0.2.7}, {ip: here}]
  containerStatuses:
  - name: app
    containerID: "containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    started: true
    ready: false
    state: {running: {startedAt: "2026-11-21T05:56:44Z"}}
    lastState:
      terminated:
        containerID: "containerd://89abcdef89abcdef89abcdef89abcdef89abcdef89abcdef89abcdef89abcdef"
        exitCode: 137
        reason: OOMKilled
  - {name: waiting, containerID: ""}
  initContainerStatuses:
  - {name: proxy, containerID: "cri-o://fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}
"#;
    let mount = |volume: &str, sub_path: Option<&str>| VolumeMount {
        volume: volume.into(),
        sub_path: sub_path.map(FilePath::from),
    };
    let item = |key: &str, path: &str| Item { key: key.into(), path: path.into() };
    let environment =
        |kind, name: &str, key: Option<&str>| EnvironmentSource::new(kind, name.into(), key.map(Name::from));
    let object = |name: &str| ObjectSource { name: name.into(), ..ObjectSource::default() };
    let volume =
        |name: &str, source| reloadlet_core::model::pod::Volume { name: name.into(), source, csi: None };
    let id = |digits: &str| ContainerId::parse(&digits.repeat(4)).unwrap();
    let rotating = |paths: &[&str]| ProjectedSource::Rotating {
        paths: paths.iter().map(|path| FilePath::from(*path)).collect(),
    };
    let phase = Phase { started: Some(true), ready: Some(false), killed: Some(id("89abcdef89abcdef")) };
    let replica = Replica {
        kind: "ReplicaSet".into(),
        name: "web-7d9c".into(),
        uid: OTHER_UID.into(),
        template: Some("7d9c".into()),
    };
    let expected = Pod {
        uid: PodUid::parse(UID).unwrap(),
        namespace: "shop".into(),
        name: "web-7d9c.a".into(),
        spec: PodSpec {
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
                        EnvironmentSource {
                            prefix: Some("T_".into()),
                            ..environment(ObjectKind::Secret, "t", None)
                        },
                    ],
                    variables: ["LEVEL", "PASSWORD", "PLAIN", "POD"].map(Name::from).into(),
                    ports: vec![
                        Port { name: Some("web".into()), number: 8080 },
                        Port { name: None, number: 9090 },
                    ],
                    ..Container::default()
                },
                Container {
                    name: "setup".into(),
                    kind: ContainerKind::Init,
                    mounts: vec![mount("config", None)],
                    environment: Vec::new(),
                    ..Container::default()
                },
                Container {
                    name: "proxy".into(),
                    kind: ContainerKind::Sidecar,
                    mounts: Vec::new(),
                    environment: Vec::new(),
                    ..Container::default()
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
            runtime_class: Some("gvisor".into()),
            ..PodSpec::default()
        },
        status: [("app".into(), id("0123456789abcdef")), ("proxy".into(), id("fedcba9876543210"))].into(),
        phases: [("app".into(), phase)].into(),
        addresses: vec!["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()],
        replica: Some(replica),
        given: None,
        unrolled: false,
        terminating: true,
    };
    assert_eq!(decode(&text.replace("UID2", OTHER_UID)).unwrap(), [Arc::new(expected)]);
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
        decode(&text).unwrap()[0].spec.annotations.clone().into_iter().collect();
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
            assert!(pods[0].spec.annotations.is_empty(), "{key}");
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

const SPEC: &str = "spec:\n  containers: [{name: app}]";

#[test]
fn paths_are_what_the_kubelet_makes_of_them() {
    let pods = decode(&asking(
        r#", "volumes": [{"name": "a", "configMap": {"items": [{"key": "k", "path": "./x//y"}]}},
           {"name": "b", "projected": {"sources": [{"secret": {"items": [{"key": "k", "path": "z/."}]}},
            {"serviceAccountToken": {"path": "./token"}}, {"downwardAPI": {"items": [{"path": "l//a"}]}}]}}]"#,
    ))
    .unwrap();
    let text = format!("{:?}", pods[0].spec.volumes);
    for path in ["\"x/y\"", "\"z\"", "\"token\"", "\"l/a\""] {
        assert!(text.contains(path), "{path} {text}");
    }
}

#[test]
fn a_pod_that_cant_be_used_is_left_out_with_the_reason_and_the_others_are_there() {
    let (first, last) = (pod("a", UID), pod("b", OTHER_UID));
    for bad in [
        pod("Not_A_Name", UID),
        pod("c", ".."),
        pod("c", UID).replace("{name: app}", "{name: app/..}"),
        pod("c", UID).replace("[{name: app}]", "[]"),
        format!("kind: Pod\nmetadata: {{name: c, uid: {UID}}}\n"),
        "kind: Pod\n".to_owned(),
    ] {
        for texts in [[&bad, &first, &last], [&first, &bad, &last], [&first, &last, &bad]] {
            let decoded = super::super::decode(texts.map(String::as_str).join("---\n").as_bytes()).unwrap();
            let asks_nothing = bad.contains("app/..");
            let pods = names(&decoded.pods);
            assert!(pods.starts_with(&["a"]) || pods.ends_with(&["b"]), "{bad}: {pods:?}");
            assert_eq!(decoded.left_out.len(), usize::from(!asks_nothing), "{bad}");
        }
    }
}
