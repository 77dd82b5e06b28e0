use serde_json::json;

use super::*;

#[test]
fn each_volume_has_a_line_that_says_where_its_change_is() {
    let text = r#"{"apiVersion": "status.reloadlet.io/v1",
            "agent": {"version": "1", "lacks": [], "requests": {}, "watches": [
                {"resource": "pods", "up": true, "lastContactSecondsAgo": 1.0},
                {"resource": "configmaps", "up": true, "lastContactSecondsAgo": 1.0}
            ]}, "pods": [{
            "namespace": "shop", "name": "web", "uid": "u", "problems": [],
            "volumes": [
                {"name": "config", "kind": "configmap", "generation": "..1", "settledSecondsAgo": 1.0,
                 "wanted": [{"kind": "configmap", "name": "web", "version": "12"}],
                 "onDisk": [{"kind": "configmap", "name": "web", "version": "11"}]},
                {"name": "tls", "kind": "secret", "generation": "..2", "settledSecondsAgo": 1.0,
                 "wanted": [], "onDisk": []}
            ],
            "containers": [{
                "name": "app", "signal": "SIGHUP", "pids": [7], "missing": null, "held": false,
                "lastOutcome": null, "lastSecondsAgo": null, "volumes": [
                    {"name": "config", "handled": "..1", "holds": "..1", "waiting": null,
                     "delivered": [{"kind": "configmap", "name": "web", "version": "11"}]},
                    {"name": "tls", "handled": "..2", "holds": "..2", "waiting": null, "delivered": []}
                ]
            }],
            "stale": [
                {"reason": "waiting", "seconds": 12.3, "volume": "config", "container": null, "object": null},
                {"reason": "env", "seconds": 600.0, "volume": null, "container": "app",
                 "object": {"kind": "configmap", "name": "levels"}}
            ]
        }, {
            "namespace": "shop", "name": "slow", "uid": "w", "problems": [], "containers": [],
            "volumes": [{"name": "config", "kind": "configmap", "generation": "..1", "settledSecondsAgo": 1.0,
                 "wanted": [{"kind": "configmap", "name": "web", "version": "12"}], "onDisk": []}],
            "stale": [{"reason": "waiting", "seconds": 5.0, "volume": "config", "container": null, "object": null}],
            "notNudged": "the kubelet is like that"
        }, {
            "namespace": "shop", "name": "bad", "uid": "v", "volumes": [], "containers": [], "stale": [],
            "problems": [{"kind": "bad_value", "sentence": "reloadlet.io/signal is \"x\""}]
        }, {
            "namespace": "shop", "name": "env", "uid": "x", "volumes": [], "containers": [], "stale": [], "problems": [],
            "restart": {"containers": ["app", "log"], "waitsFor": "its end", "finding": null, "secondsAgo": 3.0}
        }, {
            "namespace": "shop", "name": "was", "uid": "y", "volumes": [], "containers": [], "stale": [], "problems": [],
            "restart": {"containers": ["app"], "waitsFor": null, "finding": "still-runs", "secondsAgo": 600.0}
        }]}"#;
    let document: Document = serde_json::from_str(text).unwrap();
    let expected = "\
AGENT  lacks nothing, and watches pods, ConfigMaps

NAMESPACE  POD   VOLUME  WANTED  ON DISK  DELIVERED   STATE
shop       web   config  web@12  web@11   app:web@11  waiting for 12 s: the kubelet hasn't published it yet
shop       web   tls     -       ..2      app:..2     not measured
shop       web   -       levels  -        -           env for 10 min: container app has it in its environment: restart it
shop       slow  config  web@12  ..1      -           waiting for 5 s: the kubelet hasn't published it yet, and isn't nudged: the kubelet is like that
shop       bad   -       -       -        -           problem: reloadlet.io/signal is \"x\"
shop       env   -       -       -        -           restarts container app, log for 3 s: waits for its end
shop       was   -       -       -        -           restart of container app 10 min ago: still-runs
";
    assert_eq!(table(&document), expected);
}

