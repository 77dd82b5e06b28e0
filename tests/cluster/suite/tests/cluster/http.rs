//! Programs that load their configuration at a request, and servers that do anything else.

use serde_json::{Value, json};

use cluster_suite::agent;
use cluster_suite::space::{SIGNAL, Space, app, config_map, import_image, kubectl, wait_until};

const HTTP: &str = "reloadlet.io/http";

/// A program of Debian's with its configuration in the ConfigMap of its name.
struct Program {
    name: &'static str,
    files: &'static [&'static str],
    port: u16,
    file: &'static str,
    args: &'static [&'static str],
    /// Where it shows what it has loaded.
    shows: &'static str,
}

const PROMETHEUS: Program = Program {
    name: "prometheus",
    files: &["/usr/bin/prometheus"],
    port: 9090,
    file: "prometheus.yml",
    args: &["--config.file=/config/prometheus.yml", "--storage.tsdb.path=/data", "--web.enable-lifecycle"],
    shows: "api/v1/status/config",
};

const ALERTMANAGER: Program = Program {
    name: "alertmanager",
    files: &[
        "/usr/bin/prometheus-alertmanager",
        "/usr/share/prometheus/alertmanager/default.tmpl",
        "/usr/share/prometheus/alertmanager/email.tmpl",
    ],
    port: 9093,
    file: "alertmanager.yml",
    args: &[
        "--config.file=/config/alertmanager.yml",
        "--storage.path=/data",
        "--web.listen-address=:9093",
        "--cluster.listen-address=",
    ],
    shows: "api/v2/status",
};

impl Program {
    fn objects(&self, content: &str) -> [Value; 2] {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "annotations": {HTTP: "POST :web/-/reload", "reloadlet.io/verify": "2s"},
            },
            "spec": {
                "automountServiceAccountToken": false,
                "securityContext": {"runAsUser": 65534, "runAsGroup": 65534},
                "containers": [{
                    "name": self.name,
                    "image": format!("localhost/{}:test", self.name),
                    "args": self.args,
                    "ports": [{"name": "web", "containerPort": self.port}],
                    "readinessProbe": {"httpGet": {"path": "/-/ready", "port": "web"}, "periodSeconds": 1},
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/config"}, {"name": "data", "mountPath": "/data"},
                    ],
                }],
                "volumes": [
                    {"name": "config", "configMap": {"name": self.name}}, {"name": "data", "emptyDir": {}},
                ],
            },
        });
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name},
            "data": {self.file: content},
        });
        [map, pod]
    }

    fn change(&self, space: &Space, content: &str) {
        let patch = json!({"data": {self.file: content}}).to_string();
        space.kubectl(&["patch", "configmap", self.name, "--type=merge", "-p", &patch]);
    }

    /// What it has loaded.
    fn loaded(&self, space: &Space) -> String {
        let Self { name, port, shows, .. } = self;
        kubectl([
            "get",
            "--raw",
            &format!("/api/v1/namespaces/{}/pods/{name}:{port}/proxy/{shows}", space.name()),
        ])
    }

    /// It loads what is good, the agent says what it says of what isn't, and it loads the next one.
    fn reloads(&self, space: &Space, good: impl Fn(&str) -> String, words: &str) {
        import_image(self.name, self.files);
        space.start(&self.objects(&good("one")));
        assert!(self.loaded(space).contains("one"));
        self.change(space, &good("two"));
        wait_until("the change is loaded", || self.loaded(space).contains("two"));
        let taken = space.wait_event(self.name, "RequestTaken");
        let begin = format!(
            "Container {0} took POST :{1}/-/reload, which it answered with 2xx, for ",
            self.name, self.port
        );
        assert!(taken.starts_with(&begin) && taken.contains(&format!("/{}@", self.name)), "{taken}");

        self.change(space, "nonsense: here\n");
        let failed = space.wait_event(self.name, "ReloadFailed");
        let begin = format!("POST :{}/-/reload was answered with 500: \"", self.port);
        assert!(failed.contains(&begin) && failed.contains(words), "{failed}");
        assert!(self.loaded(space).contains("two"), "it keeps what it had");

        self.change(space, &good("three"));
        wait_until("the next change is loaded", || self.loaded(space).contains("three"));
        let status = space.get("pod", self.name)["status"]["containerStatuses"][0].clone();
        assert_eq!((&status["restartCount"], &status["ready"]), (&json!(0), &json!(true)));
    }
}

