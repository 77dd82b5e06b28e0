//! What Prometheus makes of the metrics, and that docs/metrics.md, the alerts and the dashboard say what is true of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, import_image, kubectl, wait_until};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/metrics.md");
const MONITORING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy/monitoring");

/// The rules that most installations have for pods with annotations.
const CONFIG: &str = r#"
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: kubernetes-pods
    file_sd_configs:
      - files: [/config/pods.json]
    relabel_configs:
      - action: keep
        source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        regex: "true"
      - action: drop
        source_labels: [__meta_kubernetes_pod_phase]
        regex: Pending|Succeeded|Failed|Completed
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        regex: (.+)
        target_label: __metrics_path__
      - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
        regex: ([^:]+)(?::\d+)?;(\d+)
        replacement: $1:$2
        target_label: __address__
      - action: labelmap
        regex: __meta_kubernetes_pod_label_(.+)
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
      - source_labels: [__meta_kubernetes_pod_node_name]
        target_label: node
"#;

/// The pods of the node as Prometheus's discovery in Kubernetes describes them: Debian builds Prometheus without it.
fn targets() -> Value {
    let list: Value = serde_json::from_str(&kubectl(["get", "pods", "-A", "-o", "json"])).unwrap();
    let mut targets = Vec::new();
    for pod in list["items"].as_array().unwrap() {
        let mut labels = serde_json::Map::new();
        for (name, value) in [
            ("namespace", &pod["metadata"]["namespace"]),
            ("pod_name", &pod["metadata"]["name"]),
            ("pod_node_name", &pod["spec"]["nodeName"]),
            ("pod_phase", &pod["status"]["phase"]),
        ] {
            labels.insert(format!("__meta_kubernetes_{name}"), value.clone());
        }
        for (name, kind) in [("labels", "label"), ("annotations", "annotation")] {
            for (key, value) in pod["metadata"][name].as_object().into_iter().flatten() {
                let key = key.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
                labels.insert(format!("__meta_kubernetes_pod_{kind}_{key}"), value.clone());
            }
        }
        let Some(address) = pod["status"]["podIP"].as_str() else { continue };
        for container in pod["spec"]["containers"].as_array().unwrap() {
            // A container without ports is found by the pod's address alone.
            let ports = container["ports"].as_array().map_or(&[][..], Vec::as_slice);
            let mut addresses: Vec<String> =
                ports.iter().map(|port| format!("{address}:{}", port["containerPort"])).collect();
            if addresses.is_empty() {
                addresses.push(address.to_owned());
            }
            targets.push(json!({"targets": addresses, "labels": labels}));
        }
    }
    Value::Array(targets)
}

/// A Prometheus that knows the pods which are there now.
fn prometheus() -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "prometheus"},
            "data": {"prometheus.yml": CONFIG, "pods.json": targets().to_string()},
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "prometheus"},
            "spec": {
                "automountServiceAccountToken": false,
                "securityContext": {"runAsUser": 65534, "runAsGroup": 65534},
                "containers": [{
                    "name": "prometheus",
                    "image": "localhost/prometheus:test",
                    "args": ["--config.file=/config/prometheus.yml", "--storage.tsdb.path=/data"],
                    "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/config"}, {"name": "data", "mountPath": "/data"},
                    ],
                }],
                "volumes": [
                    {"name": "config", "configMap": {"name": "prometheus"}}, {"name": "data", "emptyDir": {}},
                ],
            },
        }),
    ]
}

/// The values that a query gives now. A query that can't be read fails.
fn query(space: &Space, query: &str) -> Vec<String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("prometheus:9090/proxy/api/v1/query?query={encoded}");
    let answer: Value = serde_json::from_str(&get(space.name(), &path)).unwrap();
    let values = answer["data"]["result"].as_array().unwrap().iter();
    values.map(|sample| sample["value"][1].as_str().unwrap().to_owned()).collect()
}

/// What a pod answers, by way of the API server.
fn get(namespace: &str, path: &str) -> String {
    kubectl(["get", "--raw", &format!("/api/v1/namespaces/{namespace}/pods/{path}")])
}

