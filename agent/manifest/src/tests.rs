use std::sync::Arc;

use reloadlet_core::model::pod::Pod;

use super::*;

mod bounds;
mod grants;
mod owners;
mod pods;
mod status;
mod workloads;

/// The pods of a text that is in memory, or what is wrong with it or with one of them.
fn decode(text: &str) -> Result<Vec<Arc<Pod>>, ManifestError> {
    let Decoded { pods, left_out } = super::decode(text.as_bytes())?;
    left_out.into_iter().next().map_or(Ok(pods), Err)
}

const UID: &str = "3f0c2b1a-7d52-4c63-9d4e-5a6b7c8d9e0f";
const OTHER_UID: &str = "4f0c2b1a-7d52-4c63-9d4e-5a6b7c8d9e0f";

/// A pod with one container, as short as can be.
fn pod(name: &str, uid: &str) -> String {
    format!(
        "kind: Pod\nmetadata: {{name: {name}, namespace: web, uid: {uid}}}\nspec: {{containers: [{{name: app}}]}}\n"
    )
}

fn annotated(annotations: &str) -> String {
    pod("a", UID).replace("namespace: web", &format!("namespace: web, annotations: {{{annotations}}}"))
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().map(|pod| &*pod.name).collect()
}

fn error(text: &str) -> String {
    decode(text).unwrap_err().to_string()
}

/// A pod that asks for a reload, with this in its spec beside a container.
fn asking(spec: &str) -> String {
    let metadata = format!(
        r#"{{"name": "a", "namespace": "web", "uid": "{UID}", "annotations": {{"reloadlet.io/signal": "HUP"}}}}"#
    );
    format!(
        r#"{{"kind": "Pod", "metadata": {metadata}, "spec": {{"containers": [{{"name": "app"}}]{spec}}}}}"#
    )
}

fn repeated(part: &str, times: usize) -> String {
    vec![part; times].join(",")
}

fn pod_json() -> String {
    format!(r#"{{"kind": "Pod", "metadata": {{"name": "a", "uid": "{UID}"}}}}"#)
}
