//! What is due, and what is done when nothing else is.

use std::io;
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use reloadlet_core::Time;
use reloadlet_core::machine::event::Event;

use super::{INOTIFY, INSTANCE_RETRY, NodeLoop, POLL, REPORTS_AT_A_TIME};
use crate::surveyor::Request;
use crate::{clock, reports};

impl NodeLoop {
    pub(super) fn timeout(&mut self) -> EpollTimeout {
        let left = self.time_left();
        left.map_or(EpollTimeout::NONE, clock::wait_of)
    }

    /// How long nothing is to be done; `None` until something happens.
    fn time_left(&mut self) -> Option<Duration> {
        if !self.reports.is_empty() || self.is_busy() {
            return Some(Duration::ZERO);
        }
        let rearm = self.parts.watcher.rearm_at();
        let look = self.parts.kubelet_root.next_look();
        let due = [self.parts.machine.poll_timeout(), self.next_poll, self.next_recheck, rearm]
            .into_iter()
            .chain([self.next_instance, look, self.shown.look_at()])
            .flatten()
            .min()?;
        Some(due.since(clock::now()))
    }

    /// Whether there is work that was put off for notifications to be taken in.
    pub(super) fn is_busy(&self) -> bool {
        let watcher = &self.parts.watcher;
        self.parts.machine.is_busy()
            || watcher.has_unplaced()
            || watcher.is_rechecking()
            || !self.line.is_empty()
    }

    pub(super) fn handle_timeouts(&mut self) {
        let now = clock::now();
        if self.parts.watcher.has_unplaced() {
            self.parts.watcher.place_some(now);
            self.take_sights();
        }
        if self.parts.watcher.is_rechecking() {
            self.parts.watcher.recheck_some(now);
            self.take_sights();
        }
        if self.parts.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.parts.machine.handle_timeout(now);
            self.run_actions();
        }
        if self.parts.watcher.rearm_at().is_some_and(|due| due <= now) {
            self.parts.watcher.rearm(now);
        }
        if self.next_recheck.is_some_and(|due| due <= now) {
            self.next_recheck = None;
            self.parts.watcher.recheck(true);
            for pod in self.parts.watcher.pods_with_barred() {
                self.ask_for_gates(pod);
            }
        }
        if self.next_poll.is_some_and(|due| due <= now) {
            self.next_poll = None;
            self.poll_volumes();
        }
        if self.next_instance.is_some_and(|due| due <= now) {
            self.retry_instance(now);
        }
        if self.parts.kubelet_root.next_look().is_some_and(|due| due <= now) {
            for pod in self.parts.kubelet_root.look_again() {
                self.request(Request::Home(pod));
            }
        }
        let watcher = &self.parts.watcher;
        let unready = !self.parts.startup.is_ready();
        if self.next_poll.is_none()
            && (watcher.polled().next().is_some()
                || watcher.awaits_publication()
                || unready
                || !self.unlisted.is_empty()
                || self.reads.has_failed())
        {
            self.next_poll = Some(now + POLL);
        }
    }

    /// Takes notifications of a new inotify instance in, and looks at everything that was only polled.
    pub(super) fn retry_instance(&mut self, now: Time) {
        self.next_instance = Some(now + INSTANCE_RETRY);
        if !self.parts.watcher.retry_instance() {
            return;
        }
        let Some(inotify) = self.parts.watcher.as_fd() else { return };
        if let Err(errno) = self.epoll.add(inotify, EpollEvent::new(EpollFlags::EPOLLIN, INOTIFY)) {
            let error = io::Error::from(errno);
            tracing::warn!(%error, "notifications can't be waited for: volumes are polled on");
            self.parts.watcher.drop_instance();
            return;
        }
        self.next_instance = None;
        tracing::info!("an inotify instance can be had: volumes are watched from now on");
        self.poll_volumes();
        // Containers that came or went weren't seen.
        for pod in self.parts.watcher.pods() {
            self.handle(Event::CgroupChanged(pod));
        }
    }

    pub(super) fn poll_volumes(&mut self) {
        for (volume, generation, reading) in self.reads.take_failed() {
            self.read(volume, generation, reading);
        }
        for volume in std::mem::take(&mut self.unlisted) {
            self.list(volume);
        }
        self.parts.watcher.retry_polled();
        self.parts.watcher.recheck(false);
    }

    pub(super) fn write_reports(&mut self) {
        for _ in 0..REPORTS_AT_A_TIME {
            let Some(report) = self.reports.pop_front() else { return };
            reports::write(&report, &self.parts.metrics);
            if let Some(api) = &self.parts.api {
                api.report(&report);
            }
        }
    }
}