#[test]
fn a_word_that_only_a_later_agent_knows_is_shown_as_it_is() {
    let text = r#"{"apiVersion": "status.reloadlet.io/v1", "node": "node-1", "region": {"new": true},
            "time": "2026-11-21T05:56:44.000Z",
            "agent": {"version": "2", "lacks": [], "requests": {"200": 7, "6xx": 1}, "watches": [
                {"resource": "trustbundles", "up": true, "lastContactSecondsAgo": 1.0}
            ]}, "pods": [{
            "namespace": "shop", "name": "web", "uid": "u", "notNudged": null,
            "problems": [{"kind": "bad_weather", "sentence": "It rains.", "severity": "low"}],
            "volumes": [{"name": "certs", "kind": "csi", "generation": "..1", "settledSecondsAgo": 1.0,
                "wanted": [{"kind": "trustbundle", "name": "ca", "version": "12"}], "onDisk": []}],
            "containers": [{
                "name": "app", "signal": "SIGNEW", "pids": [7], "missing": null, "held": false,
                "lastOutcome": "postponed", "lastSecondsAgo": 2.5, "volumes": [
                    {"name": "certs", "handled": "..1", "holds": "..1", "waiting": null, "delivered": []}
                ]
            }],
            "stale": [
                {"reason": "quarantined", "seconds": 12.3, "volume": "certs", "container": "app", "object": null},
                {"reason": "undelivered", "seconds": 5.0, "volume": null, "container": "app",
                 "object": {"kind": "trustbundle", "name": "ca"}}
            ]
        }]}"#;
    let document: Document = serde_json::from_str(text).unwrap();
    let expected = "\
AGENT  lacks nothing, and watches trustbundles

NAMESPACE  POD  VOLUME  WANTED  ON DISK  DELIVERED  STATE
shop       web  -       -       -        -          problem: It rains.
shop       web  certs   ca@12   ..1      app:..1    quarantined for 12 s
shop       web  -       ca      -        -          undelivered for 5 s: container app wasn't told (postponed)
";
    assert_eq!(table(&document), expected);
    let again: serde_json::Value = serde_json::to_value(&document).unwrap();
    for (at, word) in [
        ("/pods/0/problems/0/kind", "bad_weather"),
        ("/pods/0/volumes/0/kind", "csi"),
        ("/pods/0/containers/0/lastOutcome", "postponed"),
        ("/pods/0/stale/0/reason", "quarantined"),
    ] {
        assert_eq!(again.pointer(at), Some(&word.into()), "{at}");
    }
    assert_eq!(again["agent"]["requests"]["6xx"], 1);
}

