//! What stands where it isn't read, and what no whole manifest is.

use super::*;

fn web(own: &str, template: &str) -> String {
    deployment("web", &format!("{{annotations: {{{template}}}}}"), LOGBACK).replacen(
        "name: web",
        &format!("name: web, annotations: {{{own}}}"),
        1,
    )
}

fn object(metadata: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: logback-configmap, {metadata}}}\ndata: {{a: b}}\n"
    )
}

/// The findings that begin so.
fn with(text: &str, beginning: &str) -> Vec<String> {
    found(text).into_iter().filter(|line| line.starts_with(beginning)).collect()
}

const MISPLACED: &str = "error misplaced-annotation: ";

#[test]
fn an_annotation_on_the_workload_is_found_where_the_template_has_another_value() {
    let misplaced = |of_template: &str| with(&web("reloadlet.io/signal: USR1", of_template), MISPLACED).len();
    assert_eq!(misplaced("reloadlet.io/signal: HUP"), 1);
    assert_eq!(misplaced("reloadlet.io/signal: USR1"), 0);
}

#[test]
fn a_replica_set_has_the_annotations_of_its_deployment_which_are_said_there() {
    let own = web("reloadlet.io/signal: HUP", "").replacen("kind: Deployment", "kind: ReplicaSet", 1);
    let owner = "name: web, ownerReferences: [{kind: Deployment, name: web, uid: u, controller: true}]";
    let owned = own.replacen("name: web", owner, 1);
    assert_eq!((with(&own, MISPLACED).len(), with(&owned, MISPLACED).len()), (1, 0));
}

#[test]
fn a_rollout_of_another_workload_is_sent_to_that_ones_template() {
    let text = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: a, annotations: {reloadlet.io/signal: HUP}}\n\
                spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: b}}\n";
    let all = with(text, MISPLACED);
    let remedy = "write it at spec.template.metadata.annotations of the workload that it refers to";
    assert!(all[0].ends_with(remedy), "{all:?}");
}

#[test]
fn annotations_of_ours_on_an_object_are_named() {
    let of = |annotations: &str| {
        let object = object(&format!("namespace: shop, annotations: {{{annotations}}}"));
        with(&(web("", "reloadlet.io/signal: HUP") + &object), "error ")
    };
    let read = "of objects only reloadlet.io/ignore is read";
    let name = "ConfigMap \"logback-configmap\"";
    assert_eq!(
        of("reloadlet.io/ignored: \"true\""),
        [format!("error unknown-key: {name} has reloadlet.io/ignored, which doesn't exist: {read}")]
    );
    assert_eq!(
        of("reloadlet.io/signal: HUP"),
        [format!("{MISPLACED}{name} has reloadlet.io/signal, which is one for pods: {read}")]
    );
    assert_eq!(of("reloadlet.io/ignore: \"false\", other.io/x: y"), [""; 0]);
}

#[test]
fn annotations_of_reloader_that_it_reads_elsewhere_are_named() {
    let auto = "reloader.stakater.com/auto: \"true\"";
    let misplaced = "warning reloader-misplaced: ";
    let asked = web(auto, "") + &object(&format!("namespace: shop, annotations: {{{auto}}}"));
    assert_eq!(
        with(&asked, misplaced),
        [format!(
            "{misplaced}ConfigMap \"logback-configmap\": reloader.stakater.com/auto on an object does nothing: it is for workloads"
        )]
    );
    let jobs = format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: a}}\nspec: {{jobTemplate: {{metadata: {{annotations: {{{auto}}}}}, \
         spec: {{template: {{spec: {LOGBACK}}}}}}}}}\n"
    );
    assert_eq!(
        with(&jobs, misplaced),
        [format!(
            "{misplaced}reloader.stakater.com/auto on the template of its Jobs does nothing: write it on the CronJob or on the template of \
             its pods"
        )]
    );
}

#[test]
fn a_namespace_writes_nothing_into_the_report() {
    let odd = r#"namespace: "a\e[31m\n::error::forged\u009b\u202e""#;
    let text = web("reloader.stakater.com/auto: \"true\"", "") + &object(odd);
    let as_commands = github::annotations(&report(&[("web.yaml", &text)], &[]));
    for text in [said(&[("web.yaml", &text)]), as_commands] {
        assert!(text.contains(r"in namespace a\u{1b}[31m"), "{text}");
        let is_odd = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(is_odd) && !text.contains("\n::error::forged"), "{text}");
    }
}

