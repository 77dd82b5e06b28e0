use std::fs;

use reloadlet_core::policy::plan::Planned;

use super::*;

mod absent;
mod content;
mod judged;
mod places;
mod programs;
mod rows;
mod ways;

/// The report about these files, each with its name.
fn report(files: &[(&str, &str)], ignored: &[Code]) -> Report {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(root.path().join(name), text).unwrap();
    }
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| root.path().join(name)).collect();
    let mut sources = sources::read(&paths);
    for (source, (name, _)) in sources.iter_mut().zip(files) {
        (*name).clone_into(&mut source.name);
    }
    Report::of(sources, &ignored.iter().copied().collect(), Installed::default())
}

fn said(files: &[(&str, &str)]) -> String {
    table::table(&report(files, &[]))
}

/// The table about this text, where Reloader runs with these flags.
fn said_with(text: &str, flags: Flags) -> String {
    let found = Ok(reloadlet_manifest::read(text.as_bytes(), reloadlet_manifest::Format::Yaml));
    let source = sources::Source { name: "web.yaml".to_owned(), is_listed: false, found };
    table::table(&Report::of(
        vec![source],
        &BTreeSet::new(),
        Installed { reloader: flags, ..Installed::default() },
    ))
}

/// A Deployment; `metadata` and `spec` are those of its template, as flow mappings.
fn deployment(name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{template: {{metadata: {metadata}, spec: {spec}}}}}\n"
    )
}

const LOGBACK: &str = "{containers: [{name: nginx, volumeMounts: [{name: config, mountPath: /etc/config}]}], \
                       volumes: [{name: config, configMap: {name: logback-configmap}}]}";

#[test]
fn kinds_that_arent_known_are_named_where_they_make_pods() {
    let made = "spec: {template: {spec: {containers: [{name: a}]}}}\n";
    let object = |of: &str, spec: &str| format!("---\n{of}\nmetadata: {{name: a}}\n{spec}");
    let text = [
        object("apiVersion: apps.kruise.io/v1alpha1\nkind: CloneSet", made),
        object("apiVersion: serving.knative.dev/v1\nkind: Service", made),
        object("kind: Service\napiVersion: v1", "spec: {ports: [{port: 1}]}\n"),
        object("apiVersion: apps.kruise.io/v1alpha1\nkind: CloneSet", made),
        object("apiVersion: x/v1\nkind: Empty", "spec: {template: {spec: {containers: []}}}\n"),
    ];
    let report = report(&[("web.yaml", &text.concat())], &[]);
    let sentence = "not judged, as these kinds aren't known, though agents tell their pods as any others: \
                    2 CloneSet.apps.kruise.io, 1 Service.serving.knative.dev; a template that is written as a PodTemplate is judged";
    assert_eq!(table::table(&report), format!("{sentence}\n\n0 workloads\n"));
    assert_eq!(github::annotations(&report), format!("::notice title=not-judged::{sentence}\n"));
    let document: serde_json::Value = serde_json::from_str(&json::document(&report).unwrap()).unwrap();
    let kinds = serde_json::json!([
        {"group": "apps.kruise.io", "kind": "CloneSet", "count": 2},
        {"group": "serving.knative.dev", "kind": "Service", "count": 1},
    ]);
    assert_eq!(document["notJudged"], kinds);
}

#[test]
fn who_watches_its_own_file_says_so_and_who_doesnt_is_asked() {
    let asks = "{annotations: {reloadlet.io/signal: none}}";
    let text = format!("{}---\n{}", deployment("one", asks, LOGBACK), deployment("two", "{}", LOGBACK));
    let expected = "\
Deployment shop/one  (web.yaml:1)
  CONTAINER  OBJECT                       BY         ON A CHANGE     WHY
  nginx      ConfigMap logback-configmap  directory  read by itself

Deployment shop/two  (web.yaml:6)
  CONTAINER  OBJECT                       BY         ON A CHANGE  WHY
  nginx      ConfigMap logback-configmap  directory  never        unasked
  warning unasked: container \"nginx\" mounts ConfigMap \"logback-configmap\": its files change, and nobody says how the program \
comes to load them; reloadlet.io/signal: the signal at which the program loads its files, or none if it watches them itself; \
or reloadlet.io/http: the request at which it does

2 workloads, 1 warning: docs/check.md explains each code
";
    assert_eq!(said(&[("web.yaml", &text)]), expected);
}

