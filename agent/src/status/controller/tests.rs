use std::time::Duration;

use super::*;

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

const WORKLOADS: &str = r#"[
    {"kind":"deployment","namespace":"shop","name":"web","state":"rolling",
     "roll":{"standing":"rolling","marker":"0f","seconds":12.5},"wait":null,"waitSeconds":null,
     "sentence":"Its pods are replaced.","objects":[{"kind":"configmap","name":"app"},{"kind":"secret","name":"db"}],"moreObjects":0},
    {"kind":"statefulset","namespace":"shop","name":"store","state":"failed",
     "roll":{"standing":"failed","marker":"0e","seconds":7260.0},"wait":"debounce","waitSeconds":3.0,
     "sentence":"It failed.","objects":[{"kind":"configmap","name":"a"},{"kind":"configmap","name":"b"},
     {"kind":"configmap","name":"c"},{"kind":"configmap","name":"d"}],"moreObjects":5},
    {"kind":"daemonset","namespace":"logs","name":"ship","state":"waiting","roll":null,"wait":"held","waitSeconds":600.0,
     "sentence":"A person holds its roll.","objects":[{"kind":"configmap","name":"app"}],"moreObjects":0},
    {"kind":"cloneset","namespace":"logs","name":"new","state":"elsewhere","roll":null,"wait":"for_rain","waitSeconds":null,
     "sentence":"It waits \u001b[31mfor rain.","objects":[],"moreObjects":0},
    {"kind":"deployment","namespace":"logs","name":"old","state":"stale","roll":null,"wait":null,"waitSeconds":null,
     "sentence":"Its pods are stale.","objects":[],"moreObjects":0}
]"#;

fn document(replica: &str, holds: &str, workloads: &str, more: usize) -> String {
    let workloads: serde_json::Value = serde_json::from_str(workloads).unwrap();
    format!(
        r#"{{"apiVersion":"{API_VERSION}","time":"2026-11-21T05:56:44.000Z","controller":{replica},"holds":{holds},"workloads":{},"more":{more}}}"#,
        serde_json::to_string(&workloads).unwrap()
    )
}

const LEADS: &str = r#"{"version":"1","name":"a","leads":true,"leader":"a","fence":"holds","lacks":[],"watches":[{"resource":"configmaps","up":true,"lastContactSecondsAgo":1.0},{"resource":"deployments","up":true,"lastContactSecondsAgo":1.0}],"requests":{"200":3,"6xx":1}}"#;

#[test]
fn a_document_is_written_as_it_was_read() {
    let holds = r#"[{"namespace":null,"reason":"a freeze"},{"namespace":"shop","reason":null}]"#;
    let text = document(LEADS, holds, WORKLOADS, 7);
    let read: Document = serde_json::from_str(&text).unwrap();
    let written = serde_json::to_string(&read).unwrap();
    // The order in which keys are written isn't anybody's.
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&written), value(&text));
    assert_eq!(read.workloads[2].wait, Some(Word::Known(Wait::Held)));
    assert_eq!(read.workloads[3].wait, Some(Word::Other("for_rain".to_owned())));
}

#[test]
fn each_workload_has_a_line_that_says_what_it_waits_for_and_what_ends_it() {
    let holds = r#"[{"namespace":null,"reason":"a \u001b[2Jfreeze"},{"namespace":"shop","reason":null}]"#;
    let document: Document = serde_json::from_str(&document(LEADS, holds, WORKLOADS, 7)).unwrap();
    let expected = "\
CONTROLLER  a leads, and watches ConfigMaps, Deployments
HOLD        all namespaces: a \\u{1b}[2Jfreeze
HOLD        namespace shop

NAMESPACE  WORKLOAD           STATE                        FOR     OBJECTS                                           WHAT ENDS IT
shop       Deployment web     rolling                      12 s    ConfigMap app, Secret db                          Its pods are replaced.
shop       StatefulSet store  failed, waits (debounce)     2 h     ConfigMap a, ConfigMap b, ConfigMap c and 6 more  It failed.
logs       DaemonSet ship     waits (held)                 10 min  ConfigMap app                                     A person holds its roll.
logs       cloneset new       elsewhere, waits (for_rain)  -       -                                                 It waits \\u{1b}[31mfor rain.
logs       Deployment old     stale                        -       -                                                 Its pods are stale.
and 7 more
";
    assert_eq!(table(&document), expected);
}

#[test]
fn a_replica_that_doesnt_lead_says_who_does() {
    let lacks = r#""lacks":[{"what":"fence","sentence":"No fence."}]"#;
    let stands_by = LEADS.replace(r#""leads":true"#, r#""leads":false"#).replace(r#""lacks":[]"#, lacks);
    let said = |replica: &str| table(&serde_json::from_str(&document(replica, "[]", "[]", 0)).unwrap());
    assert_eq!(
        said(&stands_by.replace(r#""leader":"a""#, r#""leader":"b\u001b""#)),
        "CONTROLLER  a stands by: b\\u{1b} leads, and knows of the rolls\nCONTROLLER  No fence.\n"
    );
    assert_eq!(
        said(&stands_by.replace(r#""leader":"a""#, r#""leader":null"#)),
        "CONTROLLER  a stands by, and it isn't known who leads\nCONTROLLER  No fence.\n"
    );
    assert_eq!(
        said(LEADS),
        "CONTROLLER  a leads, and watches ConfigMaps, Deployments\n\nNo workload is rolled, and none waits for a roll.\n"
    );
}

#[test]
fn what_a_replica_lacks_is_in_the_document_the_api_server_first() {
    let contact = Contact::new();
    contact.wanted(Resource::Deployments, at(10));
    contact.wanted(Resource::ConfigMaps, at(10));
    contact.up(Resource::Deployments, at(20));
    let replica = |fence| Replica { name: "a", leads: true, leader: Some("a"), fence, contact: &contact };
    let lacks = |fence| {
        let document = Document::new(replica(fence), &[], (Vec::new(), 0), at(322));
        assert_eq!((document.api_version.as_str(), document.controller.leads), (API_VERSION, true));
        document.controller.lacks.into_iter().map(|lack| (lack.what, lack.sentence)).collect::<Vec<_>>()
    };
    let [(watch, told), (fence, _)] = &lacks(Fence::Open)[..] else { panic!("both are lacking") };
    assert_eq!((watch.as_str(), fence.as_str()), ("watch_configmaps", "fence"));
    assert!(told.contains("hasn't told of ConfigMaps for 312 s"), "{told}");
    assert_eq!(lacks(Fence::Unproved).len(), 2);
    assert_eq!(lacks(Fence::Holds).len(), 1);
}
