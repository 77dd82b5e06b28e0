//! Programs as Debian packages them: each is told once of a change of its configuration, by the signal that docs/programs.md
//! names, and reads it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use standin::{ContainerSpec, Metrics, Pod, PodSpec, VolumeSpec, payload, require_root, wait_until};

use crate::support::{LIMIT, SIGNAL, Setup};

/// What is right after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// It is told once and reads the new file.
    Reads,
    /// It is told once, lives and reads nothing.
    Lives,
    /// It ignores the signal or has no handler, and is sent nothing.
    Refused,
}

struct Program {
    name: &'static str,
    /// What has to be installed for it, by the program's name.
    needs: &'static str,
    signal: &'static str,
    annotations: &'static [(&'static str, &'static str)],
    file: &'static str,
    /// The content of its file: `@PORT@` is a free port, `@N@` the number of the change.
    content: &'static str,
    /// A shell's command line; what runs is executed by it.
    command: &'static str,
    user: Option<u32>,
    right: Right,
}

const NOBODY: u32 = 65_534;

const PROGRAM: Program = Program {
    name: "",
    needs: "",
    signal: "SIGHUP",
    annotations: &[],
    file: "",
    content: "",
    command: "",
    user: None,
    right: Right::Reads,
};

const PROGRAMS: [Program; 29] = [
    Program {
        name: "nginx",
        needs: "nginx",
        file: "nginx.conf",
        content: "# @N@\ndaemon off; error_log stderr; pid /tmp/nginx.pid;\nevents {}\n\
                  http { access_log off; server { listen 127.0.0.1:@PORT@; } }\n",
        command: "nginx -c /conf/nginx.conf",
        ..PROGRAM
    },
    Program {
        name: "haproxy",
        needs: "haproxy",
        signal: "SIGUSR2",
        file: "haproxy.cfg",
        content: "# @N@\nglobal\n  nbthread 1\ndefaults\n  mode http\n  timeout client 5s\n  timeout connect 5s\n  \
                  timeout server 5s\nfrontend web\n  bind 127.0.0.1:@PORT@\n",
        command: "haproxy -W -f /conf/haproxy.cfg",
        ..PROGRAM
    },
    Program {
        name: "apache2",
        needs: "apache2",
        signal: "SIGUSR1",
        file: "apache.conf",
        content: "# @N@\nLoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
                  LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\nServerName localhost\n\
                  Listen 127.0.0.1:@PORT@\nPidFile /tmp/apache.pid\nErrorLog /dev/stderr\nDefaultRuntimeDir /tmp\n",
        command: "apache2 -DFOREGROUND -f /conf/apache.conf",
        ..PROGRAM
    },
    Program {
        name: "lighttpd",
        needs: "lighttpd",
        signal: "SIGUSR1",
        file: "lighttpd.conf",
        content: "# @N@\nserver.bind = \"127.0.0.1\"\nserver.port = @PORT@\nserver.document-root = \"/tmp\"\n",
        command: "lighttpd -D -f /conf/lighttpd.conf",
        ..PROGRAM
    },
    Program {
        name: "tinyproxy",
        needs: "tinyproxy",
        signal: "SIGUSR1",
        file: "tinyproxy.conf",
        content: "# @N@\nListen 127.0.0.1\nPort @PORT@\n",
        command: "tinyproxy -d -c /conf/tinyproxy.conf",
        ..PROGRAM
    },
    Program {
        name: "php-fpm",
        needs: "php-fpm8.2",
        signal: "SIGUSR2",
        file: "fpm.conf",
        content: "; @N@\n[global]\nerror_log = /dev/stderr\n[www]\nuser = nobody\nlisten = 127.0.0.1:@PORT@\npm = static\n\
                  pm.max_children = 1\n",
        command: "php-fpm8.2 -F -y /conf/fpm.conf",
        ..PROGRAM
    },
    Program {
        name: "uwsgi",
        needs: "uwsgi-core",
        file: "uwsgi.ini",
        content: "; @N@\n[uwsgi]\nmaster = true\nprocesses = 1\nsocket = 127.0.0.1:@PORT@\n",
        command: "uwsgi-core --ini /conf/uwsgi.ini",
        ..PROGRAM
    },
    Program {
        name: "pgbouncer",
        needs: "pgbouncer",
        file: "pgbouncer.ini",
        content: "; @N@\n[databases]\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = @PORT@\nauth_type = any\n\
                  unix_socket_dir =\n",
        command: "pgbouncer /conf/pgbouncer.ini",
        user: Some(NOBODY),
        ..PROGRAM
    },
    Program {
        name: "prometheus",
        needs: "prometheus",
        file: "prometheus.yml",
        content: "# @N@\nglobal: {scrape_interval: 1h}\n",
        command: "prometheus --config.file=/conf/prometheus.yml --storage.tsdb.path=/tmp/data \
                  --web.listen-address=127.0.0.1:@PORT@",
        ..PROGRAM
    },
    Program {
        name: "alertmanager",
        needs: "prometheus-alertmanager",
        file: "alertmanager.yml",
        content: "# @N@\nroute: {receiver: none}\nreceivers: [{name: none}]\n",
        command: "prometheus-alertmanager --config.file=/conf/alertmanager.yml --storage.path=/tmp/data \
                  --cluster.listen-address= --web.listen-address=127.0.0.1:@PORT@",
        ..PROGRAM
    },
    Program {
        name: "blackbox-exporter",
        needs: "prometheus-blackbox-exporter",
        file: "blackbox.yml",
        content: "# @N@\nmodules: {tcp: {prober: tcp}}\n",
        command: "prometheus-blackbox-exporter --config.file=/conf/blackbox.yml --web.listen-address=127.0.0.1:@PORT@",
        ..PROGRAM
    },
    Program {
        name: "dnsmasq",
        needs: "dnsmasq",
        file: "hosts",
        content: "127.0.0.@N@ app\n",
        command: "dnsmasq -k --conf-file=/dev/null --port=@PORT@ --listen-address=127.0.0.1 --bind-interfaces --no-hosts \
                  --no-resolv --addn-hosts=/conf/hosts --user=root --pid-file",
        ..PROGRAM
    },
    Program {
        name: "unbound",
        needs: "unbound",
        file: "unbound.conf",
        content: "# @N@\nserver:\n  interface: 127.0.0.1@@PORT@\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
                  directory: \"/tmp\"\n  use-syslog: no\n  module-config: \"iterator\"\nremote-control:\n  \
                  control-enable: no\n",
        command: "unbound -d -c /conf/unbound.conf",
        ..PROGRAM
    },
    Program {
        name: "knot",
        needs: "knotd",
        file: "knot.conf",
        content: "# @N@\nserver:\n  rundir: /tmp\n  listen: 127.0.0.1@@PORT@\ndatabase:\n  storage: /tmp\n",
        command: "knotd -c /conf/knot.conf",
        ..PROGRAM
    },
    Program {
        name: "nsd",
        needs: "nsd",
        file: "zone",
        content: "$ORIGIN app.\n@ 60 IN SOA ns.app. root.app. @N@ 60 60 60 60\n@ 60 IN NS ns.app.\nns 60 IN A 127.0.0.1\n",
        command: "printf 'server:\\n  ip-address: 127.0.0.1@@PORT@\\n  username: \"\"\\n  chroot: \"\"\\n  zonesdir: \"\"\\n  \
                  database: \"\"\\n  pidfile: /tmp/nsd.pid\\n  xfrdfile: /tmp/xfrd\\n  xfrdir: /tmp\\n  zonelistfile: /tmp/zones\\n\
                  remote-control:\\n  control-enable: no\\nzone:\\n  name: app\\n  zonefile: /conf/zone\\n' >/tmp/nsd.conf; \
                  exec nsd -d -c /tmp/nsd.conf",
        ..PROGRAM
    },
    Program {
        name: "named",
        needs: "named",
        annotations: &[("reloadlet.io/unhandled", "send")],
        file: "named.conf",
        content: "// @N@\noptions { directory \"/tmp\"; listen-on port @PORT@ { 127.0.0.1; }; listen-on-v6 { none; }; \
                  pid-file none; session-keyfile none; recursion no; dnssec-validation no; };\ncontrols {};\n",
        command: "named -f -c /conf/named.conf -n 1",
        ..PROGRAM
    },
    Program {
        name: "mosquitto",
        needs: "mosquitto",
        file: "mosquitto.conf",
        content: "# @N@\nlistener @PORT@ 127.0.0.1\nallow_anonymous true\nuser root\n",
        command: "mosquitto -c /conf/mosquitto.conf",
        ..PROGRAM
    },
    Program {
        name: "nats-server",
        needs: "nats-server",
        file: "nats.conf",
        content: "# @N@\nlisten: \"127.0.0.1:@PORT@\"\nmax_payload: 10@N@0\n",
        command: "nats-server -c /conf/nats.conf",
        ..PROGRAM
    },
    Program {
        name: "sshd",
        needs: "sshd",
        file: "sshd_config",
        content: "# @N@\nListenAddress 127.0.0.1\nPort @PORT@\nHostKey /tmp/key\nPidFile none\n",
        command: "mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f /tmp/key; exec /usr/sbin/sshd -D -e -f /conf/sshd_config",
        ..PROGRAM
    },
    Program {
        name: "syslog-ng",
        needs: "syslog-ng",
        file: "syslog-ng.conf",
        content: "@version: 3.38\n# @N@\nsource s { internal(); };\ndestination d { file(\"/tmp/log\"); };\n\
                  log { source(s); destination(d); };\n",
        command: "syslog-ng -F --no-caps -f /conf/syslog-ng.conf -p /tmp/pid -R /tmp/persist -c /tmp/ctl",
        ..PROGRAM
    },
    Program {
        name: "nghttpx",
        needs: "nghttpx",
        file: "nghttpx.conf",
        content: "# @N@\nfrontend=127.0.0.1,@PORT@;no-tls\nbackend=127.0.0.1,9\nworkers=1\n",
        command: "nghttpx --conf=/conf/nghttpx.conf",
        ..PROGRAM
    },
    Program {
        name: "webhook",
        needs: "webhook",
        file: "hooks.json",
        content: "[{\"id\": \"hook-@N@\", \"execute-command\": \"/bin/true\"}]\n",
        command: "webhook -hooks /conf/hooks.json -ip 127.0.0.1 -port @PORT@",
        ..PROGRAM
    },
    Program {
        name: "bird",
        needs: "bird",
        file: "bird.conf",
        content: "# @N@\nrouter id 10.0.0.1;\nprotocol device {}\n",
        command: "bird -f -c /conf/bird.conf -s /tmp/bird.ctl",
        ..PROGRAM
    },
    Program {
        name: "snmpd",
        needs: "snmpd",
        file: "snmpd.conf",
        content: "# @N@\nrocommunity public 127.0.0.1\n",
        command: "snmpd -f -Lo -C -c /conf/snmpd.conf udp:127.0.0.1:@PORT@",
        ..PROGRAM
    },
    Program {
        name: "ser2net",
        needs: "ser2net",
        file: "ser2net.yaml",
        content: "%YAML 1.1\n---\n# @N@\nconnection: &con\n  accepter: tcp,127.0.0.1,@PORT@\n  connector: echo\n",
        command: "ser2net -n -c /conf/ser2net.yaml",
        ..PROGRAM
    },
    Program {
        name: "xinetd",
        needs: "xinetd",
        file: "xinetd.conf",
        content: "# @N@\nservice echo\n{\n  type = INTERNAL UNLISTED\n  id = app\n  port = @PORT@\n  bind = 127.0.0.1\n  \
                  socket_type = stream\n  protocol = tcp\n  wait = no\n  user = root\n}\n",
        command: "xinetd -dontfork -stayalive -f /conf/xinetd.conf",
        ..PROGRAM
    },
    Program {
        name: "kea-dhcp4",
        needs: "kea-dhcp4",
        file: "kea.json",
        content: "{\"Dhcp4\": {\"valid-lifetime\": @N@000, \"interfaces-config\": {\"interfaces\": []}, \
                  \"lease-database\": {\"type\": \"memfile\", \"persist\": false}}}\n",
        command: "KEA_PIDFILE_DIR=/tmp KEA_LOCKFILE_DIR=none exec kea-dhcp4 -c /conf/kea.json",
        ..PROGRAM
    },
    // It resolves the link to its file when it starts.
    Program {
        name: "stunnel",
        needs: "stunnel4",
        file: "stunnel.conf",
        content: "; @N@\nforeground = yes\npid =\n[app]\nclient = yes\naccept = 127.0.0.1:@PORT@\nconnect = 127.0.0.1:9\n",
        command: "stunnel4 /conf/stunnel.conf",
        right: Right::Lives,
        ..PROGRAM
    },
    // It ignores the signal.
    Program {
        name: "redis",
        needs: "redis-server",
        file: "redis.conf",
        content: "# @N@\nbind 127.0.0.1\nport @PORT@\nsave \"\"\n",
        command: "redis-server /conf/redis.conf",
        right: Right::Refused,
        ..PROGRAM
    },
];