#[test]
fn environment_and_sub_paths_never_change() {
    let spec = "{containers: [{name: app, envFrom: [{configMapRef: {name: env-config}}], \
                env: [{name: LEVEL, valueFrom: {configMapKeyRef: {name: env-config, key: log_level}}}], \
                volumeMounts: [{name: special, mountPath: /etc/config}, {name: special, mountPath: /app.conf, subPath: app.conf}]}], \
                volumes: [{name: special, configMap: {name: special-config}}]}";
    let text = deployment("web", "{annotations: {reloadlet.io/signal: SIGHUP}}", spec);
    let expected = "\
Deployment shop/web  (web.yaml:1)
  CONTAINER  OBJECT                               BY         ON A CHANGE  WHY
  app        ConfigMap env-config                 envfrom    never        frozen-env
  app        ConfigMap env-config (log_level)     env        never        frozen-env
  app        ConfigMap special-config             directory  SIGHUP
  app        ConfigMap special-config (app.conf)  subpath    never        frozen-subpath
";
    let said = said(&[("web.yaml", &text)]);
    assert!(said.starts_with(expected), "{said}");
    for code in ["warning frozen-env", "warning frozen-subpath", "warning subpath-beside-directory"] {
        assert!(said.contains(code), "{code}: {said}");
    }
}

#[test]
fn a_name_that_is_spelled_differently_is_found_with_the_one_that_is_meant() {
    let spec = "{containers: [{name: redis, volumeMounts: [{name: config, mountPath: /etc/marvel}, {name: data, mountPath: /data}]}], \
                volumes: [{name: config, configMap: {name: redis-confg, items: [{key: marvel, path: marvel}]}}, \
                {name: data, emptyDir: {}}]}";
    let object = |name: &str, namespace: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{namespace}}}\ndata: {{marvel: a}}\n"
        )
    };
    let redis = deployment("redis", "{annotations: {reloadlet.io/signal: SIGHUP}}", spec);
    let hint = "hint missing-object: ConfigMap \"redis-confg\" in namespace shop isn't among the manifests";
    let found = said(&[("redis.yaml", &redis), ("config.yaml", &object("redis-config", ""))]);
    assert!(found.contains(&format!("{hint}; \"redis-config\" is: is that one meant?\n")), "{found}");
    let unlike = said(&[("redis.yaml", &redis), ("config.yaml", &object("other", ""))]);
    assert!(unlike.contains(&format!("{hint}\n")), "{unlike}");
    for (namespace, is_there) in [("", true), (", namespace: shop", true), (", namespace: blog", false)] {
        let all = said(&[("redis.yaml", &redis), ("config.yaml", &object("redis-confg", namespace))]);
        assert_eq!(!all.contains("missing-object"), is_there, "{namespace}: {all}");
    }
    assert!(!said(&[("redis.yaml", &redis)]).contains("missing-object"), "they come from elsewhere");
}

