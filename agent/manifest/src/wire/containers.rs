//! The containers of a pod: what they mount, and what their environments take.

use reloadlet_core::kernel::command::{runtime_of, supervisor_of};
use reloadlet_core::model::granted::Stop;
use reloadlet_core::model::names::is_label;
use reloadlet_core::model::pod::{Container, ContainerKind, Port, Restarts, VolumeMount};

use super::environment::{self, Environment, WrittenVariable, WrittenVariables};
use super::{Fault, Names, Something, or_default};
use crate::room::{Few, LongDetail, Part, ShortName, Words};

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenContainer {
    name: Option<Words>,
    restart_policy: Option<Words>,
    #[serde(deserialize_with = "or_default")]
    restart_policy_rules: Few<Something>,
    #[serde(deserialize_with = "or_default")]
    lifecycle: Lifecycle,
    #[serde(deserialize_with = "or_default")]
    volume_mounts: Few<WrittenMount>,
    #[serde(deserialize_with = "or_default")]
    env: Few<WrittenVariable>,
    #[serde(deserialize_with = "or_default")]
    env_from: Few<WrittenVariables>,
    #[serde(deserialize_with = "or_default")]
    ports: Few<WrittenPort>,
    command: LongDetail<Few<Words>>,
    args: LongDetail<Few<Words>>,
}

/// What happens to a container before it ends.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Lifecycle {
    pre_stop: Option<Something>,
    stop_signal: Option<ShortName>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenPort {
    name: Option<Words>,
    container_port: Option<i64>,
    protocol: Option<ShortName>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenMount {
    name: Option<Words>,
    sub_path: Option<Words>,
    sub_path_expr: Option<Words>,
}

impl Part for WrittenContainer {}
impl Part for WrittenMount {}

/// A request goes by TCP, which a port without a protocol is.
impl Part for WrittenPort {
    fn counts(&self) -> bool {
        self.protocol.as_ref().is_none_or(|protocol| protocol.0 == "TCP")
    }
}

/// What a restart policy says; nothing for one that doesn't exist.
pub(super) fn restarts(policy: &str) -> Option<Restarts> {
    match policy {
        "Always" => Some(Restarts::Always),
        "OnFailure" => Some(Restarts::OnFailure),
        "Never" => Some(Restarts::Never),
        _ => None,
    }
}

impl WrittenContainer {
    /// One of `spec.containers`.
    pub(super) fn into_regular(self, names: &mut Names) -> Result<Container, Fault> {
        self.into_container(ContainerKind::Regular, "spec.containers[].name", names)
    }

    /// One of `spec.initContainers`.
    pub(super) fn into_init(self, names: &mut Names) -> Result<Container, Fault> {
        let kind = match self.restart_policy.as_ref().map(|policy| &*policy.0) {
            Some("Always") => ContainerKind::Sidecar,
            Some(_) | None => ContainerKind::Init,
        };
        self.into_container(kind, "spec.initContainers[].name", names)
    }

    /// One of `spec.ephemeralContainers`.
    pub(super) fn into_ephemeral(self, names: &mut Names) -> Result<Container, Fault> {
        self.into_container(ContainerKind::Ephemeral, "spec.ephemeralContainers[].name", names)
    }

    fn into_container(
        self,
        kind: ContainerKind,
        field: &'static str,
        names: &mut Names,
    ) -> Result<Container, Fault> {
        let name = names.checked(self.name, is_label, field)?;
        let mounts = self.volume_mounts.into_iter().map(|mount| {
            let sub_path = [mount.sub_path, mount.sub_path_expr];
            let sub_path = sub_path.into_iter().flatten().find(|path| !path.0.is_empty());
            VolumeMount {
                volume: names.shared(mount.name.unwrap_or_default()),
                sub_path: sub_path.map(|path| names.path(path)),
            }
        });
        let mounts = mounts.collect();
        let Environment { sources, variables, arguments } = environment::read(
            self.env,
            self.env_from,
            self.command.0.iter().chain(self.args.0.iter()),
            names,
        );
        let ports = self.ports.into_iter().filter_map(|port| {
            let number = u16::try_from(port.container_port?).ok().filter(|number| *number > 0)?;
            Some(Port { name: port.name.map(|name| names.shared(name)), number })
        });
        let ports = ports.collect();
        // What an image runs by itself isn't known.
        let args = Some(self.args.0).filter(|_| self.command.0.len() > 0).unwrap_or_default();
        let restarts = self.restart_policy.as_ref().and_then(|policy| restarts(&policy.0));
        let words = || self.command.0.iter().chain(args.iter()).map(|word| word.0.as_str());
        let [supervisor, runtime] = [supervisor_of(words()), runtime_of(words())]
            .map(|name| name.map(|name| names.shared(Words(name.to_owned()))));
        let has_restart_rules = self.restart_policy_rules.len() > 0;
        let command = self.command.0.into_iter().chain(args).map(|word| names.shared(word)).collect();
        let environment = sources;
        Ok(Container {
            name,
            kind,
            mounts,
            environment,
            variables,
            arguments,
            command,
            supervisor,
            runtime,
            has_restart_rules,
            restarts,
            has_pre_stop: self.lifecycle.pre_stop.is_some(),
            stop: self.lifecycle.stop_signal.map(|text| Stop::parse(&text.0)),
            ports,
        })
    }
}
