//! What objects say of themselves.

use std::collections::BTreeSet;

use super::super::report::{Installed, Report};
use super::super::{sources, table};
use super::{deployment, found, said};

/// A Deployment whose one container is told of its volume's object by SIGHUP.
fn web(kind: &str) -> String {
    let volume = match kind {
        "Secret" => "secret: {secretName: cfg}",
        _ => "configMap: {name: cfg}",
    };
    let spec = format!(
        "{{containers: [{{name: a, volumeMounts: [{{name: c, mountPath: /c}}]}}], volumes: [{{name: c, {volume}}}]}}"
    );
    deployment("web", "{annotations: {reloadlet.io/signal: HUP}}", &spec)
}

fn object(kind: &str, annotations: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: cfg, namespace: shop, annotations: {{{annotations}}}}}\n{more}\n"
    )
}

/// What the table shows of the one use of an object.
fn row(text: &str) -> String {
    let said = said(&[("web.yaml", text)]);
    let row = said.lines().find(|line| line.starts_with("  a ")).unwrap();
    row.split_whitespace().skip(4).collect::<Vec<_>>().join(" ")
}

const IGNORED: &str = "reloadlet.io/ignore: \"true\"";

#[test]
fn nobody_is_told_of_an_ignored_object() {
    let text = web("ConfigMap") + &object("ConfigMap", IGNORED, "");
    assert_eq!(row(&text), "never ignored");
    assert_eq!(
        found(&text),
        ["hint ignored: ConfigMap \"cfg\" has reloadlet.io/ignore: nobody is told of its changes"]
    );
    for (value, shown) in [("false", "SIGHUP"), ("yes", "SIGHUP"), ("\"True\"", "SIGHUP")] {
        let text = web("ConfigMap")
            + &object("ConfigMap", &format!("reloadlet.io/ignore: \"{}\"", value.trim_matches('"')), "");
        assert_eq!(row(&text), shown, "{value}");
        let is_found = found(&text)
            .iter()
            .any(|line| line.starts_with("warning bad-value: ConfigMap \"cfg\": reloadlet.io/ignore is \""));
        assert_eq!(is_found, value != "false", "{value}");
    }
    let bare = web("ConfigMap") + &object("ConfigMap", "reloadlet.io/ignore: true", "");
    assert_eq!(row(&bare), "SIGHUP");
    assert!(found(&bare)[0].starts_with("warning not-text: ConfigMap \"cfg\": "), "{:?}", found(&bare));
}

#[test]
fn an_ignored_secret_counts_where_agents_see_it() {
    let text = web("Secret") + &object("Secret", IGNORED, "");
    assert_eq!(row(&text), "SIGHUP");
    let hint = "hint ignored: Secret \"cfg\" has reloadlet.io/ignore, which counts for nothing: agents see it only with --watch-secrets";
    assert!(found(&text)[0].starts_with(hint), "{:?}", found(&text));
    let found = Ok(reloadlet_manifest::read(text.as_bytes(), reloadlet_manifest::Format::Yaml));
    let source = sources::Source { name: "web.yaml".to_owned(), is_listed: false, found };
    let installed = Installed { watch_secrets: true, ..Installed::default() };
    let all = table::table(&Report::of(vec![source], &BTreeSet::new(), installed));
    assert!(all.contains("directory  never        ignored\n"), "{all}");
}

#[test]
fn an_ignored_object_is_no_reason_to_roll() {
    let asks = "namespace: shop, annotations: {reloader.stakater.com/auto: \"true\"}";
    let text = web("ConfigMap").replacen("namespace: shop", asks, 1) + &object("ConfigMap", IGNORED, "");
    let expected = "hint reloader-rolls: when ConfigMap \"cfg\" changes, Reloader 1.4 rolls it; reloadlet does nothing, as annotations say so";
    assert!(found(&text).contains(&expected.to_owned()), "{:?}", found(&text));
}

#[test]
fn what_never_changes_is_never_told() {
    let text = web("ConfigMap") + &object("ConfigMap", "", "immutable: true");
    assert_eq!(row(&text), "never immutable");
    assert_eq!(found(&text).len(), 1, "the hint");
}