#[test]
fn problems_have_the_agents_sentences_and_an_annotation_in_the_wrong_place_is_found() {
    let wrong =
        deployment("web", "{annotations: {reloadlet.io/signal: SIGKILL, reloadlet.io/signals: a}}", LOGBACK);
    let text = said(&[("web.yaml", &wrong)]);
    let Planned::Invalid(problems) = plan_of_first(&wrong) else { panic!("{text}") };
    for problem in problems {
        assert!(text.contains(&problem.sentence), "{text}");
    }
    assert!(text.contains("  error bad-value: ") && text.contains("  error unknown-key: "), "{text}");
    assert!(text.contains("directory  never        problem"), "{text}");

    let misplaced = deployment("web", "{}", LOGBACK)
        .replace("namespace: shop", "namespace: shop, annotations: {reloadlet.io/signal: SIGHUP}");
    let text = said(&[("web.yaml", &misplaced)]);
    let expected = "  error misplaced-annotation: reloadlet.io/signal is on the Deployment, and its pods have the annotations of its \
                    template; write it at spec.template.metadata.annotations\n";
    assert!(text.contains(expected), "{text}");
    let job = misplaced
        .replace("apps/v1", "batch/v1")
        .replace("Deployment", "CronJob")
        .replace("spec: {template: ", "spec: {jobTemplate: {spec: {template: ")
        .replace("}}}\n", "}}}}}\n");
    let text = said(&[("job.yaml", &job)]);
    assert!(text.contains("write it at spec.jobTemplate.spec.template.metadata.annotations"), "{text}");
}

fn plan_of_first(text: &str) -> Planned {
    let found = reloadlet_manifest::read(text.as_bytes(), reloadlet_manifest::Format::Yaml);
    let Some(Ok(reloadlet_manifest::Found::Workload(workload))) = found.into_iter().next() else {
        panic!("{text}")
    };
    reloadlet_core::policy::select::plan(&workload.spec, &"shop".into(), Default::default())
}

#[test]
fn what_cant_be_read_is_named_and_the_rest_is_checked() {
    let text = format!(
        "{}---\n{{half: [\n---\n{}",
        deployment("one", "{}", LOGBACK),
        deployment("two", "{}", LOGBACK)
    );
    let report = report(&[("web.yaml", &text)], &[]);
    let lines: Vec<usize> = report.workloads.iter().map(|checked| checked.line).collect();
    assert_eq!(lines, [1, 8]);
    let [unread] = &*report.unreadable else { panic!("{:?}", report.unreadable) };
    assert_eq!((unread.file.as_str(), unread.line), ("web.yaml", Some(6)));
    let text = table::table(&report);
    assert!(text.contains("web.yaml: document 2, from line 6 on: "), "{text}");
    assert!(
        text.ends_with("2 workloads, 2 warnings, 1 unreadable: docs/check.md explains each code\n"),
        "{text}"
    );
}

#[test]
fn what_is_ignored_isnt_found_and_counts_for_nothing() {
    let text = deployment("web", "{}", LOGBACK);
    assert_eq!(report(&[("web.yaml", &text)], &[]).worst(), Some(Level::Warning));
    let ignored = report(&[("web.yaml", &text)], &[Code::Unasked]);
    assert_eq!(ignored.worst(), None);
    assert_eq!(ignored.workloads.len(), 1, "what a change does is told all the same");
    assert!(table::table(&ignored).ends_with("\n\n1 workload\n"));
}

#[test]
fn programs_and_pull_requests_get_the_same_findings() {
    let text = deployment("web", "{}", LOGBACK);
    let report = report(&[("a b,c.yaml", &text)], &[]);
    let document: serde_json::Value = serde_json::from_str(&json::document(&report).unwrap()).unwrap();
    assert_eq!(document["apiVersion"], "check.reloadlet.io/v1");
    let workload = &document["workloads"][0];
    assert_eq!((&workload["kind"], &workload["line"]), (&"Deployment".into(), &1.into()));
    assert_eq!(workload["references"][0]["effect"], "never");
    assert_eq!(workload["findings"][0]["code"], "unasked");
    let annotations = github::annotations(&report);
    let expected =
        "::warning file=a b%2Cc.yaml,line=1,title=unasked::Deployment shop/web: container \"nginx\" mounts ";
    assert!(annotations.starts_with(expected) && annotations.lines().count() == 1, "{annotations}");
}

#[test]
fn a_text_without_workloads_says_so() {
    assert_eq!(
        said(&[("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")]),
        "0 workloads\n"
    );
}