#[test]
fn of_a_directory_patches_are_left_out_and_of_files_that_somebody_names_they_arent() {
    let root = tempfile::tempdir().unwrap();
    let whole = web("", "reloadlet.io/signal: HUP").replacen("spec: {", "spec: {selector: {}, ", 1);
    let texts = [
        &*whole,
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n",
        "- {op: add, path: /spec/replicas, value: 3}\n",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n$patch: delete\n",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n\
         spec: {template: {metadata: {annotations: {reloadlet.io/splay: 1s}}, spec: {containers: [{name: nginx}]}}}\n",
    ];
    let mut paths = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let path = root.path().join(format!("{index}.yaml"));
        fs::write(&path, text).unwrap();
        paths.push(path);
    }
    let of = |paths: &[PathBuf]| Report::of(sources::read(paths), &BTreeSet::new(), Installed::default());
    let listed = of(&[root.path().to_owned()]);
    assert_eq!((listed.count, listed.others, listed.unreadable.len()), (1, 4, 0));
    let text = table::table(&listed);
    assert!(text.ends_with("1 workload, 4 documents that are no whole manifests\n"), "{text}");
    let named = of(&paths);
    assert_eq!((named.count, named.others, named.unreadable.len()), (2, 0, 3));
}

#[test]
fn a_path_that_no_key_is_shows_an_empty_directory() {
    let of = |path: &str, volume: &str| {
        let spec = format!(
            "{{containers: [{{name: nginx, volumeMounts: [{{name: config, mountPath: /c, subPath: {path}}}]}}], \
             volumes: [{{name: config, {volume}}}]}}"
        );
        let object = object("namespace: shop").replace("{a: b}", "{nginx.conf: b}");
        with(&(deployment("web", "{}", &spec) + &object), "warning empty-subpath")
    };
    let own = "configMap: {name: logback-configmap}";
    let expected = "warning empty-subpath: container \"nginx\" mounts by subPath \"ngnix.conf\" of volume \"config\", which no key of \
                    ConfigMap \"logback-configmap\" is: it shows an empty directory; \"nginx.conf\" is: is that one meant?";
    assert_eq!(of("ngnix.conf", own), [expected]);
    assert_eq!(of("nginx.conf", own), [""; 0]);
    assert_eq!(of("dir/a", own).len(), 1);
    let several = "projected: {sources: [{configMap: {name: logback-configmap}}, {secret: {name: b}}]}";
    assert_eq!(of("ngnix.conf", several), [""; 0]);
}

#[test]
fn a_claim_of_a_stateful_set_is_mounted_in_the_place_of_a_volume_of_its_name() {
    let text = deployment("web", "{annotations: {reloadlet.io/signal: HUP}}", LOGBACK);
    let text = text.replacen("Deployment", "StatefulSet", 1);
    let is_told = |text: &str| said(&[("web.yaml", text)]).contains("directory  SIGHUP\n");
    assert!(is_told(&text));
    let claims = "spec: {volumeClaimTemplates: [{metadata: {name: config}}], ";
    assert!(!is_told(&text.replacen("spec: {", claims, 1)));
}

#[test]
fn words_that_kubectl_takes_for_booleans_are_booleans() {
    let object = object("namespace: shop").replace("\ndata:", "\nimmutable: yes\ndata:");
    assert_eq!(with(&(web("", "reloadlet.io/signal: HUP") + &object), "hint immutable").len(), 1);
    let optional = LOGBACK.replace("{name: logback-configmap}", "{name: logback-configmap, optional: yes}");
    assert_eq!(report(&[("web.yaml", &deployment("web", "{}", &optional))], &[]).unreadable.len(), 0);
    let process = |word: &str| web("", &format!("reloadlet.io/signal: HUP, reloadlet.io/process: {word}"));
    assert_eq!(with(&process("on"), "error not-text").len(), 1);
    assert_eq!(found(&process("\"on\"")), [""; 0]);
}
