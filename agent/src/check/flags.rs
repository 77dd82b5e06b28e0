//! The flags that Reloader runs with, as its Deployment has them.

use std::collections::BTreeSet;
use std::fmt;

use reloadlet_core::model::closed::Closed as _;
use reloadlet_core::model::names::Name;
use reloadlet_core::model::shown::{quoted, unquoted};
use reloadlet_core::policy::reloader::{self, Installation, ObjectType, Strategy};

use super::selector::Chooses;

/// How Reloader runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(super) installation: Installation,
    /// `--namespace-selector`.
    pub(super) namespaces: Chooses,
    /// `--resource-label-selector`.
    pub(super) objects: Chooses,
}

/// What is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlagError(String);

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FlagError {}

/// Flags that can stand without a value.
const SWITCHES: [&str; 5] =
    ["auto-reload-all", "sync-after-restart", "enable-ha", "enable-csi-integration", "enable-pprof"];

/// Flags that have a value.
const VALUES: [&str; 14] = [
    "is-Argo-Rollouts",
    "reload-on-create",
    "reload-on-delete",
    "reload-strategy",
    "webhook-url",
    "resources-to-ignore",
    "ignored-workload-types",
    "namespaces",
    "namespaces-to-ignore",
    "namespace-selector",
    "resource-label-selector",
    "log-format",
    "log-level",
    "pprof-addr",
];

/// The flags that give an annotation another name, with its own one.
const NAMES: [(&str, &str); 10] = [
    ("auto-annotation", reloader::AUTO),
    ("configmap-auto-annotation", ObjectType::ConfigMap.auto_key()),
    ("secret-auto-annotation", ObjectType::Secret.auto_key()),
    ("configmap-annotation", ObjectType::ConfigMap.reload_key()),
    ("secret-annotation", ObjectType::Secret.reload_key()),
    ("ignore-annotation", reloader::IGNORE),
    ("auto-search-annotation", reloader::SEARCH),
    ("search-match-annotation", reloader::MATCH),
    ("pause-deployment-annotation", reloader::PAUSE_PERIOD),
    ("pause-deployment-time-annotation", reloader::PAUSED_AT),
];

/// Reads them. They are parted as a shell does; the dash of a list in YAML may stand before each.
pub(super) fn parse(text: &str) -> Result<Flags, FlagError> {
    let words = shlex::split(text).ok_or_else(|| FlagError("a quotation mark has no end".to_owned()))?;
    let mut words = words.iter().map(String::as_str).filter(|word| *word != "-");
    let (mut flags, mut selectors) = (Flags::default(), [Vec::new(), Vec::new()]);
    while let Some(word) = words.next() {
        let flag = word.strip_prefix("--").filter(|flag| !flag.is_empty());
        let flag =
            flag.ok_or_else(|| FlagError(format!("{} is no flag: they begin with --", quoted(word))))?;
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        let is_known = SWITCHES.contains(&name) || VALUES.contains(&name) || own_name(name).is_some();
        if !is_known {
            return Err(FlagError(format!("Reloader 1.4 has no flag --{}", unquoted(name))));
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value),
            None if SWITCHES.contains(&flag) => (flag, "true"),
            None => {
                // Anything else is taken for the value, as Reloader does.
                let value =
                    words.next().ok_or_else(|| FlagError(format!("--{} has no value", unquoted(flag))))?;
                (flag, value)
            }
        };
        set(&mut flags, &mut selectors, name, value)?;
    }
    let [namespaces, objects] = &selectors;
    flags.namespaces = selector("namespace-selector", namespaces)?;
    flags.objects = selector("resource-label-selector", objects)?;
    Ok(flags)
}

