//! A pod with a real nginx, where it is installed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use standin::{ContainerSpec, Pod, PodSpec, VolumeSpec, http_get};

/// Where it listens: a free port on loopback.
#[derive(Debug)]
pub(crate) struct Nginx {
    address: SocketAddr,
}

impl Nginx {
    /// Takes a port, if there is an nginx to use it.
    pub(crate) fn find() -> Result<Option<Self>> {
        let path = std::env::var("PATH").unwrap_or_default();
        // Debian has it where a plain user's PATH doesn't look, but a container's does.
        let installed = |dir: &str| Path::new(dir).join("nginx").is_file();
        if !path.split(':').chain(["/usr/sbin", "/usr/bin"]).any(installed) {
            return Ok(None);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("can't find a free port")?;
        Ok(Some(Self { address: listener.local_addr().context("can't find a free port")? }))
    }

    /// Its pod: the whole configuration comes from a ConfigMap.
    pub(crate) fn pod(&self, name: &str, text: &str) -> PodSpec {
        let command = ["nginx", "-e", "/pod/error.log", "-c", "/conf/nginx.conf"];
        PodSpec::new(name)
            .annotation("reloadlet.io/signal", "SIGHUP")
            .volume(VolumeSpec::config_map("conf").key("nginx.conf", &self.conf(text)))
            .container(ContainerSpec::new("app", &command).mount("conf", "/conf"))
    }

    /// The file that makes it answer with this text.
    pub(crate) fn conf(&self, text: &str) -> String {
        format!(
            "daemon off;\nworker_processes 1;\npid /tmp/nginx.pid;\nerror_log /pod/error.log notice;\n\
             events {{ worker_connections 32; }}\n\
             http {{\n  access_log off;\n  server {{ listen {}; location / {{ return 200 \"{text}\"; }} }}\n}}\n",
            self.address
        )
    }

    /// What it answers now, if it does.
    pub(crate) fn serves(&self) -> Option<String> {
        http_get(self.address, "/").ok().filter(|answer| answer.status == 200).map(|answer| answer.body)
    }

    /// How often it says that it got the signal.
    pub(crate) fn signals(pod: &Pod) -> Result<usize> {
        let path: PathBuf = pod.exchange_dir().join("error.log");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        Ok(text.lines().filter(|line| line.contains("signal 1 (SIGHUP) received")).count())
    }
}
