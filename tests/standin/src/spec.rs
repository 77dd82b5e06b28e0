//! What a pod should be: plain data with builder methods.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Payload;

/// The kinds of volume that the kubelet publishes with an AtomicWriter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeKind {
    /// A directory on disk.
    ConfigMap,
    /// A tmpfs.
    Secret,
    /// A tmpfs.
    Projected,
    /// A tmpfs.
    DownwardApi,
    /// A tmpfs that a CSI driver mounts, and publishes into as the kubelet does.
    Csi,
}

impl VolumeKind {
    /// The directory's name below `volumes`.
    pub fn directory(self) -> &'static str {
        match self {
            Self::ConfigMap => "kubernetes.io~configmap",
            Self::Secret => "kubernetes.io~secret",
            Self::Projected => "kubernetes.io~projected",
            Self::DownwardApi => "kubernetes.io~downward-api",
            Self::Csi => "kubernetes.io~csi",
        }
    }

    /// The volume's place below that directory.
    pub fn place(self, name: &str) -> PathBuf {
        match self {
            Self::ConfigMap | Self::Secret | Self::Projected | Self::DownwardApi => name.into(),
            Self::Csi => Path::new(name).join("mount"),
        }
    }

    /// Whether a tmpfs is mounted on the directory.
    pub fn is_tmpfs(self) -> bool {
        self != Self::ConfigMap
    }
}

/// One volume of a pod.
#[derive(Debug, Clone)]
pub struct VolumeSpec {
    /// The volume's name in the pod.
    pub name: String,
    /// Its kind.
    pub kind: VolumeKind,
    /// The source as it stands in `spec.volumes[]`, e.g. `{"configMap": {"name": "web"}}`.
    pub source: Value,
    /// What is published before the containers start.
    pub payload: Payload,
    /// Whether the volume is made when the pod is added (else by [`crate::Pod::make_volume`] or
    /// [`crate::Pod::make_volume_late`]).
    pub make: bool,
}

impl VolumeSpec {
    /// A volume with a source of its own.
    pub fn new(name: &str, kind: VolumeKind, source: Value) -> Self {
        Self { name: name.to_owned(), kind, source, payload: Payload::new(), make: true }
    }

    /// A ConfigMap of the volume's name.
    pub fn config_map(name: &str) -> Self {
        Self::new(name, VolumeKind::ConfigMap, json!({ "configMap": { "name": name, "defaultMode": 420 } }))
    }

    /// A Secret of the volume's name.
    pub fn secret(name: &str) -> Self {
        Self::new(name, VolumeKind::Secret, json!({ "secret": { "secretName": name, "defaultMode": 420 } }))
    }

    /// A projected volume with one ConfigMap source of the volume's name.
    pub fn projected(name: &str) -> Self {
        let source =
            json!({ "projected": { "defaultMode": 420, "sources": [{ "configMap": { "name": name } }] } });
        Self::new(name, VolumeKind::Projected, source)
    }

    /// A downwardAPI volume with the pod's annotations in the file `annotations`.
    pub fn downward_api(name: &str) -> Self {
        let field = json!({ "apiVersion": "v1", "fieldPath": "metadata.annotations" });
        let item = json!({ "path": "annotations", "fieldRef": field });
        Self::new(
            name,
            VolumeKind::DownwardApi,
            json!({ "downwardAPI": { "defaultMode": 420, "items": [item] } }),
        )
    }

    /// An inline volume of a CSI driver, into which the pod can't write.
    pub fn csi(name: &str) -> Self {
        Self::new(name, VolumeKind::Csi, json!({ "csi": { "driver": "csi.example.org", "readOnly": true } }))
    }

    /// Sets the source, e.g. `{"secret": {"secretName": "tls"}}`.
    pub fn source(mut self, source: Value) -> Self {
        self.source = source;
        self
    }

    /// Adds a file to the first publication.
    pub fn key(mut self, path: &str, content: &str) -> Self {
        self.payload.insert(path.to_owned(), content.as_bytes().to_vec());
        self
    }

    /// Sets the first publication.
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Leaves the volume unmade when the pod is added.
    pub fn unmade(mut self) -> Self {
        self.make = false;
        self
    }
}

/// Where a container sees a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// The path in the container.
    pub path: String,
    /// One key only, which never changes in place.
    pub sub_path: Option<String>,
}

/// What a container is in the pod's spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContainerKind {
    /// `spec.containers`.
    #[default]
    Regular,
    /// `spec.initContainers` with `restartPolicy: Always`.
    Sidecar,
    /// `spec.initContainers`: it is run to its end before the others start.
    Init,
}

/// One container of a pod.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ContainerKind,
    /// Program and arguments, as the container's file system has them.
    pub command: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The volumes it mounts.
    pub mounts: Vec<Mount>,
    /// `securityContext.runAsUser` and `runAsGroup`; default root.
    pub user: Option<u32>,
    /// How long the process stays `runc:[2:INIT]` before it becomes the program.
    pub init_delay: Duration,
    /// Whether it starts with the pod.
    pub start: bool,
}

