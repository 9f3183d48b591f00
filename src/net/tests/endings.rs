//! Endings: how connections end, and that every call learns what it can know.

use super::*;
use crate::net::frame::FrameKind;
use crate::net::wire::Wire;

#[tokio::test]
async fn a_connection_that_dies_loses_what_was_sent_and_says_what_was_not() {
    let memory = Memory { pipe_bytes: Some(64), ..Memory::default() };
    let host = Host::start(&memory, "host:1", NetLimits { requests_running_max: 1, ..NetLimits::default() }).await;
    let caller = call_on(&host, &options(memory, NetLimits::default())).await;
    // The first runs, the second is stuck halfway in the small pipe, the third has not begun to leave.
    let running = caller.call(HELD, vec![1]);
    host.until_began(1).await;
    let halfway = caller.call(ECHO, vec![2; 50_000]);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let queued = caller.call(ECHO, vec![3]);
    host.serving.abort();
    caller.closed().await;
    assert!(matches!(running.await, Err(CallError::Lost)));
    assert!(matches!(halfway.await, Err(CallError::Lost)));
    assert!(matches!(queued.await, Err(CallError::NotSent(_))));
    assert!(caller.is_closed());
    let Err(CallError::NotSent(error)) = caller.call(ECHO, vec![]).await else { panic!("it is closed") };
    assert!(error.message().contains("connect again"), "{error}");
}

#[tokio::test]
async fn with_its_last_caller_a_connection_closes_and_its_requests_are_dropped() {
    let (host, caller) = pair(NetLimits::default()).await;
    let other = caller.clone();
    let waiting = caller.call(HELD, vec![1]);
    host.until_began(1).await;
    let closed = caller.closed();
    drop(caller);
    assert_eq!(other.call(ECHO, vec![2]).await.unwrap(), [2], "a clone keeps it open");
    drop(other);
    closed.await;
    assert!(matches!(waiting.await, Err(CallError::Lost)));
    while host.desk.running.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_stops_answers_what_runs_and_accepts_nobody() {
    let memory = Memory::default();
    let mut host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let options = options(memory.clone(), NetLimits::default());
    let caller = call_on(&host, &options).await;
    let idle = call_on(&host, &options).await;
    let running = caller.call(HELD, vec![1]);
    host.until_began(1).await;
    let _unproved = memory.open("host:1").unwrap();
    host.stop.take().unwrap().send(()).unwrap();
    idle.closed().await;
    let late = Caller::connect(&options, "host:1", &peer(CLUSTER, 2), Expectation::default()).await;
    assert_eq!(late.err().unwrap().kind(), ErrorKind::ClusterNotReady);
    assert!(!caller.is_closed());
    host.desk.permits.add_permits(1);
    assert_eq!(running.await.unwrap(), [1]);
    host.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_until_its_deadline_only() {
    let (mut host, caller) = pair(NetLimits::default()).await;
    let running = caller.call(HELD, vec![1]);
    host.until_began(1).await;
    host.stop.take().unwrap().send(()).unwrap();
    host.serving.await.unwrap();
    assert!(matches!(running.await, Err(CallError::Lost)));
}

#[tokio::test]
async fn a_reader_who_never_reads_is_cut_off_when_its_queue_is_full() {
    let memory = Memory::default();
    let limits = NetLimits { queue_bytes_max: 200_000, ..NetLimits::default() };
    let host = Host::start(&memory, "host:1", limits).await;
    let mut stream: BoxStream = Box::new(memory.open("host:1").unwrap());
    let secret = SharedSecret::new(COOKIE).unwrap();
    let hello = peer(CLUSTER, 1);
    crate::net::handshake::introduce(&mut stream, "host:1", &hello, &secret.into(), Expectation::default())
        .await
        .unwrap();
    let mut wire = Wire::new(stream, 100_000);
    // Held ones run together; their answers come at once.
    for id in 0..10 {
        wire.queue.push(FrameKind::Request, id, HELD, vec![0; 40_000]);
    }
    std::future::poll_fn(|cx| wire.poll_send(cx)).await.unwrap();
    host.until_began(10).await;
    host.desk.permits.add_permits(10);
    while host.desk.running.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    // The server has hung up: what was under way still comes, then the end, not ten whole answers.
    let mut answers = 0;
    while let Ok(Some(_)) = std::future::poll_fn(|cx| wire.poll_frame(cx)).await {
        answers += 1;
    }
    assert!(answers < 10, "{answers} answers came in spite of the full queue");
}

#[tokio::test]
async fn more_connections_than_allowed_are_told_so_and_peers_keep_their_share() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits { connections_max: 8, ..NetLimits::default() }).await;
    let options = options(memory, NetLimits::default());
    let client = Hello { role: Role::Client, cluster_id: CLUSTER, node_id: 0, token: 0, address: String::new() };
    let mut open = Vec::new();
    for _ in 0..7 {
        open.push(Caller::connect(&options, "host:1", &client, Expectation::default()).await.unwrap());
    }
    let refused = Caller::connect(&options, "host:1", &client, Expectation::default()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ClusterNotReady);
    assert!(refused.message().contains("7 connections"), "{refused}");
    let peer = call_on(&host, &options).await;
    assert_eq!(peer.call(ECHO, vec![1]).await.unwrap(), [1]);
    let closed = open[0].closed();
    drop(open);
    closed.await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    Caller::connect(&options, "host:1", &client, Expectation::default()).await.expect("places are free again");
}