#[test]
fn what_is_no_manifest_is_an_error_only_where_somebody_named_it() {
    let root = tempfile::tempdir().unwrap();
    let values = root.path().join("values.yaml");
    fs::write(&values, "replicas: 2\n").unwrap();
    let report = |path: &PathBuf| {
        Report::of(sources::read(std::slice::from_ref(path)), &BTreeSet::new(), Installed::default())
    };
    let listed = report(&root.path().to_owned());
    assert!(listed.unreadable.is_empty());
    assert_eq!(table::table(&listed), "0 workloads, 1 document that is no whole manifest\n");
    assert_eq!(report(&values).unreadable.len(), 1);
}

/// The findings about one file, each as its line of the table.
fn found(text: &str) -> Vec<String> {
    let said = said(&[("web.yaml", text)]);
    let is_finding =
        |line: &&str| ["  hint ", "  warning ", "  error "].iter().any(|level| line.starts_with(level));
    said.lines().filter(is_finding).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_workload_of_reloaders_says_what_it_does_and_what_becomes_of_it() {
    let spec = "{containers: [{name: filebeat, envFrom: [{secretRef: {name: login}}], \
                volumeMounts: [{name: config, mountPath: /etc/filebeat}]}], volumes: [{name: config, configMap: {name: filebeat-config}}]}";
    let text = deployment("filebeat", "{annotations: {reloadlet.io/signal: SIGHUP}}", spec)
        .replace("Deployment", "DaemonSet")
        .replace("namespace: shop", "namespace: log, annotations: {reloader.stakater.com/auto: \"true\"}");
    let rolls = [
        "hint reloader-rolls: when ConfigMap \"filebeat-config\" changes, Reloader 1.4 rolls it; reloadlet tells container \"filebeat\" \
         by SIGHUP",
        "hint reloader-rolls: when Secret \"login\" changes, Reloader 1.4 rolls it; reloadlet would roll it, for container \"filebeat\" \
         (frozen-env)",
    ];
    assert_eq!(found(&text)[1..], rolls, "after what never changes");
    let listed = text.replace(
        "reloader.stakater.com/auto: \"true\"",
        "configmap.reloader.stakater.com/reload: \"other,foo|bar\", secret.reloader.stakater.com/auto: \"yes\"",
    );
    let all = found(&listed);
    let other = "hint reloader-rolls: when ConfigMap \"other\" changes, Reloader 1.4 rolls it; reloadlet would roll it";
    assert!(all.contains(&other.to_owned()), "{all:?}");
    for code in ["warning reloader-value: secret.", "warning reloader-alternation: configmap."] {
        assert!(all.iter().any(|line| line.starts_with(code)), "{code}: {all:?}");
    }
    assert!(!all.iter().any(|line| line.contains("Secret \"login\" changes")), "{all:?}");
}

#[test]
fn what_reloader_does_depends_on_the_kind_and_on_what_the_object_says() {
    let spec = "{containers: [{name: app, envFrom: [{configMapRef: {name: app}}]}]}";
    let web = |kind: &str, annotations: &str| {
        let metadata = format!("namespace: shop, annotations: {{{annotations}}}");
        deployment("web", "{}", spec).replace("Deployment", kind).replace("namespace: shop", &metadata)
    };
    let rolls = |text: &str| {
        let of = |line: &String| {
            line.strip_prefix("hint reloader-rolls: when ConfigMap \"app\" changes, Reloader 1.4 ")
                .map(str::to_owned)
        };
        found(text).iter().find_map(of).map(|line| line.split(';').next().unwrap().to_owned())
    };
    let auto = "reloader.stakater.com/auto: \"true\"";
    assert_eq!(rolls(&web("StatefulSet", auto)).as_deref(), Some("rolls it"));
    let of_others = rolls(&web("ReplicaSet", auto));
    assert_eq!(of_others.as_deref(), Some("does nothing, as it doesn't look at workloads of this kind"));
    let job = web("Job", auto).replace("apps/v1", "batch/v1");
    assert_eq!(rolls(&job).as_deref(), Some("deletes it and makes it again, also if it is complete"));
    let object = |annotations: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app, annotations: {{{annotations}}}}}\n"
        )
    };
    let with =
        |annotations: &str, of_object: &str| rolls(&(web("Deployment", annotations) + &object(of_object)));
    assert_eq!(with(auto, "reloader.stakater.com/ignore: \"true\""), None);
    let search = "reloader.stakater.com/search: \"true\"";
    assert_eq!(with(search, ""), None);
    assert_eq!(with(search, "reloader.stakater.com/match: \"true\"").as_deref(), Some("rolls it"));
    let odd = found(&(web("Deployment", auto) + &object("reloader.stakater.com/ignore: \"True\"")));
    let expected = "warning reloader-value: ConfigMap \"app\": reloader.stakater.com/ignore is \"True\": only \"true\" counts";
    assert!(odd.contains(&expected.to_owned()), "{odd:?}");
}

