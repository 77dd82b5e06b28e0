//! The `process_*` metrics of the agent itself, with the names and units that every Prometheus client uses.

use std::fs;
use std::path::PathBuf;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Reads the agent's own numbers at each scrape. What can't be read keeps its last value.
#[derive(Clone)]
pub(super) struct ProcessCollector {
    proc_root: PathBuf,
    cpu: Counter,
    resident: Gauge,
    size: Gauge,
    threads: Gauge,
    start_time: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl ProcessCollector {
    pub(super) fn new(proc_root: PathBuf) -> Result<Self, prometheus::Error> {
        Ok(Self {
            proc_root,
            cpu: Counter::new("process_cpu_seconds_total", "Seconds of processor time, user and system.")?,
            resident: Gauge::new("process_resident_memory_bytes", "Resident memory in bytes.")?,
            size: Gauge::new("process_virtual_memory_bytes", "Virtual memory in bytes.")?,
            threads: Gauge::new("process_threads", "Threads.")?,
            start_time: Gauge::new(
                "process_start_time_seconds",
                "When the process started, in seconds since the Unix epoch.",
            )?,
            open_fds: Gauge::new("process_open_fds", "Open file descriptors.")?,
            max_fds: Gauge::new("process_max_fds", "The most file descriptors that may be open.")?,
        })
    }

    fn metrics(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu,
            &self.resident,
            &self.size,
            &self.threads,
            &self.start_time,
            &self.open_fds,
            &self.max_fds,
        ]
    }

    fn refresh(&self) {
        let text = fs::read_to_string(self.proc_root.join("self/stat")).unwrap_or_default();
        if let Some(stat) = Stat::parse(&text) {
            let ticks = clock_ticks_per_second() as f64;
            self.cpu.inc_by((stat.cpu_ticks as f64 / ticks - self.cpu.get()).max(0.0));
            self.resident.set(stat.resident_pages as f64 * page_size() as f64);
            self.size.set(stat.size_bytes as f64);
            self.threads.set(stat.threads as f64);
            // Once: the boot's time moves when the wall clock is set, and a changed start would look like a restart.
            if self.start_time.get() == 0.0
                && let Some(boot) = self.boot_time()
            {
                self.start_time.set(boot + stat.start_ticks as f64 / ticks);
            }
        }
        if let Ok(entries) = fs::read_dir(self.proc_root.join("self/fd")) {
            // One of them is the directory that is being read.
            self.open_fds.set(entries.count().saturating_sub(1) as f64);
        }
        // Without a limit there is no number to give.
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            self.max_fds.set(limit as f64);
        }
    }

    fn boot_time(&self) -> Option<f64> {
        let text = fs::read_to_string(self.proc_root.join("stat")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}

/// What counts of `/proc/<pid>/stat`, proc(5).
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    size_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses can hold anything; the first field after it is the third.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            size_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let numbers: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let stat = Stat::parse(&format!("7 (a) R 1 (b) S {}\n", numbers.join(" "))).unwrap();
        assert_eq!((stat.cpu_ticks, stat.threads, stat.start_ticks), (14 + 15, 20, 22));
        assert_eq!((stat.size_bytes, stat.resident_pages), (23, 24));
    }

    #[test]
    fn a_clock_that_is_set_looks_like_no_restart() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("self")).unwrap();
        let numbers: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        fs::write(directory.path().join("self/stat"), format!("7 (a) S {}\n", numbers.join(" "))).unwrap();
        let collector = ProcessCollector::new(directory.path().to_owned()).unwrap();
        let start = |btime: u32| {
            fs::write(directory.path().join("stat"), format!("cpu 1\nbtime {btime}\n")).unwrap();
            collector.refresh();
            collector.start_time.get()
        };
        let first = start(1_700_000_000);
        assert!(first >= 1_700_000_000.0, "{first}");
        assert_eq!(start(1_700_000_001), first);
    }

    #[test]
    fn what_cant_be_read_is_left_out_of_the_count_and_harms_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("self")).unwrap();
        for text in ["", "7 (a) S 1 2", "7 (a) S x y z"] {
            fs::write(directory.path().join("self/stat"), text).unwrap();
            let collector = ProcessCollector::new(directory.path().to_owned()).unwrap();
            assert_eq!(collector.collect().len(), 7);
            assert_eq!(collector.cpu.get(), 0.0);
        }
    }
}
