//! Pods with a ConfigMap each, of the pod's name: what happens to one pair says nothing of another.

use serde_json::Value;

use super::fleet::{Member, members, stamper, wait_old_enough};
use crate::space::{Space, config_map};

/// The pods.
pub struct Pairs {
    space: Space,
    members: Vec<Member>,
}

impl Pairs {
    /// Starts so many, with the agent's annotation and these, or gives `None` without a cluster.
    pub fn start(pods: usize, annotations: &[(&str, &str)]) -> Option<Self> {
        let space = Space::alone("bench")?;
        let pair = |number| -> [Value; 2] {
            let name = format!("app-{number}");
            let mut config_map = config_map("0");
            config_map["metadata"]["name"] = name.as_str().into();
            [config_map, stamper(&name, &name, annotations)]
        };
        space.start(&(0..pods).flat_map(pair).collect::<Vec<_>>());
        let members = members(&space);
        assert_eq!(members.len(), pods, "pods");
        wait_old_enough(&members);
        Some(Self { space, members })
    }

    pub(super) fn namespace(&self) -> &str {
        self.space.name()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }
}
