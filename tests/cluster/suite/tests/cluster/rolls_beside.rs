//! Somebody else who patches templates at once, as Reloader does, beside the controller: one roll for each change. Reloader itself isn't
//! in this test: a stand-in does what is known of it.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::{Child, ChildStdout};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use cluster_suite::rolls::{ROLLED, ROLLOUT, config_map, variable, with, workload};
use cluster_suite::space::{Space, kubectl_command, output, wait_until};

/// So many Deployments of each way to patch.
const COUNT: usize = 3;
/// Long enough for the stand-in to be first, also on a machine that does other things.
const DEBOUNCE: &str = "10s";

/// What is patched in a template.
#[derive(Clone, Copy)]
enum Way {
    /// A variable of the container that stands for the content.
    Variable,
    /// An annotation that stands for it.
    Annotation,
}

impl Way {
    fn patch(self, content: &str) -> Value {
        let template = match self {
            Self::Variable => {
                let variables = json!([{"name": "STAKATER_APP_CONFIGMAP", "value": format!("of {content}")}]);
                json!({"spec": {"containers": [{"name": "app", "env": variables}]}})
            }
            Self::Annotation => {
                let last = json!({"reloader.stakater.com/last-reloaded-from": format!("of {content}")});
                json!({"metadata": {"annotations": last}})
            }
        };
        json!({"spec": {"template": template}})
    }
}

/// Patches the Deployment of a changed ConfigMap's name at once, whatever its pods hold, as long as this lives. What changed before
/// its start is nothing to it.
struct Patcher {
    watch: Child,
    thread: Option<JoinHandle<()>>,
}

impl Patcher {
    /// One that has seen the ConfigMaps of these names.
    fn start(space: &Space, names: &[String], way: Way) -> Self {
        let mut watch = space.start_kubectl(&["get", "configmaps", "--watch", "-o", "json"]);
        let stdout = watch.stdout.take().unwrap();
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let thread = {
            let (namespace, names, seen) = (space.name().to_owned(), names.to_vec(), Arc::clone(&seen));
            std::thread::spawn(move || follow(stdout, &namespace, &names, &seen, way))
        };
        let patcher = Self { watch, thread: Some(thread) };
        wait_until("the stand-in has seen all ConfigMaps", || seen.lock().unwrap().len() == names.len());
        patcher
    }
}

impl Drop for Patcher {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.watch.kill());
        drop(self.watch.wait());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Patches for each change that a watch shows, until it ends. What it shows first of an object is what there was.
fn follow(
    watch: ChildStdout,
    namespace: &str,
    names: &[String],
    seen: &Mutex<BTreeMap<String, Value>>,
    way: Way,
) {
    // The last one may be cut.
    for object in serde_json::Deserializer::from_reader(BufReader::new(watch))
        .into_iter::<Value>()
        .map_while(Result::ok)
    {
        let (name, content) = (object["metadata"]["name"].as_str().unwrap(), &object["data"]["key"]);
        if !names.iter().any(|known| known == name) {
            continue;
        }
        let before = seen.lock().unwrap().insert(name.to_owned(), content.clone());
        if before.is_some_and(|before| before != *content) {
            let patch = way.patch(content.as_str().unwrap()).to_string();
            let args = ["-n", namespace, "patch", "deployment", name, "--type=strategic", "-p", &patch];
            if let Err(error) = output(kubectl_command(args)) {
                eprintln!("the stand-in: {error}");
            }
        }
    }
}

/// Deployments of one way to patch, in a namespace of their own.
struct Fleet {
    space: Space,
    names: Vec<String>,
    way: Way,
}

impl Fleet {
    fn start(space: Space, way: Way) -> Self {
        let names: Vec<String> = (0..COUNT).map(|n| format!("web-{n}")).collect();
        let maps = names.iter().map(|name| config_map(name, "one"));
        let workloads = names.iter().map(|name| {
            let mut deployment = workload("Deployment", name, &variable(name));
            deployment["metadata"]["annotations"].as_object_mut().unwrap().remove(ROLLOUT);
            deployment["spec"]["replicas"] = json!(2);
            let deployment = with(deployment, "reloadlet.io/debounce", DEBOUNCE);
            with(deployment, "reloader.stakater.com/auto", "true")
        });
        space.start_rolled(&maps.chain(workloads).collect::<Vec<_>>());
        Self { space, names, way }
    }

    fn patcher(&self) -> Patcher {
        Patcher::start(&self.space, &self.names, self.way)
    }

    /// What the controller takes the pods of each for holding.
    fn baselines(&self) -> BTreeMap<String, Value> {
        let all = self.space.remembered().into_iter();
        all.map(|(name, (_, record))| (name, record["base"].clone())).collect()
    }

    /// The Deployments that the controller has rolled, by their templates.
    fn marked(&self) -> usize {
        let is_marked = |one: &&Value| one["spec"]["template"]["metadata"]["annotations"][ROLLED].is_string();
        self.space.workloads().iter().filter(is_marked).count()
    }

    fn change(&self, content: &str) {
        self.names.iter().for_each(|name| self.space.change_object(name, content));
    }

    /// Waits until a change of each is rolled, and the controller is done with it; checks that nobody has more than these revisions.
    fn check(&self, before: &BTreeMap<String, Value>, content: &str, revisions: usize) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.space.wait_revisions(&names, revisions);
        names.iter().for_each(|name| self.space.wait_holds(name, content));
        wait_until("the controller takes the new content for what all pods hold", || {
            let now = self.baselines();
            names.iter().all(|name| now[*name] != before[*name])
        });
        wait_until("no roll is under way", || {
            names.iter().all(|name| ["None", "Done"].contains(&&*self.space.step(name)))
        });
        let expected: Vec<_> = names.iter().map(|name| (*name, revisions)).collect();
        self.space.assert_revisions(&expected);
    }
}

#[test]
fn who_patches_templates_at_once_and_the_controller_make_one_roll_for_each_change() {
    let Some(space) = Space::alone("rolls-beside") else { return };
    let other = space.beside("rolls-beside-annotation");
    let fleets = [Fleet::start(space, Way::Variable), Fleet::start(other, Way::Annotation)];
    let change = |content: &str, revisions: usize| {
        let before = fleets.each_ref().map(Fleet::baselines);
        fleets.iter().for_each(|fleet| fleet.change(content));
        for (fleet, before) in fleets.iter().zip(&before) {
            fleet.check(before, content, revisions);
        }
        fleets.each_ref().map(Fleet::marked)
    };

    let patchers = fleets.each_ref().map(Fleet::patcher);
    let beside = change("two", 2);
    assert_eq!(beside, [0, 0], "the stand-in was first");
    drop(patchers);
    let alone = change("three", 3);
    assert_eq!(alone, [COUNT, COUNT], "the controller was alone");
    let _patchers = fleets.each_ref().map(Fleet::patcher);
    let again = change("four", 4);
    let all = fleets.each_ref().map(|fleet| fleet.space.revisions());
    eprintln!(
        "3 changes of {COUNT} ConfigMaps for each of 2 ways to patch; rolled by the controller after each: {beside:?}, {alone:?}, \
         {again:?}: {all:?}"
    );
}
