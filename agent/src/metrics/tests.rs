use super::*;
use crate::clock;
use crate::contact::Resource;

fn line<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix(' '))
}

#[test]
fn closed_label_sets_are_there_at_zero_from_the_start_and_namespaces_are_not() {
    let text = Metrics::new().unwrap().encode(Time::default()).unwrap();
    let mut expected = vec![
        "reloadlet_inotify_watches".to_owned(),
        "reloadlet_polled_volumes".to_owned(),
        "reloadlet_overflows_total".to_owned(),
        "reloadlet_settle_timeouts_total".to_owned(),
        "reloadlet_journal_held".to_owned(),
        "reloadlet_journal_in_memory".to_owned(),
        "reloadlet_kubelet_root_closed".to_owned(),
        "reloadlet_kubelet_root_wrong".to_owned(),
        "reloadlet_settle_seconds_count".to_owned(),
        "reloadlet_deliver_seconds_count".to_owned(),
        "reloadlet_reread_seconds_count".to_owned(),
        "reloadlet_retold_total".to_owned(),
    ];
    for unread in Unread::ALL {
        expected.push(format!("reloadlet_unread_containers{{state=\"{}\"}}", unread.as_str()));
    }
    expected.extend(["watched", "invalid"].map(|state| format!("reloadlet_pods{{state=\"{state}\"}}")));
    for kind in VolumeKind::ALL.map(VolumeKind::as_str) {
        expected.push(format!("reloadlet_volumes{{kind=\"{kind}\"}}"));
        expected.push(format!("reloadlet_swaps_total{{kind=\"{kind}\"}}"));
    }
    expected.extend(
        RescanReason::ALL.map(|reason| format!("reloadlet_rescans_total{{reason=\"{}\"}}", reason.as_str())),
    );
    expected.extend(ProblemKind::ALL.map(|kind| format!("reloadlet_problems{{kind=\"{}\"}}", kind.as_str())));
    for reason in reloadlet_core::machine::status::StaleReason::ALL
        .map(reloadlet_core::machine::status::StaleReason::as_str)
    {
        expected.push(format!("reloadlet_stale_volumes{{reason=\"{reason}\"}}"));
        expected.push(format!("reloadlet_oldest_stale_seconds{{reason=\"{reason}\"}}"));
    }
    for name in &expected {
        assert_eq!(line(&text, name), Some("0"), "{name}\n{text}");
    }
    let version = concat!("reloadlet_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    assert_eq!(line(&text, version), Some("1"), "{text}");
    assert!(!text.contains("pod_namespace"), "{text}");
}

#[test]
fn what_happened_is_counted_under_its_labels() {
    let metrics = Metrics::new().unwrap();
    metrics.reload("shop", Action::Signal, Outcome::Delivered);
    metrics.reload("shop", Action::Signal, Outcome::Delivered);
    metrics.reload("web", Action::Signal, Outcome::NoProcess);
    metrics.verdict("shop", Verdict::Alive);
    metrics.swap(VolumeKind::Secret);
    metrics.settle(Duration::from_micros(70));
    metrics.deliver(Duration::from_secs(11));
    metrics.reread(Duration::from_millis(3));
    metrics.settle_timeout();
    metrics.overflow();
    metrics.rescan(RescanReason::Overflow);
    metrics.set_pods(7, 2);
    metrics.set_volumes(VolumeKind::ConfigMap, 3);
    metrics.set_inotify_watches(4);
    metrics.set_polled_volumes(5);
    metrics.set_problems(ProblemKind::BadValue, 6);
    metrics.set_journal_in_memory(true);
    metrics.retold();
    metrics.set_unread(Unread::NeverRead, 8);
    let text = metrics.encode(Time::default()).unwrap();
    for (name, value) in [
        (r#"reloadlet_reloads_total{action="signal",outcome="delivered",pod_namespace="shop"}"#, "2"),
        (r#"reloadlet_reloads_total{action="signal",outcome="no_process",pod_namespace="web"}"#, "1"),
        (r#"reloadlet_verdicts_total{pod_namespace="shop",verdict="alive"}"#, "1"),
        (r#"reloadlet_swaps_total{kind="secret"}"#, "1"),
        (r#"reloadlet_settle_seconds_bucket{le="0.00005"}"#, "0"),
        (r#"reloadlet_settle_seconds_bucket{le="0.0001"}"#, "1"),
        (r#"reloadlet_deliver_seconds_bucket{le="10"}"#, "0"),
        (r#"reloadlet_deliver_seconds_bucket{le="+Inf"}"#, "1"),
        (r#"reloadlet_reread_seconds_bucket{le="0.0025"}"#, "0"),
        (r#"reloadlet_reread_seconds_bucket{le="0.005"}"#, "1"),
        ("reloadlet_settle_timeouts_total", "1"),
        ("reloadlet_overflows_total", "1"),
        (r#"reloadlet_rescans_total{reason="overflow"}"#, "1"),
        (r#"reloadlet_pods{state="watched"}"#, "7"),
        (r#"reloadlet_pods{state="invalid"}"#, "2"),
        (r#"reloadlet_volumes{kind="configmap"}"#, "3"),
        ("reloadlet_inotify_watches", "4"),
        ("reloadlet_polled_volumes", "5"),
        (r#"reloadlet_problems{kind="bad_value"}"#, "6"),
        ("reloadlet_journal_in_memory", "1"),
        ("reloadlet_retold_total", "1"),
        (r#"reloadlet_unread_containers{state="never_read"}"#, "8"),
    ] {
        assert_eq!(line(&text, name), Some(value), "{name}\n{text}");
    }
}

#[test]
fn a_namespace_that_is_long_gone_has_no_series() {
    let metrics = Metrics::new().unwrap();
    let at = |seconds| Time::since_boot(Duration::from_secs(seconds));
    let web = BTreeSet::from([Name::from("web")]);
    let both = BTreeSet::from([Name::from("shop"), Name::from("web")]);
    metrics.set_namespaces(&both, &BTreeSet::new(), at(0));
    metrics.set_namespaces(&web, &BTreeSet::new(), at(1));
    metrics.set_namespaces(&web, &BTreeSet::new(), at(3601));
    let text = metrics.encode(at(3601)).unwrap();
    assert!(!text.contains(r#"pod_namespace="shop""#), "{text}");
    let left = text.matches(r#"pod_namespace="web""#).count();
    assert_eq!(left, Outcome::ALL.len() + Verdict::ALL.len());
}

#[test]
fn the_agents_own_numbers_are_those_of_its_process() {
    let text = Metrics::new().unwrap().encode(Time::default()).unwrap();
    let value =
        |name: &str| line(&text, name).unwrap_or_else(|| panic!("{name}\n{text}")).parse::<f64>().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 3600.0..=now + 1.0).contains(&value("process_start_time_seconds")));
    assert!(value("process_cpu_seconds_total") < 3600.0);
    assert!(value("process_resident_memory_bytes") > 1e5);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
    assert!(value("process_threads") >= 1.0);
}

#[test]
fn a_watch_has_series_only_while_something_is_wanted_of_its_resource() {
    let (metrics, contact) = (Metrics::new().unwrap(), Contact::new());
    assert!(
        !metrics.encode(Time::default()).unwrap().contains("reloadlet_api_requests_total"),
        "with a pods file"
    );
    metrics.follow_contact(contact.clone()).unwrap();
    let shown = |name: &str| {
        let text = metrics.encode(Time::default()).unwrap();
        line(&text, name).map(str::to_owned)
    };
    let (up, last) =
        (r#"reloadlet_watch_up{resource="pods"}"#, r#"reloadlet_last_contact_seconds{resource="pods"}"#);
    assert_eq!((shown(up), shown(last)), (None, None));
    contact.wanted(Resource::Pods, clock::now() - Duration::from_secs(1000));
    assert_eq!(shown(up).as_deref(), Some("0"));
    assert!(shown(last).unwrap().parse::<f64>().unwrap() >= 1000.0);
    contact.up(Resource::Pods, clock::now());
    assert_eq!(shown(up).as_deref(), Some("1"));
    assert!(shown(last).unwrap().parse::<f64>().unwrap() < 1000.0);
    contact.unused(Resource::Pods);
    assert_eq!((shown(up), shown(last)), (None, None));
}

#[test]
fn requests_are_counted_by_code_and_every_code_is_there_at_zero() {
    let (metrics, contact) = (Metrics::new().unwrap(), Contact::new());
    metrics.follow_contact(contact.clone()).unwrap();
    let shown = |code: &str| {
        let text = metrics.encode(Time::default()).unwrap();
        line(&text, &format!("reloadlet_api_requests_total{{code=\"{code}\"}}")).map(str::to_owned)
    };
    assert_eq!((shown("429").as_deref(), shown("error").as_deref()), (Some("0"), Some("0")));
    contact.answered(hyper::StatusCode::from_u16(429).ok());
    contact.answered(hyper::StatusCode::from_u16(429).ok());
    contact.answered(None);
    assert_eq!((shown("429").as_deref(), shown("error").as_deref()), (Some("2"), Some("1")));
    assert_eq!(shown("429").as_deref(), Some("2"), "a scrape counts nothing");
}

#[test]
fn requests_have_series_from_0_on_where_they_are_asked_for() {
    let metrics = Metrics::new().unwrap();
    let (shop, web) = (Name::from("shop"), Name::from("web"));
    metrics.set_namespaces(&BTreeSet::from([shop, web.clone()]), &BTreeSet::from([web]), Time::default());
    metrics.reload("web", Action::Http, Outcome::Failed);
    let text = metrics.encode(Time::default()).unwrap();
    let of = |namespace: &str, outcome: Outcome| {
        let series = format!(
            "reloadlet_reloads_total{{action=\"http\",outcome=\"{}\",pod_namespace=\"{namespace}\"}} ",
            outcome.as_str()
        );
        text.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
    };
    assert_eq!(of("web", Outcome::Failed).as_deref(), Some("1"));
    assert_eq!(of("web", Outcome::Delivered).as_deref(), Some("0"));
    assert_eq!(of("shop", Outcome::Failed), None);
}
