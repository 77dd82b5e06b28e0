//! Wires everything together: which thread does what, and who ends whom.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use reloadlet_core::model::pod::Pod;
use reloadlet_core::propagation::measuring::Measuring;
use reloadlet_core::propagation::nudge::Accelerate;
use reloadlet_core::{Event, Machine};
use rustix::process::Signal;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::api;
use crate::api::cluster::Cluster;
use crate::api::events::{Notes, Speaks};
use crate::api::fence::Trial;
use crate::api::objects::WantedObjects;
use crate::api::side::ApiSide;
use crate::calls;
use crate::cli::{AgentConfig, PodSource};
use crate::clock;
use crate::clock::wall::WallClock;
use crate::contact::Contact;
use crate::digest;
use crate::health::{Ailment, Health};
use crate::holder::{self, Holder};
use crate::home::{self, Homes};
use crate::http::{Answer, Endpoints, Readiness, Server};
use crate::inbox::{Inbound, Inbox};
use crate::journal::{JournalConfig, JournalEvent, JournalHandle};
use crate::kubelet_root::KubeletRoot;
use crate::lack::{Lacks, descriptor_limit};
use crate::landlock::{Confined, LandlockError};
use crate::logs::{Causes, Missing};
use crate::metrics::Metrics;
use crate::node_loop::{NodeLoop, Parts, Startup};
use crate::own_reads::OwnReads;
use crate::pods_file::{PodsFile, PodsFileEvent};
use crate::proc::ProcRoot;
use crate::raw_slice;
use crate::status;
use crate::surveyor::Surveyor;
use crate::watcher::Watcher;

/// How long a question waits that the loop's inbox has no room for.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// With fewer the agent can't watch, serve and ask the API server.
const FEWEST_DESCRIPTORS: u64 = 32;