#[test]
fn prometheus_is_reloaded_by_a_request_and_its_own_words_say_why_it_couldnt() {
    let Some(space) = Space::new("prometheus-http") else { return };
    let good = |name: &str| format!("global: {{external_labels: {{which: {name}}}}}\n");
    PROMETHEUS.reloads(&space, good, "nonsense");
    let by_http = [String::from("action=\"http\""), format!("pod_namespace=\"{}\"", space.name())];
    let failed = [&by_http[..], &[String::from("outcome=\"failed\"")]].concat();
    assert_eq!(agent::metric("reloadlet_reloads_total", &failed), 1.0);
    let delivered = [&by_http[..], &[String::from("outcome=\"delivered\"")]].concat();
    wait_until("the last delivery is counted", || {
        agent::metric("reloadlet_reloads_total", &delivered) == 2.0
    });
}

#[test]
fn alertmanager_is_reloaded_by_a_request_and_its_own_words_say_why_it_couldnt() {
    let Some(space) = Space::new("alertmanager-http") else { return };
    let good = |name: &str| format!("route: {{receiver: {name}}}\nreceivers: [{{name: {name}}}]\n");
    ALERTMANAGER.reloads(&space, good, "nonsense");
}

/// A pod that runs a command instead, and declares port 8080.
fn server(name: &str, command: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations = [&[(HTTP, ":8080/reload")][..], annotations].concat();
    let mut pod = app(name, &annotations);
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", format!("exec {command}")]);
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8080}]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
    pod
}

/// One that answers each request with this.
fn answering(name: &str, answer: &str, then: &str) -> Value {
    server(name, &format!("nc -ll -p 8080 -e sh -c 'printf \"{answer}\"; {then}'"), &[])
}

#[test]
fn whatever_a_server_does_it_is_said_and_nobody_else_waits() {
    let Some(space) = Space::new("servers") else { return };
    let beside = space.beside("beside-servers");
    let redirect =
        "HTTP/1.1 307 Moved\\r\\nLocation: https://10.96.0.1/api\\r\\nContent-Length: 0\\r\\n\\r\\n";
    let mut host = server("host", "sleep 100000", &[]);
    host["spec"]["hostNetwork"] = json!(true);
    let silent = "nc -ll -p 8080 -e sleep 100000";
    let hanging: Vec<Value> = (0..6)
        .map(|n| server(&format!("hangs-{n}"), silent, &[("reloadlet.io/http-timeout", "60s")]))
        .collect();
    let others = [
        config_map("one"),
        server("localhost", "httpd -f -p 127.0.0.1:8080", &[]),
        answering("redirects", redirect, "cat >/dev/null"),
        answering("endless", "HTTP/1.1 500 No\\r\\n\\r\\n", "yes for ever"),
        answering("generous", "HTTP/1.1 200 OK\\r\\n\\r\\n", "yes for ever"),
        server("silent", silent, &[]),
        host,
    ];
    space.start(&[&others[..], &hanging[..]].concat());
    let good = answering("good", "HTTP/1.1 204 OK\\r\\n\\r\\n", "cat >/dev/null");
    beside.start(&[config_map("one"), app("app", &[(SIGNAL, "SIGHUP")]), good]);
    assert!(space.wait_event("host", "ReloadProblem").contains("--allow-host-network-http"));

    space.change("two");
    for (pod, words) in [
        (
            "localhost",
            "nobody listens on port 8080 of the pod's address; a program that listens on localhost only",
        ),
        ("redirects", "was answered with 307, a redirect, and none is followed"),
        ("endless", "was answered with 500: \"for ever\\nfor ever\\n"),
        ("silent", "wasn't answered within 5s; reloadlet.io/http-timeout can be up to 60s"),
    ] {
        let failed = space.wait_event(pod, "ReloadFailed");
        assert!(failed.contains(words), "{pod}: {failed}");
    }
    space.wait_event("generous", "RequestTaken");
    beside.change("two");
    beside.wait_told("app", "app", &["hup two"]);
    beside.wait_event("good", "RequestTaken");
    for pod in &hanging {
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_eq!(space.events(name, "ReloadFailed"), Vec::<String>::new(), "{name} still hangs");
    }
    let status = agent::status(&[]);
    let waits = |line: &&str| line.contains("hangs-0") && line.contains("hasn't been told yet");
    assert!(status.lines().any(|line| waits(&line)), "{status}");
}