/// The agent's metrics, once there is something to see in each of them.
fn metrics() -> String {
    let pod = agent::pod();
    let path = format!("{}:9847/proxy/metrics", pod["metadata"]["name"].as_str().unwrap());
    wait_until("the agent has delivered and judged", || {
        let text = get("reloadlet", &path);
        let is_verdict = |line: &str| line.starts_with("reloadlet_verdicts_total{") && !line.ends_with(" 0");
        text.lines().any(is_verdict).then_some(text)
    })
}

/// The blocks of the page that hold queries.
fn queries(page: &str) -> Vec<&str> {
    page.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap().trim()).collect()
}

/// The queries of the dashboard's panels, with everything chosen in its variables.
fn panels() -> Vec<String> {
    let text = fs::read_to_string(format!("{MONITORING}/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries = Vec::new();
    for target in targets {
        let mut query = target["expr"].as_str().unwrap().replace("$__rate_interval", "1h");
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            query = query.replace(&format!("${}", variable["name"].as_str().unwrap()), ".*");
        }
        assert!(!query.contains('$'), "a variable that the dashboard doesn't have: {query}");
        queries.push(query);
    }
    queries
}

/// Each alert's name and expression.
fn alerts() -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("{MONITORING}/alerts.yaml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&text).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

#[test]
fn prometheus_finds_the_agent_and_each_query_of_docs_and_dashboard_has_an_answer() {
    let Some(space) = Space::new("prometheus") else { return };
    import_image("prometheus", &["/usr/bin/prometheus"]);
    space.start(&[
        config_map("one"),
        app("app", &[(SIGNAL, "SIGHUP"), ("reloadlet.io/verify", "1s")]),
        app("lost", &[(SIGNAL, "SIGHUP"), ("reloadlet.io/process", "none")]),
        app("bad", &[(SIGNAL, "SIGKILL")]),
    ]);
    space.start(&prometheus());
    let agent = agent::pod();
    let up = format!(
        "up{{namespace=\"reloadlet\",pod={},node={}}}",
        agent["metadata"]["name"], agent["spec"]["nodeName"]
    );
    wait_until("the agent is scraped", || query(&space, &up) == ["1"]);
    assert!(query(&space, "up{namespace!=\"reloadlet\"}").is_empty(), "only agents have the annotations");

    let delivered = format!(
        "sum(reloadlet_reloads_total{{outcome=\"delivered\",pod_namespace=\"{}\"}}) or vector(0)",
        space.name()
    );
    // Each is scraped before the next, as a rate needs that.
    let mut told = Vec::new();
    for content in ["two", "three", "four"] {
        space.change(content);
        told.push(format!("hup {content}"));
        space.wait_told("app", "app", &told.iter().map(String::as_str).collect::<Vec<_>>());
        let count = told.len().to_string();
        wait_until("the delivery is scraped", || query(&space, &delivered) == [count.as_str()]);
    }

    let page = fs::read_to_string(DOCS).unwrap();
    let panels = panels();
    assert!(!queries(&page).is_empty() && !panels.is_empty());
    for text in queries(&page).into_iter().chain(panels.iter().map(String::as_str)) {
        wait_until(&format!("this has an answer: {text}"), || {
            query(&space, text).iter().any(|value| value.parse::<f64>().unwrap().is_finite())
        });
    }
    assert_eq!(query(&space, &delivered), [told.len().to_string()]);

    let own = format!("and on (pod_namespace) reloadlet_reloads_total{{pod_namespace=\"{}\"}}", space.name());
    for (alert, text) in alerts() {
        let holds = |more: &str| !query(&space, &format!("({text}) {more}")).is_empty();
        match alert.as_str() {
            // The pod `lost`, the first of its namespace to end so.
            "ReloadletReloadsFail" => wait_until(&alert, || holds(&own)),
            // The pod `bad`.
            "ReloadletAnnotationsInvalid" => wait_until(&alert, || holds("")),
            "ReloadletAbsent" | "ReloadletAgentDown" => wait_until(&format!("no {alert}"), || !holds("")),
            // Whether others hold depends on the machine and on what other tests do.
            _ => _ = holds(""),
        }
    }
}

#[test]
fn the_docs_have_each_metric_and_promtool_finds_no_fault_with_any() {
    let Some(space) = Space::new("promtool") else { return };
    space.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP"), ("reloadlet.io/verify", "1s")])]);
    space.change("two");
    space.wait_told("app", "app", &["hup two"]);
    let text = metrics();

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let found = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[found.stdout, found.stderr].concat()).into_owned();
    assert!(found.status.success() && said.is_empty(), "{}: {said}", found.status);

    let page = fs::read_to_string(DOCS).unwrap();
    let mut exported: BTreeMap<&str, (&str, BTreeSet<&str>)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE reloadlet_")?.split_once(' '))
        .map(|(name, kind)| (name, (kind, BTreeSet::new())))
        .collect();
    let mut bounds = BTreeMap::<&str, Vec<&str>>::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("reloadlet_")) {
        let Some((name, labels)) = line.split_once('{') else { continue };
        for label in labels.split('}').next().unwrap().split(',') {
            let (label, value) = label.split_once('=').unwrap();
            let value = value.trim_matches('"');
            if label == "le" {
                bounds.entry(name).or_default().push(value);
                continue;
            }
            exported.get_mut(name).unwrap().1.insert(label);
            // Of these there is no closed set.
            let is_open = ["pod_namespace", "version"].contains(&label);
            assert!(
                is_open || page.contains(&format!("`{value}`")),
                "the docs don't have the value in {line}"
            );
        }
    }
    let (of_agents, of_controllers) = page.split_once("\n## The controller\n").unwrap();
    assert_eq!(rows(of_agents), exported, "the table of metrics, and what the agent exports");
    // What a controller exports is its own tests' matter.
    exported.extend(rows(of_controllers));
    // A query that gives 0 where nothing is found doesn't show that it looks for something that exists.
    let (panels, alerts) = (panels(), alerts());
    let others = panels.iter().chain(alerts.iter().map(|(_, text)| text)).map(String::as_str);
    for query in queries(&page).into_iter().chain(others) {
        let mut parts = query.split('"');
        while let (Some(code), values) = (parts.next(), parts.next()) {
            let words = code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            for name in words.filter_map(|word| word.strip_prefix("reloadlet_")) {
                let family =
                    ["_bucket", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                assert!(exported.contains_key(family), "nobody has reloadlet_{name}: {query}");
            }
            // Bounds, and names of pods and DaemonSets, are no closed sets.
            let is_open = ["le=", "pod=~", "daemonset=~"].iter().any(|label| code.ends_with(label));
            if is_open || values == Some(".*") {
                continue;
            }
            for value in values.into_iter().flat_map(|values| values.split('|')) {
                assert!(page.contains(&format!("`{value}`")), "no label has the value {value}: {query}");
            }
        }
    }
    for (name, bounds) in bounds {
        let bounds = bounds[..bounds.len() - 1].join(", ");
        assert!(page.contains(&format!("`{bounds}`")), "the docs don't have the bounds of {name}: {bounds}");
    }
}

/// The names, types and labels in the rows of tables of metrics.
fn rows(page: &str) -> BTreeMap<&str, (&str, BTreeSet<&str>)> {
    page.lines().filter_map(documented).collect()
}

/// The name, type and labels in a row of the table of metrics.
fn documented(line: &str) -> Option<(&str, (&str, BTreeSet<&str>))> {
    let (name, rest) = line.strip_prefix("| `reloadlet_")?.split_once("` | ")?;
    let (name, labels) = name.trim_end_matches('}').split_once('{').unwrap_or((name, ""));
    let labels = labels.split(',').filter(|label| !label.is_empty()).collect();
    Some((name, (rest.split(" | ").next()?, labels)))
}
