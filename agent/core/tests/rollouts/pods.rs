//! The pods of the cluster, and how they are restarted in place.

use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::{ContainerId, Name};
use reloadlet_core::model::pod::ContainerKind;
use reloadlet_core::model::restart::{Finding, Grant, Instance, Said};
use reloadlet_core::rollouts::event;
use reloadlet_core::rollouts::workload::WorkloadRef;

use crate::cluster::{BAD, Cluster, Deployed, Template, Values, moment, ms, number, whole};
use crate::rng::Rng;

#[derive(Clone, Debug)]
pub(crate) struct PodState {
    pub(crate) created: Time,
    pub(crate) template: Template,
    pub(crate) values: Values,
    pub(crate) available: Option<Time>,
    pub(crate) uid: u64,
    pub(crate) version: u64,
    /// Since when its container runs, which one of its name it is, and how often it was started again.
    pub(crate) started: Time,
    pub(crate) instance: u64,
    pub(crate) restarts: u32,
    /// What it was granted last, and what its agent has said of grants.
    pub(crate) grant: Option<Grant>,
    pub(crate) said: Vec<Said>,
}

impl PodState {
    /// Whether it was granted a restart that isn't over. One of which nothing has come for an hour is, whatever else keeps it from being
    /// available.
    pub(crate) fn is_restarted(&self, now: Time) -> bool {
        let hour = Duration::from_secs(3_600);
        let is_recent = |grant: &Grant| now < Time::since_boot(Duration::from_secs(grant.until)) + hour;
        let is_under_way =
            self.grant.as_ref().is_some_and(|grant| self.started_since(grant) || is_recent(grant));
        is_under_way && self.available.is_none_or(|at| at > now)
    }

    /// Whether another container runs than the one that a grant is for.
    fn started_since(&self, grant: &Grant) -> bool {
        grant.instance(&Name::from("app")) != Some(&self.instance())
    }

    fn instance(&self) -> Instance {
        Instance::of(&ContainerId::parse(&format!("{:012x}", self.instance).repeat(6)[..64]).unwrap())
    }
}

impl Cluster {
    pub(crate) fn pods(&self, who: &WorkloadRef, now: Time) -> Vec<event::Pod> {
        let Some(workload) = self.workloads.get(who) else { return Vec::new() };
        workload.pods.iter().map(|pod| workload.shown_pod(pod, now)).collect()
    }

    /// What a pod's agent has said.
    pub(crate) fn said_of(&self, who: &WorkloadRef, name: &Name) -> Vec<Said> {
        let pods = self.workloads.get(who).into_iter().flat_map(|workload| &workload.pods);
        let mut mine = pods.filter(|pod| format!("pod-{}", pod.uid) == **name);
        mine.next().map(|pod| pod.said.clone()).unwrap_or_default()
    }

    /// A pod gets a grant, if it is what it was.
    pub(crate) fn grant(&mut self, who: &WorkloadRef, restart: &event::Restart) -> bool {
        let version = self.version();
        let Some(workload) = self.workloads.get_mut(who) else { return false };
        let is_meant = |pod: &&mut PodState| {
            (number(pod.uid), number(pod.version)) == (restart.uid.clone(), restart.version.clone())
        };
        let Some(pod) = workload.pods.iter_mut().find(is_meant) else { return false };
        pod.grant = Some(restart.grant.clone());
        pod.version = version;
        true
    }

    /// A pod's container ends, and is started again with what there is then; `grant` if it was for that.
    pub(crate) fn restart(
        &mut self,
        who: &WorkloadRef,
        uid: u64,
        grant: Option<&Grant>,
        rng: &mut Rng,
        now: Time,
    ) -> bool {
        let (fresh, version) = (self.values(who), self.version());
        let Some(workload) = self.workloads.get_mut(who) else { return false };
        let refuses = workload.refuses;
        let Some(pod) = workload.pods.iter_mut().find(|pod| pod.uid == uid) else { return false };
        // Who works by now doesn't end by itself.
        if grant.is_none() && pod.available.is_some() {
            return false;
        }
        if let Some(grant) = grant {
            let is_meant = grant.instance("app") == Some(&pod.instance()) && now <= moment(grant.until);
            if !is_meant || pod.grant.as_ref() != Some(grant) {
                return false;
            }
            if let Some(finding) = refuses {
                let said = |finding| Said { marker: grant.marker.clone(), until: grant.until, finding };
                pod.said.extend(finding.map(said));
                if finding == Some(Finding::StillRuns) {
                    // It doesn't take anything any more.
                    (pod.available, pod.version) = (None, version);
                    (workload.version, workload.stuck) = (version, Some(now));
                }
                return false;
            }
        }
        pod.restarts += 1;
        (pod.instance, pod.version, pod.started) = (version, version, now);
        let said = |grant: &Grant| Said {
            marker: grant.marker.clone(),
            until: grant.until,
            finding: workload.finds,
        };
        pod.said.extend(grant.map(said));
        let is_bad = fresh.values().any(|value| value % 10 == BAD);
        pod.values = fresh;
        pod.available = (!is_bad).then(|| now + ms(500 + rng.below(3_000)));
        workload.version = version;
        workload.stuck = Some(now);
        true
    }
}

impl Deployed {
    fn shown_pod(&self, pod: &PodState, now: Time) -> event::Pod {
        event::Pod {
            name: format!("pod-{}", pod.uid).as_str().into(),
            uid: number(pod.uid),
            version: number(pod.version),
            created: whole(pod.created),
            revision: self.made(&pod.template).map(whole),
            is_current: pod.template == self.template,
            is_ready: pod.available.is_some_and(|at| at <= now),
            grant: pod.grant.clone(),
            grace: self.grace,
            containers: vec![event::PodContainer {
                name: "app".into(),
                kind: ContainerKind::Regular,
                since: Some(pod.started),
                instance: Some(pod.instance()),
                restarts: pod.restarts,
                obstacle: None,
            }],
            ..event::Pod::default()
        }
    }
}