/// Runs the agent until SIGTERM or SIGINT, or until something that it can't do without fails.
pub(crate) fn agent(
    config: &AgentConfig,
    confined: Result<Confined, LandlockError>,
    missing: Missing,
) -> Result<()> {
    holder::try_pidfds()?;
    ensure!(
        std::process::id() != 1,
        "the agent is the first process of a PID namespace of its own and sees no other pod's processes: its pod needs hostPID: true"
    );
    ensure!(digest::make_key(), "the kernel gives no random bytes: contents can't be compared without a key");
    // Held processes take a descriptor each.
    let descriptors = descriptor_limit();
    ensure!(
        descriptors >= FEWEST_DESCRIPTORS,
        "the agent may have only {descriptors} files open (RLIMIT_NOFILE): it needs {FEWEST_DESCRIPTORS}, and one more for each \
         process that it may have to signal"
    );
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime of the API and HTTP")?;
    runtime.spawn(missing.warn());
    forbid_death_by_file_size(&runtime).context("can't handle SIGXFSZ")?;
    let server = Server::bind(config.listen, config.admin_listen)?;
    let metrics = Arc::new(Metrics::new().context("can't set up the metrics")?);
    let (health, contact) = (Health::new(), Contact::new());
    let confined = is_confined(confined);
    metrics.set_confined(confined);
    health.set(Ailment::Confinement, !confined);
    let (inbox, receiver, wake) = Inbox::new().context("can't make an eventfd")?;
    let ready = Arc::new(AtomicBool::new(false));

    let proc = ProcRoot::new(config.proc_root.clone());
    let no_proc = || {
        format!("--proc-root {} shows no proc file system with the agent in it", config.proc_root.display())
    };
    proc.see_itself().with_context(no_proc)?;
    let wall = WallClock::default();
    wall.look();
    let journal = start_journal(config, wall.clone(), &inbox, &metrics, &health)?;
    let (own_reads, lacks) = (OwnReads::default(), Lacks::default());
    let surveyor = {
        let (inbox, own_reads, known) = (inbox.clone(), own_reads.clone(), (lacks.clone(), wall.clone()));
        let homes = Homes::new(&config.kubelet_root, config.proc_root.clone());
        let report = move |finding| inbox.send(Inbound::Finding(finding));
        Surveyor::start(proc.clone(), config.cgroup_root.clone(), homes, own_reads, known, report)
            .context("can't start a thread")?
    };
    let (calls, caller) = calls::channel(proc.clone(), inbox.clone());
    runtime.spawn(caller.run());
    let machine = match &config.pods {
        PodSource::Node(node) => Machine::measuring(Measuring {
            secrets: config.watch_secrets,
            accelerate: config.accelerate.map(|spread| Accelerate::new(node, spread)),
        }),
        PodSource::File(_) => Machine::new(),
    };
    let mut parts = Parts {
        machine: machine.allowing(config.allowed),
        watcher: Watcher::new(&config.kubelet_root, own_reads),
        holder: Holder::new(proc.clone(), config.dry_run),
        surveyor,
        calls,
        proc,
        journal: journal.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
        inbox: receiver,
        wake,
        startup: Startup::new(ready.clone(), config.kubelet_root.join("pods")),
        wall,
        api: None,
        kubelet_root: KubeletRoot::new(config.kubelet_root.clone()),
        lacks,
    };
    let sees_mounts = home::sees_later_mounts(&config.kubelet_root.join("pods"), &config.proc_root);
    health.set(Ailment::MountPropagation, !sees_mounts);
    if !sees_mounts {
        tracing::warn!(
            kubelet_root = %config.kubelet_root.display(),
            "what the kubelet mounts after the agent's start isn't seen, as Secrets of new pods: the mount of its directory of pods needs \
             mountPropagation: HostToContainer"
        );
    }
    let mount_table = File::open(config.proc_root.join("self/mountinfo"))
        .inspect_err(|error| tracing::warn!(%error, "changes of mounts can't be seen: volumes are looked at each second"))
        .ok();
    health.set(Ailment::MountTable, mount_table.is_none());
    let pods_file = match &config.pods {
        PodSource::File(file) => Some(follow_file(file, &inbox, health.clone())?),
        PodSource::Node(node) => {
            let cluster = runtime.block_on(Cluster::infer(contact.clone()))?;
            metrics.follow_contact(contact.clone()).context("can't set up the metrics")?;
            let (notes, objects) =
                follow_node(&runtime, cluster.clone(), node.clone(), config.watch_secrets, inbox.clone());
            let mut nudges = None;
            if config.accelerate.is_some() {
                let (metrics, health) = (metrics.clone(), health.clone());
                let found = move |open| {
                    metrics.set_fence_open(open);
                    health.set(Ailment::Fence, open);
                };
                let needed = !config.without_fence;
                let (gate, prover) = api::fence::channel(cluster.clone(), Trial::Nudge, needed, found);
                runtime.spawn(prover.run());
                let (queue, sender) = api::nudges::channel(cluster, inbox.clone(), gate);
                runtime.spawn(sender.run());
                nudges = Some(queue);
            }
            parts.api = Some(ApiSide::new(notes, objects, nudges));
            if let Some(address) = config.kubelet {
                runtime.spawn(api::kubelet::follow(address, inbox.clone()));
            }
            None
        }
    };
    let node_loop = NodeLoop::new(parts, mount_table.as_ref())?;

    let (ended, loop_ended) = oneshot::channel::<()>();
    let looping = thread::Builder::new()
        .name("loop".to_owned())
        .spawn(move || {
            if let Err(error) = raw_slice::shorten() {
                tracing::debug!(%error, "the thread that delivers waits for its turn as others do");
            }
            let result = node_loop.run();
            // Dropping the sender says it.
            drop(ended);
            result
        })
        .context("can't start a thread")?;

    let (listen, admin_listen) = server.addresses().context("can't tell the served addresses")?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pods = ?config.pods,
        dry_run = config.dry_run,
        kubelet_root = %config.kubelet_root.display(),
        %listen,
        %admin_listen,
        "started"
    );
    let endpoints = endpoints(&inbox, metrics, ready, config.node.clone(), health, contact);
    let served = runtime.block_on(serve(server, endpoints, loop_ended));
    // Connections to the API server needn't end in an orderly way.
    runtime.shutdown_background();
    inbox.send(Inbound::Stop);
    let looped = looping.join().map_err(|_panic| anyhow!("the loop ended unexpectedly"))?;
    if let Some(file) = pods_file {
        file.stop();
    }
    let complete = journal.close();
    tracing::info!(journal_complete = complete, "stopped");
    looped?;
    served
}

