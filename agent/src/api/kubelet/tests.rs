//! Against a TLS server that writes down what it is sent.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::api::authority::{Authority, self_signed};

const LOCALHOST: &str = "127.0.0.1";
const TOKEN: &str = "the-account's-token";

/// What a kubelet does once it is connected to.
enum Answer {
    Says(String),
    /// Nothing, though it has taken the request.
    Hangs,
}

struct Kubelet {
    address: SocketAddr,
    /// What came through TLS.
    heard: Arc<Mutex<String>>,
    connections: Arc<Mutex<usize>>,
}

impl Kubelet {
    fn start(ip: &str, tls: ServerConfig, answer: Answer) -> Self {
        let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, connections) = (Arc::<Mutex<String>>::default(), Arc::<Mutex<usize>>::default());
        let kubelet = Self { address, heard: heard.clone(), connections: connections.clone() };
        let tls = Arc::new(tls);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                *connections.lock().unwrap() += 1;
                serve(stream.unwrap(), tls.clone(), &answer, &heard);
            }
        });
        kubelet
    }

    /// One that the cluster knows, with this answer.
    fn answers(authority: &Authority, status: &str, body: &str) -> Self {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Self::start(LOCALHOST, authority.signed(LOCALHOST), Answer::Says(answer))
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, tls: Arc<ServerConfig>, answer: &Answer, heard: &Mutex<String>) {
    let mut connection = ServerConnection::new(tls).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut stream);
    let mut buffer = [0; 4096];
    // A client that ends the handshake is an error here.
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        let mut heard = heard.lock().unwrap();
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let Some(Answer::Says(answer)) = heard.ends_with("\r\n\r\n").then_some(answer) else { continue };
        drop(heard);
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn configz(strategy: &str) -> String {
    format!(
        r#"{{"kubeletconfig": {{"syncFrequency": "1m0s", "configMapAndSecretChangeDetectionStrategy": "{strategy}"}}}}"#
    )
}

/// How the agent reaches the API server.
fn config(authority: &Authority) -> Config {
    let mut config = Config::new("https://kubernetes.default.svc".parse().unwrap());
    config.root_cert = Some(vec![authority.certificate.clone()]);
    config.auth_info.token = Some(TOKEN.to_owned().into());
    // These aren't for the kubelet.
    config.tls_server_name = Some("kubernetes.default.svc".to_owned());
    config.proxy_url = Some("http://127.0.0.1:1".parse().unwrap());
    config
}

/// Why it isn't read, in one sentence.
async fn unreadable(config: Config, kubelet: &Kubelet) -> String {
    let error = read(config, kubelet.address).await.unwrap_err();
    let sentence = Causes(&error).to_string();
    assert!(!sentence.contains('\n') && !sentence.contains(TOKEN), "{sentence}");
    sentence
}

#[tokio::test]
async fn each_strategy_is_read_with_the_accounts_token() {
    let authority = Authority::new();
    for (name, strategy) in [("Watch", Strategy::Watch), ("Cache", Strategy::Cache), ("Get", Strategy::Get)] {
        let kubelet = Kubelet::answers(&authority, "200 OK", &configz(name));
        assert_eq!(read(config(&authority), kubelet.address).await.unwrap(), strategy);
        let heard = kubelet.heard();
        assert!(heard.starts_with("GET /configz HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{heard}");
    }
}

#[tokio::test]
async fn a_node_may_have_an_ipv6_address() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // Not every machine has one.
    }
    let authority = Authority::new();
    let answer = configz("Get");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
    let kubelet = Kubelet::start("::1", authority.signed("::1"), Answer::Says(answer));
    assert_eq!(read(config(&authority), kubelet.address).await.unwrap(), Strategy::Get);
}

#[tokio::test]
async fn a_kubelet_that_the_clusters_authority_doesnt_vouch_for_is_told_no_token() {
    let authority = Authority::new();
    let answer = || Answer::Says("HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    for (tls, why) in [
        (self_signed(LOCALHOST), "UnknownIssuer"),
        // Its authority has the same name.
        (Authority::new().signed(LOCALHOST), "BadSignature"),
        (authority.signed("127.0.0.2"), "not valid for name"),
    ] {
        let kubelet = Kubelet::start(LOCALHOST, tls, answer());
        let answer = read(config(&authority), kubelet.address).await;
        assert_eq!((*kubelet.connections.lock().unwrap(), kubelet.heard().as_str()), (1, ""));
        let sentence = Causes(&answer.unwrap_err()).to_string();
        assert!(sentence.starts_with("the kubelet can't be asked: ") && sentence.contains(why), "{sentence}");
    }
}

