//! Lists of what a workload has, page for page.

use kube::core::params::ListParams;
use serde::de::DeserializeOwned;

use super::asker::Asker;
use crate::api::trouble::Trouble;

/// How many objects the API server sends at a time, where they fit into an answer.
const PAGE: u32 = 50;
/// The most objects of a list: of more nothing is decided.
const MOST: usize = 10_000;

/// Why nothing is known of what a workload has.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unlisted {
    #[error("API server")]
    Asked(#[from] Trouble),
    /// There is more than is kept of one.
    #[error("{0}, and of more nothing is decided")]
    TooMuch(&'static str),
}

impl From<serde_json::Error> for Unlisted {
    fn from(error: serde_json::Error) -> Self {
        Self::Asked(Trouble::garbage(&error))
    }
}

/// Gives away all objects of a collection whose labels are selected, each as soon as it is understood. Once one wasn't taken the others of
/// its page aren't offered, and no other page is asked for.
pub(super) async fn each<K: DeserializeOwned>(
    asker: &Asker,
    path: &str,
    selector: &str,
    mut take: impl FnMut(K) -> Result<(), Unlisted>,
) -> Result<(), Unlisted> {
    let (mut seen, mut page, mut token) = (0, PAGE, None);
    loop {
        let params = ListParams {
            label_selector: (!selector.is_empty()).then(|| selector.to_owned()),
            limit: Some(page),
            continue_token: token.clone(),
            ..ListParams::default()
        };
        let mut taken = Ok(());
        let answered = asker.each(path, &params, |object| {
            seen += 1;
            if taken.is_ok() {
                taken = take(object);
            }
        });
        let metadata = match answered.await {
            Err(Trouble::TooLarge) if page > 1 => {
                page /= 2;
                continue;
            }
            answered => answered?,
        };
        taken?;
        token = metadata.continue_.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(());
        }
        if seen > MOST {
            return Err(Trouble::Endless.into());
        }
        // Whoever else is on this thread, as the Lease's keeper is, comes before the next page.
        tokio::task::yield_now().await;
    }
}
