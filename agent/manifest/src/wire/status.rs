//! What a pod's status says of its containers.

use std::collections::BTreeMap;

use reloadlet_core::model::names::{ContainerId, Name};

use super::{Names, or_default};
use crate::room::{Few, Part, Words};

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    #[serde(deserialize_with = "or_default")]
    container_statuses: Few<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    init_container_statuses: Few<ContainerStatus>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: Option<Words>,
    #[serde(rename = "containerID")]
    container_id: Option<Words>,
}

impl Part for ContainerStatus {}

impl Status {
    /// The containers' IDs, by their names.
    pub(super) fn into_ids(self, names: &mut Names) -> BTreeMap<Name, ContainerId> {
        let all = self.container_statuses.into_iter().chain(self.init_container_statuses);
        all.filter_map(|status| {
            // A container that waits to be created has no ID yet.
            let id = ContainerId::from_status(&status.container_id?.0)?;
            Some((names.shared(status.name?), id))
        })
        .collect()
    }
}