impl Program {
    fn is_there(&self) -> bool {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        path.split(':').any(|directory| std::path::Path::new(directory).join(self.needs).is_file())
    }

    /// Whether it has started when its port answers.
    fn listens(&self) -> bool {
        let has_port = self.content.contains("@PORT@") || self.command.contains("@PORT@");
        has_port && !self.command.contains("udp:")
    }

    fn content(&self, port: u16, n: u32) -> String {
        self.content.replace("@PORT@", &port.to_string()).replace("@N@", &n.to_string())
    }

    fn spec(&self, port: u16) -> PodSpec {
        let command = self.command.replace("@PORT@", &port.to_string());
        let command = if command.contains("exec ") { command } else { format!("exec {command}") };
        let mut container = ContainerSpec::new("app", &["/bin/sh", "-c", &command]).mount("conf", "/conf");
        container.env.insert("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        container.user = self.user;
        let mut spec = PodSpec::new(self.name)
            .namespace(self.name)
            .annotation(SIGNAL, self.signal)
            .annotation("reloadlet.io/verify", "5s")
            .volume(VolumeSpec::config_map("conf").key(self.file, &self.content(port, 1)))
            .container(container);
        for (key, value) in self.annotations {
            spec = spec.annotation(key, value);
        }
        spec
    }

    /// What isn't right after a change, if anything.
    fn judge(&self, metrics: &Metrics, pod: &Pod) -> Option<String> {
        let verdict = |verdict: &str| {
            let labels = [("pod_namespace", self.name), ("verdict", verdict)];
            metrics.value("reloadlet_verdicts_total", &labels)
        };
        let delivered = [("pod_namespace", self.name), ("outcome", "delivered")];
        let delivered = metrics.value("reloadlet_reloads_total", &delivered);
        let found = (delivered, verdict("reread"), verdict("alive"));
        let expected = match self.right {
            Right::Reads => (1.0, 1.0, 0.0),
            Right::Lives => (1.0, 0.0, 1.0),
            Right::Refused => (0.0, 0.0, 0.0),
        };
        let ended = pod.exit("app").unwrap();
        if found == expected && ended.is_none() {
            return None;
        }
        let output = std::fs::read_to_string(pod.container("app").unwrap().output).unwrap_or_default();
        let mut text = format!(
            "{}: delivered, reread, alive are {found:?}, not {expected:?}; it ended: {ended:?}",
            self.name
        );
        for line in output.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev() {
            let _infallible = write!(text, "\n    {line}");
        }
        Some(text)
    }
}

/// Ports that nobody listens at, below those that the kernel gives to whoever asks for any.
fn free_ports() -> impl Iterator<Item = u16> {
    (20_000..32_000).filter(|port| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    })
}

