//! The agent's log lines about reloads.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// One reload, as the agent tells it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reload {
    message: String,
    pub(crate) pod: String,
    pub(crate) outcome: String,
    generations: String,
    pub(crate) pids: String,
    /// From the settle to the send.
    pub(crate) since_settle_us: u64,
}

impl Reload {
    /// Whether it brought this generation of a volume to this pod.
    pub(crate) fn is_of(&self, pod: &str, volume: &str, generation: &str) -> bool {
        let wanted = format!("{volume}={generation}");
        self.pod == pod && self.generations.split(',').any(|one| one == wanted)
    }
}

/// Reads what is new in the log each time.
#[derive(Debug)]
pub(crate) struct AgentLog {
    path: PathBuf,
    offset: u64,
    rest: String,
    /// Every reload so far.
    pub(crate) reloads: Vec<Reload>,
}

impl AgentLog {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0, rest: String::new(), reloads: Vec::new() }
    }

    pub(crate) fn read(&mut self) -> Result<()> {
        let mut text = String::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_string(&mut text)
        });
        read.with_context(|| format!("can't read {}", self.path.display()))?;
        self.offset += u64::try_from(text.len()).unwrap_or(0);
        self.rest.push_str(&text);
        while let Some((line, rest)) = self.rest.split_once('\n') {
            // Other messages have other fields.
            let reload = serde_json::from_str::<Reload>(line).ok();
            self.reloads.extend(reload.filter(|reload| reload.message == "reload"));
            self.rest = rest.to_owned();
        }
        Ok(())
    }

    /// The reloads that brought this generation.
    pub(crate) fn of(&self, pod: &str, volume: &str, generation: &str) -> Vec<&Reload> {
        self.reloads.iter().filter(|reload| reload.is_of(pod, volume, generation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_found_by_pod_volume_and_generation_and_a_cut_line_waits() {
        let path = std::env::temp_dir().join(format!("demo-log-{}", std::process::id()));
        let line = |pod: &str| {
            format!(
                r#"{{"message":"reload","pod":"{pod}","outcome":"delivered","generations":"a=..1,b=..2","pids":"7","since_settle_us":9}}"#
            )
        };
        let cut = line("two");
        std::fs::write(&path, format!("{{\"message\":\"ready\"}}\n{}\n{}", line("one"), &cut[..20])).unwrap();
        let mut log = AgentLog::new(&path);
        log.read().unwrap();
        assert_eq!(log.reloads.len(), 1);
        assert_eq!(log.of("one", "b", "..2").len(), 1);
        assert!(log.of("two", "b", "..2").is_empty() && log.of("one", "b", "..1").is_empty());
        std::fs::write(&path, format!("{{\"message\":\"ready\"}}\n{}\n{cut}\n", line("one"))).unwrap();
        log.read().unwrap();
        assert_eq!(log.of("two", "a", "..1").len(), 1);
        std::fs::remove_file(&path).unwrap();
    }
}
