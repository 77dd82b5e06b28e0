//! The objects that the pods are made of, and what the API server says of them.

use std::collections::BTreeSet;

use super::{AT_A_TIME, MOST_NEWS, Machine, News};
use crate::machine::event::Action;
use crate::model::names::PodUid;
use crate::model::object::{ObjectRef, Observed};
use crate::model::time::Time;
use crate::propagation::strategy::Strategy;

impl Machine {
    /// A pod needs these objects to be watched, and no others.
    pub(super) fn need_objects(&mut self, uid: &PodUid, objects: BTreeSet<ObjectRef>, now: Time) {
        let changed = self.objects.set(uid, objects);
        // It is told of what is newest, and not of what was said before that.
        self.news.iter_mut().for_each(|news| news.pods.retain(|pod| pod != uid));
        self.actions.extend(changed.gone.into_iter().map(Action::Unobserve));
        self.actions.extend(changed.new.into_iter().map(Action::Observe));
        for (object, observed, at) in changed.known {
            self.with(uid, now, |pod, ctx| pod.observed(&object, &observed, at, ctx));
        }
    }

    pub(super) fn observed(&mut self, object: &ObjectRef, observed: Observed, at: Time, now: Time) {
        let (observed, pods) = self.objects.observed(object, observed, at);
        // What waits to be told takes room until then.
        self.objects.taken_in(object);
        self.news.push_back(News { object: object.clone(), observed, at, pods: pods.into() });
        self.spread_some(now);
        while self.news.len() > MOST_NEWS {
            self.spread_some(now);
        }
    }

    /// Tells some of the pods what the API server said of objects, in that order.
    pub(super) fn spread_some(&mut self, now: Time) {
        let mut done = 0;
        while done < AT_A_TIME {
            let Some(news) = self.news.front_mut() else { return };
            let (object, at) = (news.object.clone(), news.at);
            if let Some(uid) = news.pods.pop_front() {
                let observed = news.observed.clone();
                done += self.cost(&uid);
                self.with(&uid, now, |pod, ctx| pod.observed(&object, &observed, at, ctx));
                self.account(&uid);
            } else {
                self.news.pop_front();
                self.objects.taken_in(&object);
            }
        }
    }

    /// Counts what is kept of a pod's volumes. One for which there is no room isn't measured.
    pub(super) fn account(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let namespace = pod.pod().namespace.clone();
        for (name, cost) in pod.kept_files() {
            let key = (uid.clone(), name);
            let has_room = self.files.has_room(&namespace, &key, cost);
            if !has_room {
                pod.leave_unmeasured(&key.1);
            }
            self.files.set(&namespace, &key, if has_room { cost } else { 0 });
        }
    }

    /// For the pods that are known, and for those to come.
    pub(super) fn set_strategy(&mut self, strategy: Option<Strategy>, now: Time) {
        let accelerate = self.measuring.as_mut().and_then(|measuring| measuring.accelerate.as_mut());
        let Some(accelerate) = accelerate else { return };
        accelerate.strategy = strategy;
        let uids: Vec<PodUid> = self.pods.keys().cloned().collect();
        for uid in uids {
            self.with(&uid, now, |pod, _| pod.set_strategy(strategy));
        }
    }
}
