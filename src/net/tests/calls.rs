//! Calls: every answer reaches its call, in whatever order, and bounds hold back instead of breaking.

use super::*;

#[tokio::test]
async fn payloads_of_every_size_come_back_over_real_sockets() {
    let host = Host::start(&TcpSockets, "127.0.0.1:0", NetLimits::default()).await;
    let caller = call_on(&host, &options(TcpSockets, NetLimits::default())).await;
    assert_eq!(caller.peer(), &peer(CLUSTER, NODE));
    for size in [0, 1, 15, 4_000, 16_383, 16_384, 65_520, 65_521, 65_536, 1_000_000, 20_000_000] {
        let payload: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        assert!(caller.call(ECHO, payload.clone()).await.unwrap() == payload, "{size} bytes");
    }
}

#[tokio::test]
async fn addresses_are_resolved_and_all_of_them_tried() {
    let host = Host::start(&TcpSockets, "127.0.0.1:0", NetLimits::default()).await;
    let port = host.address.rsplit_once(':').unwrap().1;
    let name = format!("localhost:{port}");
    assert!(TcpSockets.resolve(&name).await.unwrap().contains(&host.address));
    // Where `localhost` is ::1 first, nobody listens there.
    let expect = Expectation::default();
    let options = options(TcpSockets, NetLimits::default());
    let caller = Caller::connect(&options, &name, &peer(CLUSTER, 1), expect).await.unwrap();
    assert_eq!(caller.call(ECHO, vec![1]).await.unwrap(), [1]);
}

#[tokio::test]
async fn ten_thousand_pipelined_calls_answered_out_of_order_all_match() {
    let host = Host::start(&TcpSockets, "127.0.0.1:0", NetLimits::default()).await;
    let caller = call_on(&host, &options(TcpSockets, NetLimits::default())).await;
    let mut dice = Dice(1);
    let payload = |number: u32, dice: &mut Dice| {
        let mut payload = vec![dice.roll(256) as u8];
        payload.extend_from_slice(&number.to_le_bytes());
        payload.resize(5 + dice.roll(200), 9);
        payload
    };
    let payloads: Vec<Vec<u8>> = (0..10_000).map(|number| payload(number, &mut dice)).collect();
    let calls: Vec<Call> = payloads.iter().map(|payload| caller.call(LATER, payload.clone())).collect();
    for (call, payload) in calls.into_iter().zip(&payloads) {
        assert_eq!(&call.await.unwrap(), payload);
    }
    assert_eq!(&*host.desk.began.lock().unwrap(), &payloads, "they began in the order of the calls");
}

/// A request takes its place when it is made. That nobody polls it, or drops it, changes nothing for the others.
#[tokio::test]
async fn a_call_is_queued_at_the_moment_it_is_made() {
    let (host, caller) = pair(NetLimits::default()).await;
    let first = caller.call(HELD, vec![1]);
    drop(caller.call(ECHO, vec![2]));
    let third = caller.call(ECHO, vec![3]);
    assert_eq!(third.await.unwrap(), [3]);
    assert_eq!(*host.desk.began.lock().unwrap(), [[1], [2], [3]]);
    host.desk.permits.add_permits(1);
    assert_eq!(first.await.unwrap(), [1]);
}

#[tokio::test]
async fn cancelled_calls_never_mismatch() {
    let (_host, caller) = pair(NetLimits::default()).await;
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let mut calls = Vec::new();
        for number in 0..200u32 {
            let payload = [&[dice.roll(256) as u8], number.to_le_bytes().as_slice()].concat();
            calls.push((payload.clone(), caller.call(LATER, payload)));
            if dice.roll(3) == 0 {
                // Some go before they were ever polled, some after they waited for a while.
                let (_, mut call) = calls.swap_remove(dice.roll(calls.len()));
                if dice.roll(2) == 0 {
                    let _ = futures_util::poll!(&mut call);
                    tokio::task::yield_now().await;
                }
            }
        }
        for (payload, call) in calls {
            assert_eq!(call.await.unwrap(), payload, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn errors_of_the_service_keep_kind_and_message() {
    let (_host, caller) = pair(NetLimits::default()).await;
    let Err(CallError::Answered(error)) = caller.call(FAIL, vec![]).await else { panic!("an answer is an answer") };
    assert_eq!((error.kind(), error.message()), (ErrorKind::ConditionFailed, "revision 4 is not 3"));
}

#[tokio::test]
async fn beyond_its_bound_of_running_requests_a_node_reads_no_more() {
    let (host, caller) = pair(NetLimits { requests_running_max: 4, ..NetLimits::default() }).await;
    let calls: Vec<Call> = (0..100).map(|number| caller.call(HELD, vec![number])).collect();
    host.until_began(4).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.desk.began.lock().unwrap().len(), 4, "the fifth waits");
    host.desk.permits.add_permits(100);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), [number as u8]);
    }
}

#[tokio::test]
async fn beyond_its_bound_of_running_bytes_a_node_reads_no_more() {
    let (host, caller) = pair(NetLimits { request_bytes_running_max: 100_000, ..NetLimits::default() }).await;
    let calls: Vec<Call> = (0..9).map(|number| caller.call(HELD, vec![number; 60_000])).collect();
    host.until_began(2).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.desk.began.lock().unwrap().len(), 2);
    host.desk.permits.add_permits(9);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), [number as u8; 60_000]);
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_on_either_side_and_the_connection_lives() {
    let limits = NetLimits { frame_bytes_max: 1000, ..NetLimits::default() };
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", limits).await;
    let caller = call_on(&host, &options(memory, limits)).await;
    let Err(CallError::NotSent(error)) = caller.call(ECHO, vec![0; 1001]).await else { panic!("too large to send") };
    assert_eq!(error.kind(), ErrorKind::ValueTooLarge);
    let answer = caller.call(BYTES, 1001u32.to_le_bytes().to_vec()).await;
    let Err(CallError::Answered(error)) = answer else { panic!("too large to answer") };
    assert_eq!(error.kind(), ErrorKind::ValueTooLarge);
    assert_eq!(caller.call(BYTES, 1000u32.to_le_bytes().to_vec()).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn a_full_queue_fails_the_call_at_once_and_empties_again() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let limits = NetLimits { queue_bytes_max: 100_000, ..NetLimits::default() };
    let caller = call_on(&host, &options(memory, limits)).await;
    let first = caller.call(ECHO, vec![1; 60_000]);
    let Err(CallError::NotSent(error)) = caller.call(ECHO, vec![2; 60_000]).await else { panic!("no room for it") };
    assert_eq!(error.kind(), ErrorKind::ClusterNotReady);
    assert_eq!(first.await.unwrap().len(), 60_000);
    assert_eq!(caller.call(ECHO, vec![2; 60_000]).await.unwrap().len(), 60_000);
}

/// Many large answers on one connection: reading pauses, the reader who does read is not cut off.
#[tokio::test]
async fn a_reader_who_keeps_up_gets_more_than_the_queue_holds() {
    let (_host, caller) = pair(NetLimits { queue_bytes_max: 4_000_000, ..NetLimits::default() }).await;
    let calls: Vec<Call> = (0..50).map(|_| caller.call(BYTES, 500_000u32.to_le_bytes().to_vec())).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().len(), 500_000);
    }
}