#[tokio::test]
async fn without_an_authority_the_kubelet_isnt_even_connected_to() {
    let authority = Authority::new();
    let kubelet = Kubelet::answers(&authority, "200 OK", &configz("Watch"));
    let mut trusting = config(&authority);
    trusting.accept_invalid_certs = true;
    let mut rootless = config(&authority);
    rootless.root_cert = None;
    for config in [trusting, rootless] {
        let sentence = unreadable(config, &kubelet).await;
        assert_eq!(sentence, "the agent has no authority to verify the kubelet's certificate with");
    }
    assert_eq!(*kubelet.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn what_isnt_the_kubelets_configuration_is_said_in_one_sentence() {
    let authority = Authority::new();
    let refusal = "Forbidden (user=system:serviceaccount:reloadlet:reloadlet, verb=get, resource=nodes, subresource=proxy)\n";
    let long = "x".repeat(ANSWER_BYTES + 1);
    for (status, body, expected) in [
        ("403 Forbidden", refusal, format!("the kubelet answers 403 Forbidden: {}", refusal.trim())),
        ("401 Unauthorized", "Unauthorized", "the kubelet answers 401 Unauthorized: Unauthorized".to_owned()),
        ("302 Found\r\nLocation: /pods", "", "the kubelet answers 302 Found: ".to_owned()),
        (
            "404 Not Found",
            &"y".repeat(9000),
            format!("the kubelet answers 404 Not Found: {}", "y".repeat(200)),
        ),
        (
            "200 OK",
            "ok",
            "the kubelet's answer isn't its configuration: expected value at line 1 column 1".to_owned(),
        ),
        (
            "200 OK",
            "{}",
            "the kubelet's answer isn't its configuration: missing field `kubeletconfig`".to_owned(),
        ),
        (
            "200 OK",
            &format!("{{\"kubeletconfig\": \"{}\"}}", "z".repeat(9000)),
            "the kubelet's answer isn't its configuration: invalid type: string \"zzz".to_owned()
                + &"z".repeat(150),
        ),
        ("502 Bad Gateway", "first\nsecond", "the kubelet answers 502 Bad Gateway: first second".to_owned()),
        ("200 OK", &long, "the kubelet can't be asked: length limit exceeded".to_owned()),
        ("200 OK", &configz("Informer"), "the strategy \"Informer\" isn't known".to_owned()),
    ] {
        let kubelet = Kubelet::answers(&authority, status, body);
        let sentence = unreadable(config(&authority), &kubelet).await;
        assert!(sentence.starts_with(&expected) && sentence.len() < expected.len() + 40, "{sentence}");
        assert_eq!(*kubelet.connections.lock().unwrap(), 1, "nothing is tried again at once");
    }
}

#[tokio::test]
async fn a_kubelet_that_hangs_is_given_up() {
    let authority = Authority::new();
    let kubelet = Kubelet::start(LOCALHOST, authority.signed(LOCALHOST), Answer::Hangs);
    let asked = read(config(&authority), kubelet.address);
    tokio::pin!(asked);
    // Until the request is there time is the kernel's; after that it needn't pass.
    while kubelet.heard().is_empty() {
        tokio::select! {
            ended = &mut asked => panic!("{ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    tokio::time::pause();
    let error = asked.await.unwrap_err();
    assert_eq!(error.to_string(), "the kubelet took longer than 10s");
}

#[tokio::test(start_paused = true)]
async fn it_is_read_now_and_then_and_sooner_after_a_failure_and_changes_are_told() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let failure = || Err(Unreadable::Silent);
    let answers = [
        failure(),
        failure(),
        failure(),
        Ok(Strategy::Watch),
        Ok(Strategy::Watch),
        failure(),
        Ok(Strategy::Watch),
        Ok(Strategy::Cache),
        failure(),
        Ok(Strategy::Get),
    ];
    let started = tokio::time::Instant::now();
    let mut times = Vec::new();
    let mut told = Vec::new();
    let mut answers = answers.into_iter();
    let read = || {
        times.push(started.elapsed().as_secs());
        told.extend(receiver.try_iter().map(|inbound| format!("{inbound:?}")));
        let answer = answers.next();
        async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    };
    let followed = follow_with(read, &inbox);
    assert!(tokio::time::timeout(Duration::from_secs(100_000), followed).await.is_err());
    assert_eq!(times, [0, 5, 15, 35, 635, 1235, 1240, 1840, 2440, 2445, 3045]);
    assert_eq!(told, ["Watch", "Cache", "Get"].map(|name| format!("Event(Strategy(Some({name})))")));
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_is_never_readable_is_asked_every_ten_minutes_in_the_end() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let mut times = Vec::new();
    let started = tokio::time::Instant::now();
    let read = || {
        times.push(started.elapsed());
        async { Err(Unreadable::Unverifiable) }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10_000), follow_with(read, &inbox)).await.is_err());
    let last: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).rev().take(3).collect();
    assert_eq!(last, [EVERY; 3]);
    assert!(receiver.try_recv().is_err(), "nothing is known");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_once_is_forgotten_when_it_cant_be_read_for_ten_minutes() {
    let (inbox, receiver, _wake) = Inbox::new().unwrap();
    let mut first = true;
    let read = || {
        let answer = if std::mem::take(&mut first) { Ok(Strategy::Cache) } else { Err(Unreadable::Silent) };
        async move { answer }
    };
    let started = tokio::time::Instant::now();
    let mut told = Vec::new();
    let followed = follow_with(read, &inbox);
    tokio::pin!(followed);
    while started.elapsed() < Duration::from_secs(10_000) {
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut followed).await.is_err());
        told.extend(receiver.try_iter().map(|inbound| (started.elapsed().as_secs(), format!("{inbound:?}"))));
    }
    let [(_, read), (forgotten, unknown)] = &told[..] else { panic!("{told:?}") };
    assert_eq!([read, unknown], ["Event(Strategy(Some(Cache)))", "Event(Strategy(None))"]);
    // It was read again after ten minutes, and failed from then on.
    assert!((600 + 600..600 + 700).contains(forgotten), "{forgotten}");
}