#[test]
fn a_checksum_beside_a_container_that_is_told_is_found() {
    let text = |signal: &str| {
        deployment("web", &format!("{{annotations: {{checksum/config: abc{signal}}}}}"), LOGBACK)
    };
    let is_found = |text: &str| {
        found(text)
            .iter()
            .any(|line| line.starts_with("warning helm-checksum: the template has \"checksum/config\": "))
    };
    assert!(is_found(&text(", reloadlet.io/signal: SIGHUP")));
    assert!(is_found(&text(", reloadlet.io/signal: none")));
    assert!(!is_found(&text("")), "there it is what makes a change take effect");
}

#[test]
fn the_whole_name_of_a_file_is_shown_and_nothing_that_a_terminal_obeys() {
    let name = format!("{}/\u{1b}[31m.yaml", "deep/".repeat(20));
    let mut report = report(&[("web.yaml", &deployment("web", "{}", LOGBACK)), ("bad.yaml", "[")], &[]);
    report.workloads[0].file.clone_from(&name);
    report.unreadable[0].file.clone_from(&name);
    let shown = format!("{}/\\u{{1b}}[31m.yaml", "deep/".repeat(20));
    let text = table::table(&report);
    assert!(text.starts_with(&format!("Deployment shop/web  ({shown}:1)\n")), "{text}");
    assert!(text.contains(&format!("\n{shown}: document 1")), "{text}");
}

#[test]
fn workloads_with_very_many_references_have_a_bound_together_and_that_is_said() {
    let sources: String = (0..100).map(|n| format!("{{secret: {{name: s{n}}}}},")).collect();
    let mounts: String = (0..50).map(|n| format!("{{name: v, mountPath: /m{n}}},")).collect();
    let spec = format!(
        "{{containers: [{{name: app, volumeMounts: [{mounts}]}}], volumes: [{{name: v, projected: {{sources: [{sources}]}}}}]}}"
    );
    let text = vec![deployment("web", "{}", &spec); 100].join("---\n");
    let report = report(&[("web.yaml", &text)], &[]);
    assert!((10..100).contains(&report.workloads.len()), "{}", report.workloads.len());
    let [unread] = &*report.unreadable else { panic!("{:?}", report.unreadable) };
    assert_eq!(
        unread.sentence,
        "Deployment shop/web and what follows isn't checked: there is too much before it"
    );
}

#[test]
fn an_object_that_never_changes_is_found() {
    let object = |immutable: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: logback-configmap}}\nimmutable: {immutable}\n"
        )
    };
    let asks = "{annotations: {reloadlet.io/signal: none}}";
    let all = |immutable: &str| found(&(deployment("web", asks, LOGBACK) + &object(immutable)));
    let expected = "hint immutable: ConfigMap \"logback-configmap\" is immutable: it never changes, and the kubelet doesn't look at one that \
                    is made anew under its name while the pod runs; make another one under another name, and name that in the workload";
    assert_eq!(all("true"), [expected]);
    for other in ["false", "null", "\"true\"", "1", "[true]"] {
        assert_eq!(all(other), Vec::<String>::new(), "{other}");
    }
}

