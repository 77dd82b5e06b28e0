//! What the table says of the use of an object, as a spec.

use crate::model::names::Name;
use crate::model::object::ObjectKind;
use crate::model::pod::{
    Container, ContainerKind, Csi, EnvironmentSource, Item, ObjectSource, PodSpec, ProjectedSource, Volume,
    VolumeMount, VolumeSource,
};

fn environment(kind: ObjectKind, name: &str) -> EnvironmentSource {
    EnvironmentSource::new(kind, name.into(), None)
}

fn variable(kind: ObjectKind, name: &str) -> EnvironmentSource {
    EnvironmentSource { key: Some("a".into()), ..environment(kind, name) }
}

fn container(
    name: &str,
    kind: ContainerKind,
    volumes: &[&str],
    sources: Vec<EnvironmentSource>,
) -> Container {
    let mount = |volume: &&str| VolumeMount { volume: (*volume).into(), sub_path: None };
    Container {
        name: name.into(),
        kind,
        mounts: volumes.iter().map(mount).collect(),
        environment: sources,
        ..Container::default()
    }
}

fn source(name: &str) -> ObjectSource {
    ObjectSource { name: name.into(), ..ObjectSource::default() }
}

/// What a row says of the use of an object of this kind and name.
pub(super) fn spec(consumer: &str, kind: ObjectKind, name: &str) -> PodSpec {
    let regular = ContainerKind::Regular;
    let app = |volumes: &[&str], sources| container("app", regular, volumes, sources);
    let of = |source: ObjectSource| match kind {
        ObjectKind::ConfigMap => VolumeSource::ConfigMap(source),
        ObjectKind::Secret => VolumeSource::Secret(source),
    };
    let projected = |source: ObjectSource| match kind {
        ObjectKind::ConfigMap => ProjectedSource::ConfigMap(source),
        ObjectKind::Secret => ProjectedSource::Secret(source),
    };
    let volume = |name: &str, source| Volume { name: name.into(), source, csi: None };
    let own = || environment(kind, name);
    let (containers, volumes) = match consumer {
        "env.valueFrom key=a" => (vec![app(&[], vec![variable(kind, name)])], vec![]),
        "envFrom.configMapRef" | "envFrom.configMapRef optional=true" | "envFrom.secretRef" => {
            (vec![app(&[], vec![own()])], vec![])
        }
        "envFrom of both" => {
            let secret = environment(ObjectKind::Secret, "cred");
            (vec![app(&[], vec![own(), secret])], vec![])
        }
        "none" | "no CSI volume" | "serviceAccount secrets" => (vec![app(&[], vec![])], vec![]),
        "volume csi secretProviderClass=spc" => {
            let csi =
                Csi { driver: "secrets-store.csi.k8s.io".into(), class: Some(name.into()), read_only: true };
            let volume = Volume { csi: Some(csi), ..volume("v", VolumeSource::Other) };
            (vec![app(&["v"], vec![])], vec![volume])
        }
        "ephemeral container: envFrom" => {
            let debug = container("debug", ContainerKind::Ephemeral, &[], vec![own()]);
            (vec![app(&[], vec![]), debug], vec![])
        }
        "volume secret, directory mount"
        | "volume configMap, directory mount"
        | "volume configMap, directory mount; template reloadlet.io/signal=HUP" => {
            (vec![app(&["v"], vec![])], vec![volume("v", of(source(name)))])
        }
        "volume configMap items=[a], directory mount" => {
            let item = Item { key: "a".into(), path: Name::from("a").into() };
            let source = ObjectSource { items: vec![item], ..source(name) };
            (vec![app(&["v"], vec![])], vec![volume("v", of(source))])
        }
        "volume configMap, subPath mount of key a" => {
            let mut container = app(&["v"], vec![]);
            container.mounts[0].sub_path = Some(Name::from("a").into());
            (vec![container], vec![volume("v", of(source(name)))])
        }
        "volume projected [secret]" | "volume projected [configMap app]" => (
            vec![app(&["v"], vec![])],
            vec![volume("v", VolumeSource::Projected(vec![projected(source(name))]))],
        ),
        "volume projected [configMap app, secret cred]" => {
            let sources = vec![projected(source(name)), ProjectedSource::Secret(source("cred"))];
            (vec![app(&["v"], vec![])], vec![volume("v", VolumeSource::Projected(sources))])
        }
        "volume configMap declared but mounted by no container" => {
            (vec![app(&[], vec![])], vec![volume("v", of(source(name)))])
        }
        "two volumes of app: vol1 mounted by nobody, vol2 mounted" => (
            vec![app(&["vol2"], vec![])],
            vec![volume("vol1", of(source(name))), volume("vol2", of(source(name)))],
        ),
        "init container: envFrom" => {
            (vec![container("init", ContainerKind::Init, &[], vec![own()]), app(&[], vec![])], vec![])
        }
        "native sidecar (initContainer restartPolicy=Always): envFrom" => {
            (vec![container("side", ContainerKind::Sidecar, &[], vec![own()]), app(&[], vec![])], vec![])
        }
        "two containers use app (env)" => {
            let both = vec![variable(kind, name)];
            (vec![app(&[], both.clone()), container("second", regular, &[], both)], vec![])
        }
        "used by container 1 (app) and container 2 (other CM)" => {
            let other = environment(ObjectKind::ConfigMap, "other");
            let first = vec![environment(kind, "app")];
            (vec![container("first", regular, &[], first), app(&[], vec![other])], vec![])
        }
        "container 1 directory mount + signal; container 2 envFrom" => (
            vec![app(&["v"], vec![]), container("second", regular, &[], vec![own()])],
            vec![volume("v", of(source(name)))],
        ),
        other => panic!("a consumer that no test knows: {other}"),
    };
    PodSpec { containers, volumes, ..PodSpec::default() }
}