impl ContainerSpec {
    /// A container that runs `command`.
    pub fn new<S: AsRef<str>>(name: &str, command: &[S]) -> Self {
        Self {
            name: name.to_owned(),
            command: command.iter().map(|part| part.as_ref().to_owned()).collect(),
            start: true,
            ..Self::default()
        }
    }

    /// A container that runs the bundled workload (in the container: `/workload`) with `--log /pod/<name>.log` and
    /// these arguments. Without `--catch`, `--none`, `--pause` and the like it catches SIGHUP.
    pub fn workload(name: &str, args: &[&str]) -> Self {
        let log = format!("/pod/{name}.log");
        let mut command = vec!["/workload", "--log", &log];
        command.extend(args);
        Self::new(name, &command)
    }

    /// Makes it a native sidecar.
    pub fn sidecar(mut self) -> Self {
        self.kind = ContainerKind::Sidecar;
        self
    }

    /// Makes it an init container.
    pub fn init(mut self) -> Self {
        self.kind = ContainerKind::Init;
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Mounts a volume as a directory.
    pub fn mount(mut self, volume: &str, path: &str) -> Self {
        self.mounts.push(Mount { volume: volume.to_owned(), path: path.to_owned(), sub_path: None });
        self
    }

    /// Mounts one key of a volume.
    pub fn mount_sub_path(mut self, volume: &str, path: &str, sub_path: &str) -> Self {
        let sub_path = Some(sub_path.to_owned());
        self.mounts.push(Mount { volume: volume.to_owned(), path: path.to_owned(), sub_path });
        self
    }

    /// Runs it as this user and group.
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Keeps the process `runc:[2:INIT]` for so long; [`crate::Pod::start_container`] returns meanwhile.
    pub fn init_delay(mut self, delay: Duration) -> Self {
        self.init_delay = delay;
        self
    }

    /// Leaves the container to [`crate::Pod::start_container`].
    pub fn unstarted(mut self) -> Self {
        self.start = false;
        self
    }
}

/// The quality-of-service class, which is a level of the cgroup path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Qos {
    /// Directly below `kubepods`.
    Guaranteed,
    /// Below `kubepods/burstable`.
    Burstable,
    /// Below `kubepods/besteffort`.
    #[default]
    BestEffort,
}

/// One pod.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Its namespace; default `default`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; default a random one.
    pub uid: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its volumes.
    pub volumes: Vec<VolumeSpec>,
    /// Its containers of all kinds, in the order in which they start.
    pub containers: Vec<ContainerSpec>,
    /// `spec.shareProcessNamespace`.
    pub share_process_namespace: bool,
    /// `spec.runtimeClassName`.
    pub runtime_class: Option<String>,
    /// Its class.
    pub qos: Qos,
    /// Whether the pod's status has the container IDs.
    pub status: bool,
    /// Whether the containers start when the pod is added.
    pub start: bool,
    /// Merged (as a JSON merge patch) into the pod's object.
    pub patch: Value,
}

impl PodSpec {
    /// A pod in namespace `default`.
    pub fn new(name: &str) -> Self {
        Self {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: None,
            annotations: BTreeMap::new(),
            volumes: Vec::new(),
            containers: Vec::new(),
            share_process_namespace: false,
            runtime_class: None,
            qos: Qos::default(),
            status: true,
            start: true,
            patch: Value::Null,
        }
    }

    /// Sets the namespace.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// Sets the UID.
    pub fn uid(mut self, uid: &str) -> Self {
        self.uid = Some(uid.to_owned());
        self
    }

    /// Sets an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a volume.
    pub fn volume(mut self, volume: VolumeSpec) -> Self {
        self.volumes.push(volume);
        self
    }

    /// Adds a container.
    pub fn container(mut self, container: ContainerSpec) -> Self {
        self.containers.push(container);
        self
    }

    /// Gives all containers one PID namespace, with pause as its first process.
    pub fn share_process_namespace(mut self) -> Self {
        self.share_process_namespace = true;
        self
    }

    /// Sets `spec.runtimeClassName`.
    pub fn runtime_class(mut self, name: &str) -> Self {
        self.runtime_class = Some(name.to_owned());
        self
    }

    /// Sets the class.
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Leaves the container IDs out of the pod's status, as in the first seconds of a real one.
    pub fn without_status(mut self) -> Self {
        self.status = false;
        self
    }

    /// Starts no container when the pod is added.
    pub fn unstarted(mut self) -> Self {
        self.start = false;
        self
    }

    /// Merges something into the pod's object, e.g. an annotation that is not a string.
    pub fn patch(mut self, patch: Value) -> Self {
        self.patch = patch;
        self
    }
}
