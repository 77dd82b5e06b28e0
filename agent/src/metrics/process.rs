//! The `process_*` metrics of the agent itself, with the names and units that every Prometheus client uses.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use procfs::{FromReadSI, KernelStats};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

use crate::proc::stat;

/// The most bytes that are read of a file: `/proc/stat` has a line for each processor and a number for each interrupt.
const MOST_BYTES: u64 = 4 << 20;

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
        let text = self.read("self/stat").unwrap_or_default();
        if let Some(stat) = stat::parse(&text) {
            let ticks = procfs::ticks_per_second() as f64;
            let spent = (stat.utime as f64 + stat.stime as f64) / ticks;
            self.cpu.inc_by((spent - self.cpu.get()).max(0.0));
            self.resident.set(stat.rss as f64 * procfs::page_size() as f64);
            self.size.set(stat.vsize as f64);
            self.threads.set(stat.num_threads as f64);
            // Once: the boot's time moves when the wall clock is set, and a changed start would look like a restart.
            if self.start_time.get() == 0.0
                && let Some(boot) = self.boot_time()
            {
                self.start_time.set(boot + stat.starttime as f64 / ticks);
            }
        }
        if let Ok(entries) = fs::read_dir(self.proc_root.join("self/fd")) {
            // One of them is the directory that is being read; procfs counts what it opens itself.
            self.open_fds.set(entries.count().saturating_sub(1) as f64);
        }
        // Without a limit there is no number to give.
        if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE)
            && limit != RLIM_INFINITY
        {
            self.max_fds.set(limit as f64);
        }
    }

    fn boot_time(&self) -> Option<f64> {
        let text = self.read("stat").ok()?;
        let kernel = KernelStats::from_read(text.as_slice(), procfs::current_system_info()).ok()?;
        Some(kernel.btime as f64)
    }

    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        fs::File::open(self.proc_root.join(file))?.take(MOST_BYTES).read_to_end(&mut text)?;
        Ok(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let numbers: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let stat = stat::parse(format!("7 (a) R 1 (b) S {}\n", numbers.join(" ")).as_bytes()).unwrap();
        assert_eq!((stat.utime + stat.stime, stat.num_threads, stat.starttime), (14 + 15, 20, 22));
        assert_eq!((stat.vsize, stat.rss), (23, 24));
    }

    #[test]
    fn a_clock_that_is_set_looks_like_no_restart() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("self")).unwrap();
        let numbers: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        fs::write(directory.path().join("self/stat"), format!("7 (a) S {}\n", numbers.join(" "))).unwrap();
        let collector = ProcessCollector::new(directory.path().to_owned()).unwrap();
        let start = |btime: u32| {
            let text = format!("cpu  1 2 3 4\ncpu0 1 2 3 4\nctxt 5\nbtime {btime}\nprocesses 6\n");
            fs::write(directory.path().join("stat"), text).unwrap();
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
        for text in ["", "7 (a) S 1 2", "7 (a) S x y z", "7 (a)", "(a) S 1"] {
            fs::write(directory.path().join("self/stat"), text).unwrap();
            let collector = ProcessCollector::new(directory.path().to_owned()).unwrap();
            assert_eq!(collector.collect().len(), 7);
            assert_eq!(collector.cpu.get(), 0.0);
        }
    }
}
