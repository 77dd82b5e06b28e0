//! What is read only of manifests that are checked.

use reloadlet_core::model::pod::{Container, ContainerKind, EnvironmentSource, Restarts};

use super::workload;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: web
  uid: 5ef088ab-0000-4000-8000-000000000001
  annotations: {reloadlet.io/signal: SIGHUP, reloadlet.io/process: app}
spec:
  restartPolicy: OnFailure
  os: {name: windows}
  containers:
  - name: app
    restartPolicy: Never
    command: [/bin/app, "--level=$(LEVEL)", "$$(NOT)"]
    args: ["$(APP_PORT)", "$(BOTH)", "$(PLAIN)"]
    env:
    - {name: PLAIN, value: "1"}
    - {name: LEVEL, valueFrom: {configMapKeyRef: {name: levels, key: level, optional: true}}}
    - {name: HOST, valueFrom: {secretKeyRef: {name: login, key: host}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: BOTH, value: "$(HOST):$(LATER)"}
    - {name: UNUSED, valueFrom: {secretKeyRef: {name: login, key: unused}}}
    envFrom:
    - {prefix: APP_, configMapRef: {name: ports, optional: true}}
    - {secretRef: {name: more}}
  ephemeralContainers:
  - {name: debug, envFrom: [{secretRef: {name: login}}]}
  volumes:
  - name: vault
    csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: login, other: "1"}}
"#;

fn app(text: &str) -> Container {
    workload(text).spec.containers.remove(0)
}

fn sources(all: &[EnvironmentSource]) -> Vec<String> {
    let of = |source: &EnvironmentSource| {
        let EnvironmentSource { kind, name, key, prefix, optional } = source;
        let [key, prefix] = [key, prefix].map(|name| name.as_deref().unwrap_or("-"));
        format!("{} {name} {key} {prefix}{}", kind.as_str(), if *optional { " optional" } else { "" })
    };
    all.iter().map(of).collect()
}

#[test]
fn an_environment_says_what_is_optional_and_what_stands_before_the_keys() {
    let app = app(POD);
    let expected = [
        "configmap levels level - optional",
        "configmap ports - APP_ optional",
        "secret login host -",
        "secret login unused -",
        "secret more - -",
    ];
    assert_eq!(sources(&app.environment), expected);
    let names: Vec<&str> = app.variables.iter().map(|name| &**name).collect();
    assert_eq!(names, ["BOTH", "HOST", "NODE", "PLAIN", "UNUSED"], "LEVEL may be missing");
    let single = POD.split("    envFrom:").next().unwrap();
    let without = workload(single).spec.containers.remove(0);
    assert!(without.variables.is_empty(), "there is nothing that they could hide");
}

#[test]
fn a_command_line_takes_the_variables_that_it_names_and_those_that_they_are_made_of() {
    let expected = [
        "configmap levels level - optional",
        "configmap ports PORT - optional",
        "secret login host -",
        "secret more APP_PORT -",
        "secret more LATER -",
        "secret more LEVEL -",
    ];
    assert_eq!(sources(&app(POD).arguments), expected);
}

#[test]
fn a_variable_whose_value_another_one_takes_first_hides_no_key() {
    let hides = |env: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\n\
             spec: {{containers: [{{name: app, envFrom: [{{secretRef: {{name: all}}}}], env: [{env}]}}]}}\n"
        );
        app(&text).variables.iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    let host = "{name: HOST, value: here}";
    let url = "{name: URL, value: \"$(HOST):80\"}";
    assert_eq!(hides(&format!("{host}, {url}")), ["HOST", "URL"]);
    assert_eq!(hides(&format!("{url}, {host}")), ["URL"]);
    assert_eq!(hides("{name: OPTS, value: \"$(OPTS) -x\"}"), [""; 0]);
    assert_eq!(hides("{name: A, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}"), [""; 0]);
    assert_eq!(hides("{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}"), ["A"]);
    let arguments = POD.replace(
        "{name: LEVEL, valueFrom",
        "{name: LEVEL, value: \"$(LEVEL)\"}\n    - {name: OTHER, valueFrom",
    );
    assert!(sources(&app(&arguments).arguments).contains(&"secret more LEVEL -".to_owned()));
}

