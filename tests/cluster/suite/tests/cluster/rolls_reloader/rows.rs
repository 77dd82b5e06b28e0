//! The rows, and what each of them is in a cluster.

use serde_json::{Value, json};

const TABLE: &str = include_str!("../../../../../../agent/core/src/policy/reloader/table.tsv");
/// The areas that depend on the API server and on Kubernetes' own controllers.
const AREAS: [&str; 5] = ["kind", "consumer", "change", "lifecycle", "state"];

/// One row. The column of Reloader's own behaviour is the core's matter.
pub(super) struct Row {
    pub(super) id: &'static str,
    area: &'static str,
    kind: &'static str,
    annotations: &'static str,
    object: &'static str,
    consumer: &'static str,
    change: &'static str,
    pub(super) ours: &'static str,
}

/// What the controller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Roll,
    Nothing,
    Report,
    Held,
}

impl Expected {
    /// How many revisions are waited for, of a row that is rolled.
    pub(super) fn revisions(self, row: &Row) -> Option<usize> {
        // Its second one is its owner's. Those of a lifecycle come later.
        (row.result().0 > 1 && row.area != "lifecycle").then(|| row.result().0)
    }
}

pub(super) fn all() -> Vec<Row> {
    let lines = TABLE.lines().skip(1);
    let row = |line: &'static str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, area, kind, annotations, of_template, object, marks, consumer, change, _, _, ours] =
            columns[..]
        else {
            panic!("{line}")
        };
        assert!(!AREAS.contains(&area) || (of_template.is_empty() && marks.is_empty()), "{line}");
        Row { id, area, kind, annotations, object, consumer, change, ours }
    };
    lines.map(row).collect()
}

fn wants(source: &str, name: &str) -> Value {
    json!({source: {"name": name}})
}

impl Row {
    pub(super) fn is_in_area(&self) -> bool {
        AREAS.contains(&self.area)
    }

    /// Whether it is of a kind that isn't rolled.
    pub(super) fn is_of_another_kind(&self) -> bool {
        ["CronJob", "Job", "Pod", "ReplicaSet"].contains(&self.kind_name())
    }

    /// Of how many objects one of another kind consists: of itself, and of the pod that it makes.
    pub(super) fn made(&self) -> usize {
        if ["Job", "ReplicaSet"].contains(&self.kind_name()) { 2 } else { 1 }
    }