#[test]
fn only_what_is_known_to_be_unread_or_not_there_isnt_up_to_date() {
    let pod = |more: &str, app: &str, stale: &str, volume: &str| {
        format!(
            r#"{{"namespace": "shop", "name": "web", "uid": "u-1", "notNudged": null, "problems": [], {more}
                "volumes": [{{"name": "config", "kind": "configmap", "settledSecondsAgo": 1.0, {volume}}}],
                "containers": [{{"name": "app", "signal": "SIGHUP", "pids": [7], "missing": null, "held": false,
                    "lastOutcome": "failed", "lastSecondsAgo": 1.0, {app}
                    "volumes": [{{"name": "config", "handled": "..2", "holds": null, "waiting": null, "delivered": []}}]}}],
                "stale": [{stale}]}}"#
        )
    };
    let version = r#"[{"kind": "configmap", "name": "web", "version": "12"}]"#;
    let here = &*format!(r#""generation": "..2", "wanted": {version}, "onDisk": {version}"#);
    let gone = here.replacen(r#""12""#, "null", 1);
    let nowhere = r#""generation": null, "wanted": [], "onDisk": []"#;
    let undelivered = r#"{"reason": "undelivered", "seconds": 5.0, "volume": "config", "container": "app", "object": null}"#;
    let absent = r#""absent": [{"container": "app", "object": {"kind": "configmap", "name": "levels"}}],"#;
    for (pod, state) in [
        (pod("", "", "", here), "app:-      up to date\n"),
        (
            pod("", r#""unread": {"state": "not_read", "deliveries": 1}, "toldAgain": true,"#, "", here),
            "told, not read: container app was told twice and opened none of the new files\n",
        ),
        (
            pod("", r#""unread": {"state": "never_read", "deliveries": 3},"#, "", here),
            "told 3 times, never read: container app was never seen to open a new file\n",
        ),
        (pod("", r#""toldAgain": true,"#, "", here), "up to date: container app was told twice\n"),
        (
            pod("", "", "", &gone),
            "gone: configmap web isn't there, and the kubelet leaves the volume as it is\n",
        ),
        (
            pod(absent, "", "", here),
            "gone: configmap levels isn't there, and container app keeps what it took at its start\n",
        ),
        (
            pod("", "", undelivered, nowhere),
            "undelivered for 5 s: container app runs, as its pod's status says, and no ..data was found in the \
             directory of the volume below that of pod u-1\n",
        ),
    ] {
        let text = format!(
            r#"{{"apiVersion": "status.reloadlet.io/v1", "pods": [{pod}],
                "agent": {{"version": "1", "requests": {{}}, "watches": [], "lacks": []}}}}"#
        );
        let document: Document = serde_json::from_str(&text).unwrap();
        let table = table(&document);
        assert!(table.contains(state), "{state}: {table}");
    }
}

#[test]
fn a_container_whose_delivery_failed_is_shown_with_what_it_holds() {
    let app = |name: &str, told: &str| {
        format!(
            r#"{{"name": "{name}", "signal": "SIGHUP", "pids": [7], "missing": null, "held": false,
                "lastOutcome": "failed", "lastSecondsAgo": 1.0,
                "volumes": [{{"name": "config", "handled": "..2", "waiting": null, {told}}}]}}"#
        )
    };
    let web = |version| format!(r#"[{{"kind": "configmap", "name": "web", "version": "{version}"}}]"#);
    let apps = [
        app("app", &format!(r#""holds": "..1", "delivered": {}"#, web(11))),
        app("cron", r#""holds": "..1", "delivered": []"#),
        app("new", r#""holds": null, "delivered": []"#),
    ];
    let text = format!(
        r#"{{"apiVersion": "status.reloadlet.io/v1",
            "agent": {{"version": "1", "requests": {{}}, "watches": [], "lacks": []}}, "pods": [{{
            "namespace": "shop", "name": "web", "uid": "u", "problems": [], "containers": [{}],
            "volumes": [{{"name": "config", "kind": "configmap", "generation": "..2", "settledSecondsAgo": 1.0,
                "wanted": {new}, "onDisk": {new}}}],
            "stale": [{{"reason": "undelivered", "seconds": 5.0, "volume": "config", "container": "app"}}]}}]}}"#,
        apps.join(","),
        new = web(12)
    );
    let document: Document = serde_json::from_str(&text).unwrap();
    let row = "web@12  web@12   app:web@11 cron:..1 new:-  undelivered for 5 s: container app wasn't \
               told (failed)\n";
    let table = table(&document);
    assert!(table.contains(row), "{table}");
}

#[test]
fn what_the_agent_lacks_comes_first_one_line_each() {
    let text = r#"{"apiVersion": "status.reloadlet.io/v1", "pods": [],
            "agent": {"version": "1", "requests": {}, "watches": [], "lacks": [
                {"what": "watch_pods", "sentence": "No word of pods for 312 s."},
                {"what": "journal", "sentence": "No journal."}
            ]}}"#;
    let document: Document = serde_json::from_str(text).unwrap();
    let expected = "\
AGENT  No word of pods for 312 s.
AGENT  No journal.

NAMESPACE  POD  VOLUME  WANTED  ON DISK  DELIVERED  STATE
";
    assert_eq!(table(&document), expected);
}
#[test]
fn of_the_volumes_that_the_signal_told_of_it_is_said_that_nothing_was_read() {
    let of = |config: bool, tls: bool| {
        let told = |name: &str, unread: bool| json!({"name": name, "delivered": [], "unread": unread});
        let container: ContainerStatus = serde_json::from_value(json!({
            "name": "app", "signal": "SIGHUP", "pids": [7], "held": false,
            "unread": {"state": "not_read", "deliveries": 1},
            "volumes": [told("config", config), told("tls", tls)],
        }))
        .unwrap();
        ["config", "tls"].map(|name| {
            let volume = json!({"name": name, "kind": "secret", "wanted": [], "onDisk": []});
            unread(&container, &serde_json::from_value(volume).unwrap()).is_some()
        })
    };
    assert_eq!(of(true, false), [true, false]);
    assert_eq!(of(false, false), [true, true], "an agent that has just started doesn't know which");
}

#[test]
fn what_waits_hasnt_been_told_yet_and_what_ended_says_how() {
    let state = |told: &str, last: &str, missing: &str| {
        let text = format!(
            r#"{{"apiVersion": "status.reloadlet.io/v1",
            "agent": {{"version": "1", "lacks": [], "requests": {{}}, "watches": []}}, "pods": [{{
            "namespace": "shop", "name": "web", "uid": "u", "problems": [],
            "volumes": [{{"name": "config", "kind": "configmap", "generation": "..2", "settledSecondsAgo": 1.0,
                "wanted": [], "onDisk": []}}],
            "containers": [{{
                "name": "app", "signal": "SIGHUP", "pids": [], "missing": {missing}, "held": false,
                "lastOutcome": {last}, "lastSecondsAgo": null, "volumes": [
                    {{"name": "config", "handled": "..1", "holds": "..1", "delivered": [], {told}}}]
            }}],
            "stale": [{{"reason": "undelivered", "seconds": 5.0, "volume": "config", "container": "app", "object": null}}]
        }}]}}"#
        );
        let document: Document = serde_json::from_str(&text).unwrap();
        let table = table(&document);
        table.rsplit_once("undelivered for 5 s: container app ").unwrap().1.trim().to_owned()
    };
    let delivered = r#""delivered""#;
    assert_eq!(
        state(r#""waiting": "..2", "outcome": "delivered""#, delivered, "null"),
        "hasn't been told yet"
    );
    assert_eq!(
        state(r#""waiting": "..2", "outcome": null"#, "null", r#""not looked for yet""#),
        "hasn't been told yet (not looked for yet)"
    );
    assert_eq!(state(r#""waiting": null, "outcome": "denied""#, delivered, "null"), "wasn't told (denied)");
    assert_eq!(state(r#""waiting": null"#, r#""failed""#, "null"), "wasn't told (failed)");
    assert_eq!(state(r#""waiting": null"#, "null", "null"), "wasn't told");
}

#[test]
fn where_nobody_would_be_told_that_is_said_before_any_change() {
    let text = r#"{"apiVersion": "status.reloadlet.io/v1",
            "agent": {"version": "1", "lacks": [], "requests": {}, "watches": []}, "pods": [{
            "namespace": "shop", "name": "web", "uid": "u", "problems": [], "stale": [],
            "volumes": [{"name": "config", "kind": "configmap", "generation": "..2", "settledSecondsAgo": 1.0,
                "wanted": [{"kind": "configmap", "name": "web", "version": "12"}],
                "onDisk": [{"kind": "configmap", "name": "web", "version": "12"}]}],
            "containers": [
                {"name": "app", "signal": "SIGHUP", "pids": [], "missing": "it isn't there", "held": false,
                 "lastOutcome": null, "lastSecondsAgo": null, "volumes": [
                    {"name": "config", "handled": "..2", "holds": null, "delivered": [], "waiting": null}]},
                {"name": "other", "signal": "SIGHUP", "pids": [], "missing": "of another volume", "held": false,
                 "lastOutcome": null, "lastSecondsAgo": null, "volumes": []}
            ]
        }]}"#;
    let document: Document = serde_json::from_str(text).unwrap();
    let table = table(&document);
    assert!(table.ends_with("  up to date, and nobody to tell: container app: it isn't there\n"), "{table}");
}

#[test]
fn what_wasnt_read_yet_isnt_up_to_date() {
    let text = r#"{"apiVersion": "status.reloadlet.io/v1",
            "agent": {"version": "1", "lacks": [], "requests": {}, "watches": []}, "pods": [{
            "namespace": "shop", "name": "web", "uid": "u", "problems": [], "stale": [], "containers": [],
            "volumes": [{"name": "config", "kind": "configmap", "generation": "..2", "settledSecondsAgo": 1.0,
                "wanted": [{"kind": "configmap", "name": "web", "version": "12"}], "onDisk": []}]
        }]}"#;
    let document: Document = serde_json::from_str(text).unwrap();
    let table = table(&document);
    assert!(table.ends_with("  web@12  ..2      -          not known\n"), "{table}");
}