#[test]
fn what_is_run_is_kept_where_a_process_is_named() {
    let command = |text: &str| app(text).command.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    assert_eq!(command(POD)[..2], ["/bin/app", "--level=$(LEVEL)"]);
    assert_eq!(command(POD).len(), 6);
    assert_eq!(command(&POD.replace("reloadlet.io/process", "example.org/process")), [""; 0]);
}

#[test]
fn a_supervisor_the_system_and_a_containers_own_restart_policy_are_there() {
    let text =
        POD.replace("reloadlet.io/process", "example.org/process").replace("/bin/app", "/bin/supervisord");
    let spec = workload(&text).spec;
    let app = &spec.containers[0];
    assert_eq!((app.supervisor.as_deref(), app.restarts), (Some("supervisord"), Some(Restarts::Never)));
    assert!(app.command.is_empty() && spec.is_windows);
    assert_eq!(workload(POD).spec.containers[0].supervisor, None);
}

#[test]
fn ephemeral_containers_drivers_and_the_restart_policy_are_there() {
    let spec = workload(POD).spec;
    assert_eq!(spec.restarts, Restarts::OnFailure);
    let debug = &spec.containers[1];
    assert_eq!((&*debug.name, debug.kind, debug.environment.len()), ("debug", ContainerKind::Ephemeral, 1));
    let csi = spec.volumes[0].csi.as_ref().unwrap();
    assert_eq!((&*csi.driver, csi.class.as_deref()), ("secrets-store.csi.k8s.io", Some("login")));
}

#[test]
fn of_a_running_pod_none_of_that_is_kept() {
    let decoded = crate::decode(POD.as_bytes()).unwrap();
    let spec = &decoded.pods[0].spec;
    let app = &spec.containers[0];
    assert_eq!((spec.containers.len(), spec.restarts), (1, Restarts::Always));
    assert!(app.arguments.is_empty() && app.command.is_empty());
    assert_eq!((&app.supervisor, app.restarts, spec.is_windows), (&None, None, false));
    assert_eq!(app.variables.len(), 5, "they hide keys");
    let csi = spec.volumes[0].csi.as_ref().unwrap();
    assert_eq!((&*csi.driver, &csi.class, csi.read_only), ("", &None, true));
}

#[test]
fn a_command_line_of_very_many_variables_is_bounded() {
    let names: String = (0..5_000).map(|n| format!("$(A{n})")).collect();
    let objects: String =
        (0..900).map(|n| format!("{{\"configMapRef\": {{\"name\": \"c{n}\"}}}},")).collect();
    let text = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"web\"}}, \"spec\": {{\"containers\": [{{\"name\": \"app\", \
         \"args\": [\"{names}\"], \"envFrom\": [{}]}}]}}}}",
        objects.trim_end_matches(',')
    );
    assert_eq!(app(&text).arguments.len(), 1024);
}

#[test]
fn a_long_command_line_leaves_nothing_else_out() {
    let script = "x".repeat(600 << 10);
    let text = POD.replace("command: [/bin/app,", &format!("command: [{script}, /bin/app,"));
    let spec = workload(&text).spec;
    assert_eq!((spec.excess, spec.containers.len()), (None, 2));
    assert!(spec.containers[0].command.is_empty(), "it is left out itself");
    assert_eq!(spec.containers[0].environment.len(), 5);
}

#[test]
fn a_value_that_is_no_string_is_nothing() {
    for value in ["1", "true", "1.5", "null", "[a]", "{a: b}", "-1"] {
        let app = app(&POD.replace("value: \"1\"", &format!("value: {value}")));
        assert_eq!(app.environment.len(), 5, "{value}");
    }
}