/// A write beyond the limit of file sizes (RLIMIT_FSIZE) fails from now on, as on a full disk, and no signal ends the agent.
fn forbid_death_by_file_size(runtime: &Runtime) -> io::Result<()> {
    let _context = runtime.enter();
    // Nobody waits for it: that there is a handler is enough, and it stays when this is dropped.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// Whether nothing outside the state directory can be written any more.
fn is_confined(confined: Result<Confined, LandlockError>) -> bool {
    match confined {
        Ok(Confined::Fully) => return true,
        Ok(Confined::Partly) => {
            tracing::warn!(
                "this kernel knows only part of Landlock: not every way to write files is given up"
            );
        }
        Ok(Confined::Not) => {
            tracing::warn!(
                "this kernel has no Landlock: the agent could write files outside its state directory"
            );
        }
        Err(error) => tracing::warn!(
            error = %Causes(&error),
            "Landlock failed: the agent could write files outside its state directory"
        ),
    }
    false
}

fn start_journal(
    config: &AgentConfig,
    wall: WallClock,
    inbox: &Inbox,
    metrics: &Arc<Metrics>,
    health: &Health,
) -> Result<JournalHandle> {
    let (inbox, metrics, health) = (inbox.clone(), metrics.clone(), health.clone());
    let journal = JournalConfig {
        state_dir: config.state_dir.clone(),
        boot_id: config.proc_root.join("sys/kernel/random/boot_id"),
        locks: config.proc_root.join("locks"),
        wall,
    };
    let on_event = move |event| match event {
        JournalEvent::Opened(snapshot) => inbox.send(Inbound::Event(Event::JournalRead(snapshot))),
        JournalEvent::Flushed => inbox.send(Inbound::JournalFlushed),
        JournalEvent::InMemory(in_memory) => {
            metrics.set_journal_in_memory(in_memory);
            health.set(Ailment::Journal, in_memory);
        }
        JournalEvent::Held(held) => {
            metrics.set_journal_held(held);
            health.set(Ailment::JournalHeld, held);
        }
    };
    Ok(JournalHandle::start(journal, on_event)?)
}

fn follow_file(file: &Path, inbox: &Inbox, health: Health) -> Result<PodsFile> {
    let inbox = inbox.clone();
    let mut known = BTreeMap::new();
    let mut left_alone = 0;
    let on_event = move |event| match event {
        PodsFileEvent::Pods(pods) => {
            // What the loop has to compare is compared here.
            let asking = pods.into_iter().filter(|pod| pod.spec.asks()).map(|pod| {
                let same = known.get(&pod.uid).filter(|same: &&Arc<Pod>| **same == pod);
                same.cloned().unwrap_or(pod)
            });
            let pods: Vec<Arc<Pod>> = asking.collect();
            known = pods.iter().map(|pod| (pod.uid.clone(), pod.clone())).collect();
            health.count(Ailment::PodsLeftAlone, std::mem::take(&mut left_alone));
            health.set(Ailment::PodsFile, false);
            inbox.send(Inbound::Event(Event::PodsSynced(pods)));
        }
        PodsFileEvent::LeftAlone(sentence, pods) => {
            left_alone += pods;
            tracing::warn!("{sentence}");
        }
        PodsFileEvent::Broken(sentence) => {
            health.set(Ailment::PodsFile, true);
            tracing::warn!("{sentence}");
        }
    };
    Ok(PodsFile::follow(file, on_event)?)
}

/// Follows the node's pods and their objects on the API server, and sends Events there.
fn follow_node(
    runtime: &Runtime,
    cluster: Cluster,
    node: String,
    watch_secrets: bool,
    inbox: Inbox,
) -> (Notes, WantedObjects) {
    let _context = runtime.enter();
    let (notes, sender) = api::events::channel(cluster.clone(), Speaks::of_node(&node));
    runtime.spawn(sender.run());
    let (objects, watches) = api::objects::channel(cluster.clone(), watch_secrets, inbox.clone());
    runtime.spawn(watches.run());
    runtime.spawn(async move { api::pods::follow(cluster, &node, &inbox).await });
    (notes, objects)
}

fn endpoints(
    inbox: &Inbox,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    node: Option<String>,
    health: Health,
    contact: Contact,
) -> Endpoints {
    let (ping, status) = (inbox.clone(), inbox.clone());
    Endpoints {
        metrics: Box::new(move |now| metrics.encode(now)),
        ready: Box::new(move || {
            if ready.load(Ordering::Relaxed) {
                Readiness::Ready
            } else {
                Readiness::NotReady(
                    "waiting for the journal, the pods, or the first look at a volume".to_owned(),
                )
            }
        }),
        live: Box::new(move || {
            let ping = ping.clone();
            let turned: Answer<()> = Box::pin(async move {
                loop {
                    let (answer, answered) = oneshot::channel();
                    // A full inbox says that there is much to do, not that the loop stands still.
                    if ping.try_send(Inbound::Ping(answer)) {
                        if answered.await.is_ok() {
                            return;
                        }
                        // The server's limit makes this an error.
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep(ROOM_PAUSE).await;
                }
            });
            turned
        }),
        status: Box::new(move || {
            let (answer, answered) = oneshot::channel();
            let asked = status.try_send(Inbound::Status(answer));
            let (node, health, contact) = (node.clone(), health.clone(), contact.clone());
            Box::pin(async move {
                let busy = || "the loop has too much to do to answer".to_owned();
                if !asked {
                    return Err(busy());
                }
                let pods = answered.await.map_err(|_ended| busy())?;
                status::document(node.as_deref(), pods, &health, &contact, clock::now())
                    .map_err(|error| error.to_string())
            })
        }),
    }
}

/// Serves until a signal comes or the loop ends.
async fn serve(server: Server, endpoints: Endpoints, loop_ended: oneshot::Receiver<()>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.serve(endpoints, stopped));
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        _ = loop_ended => {}
    }
    stop.send_replace(true);
    serving.await.context("the HTTP server ended unexpectedly")?.context("can't serve HTTP")
}