#[test]
fn programs_as_debian_packages_them_are_told_once_and_read_their_configuration() {
    if let Err(skip) = require_root(standin::NodeOptions::default().hierarchy, &[]) {
        eprintln!("{skip}");
        return;
    }
    let (there, missing): (Vec<_>, Vec<_>) = PROGRAMS.iter().partition(|program| program.is_there());
    let missing: Vec<&str> = missing.iter().map(|program| program.needs).collect();
    if !missing.is_empty() {
        eprintln!("not installed: {}", missing.join(" "));
        assert!(
            std::env::var("CI").map_or_else(|_unset| true, |value| value != "true"),
            "run scripts/install-deps"
        );
    }
    let ports: Vec<u16> = free_ports().take(there.len()).collect();
    assert_eq!(ports.len(), there.len());
    let specs = there.iter().zip(&ports).map(|(program, port)| program.spec(*port)).collect();
    let Some(rig) = Setup::new().start(specs) else { return };
    for (program, port) in there.iter().zip(&ports).filter(|(program, _)| program.listens()) {
        let answers = || TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
        wait_until(LIMIT, program.name, answers).unwrap();
    }
    for (program, port) in there.iter().zip(&ports) {
        let pod = rig.pod(program.name);
        pod.update("conf", payload([(program.file, &program.content(*port, 2))])).unwrap();
    }
    let judged = || {
        let metrics = rig.agent.metrics().unwrap();
        let wrong = there.iter().filter_map(|program| program.judge(&metrics, &rig.pod(program.name)));
        wrong.collect::<Vec<_>>()
    };
    let all_right = wait_until(LIMIT, "every program", || judged().is_empty());
    assert!(all_right.is_ok(), "{}\n{}", judged().join("\n"), rig.tail());
    assert_eq!(rig.metric("reloadlet_retold_total", &[]), 0.0, "nobody is told twice who reads");
    for program in &there {
        if program.right != Right::Refused {
            rig.assert_only_told(program.name, &[rig.pod(program.name).container("app").unwrap().pid]);
        }
    }
    rig.end();
}