    fn kind_name(&self) -> &'static str {
        self.kind.split([' ', ',']).next().unwrap()
    }

    /// The workload's name. Those of its objects begin with it.
    pub(super) fn name(&self) -> String {
        self.id.to_lowercase()
    }

    fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.name())
    }

    pub(super) fn expected(&self) -> Expected {
        match self.ours {
            "roll"
            | "roll (one)"
            | "roll (no signal)"
            | "roll (if consumed)"
            | "roll or signal"
            | "roll (env/subPath started without it)"
            | "one roll"
            | "roll, and report the pods below the partition as stale"
            | "waits for the running roll-out; then only if its pods are stale"
            // Kubelets of this version take any name.
            | "none if the kubelet skips it, else roll" => Expected::Roll,
            "report: waits for a person (OnDelete)"
            | "report"
            | "report: the kubelet keeps the old content on nodes where a pod uses it (kubernetes 119733)" => {
                Expected::Report
            }
            "held; reported" | "held while disruptionsAllowed=0" => Expected::Held,
            "none"
            | "none (key-level)"
            | "signal, no roll"
            | "none (debounced: content equals the baseline)"
            | "one roll (the new pods already hold it)"
            | "nothing: the old ReplicaSet's pods read the new content as they start"
            | "none (baseline is taken; stale is reported)"
            | "none for pods whose start is unknown to be older; else report"
            | "none needed: they read at start" => Expected::Nothing,
            other => panic!("{}: an answer that no test knows: {other}", self.id),
        }
    }

    /// How many revisions its template has had in the end, and whether the last one has the mark of a roll.
    pub(super) fn result(&self) -> (usize, bool) {
        match (self.id, self.expected()) {
            // One is by whoever upgrades it, or in whose midst the change comes.
            ("R158", _) => (2, false),
            ("R172", _) => (3, true),
            // It is rolled first, and undone.
            ("R159", _) => (2, false),
            (_, Expected::Roll) => (2, true),
            (_, Expected::Nothing | Expected::Report | Expected::Held) => (1, false),
        }
    }

    /// Whether its pods are available before anything changes.
    pub(super) fn is_available_at_first(&self) -> bool {
        !["R155", "R173", "R174"].contains(&self.id)
    }

    /// Whether the controller remembers it before anything changes: it takes an object at its start, and asks.
    pub(super) fn is_remembered(&self) -> bool {
        !["R029", "R035", "R049", "R168"].contains(&self.id)
    }

    /// Each object: its kind, and its name in the table.
    fn things(&self) -> Vec<(&'static str, &'static str)> {
        let each = self.object.split(" + ").map(|one| one.strip_suffix(" immutable").unwrap_or(one));
        each.map(|one| one.split_once('/').unwrap()).collect()
    }

    fn object(&self, kind: &str, name: &str, content: &str) -> Value {
        let data = if kind == "Secret" { "stringData" } else { "data" };
        let is_immutable = self.object.ends_with(" immutable");
        json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": self.own(name)},
            data: {"a": content, "b": content}, "immutable": is_immutable,
        })
    }

    /// What there is before anything changes.
    pub(super) fn objects(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        if !self.change.ends_with("object is created later") {
            objects.extend(self.things().iter().map(|(kind, name)| self.object(kind, name, "one")));
        }
        if self.consumer.contains("other CM") {
            objects.push(self.object("ConfigMap", "other", "one"));
        }
        if self.consumer.contains("secret cred") {
            objects.push(self.object("Secret", "cred", "one"));
        }
        if self.consumer == "serviceAccount secrets" {
            objects.push(json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name()},
                "secrets": [wants("x", &self.own("cred"))["x"]],
            }));
        }
        if self.id == "R175" {
            objects.push(json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": self.name()},
                "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": self.name()}}},
            }));
        }
        objects.push(self.workload());
        objects
    }

    fn workload(&self) -> Value {
        let kind = self.kind_name();
        let labels = json!({"app": self.name()});
        let mut annotations = json!({"reloadlet.io/debounce": if self.id == "R143" { "15s" } else { "1s" }});
        if self.id != "R168" {
            for one in self.annotations.split("; ") {
                let (key, value) = one.split_once('=').unwrap();
                annotations[key] = json!(value);
            }
        }
        let mut workload = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": self.name(), "annotations": annotations},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels, "annotations": {}}, "spec": self.pod()},
            },
        });
        if self.consumer.ends_with("template reloadlet.io/signal=HUP") {
            workload["spec"]["template"]["metadata"]["annotations"]["reloadlet.io/signal"] = json!("HUP");
        }
        match self.kind {
            "Pod (bare)" => {
                let metadata = workload["metadata"].clone();
                return json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": self.pod()});
            }
            "Job" | "Job (completed)" | "CronJob" => {
                workload["apiVersion"] = json!("batch/v1");
                let template = workload["spec"]["template"].clone();
                workload["spec"] = json!({"template": template});
                workload["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
                if self.kind == "Job (completed)" {
                    workload["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["true"]);
                }
                if self.kind == "CronJob" {
                    let job = workload["spec"].clone();
                    // There is no such day.
                    workload["spec"] = json!({"schedule": "0 0 31 2 *", "jobTemplate": {"spec": job}});
                }
            }
            "StatefulSet" => workload["spec"]["serviceName"] = json!("none"),
            "StatefulSet partition=2 replicas=3" => {
                workload["spec"]["serviceName"] = json!("none");
                workload["spec"]["replicas"] = json!(3);
                workload["spec"]["podManagementPolicy"] = json!("Parallel");
                workload["spec"]["updateStrategy"] =
                    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
            }
            "DaemonSet updateStrategy=OnDelete" => {
                workload["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
            }
            _ => {}
        }
        workload
    }

    /// A pod that uses the row's object as the row says.
    fn pod(&self) -> Value {
        let (kind, name) = self.things()[0];
        let name = self.own(name);
        let container = |name: &str, more: Value| {
            let mut container = json!({
                "name": name, "image": "localhost/busybox:test", "command": ["sh", "-c", "exec sleep 100000"],
            });
            container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            container
        };
        let app = |more: Value| json!([container("app", more)]);
        let from = |kind: &str, name: &str, is_optional: bool| {
            let source = if kind == "Secret" { "secretRef" } else { "configMapRef" };
            json!({source: {"name": name, "optional": is_optional}})
        };
        let all = || json!({"envFrom": [from(kind, &name, false)]});
        let one = || {
            json!({"env": [
                {"name": "VALUE", "valueFrom": {"configMapKeyRef": {"name": name, "key": "a"}}},
            ]})
        };
        let mount = |volume: &str| json!({"volumeMounts": [{"name": volume, "mountPath": "/config"}]});
        let volume = |volume: &str| match kind {
            "Secret" => json!({"name": volume, "secret": {"secretName": name}}),
            _ => json!({"name": volume, "configMap": {"name": name}}),
        };
        let projected = |sources: Value| json!([{"name": "v", "projected": {"sources": sources}}]);
        let mut pod = json!({"terminationGracePeriodSeconds": 0});
        pod["containers"] = match self.consumer {
            "env.valueFrom key=a" => app(one()),
            "envFrom.configMapRef" | "envFrom.secretRef" => app(all()),
            "envFrom.configMapRef optional=true" => app(json!({"envFrom": [from(kind, &name, true)]})),
            "envFrom of both" => {
                let secret = from("Secret", &self.own("cred"), false);
                app(json!({"envFrom": [from(kind, &name, false), secret]}))
            }
            "volume configMap declared but mounted by no container" => app(json!({})),
            "two volumes of app: vol1 mounted by nobody, vol2 mounted" => app(mount("vol2")),
            "volume configMap, subPath mount of key a" => app(json!({
                "volumeMounts": [{"name": "v", "mountPath": "/config", "subPath": "a"}],
            })),
            "init container: envFrom" => {
                pod["initContainers"] = json!([container("first", all())]);
                pod["initContainers"][0]["command"] = json!(["true"]);
                app(json!({}))
            }
            "native sidecar (initContainer restartPolicy=Always): envFrom" => {
                pod["initContainers"] = json!([container("side", all())]);
                pod["initContainers"][0]["restartPolicy"] = json!("Always");
                app(json!({}))
            }
            "two containers use app (env)" => json!([container("app", one()), container("second", one())]),
            "used by container 1 (app) and container 2 (other CM)" => {
                let other = json!({"envFrom": [from("ConfigMap", &self.own("other"), false)]});
                json!([container("app", all()), container("second", other)])
            }
            "serviceAccount secrets" => {
                pod["serviceAccountName"] = json!(self.name());
                app(json!({}))
            }
            consumer if consumer.starts_with("volume ") => app(mount("v")),
            other => panic!("{}: a use that no test knows: {other}", self.id),
        };
        let source = if kind == "Secret" { "secret" } else { "configMap" };
        match self.consumer {
            "volume configMap items=[a], directory mount" => {
                pod["volumes"] = json!([volume("v")]);
                pod["volumes"][0]["configMap"]["items"] = json!([{"key": "a", "path": "a"}]);
            }
            "two volumes of app: vol1 mounted by nobody, vol2 mounted" => {
                pod["volumes"] = json!([volume("vol1"), volume("vol2")]);
            }
            "volume projected [configMap app]" | "volume projected [secret]" => {
                pod["volumes"] = projected(json!([wants(source, &name)]));
            }
            "volume projected [configMap app, secret cred]" => {
                let both = json!([wants(source, &name), wants("secret", &self.own("cred"))]);
                pod["volumes"] = projected(both);
            }
            consumer if consumer.starts_with("volume ") => pod["volumes"] = json!([volume("v")]),
            _ => {}
        }
        match self.kind {
            "Deployment in mid roll-out" => {
                // The pods of its second template wait for somebody, but not with the new content.
                let gate = "[ -z \"$GATE\" ] || [ \"$VALUE\" = two ] || [ -e /tmp/go ]";
                pod["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["sh", "-c", gate]}, "periodSeconds": 1, "timeoutSeconds": 10});
            }
            "Deployment not available (CrashLoopBackOff)" => {
                pod["containers"][0]["command"] = json!(["false"]);
                // Without a probe it would be available for a moment at each start.
                pod["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["false"]}});
            }
            "Deployment, all pods pending" => pod["nodeSelector"] = json!({"example.com/a": "none"}),
            _ => {}
        }
        pod
    }

    /// What happens, for a shell in which `k` is kubectl. That of a lifecycle comes later.
    pub(super) fn changes(&self) -> String {
        let (kind, table_name) = self.things()[0];
        let (kind, name, workload) = (kind.to_lowercase(), self.own(table_name), self.name());
        let patch = |kind: &str, name: &str, content: &Value| {
            let data = if kind == "secret" { "stringData" } else { "data" };
            format!("k patch {kind} {name} --type=merge -p '{}'\n", json!({data: content}))
        };
        let key = |key: &str| patch(&kind, &name, &json!({key: "two"}));
        let create = |content: &str| {
            let object = self.object(self.things()[0].0, table_name, content);
            format!("printf %s '{object}' | k create -f -\n")
        };
        let delete = || format!("k delete {kind} {name}\n");
        let usual = key("a");
        if self.area == "lifecycle" {
            return match self.id {
                // Only its owner may be told: the annotation comes after the change.
                "R168" => format!("{usual}k annotate deployment {workload} {}\n", self.annotations),
                _ => String::new(),
            };
        }
        match self.change {
            "update data key a" if self.id == "R172" => {
                let gate = json!({"spec": {"template": {"spec": {"containers": [
                    {"name": "app", "env": [{"name": "GATE", "value": "1"}]},
                ]}}}});
                let running = "{.items[*].status.containerStatuses[0].state.running.startedAt}";
                format!(
                    "k patch deployment {workload} -p '{gate}'\n\
                     all() {{ kubectl -n $N get pods -l app={workload} -o jsonpath='{running}' | wc -w; }}\n\
                     until [ $(all) = 2 ]; do sleep 0.2; done\n\
                     at=$(date +%s); while [ $(date +%s) = $at ]; do sleep 0.1; done\n{usual}"
                )
            }
            "update data key a" | "update data" | "kubectl rollout undo after a roll" => usual,
            "update data key b (not consumed)" | "update data key b (not in items)" => key("b"),
            "add data key z (not consumed)" => key("z"),
            // No object takes a key with a space.
            "add data key with a name that is no env name ('a b')" => key("1.b"),
            "update the other ConfigMap" => patch("configmap", &self.own("other"), &json!({"a": "two"})),
            "labels or annotations of the ConfigMap only" | "labels only" => {
                format!("k label {kind} {name} a=b\nk annotate {kind} {name} a=b\n")
            }
            "update binaryData key" => {
                format!("k patch configmap {name} --type=merge -p '{{\"binaryData\":{{\"c\":\"AAEC\"}}}}'\n")
            }
            "the same data is written again" => patch(&kind, &name, &json!({"a": "one"})),
            "immutable: true is set, data unchanged" => {
                format!("k patch {kind} {name} --type=merge -p '{{\"immutable\":true}}'\n")
            }
            "Secret type-preserving rotation of tls.crt/tls.key (cert-manager)" => {
                patch(&kind, &name, &json!({"a": "two", "b": "two"}))
            }
            "data A -> B -> A within 2 s" => usual + &patch(&kind, &name, &json!({"a": "one"})),
            "delete" => delete(),
            "delete, create again with the same content" => delete() + &create("one"),
            "delete, create again with other content"
            | "immutable object deleted and created again with other content" => delete() + &create("two"),
            "an optional object is created later" | "a required object is created later" => create("two"),
            "ConfigMap and Secret of one workload change at once" => {
                usual + &patch("secret", &self.own("cred"), &json!({"a": "two"}))
            }
            "helm upgrade changes the template (checksum annotation) and the ConfigMap" => {
                let upgrade =
                    json!({"spec": {"template": {"metadata": {"annotations": {"checksum": "two"}}}}});
                format!("{usual}k patch deployment {workload} -p '{upgrade}'\n")
            }
            other => panic!("{}: a change that no test knows: {other}", self.id),
        }
    }
}
