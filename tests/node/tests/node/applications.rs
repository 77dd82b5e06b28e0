//! Real applications, as Debian ships them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use standin::{ContainerSpec, PodSpec, VolumeSpec, http_get, payload, wait_until};

use crate::support::{LIMIT, Rig, SIGNAL, Setup, children};

/// A port of loopback that is free now. The containers share the host's network.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn wait_body(rig: &Rig, port: u16, body: &str) {
    let served = || http_get(local(port), "/").is_ok_and(|answer| answer.body.trim() == body);
    let output = || std::fs::read_to_string(rig.pod("web").container("app").unwrap().output);
    wait_until(LIMIT, body, served)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", rig.tail(), output().unwrap()));
}

/// A pod `web` with the volume `conf` at `/conf`.
fn pod(signal: &str, file: &str, content: &str, command: &[&str]) -> PodSpec {
    PodSpec::new("web")
        .namespace("web")
        .annotation(SIGNAL, signal)
        .volume(VolumeSpec::config_map("conf").key(file, content))
        .container(ContainerSpec::new("app", command).mount("conf", "/conf"))
}

#[test]
fn nginx_serves_the_new_content_and_its_workers_end_gracefully() {
    let port = free_port();
    let conf = |body: &str| {
        format!(
            "daemon off; worker_processes 2; error_log stderr; pid /tmp/nginx.pid;\nevents {{}}\n\
             http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ return 200 {body}; }} }} }}\n"
        )
    };
    let command = ["/usr/sbin/nginx", "-c", "/conf/nginx.conf"];
    let spec = pod("SIGHUP", "nginx.conf", &conf("one"), &command);
    let Some(rig) = Setup::new().programs(&["nginx"]).start(vec![spec]) else { return };
    let web = rig.pod("web");
    wait_body(&rig, port, "one");
    let master = web.container("app").unwrap().pid;
    let old = children(master);
    assert_eq!(old.len(), 2);

    // A request under way keeps its worker: a signalled one would drop it.
    let mut request = TcpStream::connect(local(port)).unwrap();
    request.write_all(b"GET / HTTP/1.0\r\n").unwrap();
    web.update("conf", payload([("nginx.conf", &conf("two"))])).unwrap();
    wait_body(&rig, port, "two");
    let now = children(master);
    assert!(old.iter().any(|worker| now.contains(worker)), "{old:?} {now:?}");
    request.write_all(b"\r\n").unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("one"), "{answer}");
    wait_until(LIMIT, "the old workers' end", || old.iter().all(|worker| !children(master).contains(worker)))
        .unwrap();

    rig.wait_outcomes("web", "delivered", 1);
    rig.assert_only_told("web", &[master]);
    assert_eq!(web.container("app").unwrap().pid, master);
    assert_eq!(web.exit("app").unwrap(), None);
    rig.end();
}

#[test]
fn gunicorn_imports_its_application_anew() {
    let port = free_port();
    let conf = |body: &str| {
        format!(
            "bind = '127.0.0.1:{port}'\nworker_tmp_dir = '/dev/shm'\n\
             def when_ready(server):\n    pass\n\
             def app(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return [b'{body}']\n"
        )
    };
    let command = ["/usr/bin/gunicorn", "--pythonpath", "/conf", "-c", "/conf/web.py", "web:app"];
    let mut spec = pod("SIGHUP", "web.py", &conf("one"), &command);
    spec.containers[0].env.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
    let Some(rig) = Setup::new().programs(&["gunicorn"]).start(vec![spec]) else { return };
    let web = rig.pod("web");
    wait_body(&rig, port, "one");
    let master = web.container("app").unwrap().pid;
    web.update("conf", payload([("web.py", &conf("two"))])).unwrap();
    wait_body(&rig, port, "two");
    rig.wait_outcomes("web", "delivered", 1);
    rig.assert_only_told("web", &[master]);
    rig.end();
}

#[test]
fn haproxy_reloads_by_sigusr2_again_and_again() {
    let port = free_port();
    let conf = |body: &str| {
        format!(
            "global\n  nbthread 1\ndefaults\n  mode http\n  timeout client 5s\n  timeout connect 5s\n  timeout server 5s\n\
             frontend web\n  bind 127.0.0.1:{port}\n  \
             http-request return status 200 content-type text/plain string {body}\n"
        )
    };
    let command = ["/usr/sbin/haproxy", "-W", "-f", "/conf/haproxy.cfg"];
    let spec = pod("SIGUSR2", "haproxy.cfg", &conf("one"), &command);
    let Some(rig) = Setup::new().programs(&["haproxy"]).start(vec![spec]) else { return };
    let web = rig.pod("web");
    wait_body(&rig, port, "one");
    let master = web.container("app").unwrap().pid;
    for (count, body) in ["two", "three", "four"].into_iter().enumerate() {
        web.update("conf", payload([("haproxy.cfg", &conf(body))])).unwrap();
        wait_body(&rig, port, body);
        rig.wait_outcomes("web", "delivered", u32::try_from(count).unwrap() + 1);
    }
    rig.assert_only_told("web", &[master]);
    assert_eq!(web.exit("app").unwrap(), None);
    rig.end();
}

#[test]
fn behind_tini_and_dumb_init_the_application_is_told_once() {
    let workload = ["/workload", "--log", "/pod/app.log", "--read", "/conf/app.conf"];
    let spec = |name: &str, init: &str| {
        let command = [&[init, "--"][..], &workload].concat();
        PodSpec::new(name)
            .namespace(name)
            .annotation(SIGNAL, "SIGHUP")
            .volume(VolumeSpec::config_map("conf").key("app.conf", "one\n"))
            .container(ContainerSpec::new("app", &command).mount("conf", "/conf"))
    };
    let specs = vec![spec("tini", "/usr/bin/tini"), spec("dumb", "/usr/bin/dumb-init")];
    let Some(rig) = Setup::new().programs(&["tini", "dumb-init"]).start(specs) else { return };
    for pod in rig.node.pods() {
        pod.wait_ready("app").unwrap();
        let init = pod.container("app").unwrap().pid;
        let child = children(init);
        for (count, content) in ["two", "three"].into_iter().enumerate() {
            crate::support::change(&pod, content);
            rig.wait_told(&pod, "app", content);
            rig.wait_outcomes(pod.namespace(), "delivered", u32::try_from(count).unwrap() + 1);
        }
        rig.signals(&pod, "app", 2);
        assert_eq!(child.len(), 1);
        rig.assert_only_told(pod.name(), &child);
    }
    rig.end();
}