#[test]
fn beside_the_usual_sidecar_the_program_is_told_once_by_each() {
    let spec = "{shareProcessNamespace: true, containers: [\
                {name: nginx, volumeMounts: [{name: conf, mountPath: /etc/nginx, readOnly: true}]}, \
                {name: reloader, env: [{name: FILE, value: /etc/nginx/nginx.conf}, {name: SIGNAL, value: HUP}], \
                 volumeMounts: [{name: conf, mountPath: /etc/nginx, readOnly: true}]}], \
                volumes: [{name: conf, configMap: {name: nginx-conf, items: [{key: nginx.conf, path: nginx.conf}]}}]}";
    let expected = "\
Deployment shop/web  (web.yaml:1)
  CONTAINER  OBJECT                             BY         ON A CHANGE  WHY
  nginx      ConfigMap nginx-conf (nginx.conf)  directory  never        problem
  reloader   ConfigMap nginx-conf (nginx.conf)  directory  never        problem
  error ambiguous: reloadlet.io/signal could mean \"nginx\" and \"reloader\": name one of them with reloadlet.io/container

1 workload, 1 error: docs/check.md explains each code
";
    let text = deployment("web", "{annotations: {reloadlet.io/signal: HUP}}", spec);
    assert_eq!(said(&[("web.yaml", &text)]), expected);
    let without = spec.replace("{name: reloader, env", "{name: other, env").replace(
        "volumeMounts: [{name: conf, mountPath: /etc/nginx, readOnly: true}]}], volumes",
        "volumeMounts: []}], volumes",
    );
    let text = deployment("web", "{annotations: {reloadlet.io/signal: HUP}}", &without);
    let expected = "\
Deployment shop/web  (web.yaml:1)
  CONTAINER  OBJECT                             BY         ON A CHANGE  WHY
  nginx      ConfigMap nginx-conf (nginx.conf)  directory  SIGHUP

1 workload
";
    assert_eq!(said(&[("web.yaml", &text)]), expected);
}

#[test]
fn a_request_is_shown_and_judged_like_a_signal() {
    let spec = |more: &str| {
        format!(
            "{{{more}containers: [{{name: prometheus, ports: [{{name: web, containerPort: 9090}}], \
             volumeMounts: [{{name: config, mountPath: /etc/prometheus}}]}}], volumes: [{{name: config, configMap: {{name: prometheus}}}}]}}"
        )
    };
    let web = |http: &str, more: &str| {
        deployment("web", &format!("{{annotations: {{reloadlet.io/http: \"{http}\"}}}}"), &spec(more))
    };
    let expected = "\
Deployment shop/web  (web.yaml:1)
  CONTAINER   OBJECT                BY         ON A CHANGE          WHY
  prometheus  ConfigMap prometheus  directory  POST :9090/-/reload

1 workload
";
    assert_eq!(said(&[("web.yaml", &web(":web/-/reload", ""))]), expected);
    assert_eq!(
        found(&web(":9091/-/reload", ""))[0],
        "error port: reloadlet.io/http names port 9091, which container \"prometheus\" doesn't declare in its ports: it declares \
         \"9090 (web)\""
    );
    assert!(
        found(&web(":web/-/reload", "hostNetwork: true, "))[0]
            .starts_with("error host-network: reloadlet.io/http asks")
    );
    let text = web(":web/-/reload", "hostNetwork: true, ");
    let found = reloadlet_manifest::read(text.as_bytes(), reloadlet_manifest::Format::Yaml);
    let source = sources::Source { name: "web.yaml".to_owned(), is_listed: false, found: Ok(found) };
    let allowed = Allowed { host_network_http: true };
    let report = Report::of(vec![source], &BTreeSet::new(), Installed { allowed, ..Installed::default() });
    assert!(table::table(&report).contains("POST :9090/-/reload"), "agents with that flag make it");
}
