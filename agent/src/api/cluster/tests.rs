use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::{Request, StatusCode};
use kube::client::Body;
use tower::service_fn;

use super::*;

/// A cluster whose server answers 200 and whose configuration can be read when it says so, and how often it was read.
async fn cluster(readable: impl Fn(usize) -> bool + Send + Sync + 'static) -> (Cluster, Arc<AtomicUsize>) {
    let reads = Arc::<AtomicUsize>::default();
    let contact = Contact::new();
    let (counting, counted_reads) = (contact.clone(), reads.clone());
    let connect = move || -> BoxFuture<'static, Result<(Config, Client)>> {
        let read = counted_reads.fetch_add(1, Ordering::Relaxed);
        let (readable, contact) = (readable(read), counting.clone());
        Box::pin(async move {
            anyhow::ensure!(readable, "no such file");
            let service =
                service_fn(|_: Request<Body>| async { Ok::<_, kube::Error>(Response::new(Body::empty())) });
            let builder = ClientBuilder::new(service, "default").with_layer(&counted(contact));
            Ok((Config::new("https://127.0.0.1:1".parse()?), builder.build()))
        })
    };
    (Cluster::new(Box::new(connect), contact).await.unwrap(), reads)
}

#[tokio::test(start_paused = true)]
async fn what_many_found_to_fail_is_read_anew_once() {
    let (cluster, reads) = cluster(|_| true).await;
    let failed = cluster.current().revision;
    cluster.renew(failed).await;
    assert_eq!(reads.load(Ordering::Relaxed), 1, "it was read just now");
    tokio::time::advance(RENEW_EVERY).await;
    for _ in 0..500 {
        cluster.renew(failed).await;
    }
    assert_eq!(reads.load(Ordering::Relaxed), 2);
    assert_ne!(cluster.current().revision, failed);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cant_be_read_leaves_the_one_from_before() {
    let (cluster, reads) = cluster(|read| read != 1).await;
    for (read, revision) in [(2, 0), (3, 1)] {
        tokio::time::advance(RENEW_EVERY).await;
        cluster.renew(0).await;
        assert_eq!((reads.load(Ordering::Relaxed), cluster.current().revision), (read, revision));
    }
}

#[tokio::test]
async fn answers_are_counted_by_code() {
    let (cluster, _) = cluster(|_| true).await;
    let request = Request::get("/version").body(Body::empty()).unwrap();
    assert_eq!(cluster.current().client.send(request).await.unwrap().status(), StatusCode::OK);
    let counts = cluster.contact().requests().filter(|(_, count)| *count > 0);
    let counts: Vec<(&str, u64)> = counts.map(|(code, count)| (code.as_str(), count)).collect();
    assert_eq!(counts, [("200", 1)]);
}