fn set<'a>(
    flags: &mut Flags,
    [of_namespaces, of_objects]: &mut [Vec<&'a str>; 2],
    name: &str,
    value: &'a str,
) -> Result<(), FlagError> {
    let installation = &mut flags.installation;
    let truth = || truth(name, value);
    // Lists may be given several times.
    let items = || value.split(',').map(str::trim).filter(|item| !item.is_empty());
    match name {
        "auto-reload-all" => installation.auto_reload_all = truth()?,
        "is-Argo-Rollouts" => installation.rollouts = truth()?,
        "enable-csi-integration" => installation.classes = truth()?,
        "reload-on-create" => installation.on_create = truth()?,
        "reload-on-delete" => installation.on_delete = truth()?,
        "sync-after-restart" => installation.sync_after_restart = truth()?,
        "reload-strategy" => {
            let words = Strategy::ALL.map(Strategy::as_str);
            installation.strategy = Strategy::parse(value).ok_or_else(|| wrong(name, value, &words))?;
        }
        "webhook-url" => installation.calls_webhook = !value.is_empty(),
        "resources-to-ignore" => {
            for item in items() {
                installation.scope.without.insert(match item {
                    "configMaps" => ObjectType::ConfigMap,
                    "secrets" => ObjectType::Secret,
                    other => return Err(wrong(name, other, &["configMaps", "secrets"])),
                });
            }
        }
        "ignored-workload-types" => {
            for item in items() {
                match item {
                    "jobs" => installation.without_jobs = true,
                    "cronjobs" => installation.without_cron_jobs = true,
                    other => return Err(wrong(name, other, &["jobs", "cronjobs"])),
                }
            }
        }
        "namespaces" => extend(&mut installation.scope.namespaces, items()),
        "namespaces-to-ignore" => extend(&mut installation.scope.without_namespaces, items()),
        "namespace-selector" => of_namespaces.push(value),
        "resource-label-selector" => of_objects.push(value),
        // These change nothing of what is done with a workload.
        "enable-ha" | "enable-pprof" => drop(truth()?),
        other => {
            if let Some(own) = own_name(other).filter(|own| *own != value) {
                return Err(FlagError(format!(
                    "--{other} gives {own} another name, and check knows annotations by their usual names only"
                )));
            }
        }
    }
    Ok(())
}

/// The usual name of the annotation to which this flag gives another one.
fn own_name(flag: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|(name, _)| *name == flag).map(|(_, own)| own)
}

fn extend<'a>(names: &mut BTreeSet<Name>, items: impl Iterator<Item = &'a str>) {
    names.extend(items.map(Name::from));
}

/// A truth value as Go writes it.
fn truth(name: &str, value: &str) -> Result<bool, FlagError> {
    reloader::parse_bool(value).ok_or_else(|| wrong(name, value, &["true", "false"]))
}

fn wrong(name: &str, value: &str, allowed: &[&str]) -> FlagError {
    FlagError(format!("--{name} is {}, and {} is needed", quoted(value), allowed.join(" or ")))
}

fn selector(name: &str, texts: &[&str]) -> Result<Chooses, FlagError> {
    let text = texts.join(",");
    Chooses::parse(&text)
        .ok_or_else(|| FlagError(format!("--{name} is {}, which is no selector of labels", quoted(&text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_reloaders_deployment_has_them() {
        let Flags { installation, .. } = parse(
            "- --auto-reload-all=true\n- --is-Argo-Rollouts=true --reload-on-create true --sync-after-restart \
             --reload-strategy=annotations --enable-csi-integration --enable-ha --log-format=json \
             --resources-to-ignore=secrets --ignored-workload-types=jobs,cronjobs --namespaces=shop,blog --namespaces=news \
             --namespaces-to-ignore 'a, b' --auto-annotation=reloader.stakater.com/auto",
        )
        .unwrap();
        let expected = Installation {
            auto_reload_all: true,
            rollouts: true,
            classes: true,
            on_create: true,
            sync_after_restart: true,
            strategy: Strategy::Annotations,
            without_jobs: true,
            without_cron_jobs: true,
            scope: reloader::Scope {
                without: [ObjectType::Secret].into(),
                namespaces: ["shop", "blog", "news"].map(Name::from).into(),
                without_namespaces: ["a", "b"].map(Name::from).into(),
            },
            ..Installation::default()
        };
        assert_eq!(installation, expected);
        assert_eq!(parse(""), Ok(Flags::default()));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_sentence() {
        for (text, sentence) in [
            ("--is-argo-rollouts=true", "Reloader 1.4 has no flag --is-argo-rollouts"),
            ("auto-reload-all", "\"auto-reload-all\" is no flag: they begin with --"),
            ("--auto-reload-all true", "\"true\" is no flag: they begin with --"),
            ("--auto-reload-all=yes", "--auto-reload-all is \"yes\", and true or false is needed"),
            (
                "--reload-on-create --sync-after-restart",
                "--reload-on-create is \"--sync-after-restart\", and true or false is needed",
            ),
            ("--namespaces", "--namespaces has no value"),
            ("--x", "Reloader 1.4 has no flag --x"),
            (
                "--resources-to-ignore=pods",
                "--resources-to-ignore is \"pods\", and configMaps or secrets is needed",
            ),
            ("--reload-strategy=", "--reload-strategy is \"\", and env-vars or annotations is needed"),
            ("--namespace-selector=a>1", "--namespace-selector is \"a>1\", which is no selector of labels"),
            ("--webhook-url='x", "a quotation mark has no end"),
            (
                "--auto-annotation=a/b",
                "--auto-annotation gives reloader.stakater.com/auto another name, and check knows annotations by their usual names \
                 only",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), sentence, "{text}");
        }
    }
}
